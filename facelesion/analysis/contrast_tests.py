"""What a contrast comes to on trials: its size, with an interval over all that varies and over each alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from facelesion.analysis.answers import Answers, Lesion, answers_of, plain
from facelesion.analysis.checks import check_level, one_of
from facelesion.analysis.contrasts import NO_LESION, Cell, Contrast
from facelesion.analysis.crossed import (
    Estimate,
    Network,
    PersonScores,
    Source,
    Term,
    contrast,
    shares_of_people,
)
from facelesion.analysis.intervals import Interval
from facelesion.analysis.resampling import Link, in_words, resampled_interval
from facelesion.analysis.single_cases import LEAST_CONTROLS, Alternative, CaseTest, crawford_howell
from facelesion.analysis.statistics import NullTest, null_test
from facelesion.errors import Error

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ContrastResult:
    """What a contrast came to.

    Attributes:
        contrast: as it was named.
        participants: in which it was measured; of one against the others, that one first.
        estimate: its size on the contrast's scale.
        p: two-sided, over all that varies; not a number where that was seen only once.
        over: what varies together, such as 'people × draws'.
        interval: over all that varies.
        alone: the interval over each alone, by name.
        effect: in standard deviations between people (Cohen's d within people, with Hedges' correction); not a number
            where people do not differ.
        cells: the mean of each cell on the common scale, as a share of right choices between two.
        by_participant: the contrast in each participant alone, over people and draws.
        simple: of two lesions and two tasks: how much more the first lesion takes of the first task than the second
            lesion does, and how much more the second takes of the second. None for other contrasts.
        crossover: p that both are above 0 (intersection–union test, Berger 1982): no difference of strength,
            difficulty or scale brings that about. Not a number for other contrasts.
        case: one participant against ten others or more (Crawford & Howell), two-sided; None otherwise.
    """

    contrast: Contrast
    participants: tuple[str, ...]
    estimate: float
    p: float
    over: str
    interval: Interval
    alone: Mapping[Source, Interval]
    effect: float
    cells: Mapping[str, float]
    by_participant: Mapping[str, Estimate]
    simple: tuple[Estimate, Estimate] | None
    crossover: float
    case: CaseTest | None


def measure_contrast(
    which: Contrast,
    trials: pd.DataFrame,
    *,
    chance: Mapping[str, float] | None = None,
    undrawn: Collection[str] = (),
    method: Literal["t", "bootstrap"] = "t",
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> ContrastResult:
    """A contrast on a study's trials.

    All scores are shares of right choices between two (`Answers.scores`), so tasks of any number of alternatives can
    be subtracted from one another; as a sensitivity they are √2 z of it, with half a trial added to either side
    (Hautus 1995, *Behav Res Methods* 27:46–51), for a score of 100 % has none.

    Args:
        which: what is compared.
        trials: the study's trials; those of control lesions are left out.
        chance: what a guesser scores in each task, where trials do not say `forced_choice`.
        undrawn: series of damage that have no draws that could have come out otherwise.
        method: of the intervals: 't' covers with three of what varies; 'bootstrap' (resampled percentiles, widened for
            few) needs five. p is of the t test.
        level: of the intervals.
        resamples, seed: of the bootstrap.

    Raises:
        Error: trials without what the contrast names, or participants that were asked about other people.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> rows = [("net", "none", 0.0, 0, stimulus, "who", trial, f"p{trial // 4}", rng.normal(level) > 0)
        ...         for stimulus, level in (("intact", 1.5), ("invert", 0.3)) for trial in range(80)]
        >>> columns = ["participant", "lesion", "dose", "draw", "stimulus", "task", "trial", "person", "right"]
        >>> trials = pd.DataFrame(rows, columns=columns).assign(other="", target="", answer="", value=0.0)
        >>> trials = trials.assign(forced_choice=trials.right.astype(float))
        >>> found = measure_contrast(Contrast("inversion", task="who", of="intact", less="invert"), trials)
        >>> round(found.estimate, 2), found.p < 0.05, found.over
        (0.36, True, 'people')
    """
    check_level(level)
    one_of("method of an interval", method, ("t", "bootstrap"))
    trials = _chosen(trials)
    everybody = tuple(map(str, trials["participant"].unique()))
    names = _participants(which, everybody)
    weights = which.weights()
    scores = {name: _scores(which, weights, trials, name, chance) for name in names}
    terms = _terms(weights, undrawn)
    links: dict[str, Link] | None = None
    networks: dict[str, Network] = {name: each.by_cell for name, each in scores.items()}
    linear: dict[str, Network] = dict(networks)
    if which.scale == "sensitivity":
        trials_of = next(iter(scores.values())).trials_of
        links = {_task(cell): _sensitivity(trials_of[cell.task]) for cell in weights}
        linear = {name: _linear(each, links) for name, each in networks.items()}

    by_participant = {
        name: contrast(linear[name], terms, ("people", "draws")) for name in names
    }
    together: list[Network] = list(networks.values())
    together_linear: list[Network] = list(linear.values())
    together_terms = terms
    if which.participant is not None:
        together, together_terms = _against(networks, terms)
        together_linear, _ = _against(linear, terms)
    present: list[Source] = ["people"]
    if any(not term.fixed for term in together_terms):
        present.append("draws")
    if len(together) > 1:
        present.append("networks")

    def interval(over: Sequence[Source]) -> Interval:
        if method == "t":
            return contrast(together_linear, together_terms, over).interval(level)
        return resampled_interval(
            together, together_terms, over, links=links, level=level, resamples=resamples, seed=seed
        )

    found = contrast(together_linear, together_terms, present)
    simple = _simple(which, linear, undrawn) if len(which.tasks) == len(which.lesions) == 2 else None
    return ContrastResult(
        which,
        names,
        found.estimate,
        found.p,
        in_words(present),
        interval(present),
        {source: interval([source]) for source in present},
        _effect(together_linear, together_terms, found.estimate),
        _cells(weights, networks),
        by_participant,
        simple,
        _crossover(simple),
        _case(which, names, by_participant),
    )


def contrast_against_controls(
    which: Contrast,
    trials: pd.DataFrame,
    control: Literal["matched", "random"] = "matched",
    *,
    chance: Mapping[str, float] | None = None,
    alternative: Alternative = "two-sided",
) -> dict[str, NullTest]:
    """Is the contrast more than sets of other units would give in place of the chosen ones, in each participant?

    Every set takes the place of the chosen units; of two lesions every set of the one goes with every set of the other,
    the chosen ones among them, but for the very pair that is tested: were any set as good as the chosen one, all of
    these would be equally likely. A set that was found twice counts once, for it is one that might have been chosen.

    Args:
        which: what is compared; its lesions' units were chosen.
        trials: the study's trials, with a column `control` that is empty for the chosen units.
        control: sets matched in activation too, or in number alone.
        chance: as in `measure_contrast`.
        alternative: 'greater' asks whether the contrast is larger than among the controls.

    Returns:
        By participant. p counts the chosen units as one of the sets, so that it is never below 1 / (n + 1); n is how
        many sets, or pairs of sets, differ.

    Raises:
        Error: a contrast without a lesion, lesions without controls, or one participant against the others, who have no
            controls together.

    Example:
        `contrast_against_controls(primary, trials)["builtin"].p`

    Example:
        >>> import pandas as pd; rng = np.random.default_rng(0)
        >>> sets = [("none", "", 0, 0, 0.95), ("chosen", "", 0.2, 0, 0.5)]
        >>> sets += [("chosen", "random", 0.2, number, 0.9) for number in range(40)]
        >>> rows = [(*each, task, trial, f"p{trial // 4}", rng.random() < (level if task == "who" else 0.9))
        ...         for *each, level in sets for task in ("who", "what") for trial in range(80)]
        >>> trials = pd.DataFrame(rows, columns="lesion control dose draw task trial person right".split())
        >>> trials = trials.assign(participant="net", stimulus="intact", other="", target="", answer="", value=0.0,
        ...                        forced_choice=trials["right"] * 1.0)
        >>> which = Contrast("apart", lesion="chosen", tasks=("who", "what"))
        >>> round(contrast_against_controls(which, trials, "random")["net"].p, 2)
        0.05
    """
    one_of("kind of control", control, ("matched", "random"))
    if not which.damage or which.participant is not None:
        what = "one participant against others" if which.damage else "a contrast without a lesion"
        raise Error(f"{which.name}: {what} has no control lesions")
    if "control" not in trials or not (trials["control"] == control).any():
        raise Error(f"{which.name}: there are no trials of {control} control lesions")
    others = trials[(trials["control"] == control) | (trials["lesion"] == NO_LESION)]
    everybody = tuple(map(str, trials["participant"].unique()))
    return {
        name: null_test(*_instead(which, _chosen(trials), others, name, chance), alternative)
        for name in _participants(which, everybody)
    }


def _chosen(trials: pd.DataFrame) -> pd.DataFrame:
    """The lesions themselves, without sets of other units in their place."""
    return trials[trials["control"] == ""] if "control" in trials else trials


def _instead(
    which: Contrast,
    chosen: pd.DataFrame,
    others: pd.DataFrame,
    participant: str,
    chance: Mapping[str, float] | None,
) -> tuple[float, NDArray[np.float64]]:
    """The contrast with the chosen units, and with other sets in their place."""
    whole = _by_lesion(which, chosen, participant, chance, whole=True)
    sets = _by_lesion(which, others, participant, chance)
    totals: NDArray[np.float64] = np.zeros(1)
    for lesion, own in whole.items():  # the chosen set of each comes first
        each = own.values if lesion == NO_LESION else np.concatenate([own.values, sets[lesion].distinct()])
        totals = np.add.outer(totals, each).ravel()
    return float(totals[0]), totals[1:]


@dataclass(frozen=True, eq=False)
class _Part:
    """What one lesion adds to a contrast under each of its draws, and all answers that were given under it."""

    values: NDArray[np.float64]
    answers: tuple[bytes, ...]

    def distinct(self) -> NDArray[np.float64]:
        """One value for all draws that were answered alike to the last bit: they damaged the same units."""
        first = {given: number for number, given in reversed(list(enumerate(self.answers)))}
        return self.values[sorted(first.values())]


def _by_lesion(
    which: Contrast,
    trials: pd.DataFrame,
    participant: str,
    chance: Mapping[str, float] | None,
    whole: bool = False,
) -> dict[str, _Part]:
    """What every lesion adds to the contrast, by its draws; or, on the whole, the mean over them."""
    found: dict[str, _Part] = {}
    for cell, weight in which.weights().items():
        answers = _answers(which, cell, trials, participant, chance)
        value = _of_doses(which, cell, answers, answers.levels("choice"))
        value = value.mean(keepdims=True) if whole else value
        if which.scale == "sensitivity":
            value = _sensitivity(len(answers.people))(value)
        printed, doses = answers.fingerprints(), _doses(which, cell, answers)
        by_dose = [[printed[dose][row] for row in rows] for dose, rows in doses]
        given = [b"".join(each) for each in zip(*by_dose, strict=True)]
        part = _Part(weight * value, tuple(given))
        if cell.lesion in found:
            before = found[cell.lesion]
            given = [one + two for one, two in zip(before.answers, part.answers, strict=True)]
            part = _Part(before.values + part.values, tuple(given))
        found[cell.lesion] = part
    return found


@dataclass(frozen=True, eq=False)
class _Scores:
    """One participant's scores by (task | stimulus, lesion), on the choice scale, and how many trials a task has."""

    by_cell: dict[tuple[str, str], PersonScores]
    trials_of: dict[str, int]


def _participants(which: Contrast, everybody: tuple[str, ...]) -> tuple[str, ...]:
    names = which.participants or everybody
    if which.participant is not None:
        names = (which.participant, *(name for name in names if name != which.participant))
    for name in names:
        if name not in everybody:
            raise Error(f"{which.name}: there are no trials of participant {name!r}")
    if which.participant is not None and len(names) < 2:
        raise Error(f"{which.name}: there is nobody to compare {which.participant!r} with")
    return tuple(names)


def _scores(
    which: Contrast,
    weights: Iterable[Cell],
    trials: pd.DataFrame,
    participant: str,
    chance: Mapping[str, float] | None,
) -> _Scores:
    """The scores of a participant that a contrast needs, averaged over doses or at its step."""
    found: dict[tuple[str, str], PersonScores] = {}
    trials_of: dict[str, int] = {}
    for cell in weights:
        answers = _answers(which, cell, trials, participant, chance)
        values = {lesion: scores.values for lesion, scores in answers.scores("choice").items()}
        found[_task(cell), cell.lesion] = PersonScores(answers.names, _of_doses(which, cell, answers, values))
        trials_of[cell.task] = len(answers.people)
    return _Scores(found, trials_of)


def _answers(
    which: Contrast,
    cell: Cell,
    trials: pd.DataFrame,
    participant: str,
    chance: Mapping[str, float] | None,
) -> Answers:
    """A participant's answers to a task under one lesion and stimulus."""
    task, _, section = cell.task.partition("/")
    part = trials[
        (trials["participant"] == participant)
        & (trials["task"] == task)
        & (trials["lesion"] == cell.lesion)
        & (trials["stimulus"] == cell.stimulus)
    ]
    if section and "section" in part:
        part = part[_in_section(part["section"], section)]
    if not len(part):
        raise Error(
            f"{which.name}: {participant} has no trials of {cell.task} under {cell.lesion} with {cell.stimulus} "
            "pictures"
        )
    answers = answers_of(plain(part), chance)[task]
    if not answers.comparable:
        raise Error(
            f"{which.name}: {cell.task} has no known number of answers, so it has no place on a common scale"
        )
    return answers


def _in_section(sections: pd.Series, section: str) -> pd.Series:
    """Trials of a section; where none is called so, of all sections that have it as a part of their name."""
    names = set(sections)
    if section not in names:
        names = {name for name in names if section in str(name).split(", ")}
        return sections.isin(names)
    return sections == section


def _of_doses(
    which: Contrast, cell: Cell, answers: Answers, values: Mapping[Lesion, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """What a cell comes to, of values by draw: the mean over its doses, or its step, over the draws that all have."""
    parts = [values[dose][rows] for dose, rows in _doses(which, cell, answers)]
    return np.asarray(np.mean(parts, axis=0))


def _doses(which: Contrast, cell: Cell, answers: Answers) -> list[tuple[Lesion, list[int]]]:
    """The doses that a cell is of, and the places of the draws that all of them have."""
    drawn = answers.draws()
    steps = sorted(drawn)
    if cell.lesion != NO_LESION and which.step is not None:
        if which.step > len(steps):
            raise Error(f"{which.name}: {cell.lesion} has {len(steps)} doses, and no step {which.step}")
        steps = [steps[which.step - 1]]
    shared = sorted(set.intersection(*(set(drawn[step]) for step in steps)))
    if not shared:
        raise Error(f"{which.name}: no draw of {cell.lesion} has all of its doses")
    return [(step, [drawn[step].index(draw) for draw in shared]) for step in steps]


def _task(cell: Cell) -> str:
    return f"{cell.task} | {cell.stimulus}"


def _terms(weights: Mapping[Cell, float], undrawn: Collection[str]) -> list[Term]:
    return [
        Term(weight, _task(cell), cell.lesion, fixed=cell.lesion == NO_LESION or cell.lesion in undrawn)
        for cell, weight in weights.items()
    ]


def _against(
    networks: Mapping[str, Network], terms: Sequence[Term]
) -> tuple[list[Network], list[Term]]:
    """The first participant less the mean of the others: all meet the same people, each has draws of its own."""
    found: dict[tuple[str, str], PersonScores] = {}
    added = []
    for place, (name, scores) in enumerate(networks.items()):
        share = 1.0 if place == 0 else -1.0 / (len(networks) - 1)
        for term in terms:
            lesion = f"{name}: {term.lesion}"
            found[term.task, lesion] = scores[term.task, term.lesion]
            added.append(Term(share * term.weight, term.task, lesion, term.fixed))
    return [found], added


def _sensitivity(trials: int) -> Link:
    def link(share: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy import stats

        within = (np.clip(share, 0.0, 1.0) * trials + 0.5) / (trials + 1)
        return np.asarray(math.sqrt(2) * stats.norm.ppf(within))

    return link


def _linear(
    network: Network, links: Mapping[str, Link]
) -> dict[tuple[str, str], PersonScores]:
    """Scores behind their link: the mean is carried over, and differences of people and draws by its slope there."""
    found = {}
    for (task, lesion), scores in network.items():
        mean = float(scores.values.mean())
        low, high = max(mean - 1e-5, 0.0), min(mean + 1e-5, 1.0)
        at, below, above = (float(links[task](np.array([value]))[0]) for value in (mean, low, high))
        slope = (above - below) / (high - low)
        found[task, lesion] = PersonScores(scores.people, at + slope * (scores.values - mean))
    return found


def _simple(
    which: Contrast, networks: Mapping[str, Network], undrawn: Collection[str]
) -> tuple[Estimate, Estimate]:
    """Within each task: what its lesion takes more of it than the other lesion does."""
    found = []
    together = list(networks.values())
    for sign, place in ((1, 0), (-1, 1)):
        task = which.tasks[place]
        part = {cell: sign * abs(weight) * (1 if cell.lesion == which.lesions[1] else -1)
                for cell, weight in which.weights().items() if cell.task == task}  # fmt: skip
        terms = _terms(part, undrawn)
        if which.participant is not None:
            found.append(contrast(*_against(networks, terms)))
        else:
            found.append(contrast(together, terms))
    return found[0], found[1]


def _crossover(simple: tuple[Estimate, Estimate] | None) -> float:
    if simple is None or any(math.isnan(one.p) for one in simple):
        return math.nan
    return max(one.p for one in simple) if all(one.estimate > 0 for one in simple) else 1.0


def _effect(
    networks: Sequence[Network], terms: Sequence[Term], estimate: float
) -> float:
    """The estimate in standard deviations between people: of the mean variance over groups who are in other tasks."""
    groups = [np.array(list(group.values())) * len(group) for group in shares_of_people(networks, terms)]
    freedom = sum(len(group) - 1 for group in groups)
    if any(len(group) < 2 for group in groups) or freedom < 2:
        return math.nan
    spread = math.sqrt(float(np.mean([group.var(ddof=1) for group in groups])))
    if spread <= 1e-12:
        return math.nan
    correction = math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2) - math.log(freedom / 2) / 2)
    return estimate / spread * correction


def _cells(
    weights: Iterable[Cell], networks: Mapping[str, Network]
) -> dict[str, float]:
    return {
        f"{cell.task}, {'healthy' if cell.lesion == NO_LESION else cell.lesion}, {cell.stimulus}": float(
            np.mean([network[_task(cell), cell.lesion].values.mean() for network in networks.values()])
        )
        for cell in weights
    }


def _case(
    which: Contrast, names: Sequence[str], by_participant: Mapping[str, Estimate]
) -> CaseTest | None:
    if which.participant is None or len(names) - 1 < LEAST_CONTROLS:
        return None
    others = [by_participant[name].estimate for name in names[1:]]
    if np.ptp(others) == 0:
        return None
    return crawford_howell(by_participant[names[0]].estimate, others, "two-sided")
