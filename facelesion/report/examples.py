"""The figures of single examples: confusions, stimuli, Grad-CAM, training. Each takes values and gives a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from facelesion.errors import Error
from facelesion.report.run_folder import Confusion, GradCamMaps, StimulusExamples
from facelesion.report.style import FAINT, INK, PAPER, QUIET, WIDTH, blank, figure_style, legible, wrapped

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def confusion_figure(confusions: Sequence[Confusion]) -> Figure:
    """Confusion matrices of one task side by side, rows in percent of what was shown."""
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    size = max(len(confusion.labels) for confusion in confusions)
    small = size <= 12
    colours = LinearSegmentedColormap.from_list("share", ["#ffffff", "#a9cbe6", "#0072b2", "#07304f"])
    norm = PowerNorm(0.5, 0, 100)  # the root lets single errors be seen
    with figure_style():
        columns = min(3, len(confusions))
        lines = -(-len(confusions) // columns)
        side = min(2.6 if small or columns > 2 else 3.9, (WIDTH - 1.9) / columns - 0.35)
        figure = blank(
            (side + 0.35) * columns + 1.9, (side + (0.85 if size <= 3 or not small else 1.2)) * lines
        )
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes in list(grid.flat)[len(confusions) :]:
            axes.set_visible(False)
        for place, (axes, confusion) in enumerate(zip(grid.flat, confusions, strict=False)):
            total = confusion.matrix.sum(axis=1, keepdims=True)
            percent = 100 * confusion.matrix / np.maximum(total, 1)
            image = axes.imshow(percent, cmap=colours, norm=norm, interpolation="none", aspect="equal")
            axes.set_title(wrapped(confusion.condition, int(side * 11)), fontsize=9.5)
            axes.set_xlabel("answered")
            first = place % columns == 0
            if first:
                axes.set_ylabel("shown")
            places = range(len(confusion.labels))
            if small:
                tilt = 0 if size <= 3 else 40
                labels = [legible(label, 20) for label in confusion.labels]
                axes.set_xticks(places, labels, rotation=tilt, ha="right" if tilt else "center")
                axes.set_yticks(places, labels if first else [""] * len(places))
                for row in places:
                    for column in places:
                        share, count = percent[row, column], int(confusion.matrix[row, column])
                        axes.text(
                            column, row, f"{share:.0f} %\n({count})" if size <= 3 else f"{share:.0f}",
                            ha="center", va="center", fontsize=9 if size <= 3 else 7.5,
                            color=PAPER if share > 30 else INK,
                        )  # fmt: skip
            else:
                ticks = [i for i in places if i % 10 == 9]
                axes.set_xticks(ticks, [str(i + 1) for i in ticks])
                axes.set_yticks(ticks, [str(i + 1) for i in ticks])
            axes.tick_params(length=0)
            for spine in axes.spines.values():
                spine.set_visible(True)
                spine.set_color(FAINT)
            if place == columns - 1:  # one scale, at the end of the first row
                scale = axes.inset_axes((1.06, 0, 0.055, 1))
                bar = figure.colorbar(image, cax=scale, ticks=[0, 5, 20, 50, 100])
                bar.set_label("% of what was shown", fontsize=8.5)
                bar.ax.tick_params(labelsize=8.5)
                bar.outline.set_visible(False)
        figure.subplots_adjust(left=0.13, right=0.87, top=0.93, bottom=0.12, wspace=0.12, hspace=0.4)
    return figure


def stimuli_figure(examples: StimulusExamples) -> Figure:
    """One face under every stimulus; changes of one kind stand in one row."""
    kinds: dict[str, list[int]] = {}
    for place, name in enumerate(examples.names):
        kinds.setdefault(name.split(" ")[0], []).append(place)
    if max(map(len, kinds.values())) == 1:  # no families: fill rows one after another
        order = list(range(len(examples.names)))
        rows = [order[start : start + 6] for start in range(0, len(order), 6)]
        alone: list[int] = []
    else:
        alone = [members[0] for members in kinds.values() if len(members) == 1]
        rows = [members for members in kinds.values() if len(members) > 1]
    rows = [row[start : start + 6] for row in rows for start in range(0, len(row), 6)]
    columns = max(map(len, rows)) + bool(alone)
    with figure_style():
        side = min(1.75, WIDTH / columns)
        figure = blank(side * columns, (side + 0.22) * max(len(rows), len(alone)))
        grid = figure.subplots(max(len(rows), len(alone)), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        places = [(line, 0, index) for line, index in enumerate(alone)]
        places += [
            (line, column + bool(alone), index)
            for line, row in enumerate(rows)
            for column, index in enumerate(row)
        ]
        for line, column, index in places:
            axes = grid[line, column]
            axes.imshow(examples.images[index], interpolation="bilinear")
            axes.set_title(
                legible(examples.names[index], 24), fontsize=9, fontweight="normal", loc="center", pad=3
            )
        figure.subplots_adjust(left=0, right=1, top=0.96, bottom=0, wspace=0.06, hspace=0.17)
    return figure


def gradcam_figure(maps: GradCamMaps) -> Figure:
    """Grad-CAM of one face: a row per condition, a column per layer from early to late."""
    with figure_style():
        lines, columns = len(maps.conditions), len(maps.layers) + 1
        side = min(1.7, (WIDTH - 1.2) / columns)
        figure = blank(side * columns + 1.2, side * lines + 0.3)
        grid = figure.subplots(lines, columns, squeeze=False)
        gray = np.repeat(maps.image.mean(axis=-1, keepdims=True), 3, axis=-1).astype(np.uint8)
        for line, condition in enumerate(maps.conditions):
            for column in range(columns):
                axes = grid[line, column]
                axes.set_xticks([])
                axes.set_yticks([])
                for spine in axes.spines.values():
                    spine.set_visible(False)
                if column == 0:
                    axes.imshow(maps.image, interpolation="bilinear")
                    axes.set_ylabel(
                        wrapped(condition, 19), rotation=0, ha="right", va="center", labelpad=8, fontsize=8.5
                    )
                    continue
                heat = maps.heat[line, column - 1]
                axes.imshow(gray, interpolation="bilinear")
                axes.imshow(
                    heat, cmap="inferno", vmin=0, vmax=1, alpha=np.clip(0.25 + 0.6 * heat, 0, 0.85),
                    interpolation="bilinear",
                )  # fmt: skip
                if not heat.any():
                    axes.text(
                        0.5, 0.5, "no positive\nevidence", transform=axes.transAxes, ha="center", va="center",
                        fontsize=8, color=PAPER,
                    )  # fmt: skip
                if line == 0:
                    axes.set_title(legible(maps.layers[column - 1], 16), fontsize=9, loc="center", pad=4)
        grid[0, 0].set_title("face", fontsize=9, loc="center", pad=4)
        figure.subplots_adjust(
            left=1.2 / figure.get_figwidth(), right=1, top=1 - 0.28 / figure.get_figheight(), bottom=0,
            wspace=0.04, hspace=0.04,
        )  # fmt: skip
    return figure


def training_figure(log: pd.DataFrame) -> Figure | None:
    """Training curves: for every measure one panel, training and validation by epoch.

    Args:
        log: Lightning's CSV log: columns `epoch` and such as `train_loss` and `val_loss` (also `train/loss`), one
            row per event, so that most cells are empty.

    Returns:
        None if the log has no such column.
    """
    if "epoch" not in log:
        return None
    measures: dict[str, dict[str, str]] = {}
    for name in log.columns:
        for part, long in (("train", "training"), ("val", "validation")):
            for joint in ("_", "/"):
                if name.startswith(part + joint) and not name.endswith("_step"):
                    measures.setdefault(name[len(part) + 1 :].removesuffix("_epoch"), {})[long] = name
    if not measures:
        return None
    shown = sorted(measures, key=lambda name: (name != "loss", -len(measures[name])))[:4]
    with figure_style():
        figure = blank(min(WIDTH, 3.9 * len(shown)), 2.7)
        for axes, measure in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for part, colour, style in (("training", QUIET, (0, (4, 2))), ("validation", "#0072b2", "-")):
                if part in measures[measure]:
                    name = measures[measure][part]
                    values = _numbers(log, name).groupby(_numbers(log, "epoch")).mean().dropna()
                    axes.plot(
                        values.index, values, color=colour, linestyle=style, label=part,
                        marker="o" if len(values) == 1 else "",
                    )  # fmt: skip
            axes.set_title(legible(measure.replace("_", " ")))
            axes.set_xlabel("epoch")
            axes.grid(axis="y")
            axes.legend(fontsize=8.5)
        figure.tight_layout()
    return figure


def _numbers(log: pd.DataFrame, name: str) -> pd.Series:
    """A column of a log as finite numbers, with gaps.

    Raises:
        Error: it holds something else.
    """
    import pandas as pd

    try:
        return pd.to_numeric(log[name]).astype(float).replace([np.inf, -np.inf], np.nan)
    except (ValueError, TypeError, OverflowError):
        raise Error(f"training.csv: the column {name} must hold numbers") from None
