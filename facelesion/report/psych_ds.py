"""A run's tables as a data set by Psych-DS: files and what describes them, by the rules of its schema (1.5.1).

    dataset_description.json                          JSON-LD, schema.org: name, description, every variable
    README.md, CHANGES.md
    data/study-NAME_description-trials_data.csv       and .json, the sidecar with this file's variables
    data/study-NAME_description-conditions_data.csv   and .json
    documentation/columns.json                        levels, doses, measures, hashes
    materials/config.yaml                             the study's settings

File names are keywords and values, letters and digits alone; every column stands in `variableMeasured`, and every
variable in a column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facelesion.report.run_folder import CONFIG, Manifest

SCHEMA = "Psych-DS 1.5.1"
COLUMNS = "documentation/columns.json"
_CONTEXT = "https://schema.org/"


def file_names(study: str) -> dict[str, str]:
    """Where each table is written.

    Example:
        >>> file_names("face units, 2")["trials"]
        'data/study-faceunits2_description-trials_data.csv'
    """
    name = re.sub(r"[^A-Za-z0-9]", "", study) or "unnamed"
    return {
        "trials": f"data/study-{name}_description-trials_data.csv",
        "table": f"data/study-{name}_description-conditions_data.csv",
    }


def make_folders(folder: Path) -> None:
    """The folders that the files lie in."""
    for name in ("data", "documentation", "materials"):
        (folder / name).mkdir()


def describe(folder: Path, manifest: Manifest, files: Mapping[str, Mapping[str, Any]], run: Path) -> None:
    """Write what describes the tables: the data set's description, a sidecar beside each table, a page for people.

    Args:
        folder: the data set's, with its tables.
        manifest: the run's.
        files: by a table's path, its `columns` with name, unit and meaning.
        run: the run's folder.
    """
    variables = {path: [_variable(column) for column in told["columns"]] for path, told in files.items()}
    for path, measured in variables.items():
        _write(folder / path.replace(".csv", ".json"), {"variableMeasured": measured})
    _write(folder / "dataset_description.json", _description(manifest, _each_once(variables)))
    if (run / CONFIG).is_file():
        (folder / "materials" / CONFIG).write_bytes((run / CONFIG).read_bytes())
    (folder / "README.md").write_text(_page(manifest, files), encoding="utf-8")
    changes = f"# Changes\n\n- {manifest.created or 'without a date'}: the study ended.\n"
    (folder / "CHANGES.md").write_text(changes, encoding="utf-8")


def _description(manifest: Manifest, variables: list[dict[str, str]]) -> dict[str, Any]:
    asked = " ".join(manifest.question.split()) or "A lesion study of neural networks."
    tasks = " ".join(f"{name}: {' '.join(words.split())}" for name, words in manifest.tasks.items())
    described: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "Dataset",
        "name": manifest.study,
        "description": f"{asked} {tasks}".strip(),
        "schemaVersion": SCHEMA,
        "measurementTechnique": "Answers of neural networks, trial by trial, in health and after simulated lesions",
        "keywords": ["simulated lesions", "neural networks", "face recognition", *manifest.tasks],
        "creditText": f"Made with facelesion {manifest.versions.get('facelesion', '')}".strip(),
        "variableMeasured": variables,
    }
    return described | ({"dateCreated": manifest.created} if manifest.created else {})


def _variable(column: Mapping[str, Any]) -> dict[str, str]:
    told = {"@type": "PropertyValue", "name": column["name"], "description": column["meaning"]}
    return told | ({"unitText": column["unit"]} if column["unit"] else {})


def _each_once(variables: Mapping[str, list[dict[str, str]]]) -> list[dict[str, str]]:
    """All variables; of one that both tables have, both meanings where they differ."""
    found: dict[str, dict[str, str]] = {}
    for measured in variables.values():
        for each in measured:
            known = found.setdefault(each["name"], dict(each))
            if each["description"] not in known["description"]:
                known["description"] += f"; of conditions: {each['description']}"
    return list(found.values())


def _page(manifest: Manifest, files: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"# {manifest.study}", "", " ".join(manifest.question.split()) or "A lesion study of neural networks.", ""]
    lines += [f"- `{path}`: {told['rows']} rows" for path, told in files.items()]
    lines += [f"- `{COLUMNS}`: what every column, dose and measure is", ""]
    lines += [f"- {' '.join(remark.split())}" for remark in manifest.remarks]
    if manifest.command:
        lines += ["", f"Made by `{manifest.command}`."]
    return "\n".join([*lines, ""])


def _write(path: Path, told: object) -> None:
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
