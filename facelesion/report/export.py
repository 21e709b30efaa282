"""A run's two tables as text for other programs, with a file beside them that says what every column is."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from facelesion.errors import Error
from facelesion.report import psych_ds
from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS, VERSION, Column
from facelesion.report.run_folder import MANIFEST, TABLE, TRIALS, Manifest, read_manifest, reading
from facelesion.report.tables import CONDITION, TrialFile, check_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Format = Literal["csv", "csv.gz", "psych-ds"]
COLUMNS_FILE = "columns.json"
_READING = (
    "UTF-8, a comma between fields, texts in double quotes (a quote in them is doubled), a missing number is an empty "
    "field, true or false are TRUE and FALSE. R: read.csv(file, stringsAsFactors = TRUE, na.strings = character()) "
    "for a person may be called NA; numbers keep every digit."
)


def export_run(run_folder: str | Path, out: str | Path | None = None, to: Format = "csv") -> Path:
    """Write both tables of a finished run as CSV, and `columns.json`, which says what every column is.

    As `psych-ds` the folder is a data set by the rules of Psych-DS (`facelesion.report.psych_ds`): a description in
    JSON-LD, the tables in `data/`, each with a sidecar of its own.

    The folder appears whole or not at all. Trials are read piece by piece: they need not fit into memory.

    Args:
        run_folder: a folder that `facelesion study` wrote.
        out: the folder to make; `csv` or `psych-ds` in the run's folder when left out.
        to: `csv`; `csv.gz`, which R and pandas read as it is; or `psych-ds`.

    Returns:
        The folder, with `trials.csv`, `table.csv` and `columns.json`, or a data set.

    Raises:
        Error: no finished run, tables that were edited into something else, or a folder that is there.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import pandas as pd
        >>> from facelesion.report import *
        >>> kinds = {"name": "a", "text": "a", "JSON": "{}", "number": 0.5, "whole": 1, "true or false": True}
        >>> row = {name: kinds[column.kind] for name, column in TABLE_COLUMNS.items()}
        >>> row |= {"better": "higher", "control": ""}
        >>> trial = {name: kinds[column.kind] for name, column in TRIAL_COLUMNS.items()} | {"control": ""}
        >>> face = np.zeros((8, 8, 3), np.uint8)
        >>> confusion = Confusion("detection", "intact", np.array([[9, 1], [0, 10]]), ("face", "no face"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_config(folder, {"name": "by hand"})
        ...     _ = write_table(folder, pd.DataFrame([row]))
        ...     _ = write_trials(folder, pd.DataFrame([trial]))
        ...     _ = write_manifest(folder, Manifest("by hand", seeds={"pictures": 0}))
        ...     _ = write_stimuli(folder, ["intact"], face[None])
        ...     _ = write_confusions(folder, [confusion])
        ...     _ = write_gradcam(folder, GradCamMaps(("intact",), ("conv5_3",), np.ones((1, 1, 8, 8)), face))
        ...     run: Run = read_run(folder)
        ...     made = sorted(path.name for path in export_run(folder).iterdir())
        ...     more = [write_controls(folder, run.table), write_rankings(folder, [run.table])]
        ...     more += [write_training_log(folder, Path(folder) / "csv" / "table.csv")]
        >>> made, [path.name for path in more]
        (['columns.json', 'table.csv', 'trials.csv'], ['controls.csv', 'rankings.parquet', 'training.csv'])
        >>> run.manifest.study, len(run.table), isinstance(run.stimuli, StimulusExamples), run.gradcam.layers
        ('by hand', 1, True, ('conv5_3',))
    """
    if to not in get_args(Format):
        raise Error(f"to is {to!r}: it must be csv, csv.gz or psych-ds")
    run = Path(run_folder)
    if not run.is_dir():
        raise Error(f"{run}: no such folder: give a run's, such as runs/default")
    for name in (MANIFEST, TABLE, TRIALS):
        if not (run / name).is_file():
            raise Error(f"{run} has no {name}: run its study to the end first")
    target = Path(out) if out is not None else run / to.removesuffix(".gz")
    if os.path.lexists(target):
        raise Error(f"{target} is there already: delete it, or choose another folder with --out")
    manifest, table = read_manifest(run), _table(run / TABLE)
    with reading(run / TRIALS):
        trials = TrialFile(run / TRIALS)
    seen, files = {"table": _Levels(TABLE_COLUMNS), "trials": _Levels(TRIAL_COLUMNS)}, {}
    psych = to == "psych-ds"
    names = psych_ds.file_names(manifest.study) if psych else {name: f"{name}.{to}" for name in ("trials", "table")}
    with whole_folder(target) as folder:
        if psych:
            psych_ds.make_folders(folder)
        _write(folder / names["table"], [table], seen["table"])
        _write(folder / names["trials"], _pieces(run / TRIALS, trials), seen["trials"])
        with reading(run / TRIALS):
            _check_together(table, trials.counts)
        for name, source in (("trials", TRIALS), ("table", TABLE)):
            files[names[name]] = {
                "rows": seen[name].rows,
                "sha256": _sha256(folder / names[name]),
                "made_from": {"file": source, "sha256": _sha256(run / source)},
                "columns": seen[name].described(),
            }
        text = json.dumps(_sidecar(manifest, table, files), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / (psych_ds.COLUMNS if psych else COLUMNS_FILE)).write_text(text + "\n", encoding="utf-8")
        if psych:
            psych_ds.describe(folder, manifest, files, run)
    return target


class _Levels:
    """The names that each column of names holds, in the order of their appearance, as rows pass by."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns, self.rows = columns, 0
        self._types: dict[str, str] = {}
        self._names: dict[str, dict[str, None]] = {}

    def see(self, piece: pd.DataFrame) -> None:
        self.rows += len(piece)
        for name in piece:
            self._types.setdefault(str(name), str(piece[name].dtype))
            if name in self.columns and self.columns[name].kind == "name":
                self._names.setdefault(str(name), {}).update(dict.fromkeys(piece[name].unique()))

    def described(self) -> list[dict[str, Any]]:
        """Every column as `columns.json` has it."""
        found: list[dict[str, Any]] = []
        for name, kind in self._types.items():
            column = self.columns.get(name)
            if column is None:
                found.append({"name": name, "type": kind, "unit": "", "meaning": "no column of a study: it was added"})
                continue
            found.append({"name": name, "type": column.kind, "unit": column.unit, "meaning": column.meaning})
            if name in self._names:
                found[-1]["levels"] = list(self._names[name])
        return found


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    with reading(path):
        return check_table(pd.read_parquet(path))


def _pieces(path: Path, trials: TrialFile) -> Iterator[pd.DataFrame]:
    """The pieces of the trials; what is wrong with them is told with their file."""
    pieces = trials.pieces()
    while True:
        with reading(path):
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


def _write(path: Path, pieces: Iterable[pd.DataFrame], levels: _Levels) -> None:
    """Write rows as CSV, piece by piece."""
    with contextlib.ExitStack() as stack:
        file: Any = stack.enter_context(path.open("wb"))
        if path.suffix == ".gz":  # without name and time: the same run gives the same bytes
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
        for number, piece in enumerate(pieces):
            levels.see(piece)
            if not number:
                file.write((",".join(_quoted(str(name)) for name in piece) + "\n").encode())
            file.write(_lines(piece, levels.columns))


def _lines(piece: pd.DataFrame, columns: Mapping[str, Column]) -> memoryview:
    """Rows as lines of CSV. pyarrow's own writer puts TRUE in quotes, which R takes for a text."""
    import pyarrow as pa
    import pyarrow.compute as compute

    cells = []
    for name in piece:
        values = pa.array(piece[name], from_pandas=True)
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        if name not in columns and (pa.types.is_nested(values.type) or pa.types.is_binary(values.type)):
            raise Error(f"column {name}, which was added to the table, cannot be written as text")
        cells.append(compute.fill_null(_cells(values), ""))
    lines = compute.binary_join_element_wise(*cells, ",")
    lines = compute.binary_join_element_wise(lines, "\n", "")
    _, places, letters = lines.buffers()  # line after line, as they are to stand in the file
    ends = memoryview(places).cast("i")
    return memoryview(letters)[ends[lines.offset] : ends[lines.offset + len(lines)]]


def _cells(values: pa.Array) -> pa.Array:
    """Values as CSV has them."""
    import pyarrow as pa
    import pyarrow.compute as compute

    if pa.types.is_dictionary(values.type):
        return pa.DictionaryArray.from_arrays(values.indices, _cells(values.dictionary)).dictionary_decode()
    if pa.types.is_boolean(values.type):
        return compute.if_else(values, "TRUE", "FALSE")
    text = values.cast(pa.string())
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return text
    return compute.binary_join_element_wise('"', compute.replace_substring(text, '"', '""'), '"', "")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _check_together(table: pd.DataFrame, counts: Mapping[tuple[Any, ...], int]) -> None:
    """Refuse trials of other conditions than the table's, or of another number."""
    told = table.groupby(list(CONDITION), sort=False)["n"].max()
    wanted = {tuple(key): int(count) for key, count in told.items()}
    for condition in [*wanted, *counts]:
        one, other = wanted.get(condition, 0), counts.get(condition, 0)
        if one != other:
            named = ", ".join(f"{name} {value}" for name, value in zip(CONDITION, condition, strict=True))
            raise Error(f"it does not belong to {TABLE}: {named} has {other} trials here and {one} there")


def _sidecar(manifest: Manifest, table: pd.DataFrame, files: Mapping[str, Any]) -> dict[str, Any]:
    """What `columns.json` says: the run, what its names mean, and every column."""
    measures = table.drop_duplicates(["task", "metric"])
    told = ["task", "metric", "words", "main", "chance", "ceiling", "better", "share"]
    damaged = table[table["step"] > 0]
    return {
        "study": manifest.study,
        "question": manifest.question,
        "created": manifest.created,
        "command": manifest.command,
        "tables_version": VERSION,
        "versions": dict(manifest.versions),
        "hashes": dict(manifest.hashes),
        "seeds": dict(manifest.seeds),
        "remarks": list(manifest.remarks),
        "reading": _READING,
        "participants": dict(zip(table["participant"], table["weights"], strict=True)),
        "lesions": {
            str(name): {
                "dose": part["meaning"].iloc[0],
                "doses": part.drop_duplicates("step").sort_values("step")["dose"].tolist(),
                "draws": int(part["draw"].nunique()),
                "sites": {str(key): each["sites"].iloc[0] for key, each in part.groupby("participant", sort=False)},
            }
            for name, part in damaged.groupby("lesion", sort=False)
        },
        "tasks": {str(name): manifest.tasks.get(str(name), "") for name in table["task"].unique()},
        "measures": [
            {name: _plain(value) for name, value in zip(told, row, strict=True)}
            for row in measures[told].itertuples(index=False)
        ],
        "files": dict(files),
    }


def _plain(value: Any) -> Any:
    """A value as JSON has it; a number that is none is null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which is moved to its place once it is full, or goes.

    Raises:
        Error: nothing can be written there.
    """
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=target.absolute().parent, prefix=f".{target.name[:80]}.", suffix=".part"))
    except OSError as error:
        raise Error(
            f"{target}: nothing can be written there ({error.strerror or error}): choose another folder with --out"
        ) from None
    try:
        yield folder
        os.chmod(folder, 0o755)
        os.rename(folder, target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
