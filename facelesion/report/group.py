"""A group of networks trained alike: each one's dose–response, their mean and range, and the subject among them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from facelesion.analysis.case_tables import one_more
from facelesion.analysis.single_cases import LEAST_CONTROLS
from facelesion.report.style import FAINT, INK, QUIET, WIDTH, blank, figure_style, legible, look, wrapped
from facelesion.report.summary import INTACT, NONE, lesions_of, measure_of, tasks_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def numbers(
    tables: Mapping[str, pd.DataFrame], members: Sequence[str], stimulus: str = INTACT
) -> pd.DataFrame:
    """The main measures of a group by task, lesion and dose, mean over draws.

    Args:
        tables: the result table of every participant.
        members: names of the group; the first is the subject.

    Returns:
        A row per participant (`role` subject or control), and one for the controls' mean (`role` mean) with the range
        in which 95 of 100 further networks would lie, where there are ten controls or more. Step 0 is intact.
    """
    import pandas as pd

    subject = tables[members[0]]
    rows: list[dict[str, Any]] = []
    for task in tasks_of(subject):
        measure = measure_of(subject, task)
        found: dict[tuple[str, int, float], list[tuple[str, float, int]]] = {}
        for name in members:
            own = tables[name]
            own = own[(own["task"] == task) & (own["metric"] == measure.name) & (own["stimulus"] == stimulus)]
            for (lesion, step, dose), part in own.groupby(["lesion", "step", "dose"], sort=False):
                value = float(part["value"].mean())
                found.setdefault((str(lesion), int(step), float(dose)), []).append(
                    (name, value, int(part["n"].max()))
                )
        for (lesion, step, dose), each in found.items():
            told = {
                "task": task, "measure": measure.name, "share": measure.share, "chance": measure.chance,
                "lesion": lesion, "step": step, "dose": dose,
            }  # fmt: skip
            for name, value, _ in each:
                role = "subject" if name == members[0] else "control"
                rows.append(told | {"participant": name, "role": role, "value": value})
            others = [(value, n) for name, value, n in each if name != members[0]]
            if not others:
                continue
            mean = told | {
                "participant": "",
                "role": "mean",
                "value": math.fsum(v for v, _ in others) / len(others),
            }
            if len(others) >= LEAST_CONTROLS:
                known = one_more([value for value, _ in others], others[0][1] if measure.bounds else None)
                mean |= {"low": known.low, "high": known.high}
            rows.append(mean)
    columns = [
        "participant",
        "role",
        "task",
        "measure",
        "share",
        "chance",
        "lesion",
        "step",
        "dose",
        "value",
        "low",
        "high",
    ]
    return pd.DataFrame(rows, columns=columns)


def group_figure(shown: pd.DataFrame) -> Figure:
    """A column for each lesion, a row per task; what `numbers` gives."""
    tasks, lesions = list(dict.fromkeys(shown["task"])), lesions_of(shown)
    columns = lesions or [NONE]
    with figure_style():
        figure = blank(max(5.2, min(WIDTH, 2.0 * len(columns) + 1.7)), 1.45 * len(tasks) + 1.0)
        grid = figure.subplots(len(tasks), len(columns), squeeze=False, sharex="col", sharey="row")
        for line, task in enumerate(tasks):
            of_task = shown[shown["task"] == task]
            scale = 100 if of_task["share"].iloc[0] else 1
            for axes, lesion in zip(grid[line], columns, strict=True):
                part = of_task[of_task["lesion"].isin([NONE, lesion])].sort_values("step")
                colour, marker = look(lesion, lesions)
                axes.grid(axis="y")
                chance = float(part["chance"].iloc[0])
                if not math.isnan(chance):
                    axes.axhline(chance * scale, color=QUIET, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
                for name, own in part[part["role"] == "control"].groupby("participant", sort=False):
                    axes.plot(
                        own["step"],
                        own["value"] * scale,
                        color="#9aa3af",
                        linewidth=0.9,
                        zorder=2,
                        label=name,
                    )
                mean = part[part["role"] == "mean"]
                if mean["low"].notna().any():
                    axes.fill_between(
                        mean["step"],
                        mean["low"] * scale,
                        mean["high"] * scale,
                        color=FAINT,
                        linewidth=0,
                        zorder=0,
                    )
                axes.plot(mean["step"], mean["value"] * scale, color=INK, linewidth=1.4, zorder=3)
                own = part[part["role"] == "subject"]
                axes.plot(own["step"], own["value"] * scale, marker=marker, color=colour, zorder=4)
                if line == 0:
                    axes.set_title(legible(lesion, 70 // len(columns)), color=colour)
                steps = part.drop_duplicates("step")
                axes.set_xticks(
                    steps["step"],
                    ["intact" if not row.step else _short(row.dose) for row in steps.itertuples()],
                )
                axes.tick_params(axis="x", labelsize=8)
                axes.set_xlim(-0.3, max(1, int(part["step"].max())) + 0.3)
            low = float(of_task[["value", "low"]].min().min())
            bottom = 0.0 if scale == 100 or low >= 0 and low < 0.4 else min(0.4, low)
            grid[line, 0].set_ylim(bottom * scale, max(1.0, float(of_task["value"].max())) * scale * 1.05)
            grid[line, 0].set_ylabel(wrapped(task, 16) + (" (%)" if scale == 100 else ""))
        height = figure.get_figheight()
        figure.subplots_adjust(
            left=0.9 / figure.get_figwidth(), right=0.99, top=1 - 0.35 / height, bottom=0.55 / height, wspace=0.09,
            hspace=0.16,
        )  # fmt: skip
        figure.text(0.56, 0.12 / height, "dose", ha="center", fontsize=9, color=QUIET)
    return figure


def _short(dose: float) -> str:
    """A dose in the few digits for which an axis of narrow columns has room.

    Example:
        >>> _short(0.1016), _short(1.719), _short(128.0)
        ('0.1', '1.7', '128')
    """
    return f"{dose:.2g}" if abs(dose) < 10 else f"{dose:g}"
