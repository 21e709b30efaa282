"""The report: one HTML file that needs nothing beside it, made from a run folder."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facelesion.analysis.claims import MATCHED, level_of
from facelesion.analysis.statistics import Interval
from facelesion.errors import Error
from facelesion.report import figures, summary
from facelesion.report.findings import Evidence, Finding, across, evidence, findings, percent, points
from facelesion.report.run_folder import TRIALS, Run, read_run, replace_file
from facelesion.report.style import embed, file_name, look

if TYPE_CHECKING:
    import pandas as pd

    from facelesion.analysis.claims import Profile

REPORT, FIGURES = "report.html", "figures"


@dataclass(frozen=True)
class Picture:
    """A figure in the report.

    Attributes:
        name: of its file in the run folder.
        title: what it is about.
        shows: what is to be seen.
        cannot: what it does not show; may be empty.
        source: data URI.
        width: in CSS pixels.
        wide: too detailed to shrink: on a narrow screen it scrolls.
    """

    name: str
    title: str
    shows: str
    cannot: str
    source: str
    width: int
    wide: bool = True


@dataclass(frozen=True)
class Network:
    """All that the report says of one network under study.

    Attributes:
        evidence: what its answers carry; None if they were not kept.
        scale: what is left on the common scale, for every kind and dose; None without answers.
        apart: differences between tasks on that scale, every pair under every kind.
    """

    name: str
    weights: str
    findings: list[Finding]
    headline: list[summary.HeadlineRow]
    evidence: Evidence | None
    scale: dict[str, Any] | None
    apart: dict[str, Any] | None
    pictures: list[Picture]
    tables: list[dict[str, Any]]


def write_report(run_folder: str | Path) -> Path:
    """Write `report.html` and the single figures (`figures/`) into a run folder, from what lies there.

    Returns:
        The path of the report.

    Raises:
        Error: the folder is no finished run.
    """
    run = read_run(run_folder)
    names = run.table.groupby("model")["weights"].nunique()
    if run.trials is not None and "weights" not in run.trials and (names > 1).any():
        shared = set(names[names > 1].index)  # nobody can say whose answers these are
        run = dataclasses.replace(run, trials=run.trials[~run.trials["participant"].isin(shared)])
    networks = [
        _network(str(key[0]), str(key[1]), part.reset_index(drop=True), run)
        for key, part in run.table.groupby(["model", "weights"], sort=False)
    ]
    extras = _extra_pictures(run)
    page = _template().render(**_context(run, networks, extras))
    shown = [picture for network in networks for picture in network.pictures] + extras
    _write_figures(run.folder / FIGURES, shown, many=len(networks) > 1)
    return replace_file(run.folder / REPORT, page.encode())


def _network(name: str, weights: str, table: pd.DataFrame, run: Run) -> Network:
    try:
        found = evidence(table, run.trials)
    except Error as error:
        raise Error(f"{run.folder / TRIALS}: {error}") from None
    own = found.own if found else None
    over = "people and draws" if found else "draws of the lesion"
    pictures = [
        _picture(
            "dose_response", "Performance by dose", figures.dose_response_figure(table, profile=own),
            shows=f"Mean over draws of the lesion, with its 95 % interval over {over} as a band. Dotted: the "
            "intact network. Dashed: chance. Steps run from the smallest dose to the largest; the doses themselves "
            "stand below, in each kind's own unit. Images are unchanged.",
            cannot="Equal steps are not equal damage, so lines may be compared in shape but not step by step. The band "
            + ("does not say what other networks would give." if found else
               "says how much depends on which units or noise were drawn; it does not say what other images, people "
               "or networks would give."),
        )
    ]  # fmt: skip
    kept = figures.kept_figure(table)
    if kept is not None:
        pictures.append(
            _picture(
                "kept", "What is left of the tasks", kept,
                shows="Share of the performance above chance that is left: the task of which least is left against "
                "each other. Faint points are single draws, lines run through the means from the intact network "
                "(100, 100) to the largest dose. On the dashed line both tasks lose alike.",
                cannot="A line off the diagonal is no proof of separate machinery: tasks differ in difficulty and in "
                "the number of answers, and a harder task falls first under any damage (Plaut 1995). No claim is made "
                "of it.",
            )
        )  # fmt: skip
    for task in summary.tasks_of(table):
        part = table[table["task"] == task]
        if part["stimulus"].nunique() < 2:
            continue
        metric = summary.metric_of(table, task)
        unit = "percentage points" if metric in summary.SHARES else "hundredths"
        reference = summary.show(summary.intact_value(table, task, metric), metric)
        first = not any(picture.name.startswith("heat_map") for picture in pictures)
        pictures.append(
            _picture(
                f"heat_map_{task}", f"{task[:1].upper()}{task[1:]}: stimulus × lesion",
                figures.heat_map_figure(table, task),
                shows=f"Change of the {summary.metric_name(metric)} in {unit} against the intact network on unchanged "
                f"images ({reference}); mean over draws."
                + (" The first column is what the change of the image costs by itself; subtract it from another to "
                   "get what the lesion adds." if first else ""),
                cannot="Near chance nothing is left to lose, so rows that start low cannot fall far: an equal number "
                "is not an equal effect. Intervals of these means follow from the draws in table.parquet."
                if first else "",
            )
        )  # fmt: skip
    tables = [_task_table(table, task, own) for task in summary.tasks_of(table)]
    return Network(
        name,
        weights,
        findings(table, found),
        summary.headline(table, own),
        found,
        _scale(found) if found else None,
        _apart(found) if found and found.differences else None,
        pictures,
        tables,
    )


def _scale(found: Evidence) -> dict[str, Any]:
    """What is left of every task under every kind and dose, as right choices between two."""
    choice = found.choice
    lines = [("none", 0.0)] + list(
        dict.fromkeys((name, dose) for _, name, dose in choice.doses if name != "none")
    )
    return {
        "tasks": choice.tasks,
        "without": choice.without,
        "lines": [
            {
                "damage": name,
                "dose": dose,
                "cells": [
                    level_of(choice, task, name, dose) if (task, name, dose) in choice.doses else None
                    for task in choice.tasks
                ],
            }
            for name, dose in lines
        ],
    }


def _apart(found: Evidence) -> dict[str, Any]:
    """How much more every kind takes of one task than of another: a row for two tasks, a column for a kind."""
    pairs = list(dict.fromkeys(one.tasks for one in found.differences))
    cells = {(one.tasks, one.damage): one for one in found.differences}
    return {
        "damages": found.choice.damages,
        "matched": "{:.0f} to {:.0f}".format(*(100 * bound for bound in MATCHED)) + summary.PERCENT,
        "lines": [
            {
                "tasks": pair,
                "matched": cells[pair, found.choice.damages[0]].matched,
                "cells": [
                    {"text": points(cells[pair, name].found), "turns": cells[pair, name].turns}
                    for name in found.choice.damages
                ],
            }
            for pair in pairs
        ],
    }


def _extra_pictures(run: Run) -> list[Picture]:
    pictures = []
    for task in dict.fromkeys(confusion.task for confusion in run.confusions):
        group = [confusion for confusion in run.confusions if confusion.task == task]
        pictures.append(
            _picture(
                f"confusion_{task}", f"Confusions in {task}", figures.confusion_figure(group),
                shows="Rows are what was shown, columns what was answered, in percent of what was shown. The colour "
                "scale is stretched at its low end so that single errors can be seen.",
                cannot="One lesion and one draw, on unchanged images: an example, not an average.",
            )
        )  # fmt: skip
    if run.stimuli is not None:
        pictures.append(
            _picture(
                "stimuli", "What the network is shown", figures.stimuli_figure(run.stimuli),
                shows="One face under every stimulus of the study.",
                cannot="Masks of different features cover different areas; without masks of equal area elsewhere on "
                "the face, area and feature cannot be told apart.",
                kind="png", wide=False,
            )
        )  # fmt: skip
    if run.gradcam is not None:
        pictures.append(
            _picture(
                "gradcam", "Where the evidence comes from", figures.gradcam_figure(run.gradcam),
                shows=f"Grad-CAM (Selvaraju et al. 2017) of {run.gradcam.score} for one face, from early to late "
                "layers, intact and damaged. Bright: positions whose activation raises the score.",
                cannot="Each map is scaled by its own largest value: it shows where, not how much. One face is one "
                "example, and a map is not an explanation of an answer.",
                kind="png",
            )
        )  # fmt: skip
    training = figures.training_figure(run.training) if run.training is not None else None
    if training is not None:
        pictures.append(
            _picture(
                "training", "How the network was trained", training,
                shows="Mean over each epoch, on training images and on images kept out.",
                cannot="This was before any damage; it says nothing of the lesions.",
            )
        )  # fmt: skip
    return pictures


def _task_table(table: pd.DataFrame, task: str, own: Profile | None) -> dict[str, Any]:
    """Every metric of a task by approach and dose, on unchanged images."""
    part = table[table["task"] == task]
    metrics = list(dict.fromkeys(part["metric"]))
    first = summary.metric_of(table, task)
    metrics.sort(key=lambda metric: metric != first)
    curves = {metric: summary.dose_response(part, task, metric, profile=own) for metric in metrics}
    metrics = [
        metric for metric in metrics if not curves[metric].empty
    ]  # it may not have been asked unchanged images
    lines = [
        {
            "approach": row["approach"],
            "dose": row["dose"],
            "draws": row["draws"],
            "cells": [_cell(curves[metric], row["approach"], row["dose"], metric) for metric in metrics],
        }
        for _, row in curves[first].iterrows()
    ]
    return {
        "task": task,
        "metrics": [summary.metric_name(metric) for metric in metrics],
        "chance": [summary.show(float(curves[metric]["chance"].iloc[0]), metric) for metric in metrics],
        "n": int(part["n"].max()),
        "lines": lines,
    }


def _cell(curve: pd.DataFrame, approach: str, dose: float, metric: str) -> dict[str, str]:
    row = curve[(curve["approach"] == approach) & (curve["dose"] == dose)]
    if row.empty:
        return {"mean": "–", "interval": ""}
    mean, low, high = (float(row[name].iloc[0]) for name in ("mean", "low", "high"))
    alone = approach == summary.NONE or low != low
    return {
        "mean": summary.show(mean, metric),
        "interval": "" if alone else summary.show_interval(Interval(mean, low, high), metric),
    }


def _context(run: Run, networks: list[Network], extras: list[Picture]) -> dict[str, Any]:
    table, manifest = run.table, run.manifest
    approaches = summary.approaches_of(table)
    reasons: dict[str, list[str]] = {}
    for item in manifest.left_out:
        reasons.setdefault(item.reason, []).append(item.name)
    damages = []
    for name in approaches:
        part = table[table["approach"] == name]
        damages.append(
            {
                "name": name,
                "meaning": _meaning(name, run),
                "doses": ", ".join(f"{dose:g}" for dose in sorted(set(part["dose"]))),
                "sites": ", ".join(
                    dict.fromkeys(site for sites in part["sites"] for site in sites.split(","))
                ),
                "draws": part["draw"].nunique(),
                "example": part["lesion"].iloc[0],
            }
        )
    tasks = [
        {
            "name": task,
            "asks": manifest.tasks.get(task, ""),
            "n": int(table.loc[table["task"] == task, "n"].max()),
        }
        for task in summary.tasks_of(table)
    ]
    return {
        "run": run,
        "manifest": manifest,
        "networks": networks,
        "across": across(
            {f"{one.name} ({one.weights})": one.evidence for one in networks if one.evidence is not None}
        ),
        "extras": extras,
        "tasks": tasks,
        "damages": damages,
        "stimuli": list(dict.fromkeys(table["stimulus"])),
        "data": ", ".join(dict.fromkeys(table["data"])),
        "conditions": len(table.drop_duplicates(["model", "weights", "approach", "dose", "draw", "stimulus", "task"])),
        "rows": len(table),
        "left_out": reasons,
        "minutes": sum(manifest.seconds.values()) / 60,
        "config": _yaml(run.config),
        "colour": {name: look(name, approaches)[0] for name in [summary.NONE, *approaches]},
        "show": summary.show,
        "interval": summary.show_interval,
        "percent": percent,
        "cite": f"facelesion {manifest.versions.get('facelesion', '')}".strip(),
    }  # fmt: skip


def _picture(
    name: str,
    title: str,
    figure: Any,
    *,
    shows: str,
    cannot: str,
    kind: Literal["svg", "png"] = "svg",
    wide: bool = True,
) -> Picture:
    source, width = embed(figure, kind)
    return Picture(file_name(name), title, shows, cannot, source, width, wide)


def _meaning(approach: str, run: Run) -> str:
    """What a dose means: as the table says it, else as the settings or the name do."""
    if "meaning" in run.table:
        said = run.table.loc[run.table["approach"] == approach, "meaning"]
        return str(said.iloc[0])
    return summary.dose_meaning(approach, run.config)


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=88)).strip()


def _write_figures(folder: Path, pictures: Iterable[Picture], many: bool) -> None:
    """The figures as single files, for slides and papers; those of an earlier report go."""
    wanted = set()
    for number, picture in enumerate(pictures, start=1):
        head, data = picture.source.split(",", 1)
        ending = "svg" if "svg" in head else "png"
        path = folder / (f"{number:02d}_{picture.name}.{ending}" if many else f"{picture.name}.{ending}")
        replace_file(path, base64.b64decode(data))
        wanted.add(path)
    if folder.is_dir():
        for path in folder.iterdir():
            if path.suffix in (".svg", ".png") and path not in wanted:
                path.unlink()
