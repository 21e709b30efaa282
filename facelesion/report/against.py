"""What the report says of chosen units: each lesion beside the control sets that were damaged in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facelesion.report.style import INK, QUIET, WIDTH, blank, figure_style, legible, look
from facelesion.report.summary import INTACT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LEVEL = 0.05
_ROW = ["participant", "lesion", "dose", "stimulus", "task"]


def beyond(controls: pd.DataFrame) -> pd.DataFrame:
    """The rows in which a lesion does more than every kind of control it was compared with, after adjustment.

    Args:
        controls: as `facelesion.analysis.against_controls` makes it.

    Returns:
        One row per participant, lesion, dose, stimulus and task, with the largest adjusted p in `adjusted`.
    """
    worst = controls.groupby(_ROW, sort=False)["adjusted"].max().reset_index()
    return worst[worst["adjusted"] <= LEVEL]


def sentences(controls: pd.DataFrame, stimulus: str = INTACT) -> list[str]:
    """What chosen units did beyond others, a sentence for each series and task; and where nothing is beyond."""
    shown = controls[controls["stimulus"] == stimulus]
    found = beyond(controls)
    found = found[found["stimulus"] == stimulus]
    kinds = " and ".join(f"{int(part['sets'].max())} {kind}" for kind, part in shown.groupby("control", sort=False))
    networks = list(dict.fromkeys(shown["participant"]))
    told = []
    for lesion, part in shown.groupby("lesion", sort=False):
        own = found[found["lesion"] == lesion]
        for task in dict.fromkeys(own["task"]):
            rows = own[own["task"] == task]
            names = [name for name in networks if name in set(rows["participant"])]
            largest = _largest(part, names, task)
            doses = ", ".join(f"{dose:g}" for dose in sorted(set(rows["dose"])))
            told.append(
                f"{lesion}: {task} falls further than with as many other units ({kinds} sets), at {doses}, in "
                f"{len(names)} of {len(networks)} networks ({', '.join(names)}): {largest}."
            )
        spared = [task for task in dict.fromkeys(part["task"]) if task not in set(own["task"])]
        if len(spared) == part["task"].nunique():
            told.append(f"{lesion}: no task falls further than with as many other units ({kinds} sets).")
        elif spared:
            told.append(f"{lesion}: no such loss is shown for {', '.join(spared)}; that is no proof of none.")
    return told


def _largest(part: pd.DataFrame, names: list[str], task: str) -> str:
    """At the last dose: what is left of a task with the chosen units damaged, and with sets of other units."""
    here = part[(part["task"] == task) & part["participant"].isin(names)]
    here = here[here["dose"] == here["dose"].max()]
    own, intact, sets = (_from_to(here[column]) for column in ("value", "intact", "mean"))
    what = "a share of right choices between two of" if set(here["metric"]) == {"choice"} else "the measure is"
    return f"{what} {intact} intact, {own} with these damaged, {sets} with other units on average"


def _from_to(values: pd.Series) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def shown(controls: pd.DataFrame, lesion: str, stimulus: str = INTACT) -> pd.DataFrame:
    """The numbers of a series' figure: its rows of `controls.csv`, and whether each condition is beyond all kinds."""
    part = controls[(controls["lesion"] == lesion) & (controls["stimulus"] == stimulus)]
    called = set(beyond(controls)[_ROW].itertuples(index=False, name=None))
    return part.assign(beyond=[row in called for row in part[_ROW].itertuples(index=False, name=None)])


def against_figure(controls: pd.DataFrame, lesion: str, stimulus: str = INTACT) -> Figure:
    """One series of chosen units: a column for each participant, a row per task, doses from left to right.

    The band holds 95 % of the matched sets (of the random ones where there are no matched), the dashed lines 95 % of
    the random sets; a filled marker is beyond both after adjustment.
    """
    part = controls[(controls["lesion"] == lesion) & (controls["stimulus"] == stimulus)]
    tasks, networks = list(dict.fromkeys(part["task"])), list(dict.fromkeys(part["participant"]))
    called = {(row.participant, row.task, row.dose) for row in beyond(controls).itertuples() if row.lesion == lesion
              and row.stimulus == stimulus}  # fmt: skip
    colour, marker = look(lesion, list(dict.fromkeys(controls["lesion"])))
    with figure_style():
        figure = blank(min(WIDTH, 2.2 * len(networks) + 2.2), 1.45 * len(tasks) + 0.95)
        grid = figure.subplots(len(tasks), len(networks), squeeze=False, sharex=True, sharey="row")
        for line, task in enumerate(tasks):
            for axes, name in zip(grid[line], networks, strict=True):
                cell = part[(part["task"] == task) & (part["participant"] == name)].sort_values("step")
                axes.grid(axis="y")
                if line == 0:
                    axes.set_title(legible(name, 66 // len(networks)))
                if cell.empty:
                    continue
                kinds = {kind: rows for kind, rows in cell.groupby("control", sort=False)}
                band = kinds.get("matched", next(iter(kinds.values())))
                axes.fill_between(*_wide(band, "low", "high"), color=QUIET, alpha=0.22, linewidth=0)
                axes.plot(*_wide(band, "mean"), color=QUIET, linewidth=1)
                if "random" in kinds and "matched" in kinds:
                    for edge in ("low", "high"):
                        axes.plot(
                            *_wide(kinds["random"], edge), color=QUIET, linewidth=0.8, linestyle=(0, (4, 3))
                        )
                axes.axhline(cell["intact"].iloc[0], color=INK, linewidth=1, linestyle=(0, (1, 2)))
                one = cell.drop_duplicates("step")
                axes.plot(one["step"], one["value"], color=colour)
                for row in one.itertuples():
                    full = (name, task, row.dose) in called
                    axes.plot(
                        row.step, row.value, marker, color=colour, markerfacecolor=colour if full else "white", zorder=5
                    )
                axes.set_xticks(one["step"], [f"{dose:g}" for dose in one["dose"]])
                axes.set_xlim(one["step"].min() - 0.35, one["step"].max() + 0.35)
            low = float(part.loc[part["task"] == task, ["value", "low", "intact"]].min().min())
            grid[line, 0].set_ylim(min(0.0, low) if low < 0.4 else 0.4, 1.04)
            grid[line, 0].set_ylabel(legible(task, 18))
        height = figure.get_figheight()
        figure.subplots_adjust(
            left=0.13, right=0.99, top=1 - 0.35 / height, bottom=0.55 / height, wspace=0.09, hspace=0.16
        )
        figure.text(0.56, 0.12 / height, "dose", ha="center", fontsize=9, color=QUIET)
    return figure


def _wide(rows: pd.DataFrame, *columns: str) -> list[list[float]]:
    """Steps and columns over them, as lines; a single dose has some width, or its band would not be seen."""
    steps = [float(step) for step in rows["step"]]
    values = [[float(value) for value in rows[column]] for column in columns]
    if len(steps) == 1:
        return [[steps[0] - 0.2, steps[0] + 0.2], *([each[0]] * 2 for each in values)]
    return [steps, *values]


def lines_of(controls: pd.DataFrame, stimulus: str = INTACT) -> list[dict[str, Any]]:
    """Rows of the report's table: every lesion, dose and task with a cell for each participant."""
    shown = controls[controls["stimulus"] == stimulus]
    networks = list(dict.fromkeys(shown["participant"]))
    found = []
    for (lesion, task, dose), part in shown.groupby(["lesion", "task", "dose"], sort=False):
        cells = []
        for name in networks:
            own = part[part["participant"] == name]
            band = own[own["control"] == "matched"] if "matched" in set(own["control"]) else own
            cells.append(
                None
                if own.empty
                else {
                    "value": float(own["value"].iloc[0]),
                    "low": float(band["low"].iloc[0]),
                    "high": float(band["high"].iloc[0]),
                    "p": float(own["adjusted"].max()),
                    "beyond": bool((own["adjusted"] <= LEVEL).all()),
                }
            )
        found.append({"lesion": lesion, "task": task, "dose": dose, "cells": cells})
    return found
