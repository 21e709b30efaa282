"""The notebook's tests as pictures: every test a dot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facelesion.report.style import figure_style
from facelesion.training.files import write_figure
from facelesion.training.notebook_facts import (
    AS_IT_WAS,
    CONTROL,
    DAMAGED,
    HEALTHY,
    INTACT,
    MANIPULATED,
    PRINTED,
    STIMULI,
    TRAINED,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@figure_style()
def draw_notebook(table: pd.DataFrame, target: Path) -> None:
    """Draw every test as a dot."""
    write_figure(target, notebook_figure(table), dpi=110)


def notebook_figure(table: pd.DataFrame) -> Figure:
    """Every test as a dot: a row of panels per task, a panel per stimulus, a line per approach."""
    from matplotlib.figure import Figure

    looks = {
        AS_IT_WAS: ("#d55e00", "o", 0.0), HEALTHY: ("black", "D", 0.0), DAMAGED: ("#d55e00", "o", 0.16),
        TRAINED: ("#0072b2", "s", -0.16),
    }  # fmt: skip
    table = table[table["how"].isin(list(looks))]
    wrong = bool((table["how"] == AS_IT_WAS).all())
    tasks, approaches = list(dict.fromkeys(table["task"])), list(dict.fromkeys(table["approach"]))
    figure = Figure(figsize=(11, 0.9 + (0.7 + 0.34 * len(approaches)) * len(tasks)), layout="constrained")
    panels = figure.subplots(len(tasks), len(STIMULI), sharex=True, sharey=True, squeeze=False)
    for row, task in enumerate(tasks):
        for axis, (column, stimulus) in zip(panels[row], enumerate(STIMULI), strict=True):
            part = table[(table["task"] == task) & (table["stimulus"] == stimulus)]
            axis.axvline(
                100 * float(table[table["task"] == task]["chance"].iloc[0]), color="#999999", linestyle=":"
            )
            for how, (colour, marker, aside) in looks.items():
                these = part[part["how"] == how]
                if these.empty:
                    continue
                places = [approaches.index(name) - aside for name in these["approach"]]
                axis.plot(
                    100 * these["accuracy"], places, marker, color=colour, markersize=5, alpha=0.7,
                    label=how if not (row or column) else None,
                )  # fmt: skip
            printed = [
                (PRINTED[name][column], place)
                for place, name in enumerate(approaches)
                if wrong
                and name in PRINTED
                and column < len(PRINTED[name])
                and PRINTED[name][column] is not None
            ]
            if printed:
                axis.plot(
                    *zip(*printed, strict=True), "x", color="black", markersize=7,
                    label=None if row or column else "mean that the notebook printed",
                )  # fmt: skip
            axis.set(xlim=(-4, 104), title=stimulus if not row else "")
            axis.set_yticks(range(len(approaches)), approaches)
            axis.set_ylim(len(approaches) - 0.5, -0.5)
            axis.grid(axis="x", alpha=0.3)
            if row == len(tasks) - 1:
                axis.set_xlabel("% right")
        panels[row][0].set_ylabel(task)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


@figure_style()
def draw_manipulated(table: pd.DataFrame, target: Path) -> None:
    """Draw each manipulation as a dot."""
    write_figure(target, manipulated_figure(table), dpi=110)


def manipulated_figure(table: pd.DataFrame) -> Figure:
    """Each manipulation as a dot beside those of its controls: a panel per task."""
    from matplotlib.figure import Figure

    looks = {CONTROL: ("#999999", "o"), MANIPULATED: ("#0072b2", "D")}
    tasks = list(dict.fromkeys(table["task"]))
    approaches = list(dict.fromkeys(table[table["how"] == MANIPULATED]["approach"]))
    figure = Figure(figsize=(5 + 3 * len(tasks), 0.9 + 0.25 * len(approaches)), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axis, task in zip(panels, tasks, strict=True):
        part = table[table["task"] == task]
        healthy = part[(part["how"] == HEALTHY) & (part["stimulus"] == INTACT)]
        for accuracy in healthy["accuracy"]:
            axis.axvline(100 * accuracy, color="black", linewidth=0.8, label=HEALTHY)
        axis.axvline(100 * float(part["chance"].iloc[0]), color="#999999", linestyle=":", label="chance")
        for how, (colour, marker) in looks.items():
            these = part[part["how"] == how]
            places = [approaches.index(name) for name in these["approach"]]
            axis.plot(
                100 * these["accuracy"], places, marker, color=colour, markersize=5, alpha=0.7, label=how
            )
        axis.set(xlim=(-4, 104), xlabel="% right", title=task)
        axis.set_yticks(range(len(approaches)), approaches, fontsize="small")
        axis.set_ylim(len(approaches) - 0.5, -0.5)
        axis.grid(axis="x", alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure
