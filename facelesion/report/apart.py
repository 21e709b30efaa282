"""Two tasks against each other: what chosen units leave of both, over the cloud of equivalent lesions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from facelesion.analysis.claims import Profile
from facelesion.report.run_folder import Run
from facelesion.report.style import INK, WIDTH, blank, figure_style, legible, look
from facelesion.report.summary import NONE, dose_response, measure_of, tasks_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLUMNS = [
    "participant", "lesion", "step", "dose", "kind", "set", "first", "first_low", "first_high", "second", "second_low",
    "second_high", "over",
]  # fmt: skip


def pairs(run: Run) -> list[tuple[str, str]]:
    """The pairs of tasks that the study's contrasts compare, where it has control sets."""
    if run.sets is None:
        return []
    asked = tasks_of(run.table)
    found: dict[tuple[str, str], None] = {}
    for each in run.config.get("contrasts") or ():
        tasks = list(each.get("tasks") or ()) if isinstance(each, Mapping) else []
        if len(tasks) == 2 and all(task in asked for task in tasks):
            found[str(tasks[0]), str(tasks[1])] = None
    return list(found)


def numbers(
    tables: Mapping[str, pd.DataFrame],
    profiles: Mapping[str, Profile | None],
    sets: pd.DataFrame | None,
    tasks: tuple[str, str],
) -> pd.DataFrame:
    """What is left of two tasks: of the intact network, under the last dose of each series, and under its control sets.

    Returns:
        A row per participant and lesion (`kind` intact or chosen) and per control set (`kind` matched or random).
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    series = [] if sets is None else list(dict.fromkeys(sets["lesion"]))
    for name, table in tables.items():
        if set(tasks) - set(tasks_of(table)):
            continue
        curves = [
            dose_response(table, task, measure_of(table, task).name, profile=profiles.get(name))
            for task in tasks
        ]
        for lesion in (NONE, *series):
            one, two = (curve[curve["lesion"] == lesion] for curve in curves)
            if one.empty or two.empty:
                continue
            first, second = one.iloc[-1], two.iloc[-1]
            told = {
                "participant": name, "lesion": lesion, "step": int(first["step"]), "dose": float(first["dose"]),
            }  # fmt: skip
            kind = "intact" if lesion == NONE else "chosen"
            over = {
                "first": first["mean"], "first_low": first["low"], "first_high": first["high"],
                "second": second["mean"], "second_low": second["low"], "second_high": second["high"],
                "over": first["over"],
            }  # fmt: skip
            rows.append(told | {"kind": kind} | over)
            if lesion == NONE or sets is None:
                continue
            same = (sets["participant"] == table["participant"].iloc[0]) & (sets["lesion"] == lesion)
            here = sets[same & (sets["step"] == told["step"]) & sets["task"].isin(tasks)]
            wide = here.pivot_table(index=["control", "draw"], columns="task", values="value", sort=False)
            rows += [
                told | {"kind": control, "set": int(draw), "first": row[tasks[0]], "second": row[tasks[1]]}
                for (control, draw), row in wide.dropna().iterrows()
            ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def apart_figure(shown: pd.DataFrame, tasks: tuple[str, str]) -> Figure:
    """A panel for each participant; what `numbers` gives."""
    networks = list(dict.fromkeys(shown["participant"]))
    lesions = [name for name in dict.fromkeys(shown["lesion"]) if name != NONE]
    columns = min(4, len(networks))
    lines = -(-len(networks) // columns)
    with figure_style():
        width = max(4.6, min(WIDTH, 2.35 * columns + 0.9))
        figure = blank(width, width / columns * lines + 0.75)
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        handles: dict[str, Any] = {}
        for axes, name in zip(grid.flat, networks, strict=False):
            part = shown[shown["participant"] == name]
            axes.grid()
            for lesion in lesions:
                colour, marker = look(lesion, lesions)
                own = part[part["lesion"] == lesion]
                for kind, filled in (("random", False), ("matched", True)):
                    cloud = own[own["kind"] == kind]
                    axes.plot(
                        cloud["second"], cloud["first"], "o", color=colour, markersize=2.8, alpha=0.45,
                        markerfacecolor=colour if filled else "none", markeredgewidth=0 if filled else 0.6, zorder=2,
                    )  # fmt: skip
                for row in own[own["kind"] == "chosen"].itertuples():
                    for x, y in (
                        ([row.second_low, row.second_high], [row.first] * 2),
                        ([row.second] * 2, [row.first_low, row.first_high]),
                    ):
                        axes.plot(x, y, color=INK, linewidth=1.1, zorder=4)
                    (handles[lesion],) = axes.plot(
                        row.second, row.first, marker, color=colour, markersize=8, markeredgecolor=INK, zorder=5,
                        linestyle="none",
                    )  # fmt: skip
            intact = part[part["kind"] == "intact"]
            axes.plot(intact["second"], intact["first"], "o", color=INK, zorder=6)
            axes.set_title(legible(name, 72 // columns))
            axes.set(xlim=_extent(shown, "second"), ylim=_extent(shown, "first"))
            axes.set_box_aspect(1)
            axes.set_xlabel(f"{legible(tasks[1], 24)}: left")
        for axes in list(grid.flat)[len(networks) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(f"{legible(tasks[0], 24)}: left")
        height = figure.get_figheight()
        figure.legend(
            list(handles.values()), [legible(name, 26) for name in handles], loc="lower center",
            ncols=max(1, len(handles)), bbox_to_anchor=(0.55, 0.0),
        )  # fmt: skip
        figure.subplots_adjust(
            left=0.65 / width,
            right=0.99,
            top=1 - 0.35 / height,
            bottom=0.85 / height,
            wspace=0.08,
            hspace=0.4,
        )
    return figure


def _extent(shown: pd.DataFrame, name: str) -> tuple[float, float]:
    """From where to where an axis goes: all that is drawn, with a margin."""
    drawn = shown[[name, f"{name}_low", f"{name}_high"]]
    low, high = float(drawn.min().min()), float(drawn.max().max())
    margin = 0.06 * max(high - low, 0.1)
    return low - margin, high + margin
