"""A training run as a page, `training.html`, and its table in a few lines: from the files in its folder alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facelesion.files import write_bytes
from facelesion.report.style import PICTURES, data_address
from facelesion.training.files import read_table

if TYPE_CHECKING:
    import pandas as pd

    from facelesion.training.recipes import Recipe

PAGE = "training.html"
#: Columns that say where a row comes from; they are in the file, and would hide what was found.
_ORIGINS = ("lesion_hash", "weights", "seed", "data", "people_seen", "started_from", "source")
_ROWS = 24  # that are shown; the file has the others


def table_in_words(folder: Path, name: str) -> str:
    """A run's table as lines for a terminal; empty where there is none."""
    frame = _shown(folder, name)
    if frame is None:
        return ""
    lines = frame.head(_ROWS).to_string(index=False, max_colwidth=40)
    return lines if len(frame) <= _ROWS else f"{lines}\n… {len(frame) - _ROWS} rows more in {folder / name}"


def write_page(folder: Path, name: str, recipe: Recipe) -> Path:
    """Write the page of a run that has ended.

    Args:
        folder: the run's.
        name: the recipe's.
        recipe: what it says of itself.
    """
    import facelesion
    from facelesion.report.html import template

    note = folder / "settings.json"
    settings = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    page = template("run.html.j2", Path(__file__).parent).render(
        name=name, words=recipe.words, folder=folder, cite=f"facelesion {facelesion.__version__}",
        tables=[(file, *found) for file in dict.fromkeys((recipe.table, "log.csv")) if (found := _cells(folder, file))],
        rows=_ROWS, pictures=list(_pictures(folder)), settings=json.dumps(settings, indent=1, ensure_ascii=False),
        started=settings.get("started_from", ""),
    )  # fmt: skip
    return write_bytes(folder / PAGE, page.encode())


def _shown(folder: Path, name: str) -> pd.DataFrame | None:
    """A run's table without what says where its rows come from; of JSON, a row for each value."""
    import pandas

    path = folder / name
    if not name or not path.is_file():
        return None
    if path.suffix == ".json":
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return pandas.DataFrame({"measure": [key.replace("_", " ") for key in told], "value": [*told.values()]})
    frame = read_table(path)
    kept = frame[[column for column in frame if column not in _ORIGINS]]
    return kept.round({column: 3 for column in kept.select_dtypes("float")})


def _cells(folder: Path, name: str) -> tuple[list[str], list[list[str]]] | None:
    frame = _shown(folder, name)
    if frame is None:
        return None
    rows = [["" if value != value else str(value) for value in row] for row in frame.itertuples(index=False)]
    return [str(column).replace("_", " ") for column in frame], rows


def _pictures(folder: Path) -> Iterator[tuple[str, str]]:
    """The pictures that the run drew, each within the page."""
    for path in sorted(folder.iterdir()):
        kind = path.suffix.removeprefix(".")
        if kind in PICTURES:
            yield path.name, data_address(path.read_bytes(), kind)
