"""Answers trial by trial: a task's score of every person, in its own measure or on one scale for all tasks."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from facelesion.analysis.checks import one_of
from facelesion.analysis.crossed import PersonScores
from facelesion.errors import Error

if TYPE_CHECKING:
    import pandas as pd

Scale = Literal["own", "choice"]
Lesion = tuple[str, float]  # series and dose
INTACT: Lesion = ("none", 0.0)
YES = ("same", "face")  # what a yes/no task's decision value is larger for, if its answers do not say


@dataclass(frozen=True, eq=False)
class Answers:
    """One network's answers to one task: a row per lesion that was drawn, a column per trial.

    Attributes:
        cells: (series, dose, draw) of each row; ('none', 0.0, 0) is the intact network.
        value: float64 (rows, trials), the decision value.
        right: bool (rows, trials).
        target: (trials,) the right answers.
        people: for each trial one person or, of a pair, two.
        yes: the answer that `value` speaks for, in a yes/no task; '' where it speaks for each trial's own target.
        alternatives: how many answers there are to choose from; 0 if unknown.
        beaten: float64 (rows, trials), the share of the other answers that the target beats; None if not kept.
    """

    task: str
    cells: tuple[tuple[str, float, int], ...]
    value: NDArray[np.float64]
    right: NDArray[np.bool_]
    target: NDArray[np.object_]
    people: tuple[tuple[str, ...], ...]
    yes: str
    alternatives: int
    beaten: NDArray[np.float64] | None = None

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Everybody who is shown, each once."""
        return tuple(dict.fromkeys(name for pair in self.people for name in pair))

    @property
    def comparable(self) -> bool:
        """Whether the task can be put on the common scale."""
        return bool(self.yes) or self.beaten is not None or self.alternatives >= 2

    @property
    def paired(self) -> bool:
        """Whether there are trials of two people."""
        return any(len(pair) > 1 for pair in self.people)

    @functools.cached_property
    def separable(self) -> bool:
        """Whether people can be told from trials: without any one person there must be trials left, of an area both
        kinds."""
        if not self.yes:
            return not self.paired or bool((self._member().sum(0) < len(self.people)).all())
        member, positive = self._member().astype(bool), self.target == self.yes
        without = [(~member[kind]).sum(0) for kind in (positive, ~positive)]
        return bool((without[0] * without[1] > 0).all())

    def scores(self, scale: Scale = "own") -> dict[Lesion, PersonScores]:
        """By series and dose: every person's score under every draw.

        `own`: the share that is right, or of yes/no tasks the area under the ROC curve. `choice`: the share of right
        choices between two, the same for all tasks: of yes/no tasks that is the area under the curve; of others how
        often the target beats another answer, if `beaten` was kept, else what an observer of the same sensitivity
        would reach between two (`choice_of_two`). The mean over people is the task's score. A person's score of an
        area, or of pairs, is a pseudo-value: it says how the score changes without this person, both in pairs of its
        own and in pairs with others, and can lie outside 0 and 1.

        Raises:
            Error: a scale that there is not, or a task that cannot be put on it.
        """
        self._check(scale)
        values = self._areas() if self.yes else self._means(self._chosen(scale))
        found = {}
        for lesion, rows in self._rows().items():
            part = values[rows]
            if self._by_observer(scale):
                part = _on_choice(part, self.alternatives)
            found[lesion] = PersonScores(self.names, part)
        return found

    def levels(self, scale: Scale = "own") -> dict[Lesion, NDArray[np.float64]]:
        """By series and dose: the task's score under every draw, which is the mean of `scores` over people.

        Where thousands of lesions are compared and nobody asks about people, as with control sets, this is many times
        quicker.

        Raises:
            Error: a scale that there is not, or a task that cannot be put on it.
        """
        self._check(scale)
        if self.yes:
            values = self._areas_over_all()
        elif self.paired:
            values = self._chosen(scale).mean(1)
        else:
            values = self._means(self._chosen(scale)).mean(1)
        if self._by_observer(scale):
            values = np.array([choice_of_two(float(share), self.alternatives) for share in values])
        return {lesion: values[rows] for lesion, rows in self._rows().items()}

    def draws(self) -> dict[Lesion, list[int]]:
        """By series and dose: the numbers of its draws, ordered as in scores, levels and fingerprints."""
        return {lesion: [self.cells[row][2] for row in rows] for lesion, rows in self._rows().items()}

    def fingerprints(self) -> dict[Lesion, list[bytes]]:
        """By series and dose: all that was answered under every draw, to the last bit, as a hash.

        Two draws with the same one damaged the same units.
        """
        tables = [each for each in (self.value, self.right, self.beaten) if each is not None]
        rows = range(len(self.cells))
        found = [hashlib.sha256(b"".join(each[row].tobytes() for each in tables)).digest() for row in rows]
        return {lesion: [found[row] for row in own] for lesion, own in self._rows().items()}

    def _check(self, scale: Scale) -> None:
        one_of("scale", scale, ("own", "choice"))
        if scale == "choice" and not self.comparable:
            raise Error(f"{self.task} has no known number of answers: it has no place on a common scale")

    def _by_observer(self, scale: Scale) -> bool:
        """Whether a share right among many has to be carried over to two."""
        return scale == "choice" and not self.yes and self.beaten is None

    def _chosen(self, scale: Scale) -> NDArray[np.float64]:
        return self.right.astype(float) if scale == "own" or self.beaten is None else self.beaten

    def _rows(self) -> dict[Lesion, list[int]]:
        """The rows of each series and dose, by draw."""
        found: dict[Lesion, list[int]] = {}
        for row, cell in enumerate(self.cells):
            found.setdefault(cell[:2], []).append(row)
        return {lesion: sorted(rows, key=lambda row: self.cells[row][2]) for lesion, rows in found.items()}

    def _means(self, chosen: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each person's mean (rows, people); of pairs, the pseudo-value of leaving the person out of all of them.

        A person who is easy to know makes the mean of everybody they are paired with higher too. So the spread of
        people's own means shows a fourth of the variance that other people would bring.
        """
        member = self._member()
        asked = member.sum(0)
        if not self.paired:
            return chosen @ member / asked
        trials, people = len(self.people), len(self.names)
        if (asked == trials).any():
            raise Error(
                f"{self.task}: {self.names[int((asked == trials).argmax())]!r} is in every pair, so that people cannot "
                "be told from trials"
            )
        mean = chosen.mean(1, keepdims=True)
        without = (chosen.sum(1, keepdims=True) - chosen @ member) / (trials - asked)
        found = people * mean - (people - 1) * without
        return found + mean - found.mean(1, keepdims=True)  # the task's score is the mean itself

    def _member(self) -> NDArray[np.float64]:
        place = {name: number for number, name in enumerate(self.names)}
        member = np.zeros((len(self.people), len(place)))
        for trial, pair in enumerate(self.people):
            member[trial, [place[name] for name in pair]] = 1
        return member

    def _areas_over_all(self) -> NDArray[np.float64]:
        """The area under the ROC curve (rows,)."""
        positive = self.target == self.yes
        yes, no = self.value[:, positive], self.value[:, ~positive]
        wins = [_beats(a, b).sum() for a, b in zip(yes, no, strict=True)]
        return np.array(wins) / (yes.shape[1] * no.shape[1])

    def _areas(self) -> NDArray[np.float64]:
        """Pseudo-values of the area under the ROC curve (rows, people): a person's are those of all its trials."""
        positive = self.target == self.yes
        member = self._member().astype(bool)
        yes, no = self.value[:, positive], self.value[:, ~positive]
        yes_of, no_of = member[positive], member[~positive]
        people = len(self.names)
        found = np.empty((len(self.cells), people))
        left = (len(yes_of) - yes_of.sum(0)) * (len(no_of) - no_of.sum(0))
        if (left == 0).any():
            raise Error(
                f"{self.task}: without {self.names[int((left == 0).argmax())]!r} no trial of one kind is left, so that "
                "people cannot be told from trials"
            )
        shared = [(np.flatnonzero(yes_of[:, p]), np.flatnonzero(no_of[:, p])) for p in range(people)]
        for row in range(len(self.cells)):
            a, b = yes[row], no[row]
            wins, losses = (
                _beats(a, b),
                len(a) - _beats(b, a),
            )  # how many each yes beats; how many beat each no
            total = wins.sum()
            without = total - wins @ yes_of - losses @ no_of
            for p, (ours, theirs) in enumerate(shared):
                if len(ours) and len(theirs):
                    without[p] += _beats(a[ours], b[theirs]).sum()
            area = total / (len(a) * len(b))
            found[row] = people * area - (people - 1) * without / left
            found[row] += area - found[row].mean()  # the task's score is the area itself
        return found


def _beats(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each of `a` how many of `b` it exceeds, ties counting half."""
    order = np.sort(b)
    return (np.searchsorted(order, a, "left") + np.searchsorted(order, a, "right")) / 2


def _on_choice(values: NDArray[np.float64], alternatives: int) -> NDArray[np.float64]:
    """Shares right as choices of two: the mean is carried over, and people's differences by its slope there."""
    mean = float(values.mean())
    step = 1e-4
    low, high = max(mean - step, 0.0), min(mean + step, 1.0)
    slope = (choice_of_two(high, alternatives) - choice_of_two(low, alternatives)) / (high - low)
    return choice_of_two(mean, alternatives) + slope * (values - mean)


def choice_of_two(share: float, alternatives: int) -> float:
    """What an observer who is right in `share` of choices between many would reach between two.

    Equal-variance Gaussian observer without bias: d′ from the choice of m (Hacker & Ratcliff 1979,
    *Percept Psychophys* 26:168–170), and Φ(d′/√2) for two. Below chance, where nothing is known, the scale goes on
    straight, so that guessing is 0.5 on average.

    Raises:
        Error: fewer than two alternatives, or a share that is none.

    Example:
        >>> round(choice_of_two(0.5, 40), 2), round(choice_of_two(0.7, 2), 2), choice_of_two(0.025, 40)
        (0.94, 0.7, 0.5)
    """
    if alternatives < 2 or not 0 <= share <= 1:
        raise Error(f"a share between 0 and 1 of 2 or more alternatives, not {share} of {alternatives}")
    many, two = _observer(alternatives)
    if share < many[0]:
        slope = (two[1] - two[0]) / (many[1] - many[0])
        return max(0.0, float(two[0] - slope * (many[0] - share)))
    return float(np.interp(share, many, two))


@functools.lru_cache(maxsize=64)
def _observer(alternatives: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares right between many and between two, as sensitivity grows from 0."""
    from scipy import stats

    sensitivity = np.linspace(0, 9, 901)
    x = np.linspace(-7, 16, 1151)
    density = stats.norm.pdf(x[None] - sensitivity[:, None])
    many = (density * stats.norm.cdf(x) ** (alternatives - 1)).sum(1) * (x[1] - x[0])
    two = stats.norm.cdf(sensitivity / math.sqrt(2))
    many[0], many[-1], two[-1] = 1 / alternatives, 1.0, 1.0
    return np.maximum.accumulate(many), two


def d_prime(choice: float) -> float:
    """Sensitivity of an observer with this share of right choices between two: √2 z(choice).

    Example:
        >>> round(d_prime(0.76), 2), d_prime(0.5)
        (1.0, 0.0)
    """
    from scipy import stats

    if not 0 <= choice <= 1:
        raise Error(f"a share of right choices lies between 0 and 1, not at {choice}")
    return float(math.sqrt(2) * stats.norm.ppf(choice))


def answers_of(trials: pd.DataFrame, chance: Mapping[str, float] | None = None) -> dict[str, Answers]:
    """One network's answers under one stimulus, by task.

    Args:
        trials: rows with lesion, dose, draw, task, trial, person, other, target, answer, value and right, and perhaps
            `forced_choice` (the share of the other answers that the target beats) and `section`, of one participant and
            one stimulus. Rows of `control` sets are left out: what they are compared with is `against_controls`'s.
        chance: what a guesser scores in each task, for the number of alternatives; else it is counted.

    Raises:
        Error: several participants or stimuli; or a lesion that was not asked every trial of a task.

    Example:
        >>> import pandas as pd
        >>> rows = [("none", 0.0, 0, "who", "Ada", True), ("none", 0.0, 0, "who", "Bo", True)]
        >>> rows += [("noise", 0.5, 0, "who", "Ada", True), ("noise", 0.5, 0, "who", "Bo", False)]
        >>> trials = pd.DataFrame(rows, columns=["lesion", "dose", "draw", "task", "person", "right"])
        >>> trials = trials.assign(trial=[0, 1, 0, 1], other="", target=trials["person"], answer="Ada", value=0.0)
        >>> found = answers_of(trials)["who"]
        >>> found.cells, found.right.tolist()
        ((('none', 0.0, 0), ('noise', 0.5, 0)), [[True, True], [True, False]])
    """
    if "control" in trials:
        trials = trials[trials["control"] == ""]
    for column in ("participant", "stimulus"):
        if column in trials and trials[column].nunique() > 1:
            raise Error(f"give the trials of one {column} at a time")
    return {
        str(task): _answers(str(task), part, (chance or {}).get(str(task)))
        for task, part in trials.groupby("task", sort=False)
    }


def plain(part: pd.DataFrame) -> pd.DataFrame:
    """Names as words, since categories would be grouped where there are none of them; and no mark of controls."""
    part = part.drop(columns="control", errors="ignore")
    return part.astype({name: object for name in part.columns if str(part[name].dtype) == "category"})


def _answers(task: str, part: pd.DataFrame, chance: float | None) -> Answers:
    import pandas as pd

    cell = pd.MultiIndex.from_frame(part[["lesion", "dose", "draw"]])
    row, cells = pd.factorize(cell)
    column, order = pd.factorize(part["trial"], sort=True)
    shape = len(cells), len(order)
    if len(part) != shape[0] * shape[1] or len(np.unique(row * shape[1] + column)) != len(part):
        raise Error(
            f"{task}: every lesion must have been asked each of the {shape[1]} trials once; "
            f"{len(part)} answers of {shape[0]} lesions are there"
        )

    def table(name: str, kind: type) -> NDArray:
        found: NDArray = np.empty(shape, dtype=kind)
        found[row, column] = part[name].to_numpy(dtype=kind)
        return found

    first = np.flatnonzero(row == row[0])
    first = first[np.argsort(column[first])]
    words = {name: part[name].astype(object).to_numpy() for name in ("person", "other", "target", "answer")}
    target = words["target"][first]
    if (words["target"] != target[column]).any() or (words["person"] != words["person"][first][column]).any():
        raise Error(f"{task}: a trial must show the same person and have the same answer under every lesion")
    people = tuple(
        (one,) if other in ("", one) else (one, other)
        for one, other in zip(words["person"][first], words["other"][first], strict=True)
    )
    value = part["value"].to_numpy(dtype=float)
    answers = sorted({*words["answer"], *target} - {""})
    alternatives = len(answers)
    if chance is not None:
        many = 1 / chance if math.isfinite(chance) and 0 < chance <= 0.5 else 0.0
        alternatives = round(many) if abs(many - round(many)) < 1e-6 else 0
    values, kept = table("value", float), "forced_choice" in part
    if kept:
        # A study's value speaks for each trial's own target: turned round, it is the evidence for one answer.
        whole = "section" not in part or set(part["section"]) == {""}
        yes = next((a for a in YES if a in set(target)), "") if whole and len(set(target)) == 2 else ""
        values = np.where(target == yes, values, -values) if yes else values
    else:
        yes = _yes(words["answer"], value, sorted(set(target)))
    return Answers(
        task,
        tuple((str(lesion), float(dose), int(draw)) for lesion, dose, draw in cells),
        values,
        table("right", bool),
        target,
        people,
        yes,
        alternatives,
        table("forced_choice", float) if kept else None,
    )


def _yes(answer: NDArray[np.object_], value: NDArray[np.float64], targets: list[str]) -> str:
    """The answer that large values speak for, if one bound on the value parts the two answers; else ''."""
    if len(targets) != 2:
        return ""
    one, two = (value[answer == target] for target in targets)
    if len(one) and len(two):
        if one.min() >= two.max() and one.max() > two.min():
            return targets[0]
        return targets[1] if two.min() >= one.max() and two.max() > one.min() else ""
    return next((target for target in targets if target in YES), "")
