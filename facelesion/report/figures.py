"""The figures of a report. Each takes values and gives a Matplotlib figure; nothing is shown or saved here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from facelesion.analysis.claims import Profile
from facelesion.errors import Error
from facelesion.report.run_folder import Confusion, GradCamMaps, StimulusExamples
from facelesion.report.style import FAINT, INK, PAPER, QUIET, figure_style, legible, look
from facelesion.report.summary import (
    NONE,
    SHARES,
    approaches_of,
    dose_response,
    heat_map,
    kept_shares,
    metric_name,
    metric_of,
    tasks_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.6  # inches, the report's text width


def dose_response_figure(
    table: pd.DataFrame, stimulus: str = "intact", profile: Profile | None = None
) -> Figure:
    """Performance by dose: one panel per task, one line per approach; mean and 95 % interval.

    The interval is over draws, or with a `profile` (the network's scores by person) over people and draws.

    Approaches have doses of different kinds, so the horizontal axis counts steps from the intact network on; what
    each step is stands below it, in the approach's colour.
    """
    tasks, approaches = tasks_of(table), approaches_of(table)
    with figure_style():
        columns = min(2, len(tasks))
        lines = -(-len(tasks) // columns)
        key_height = 0.22 * (len(approaches) + 1)
        figure = _figure(WIDTH * columns / 2 if columns == 1 else WIDTH, 2.75 * lines + key_height + 0.5)
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
        doses: dict[str, dict[int, float]] = {name: {} for name in approaches}
        for axes, task in zip(grid.flat, tasks, strict=False):
            metric = metric_of(table, task)
            curve = dose_response(table, task, metric, stimulus, profile)
            if curve.empty:
                axes.set_visible(False)
                continue
            scale = 100 if metric in SHARES else 1
            chance = curve["chance"].iloc[0] * scale
            intact = curve[curve["approach"] == NONE]
            if chance == chance:
                axes.axhline(chance, color=QUIET, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            if len(intact):
                axes.axhline(
                    intact["mean"].iloc[0] * scale, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=1
                )
            for approach in approaches:
                part = curve[curve["approach"] == approach]
                if part.empty:
                    continue
                doses[approach] |= dict(zip(part["step"], part["dose"], strict=True))
                colour, marker = look(approach, approaches)
                start = intact.assign(low=intact["mean"], high=intact["mean"])
                x = np.concatenate([start["step"], part["step"]])
                mean, low, high = (
                    np.concatenate([start[name], part[name]]) * scale for name in ("mean", "low", "high")
                )
                axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
                axes.plot(x, mean, color=colour, zorder=3)
                axes.plot(part["step"], part["mean"] * scale, marker, color=colour, zorder=4, label=approach)
            if len(intact):
                axes.plot(0, intact["mean"].iloc[0] * scale, "o", color=INK, zorder=5)
            unit = " (%)" if metric in SHARES else ""
            axes.set_title(legible(task))
            axes.set_ylabel(legible(metric_name(metric), 30) + unit)
            top, bottom = max(scale, float(curve["mean"].max()) * scale), min(0.0, float(curve["mean"].min()))
            if metric == "auc":
                bottom = min(0.4, float(curve["mean"].min()) - 0.05)
            axes.set_ylim(bottom * (1 if metric == "auc" else scale), top * 1.04)
            axes.grid(axis="y")
            if chance == chance:
                axes.annotate(
                    "chance", (0, chance), xycoords=("axes fraction", "data"), xytext=(4, 3),
                    textcoords="offset points", ha="left", fontsize=8, color=QUIET,
                )  # fmt: skip
        for axes in list(grid.flat)[len(tasks) :]:
            axes.set_visible(False)
        steps = max((step for known in doses.values() for step in known), default=1)
        for axes in grid.flat:
            axes.set_xticks(range(steps + 1), ["intact", *map(str, range(1, steps + 1))])
            axes.set_xlim(-0.25, steps + 0.25)
            axes.tick_params(labelbottom=True)
        for column in range(columns):
            shown = [grid[line, column] for line in range(lines) if grid[line, column].get_visible()]
            if shown:
                _dose_key(shown[-1], doses, approaches)
        figure.subplots_adjust(
            left=0.09, right=0.99, top=1 - 0.3 / figure.get_figheight(),
            bottom=(key_height + 0.45) / figure.get_figheight(), wspace=0.22, hspace=0.42,
        )  # fmt: skip
    return figure


def heat_map_figure(table: pd.DataFrame, task: str) -> Figure:
    """Stimulus × lesion: change against the intact network on unchanged images, in percentage points.

    For the area under the ROC curve the unit is hundredths, which is the same in percentage points of right choices
    between two.
    """
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    heat = heat_map(table, task)
    values = 100 * heat.change
    approaches = approaches_of(table)
    losses, gains = ["#5a1009", "#a83216", "#e58a55", "#f8d9c0"], ["#cfe2f1", "#7db4dc", "#2c74b3", "#0d3a66"]
    colours = LinearSegmentedColormap.from_list("change", [*losses, "#ffffff", *gains])
    largest = max(5.0, float(np.nanmax(np.abs(values))))  # differences of a point or two stay pale
    norm = Normalize(-largest, largest)
    with figure_style():
        lines, columns = values.shape
        figure = _figure(1.4 + 0.39 * max(columns, 7), 0.27 * lines + 1.25)
        axes = figure.subplots()
        axes.imshow(values, cmap=colours, norm=norm, aspect="auto", interpolation="none")
        for line in range(lines):
            for column in range(columns):
                value = values[line, column]
                dark = not np.isnan(value) and abs(value) > 0.6 * largest
                text = "·" if np.isnan(value) else f"{value:.0f}".replace("-0", "0").replace("-", "−")
                axes.text(
                    column, line, text, ha="center", va="center", fontsize=8, color=PAPER if dark else INK
                )
        axes.set_yticks(range(lines), [legible(name) for name in heat.stimuli])
        axes.set_xticks(range(columns), ["–" if a == NONE else f"{dose:g}" for a, dose in heat.columns])
        axes.tick_params(length=0, labelsize=8.5)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        for line in range(1, lines):
            kind = [name.split(" ")[0] for name in heat.stimuli[line - 1 : line + 1]]
            axes.axhline(line - 0.5, color=PAPER, linewidth=3.5 if kind[0] != kind[1] else 0.6)
        start = 0
        for name in dict.fromkeys(approach for approach, _ in heat.columns):
            width = sum(approach == name for approach, _ in heat.columns)
            colour, _ = look(name, approaches)
            axes.axvline(start - 0.5, color=PAPER, linewidth=5)
            axes.annotate(
                "intact\nnetwork" if name == NONE else legible(name, 9 + 4 * width), (start + (width - 1) / 2, 1.0),
                xycoords=("data", "axes fraction"), xytext=(0, 7), textcoords="offset points",
                ha="center", va="bottom", color=colour, fontweight="bold", fontsize=9,
            )  # fmt: skip
            axes.annotate(
                "", (start - 0.4, 1.0), (start + width - 0.6, 1.0),
                xycoords=("data", "axes fraction"), textcoords=("data", "axes fraction"),
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 2.5, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
            start += width
        axes.set_xlabel("dose")
    return figure


def kept_figure(table: pd.DataFrame) -> Figure | None:
    """What is left of one task against what is left of each other: the task of which least is left, up to three others
    to a row.

    Returns:
        None if the table has no two tasks of which something can be lost.
    """
    shares = kept_shares(table)
    tasks = [task for task in tasks_of(table) if task in set(shares["task"])]
    if len(tasks) < 2:
        return None
    left = shares.groupby("task")["kept"].mean()
    reference = min(tasks, key=lambda task: float(left[task]))
    others = [task for task in tasks if task != reference]
    approaches = approaches_of(table)
    wide = (
        shares.set_index(["approach", "step", "draw", "task"])["kept"]
        .groupby(level=[0, 1, 2, 3])
        .mean()
        .unstack()
    )
    low = max(-30.0, min(-8.0, 100 * float(shares["kept"].min()) - 3))
    high = min(140.0, max(108.0, 100 * float(shares["kept"].max()) + 3))
    with figure_style():
        columns = min(3, len(others))
        lines = -(-len(others) // columns)
        figure = _figure(WIDTH * max(columns, 2) / 3, 3.75 * lines)
        grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
        handles: dict[str, Any] = {}
        for axes, other in zip(grid.flat, others, strict=False):
            axes.plot([low, high], [low, high], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
            axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
            axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
            for approach in approaches:
                if approach not in wide.index.get_level_values(0):
                    continue
                colour, marker = look(approach, approaches)
                part = wide.loc[approach]
                axes.plot(
                    100 * part[other], 100 * part[reference], marker, color=colour, alpha=0.3, markersize=3.5,
                    markeredgewidth=0,
                )  # fmt: skip
                mean = part[[other, reference]].groupby(level=0).mean()
                (handles[approach],) = axes.plot(
                    np.r_[100, 100 * mean[other]],
                    np.r_[100, 100 * mean[reference]],
                    marker=marker,
                    color=colour,
                    label=approach,
                    markersize=5,
                )
            axes.plot(100, 100, "o", color=INK, zorder=5)
            axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
            axes.set_xlabel(f"{legible(other, 24)}: kept (%)")
            axes.set_title(legible(other, 24))
        for axes in list(grid.flat)[len(others) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(f"{legible(reference, 24)}: kept (%)")
        for name, side in ((reference, -1), (others[0], 1)):
            grid[0, 0].annotate(
                f"less left of {legible(name, 14)}", (0.32, 0.32), xycoords="axes fraction",
                xytext=(7 * -side, 7 * side), textcoords="offset points", rotation=45,
                ha="center", va="center", fontsize=8, color=QUIET,
            )  # fmt: skip
        # Given by hand: a legend leaves out names that begin with a line.
        figure.legend(
            list(handles.values()), [legible(name, 20) for name in handles], loc="lower center",
            ncols=min(4, len(handles)), bbox_to_anchor=(0.5, -0.06 / lines),
        )  # fmt: skip
        figure.subplots_adjust(left=0.07, right=0.99, top=0.92, bottom=0.16 / lines, wspace=0.08, hspace=0.35)
    return figure


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
        figure = _figure(
            (side + 0.35) * columns + 1.9, (side + (0.85 if size <= 3 or not small else 1.2)) * lines
        )
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes in list(grid.flat)[len(confusions) :]:
            axes.set_visible(False)
        for place, (axes, confusion) in enumerate(zip(grid.flat, confusions, strict=False)):
            total = confusion.matrix.sum(axis=1, keepdims=True)
            percent = 100 * confusion.matrix / np.maximum(total, 1)
            image = axes.imshow(percent, cmap=colours, norm=norm, interpolation="none", aspect="equal")
            axes.set_title(_wrap(confusion.condition, int(side * 11)), fontsize=9.5)
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
        figure = _figure(side * columns, (side + 0.22) * max(len(rows), len(alone)))
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
        figure = _figure(side * columns + 1.2, side * lines + 0.3)
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
                        _wrap(condition, 19), rotation=0, ha="right", va="center", labelpad=8, fontsize=8.5
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
        figure = _figure(min(WIDTH, 3.9 * len(shown)), 2.7)
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


def _dose_key(axes: Axes, doses: Mapping[str, Mapping[int, float]], approaches: Sequence[str]) -> None:
    """Below the axis: what dose every step is, a line per approach in its colour."""
    axes.annotate(
        "dose step", (0.5, 0), xycoords="axes fraction", xytext=(0, -22), textcoords="offset points",
        ha="center", va="top", fontsize=8.5, color=QUIET,
    )  # fmt: skip
    for line, approach in enumerate(approaches):
        colour, _ = look(approach, approaches)
        down = -38 - 15 * line
        for step, dose in doses[approach].items():
            axes.annotate(
                f"{dose:g}", (step, 0), xycoords=("data", "axes fraction"), xytext=(0, down),
                textcoords="offset points", ha="center", va="top", fontsize=8.5, color=colour,
            )  # fmt: skip
        axes.annotate(
            legible(approach, 14), (0, 0), xycoords=("data", "axes fraction"), xytext=(14, down),
            textcoords="offset points",
            ha="right", va="top", fontsize=8.5, color=colour, fontweight="bold",
        )  # fmt: skip


def _figure(width: float, height: float) -> Any:
    """A figure that belongs to no window and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def _wrap(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(legible(text, 4 * width), width))
