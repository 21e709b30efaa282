"""A run's two tables, held to their columns (`columns.py`): the results whole, the trials piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facelesion.errors import Error
from facelesion.report.checks import kind_of, text
from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS, VERSION, Column

if TYPE_CHECKING:
    import pandas as pd

#: What tells one condition from another in either table.
CONDITION = ("participant", "lesion", "dose", "draw", "control", "stimulus", "task")
_MEASURED = [*CONDITION, "weights", "damage_hash", "seed", "metric", "data"]
PIECE = 1 << 16  # rows of the trials that are in memory at once
_MOST_TRIALS = 1 << 31  # of a task


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """The result table with its columns in order and of their kind, after checks that it can be what it says.

    Raises:
        Error: no rows, a missing column, a value of another kind (the column and row are named), or the
            same condition and measure twice.
    """
    found = _checked(table, TABLE_COLUMNS, "result table")
    if found.empty:
        raise Error("the result table has no rows; the study measured nothing")
    wrong = set(found["better"]) - {"higher", "lower", ""}
    if wrong:
        raise Error(
            f"the result table's column better holds {sorted(wrong)[0]!r}; it must be higher, lower or empty"
        )
    if (found["n"] < 1).any():
        raise Error("the result table's column n counts trials: it must be 1 or more")
    twice = found.duplicated(_MEASURED)
    if twice.any():
        row = found[twice].iloc[0]
        raise Error(
            f"{int(twice.sum())} rows are there twice, the first: {row['damage']}, {row['stimulus']}, "
            f"{row['task']} {row['metric']}, draw {row['draw']}; write each condition once"
        )
    return found


def check_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The answers trial by trial, columns in order and of their kind, after the same checks.

    Raises:
        Error: as for `check_table`.
    """
    seen = _Seen(len(trials))
    found = _checked(trials, TRIAL_COLUMNS, "table of trials")
    seen.add(found)
    seen.settle()
    return found


class TrialFile:
    """The trials of a run on disk, read and checked piece by piece, so that memory never holds them all.

    Attributes:
        rows: how many there are.
        counts: after all pieces were read: how many trials each condition (`CONDITION`) has.
    """

    def __init__(self, path: str | Path) -> None:
        import pyarrow.parquet as parquet

        self._file = parquet.ParquetFile(path)
        said = (self._file.schema_arrow.metadata or {}).get(b"facelesion")
        version = json.loads(said).get("version") if said is not None else VERSION
        if version != VERSION:
            raise Error(
                f"it is of version {version!r}, and this facelesion reads version {VERSION}: run the study again"
            )
        self.rows: int = self._file.metadata.num_rows
        self.counts: dict[tuple[Any, ...], int] = {}

    def pieces(self) -> Iterator[pd.DataFrame]:
        """All trials in their order, some ten thousand at a time; the last check is made after the last piece.

        Raises:
            Error: as `check_trials`.
        """
        seen, first = _Seen(self.rows), 0
        for batch in self._file.iter_batches(PIECE):
            piece = _checked(batch.to_pandas(), TRIAL_COLUMNS, "table of trials", first)
            seen.add(piece)
            first += len(piece)
            yield piece
        seen.settle()
        self.counts = seen.counts()


def read_trials(path: str | Path, stimulus: str) -> pd.DataFrame:
    """The lesions' own trials under one stimulus; all are checked, their controls' too, and only these are kept.

    Raises:
        Error: as `check_trials`.
    """
    import pandas as pd

    file, kept = TrialFile(path), []
    for piece in file.pieces():
        chosen = piece[(piece["stimulus"] == stimulus) & (piece["control"] == "")]
        if len(chosen):
            # Texts, whatever categories a piece has: pieces of unlike categories cannot be joined.
            names = [name for name, kind in chosen.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
            kept.append(chosen.astype(dict.fromkeys(names, object)))
    return pd.concat(kept, ignore_index=True) if kept else piece.iloc[:0]


class _Seen:
    """Which trials were seen: a number for every condition, joined with the trial's; eight bytes a trial."""

    def __init__(self, rows: int) -> None:
        self._conditions: dict[tuple[Any, ...], int] = {}
        self._counts: list[int] = []
        self._keys, self._filled = np.empty(rows, np.int64), 0

    def add(self, piece: pd.DataFrame) -> None:
        import pandas as pd

        trial = piece["trial"].to_numpy()
        if ((trial < 0) | (trial >= _MOST_TRIALS)).any():
            raise Error("the table of trials' column trial must be 0 or more, and no number of its own")
        place = np.zeros(len(piece), np.int64)
        for name in CONDITION:
            codes, values = pd.factorize(piece[name])
            place = pd.factorize(place * len(values) + codes)[0]
        _, rows, counts = np.unique(place, return_index=True, return_counts=True)
        numbers = np.empty(len(rows), np.int64)
        told = piece.iloc[rows][list(CONDITION)].itertuples(index=False)
        for here, (condition, count) in enumerate(zip(map(tuple, told), counts.tolist(), strict=True)):
            numbers[here] = number = self._conditions.setdefault(condition, len(self._conditions))
            self._counts += [0] * (number + 1 - len(self._counts))
            self._counts[number] += count
        end = self._filled + len(piece)
        self._keys[self._filled : end] = numbers[place] * _MOST_TRIALS + trial
        self._filled = end

    def settle(self) -> None:
        """Refuse a table without trials, and one that has a trial twice."""
        if not self._filled:
            raise Error("the table of trials has no rows; no answer was kept")
        self._keys.sort()
        twice = np.flatnonzero(self._keys[1:] == self._keys[:-1])
        if len(twice):
            condition, trial = divmod(int(self._keys[twice[0]]), _MOST_TRIALS)
            _, lesion, dose, draw, _, stimulus, task = list(self._conditions)[condition]
            raise Error(
                f"{len(twice)} trials are there twice, the first: {lesion} {dose:g}, draw {draw}, {stimulus}, {task}, "
                f"trial {trial}; write each once"
            )

    def counts(self) -> dict[tuple[Any, ...], int]:
        """How many trials every condition has."""
        return dict(zip(self._conditions, self._counts, strict=True))


def _checked(table: pd.DataFrame, columns: Mapping[str, Column], what: str, first: int = 0) -> pd.DataFrame:
    """A table's columns in order and of their kind, others after them; `first` is the number of its first row."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        hint = " (tables of version 1 are read no more: run the study again)" if "approach" in table.columns else ""
        raise Error(f"the {what} lacks {', '.join(missing)}; a study writes all of its columns{hint}")
    if not table.columns.is_unique:
        raise Error(f"the {what} has a column twice")
    found = table[ordered(columns, table.columns)].reset_index(drop=True)
    for name, column in columns.items():
        found[name] = _column(found[name], column, f"the {what}'s column {name}", first)
    return found


def ordered(columns: Mapping[str, Column], there: Sequence[str]) -> list[str]:
    """The names of a table's columns: its own in their order, then whatever was added."""
    return [*columns, *(name for name in there if name not in columns)]


def _column(values: pd.Series, column: Column, where: str, first: int) -> Any:
    """A column of plain values; the first cell of another kind is named with its row."""
    if column.kind in ("name", "text", "JSON"):
        if not _all_text(values, column.empty):
            for row, cell in enumerate(values.astype(object), start=first):
                text(_plain(cell), f"{where}, row {row}", empty=column.empty)
        return values
    bare = values.dtype.kind if isinstance(values.dtype, np.dtype) else "O"
    wanted = {"number": "fiu", "whole": "iu", "true or false": "b"}[column.kind]
    if bare not in wanted:
        for row, cell in enumerate(values.astype(object), start=first):
            _cell(_plain(cell), column, f"{where}, row {row}")
    if column.kind == "true or false":
        return values.to_numpy().astype(bool)
    try:
        if bare == "O":
            cells = values.astype(object)
            numbers = np.array([np.nan if _plain(cell) is None else cell for cell in cells], dtype=float)
        else:
            numbers = values.to_numpy()
    except OverflowError:
        raise Error(f"{where} holds a number that is too large") from None
    bad = np.isinf(numbers) if column.empty else ~np.isfinite(numbers)
    if bad.any():
        raise Error(
            f"{where}: {int(bad.sum())} values are not finite, the first in row {first + int(bad.argmax())}; "
            "a measure without an answer must not be written"
        )
    if column.kind == "whole":
        if len(numbers) and np.abs(numbers.astype(float)).max() >= 2**63:
            raise Error(f"{where} holds a number that is too large")
        return values.astype(object).to_numpy().astype(np.int64) if bare == "O" else numbers.astype(np.int64)
    return numbers if numbers.dtype.kind == "f" else numbers.astype(float)


def _all_text(values: pd.Series, empty: bool) -> bool:
    """Whether all cells are texts, looked at once for each that differs."""
    try:
        for cell in values.unique():
            text(cell, "cell", empty=empty)
    except (Error, TypeError):  # lists cannot be told apart
        return False
    return True


def _plain(cell: object) -> object:
    """A cell as Python has it; what stands for a missing value is None."""
    import pandas as pd

    if isinstance(cell, np.generic):
        cell = cell.item()
    if cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell):
        return None
    return cell


def _cell(cell: object, column: Column, where: str) -> None:
    if column.kind == "true or false":
        if not isinstance(cell, bool):
            raise Error(f"{where} must be true or false, not {kind_of(cell)}")
        return
    if cell is None and column.kind != "whole":
        return  # a missing number: whether it may be missing is looked at afterwards
    whole = column.kind == "whole"
    if isinstance(cell, bool) or not isinstance(cell, int | float) or (whole and cell != cell // 1):
        raise Error(f"{where} must be a {'whole ' if whole else ''}number, not {kind_of(cell)}")


#: What the report takes from tables that it does not write.
PICTURES_NEEDED = ("role", "label")
RANKINGS_NEEDED = (
    "participant", "series", "site", "unit", "rank", "by", "of", "against", "settings", "score_is", "reliability",
    "pictures", "people",
)  # fmt: skip
CONTROLS_NEEDED = (
    "participant", "lesion", "step", "dose", "stimulus", "task", "metric", "control", "intact", "value", "mean", "low",
    "high", "p", "floor", "adjusted", "sets", "distinct", "mismatch",
)  # fmt: skip
CONTRASTS_NEEDED = (
    "contrast", "words", "primary", "participant", "estimate", "low", "high", "over", "p", "adjusted", "called",
    "effect", "crossover", "p_random", "p_matched", "sets",
)  # fmt: skip


def with_columns(columns: Sequence[str], table: pd.DataFrame) -> pd.DataFrame:
    """A table that has these columns.

    Raises:
        Error: one is missing.
    """
    if missing := [name for name in columns if name not in table]:
        raise Error(f"column {missing[0]} is missing; a study writes all of its columns: run it again")
    return table
