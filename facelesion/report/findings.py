"""What a study found, in plain sentences. Each names the test it rests on, or says that it was only measured.

It claims little, and what it claims holds for this network: a loss, and a crossed dissociation (see
`facelesion.analysis.claims`). What was not found, and what points the other way, is said in the same breath.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from facelesion.analysis.answers import Answers, answers_of
from facelesion.analysis.claims import (
    Difference,
    Dissociation,
    Loss,
    Profile,
    differences,
    dissociations,
    losses,
    profile,
)
from facelesion.analysis.crossed import Estimate
from facelesion.report.criterion import collapses
from facelesion.report.summary import (
    INTACT,
    NO_WIDTH,
    PERCENT,
    intact_value,
    listed,
    measure_of,
    show,
    tasks_of,
)

if TYPE_CHECKING:
    import pandas as pd

NO_ANSWERS = (
    "No claim is made: the answers were not kept trial by trial (there is no trials.parquet with this network), and "
    "without them nobody can say what other people or pictures would have given. What follows was measured, over draws "
    "of the damage alone."
)


#: Of a lesion that was drawn once nobody can say what another draw would have done.
NOT_TESTED = (
    "Not tested here: {0}, which {1} drawn once. What was lost stands in the table; chosen units are compared with "
    "their control sets, and by the contrasts."
)


UNTESTED = (
    "Whether two kinds of damage take different tasks is not tested by draws, for no pair of kinds was "
    "drawn twice. Where "
    "units were chosen, it is what the contrasts test, and the control sets."
)


@dataclass(frozen=True)
class Finding:
    """A sentence of the report.

    Attributes:
        text: what was found.
        test: the test it rests on; empty for what was only measured.
        claim: whether it says that something is so beyond what was measured.
    """

    text: str
    test: str = ""
    claim: bool = False


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the answers of one network, on unchanged images, carry.

    Attributes:
        own: scores in each task's own measure.
        choice: scores as right choices between two, the same measure for all tasks that allow it.
        losses, dissociations: the comparisons with their tests, claimed or not.
        differences: between tasks, on the common scale; no claims.
        answers: trial by trial, by task.
    """

    own: Profile
    choice: Profile
    losses: list[Loss]
    dissociations: list[Dissociation]
    differences: list[Difference]
    answers: Mapping[str, Answers] = field(default_factory=dict)


def evidence(table: pd.DataFrame, trials: pd.DataFrame | None) -> Evidence | None:
    """The statistics of one network.

    Args:
        table: the result table of one network.
        trials: the answers of all networks; None if they were not kept. Networks of one name are told apart by a
            column `weights`, if there is one.

    Returns:
        None without answers of this network on unchanged images.
    """
    if trials is None:
        return None
    mine = trials[(trials["participant"] == table["participant"].iloc[0]) & (trials["stimulus"] == INTACT)]
    if "weights" in mine:
        mine = mine[mine["weights"] == table["weights"].iloc[0]]
    if mine.empty:
        return None
    chance = {task: measure_of(table, task).chance for task in tasks_of(table)}
    answers: Mapping[str, Answers] = answers_of(mine, chance)
    own, choice = profile(answers), profile(answers, "choice")
    return Evidence(own, choice, losses(own), dissociations(own), differences(choice), answers)


def findings(table: pd.DataFrame, found: Evidence | None) -> list[Finding]:
    """Sentences for the head of the report.

    Args:
        table: the result table of one network.
        found: its `evidence`.
    """
    sentences = [_intact(table)]
    if found is None:
        sentences.append(Finding(NO_ANSWERS))
    else:
        sentences += _losses(found)
    sentences += [Finding(each.words(_said(found, each.task))) for each in collapses(table)]
    if found is not None:
        sentences += _dissociations(found)
    return [sentence for sentence in sentences if sentence.text]


def _said(found: Evidence | None, task: str) -> tuple[str, str]:
    """The two answers of a yes/no task, as its trials have them."""
    answers = None if found is None else found.answers.get(task)
    others = [] if answers is None else sorted({str(name) for name in answers.target} - {answers.yes})
    return (answers.yes, others[0]) if answers is not None and answers.yes and len(others) == 1 else ("yes", "no")


def across(networks: Mapping[str, Evidence]) -> list[Finding]:
    """What several networks have in common: every dissociation that is claimed for one of them, and for which not.

    Args:
        networks: evidence by the network's name; those without answers are left out.
    """
    if len(networks) < 2:
        return []
    sentences = []
    claimed: dict[tuple[tuple[str, str], tuple[str, str]], list[str]] = {}
    for name, found in networks.items():
        for row in found.dissociations:
            if row.claimed:
                claimed.setdefault((row.damages, row.tasks), []).append(name)
    for (damages, tasks), names in claimed.items():
        text = f"{damages[0]} takes more of {tasks[0]} and {damages[1]} more of {tasks[1]} in "
        sentences.append(Finding(f"{text}{counted(names, networks)}.", "each network's own", True))
    rows = [row for found in networks.values() for row in found.dissociations]
    if not rows:  # nobody has two kinds of damage and two tasks
        sentences += list(dict.fromkeys(_not_two(found) for found in networks.values()))
    elif not claimed and all(math.isnan(row.p) for row in rows):
        sentences.append(Finding(UNTESTED))
    elif not claimed:
        some = any(math.isnan(row.p) for row in rows)
        which = "two kinds of damage that were drawn more than once" if some else "two kinds of damage"
        text = f"In none of the {len(networks)} networks is it shown that {which} take different tasks."
        sentences.append(Finding(text))
    return sentences


def collapsed(tables: Mapping[str, pd.DataFrame]) -> list[Finding]:
    """In how many of several networks a kind of damage takes a task's answers, beyond what its main measure says.

    Args:
        tables: the result table of each network, by its name.
    """
    if len(tables) < 2:
        return []
    found: dict[tuple[str, str, str], list[str]] = {}
    for name, table in tables.items():
        for key in dict.fromkeys((one.task, one.lesion, one.measure.words) for one in collapses(table)):
            found.setdefault(key, []).append(name)
    return [
        Finding(
            f"{task} under {lesion}: in {counted(names, tables)} the answers are lost at some dose (one answer to "
            f"nearly everything, or an accuracy that falls much further), which the {words} does "
            "not show: see each network."
        )
        for (task, lesion, words), names in found.items()
    ]


def lost_in(networks: Mapping[str, Evidence]) -> dict[str, dict[str, list[str]]]:
    """By kind of damage and task: the networks of which a loss is claimed, by their own tests, where there are such."""
    lost: dict[str, dict[str, list[str]]] = {}
    for name, found in networks.items():
        for row in found.losses:
            if math.isnan(row.p):  # a lesion that was drawn once
                continue
            claimed = lost.setdefault(row.damage, {}).setdefault(row.task, [])
            if row.claimed:
                claimed.append(name)
    return lost


def counted(names: list[str], networks: Iterable[str]) -> str:
    """How many networks these are of all, and by name whichever are fewer.

    Example:
        >>> counted(["a", "b"], "abc"), counted(["a"], "abc"), counted(list("abc"), "abc")
        ('2 of 3 (not c)', '1 of 3 (a)', 'all 3')
    """
    everybody = list(networks)
    others = [name for name in everybody if name not in names]
    if not others:
        return f"all {len(everybody)}"
    if not names:
        return f"none of {len(everybody)}"
    few = listed(names) if len(names) <= len(others) else f"not {listed(others)}"
    return f"{len(names)} of {len(everybody)} ({few})"


def percent(share: float) -> str:
    """A share as whole percent.

    Example:
        >>> percent(0.284), percent(-0.02), percent(-0.001)
        ('28\\xa0%', '−2\\xa0%', '0\\xa0%')
    """
    return f"{round(100 * share)}".replace("-", "−") + PERCENT


def points(contrast: Estimate, sign: int = 1) -> str:
    """A difference in points of a hundred, with its 95 % interval.

    Example:
        >>> points(Estimate(0.25, 0.05, 1e9))
        '+25.0 [15.2, 34.8]'
        >>> points(Estimate(0.25, 0.0, 1e9))
        '+25.0 (no interval)'
    """
    interval = contrast.interval()
    low, high = sorted([sign * interval.low, sign * interval.high])
    low, high = (
        min(max(bound, -1.0), 1.0) if bound == bound else bound for bound in (low, high)
    )  # of two shares
    # Adding 0 takes the minus from a zero.
    middle, low, high = (round(100 * value, 1) + 0.0 for value in (sign * contrast.estimate, low, high))
    bounds = (
        "(one draw)" if low != low else "(no interval)" if interval.high - interval.low < NO_WIDTH
        else f"[{low:.1f}, {high:.1f}]"
    )  # fmt: skip
    return f"{middle:{'+' if middle else ''}.1f} {bounds}".replace("-", "−")


def _intact(table: pd.DataFrame) -> Finding:
    parts = []
    for task in tasks_of(table):
        measure = measure_of(table, task)
        value = intact_value(table, task, measure.name)
        if value == value:
            guess = f"; chance {show(measure.chance, measure)}" if measure.chance == measure.chance else ""
            parts.append(f"{show(value, measure)} in {task} ({measure.words}{guess})")
    return Finding(f"The intact network reaches {listed(parts)}." if parts else "")


def _losses(found: Evidence) -> list[Finding]:
    rows = found.losses
    made = sum(row.p == row.p for row in rows)
    test = f"Crossed t test over people and draws, mean over doses; Holm over {made} comparisons" if made else ""
    sentences = []
    for task in dict.fromkeys(row.task for row in rows):
        mine = [row for row in rows if row.task == task]
        parts = []
        for what, chosen in (
            ("lower than intact under", [row for row in mine if row.claimed]),
            (
                "higher, and no loss, under",
                [r for r in mine if not r.claimed and r.found.estimate < 0 and r.p < 0.05],
            ),
            (
                "not shown to be lower under",
                [r for r in mine if not r.claimed and not (r.found.estimate < 0 and r.p < 0.05) and r.p == r.p],
            ),
        ):
            if chosen:
                named = listed(f"{row.damage} ({points(row.found, -1)} points)" for row in chosen)
                parts.append(f"{what} {named}")
        if parts:
            said = f"{task} ({_of_what(found, task)}): {'; '.join(parts)}."
            sentences.append(Finding(said, test, any(row.claimed for row in mine)))
    once = dict.fromkeys(row.damage for row in rows if math.isnan(row.p))
    if once:
        sentences.append(Finding(NOT_TESTED.format(listed(once), "was" if len(once) == 1 else "were")))
    return sentences


def _of_what(found: Evidence, task: str) -> str:
    """Which score a loss is of, and over how many doses it is a mean: a table beside it shows single doses."""
    answers = found.answers.get(task)
    score = "area under the curve" if answers is not None and answers.yes else "right answers"
    many = Counter(damage for name, damage, _ in found.own.doses if name == task and damage in found.own.damages)
    return f"{score}, mean over all doses" if max(many.values(), default=0) > 1 else score


def _dissociations(found: Evidence) -> list[Finding]:
    rows = found.dissociations
    if not rows:
        return [_not_two(found)]
    test = (
        "Crossed interaction: two doses, both comparisons within a task, over people and draws; "
        f"Holm over {sum(row.compared for row in rows if row.p == row.p)} fours of two doses and two tasks"
    )
    sentences = [
        Finding(
            f"{row.damages[0]} at {row.doses[0]:g} takes more of {row.tasks[0]} than {row.damages[1]} at "
            f"{row.doses[1]:g} does ({points(row.first)} points), and takes less of {row.tasks[1]} "
            f"({points(row.second, -1)} points). So it is at {row.crossings} of {row.compared} pairs of their doses.",
            test,
            True,
        )
        for row in rows
        if row.claimed
    ]
    untested = sum(row.p != row.p for row in rows)
    others = len(rows) - len(sentences) - untested
    if untested == len(rows):
        return [Finding(UNTESTED)]
    if not sentences:
        sentences.append(
            Finding("No kind of damage was found to take one task where another kind takes another.", test)
        )
    elif others:
        sentences.append(
            Finding(
                f"The other {others} of {len(rows)} pairs of kinds and tasks do not cross beyond chance.",
                test,
            )
        )
    if untested:
        sentences.append(
            Finding(
                f"{untested} of {len(rows)} pairs of kinds and tasks are not tested: they take two draws "
                "and two people "
                "or more."
            )
        )
    return sentences


def _not_two(found: Evidence) -> Finding:
    """What is said of damage and tasks where there are not two of either."""
    what = "kind of damage" if len(found.own.damages) < 2 else "task"
    return Finding(
        f"Whether damage can take one task and leave another is not testable with one {what}: under any damage "
        "a harder task falls first."
    )
