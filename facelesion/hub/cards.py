"""What the hub shows of weights and of a study: cards, made from what the files say of themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import facelesion
from facelesion.errors import one_line
from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS, Column

if TYPE_CHECKING:
    from facelesion.report.run_folder import Manifest

_LIMITS = (
    "Made for research on what damage does to a network. It is not made to say who somebody is, and has not been tried "
    "on other faces than those named here."
)
_LISTED = 12
_WORDS = {
    "architecture": "architecture", "size": "side of its pictures, in pixels", "width": "width, as a share of VGG16's",
    "embedding": "numbers in its identity embedding", "colour_order": "order of the colours", "mean": "mean taken off",
    "std": "deviation divided by", "trained_on": "trained on", "trained_with": "damage in place while it was trained",
    "people_seen": "people it saw", "teacher": "taught by", "seed": "seed", "converted_from": "converted from",
    "source_colour_order": "order of the colours in what it was converted from",
}  # fmt: skip


def model_card(name: str, about: Mapping[str, Any], licence: str = "other") -> str:
    """The card of weights, from the note in their file.

    Args:
        name: the repository's, `user/name`.
        about: the note, as `facelesion.weights.read_weights` gives it.
        licence: one that the hub knows, such as mit or cc-by-4.0.

    Example:
        >>> card = model_card("ann/small", {"architecture": "VGGFace", "reached": {"pairs_accuracy": 0.9}})
        >>> [line for line in card.splitlines() if line.startswith("| ")][1:]
        ['| architecture | VGGFace |', '| reached: pairs accuracy | 0.9 |']
    """
    rows = [f"| {key} | {value} |" for key, value in _flat(about)]
    return "\n".join(
        [
            *_front(license=licence, library_name="facelesion", tags=["facelesion", "face-recognition", "lesion"]),
            f"# {name}",
            "",
            "A network for facelesion, which damages networks on purpose and measures what they can no longer do.",
            "",
            "```python",
            "from facelesion import Ablate, get, lesioned",
            "from facelesion.hub import fetch_weights",
            "",
            f'subject = get(str(fetch_weights("{name}")))',
            "```",
            "",
            "What its file says of it:",
            "",
            "| | |",
            "|---|---|",
            *(rows or ["| | nothing |"]),
            "",
            _LIMITS,
            "",
        ]
    )


def study_card(name: str, manifest: Manifest, licence: str = "other", left_out: tuple[str, ...] = ()) -> str:
    """The card of a study: what it asked, how to get it again, and what every column of its tables is.

    Args:
        name: the repository's, `user/name`.
        manifest: the run's.
        licence: one that the hub knows.
        left_out: files of the run that are not there.

    Example:
        >>> from facelesion.report import Manifest
        >>> card = study_card("ada/faces", Manifest("faces", question="Who is it?"))
        >>> "Who is it?" in card, "`participant`" in card
        (True, True)
    """
    tables = [
        {"config_name": "table", "data_files": "table.parquet", "default": True},
        {"config_name": "trials", "data_files": "trials.parquet"},
    ]
    lines = [
        *_front(license=licence, tags=["facelesion", "lesion"], configs=tables),
        f"# {manifest.study}",
        "",
        _line(manifest.question) or "A lesion study.",
        "",
        "```python",
        "from facelesion.hub import fetch_study",
        "",
        f'folder = fetch_study("{name}")          # facelesion report, facelesion export take it',
        "```",
        "",
        f"Made {manifest.created} by facelesion {manifest.versions.get('facelesion', facelesion.__version__)}"
        + (f": `{_line(manifest.command)}`." if manifest.command else "."),
        "",
        *(f"- {_line(task)}: {_line(asks)}" for task, asks in manifest.tasks.items()),
        "",
        *(f"- {_line(remark)}" for remark in manifest.remarks),
    ]
    if left_out:
        lines += ["", f"Not here, as they show people's photographs: {', '.join(left_out)}."]
    for title, columns in (("table.parquet", TABLE_COLUMNS), ("trials.parquet", TRIAL_COLUMNS)):
        lines += ["", f"## {title}", "", "| column | type | unit | meaning |", "|---|---|---|---|", *_columns(columns)]
    return "\n".join([*lines, ""])


def _columns(columns: Mapping[str, Column]) -> Iterator[str]:
    for name, column in columns.items():
        yield f"| `{name}` | {column.kind} | {column.unit} | {column.meaning} |"


def _front(**values: Any) -> list[str]:
    """The card's head, which the hub reads: YAML, of which JSON is a part."""
    return ["---", *(f"{key}: {json.dumps(value)}" for key, value in values.items()), "---", ""]


def _flat(about: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in about.items():
        words = before + _line(_WORDS.get(key, key.replace("_", " ")))
        if isinstance(value, Mapping):
            yield from _flat(value, f"{words}: ")
        else:
            yield words, _line(_several(value) if isinstance(value, list | tuple) else value)


def _several(values: Sequence[object]) -> str:
    """A short list in full; of a long one, such as the people that a network saw, how many."""
    return ", ".join(map(str, values)) if len(values) <= _LISTED else f"{len(values)}, named in the file"


def _line(value: object) -> str:
    """A value in one cell of a table."""
    return one_line(value).replace("|", "\\|")[:2000]
