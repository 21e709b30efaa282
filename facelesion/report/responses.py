"""Dose and response of one network: what was measured, the psychometric curve through it, and the dose at half loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from facelesion.analysis.claims import Profile, level_of, over_of
from facelesion.analysis.curve_tables import Fits
from facelesion.report.style import INK, QUIET, WIDTH, blank, figure_style, legible

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Tasks are told apart by colour, marker and place; lesions have other colours (`style`).
_TASKS = (
    ("#0072b2", "o"),
    ("#d55e00", "s"),
    ("#009e73", "^"),
    ("#cc79a7", "D"),
    ("#7a6ff0", "v"),
    ("#8c6d46", "P"),
)
_FINE = 60  # places at which a curve is drawn


def numbers(fits: Fits, scale: Profile) -> pd.DataFrame:
    """What the figure draws, by lesion and task.

    Args:
        fits: the network's curves.
        scale: its scores as right choices between two (`profile(answers, "choice")`).

    Returns:
        Rows of four sorts, in `what`: `intact` and `observed` (`left` at a dose, with its interval), `curve` (fitted),
        `half` (`dose` at half loss, whose interval `low` to `high` is of the dose).
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for (lesion, task), curve in fits.fitted.items():
        told = {"lesion": lesion, "task": task}
        for what, name, doses in (("intact", "none", (0.0,)), ("observed", lesion, curve.doses)):
            for dose in doses:
                found = level_of(scale, task, name, dose)
                over = over_of(scale, task, name, dose)
                rows.append(
                    told
                    | {
                        "what": what, "dose": dose, "left": found.estimate, "low": found.low, "high": found.high,
                        "over": over,
                    }
                )  # fmt: skip
        places = np.geomspace(curve.doses[0] / 1.3, curve.doses[-1] * 1.1, _FINE)
        rows += [
            told | {"what": "curve", "dose": float(dose), "left": float(left)}
            for dose, left in zip(places, curve.at(places), strict=True)
        ]
        if curve.inside:
            half = curve.half
            left = (curve.healthy + curve.chance) / 2
            rows.append(
                told | {"what": "half", "dose": half.estimate, "left": left, "low": half.low, "high": half.high,
                        "over": curve.over}
            )  # fmt: skip
    return pd.DataFrame(rows, columns=["lesion", "task", "what", "dose", "left", "low", "high", "over"])


def curves_figure(shown: pd.DataFrame) -> Figure:
    """A panel for each lesion, a curve for each task; what `numbers` gives."""
    lesions, tasks = list(dict.fromkeys(shown["lesion"])), list(dict.fromkeys(shown["task"]))
    columns = min(2, len(lesions))
    lines = -(-len(lesions) // columns)
    with figure_style():
        width = WIDTH if columns == 2 else 5.6
        height = 3.3 * lines + 0.6
        figure = blank(width, height)
        grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
        handles: dict[str, Any] = {}
        bottom = 44 - 3.2 * len(tasks)
        for axes, lesion in zip(grid.flat, lesions, strict=False):
            part = shown[shown["lesion"] == lesion]
            observed = part[part["what"] == "observed"]
            left = float(observed["dose"].min()) / 1.75
            axes.set_xscale("log")
            axes.axhline(50, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
            for number, task in enumerate(tasks):
                own = part[part["task"] == task]
                colour, marker = _TASKS[number % len(_TASKS)]
                fitted = own[own["what"] == "curve"]
                axes.plot(fitted["dose"], 100 * fitted["left"], color=colour, linewidth=1.6)
                for row in own[own["what"].isin(["observed", "intact"])].itertuples():
                    place = row.dose if row.what == "observed" else left
                    spread = 1 + 0.035 * (
                        number - (len(tasks) - 1) / 2
                    )  # so that intervals do not cover one another
                    axes.plot(
                        [place * spread] * 2, [100 * row.low, 100 * row.high], color=colour, linewidth=1.1
                    )
                    (handles[task],) = axes.plot(
                        place * spread, 100 * row.left, marker, color=colour, markersize=4.5, linestyle="none"
                    )
                for row in own[own["what"] == "half"].itertuples():
                    down = 44 - 3.2 * number
                    axes.plot(
                        [row.low, row.high], [down, down], color=colour, linewidth=2.2, solid_capstyle="butt"
                    )
                    axes.plot(row.dose, down, "|", color=colour, markersize=9, markeredgewidth=2)
            ticks = sorted(set(observed["dose"]))
            axes.set_xticks([left, *ticks], ["intact", *(f"{dose:g}" for dose in ticks)])
            axes.minorticks_off()
            axes.set_xlim(left / 1.25, max(ticks) * 1.2)
            axes.set_ylim(bottom, 103)
            axes.set_yticks([50, 60, 70, 80, 90, 100])
            axes.grid(axis="y")
            axes.set_title(legible(lesion, 44))
            axes.set_xlabel("dose")
        for axes in list(grid.flat)[len(lesions) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("right choices between two (%)")
            axes.annotate(
                "half lost at", (0, 46.5), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", fontsize=8, color=QUIET, va="top",
            )  # fmt: skip
        figure.legend(
            list(handles.values()), [legible(name, 22) for name in handles], loc="lower center",
            ncols=max(1, min(6, len(handles))), bbox_to_anchor=(0.53, 0.0), labelcolor=INK,
        )  # fmt: skip
        figure.subplots_adjust(
            left=0.75 / width,
            right=0.99,
            top=1 - 0.35 / height,
            bottom=0.95 / height,
            wspace=0.08,
            hspace=0.38,
        )
    return figure


def lines_of(fits: Sequence[Fits]) -> list[dict[str, Any]]:
    """Rows of the report's table: every lesion and task, a cell for each network that was fitted."""
    import pandas as pd

    table = pd.concat([each.curves for each in fits], ignore_index=True)
    networks = list(dict.fromkeys(table["participant"]))
    found = []
    for (lesion, task), part in table.groupby(["lesion", "task"], sort=False):
        rows = {row.participant: row for row in part.itertuples()}
        cells: list[dict[str, Any] | None] = []
        for name in networks:
            row = rows.get(name)
            inside = row is not None and bool(row.inside) and not math.isnan(float(row.half))
            cells.append(
                None if row is None
                else {"half": float(row.half), "low": float(row.low), "high": float(row.high), "why": ""} if inside
                else {"half": math.nan, "why": str(row.why)}
            )  # fmt: skip
        found.append({"lesion": lesion, "task": task, "meaning": part["meaning"].iloc[0], "cells": cells})
    return found
