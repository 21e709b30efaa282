"""What a study may claim: comparisons that each have a test, with errors over people and draws, and one correction.

Two claims are made. *Loss*: a kind of damage lowers a task. *Dissociation*: of two lesions one takes more of one task
and the other more of another, each compared within a task and dose by dose, so that neither the tasks' difficulty nor
their measures nor the strength of the damage can bring it about. That a task falls further than another under one kind
of damage is measured and shown, and is no claim: difficulty alone does it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from facelesion.analysis.answers import INTACT, Answers, Scale
from facelesion.analysis.checks import check_level
from facelesion.analysis.crossed import Estimate, PersonScores, Term, contrast, holm
from facelesion.analysis.intervals import Interval
from facelesion.errors import Error

ALPHA = 0.05
#: Tasks are comparable in difficulty if the intact network's share of right choices between two lies here.
MATCHED = (0.75, 0.90)


@dataclass(frozen=True, eq=False)
class Profile:
    """One network's scores: what every kind of damage leaves of every task, averaged over its doses.

    Attributes:
        tasks, damages: their names, in the order of the answers.
        scores: by (task, damage): (draws, people), mean over doses; ('task', 'none') is the intact network.
        doses: by (task, damage, dose): the same, dose by dose.
        without: tasks that have no place on the scale, or whose people cannot be told from their trials.
    """

    tasks: tuple[str, ...]
    damages: tuple[str, ...]
    scores: Mapping[tuple[str, str], PersonScores]
    doses: Mapping[tuple[str, str, float], PersonScores]
    without: tuple[str, ...] = ()


def profile(answers: Mapping[str, Answers], scale: Scale = "own") -> Profile:
    """Average the answers over doses, draw by draw.

    Raises:
        Error: no answers of the intact network, or a kind of damage without a draw that has all doses.

    Example:
        >>> import numpy as np
        >>> from facelesion.analysis import Answers
        >>> people = tuple((name,) for name in "abcd")
        >>> right = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], bool)
        >>> cells = (("none", 0.0, 0), ("noise", 0.5, 0), ("noise", 1.0, 0))
        >>> names = np.array(list("abcd"), object)
        >>> answers = Answers("who", cells, right * 2.0 - 1, right, names, people, "", 4)
        >>> found = profile({"who": answers})
        >>> found.damages, float(found.scores["who", "noise"].values.mean())
        (('noise',), 0.375)
    """
    scores: dict[tuple[str, str], PersonScores] = {}
    doses: dict[tuple[str, str, float], PersonScores] = {}
    damages: dict[str, None] = {}
    tasks = tuple(
        task for task, each in answers.items() if each.separable and (scale == "own" or each.comparable)
    )
    for task in tasks:
        found = answers[task].scores(scale)
        if INTACT not in found:
            raise Error(f"{task}: there are no answers of the intact network to compare with")
        draws: dict[tuple[str, float], list[int]] = {}
        for series, dose, draw in answers[task].cells:
            draws.setdefault((series, dose), []).append(draw)
        for series in dict.fromkeys(name for name, _ in found):
            steps = sorted(lesion for lesion in found if lesion[0] == series)
            shared = sorted(set.intersection(*(set(draws[lesion]) for lesion in steps)))
            if not shared:
                raise Error(f"{task}: no draw of {series} has all of its doses")
            parts = []
            for lesion in steps:
                rows = [sorted(draws[lesion]).index(draw) for draw in shared]
                parts.append(found[lesion].values[rows])
                doses[task, series, lesion[1]] = found[lesion]
            scores[task, series] = PersonScores(found[steps[0]].people, np.mean(parts, axis=0))
            if series != INTACT[0]:
                damages[series] = None
    whole = tuple(name for name in damages if all((task, name) in scores for task in tasks))
    return Profile(tasks, whole, scores, doses, tuple(task for task in answers if task not in tasks))


@dataclass(frozen=True)
class Loss:
    """What a kind of damage takes from a task, mean over its doses: intact less damaged.

    Attributes:
        p: adjusted over all kinds and tasks (Holm); not a number if it cannot be tested.
        claimed: performance is lower, and p is below 0.05.
    """

    task: str
    damage: str
    found: Estimate
    p: float
    claimed: bool


def losses(networks: Profile | Sequence[Profile]) -> list[Loss]:
    """Does each kind of damage lower each task? Crossed t test over people and draws, Holm over all of them.

    Example:
        >>> import numpy as np
        >>> from facelesion.analysis import PersonScores, Term
        >>> rng = np.random.default_rng(0)
        >>> people = tuple("abcdefgh")
        >>> left = {("who", "none"): 0.9, ("who", "noise"): 0.5, ("what", "none"): 0.9, ("what", "noise"): 0.88}
        >>> scores = {cell: PersonScores(people, rng.normal(level, 0.05, (4, 8))) for cell, level in left.items()}
        >>> doses = {(*cell, 1.0): each for cell, each in scores.items() if cell[1] == "noise"}
        >>> network = Profile(("who", "what"), ("noise",), scores, doses)
        >>> [(loss.task, round(loss.found.estimate, 1), loss.claimed) for loss in losses(network)]
        [('who', 0.4, True), ('what', 0.0, False)]
    """
    several, first = _several(networks)
    pairs = [(task, damage) for task in first.tasks for damage in first.damages]
    found = [
        contrast(several, [Term(1, task, "none", fixed=True), Term(-1, task, damage)])
        for task, damage in pairs
    ]
    adjusted = holm([one.p for one in found])
    return [
        Loss(task, damage, one, float(p), bool(p < ALPHA and one.estimate > 0))
        for (task, damage), one, p in zip(pairs, found, adjusted, strict=True)
    ]


@dataclass(frozen=True)
class Dissociation:
    """Two kinds of damage and two tasks: does the first take more of the first task and the second of the second?

    Attributes:
        damages, tasks: two each; ordered so that, if anything, the first damage takes more of the first task.
        doses: of the two kinds, where they cross most surely.
        first: how much more the first damage takes of the first task than the second does.
        second: how much more the second damage takes of the second task than the first does.
        p: the larger of both p values, adjusted over all kinds, doses and tasks (Holm).
        claimed: both are above 0, and p is below 0.05.
        crossings: at how many pairs of doses it is claimed.
        compared: pairs of doses that there are.
    """

    damages: tuple[str, str]
    tasks: tuple[str, str]
    doses: tuple[float, float]
    first: Estimate
    second: Estimate
    p: float
    claimed: bool
    crossings: int
    compared: int


def dissociations(networks: Profile | Sequence[Profile]) -> list[Dissociation]:
    """Every two kinds of damage in every two tasks, the surest first.

    One dose of one kind is set against one of the other, all pairs of them. The first must take more of one task and
    the second more of the other: both comparisons are within a task, and both must hold (intersection–union test,
    Berger 1982, *Technometrics* 24:295–300). Whatever damage takes by its strength alone, in tasks of whatever
    difficulty and measure, cannot cross so: of two lesions the stronger takes more of both. A mean over doses could.

    Example:
        >>> import numpy as np
        >>> from facelesion.analysis import PersonScores
        >>> rng = np.random.default_rng(0)
        >>> people = tuple("abcdefgh")
        >>> left = {("who", "none"): 0.9, ("what", "none"): 0.9, ("who", "noise"): 0.5, ("what", "noise"): 0.8}
        >>> left |= {("who", "cuts"): 0.8, ("what", "cuts"): 0.5}
        >>> scores = {cell: PersonScores(people, rng.normal(level, 0.05, (4, 8))) for cell, level in left.items()}
        >>> doses = {(*cell, 1.0): each for cell, each in scores.items() if cell[1] != "none"}
        >>> (found,) = dissociations(Profile(("who", "what"), ("noise", "cuts"), scores, doses))
        >>> found.damages, found.tasks, found.claimed
        (('noise', 'cuts'), ('who', 'what'), True)
    """
    several, first = _several(networks)
    by_dose = [_by_dose(one) for one in _profiles(networks)]
    steps = {
        name: sorted({dose for _, damage, dose in first.doses if damage == name}) for name in first.damages
    }
    rows: list[tuple[tuple[str, str], tuple[str, str], tuple[float, float], Estimate, Estimate]] = []
    p_of: list[float] = []
    for one, two in itertools.combinations(first.damages, 2):
        for doses in itertools.product(steps[one], steps[two]):
            names = _dose_name(one, doses[0]), _dose_name(two, doses[1])
            more = {
                task: contrast(by_dose, [Term(1, task, names[1]), Term(-1, task, names[0])])
                for task in first.tasks
            }  # above 0: the first damage takes more
            for a, b in itertools.combinations(first.tasks, 2):
                a, b = (a, b) if more[a].estimate >= more[b].estimate else (b, a)
                there, back = more[a], _minus(more[b])
                tested = not (math.isnan(there.p) or math.isnan(back.p))
                crossed = there.estimate > 0 and back.estimate > 0
                p_of.append((max(there.p, back.p) if crossed else 1.0) if tested else math.nan)
                rows.append(((one, two), (a, b), doses, there, back))
    groups: dict[tuple[tuple[str, str], frozenset[str]], list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault((row[0], frozenset(row[1])), []).append(place)
    adjusted = holm(p_of)
    found = []
    for members in groups.values():
        best = min(
            members, key=lambda place: (math.isnan(p_of[place]), p_of[place], -_least(*rows[place][3:]))
        )
        claims = int(np.sum(adjusted[members] < ALPHA))
        damages, tasks, doses, there, back = rows[best]
        found.append(
            Dissociation(
                damages, tasks, doses, there, back, float(adjusted[best]), claims > 0, claims, len(members)
            )
        )
    return sorted(found, key=lambda one: (math.isnan(one.p), one.p, -_least(one.first, one.second)))


def _dose_name(damage: str, dose: float) -> str:
    return f"{damage} {dose!r}"


def _by_dose(one: Profile) -> dict[tuple[str, str], PersonScores]:
    """Scores with every dose as a lesion of its own."""
    return {(task, _dose_name(damage, dose)): scores for (task, damage, dose), scores in one.doses.items()}


def _least(first: Estimate, second: Estimate) -> float:
    return min(first.estimate, second.estimate)


@dataclass(frozen=True)
class Difference:
    """How much more a kind of damage takes of one task than of another, mean over its doses, on one scale.

    No claim: a harder task falls first under any damage.

    Attributes:
        found: intact less damaged of the first task, less the same of the second.
        matched: both tasks are as difficult for the intact network (`MATCHED`).
        turns: the difference has another sign at some dose.
    """

    tasks: tuple[str, str]
    damage: str
    found: Estimate
    matched: bool
    turns: bool


def differences(networks: Profile | Sequence[Profile]) -> list[Difference]:
    """Every two tasks under every kind of damage; of a profile on the scale 'choice'. None is left out.

    Example:
        >>> import numpy as np
        >>> from facelesion.analysis import PersonScores
        >>> rng = np.random.default_rng(0)
        >>> people = tuple("abcdefgh")
        >>> left = {("who", "none"): 0.9, ("who", "noise"): 0.5, ("what", "none"): 0.9, ("what", "noise"): 0.8}
        >>> scores = {cell: PersonScores(people, rng.normal(level, 0.05, (4, 8))) for cell, level in left.items()}
        >>> doses = {(*cell, 1.0): each for cell, each in scores.items() if cell[1] == "noise"}
        >>> (found,) = differences(Profile(("who", "what"), ("noise",), scores, doses))
        >>> found.tasks, round(found.found.estimate, 1)
        (('who', 'what'), 0.3)
    """
    several, first = _several(networks)
    rows = []
    for a, b in itertools.combinations(first.tasks, 2):
        matched = all(MATCHED[0] <= _mean(several, task, "none") <= MATCHED[1] for task in (a, b))
        healthy = _mean(several, a, "none") - _mean(several, b, "none")
        for damage in first.damages:
            terms = [Term(1, a, "none", fixed=True), Term(-1, a, damage)]
            terms += [Term(-1, b, "none", fixed=True), Term(1, b, damage)]
            found = contrast(several, terms)
            steps = sorted(dose for task, name, dose in first.doses if task == a and name == damage)
            signs = set()
            for dose in steps:
                here = [
                    one.doses[task, damage, dose].values.mean()
                    for one in _profiles(networks)
                    for task in (a, b)
                ]
                signs.add(bool(healthy - np.mean(here[::2]) + np.mean(here[1::2]) > 0))
            rows.append(Difference((a, b), damage, found, matched, len(signs) > 1))
    return rows


def level_of(
    one: Profile, task: str, damage: str = "none", dose: float | None = None, level: float = 0.95
) -> Interval:
    """A task's score with its interval over people and draws (`over_of`); at one dose, or over all."""
    check_level(level)
    scores = one.scores[task, damage] if dose is None else one.doses[task, damage, dose]
    fixed = damage == "none" or len(scores.values) < 2
    found = contrast({(task, damage): scores}, [Term(1, task, damage, fixed=fixed)]).interval(level)
    return Interval(found.estimate, max(found.low, 0.0), min(found.high, 1.0), level)


def over_of(one: Profile, task: str, damage: str, dose: float) -> str:
    """What the interval of `level_of` is over: of a lesion that was drawn once people alone."""
    drawn = damage != "none" and len(one.doses[task, damage, dose].values) > 1
    return "people × draws" if drawn else "people"


def _profiles(networks: Profile | Sequence[Profile]) -> list[Profile]:
    return [networks] if isinstance(networks, Profile) else list(networks)


def _several(
    networks: Profile | Sequence[Profile],
) -> tuple[list[Mapping[tuple[str, str], PersonScores]], Profile]:
    found = _profiles(networks)
    if not found:
        raise Error("a comparison needs a network")
    for other in found[1:]:
        if (other.tasks, other.damages) != (found[0].tasks, found[0].damages):
            raise Error("networks must have been damaged and asked alike to be compared")
    return [one.scores for one in found], found[0]


def _mean(networks: Sequence[Mapping[tuple[str, str], PersonScores]], task: str, damage: str) -> float:
    return float(np.mean([network[task, damage].values.mean() for network in networks]))


def _minus(one: Estimate) -> Estimate:
    return Estimate(-one.estimate, one.error, one.freedom, one.parts)
