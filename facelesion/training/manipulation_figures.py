"""Figures of manipulated units: curves by dose beside their controls, the interaction, the notebook's table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facelesion.report.style import DOTS, FAINT, INK, QUIET, figure_style
from facelesion.training.files import write_figure
from facelesion.training.notebook_facts import FEATURES, INTACT, MASKED

if TYPE_CHECKING:
    import pandas as pd

_FOUND, _MATCHED, _HEALTHY = "found", "matched", "healthy"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#882255")


def draw_curves(table: pd.DataFrame, target: Path) -> Path:
    """Share right by shift, of each feature's units, with the band of sets as active: a row a task, a column a site."""
    from matplotlib.figure import Figure

    tasks, sites = (list(dict.fromkeys(table[column])) for column in ("task", "site"))
    moves = [move for move in ("shifted", "held") if (table["move"] == move).any()]
    columns = [(site, move) for site in sites for move in moves]
    with figure_style():
        figure = Figure(figsize=(2.6 * len(columns) + 1, 2.5 * len(tasks) + 0.9), layout="constrained")
        axes = figure.subplots(len(tasks), len(columns), sharey="row", squeeze=False)
        for number, (line, task) in enumerate(zip(axes, tasks, strict=True)):
            for axis, (site, move) in zip(line, columns, strict=True):
                here = table[(table["task"] == task) & (table["site"] == site) & (table["stimulus"] == INTACT)]
                healthy = float(here[here["set"] == _HEALTHY]["right"].iloc[0])
                part = here[here["move"] == move]
                for feature, colour in zip(FEATURES, _COLOURS, strict=True):
                    own = part[part["feature"] == feature]
                    null = own[own["set"] == _MATCHED].groupby("dose")["right"]
                    found = own[own["set"] == _FOUND].sort_values("dose")
                    axis.fill_between(
                        null.quantile(0.025).index, null.quantile(0.025), null.quantile(0.975), color=colour,
                        alpha=0.13, linewidth=0,
                    )  # fmt: skip
                    axis.plot(
                        found["dose"], found["right"], color=colour, marker="o", markersize=4, linewidth=1.4,
                        label=f"units of {feature}" if axis is axes[0][0] else None,
                    )  # fmt: skip
                axis.axhline(healthy, color=INK, linewidth=0.8)
                axis.axhline(float(here["chance"].iloc[0]), color=QUIET, linewidth=0.8, linestyle=":")
                axis.grid(axis="y", color=FAINT)
                axis.set_ylim(-0.02, 1.04)
                if not number:
                    axis.set_title(f"{site}, {move}")
                if number == len(tasks) - 1:
                    axis.set_xlabel("added, in own SD" if move == "shifted" else "from own mean, in own SD")
            line[0].set_ylabel(f"{task}\nshare right")
        figure.legend(
            loc="outside lower center", ncols=4, fontsize=8.5, title="bands: 95 % of sets as active; line: unmoved; "
            "dotted: chance", title_fontsize=8.5,
        )  # fmt: skip
    return write_figure(target, figure, dpi=DOTS)


def draw_interaction(table: pd.DataFrame, interactions: pd.DataFrame, target: Path) -> Path:
    """What moving the units of each feature costs under each mask; the title has the crossed interaction's test."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(interactions["task"]))
    columns = list(dict.fromkeys(zip(interactions["site"], interactions["dose"], strict=True)))
    shown = table[(table["stimulus"].isin(MASKED)) & table["set"].isin([_FOUND, _HEALTHY])]
    with figure_style():
        figure = Figure(figsize=(2.1 * len(columns) + 1.8, 2.7 * len(tasks) + 0.4), layout="constrained")
        axes = figure.subplots(len(tasks), len(columns), squeeze=False)
        for number, (line, task) in enumerate(zip(axes, tasks, strict=True)):
            last = number == len(tasks) - 1
            for axis, (site, dose) in zip(line, columns, strict=True):
                part = shown[(shown["task"] == task) & (shown["site"] == site)]
                healthy = part[part["set"] == _HEALTHY].set_index("stimulus")["right"]
                moved = part[(part["set"] == _FOUND) & (part["dose"] == dose)]
                moved = moved.set_index(["feature", "stimulus"])["right"]
                cells = np.array([[moved[f, g] - healthy[g] for g in MASKED] for f in FEATURES])
                image = axis.imshow(100 * cells, vmin=-100, vmax=100, cmap="RdBu")
                for one in range(4):
                    for two in range(4):
                        axis.text(
                            two, one, f"{100 * cells[one, two]:+.0f}".replace("-", "−"), ha="center", va="center",
                            fontsize=7.5, color="white" if abs(cells[one, two]) > 0.6 else "black",
                        )  # fmt: skip
                test = interactions[
                    (interactions["task"] == task) & (interactions["site"] == site) & (interactions["dose"] == dose)
                ].iloc[0]
                axis.set_title(
                    f"{site}, {dose:+g} SD\ninteraction {100 * test['statistic']:+.1f}\n"
                    f"p {test['p_random']:.2g} (random sets)".replace("-", "−"), fontsize=8.5,
                )  # fmt: skip
                masks = [name.removeprefix("mask ") for name in MASKED]
                axis.set_xticks(range(4), masks if last else [""] * 4, rotation=45, ha="right", fontsize=8)
                axis.set_yticks(range(4), FEATURES if axis is line[0] else [""] * 4, fontsize=8)
                if last:
                    axis.set_xlabel("masked")
            line[0].set_ylabel(f"{task}\nunits of")
        figure.colorbar(image, ax=axes, shrink=0.75, label="change in % right")
    return write_figure(target, figure, dpi=DOTS)


def draw_layers(layers: pd.DataFrame, target: Path) -> Path:
    """The notebook's layer × feature table as we measure it, with what the notebook printed beside it."""
    from matplotlib.figure import Figure

    tasks, sites = (list(dict.fromkeys(layers[column])) for column in ("task", "site"))
    names = [f"{site}  {feature}" for site in sites for feature in FEATURES]
    looks = {True: ("^", "#d55e00", "excited"), False: ("v", "#0072b2", "inhibited")}
    with figure_style():
        figure = Figure(figsize=(4.4 * len(tasks) + 1.4, 0.27 * len(names) + 1.5), layout="constrained")
        axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for axis, task in zip(axes, tasks, strict=True):
            part = layers[layers["task"] == task]
            axis.axvline(100 * float(part["healthy"].iloc[0]), color=INK, linewidth=0.8, label="unmoved")
            for excited, (marker, colour, word) in looks.items():
                rows = part[(part["dose"] > 0) == excited]
                if rows.empty:
                    continue
                label = f"{word} by {abs(rows['dose'].iloc[0]):g} SD"
                aside = -0.16 if excited else 0.16
                places = [names.index(f"{row.site}  {row.feature}") + aside for row in rows.itertuples()]
                axis.hlines(places, 100 * rows["low"], 100 * rows["high"], color=colour, linewidth=1.2)
                axis.plot(100 * rows["right"], places, marker, color=colour, label=label)
                axis.plot(
                    100 * rows["matched"], places, "|", color=colour, markersize=8, alpha=0.6,
                    label=f"sets as active, {word}: mean",
                )  # fmt: skip
            printed = part.drop_duplicates(["site", "feature"]).dropna(subset=["notebook"])
            if task == "detection" and len(printed):
                places = [names.index(f"{row.site}  {row.feature}") for row in printed.itertuples()]
                axis.plot(
                    100 * printed["notebook"], places, "x", color=QUIET, label="printed by the notebook (no unit moved)"
                )
            axis.set(xlim=(-3, 103), xlabel="% right", title=task)
            axis.set_yticks(range(len(names)), names, fontsize=8)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.grid(axis="x", color=FAINT)
        handles: dict[str, Any] = {}
        for axis in axes:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3, fontsize=8.5)
    return write_figure(target, figure, dpi=DOTS)
