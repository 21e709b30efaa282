"""The figures of a report's results. Each takes values and gives a Matplotlib figure; nothing is shown or saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from facelesion.analysis.claims import Profile
from facelesion.report.style import (
    FAINT,
    INK,
    PAPER,
    QUIET,
    WIDTH,
    blank,
    figure_style,
    legible,
    look,
    wrapped,
)
from facelesion.report.summary import (
    INTACT,
    NONE,
    Measure,
    dose_response,
    heat_map,
    kept_shares,
    lesions_of,
    measure_of,
    tasks_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def side_by_side_figure(
    tables: Mapping[str, pd.DataFrame], profiles: Mapping[str, Profile | None] | None = None, stimulus: str = INTACT
) -> Figure:
    """Performance by dose of several participants: a column for each, a row per task, one scale in a row.

    Args:
        tables: the result table of every participant, by its name.
        profiles: their scores by person; then intervals are over people and draws.
        stimulus: under which pictures.
    """
    everything = list(tables.values())
    tasks = list(dict.fromkeys(task for table in everything for task in tasks_of(table)))
    lesions = list(dict.fromkeys(lesion for table in everything for lesion in lesions_of(table)))
    handles: dict[str, Any] = {}
    with figure_style():
        figure = blank(WIDTH, 1.45 * len(tasks) + 1.05)
        grid = figure.subplots(len(tasks), len(tables), squeeze=False, sharex=True, sharey="row")
        for line, task in enumerate(tasks):
            measure = next(measure_of(table, task) for table in everything if task in tasks_of(table))
            extent: list[float] = []
            for axes, (name, table) in zip(grid[line], tables.items(), strict=True):
                axes.grid(axis="y")
                if line == 0:
                    axes.set_title(legible(name, 66 // len(tables)))
                if task not in tasks_of(table):
                    axes.annotate("not asked", (0.5, 0.5), xycoords="axes fraction", ha="center", color=QUIET)
                    continue
                curve = dose_response(table, task, measure.name, stimulus, (profiles or {}).get(name))
                _curves(axes, curve, measure, lesions, handles, tell=axes is grid[line, 0])
                extent += [float(curve["mean"].min()), float(curve["mean"].max())]
            grid[line, 0].set_ylim(*_limits(measure, extent))
            words = wrapped(measure.words + (" (%)" if measure.share else ""), 21)
            for text, at, look_of in (
                (legible(task, 18), 2, {"fontsize": 9.5, "fontweight": "bold", "color": INK}),
                (words, -12, {"fontsize": 8, "color": QUIET, "linespacing": 1.25}),
            ):
                grid[line, 0].annotate(
                    text, (0, 1), xycoords="axes fraction", xytext=(-1.62 * 72, at), textcoords="offset points",
                    ha="left", va="top", **look_of,
                )  # fmt: skip
        steps = 1
        for table in everything:
            rows = table[(table["lesion"] != NONE) & (table["stimulus"] == stimulus)]
            steps = max([steps, *rows.groupby("lesion")["dose"].nunique()])
        for axes in grid.flat:
            axes.set_xticks(range(steps + 1))
            axes.set_xlim(-0.3, steps + 0.3)
        height = figure.get_figheight()
        figure.subplots_adjust(
            left=0.175, right=0.995, top=1 - 0.3 / height, bottom=0.72 / height, wspace=0.09, hspace=0.14
        )
        figure.text(0.585, 0.36 / height, "dose step (0: intact network)", ha="center", fontsize=9, color=QUIET)
        _legend(figure, handles, 0.28 / height)
    return figure


def dose_response_figure(
    table: pd.DataFrame, stimulus: str = "intact", profile: Profile | None = None
) -> Figure:
    """Performance by dose: one panel per task, one line per lesion; mean and 95 % interval.

    The interval is over draws, or with a `profile` (the network's scores by person) over people and draws.

    Lesions have doses of different kinds, so the horizontal axis counts steps from the intact network on; what
    each step is stands below it, in the lesion's colour.
    """
    tasks, lesions = tasks_of(table), lesions_of(table)
    with figure_style():
        columns = min(2, len(tasks))
        lines = -(-len(tasks) // columns)
        key_height = 0.22 * (len(lesions) + 1)
        figure = blank(WIDTH * columns / 2 if columns == 1 else WIDTH, 2.75 * lines + key_height + 0.5)
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
        doses: dict[str, dict[int, float]] = {name: {} for name in lesions}
        for axes, task in zip(grid.flat, tasks, strict=False):
            measure = measure_of(table, task)
            curve = dose_response(table, task, measure.name, stimulus, profile)
            if curve.empty:
                axes.set_visible(False)
                continue
            for lesion in lesions:
                part = curve[curve["lesion"] == lesion]
                doses[lesion] |= dict(zip(part["step"], part["dose"], strict=True))
            _curves(axes, curve, measure, lesions)
            axes.set_ylim(*_limits(measure, [float(curve["mean"].min()), float(curve["mean"].max())]))
            axes.set_title(legible(task))
            axes.set_ylabel(wrapped(measure.words, 32) + (" (%)" if measure.share else ""))
            axes.grid(axis="y")
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
                _dose_key(shown[-1], doses, lesions)
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
    lesions = lesions_of(table)
    losses, gains = ["#5a1009", "#a83216", "#e58a55", "#f8d9c0"], ["#cfe2f1", "#7db4dc", "#2c74b3", "#0d3a66"]
    colours = LinearSegmentedColormap.from_list("change", [*losses, "#ffffff", *gains])
    largest = max(5.0, float(np.nanmax(np.abs(values))))  # differences of a point or two stay pale
    norm = Normalize(-largest, largest)
    with figure_style():
        lines, columns = values.shape
        figure = blank(1.4 + 0.39 * max(columns, 7), 0.27 * lines + 1.25)
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
        for name in dict.fromkeys(lesion for lesion, _ in heat.columns):
            width = sum(lesion == name for lesion, _ in heat.columns)
            colour, _ = look(name, lesions)
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
    lesions = lesions_of(table)
    wide = (
        shares.set_index(["lesion", "step", "draw", "task"])["kept"]
        .groupby(level=[0, 1, 2, 3])
        .mean()
        .unstack()
    )
    low = max(-30.0, min(-8.0, 100 * float(shares["kept"].min()) - 3))
    high = min(140.0, max(108.0, 100 * float(shares["kept"].max()) + 3))
    with figure_style():
        columns = min(3, len(others))
        lines = -(-len(others) // columns)
        figure = blank(WIDTH * max(columns, 2) / 3, 3.75 * lines)
        grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
        handles: dict[str, Any] = {}
        for axes, other in zip(grid.flat, others, strict=False):
            axes.plot([low, high], [low, high], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
            axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
            axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
            for lesion in lesions:
                if lesion not in wide.index.get_level_values(0):
                    continue
                colour, marker = look(lesion, lesions)
                part = wide.loc[lesion]
                axes.plot(
                    100 * part[other], 100 * part[reference], marker, color=colour, alpha=0.3, markersize=3.5,
                    markeredgewidth=0,
                )  # fmt: skip
                mean = part[[other, reference]].groupby(level=0).mean()
                (handles[lesion],) = axes.plot(
                    np.r_[100, 100 * mean[other]],
                    np.r_[100, 100 * mean[reference]],
                    marker=marker,
                    color=colour,
                    label=lesion,
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


def _curves(
    axes: Axes,
    curve: pd.DataFrame,
    measure: Measure,
    lesions: Sequence[str],
    handles: dict[str, Any] | None = None,
    tell: bool = True,
) -> None:
    """A line per lesion with its interval as a band, from the intact network on; chance dashed, intact dotted.

    Lines are entered in `handles` by their lesion, for a legend; `tell` says whether chance is named.
    """
    scale = 100 if measure.share else 1
    if measure.chance == measure.chance:
        chance = measure.chance * scale
        axes.axhline(chance, color=QUIET, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        if tell:
            axes.annotate(
                "chance", (0, chance), xycoords=("axes fraction", "data"), xytext=(4, 3),
                textcoords="offset points", ha="left", fontsize=8, color=QUIET,
            )  # fmt: skip
    intact = curve[curve["lesion"] == NONE]
    if len(intact):
        level = intact["mean"].iloc[0] * scale
        axes.axhline(level, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        axes.plot(0, level, "o", color=INK, zorder=5)
    for lesion in lesions:
        part = curve[curve["lesion"] == lesion]
        if part.empty:
            continue
        colour, marker = look(lesion, lesions)
        start = intact.assign(low=intact["mean"], high=intact["mean"])
        x = np.concatenate([start["step"], part["step"]])
        mean, low, high = (np.concatenate([start[name], part[name]]) * scale for name in ("mean", "low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
        axes.plot(x, mean, color=colour, zorder=3)
        (line,) = axes.plot(part["step"], part["mean"] * scale, marker, color=colour, zorder=4, label=lesion)
        if handles is not None:
            handles.setdefault(lesion, line)


def _limits(measure: Measure, extent: Sequence[float]) -> tuple[float, float]:
    """The vertical axis: all that a measure can be, from chance or lower on where it is an area."""
    scale = 100 if measure.share else 1
    low, high = min(extent, default=0.0), max(extent, default=1.0)
    bottom = min(0.4, low - 0.05) if measure.bounds and not measure.share else min(0.0, low)
    return bottom * scale, max(1.0, high) * scale * 1.04


def _legend(figure: Figure, handles: Mapping[str, Any], top: float) -> None:
    """Names of the lesions below a figure, given by hand: a legend leaves out names that begin with a line."""
    figure.legend(
        list(handles.values()), [legible(name, 20) for name in handles], loc="upper center",
        ncols=max(1, min(5, len(handles))), bbox_to_anchor=(0.585, top),
    )  # fmt: skip


def _dose_key(axes: Axes, doses: Mapping[str, Mapping[int, float]], lesions: Sequence[str]) -> None:
    """Below the axis: what dose every step is, a line per lesion in its colour."""
    axes.annotate(
        "dose step", (0.5, 0), xycoords="axes fraction", xytext=(0, -22), textcoords="offset points",
        ha="center", va="top", fontsize=8.5, color=QUIET,
    )  # fmt: skip
    for line, lesion in enumerate(lesions):
        colour, _ = look(lesion, lesions)
        down = -38 - 15 * line
        for step, dose in doses[lesion].items():
            axes.annotate(
                f"{dose:g}", (step, 0), xycoords=("data", "axes fraction"), xytext=(0, down),
                textcoords="offset points", ha="center", va="top", fontsize=8.5, color=colour,
            )  # fmt: skip
        axes.annotate(
            legible(lesion, 14), (0, 0), xycoords=("data", "axes fraction"), xytext=(14, down),
            textcoords="offset points",
            ha="right", va="top", fontsize=8.5, color=colour, fontweight="bold",
        )  # fmt: skip
