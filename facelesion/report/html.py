"""The report: one HTML file that needs nothing beside it, made from a run folder."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facelesion.analysis.claims import MATCHED, level_of
from facelesion.errors import Error
from facelesion.files import write_bytes
from facelesion.report import against, sections, summary
from facelesion.report.drawings import EXAMPLE_FIGURES, FIGURES, STUDY_FIGURES, Drawing, Results, drawn
from facelesion.report.findings import (
    Evidence,
    Finding,
    across,
    collapsed,
    counted,
    evidence,
    findings,
    lost_in,
    percent,
    points,
)
from facelesion.report.methods import methods
from facelesion.report.run_folder import CASES, CURVES, CURVES_COMPARED, TRIALS, Run, read_run
from facelesion.report.style import embed, file_name, look
from facelesion.report.tables import CONDITION

if TYPE_CHECKING:
    import pandas as pd

    from facelesion.analysis.claims import Profile
    from facelesion.analysis.curve_tables import Fits

REPORT, FOLDER = "report.html", "figures"


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
        numbers: what is drawn, as CSV; empty for pictures.
        file: name of its file without an ending.
    """

    name: str
    title: str
    shows: str
    cannot: str
    source: str
    width: int
    wide: bool = True
    numbers: str = ""
    file: str = ""

    @classmethod
    def of(cls, name: str, drawing: Drawing) -> Picture:
        """A drawing as it stands on the page."""
        source, width = embed(drawing.figure, drawing.kind)
        numbers = "" if drawing.numbers is None else drawing.numbers.to_csv(index=False, lineterminator="\n")
        return cls(
            file_name(name), drawing.title, drawing.shows, drawing.cannot, source, width, drawing.wide, numbers
        )


@dataclass(frozen=True)
class Network:
    """All that the report says of one participant.

    Attributes:
        label: its name, with its weights where two have the same name.
        evidence: what its answers carry; None if they were not kept.
        scale: what is left on the common scale, for every kind and dose; None without answers.
        apart: differences between tasks on that scale, every pair under every kind.
    """

    label: str
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
    names = run.table.groupby("participant")["weights"].nunique()
    shared = set(names[names > 1].index)
    if run.trials is not None and "weights" not in run.trials and shared:  # nobody can say whose answers these are
        run = dataclasses.replace(run, trials=run.trials[~run.trials["participant"].isin(shared)])
    tables = {
        f"{name} ({weights})" if name in shared else str(name): part.reset_index(drop=True)
        for (name, weights), part in run.table.groupby(["participant", "weights"], sort=False)
    }
    found = {label: _evidence(table, run) for label, table in tables.items()}
    profiles = {label: None if each is None else each.own for label, each in found.items()}
    told = {label: each for label, each in found.items() if each is not None}
    groups = sections.groups_of(run, tables)
    fits = {label: sections.fits_of(label, tables[label], each.answers) for label, each in told.items()}
    scales = {label: each.choice for label, each in told.items()}
    everything = Results(run, run.table, tables, profiles, groups, fits, scales)
    together = [Picture.of(*each) for each in drawn(STUDY_FIGURES, everything)]
    networks = [_network(label, found[label], everything) for label in tables]
    extras = [Picture.of(*each) for each in drawn(EXAMPLE_FIGURES, everything)]
    shown = numbered([together, *(network.pictures for network in networks), extras], many=len(networks) > 1)
    together, *own, extras = shown
    networks = [dataclasses.replace(each, pictures=own[place]) for place, each in enumerate(networks)]
    cases = sections.cases_of(tables, groups)
    further = {
        "people": sections.participants(tables, groups, profiles),
        "curves": sections.curves(fits),
        "rankings": sections.rankings(run),
        "cases": sections.cases(cases, groups),
        "few": sections.few(run),
        "methods": methods(run, groups, cases, any(each.fitted for each in fits.values())),
    }
    page = template().render(**_context(run, tables, networks, together, extras), **further)
    write_figures(run.folder / FOLDER, [picture for part in shown for picture in part])
    _write_tables(run.folder, cases, list(fits.values()))
    return write_bytes(run.folder / REPORT, page.encode())


def _evidence(table: pd.DataFrame, run: Run) -> Evidence | None:
    try:
        return evidence(table, run.trials)
    except Error as error:
        raise Error(f"{run.folder / TRIALS}: {error}") from None


def _network(label: str, found: Evidence | None, everything: Results) -> Network:
    table, own = everything.tables[label], everything.profiles[label]
    alone = dataclasses.replace(everything, table=table, tables={label: table}, profiles={label: own})
    return Network(
        label,
        str(table["weights"].iloc[0]),
        findings(table, found),
        summary.headline(table, own),
        found,
        _scale(found) if found else None,
        _apart(found) if found and found.differences else None,
        [Picture.of(*each) for each in drawn(FIGURES, alone)],
        [sections.task_table(table, task, own, found.choice if found else None) for task in summary.tasks_of(table)],
    )


def _beside(networks: list[Network]) -> list[dict[str, Any]]:
    """Participants side by side: by task a line for the intact networks and one for every lesion at its last dose."""
    rows = [{(row.task, row.lesion): row for row in network.headline} for network in networks]
    found = []
    for task in dict.fromkeys(task for each in rows for task, _ in each):
        measure = next(row.measure for each in rows for row in each.values() if row.task == task)
        lesions = dict.fromkeys(lesion for each in rows for name, lesion in each if name == task)
        intact = [next((row for row in each.values() if row.task == task), None) for each in rows]
        found.append(
            {
                "task": task,
                "measure": measure,
                "intact": [None if row is None else row.intact for row in intact],
                "lines": [
                    {
                        "lesion": lesion,
                        "doses": [f"{dose:g}" for dose in _doses(rows, task, lesion)],
                        "cells": [each.get((task, lesion)) for each in rows],
                    }
                    for lesion in lesions
                ],
            }
        )
    return found


def _contrasts(run: Run, scales: Mapping[str, Profile]) -> list[dict[str, Any]]:
    """The study's contrasts, the primary one first, each with its row in every participant."""
    if run.contrasts is None:
        return []
    rows = run.contrasts.fillna({"participant": ""})
    found = []
    for _, own in rows.groupby("contrast", sort=False):
        together = own["participant"] == ""
        each = own[~together].to_dict("records")
        whole = {"adjusted_controls": float("nan"), **own[together].iloc[0].to_dict()}
        told = [*_in_each(each), *without_sets(each, run), *_levels(each, run, scales)]
        found.append({"all": whole, "each": each, "told": told})
    return sorted(found, key=lambda one: not one["all"]["primary"])


def _in_each(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """In how many networks, by itself and uncorrected, a contrast is there, and lies beyond control sets."""
    if len(rows) < 2:
        return []
    told = []
    for key, words in (
        ("p", "differs from 0"), ("p_random", "beyond random sets"), ("p_matched", "beyond matched sets")
    ):  # fmt: skip
        tested = [row for row in rows if row[key] == row[key]]
        if tested:
            told.append(f"{words} in {sum(row[key] <= against.LEVEL for row in tested)} of {len(tested)}")
    return [f"Network by network, uncorrected: {', '.join(told)}."] if told else []


def without_sets(rows: Sequence[Mapping[str, Any]], run: Run) -> list[str]:
    """That chosen units stand in a contrast without control sets, so that any other damage might do the same."""
    named = _named(rows, run)
    lesions = {named.get("lesion"), *(named.get("lesions") or ())}
    if run.controls is None or not lesions & set(run.controls["lesion"]):
        return []
    if any(row[key] == row[key] for row in rows for key in ("p_random", "p_matched")):
        return []
    return ["Not compared with control sets: nothing here says that other units, or other damage, would do less."]


def _named(rows: Sequence[Mapping[str, Any]], run: Run) -> Mapping[str, Any]:
    """A contrast as the study's settings have it; empty where they have none of that name."""
    name = rows[0]["contrast"] if rows else None
    settings = run.config.get("contrasts") or ()
    return next((each for each in settings if isinstance(each, Mapping) and each.get("name") == name), {})


def _levels(rows: Sequence[Mapping[str, Any]], run: Run, scales: Mapping[str, Profile]) -> list[str]:
    """What undamaged networks reach in the two tasks of a contrast, and whether these count as equally hard."""
    named = _named(rows, run).get("tasks")
    own = [scales[row["participant"]] for row in rows if row["participant"] in scales]
    tasks = [task for task in named or () if own and all(task in each.tasks for each in own)]
    if len(tasks) != 2:
        return []
    levels = [[float(each.scores[task, "none"].values.mean()) for each in own] for task in tasks]
    alike = all(MATCHED[0] <= level <= MATCHED[1] for each in levels for level in each)
    spans = [" to ".join(dict.fromkeys((percent(min(each)), percent(max(each))))) for each in levels]
    told = " and ".join(f"{span} in {task}" for span, task in zip(spans, tasks, strict=True))
    words = "so they count as equally hard there" if alike else "so they do not count as equally hard"
    return [f"Undamaged, these networks reach {told} on that scale (75 to 90 % is asked for): {words}."]


def _controls(run: Run) -> dict[str, Any] | None:
    """What chosen units did beside other units; None where no lesion takes units by a ranking."""
    if run.controls is None:
        return None
    return {
        "sentences": against.sentences(run.controls),
        "networks": list(dict.fromkeys(run.controls["participant"])),
        "lines": against.lines_of(run.controls),
        "floor": float(run.controls["floor"].max()),
        "compared": int(run.controls.groupby("control").size().max()),
    }


def _lost(told: Mapping[str, Evidence]) -> dict[str, Any]:
    """In how many networks every kind of damage lowers every task."""
    lost = lost_in(told)
    if not lost:
        return {}
    tasks = list(dict.fromkeys(task for by_task in lost.values() for task in by_task))
    return {
        "tasks": tasks,
        "lines": [
            {
                "damage": damage,
                "cells": [counted(by_task[task], told) if task in by_task else "–" for task in tasks],
            }
            for damage, by_task in lost.items()
        ],
    }


def _doses(rows: list[dict[tuple[str, str], summary.HeadlineRow]], task: str, lesion: str) -> list[float]:
    return list(dict.fromkeys(each[task, lesion].dose for each in rows if (task, lesion) in each))


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


def _context(
    run: Run, tables: Mapping[str, pd.DataFrame], networks: list[Network], together: list[Picture],
    extras: list[Picture],
) -> dict[str, Any]:
    table, manifest = run.table, run.manifest
    lesions = summary.lesions_of(table)
    told = {one.label: one.evidence for one in networks if one.evidence is not None}
    reasons: dict[str, list[str]] = {}
    for item in manifest.left_out:
        reasons.setdefault(item.reason, []).append(item.name)
    damages = []
    for name in lesions:
        part = table[table["lesion"] == name]
        damages.append(
            {
                "name": name,
                "meaning": summary.dose_meaning(table, name),
                "doses": ", ".join(f"{dose:g}" for _, _, dose in summary.steps_of(part)),
                "sites": ", ".join(
                    dict.fromkeys(site for sites in part["sites"] for site in sites.split(","))
                ),
                "draws": part["draw"].nunique(),
                "example": part["damage"].iloc[0],
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
        "across": [*across(told), *collapsed(tables)],
        "lost": _lost(told) if len(told) > 1 else None,
        "together": together,
        "beside": _beside(networks) if len(networks) > 1 else [],
        "contrasts": _contrasts(run, {label: each.choice for label, each in told.items()}),
        "controls": _controls(run),
        "extras": extras,
        "tasks": tasks,
        "damages": damages,
        "grows": any(part["dose"].nunique() > 1 for _, part in table[table["lesion"] != "none"].groupby("lesion")),
        "stimuli": list(dict.fromkeys(table["stimulus"])),
        "data": ", ".join(dict.fromkeys(table["data"])),
        "conditions": len(table.drop_duplicates([*CONDITION, "weights"])),
        "rows": len(table),
        "left_out": reasons,
        "minutes": sum(manifest.seconds.values()) / 60,
        "config": _yaml(run.config),
        "colour": {name: look(name, lesions)[0] for name in [summary.NONE, *lesions]},
        "show": summary.show,
        "share": summary.SHARE,
        "number": summary.NUMBER,
        "interval": summary.show_interval,
        "percent": percent,
        "cite": f"facelesion {manifest.versions.get('facelesion', '')}".strip(),
    }  # fmt: skip


def template(name: str = "report.html.j2", *folders: Path) -> Any:
    """A page's template, with the report's style, figures and ways; looked for in `folders` too."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([Path(__file__).parent / "templates", *folders]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=88)).strip()


def numbered(parts: Sequence[Sequence[Picture]], many: bool) -> list[list[Picture]]:
    """Pictures with the names of their files, in the order of the page."""
    number, found = 0, []
    for part in parts:
        named = []
        for picture in part:
            number += 1
            named.append(dataclasses.replace(picture, file=f"{number:02d}_{picture.name}" if many else picture.name))
        found.append(named)
    return found


def write_figures(folder: Path, pictures: Iterable[Picture]) -> None:
    """The figures as single files, each beside its numbers as CSV, for slides and papers; an earlier report's go."""
    wanted = set()
    for picture in pictures:
        head, data = picture.source.split(",", 1)
        ending = "svg" if "svg" in head else "png"
        files = {ending: base64.b64decode(data)} | ({"csv": picture.numbers.encode()} if picture.numbers else {})
        for kind, content in files.items():
            wanted.add(write_bytes(folder / f"{picture.file}.{kind}", content))
    if folder.is_dir():
        for path in folder.iterdir():
            if path.suffix in (".svg", ".png", ".csv") and path not in wanted:
                path.unlink()


def _write_tables(folder: Path, cases: pd.DataFrame | None, fits: Sequence[Fits]) -> None:
    """Single cases and curves as CSV; those of an earlier report that there are no more go."""
    import pandas as pd

    tables = {
        CASES: cases,
        CURVES: pd.concat([each.curves for each in fits], ignore_index=True) if fits else None,
        CURVES_COMPARED: pd.concat([each.compared for each in fits], ignore_index=True) if fits else None,
    }
    for name, table in tables.items():
        if table is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_bytes(folder / name, table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())
