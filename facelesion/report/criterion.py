"""Where a network still orders its trials and no longer answers: what an area under the curve cannot show.

A yes/no task is summed up by the area under the ROC curve, which knows no criterion: a network that says yes to every
pair can keep all of it. So its answers are looked at by themselves (`collapses`), by two rules:

- *one answer*: in at least half of the draws of a dose hits and false alarms are both 90 % or more, or both 10 % or
  less. The accuracy, in which both kinds weigh alike, is then 45 to 55 %.
- *answers fall further*: the accuracy keeps less than half of what the intact network has above chance, and less than
  half of the share that the main measure keeps.

Said only where the intact network's accuracy is above chance (`above_chance`) and it does not give one answer itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from facelesion.report.summary import (
    INTACT,
    NONE,
    PERCENT,
    SHARE,
    Measure,
    above_chance,
    intact_value,
    listed,
    measure_of,
    show,
    steps_of,
    tasks_of,
)

if TYPE_CHECKING:
    import pandas as pd

ACCURACY, HITS, ALARMS = "accuracy", "hit_rate", "false_alarm_rate"
NEARLY_ALL, HARDLY_ANY = 0.9, 0.1  # of the answers
HALF = 0.5

Answer = Literal["yes", "no", "one", ""]


@dataclass(frozen=True)
class Collapse:
    """A task whose answers a kind of damage takes, beyond what the main measure says; means over draws.

    Attributes:
        measure: the task's main measure.
        doses: at which it is so; the numbers are those of the last.
        answer: what is said to nearly everything: yes, no, or one of them, another with the draw; empty where both
            are said and the answers fall further than the order.
        hits, alarms: not a number where the task has none.
        intact: the intact network's accuracy.
        kept: share of the main measure above chance that is left; not a number where there was nothing to keep.
    """

    task: str
    measure: Measure
    lesion: str
    doses: tuple[float, ...]
    answer: Answer
    hits: float
    alarms: float
    accuracy: float
    intact: float
    kept: float

    def words(self, said: tuple[str, str] = ("yes", "no")) -> str:
        """The sentence.

        Args:
            said: the two answers, the one that hits are of first.
        """
        yes, no = said
        what = {
            "yes": f"the network says “{yes}” to nearly everything",
            "no": f"the network says “{no}” to nearly everything",
            "one": f"the network gives one answer to nearly everything, “{yes}” or “{no}” with the draw",
            "": "the network’s answers fall further than what orders its trials",
        }[self.answer]
        rates = "" if self.hits != self.hits else (
            f"hits {show(self.hits, SHARE)}, false alarms {show(self.alarms, SHARE)}; "
        )  # fmt: skip
        last = "at the last of these " if len(self.doses) > 1 else ""
        accuracy = f"accuracy {show(self.accuracy, SHARE)}, intact {show(self.intact, SHARE)}"
        doses = listed(f"{dose:g}" for dose in self.doses)
        return (
            f"{self.task} under {self.lesion} at {doses}: {what} ({last}{rates}{accuracy}): {self._order()}."
        )

    def _order(self) -> str:
        criterion = "its criterion is lost" if self.answer else "its criterion has moved"
        if self.kept != self.kept:
            return criterion
        left = f"{100 * self.kept:.0f}".replace("-", "−") + f"{PERCENT} left above chance, {self.measure.words}"
        if self.kept >= HALF:
            return f"its order of trials is kept ({left}), {criterion}"
        return f"its order of trials falls too ({left})"


def collapses(table: pd.DataFrame) -> list[Collapse]:
    """Every task and kind of damage whose answers collapse, on unchanged images; alike doses together.

    Args:
        table: the result table of one network.
    """
    found: dict[tuple[str, str, Answer, bool], list[Collapse]] = {}
    for task in tasks_of(table):
        for each in _of_task(table[(table["task"] == task) & (table["stimulus"] == INTACT)], task):
            found.setdefault((task, each.lesion, each.answer, each.kept >= HALF), []).append(each)
    return [
        Collapse(**{**vars(alike[-1]), "doses": tuple(dose for each in alike for dose in each.doses)})
        for alike in found.values()
    ]


def _of_task(part: pd.DataFrame, task: str) -> Iterable[Collapse]:
    """Dose by dose."""
    there = set(part["metric"])
    if ACCURACY not in there or part.empty:
        return
    main, accuracy = measure_of(part, task), measure_of(part, task, ACCURACY)
    intact, order = (intact_value(part, task, each.name) for each in (accuracy, main))
    trials = int(part["n"].max())
    if main.name == ACCURACY or not above_chance(intact, accuracy.chance, trials):
        return
    if _answer(part[part["lesion"] == NONE]):
        return
    orders = above_chance(order, main.chance, trials)
    for lesion, step, dose in steps_of(part):
        if lesion == NONE:
            continue
        here = part[(part["lesion"] == lesion) & (part["step"] == step)]
        mean: Mapping[str, float] = here.groupby("metric")["value"].mean().to_dict()
        if ACCURACY not in mean or main.name not in mean:
            continue
        kept = (mean[main.name] - main.chance) / (order - main.chance) if orders else math.nan
        left = (mean[ACCURACY] - accuracy.chance) / (intact - accuracy.chance)
        answer = _answer(here)
        if answer or (left < HALF and left < HALF * kept):
            yield Collapse(
                task, main, lesion, (dose,), answer, mean.get(HITS, math.nan), mean.get(ALARMS, math.nan),
                mean[ACCURACY], intact, kept,
            )  # fmt: skip


def _answer(rows: pd.DataFrame) -> Answer:
    """What is answered to nearly everything in at least half of the draws; empty where both answers are given."""
    rates = rows[rows["metric"].isin((HITS, ALARMS))].groupby(["draw", "metric"])["value"].mean().unstack()
    if HITS not in rates or ALARMS not in rates or rates.empty:
        return ""
    yes = int((rates[[HITS, ALARMS]] >= NEARLY_ALL).all(axis=1).sum())
    no = int((rates[[HITS, ALARMS]] <= HARDLY_ANY).all(axis=1).sum())
    if yes + no < HALF * len(rates):
        return ""
    return "one" if yes and no else "yes" if yes else "no"
