"""Every participant and every damaged condition of a study as a single case beside the networks trained alike.

Scores are tested as log odds, half a trial added to either side. Shares near a ceiling are skewed, and tested as they
are a healthy network is called impaired too often: among eleven alike that get 95 % of 32 trials, some of them and some
of four tasks in 28 of 100 studies after Holm, as log odds in fewer than 2 (docs/statistics.md).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facelesion.analysis.bayesian_cases import bayesian_difference
from facelesion.analysis.cases_in_words import OTHERS, coming_apart, standing
from facelesion.analysis.crossed import holm
from facelesion.analysis.intervals import Interval, bootstrap_interval
from facelesion.analysis.single_cases import (
    LEAST_CONTROLS,
    crawford_howell_from_summary,
    revised_standardised_difference,
)
from facelesion.errors import Error

if TYPE_CHECKING:
    import pandas as pd

ALIKE = "trained alike"
INTACT, SAME = "intact", "the same damage"
ALPHA = 0.05
_NONE = 1e-12  # a deviation below this is rounding

#: Columns of a table of single cases, in order, and what they mean.
CASES: Mapping[str, str] = {
    "participant": "the case",
    "group": "the networks that it is compared with; empty where the study names no group",
    "lesion": "its damage; none: it is intact",
    "step": "number of the dose",
    "dose": "how much",
    "against": "intact: the controls intact; the same damage: the controls under that lesion and dose",
    "task": "what was asked",
    "measure": "the task's main measure",
    "minus": "of a difference between two tasks: the second one; empty for one task",
    "controls": "how many control participants there are",
    "score": "the case's measure, mean over draws; of a difference empty",
    "mean": "of the controls' measures",
    "deviation": "standard deviation of the controls' measures (n − 1)",
    "scale": "what was tested: log odds of the measure, or the measure itself where it has no bounds",
    "t": "Crawford & Howell's t; of a difference that of the revised standardised difference test (no sign)",
    "p_classical": "p of that t: one-sided of a deficit, two-sided of a difference",
    "p": "Bayesian: of a deficit the same; of a difference two-sided, calibrated prior",
    "effect": "in deviations of the controls (z-CC, of a difference z-DCC)",
    "low": "lower end of its 95 % credible interval",
    "high": "upper end",
    "below": "estimated share of such networks that lie lower; of a difference, whose difference does",
    "adjusted": "p over all tests of intact participants or of damaged ones (Holm), twice, for there are both",
    "called": "whether adjusted p is below 0.05; a deficit, or a difference",
    "kind": "of two tasks: classical (the one impaired, the other not), strong (both), or none, by what was called",
    "words": "what it says",
}


def judge_cases(
    table: pd.DataFrame, groups: Mapping[str, Sequence[str]], draws: int = 10_000
) -> pd.DataFrame:
    """Test every participant, and the first of every group under all its damage, against networks of the group.

    Every participant that is intact is compared with the others that are, also one of no group (an untrained network
    beside trained ones, which is never a control). The first participant of a group is the study's subject: each of
    its damaged conditions is compared with the intact controls, and with the controls under the same damage. Deficits
    by Crawford & Howell 1998, which without covariates is the Bayesian test (Crawford & Garthwaite 2007); two tasks by
    the revised standardised difference (2005) and the Bayesian test. Controls that differ less than their numbers of
    answers would make them by chance are given that deviation. With fewer than ten controls nothing is tested, and
    `words` says how many it takes.

    Args:
        table: a study's `table.parquet`; rows of control sets are left out.
        groups: names of participants by group. An empty name stands for a group that nobody named.
        draws: of each posterior of a difference (`bayesian_difference`).

    Returns:
        One row per case, condition, comparison and task or pair of tasks, on unchanged pictures. The columns are
        `CASES`.

    Raises:
        Error: a group that names somebody who is not in the table.

    Example:
        >>> import pandas as pd
        >>> row = {"stimulus": "intact", "task": "who", "metric": "accuracy", "main": True, "better": "higher"}
        >>> row |= {"control": "", "lesion": "none", "step": 0, "dose": 0.0, "draw": 0, "n": 200}
        >>> row |= {"share": True, "chance": 0.1}
        >>> right = [0.81, 0.83, 0.80, 0.84, 0.82, 0.79, 0.83, 0.81, 0.80, 0.82, 0.84, 0.35]
        >>> table = pd.DataFrame([row | {"participant": f"net {n}", "value": share} for n, share in enumerate(right)])
        >>> found = judge_cases(table, {"alike": list(table["participant"])})
        >>> found.loc[found["called"], ["participant", "task"]].to_dict("records")
        [{'participant': 'net 11', 'task': 'who'}]
    """
    import pandas as pd

    scores = _scores(table)
    rows: list[dict[str, Any]] = []
    known = list(dict.fromkeys(key[0] for key in scores))
    for group, names in groups.items():
        if strangers := [name for name in names if name not in known]:
            raise Error(f"group {group!r} names {strangers[0]!r}, who takes no part")
        for case in _cases(group, list(names), known, scores, len(groups) == 1):
            rows += _tested(case, scores, draws)
    found = pd.DataFrame(rows, columns=list(CASES))
    found["adjusted"] = math.nan
    healthy = found["lesion"] == "none"
    for family in (healthy, ~healthy):  # is anybody out of line to begin with, and what did damage do
        made = family & found["p"].notna()
        if made.any():
            found.loc[made, "adjusted"] = [
                min(1.0, 2 * float(p)) for p in holm(found.loc[made, "p"].tolist())
            ]
    found["called"] = found["adjusted"] < ALPHA
    found["kind"] = _kinds(found)
    return found


def false_alarms(
    table: pd.DataFrame, members: Sequence[str], draws: int = 2000, *, least_spread: bool = True
) -> pd.DataFrame:
    """How often the tests of single cases call a network that is like its controls: every member once the case.

    Leave-one-out: each network of a group is compared with all others of it, intact with intact, and under every
    damage with the others under the same. Whoever was trained alike and damaged alike is no case, so a share of 5 in
    100 is what an uncorrected test at 0.05 should call.

    Args:
        table: a study's `table.parquet`.
        members: names of the group; eleven or more, since a test takes ten controls.
        draws: of each posterior of a difference.
        least_spread: as in every report, controls are given no less spread than as many answers bring by chance; False
            takes them as they are, to tell how far that is what keeps tests careful.

    Returns:
        A row per test (`deficit`; `difference, classical`; `difference, Bayesian`) and state (`intact`, `damaged`):
        how many tests were made, the share that was called at 0.05 without correction, its 95 % interval over members
        (whose tests hang together), and the largest share of one member's tests.

    Raises:
        Error: fewer than eleven members, or one who is not in the table.

    Example:
        >>> import numpy as np
        >>> import pandas as pd
        >>> row = {"stimulus": "intact", "task": "who", "metric": "accuracy", "main": True, "better": "higher"}
        >>> row |= {"control": "", "lesion": "none", "step": 0, "dose": 0.0, "draw": 0, "n": 200, "share": True}
        >>> right = np.random.default_rng(0).binomial(200, 0.8, 12) / 200
        >>> table = pd.DataFrame([row | {"participant": f"net {n}", "value": share} for n, share in enumerate(right)])
        >>> false_alarms(table, list(table["participant"]))[["test", "state", "tests"]].to_dict("records")
        [{'test': 'deficit', 'state': 'intact', 'tests': 12}]
    """
    import pandas as pd

    scores = _scores(table)
    known = {key[0] for key in scores}
    if strangers := [name for name in members if name not in known]:
        raise Error(f"{strangers[0]!r} takes no part in this study")
    if len(members) <= LEAST_CONTROLS:
        raise Error(f"{len(members)} networks: it takes {LEAST_CONTROLS + 1}, one of whom is the case")
    damage = dict.fromkeys(key[1:3] for key in scores if key[0] == members[0])
    rows: list[dict[str, Any]] = []
    for name in members:
        others = tuple(each for each in members if each != name)
        for lesion, dose in damage:
            against = INTACT if lesion == "none" else SAME
            case = _Case("", name, others, lesion, 0, dose, against, least_spread)
            rows += _tested(case, scores, draws)
    made = pd.DataFrame(rows, columns=list(CASES)).dropna(subset="p")
    made["state"] = np.where(made["lesion"] == "none", "intact", "damaged")
    alone = made["minus"] == ""
    found = []
    for test, part, p in (
        ("deficit", made[alone], "p"), ("difference, classical", made[~alone], "p_classical"),
        ("difference, Bayesian", made[~alone], "p"),
    ):  # fmt: skip
        for state, own in part.groupby("state", sort=False):
            called = own[p] < ALPHA
            share = bootstrap_interval(called, clusters=own["participant"].tolist(), bounds=(0, 1))
            found.append(
                {
                    "test": test, "state": state, "tests": len(own), "called": share.estimate, "low": share.low,
                    "high": share.high, "most": float(called.groupby(own["participant"]).mean().max()),
                }
            )  # fmt: skip
    return pd.DataFrame(found)


def others_called(group: str) -> str:
    """What the networks of a group are called in a sentence.

    Example:
        >>> others_called("trained alike"), others_called("objects only"), others_called("")
        ('networks trained alike', 'networks of the group objects only', 'other networks of this study')
    """
    named = {ALIKE: OTHERS, "": "other networks of this study"}
    return named.get(group, f"networks of the group {group}")


@dataclass(frozen=True)
class _Score:
    """A participant's main measure in one condition: as measured, and as it is tested."""

    value: float
    tested: float
    measure: str
    trials: int
    bounded: bool


_Key = tuple[str, str, float, str]  # participant, lesion, dose, task


def one_more(values: Sequence[float], trials: int | None = None, level: float = 0.95) -> Interval:
    """Where one more network like these would lie: what a single case is judged by (Crawford & Howell 1998), two-sided.

    Args:
        values: measures of two networks or more.
        trials: of a measure from 0 to 1: then log odds are taken, with no less deviation than chance brings.
        level: share of further networks.

    Returns:
        The mean of the values with the interval; without bounds where the values do not differ.

    Example:
        >>> one_more([0.9, 0.8, 0.85, 0.95, 0.9, 0.85, 0.9, 0.8, 0.95, 0.9], 80).low < 0.8
        True
    """
    from scipy import stats

    scores = [
        _Score(value, _log_odds(value, trials) if trials else value, "", trials or 0, bool(trials))
        for value in values
    ]
    tested, n = _tested_values(scores), len(scores)
    deviation = max(float(tested.std(ddof=1)), _by_chance(scores))
    mean = float(np.mean(values))
    if deviation < _NONE:
        return Interval(mean, math.nan, math.nan, level)
    reach = float(stats.t.ppf((1 + level) / 2, n - 1)) * deviation * math.sqrt(1 + 1 / n)
    low, high = (float(tested.mean()) + sign * reach for sign in (-1, 1))
    if trials:
        low, high = (
            min(max(((trials + 1) / (1 + math.exp(-odds)) - 0.5) / trials, 0.0), 1.0) for odds in (low, high)
        )
    return Interval(mean, low, high, level)


def _log_odds(value: float, trials: int) -> float:
    return math.log((value * trials + 0.5) / ((1 - value) * trials + 0.5))


@dataclass(frozen=True)
class _Case:
    """A case in a condition and the controls it is compared with."""

    group: str
    participant: str
    controls: tuple[str, ...]
    lesion: str
    step: int
    dose: float
    against: str
    least_spread: bool = True

    @property
    def others(self) -> str:
        told = others_called(self.group)
        return told if self.against == INTACT else f"{told} with {SAME}"

    def spread_by_chance(self, scores: Sequence[_Score]) -> float:
        """The least deviation that controls are given."""
        return _by_chance(scores) if self.least_spread else 0.0


def _scores(table: pd.DataFrame) -> dict[_Key, _Score]:
    own = table[table["main"] & (table["stimulus"] == "intact")]
    own = own[own["control"] == ""] if "control" in own else own
    found = {}
    keys = ["participant", "lesion", "dose", "task"]
    for (name, lesion, dose, task), part in own.groupby(keys, sort=False, observed=True):
        first = part.iloc[0]
        value, trials = float(part["value"].mean()), int(first["n"])
        bounded = bool(first["share"]) or float(first["ceiling"]) == 1.0
        tested = _log_odds(value, trials) if bounded else value
        turned = -tested if first["better"] == "lower" else tested
        score = _Score(value, turned, str(first["metric"]), trials, bounded)
        found[str(name), str(lesion), float(dose), str(task)] = score
    return found


def _cases(
    group: str, names: Sequence[str], known: Sequence[str], scores: Mapping[_Key, _Score], alone: bool
) -> Iterator[_Case]:
    """All that is compared with a group: its members, if it is the only one everybody, and the subject's damage."""
    for name in known if alone else names:
        controls = tuple(each for each in names if each != name)
        if controls:
            yield _Case(group, name, controls, "none", 0, 0.0, INTACT)
    if len(names) < 2:
        return
    subject, *others = names
    damage = dict.fromkeys(
        (lesion, dose) for name, lesion, dose, _ in scores if name == subject and lesion != "none"
    )
    steps: dict[str, int] = {}
    for lesion, dose in damage:
        steps[lesion] = steps.get(lesion, 0) + 1
        for against in (INTACT, SAME):
            yield _Case(group, subject, tuple(others), lesion, steps[lesion], dose, against)


def _tested(case: _Case, scores: Mapping[_Key, _Score], draws: int) -> Iterator[dict[str, Any]]:
    """A row per task, then one per pair of tasks."""
    lesion = (case.lesion, case.dose) if case.against == SAME else ("none", 0.0)
    mine: dict[str, _Score] = {}
    theirs: dict[str, list[_Score]] = {}
    for (name, series, dose, task), score in scores.items():
        if name == case.participant and (series, dose) == (case.lesion, case.dose):
            mine[task] = score
    for task in mine:
        theirs[task] = [scores[key] for name in case.controls if (key := (name, *lesion, task)) in scores]
    for task, score in mine.items():
        yield _of_one(case, task, score, theirs[task])
    for one, two in itertools.combinations(mine, 2):
        yield _of_two(case, (one, two), (mine[one], mine[two]), (theirs[one], theirs[two]), draws)


def _row(case: _Case, task: str, score: _Score, controls: int, words: str) -> dict[str, Any]:
    return {
        "participant": case.participant, "group": case.group, "lesion": case.lesion, "step": case.step,
        "dose": case.dose, "against": case.against, "task": task, "measure": score.measure, "minus": "",
        "controls": controls, "scale": "log odds" if score.bounded else "own", "words": words,
    }  # fmt: skip


def _of_one(case: _Case, task: str, score: _Score, controls: Sequence[_Score]) -> dict[str, Any]:
    values = np.array([each.value for each in controls])
    n = len(controls)
    told = _row(case, task, score, n, f"not testable against {n} {case.others}: it takes {LEAST_CONTROLS}")
    told |= {
        "score": score.value, "mean": float(values.mean()) if n else math.nan,
        "deviation": float(values.std(ddof=1)) if n > 1 else math.nan,
    }  # fmt: skip
    if n < LEAST_CONTROLS:
        return told
    tested = _tested_values(controls)
    deviation = max(float(tested.std(ddof=1)), case.spread_by_chance(controls))
    if deviation < _NONE:
        return told | {"words": f"not testable: {case.others} do not differ"}
    test = crawford_howell_from_summary(score.tested, float(tested.mean()), deviation, n)
    return told | {
        "t": test.statistic, "p_classical": test.p, "p": test.p, "effect": test.effect, "low": test.low,
        "high": test.high, "below": test.below, "words": standing(test, case.others),
    }  # fmt: skip


def _of_two(
    case: _Case,
    tasks: tuple[str, str],
    mine: tuple[_Score, _Score],
    theirs: tuple[Sequence[_Score], Sequence[_Score]],
    draws: int,
) -> dict[str, Any]:
    n = min(map(len, theirs))
    told = _row(case, tasks[0], mine[0], n, coming_apart(None, tasks, n, case.others)) | {"minus": tasks[1]}
    if n < LEAST_CONTROLS or len(theirs[0]) != len(theirs[1]):
        return told
    columns = []
    for task, each in zip(tasks, theirs, strict=True):
        column = _tested_values(each)
        spread = float(column.std(ddof=1))
        if spread < _NONE:
            return told | {"words": f"not testable: {case.others} do not differ in {task}"}
        columns.append(column.mean() + (column - column.mean()) * max(1.0, case.spread_by_chance(each) / spread))
    values = np.stack(columns, axis=1)
    if abs(float(np.corrcoef(values.T)[0, 1])) > 1 - 1e-9:
        return told | {"words": f"not testable: {tasks[0]} and {tasks[1]} say the same of {case.others}"}
    pair = (mine[0].tested, mine[1].tested)
    classical = revised_standardised_difference(pair, values)
    test = bayesian_difference(pair, values, draws=draws)
    return told | {
        "t": classical.statistic, "p_classical": classical.p, "p": test.p, "effect": test.effect, "low": test.low,
        "high": test.high, "below": test.below, "words": coming_apart(test, tasks, n, case.others),
    }  # fmt: skip


def _tested_values(scores: Sequence[_Score]) -> NDArray[np.float64]:
    return np.array([each.tested for each in scores])


def _by_chance(scores: Sequence[_Score]) -> float:
    """The deviation of log odds that the number of trials alone brings; 0 for measures without bounds."""
    if not scores or not all(each.bounded for each in scores):
        return 0.0
    trials = scores[0].trials
    level = (float(np.mean([each.value for each in scores])) * trials + 0.5) / (trials + 1)
    return 1 / math.sqrt(trials * level * (1 - level))


def _kinds(found: pd.DataFrame) -> list[str]:
    """How two tasks come apart, by the deficits and the difference that were called."""
    where = ["participant", "group", "lesion", "dose", "against"]
    impaired = {
        tuple(row[:5]) + (row[5],)
        for row in found.loc[found["called"] & (found["minus"] == ""), [*where, "task"]].itertuples(
            index=False
        )
    }
    kinds = []
    for row in found.itertuples():
        if not row.minus:
            kinds.append("")
            continue
        here = (row.participant, row.group, row.lesion, row.dose, row.against)
        worse, better = (row.task, row.minus) if row.effect <= 0 else (row.minus, row.task)
        if row.p != row.p:
            kinds.append("not testable")
        elif row.called and (*here, worse) in impaired:
            kinds.append("strong" if (*here, better) in impaired else "classical")
        else:
            kinds.append("none")
    return kinds
