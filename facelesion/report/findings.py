"""What a study found, in plain sentences made from its table. They say what was measured, not what it means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from facelesion.analysis.statistics import Interval
from facelesion.report.summary import (
    PERCENT,
    HalfwayRow,
    approaches_of,
    dose_response,
    intact_value,
    metric_name,
    metric_of,
    show,
    tasks_of,
)

if TYPE_CHECKING:
    import pandas as pd

#: What each task asks, for a reader who has not seen the code.
TASK_QUESTIONS = {
    "detection": "Is there a face in the picture, or something else?",
    "identification": "Which of the people it knows is this?",
    "verification": "Do two pictures show the same person? The people are new to it.",
    "objects": "Which kind of object is this? A control: the damage may be general.",
}


def findings(table: pd.DataFrame, halfway: Iterable[HalfwayRow]) -> list[str]:
    """Sentences for the head of the report.

    Args:
        table: the result table of one network.
        halfway: `summary.halfway` of that table.
    """
    found = [_intact(table), _fall(table)]
    rows = list(halfway)
    near = [row for row in rows if 0.2 <= row.kept["identification"].estimate <= 0.8]
    if near:
        found.append(_halfway(near))
    if rows and len(near) < len(rows):
        far = _list(row.approach for row in rows if row not in near)
        found.append(
            f"No tested dose of {far} leaves between 20 and 80 % of identification: which task falls first cannot be "
            "told there. Try doses in between."
        )
    for task in ("detection", "objects"):
        pairs = [row.ahead[task] for row in near if task in row.ahead]
        if pairs:
            found.append(_spared(task, pairs))
    return [sentence for sentence in found if sentence]


def percent(share: float) -> str:
    """A share as whole percent.

    Example:
        >>> percent(0.284), percent(-0.02), percent(-0.001)
        ('28\\xa0%', '−2\\xa0%', '0\\xa0%')
    """
    return f"{round(100 * share)}".replace("-", "−") + PERCENT


def _intact(table: pd.DataFrame) -> str:
    parts = []
    for task in tasks_of(table):
        metric = metric_of(table, task)
        value = intact_value(table, task, metric)
        if value == value:
            chance = float(table.loc[(table["task"] == task) & (table["metric"] == metric), "chance"].iloc[0])
            parts.append(
                f"{show(value, metric)} in {task} ({metric_name(metric)}; chance {show(chance, metric)})"
            )
    return f"The intact network reaches {_list(parts)}." if parts else ""


def _fall(table: pd.DataFrame) -> str:
    lower = total = steady = 0
    for task in tasks_of(table):
        metric = metric_of(table, task)
        curve = dose_response(table, task, metric)
        intact = intact_value(table, task, metric)
        for approach in approaches_of(table):
            means = curve.loc[curve["approach"] == approach, "mean"].tolist()
            if not means or intact != intact:
                continue
            total += 1
            lower += means[-1] < intact
            path = [intact, *means]
            steady += all(after <= before + 0.01 for before, after in zip(path, path[1:], strict=False))
    if not total:
        return ""
    return (
        f"The largest dose leaves less than the intact network has in {lower} of {total} pairs of task and kind of "
        f"damage; in {steady} of them performance falls from each dose to the next (or stays within one point)."
    )


def _halfway(rows: list[HalfwayRow]) -> str:
    def span(task: str) -> str:
        shares = [row.kept[task].estimate for row in rows if task in row.kept]
        low, high = percent(min(shares)), percent(max(shares))
        return low if low == high else f"{low.removesuffix(PERCENT)} to {high}"

    others = [task for task in rows[0].kept if task != "identification"]
    if not others:
        return ""
    kinds = f"over the {len(rows)} kinds of damage" if len(rows) > 1 else f"with {rows[0].approach}"
    return (
        f"At the doses that leave nearest to half of identification ({span('identification')} of what lies above "
        f"chance), {_list(f'{span(task)} of {task}' for task in others)} is left ({kinds})."
    )


def _spared(task: str, pairs: list[Interval]) -> str:
    more = sum(interval.low > 0 for interval in pairs)
    less = sum(interval.high < 0 for interval in pairs)
    kinds = f"{len(pairs)} kinds of damage" if len(pairs) > 1 else "the one kind of damage"
    sentence = f"At those doses more is left of {task} than of identification in {more} of {kinds}"
    if less:
        sentence += f", and less in {less}"
    return sentence + " (95 % interval of the paired difference over draws)."


def _list(parts: Iterable[str]) -> str:
    """Items joined as in a sentence.

    Example:
        >>> _list(["a", "b", "c"])
        'a, b and c'
    """
    *most, last = list(parts)
    return f"{', '.join(most)} and {last}" if most else last
