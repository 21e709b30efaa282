"""Figures of the page: training curves, confusion matrices, who was taken for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facelesion.report.style import FAINT, INK, QUIET, figure_style, legible
from facelesion.training.notebook_facts import DAMAGED, HEALTHY, STIMULI, TRAINED
from facelesion.training.notebook_page.printed import CURVES
from facelesion.training.notebook_page.tables import Counts, Key, percent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_TRAINING, _VALIDATION = "#0072b2", "#d55e00"
_NONE, _FACE = "none", "face"


def logs_of(folder: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """The logs of a run's trainings, by task and approach."""
    import pandas

    found: dict[tuple[str, str], pd.DataFrame] = {}
    for log in sorted(folder.glob("*/log.csv")):
        task, _, approach = log.parent.name.partition("-")
        if task == "train":
            task = "detection"
        if approach != "practice":
            found[task, approach.replace("-", " ")] = pandas.read_csv(log)
    return found


def curves_figure(logs: Mapping[str, pd.DataFrame], printed: bool) -> Figure:
    """Accuracy and loss over the epochs, as the notebook plots them: a column a network.

    Args:
        logs: of trainings, by approach.
        printed: what the notebook printed stands beside it.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    order = {name: place for place, name in enumerate((HEALTHY, "ablation 1", "ablation 2", "noise", "dropout"))}
    names = sorted(logs, key=lambda name: (order.get(name, len(order)), name))
    with figure_style():
        figure = Figure(figsize=(1.9 * len(names) + 1.1, 4.3), layout="constrained")
        axes = figure.subplots(2, len(names), squeeze=False, sharey="row")
        for column, name in enumerate(names):
            log = logs[name]
            for axis, value in zip(axes[:, column], ("accuracy", "loss"), strict=True):
                for kind, colour, word in (("train", _TRAINING, "training"), ("val", _VALIDATION, "validation")):
                    axis.plot(
                        log["epoch"] + 1, log[f"{kind}_{value}"], color=colour, marker="o", markersize=3.5,
                        label=word if not column else None,
                    )  # fmt: skip
                if printed and name in CURVES:
                    told = np.array(CURVES[name])
                    for place, colour, word in (
                        (0, _TRAINING, "training, printed"), (2, _VALIDATION, "validation, printed"),
                    ):  # fmt: skip
                        axis.plot(
                            range(1, len(told) + 1), told[:, place + (value == "accuracy")], "x", color=colour,
                            markersize=5, label=word if not column else None,
                        )  # fmt: skip
                axis.grid(axis="y", color=FAINT)
                axis.xaxis.get_major_locator().set_params(integer=True)
            if max(map(len, (log, CURVES.get(name, ()) if printed else ()))) == 1:
                for axis in axes[:, column]:
                    axis.set_xlim(0.5, 1.5)
                    axis.set_xticks([1])
            axes[0][column].set_title(legible(name, 18))
            axes[0][column].set_ylim(-0.04, 1.06)
            axes[1][column].set_yscale("log")
            axes[1][column].set_xlabel("epoch")
        low, high = axes[1][0].get_ylim()
        if high < 100 * low:
            axes[1][0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[1][0].yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
        axes[1][0].yaxis.set_minor_formatter(lambda _value, _place: "")
        axes[0][0].set_ylabel("accuracy")
        axes[1][0].set_ylabel("loss")
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8.5)
    return figure


def matrices_figure(
    matrices: Mapping[Key, Counts], rows: Sequence[str], columns: Sequence[str], heads: Sequence[str] = ()
) -> Figure:
    """2 × 2 matrices of face or not, as the notebook plots them: a row a network, a column a stimulus.

    Args:
        matrices: by row and column.
        rows, columns: their order; a cell without a matrix stays empty.
        heads: what the columns are called.
    """
    from matplotlib.figure import Figure

    with figure_style():
        width, height = 1.34 * len(columns) + 1.5, 1.18 * len(rows) + 0.85
        figure = Figure(figsize=(width, height))
        edges = {"left": 1.4 / width, "right": 0.99, "top": 1 - 0.35 / height, "bottom": 0.5 / height}
        axes = figure.subplots(
            len(rows), len(columns), squeeze=False, gridspec_kw={"wspace": 0.16, "hspace": 0.16, **edges}
        )
        for line, row in zip(axes, rows, strict=True):
            for axis, column, head in zip(line, columns, heads or columns, strict=True):
                counts = matrices.get((row, column))
                _matrix(axis, counts)
                if row == rows[0]:
                    axis.set_title(head, loc="center", fontsize=9)
                if row == rows[-1]:
                    axis.set_xticks([0, 1], [_NONE, _FACE], fontsize=7.5)
                    axis.tick_params(length=0)
                if column == columns[0]:
                    axis.set_yticks([0, 1], [_NONE, _FACE], fontsize=7.5)
                    axis.tick_params(length=0)
                    axis.set_ylabel(
                        legible(row, 24).replace(": ", ":\n"), rotation=0, ha="right", va="center", fontsize=9,
                        labelpad=6,
                    )  # fmt: skip
        middle = (edges["left"] + edges["right"]) / 2
        figure.text(middle, 0.08 / height, "called", ha="center", fontsize=8.5, color=QUIET)
        figure.text(edges["left"] - 0.42 / width, 1 - 0.24 / height, "shown", ha="center", fontsize=8.5, color=QUIET)
    return figure


def _matrix(axis: Any, counts: Counts | None) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    if counts is None:
        axis.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5))
        axis.set_aspect("equal")
        axis.text(0.5, 0.5, "–", ha="center", va="center", color=QUIET)
        return
    cells = np.array(counts, float).reshape(2, 2)
    axis.imshow(cells, cmap="Blues", vmin=0, vmax=max(1.0, cells.max()))
    for shown in range(2):
        for called in range(2):
            value = cells[shown, called]
            axis.text(
                called, shown, f"{value:,.0f}", ha="center", va="center", fontsize=8,
                color="white" if value > cells.max() / 2 else INK,
            )  # fmt: skip


def who_for_whom_figure(answers: pd.DataFrame, approaches: Sequence[str]) -> Figure:
    """Who was named for whom: a row a network, a column a stimulus; the diagonal is right, a stripe is one name for "
    "all.

    Args:
        answers: to who it is, with columns approach, how, stimulus, target, answer.
        approaches: their order.
    """
    from matplotlib.figure import Figure

    rows = [(HEALTHY, HEALTHY), *((name, how) for name in approaches for how in (DAMAGED, TRAINED))]
    present = set(zip(answers["approach"], answers["how"], strict=True))
    rows = [row for row in rows if row in present]
    count = int(max(answers["target"].max(), answers["answer"].max())) + 1
    with figure_style():
        figure = Figure(figsize=(9.2, 1.3 * len(rows) + 0.6))
        axes = figure.subplots(
            len(rows), len(STIMULI), squeeze=False,
            gridspec_kw={"wspace": 0.1, "hspace": 0.2, "left": 0.22, "right": 0.99, "top": 0.96, "bottom": 0.04},
        )  # fmt: skip
        for number, (line, (approach, how)) in enumerate(zip(axes, rows, strict=True)):
            for axis, stimulus in zip(line, STIMULI, strict=True):
                part = answers[
                    (answers["approach"] == approach) & (answers["how"] == how) & (answers["stimulus"] == stimulus)
                ]
                cells = np.zeros((count, count))
                np.add.at(cells, (part["target"].to_numpy(int), part["answer"].to_numpy(int)), 1)
                cells /= np.maximum(1, cells.sum(1, keepdims=True))
                axis.imshow(cells, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
                axis.set_xticks([])
                axis.set_yticks([])
                axis.spines[:].set_color(FAINT)
                for side in ("top", "right"):
                    axis.spines[side].set_visible(True)
                right = float((part["target"] == part["answer"]).mean())
                named = part["answer"].nunique()
                axis.set_xlabel(f"{percent(right)} % right, {named} names", fontsize=7, color=QUIET, labelpad=2)
                if not number:
                    title = "normal" if stimulus == STIMULI[0] else stimulus.removeprefix("mask ")
                    axis.set_title(title, loc="center", fontsize=9)
                if axis is line[0]:
                    words = "undamaged" if how == HEALTHY else f"{legible(approach, 20)}\n{how}"
                    axis.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8.5)
    return figure


def dots_figure(table: pd.DataFrame) -> Figure:
    """Every test as a dot, by network and stimulus."""
    from facelesion.training.notebook_figures import notebook_figure

    with figure_style():
        return notebook_figure(table)


def moved_figure(table: pd.DataFrame) -> Figure:
    """Units excited and inhibited, each beside its controls."""
    from facelesion.training.notebook_figures import manipulated_figure

    with figure_style():
        return manipulated_figure(table)
