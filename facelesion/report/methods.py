"""A methods paragraph with every number filled in, from what the run folder holds alone: to be pasted, and mended.

Every sentence is a function of the run; one that has nothing to say in it says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from facelesion.analysis.single_cases import LEAST_CONTROLS
from facelesion.report.run_folder import Run
from facelesion.report.summary import lesions_of, listed, measure_of, number_of, steps_of, tasks_of

if TYPE_CHECKING:
    import pandas as pd

#: What readers may look up: of every method that a sentence names.
SOURCES = {
    "contrasts": "Crossed t intervals: Satterthwaite 1946, Owen 2007. Families: Holm 1979, Westfall & Krishen 2001.",
    "claims": "Dissociations by two comparisons that must both hold: Berger 1982.",
    "controls": "Control sets: Phipson & Smyth 2010, Benjamini & Hochberg 1995.",
    "curves": "Psychometric curves: Wichmann & Hill 2001.",
    "cases": "Single cases: Crawford & Howell 1998, Crawford & Garthwaite 2005, 2007.",
    "choice": "Choices between two: Hacker & Ratcliff 1979.",
}


def methods(
    run: Run, groups: Mapping[str, Iterable[str]], cases: pd.DataFrame | None = None, curves: bool = False
) -> list[str]:
    """The paragraphs, in order; each is some sentences.

    Args:
        run: what the folder holds.
        groups: participants that were trained alike, by the name of their group.
        cases: its table of single cases, if there is one.
        curves: whether psychometric curves were fitted.
    """
    makers: list[tuple[Callable[..., str], ...]] = [
        (_participants, _groups, _pictures, _tasks),
        (_damage, _chosen, _sets, _stimuli),
        (_contrasts, _claims, _single_cases, _software),
    ]
    known: dict[str, Any] = {
        "groups": {name: list(each) for name, each in groups.items()},
        "cases": cases,
        "curves": curves,
    }
    return [" ".join(text for make in part if (text := make(run, known))) for part in makers]


def _participants(run: Run, known: Mapping[str, Any]) -> str:
    networks = run.table.drop_duplicates(["participant", "weights"])[["participant", "weights"]]
    named = listed(f"{name} (weights {weights})" for name, weights in networks.itertuples(index=False))
    return f"{number_of(len(networks), 'network')} took part: {named}."


def _groups(run: Run, known: Mapping[str, Any]) -> str:
    told = [
        f"{listed(members)} were trained alike and stand as control participants to one another"
        for name, members in known["groups"].items()
        if name and len(members) > 1
    ]
    return f"{'; '.join(told)}." if told else ""


def _pictures(run: Run, known: Mapping[str, Any]) -> str:
    settings = run.config.get("pictures") or {}
    source = settings.get("source", "") if isinstance(settings, Mapping) else ""
    digests = listed(dict.fromkeys(run.table["data"]))
    drawn = [
        f"{key} {settings[key]:g}"
        for key in ("variability", "likeness")
        if source and isinstance(settings.get(key), int | float)
    ]
    said = (
        f"Pictures came from {', '.join([source, *drawn])} (digest {digests})"
        if source
        else f"Pictures have the digest {digests}"
    )
    if run.pictures is not None:
        roles = run.pictures.groupby("role", sort=False)
        counted = [
            f"{str(role).replace('_', ' ')} {len(part)} ({part['label'].nunique()})" for role, part in roles
        ]
        said += f"; by role, with the number of people or kinds in brackets: {', '.join(counted)}"
    left = len(run.manifest.left_out)
    said += f"; {left} offered pictures were left out" if left else ""
    return " ".join([f"{said}.", "Nothing that trained the readouts was tested.", *run.manifest.remarks])


def _tasks(run: Run, known: Mapping[str, Any]) -> str:
    parts = []
    for task in tasks_of(run.table):
        measure = measure_of(run.table, task)
        trials = int(run.table.loc[run.table["task"] == task, "n"].max())
        chance = f", chance {measure.chance:.3g}" if measure.chance == measure.chance else ""
        parts.append(f"{task} ({trials} trials; {measure.words}{chance})")
    return (
        f"{number_of(len(parts), 'task')} {'was' if len(parts) == 1 else 'were'} asked: {listed(parts)}. "
        "Readouts were fixed "
        "on each undamaged network and never trained again."
    )


def _damage(run: Run, known: Mapping[str, Any]) -> str:
    parts = []
    for name in lesions_of(run.table):
        part = run.table[run.table["lesion"] == name]
        doses = listed(f"{dose:g}" for _, _, dose in steps_of(part))
        sites = listed(
            dict.fromkeys(site.strip() for sites in part["sites"] for site in str(sites).split(","))
        )
        draws = int(part["draw"].nunique())
        drawn = "once" if draws == 1 else f"{draws} times each"
        parts.append(f"{name} ({part['meaning'].iloc[0]}: {doses}; at {sites}; drawn {drawn})")
    if not parts:
        return "No network was damaged."
    return f"Damage was of {number_of(len(parts), 'kind')}: {'; '.join(parts)}. Doses of a draw share units or noise."


def _chosen(run: Run, known: Mapping[str, Any]) -> str:
    if run.rankings is None or run.rankings.empty:
        return ""
    told = []
    for (series, by, of), part in run.rankings.groupby(["series", "by", "of"], sort=False):
        against = listed(dict.fromkeys(json_names(part["against"])))
        which = part.drop_duplicates(["participant", "site"])
        reliable = which["reliability"].dropna()
        halves = (
            f"; rank correlation of rankings by halves of them {reliable.min():.2f} to {reliable.max():.2f}"
            if len(reliable) else ""
        )  # fmt: skip
        told.append(
            f"{series} are the first units by {by} for {of}{f' against {against}' if against else ''} "
            f"({_span(which['pictures'])} pictures of {_span(which['people'])} people or things{halves})"
        )
    return f"Units were ranked in every undamaged network: {'; '.join(told)}."


def _sets(run: Run, known: Mapping[str, Any]) -> str:
    if run.controls is None or run.controls.empty:
        return ""
    kinds = []
    for kind, part in run.controls.groupby("control", sort=False):
        distinct = f"at least {int(part['distinct'].min())} distinct"
        far = part["mismatch"].abs().max()
        off = f", mean mismatch in activation at most {far:.2g} standard deviations" if far == far else ""
        kinds.append(f"{int(part['sets'].max())} {kind} sets ({distinct}{off})")
    tests = int(run.controls.groupby("control").size().max())
    return (
        f"Each was compared with {listed(kinds)} of as many other units of the same sites; p is the share "
        "of different sets that lose "
        f"at least as much, the lesion counted among them, adjusted over {tests} comparisons (Benjamini–Hochberg). "
        f"The least p is {float(run.controls['floor'].max()):.2g}."
    )


def _stimuli(run: Run, known: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(run.table["stimulus"]))
    return f"Pictures were shown {listed(names)}." if len(names) > 1 else "Pictures were shown unchanged."


def _contrasts(run: Run, known: Mapping[str, Any]) -> str:
    if run.contrasts is None or run.contrasts.empty:
        return "No contrast was named before the run."
    whole = run.contrasts[run.contrasts["participant"].fillna("") == ""]
    primary = whole[whole["primary"].astype(bool)]
    first = (
        f"; the primary one was {primary['contrast'].iloc[0]}, {primary['words'].iloc[0]}"
        if len(primary)
        else ""
    )
    return (
        f"{number_of(len(whole), 'contrast')} {'was' if len(whole) == 1 else 'were'} named before the "
        f"run{first}. Scores are "
        f"shares of right choices between two; 95 % intervals are crossed t intervals over "
        f"{listed(dict.fromkeys(whole['over']))}"
        "; the primary contrast is tested first, the others after it by Holm." + _beyond_sets(whole)
    )


def _beyond_sets(whole: pd.DataFrame) -> str:
    """That a contrast of chosen units is called only beyond its control sets, where there is such a one."""
    if "adjusted_controls" not in whole or whole["adjusted_controls"].isna().all():
        return ""
    return " Contrasts that have control sets are called only if they lie beyond them in every network."


def _claims(run: Run, known: Mapping[str, Any]) -> str:
    if run.trials is None:
        return "Answers were not kept trial by trial, so intervals are over draws alone and no claim is made."
    told = (
        "In each network losses are crossed t tests over people and draws and dissociations two such "
        "tests within a task "
        "of which both must hold, corrected by Holm; lesions that were drawn once are not tested so."
    )
    if not known["curves"]:
        return told
    return (
        f"{told} Psychometric curves fall from the undamaged network’s level to chance, both fixed; their "
        "doses at half "
        "loss have t intervals over resampled people and draws."
    )


def _single_cases(run: Run, known: Mapping[str, Any]) -> str:
    cases = known["cases"]
    if cases is None or cases.empty:
        return ""
    most = max(len(members) for members in known["groups"].values()) - 1
    if most < LEAST_CONTROLS:
        there = f"{'was' if most == 1 else 'were'} {number_of(most, 'control participant')}"
        return f"Single cases were not tested: there {there}, and it takes {LEAST_CONTROLS}."
    made = int(cases["p"].notna().sum())
    return (
        f"Single cases were tested against up to {most} control participants on log odds (Crawford–Howell, and the "
        f"Bayesian test of a difference with the calibrated prior; {made} tests, Holm)."
    )


def _software(run: Run, known: Mapping[str, Any]) -> str:
    versions, manifest = run.manifest.versions, run.manifest
    used = listed(
        f"{name} {version}" for name, version in versions.items() if name in ("facelesion", "python", "torch")
    )
    seeds = listed(f"{value} for {name}" for name, value in manifest.seeds.items())
    study = manifest.hashes.get("study", "")
    parts = [
        f"The study {manifest.study}" + (f" (settings and pictures {study})" if study else ""),
        f"was run on {manifest.device}" + (f" with {used}" if used else ""),
        f"seed {seeds}" if seeds else "",
        f"on {manifest.created[:10]}" if manifest.created else "",
    ]
    return f"{parts[0]} {', '.join(part for part in parts[1:] if part)}."


def json_names(cells: Iterable[object]) -> list[str]:
    """Names in cells that hold one name, or several as JSON or with commas.

    Example:
        >>> json_names(["objects", '["a", "b"]', ""])
        ['objects', 'a', 'b']
    """
    found: list[str] = []
    for cell in dict.fromkeys(map(str, cells)):
        try:
            read = json.loads(cell)
        except ValueError:
            read = cell.split(",")
        found += [
            str(each).strip() for each in (read if isinstance(read, list) else [read]) if str(each).strip()
        ]
    return found


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
