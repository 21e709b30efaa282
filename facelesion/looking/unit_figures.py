"""Figures of rankings: which units a feature shares with others, how rankings agree, what units are good for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from facelesion.analysis.necessity import INTACT, KEPT, MATCHED, RANDOM, RANKED, REMOVED
from facelesion.report.style import FAINT, INK, QUIET, figure_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_WAYS = ("#0072b2", "#d55e00", "#009e73", "#882255", "#b07d00", "#56b4e9", "#5b6472")


def draw_shared(shared: pd.DataFrame) -> Figure:
    """How alike the units named for different groups are: a panel per site and way, Jaccard of every two groups.

    Args:
        shared: as `facelesion.looking.units.shared_units` makes it.
    """
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(zip(shared["site"], shared["by"], strict=True)))
    sites, ways = (list(dict.fromkeys(each[place] for each in panels)) for place in (0, 1))
    with figure_style():
        figure = Figure(figsize=(2.3 * len(sites) + 1.2, 2.25 * len(ways) + 0.9), layout="constrained")
        axes = figure.subplots(len(ways), len(sites), squeeze=False)
        for line, way in zip(axes, ways, strict=True):
            for axis, site in zip(line, sites, strict=True):
                part = shared[(shared["site"] == site) & (shared["by"] == way)]
                groups = list(dict.fromkeys([*part["first"], *part["second"]]))
                cells = np.eye(len(groups))
                for row in part.itertuples():
                    one, two = groups.index(row.first), groups.index(row.second)
                    cells[one, two] = cells[two, one] = row.jaccard
                    for place, count in ((one, row.of_first), (two, row.of_second)):
                        if not count:
                            cells[place, place] = np.nan  # no unit is named at all
                image = axis.imshow(cells, vmin=0, vmax=1, cmap="cividis")
                for one in range(len(groups)):
                    for two in range(len(groups)):
                        value = cells[one, two]
                        axis.text(
                            two, one, f"{value:.2f}" if value == value else "–", ha="center", va="center", fontsize=8,
                            color="white" if value < 0.6 else "black",
                        )  # fmt: skip
                last = axis in axes[-1]
                axis.set_xticks(
                    range(len(groups)), groups if last else [""] * len(groups), rotation=45, ha="right", fontsize=8
                )
                axis.set_yticks(range(len(groups)), groups if axis is line[0] else [""] * len(groups), fontsize=8)
                axis.set_title(f"{site}, {way}", fontsize=9)
        figure.colorbar(image, ax=axes, shrink=0.7, label="units shared (Jaccard)")
    return figure


def draw_agreement(agreement: pd.DataFrame) -> Figure:
    """Rank correlation of every two rankings, a panel per site."""
    from matplotlib.figure import Figure

    sites = list(dict.fromkeys(agreement["site"]))
    names = list(dict.fromkeys([*agreement["first"], *agreement["second"]]))
    side = 0.42 * len(names) + 0.6
    with figure_style():
        figure = Figure(figsize=(side * len(sites) + 2.6, side + 1.6), layout="constrained")
        axes = figure.subplots(1, len(sites), squeeze=False)[0]
        for axis, site in zip(axes, sites, strict=True):
            cells = np.eye(len(names))
            for row in agreement[agreement["site"] == site].itertuples():
                one, two = names.index(row.first), names.index(row.second)
                cells[one, two] = cells[two, one] = row.correlation
            image = axis.imshow(cells, vmin=-1, vmax=1, cmap="RdBu_r")
            for one in range(len(names)):
                for two in range(len(names)):
                    if one != two:
                        value = cells[one, two]
                        axis.text(
                            two, one, f"{value:.2f}".replace("-", "−"), ha="center", va="center", fontsize=6.5,
                            color="white" if abs(value) > 0.6 else "black",
                        )  # fmt: skip
            axis.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
            axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names), fontsize=8)
            axis.set_title(site)
        figure.colorbar(image, ax=list(axes), shrink=0.7, label="rank correlation (Spearman)")
    return figure


def draw_necessity(table: pd.DataFrame, chance: float, title: str = "", score: str = "share right") -> Figure:
    """What is lost without the first units of a ranking, and what is left with them alone, beside the null bands."""
    from matplotlib.figure import Figure

    with figure_style():
        figure = Figure(figsize=(8.4, 3.7), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        healthy = float(table[table["kind"] == INTACT]["score"].iloc[0])
        for axis, kind in zip(axes, (REMOVED, KEPT), strict=True):
            part = table[table["kind"] == kind]
            _band(axis, part[part["set"] == RANDOM], QUIET, "random sets of as many, 95 %")
            _band(axis, part[part["set"] == MATCHED], "#56b4e9", "sets as active, 95 %")
            ranked = part[part["set"] == RANKED].sort_values("count")
            axis.errorbar(
                ranked["count"], ranked["score"], [ranked["score"] - ranked["low"], ranked["high"] - ranked["score"]],
                color="#d55e00", marker="o", capsize=2, linewidth=1.8,
                label="first units of the ranking, 95 % over people",
            )  # fmt: skip
            axis.axhline(healthy, color=INK, linewidth=0.9, label="intact")
            axis.axhline(chance, color=QUIET, linewidth=0.9, linestyle=":", label="chance")
            axis.set_xscale("log")
            counts = sorted(part["count"].unique())
            axis.set_xticks(counts, [str(count) for count in counts])
            axis.minorticks_off()
            axis.set(title=f"units {kind}", xlabel="units", ylim=(min(0.0, chance) - 0.02, 1.04))
            axis.grid(axis="y", color=FAINT)
        axes[0].set_ylabel(score)
        figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5)
    return figure


def _band(axis: Any, part: pd.DataFrame, colour: str, label: str) -> None:
    if part.empty:
        return
    groups = part.groupby("count")["score"]
    low, high, middle = groups.quantile(0.025), groups.quantile(0.975), groups.median()
    axis.fill_between(middle.index, low, high, color=colour, alpha=0.22, linewidth=0, label=label)
    axis.plot(middle.index, middle, color=colour, linewidth=1)


def draw_truth(table: pd.DataFrame, ways: Sequence[str]) -> Figure:
    """What removing found units leaves of a decision on that feature, beside control sets: a panel per site.

    Args:
        table: as `hold_to_the_truth` makes it.
        ways: their order.
    """
    from matplotlib.figure import Figure

    own = table[table["units_of"] == table["asked"]]
    sites, features = (list(dict.fromkeys(own[column])) for column in ("site", "asked"))
    with figure_style():
        figure = Figure(figsize=(3.1 * len(sites) + 2.6, 0.6 + 0.52 * len(ways) + 1.1), layout="constrained")
        axes = figure.subplots(1, len(sites), sharey=True, sharex=True, squeeze=False)[0]
        marks = ("o", "s", "^", "D")
        for axis, site in zip(axes, sites, strict=True):
            part = own[own["site"] == site]
            for line, way in enumerate(ways):
                for place, feature in enumerate(features):
                    found = part[(part["way"] == way) & (part["asked"] == feature)]
                    if found.empty:  # not every way was tried everywhere
                        continue
                    row = found.iloc[0]
                    height = line + (place - (len(features) - 1) / 2) * 0.17
                    beyond = row["p_matched"] < 0.05
                    axis.plot([row["matched"], row["margin"]], [height] * 2, color=FAINT, linewidth=1.4, zorder=1)
                    axis.plot(row["matched"], height, "|", color=QUIET, markersize=7, zorder=2)
                    axis.plot(
                        row["margin"], height, marks[place % 4], color=_WAYS[place], markersize=5.5, zorder=3,
                        markerfacecolor=_WAYS[place] if beyond else "white",
                        label=feature if not line and axis is axes[0] else None,
                    )  # fmt: skip
            axis.axvline(1, color=INK, linewidth=0.8)
            axis.set(title=site, xlabel="share of the margin left")
            axis.grid(axis="x", color=FAINT)
        axes[0].set_yticks(range(len(ways)), ways)
        axes[0].set_ylim(len(ways) - 0.5, -0.5)
        count = " or ".join(str(int(each)) for each in sorted(own["count"].unique()))
        figure.legend(
            loc="outside lower center", ncols=4, fontsize=8.5,
            title=f"{count} units found for a feature are removed, that feature is asked\n"
            "filled: beyond 95 % of sets as active; |: mean of those sets", title_fontsize=8.5,
        )  # fmt: skip
    return figure
