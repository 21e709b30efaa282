"""The two tables of a run, results by condition and answers trial by trial: what they hold, and its checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from facelesion.errors import Error
from facelesion.report.checks import kind_of, text

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["name", "text", "number", "number or none", "whole", "truth"]

#: Columns of the result table as the report works with it, and what each holds. Dose 0 with approach 'none' is the
#: intact network. On disk a study calls some of them otherwise (`as_shown`, `columns.py`).
TABLE: Mapping[str, Kind] = {
    "model": "name",
    "weights": "name",
    "approach": "name",
    "lesion": "name",
    "lesion_hash": "name",
    "sites": "text",
    "dose": "number",
    "draw": "whole",
    "seed": "whole",
    "stimulus": "name",
    "task": "name",
    "metric": "name",
    "value": "number",
    "n": "whole",
    "data": "text",
    "study": "text",
    "chance": "number or none",
}
#: Columns that the result table may have beside: whether a metric speaks for its task (`main`), the best value
#: possible (`ceiling`), and which way is better (`better`: 'higher', 'lower' or '').
TABLE_EXTRAS: Mapping[str, Kind] = {"main": "truth", "ceiling": "number or none", "better": "text"}
COLUMNS = tuple(TABLE)
_ON_DISK = {"participant": "model", "lesion": "approach", "damage": "lesion", "damage_hash": "lesion_hash"}

#: Columns of the answers, trial by trial, that the report needs. `participant` is `model` above, `lesion` `approach`.
TRIALS: Mapping[str, Kind] = {
    "participant": "name",
    "lesion": "name",
    "dose": "number",
    "draw": "whole",
    "stimulus": "name",
    "task": "name",
    "trial": "whole",
    "item": "text",
    "person": "name",
    "other": "text",
    "target": "name",
    "answer": "text",
    "value": "number",
    "right": "truth",
}
_CONDITION = [
    "model", "weights", "approach", "lesion_hash", "dose", "draw", "seed", "stimulus", "task", "metric", "data",
]  # fmt: skip
_TRIAL = ["participant", "lesion", "dose", "draw", "stimulus", "task", "trial"]


def as_shown(table: pd.DataFrame) -> pd.DataFrame:
    """A study's table with the report's own names of columns; a table that has them already stays as it is."""
    return table.rename(columns=_ON_DISK) if "participant" in table.columns else table


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """The result table with its columns in order and of their kind, after checks that it can be what it says.

    Raises:
        Error: no rows, a missing column, a value of another kind (the column and row are named), or the
            same condition and metric twice.
    """
    found = _checked(table, TABLE, TABLE_EXTRAS, "result table", "the study measured nothing")
    if "better" in found:
        wrong = set(found["better"]) - {"higher", "lower", ""}
        if wrong:
            raise Error(
                f"the result table's column better holds {sorted(wrong)[0]!r}; it must be higher, lower or empty"
            )
    if (found["n"] < 1).any():
        raise Error("the result table's column n counts trials: it must be 1 or more")
    twice = found.duplicated(_CONDITION)
    if twice.any():
        row = found[twice].iloc[0]
        raise Error(
            f"{int(twice.sum())} rows are there twice, the first: {row['lesion']}, {row['stimulus']}, "
            f"{row['task']} {row['metric']}, draw {row['draw']}; write each condition once"
        )
    return found


def check_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The answers trial by trial, columns in order and of their kind, after the same checks.

    Raises:
        Error: as for `check_table`.
    """
    found = _checked(trials, TRIALS, {}, "table of trials", "no answer was kept")
    twice = found.duplicated(_TRIAL)
    if twice.any():
        row = found[twice].iloc[0]
        raise Error(
            f"{int(twice.sum())} trials are there twice, the first: {row['lesion']} {row['dose']:g}, "
            f"draw {row['draw']}, {row['stimulus']}, {row['task']}, trial {row['trial']}; write each once"
        )
    return found


def _checked(
    table: pd.DataFrame, needed: Mapping[str, Kind], extras: Mapping[str, Kind], what: str, empty: str
) -> pd.DataFrame:
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise Error(f"the {what} lacks {', '.join(missing)}; a study writes all of its columns")
    if not table.columns.is_unique:
        raise Error(f"the {what} has a column twice")
    if table.empty:
        raise Error(f"the {what} has no rows; {empty}")
    kinds = {**needed, **{name: kind for name, kind in extras.items() if name in table.columns}}
    columns = [*needed, *(name for name in table.columns if name not in needed)]
    found = table[columns].reset_index(drop=True)
    for name, kind in kinds.items():
        found[name] = _column(found[name], kind, f"the {what}'s column {name}")
    return found


def _column(column: pd.Series, kind: Kind, where: str) -> Any:
    """A column of plain values; the first cell of another kind is named with its row."""
    import pandas as pd

    if kind in ("name", "text"):
        if not _all_text(column, kind):
            for row, cell in enumerate(column.astype(object)):
                text(_plain(cell), f"{where}, row {row}", empty=kind == "text")
        return column.astype(str) if isinstance(column.dtype, pd.CategoricalDtype) else column
    cells = column.astype(object).to_numpy()
    bare = column.dtype.kind if isinstance(column.dtype, np.dtype) else "O"
    wanted = {"number": "fiu", "number or none": "fiu", "whole": "iu", "truth": "b"}[kind]
    if bare not in wanted:
        for row, cell in enumerate(cells):
            _cell(_plain(cell), kind, f"{where}, row {row}")
    if kind == "truth":
        return cells.astype(bool)
    try:
        if bare == "O":
            numbers = np.array([np.nan if _plain(cell) is None else cell for cell in cells], dtype=float)
        else:
            numbers = column.to_numpy(dtype=float)
    except OverflowError:
        raise Error(f"{where} holds a number that is too large") from None
    bad = np.isinf(numbers) if kind == "number or none" else ~np.isfinite(numbers)
    if bad.any():
        raise Error(
            f"{where}: {int(bad.sum())} values are not finite, the first in row {int(bad.argmax())}; "
            "a measure without an answer must not be written"
        )
    if kind == "whole":
        if np.abs(numbers).max() >= 2**63:
            raise Error(f"{where} holds a number that is too large")
        return cells.astype(np.int64)
    return numbers


def _all_text(column: pd.Series, kind: Kind) -> bool:
    """Whether all cells are texts, looked at once for each that differs."""
    try:
        for cell in column.unique():
            text(cell, "cell", empty=kind == "text")
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


def _cell(cell: object, kind: Kind, where: str) -> None:
    if kind == "truth":
        if not isinstance(cell, bool):
            raise Error(f"{where} must be true or false, not {kind_of(cell)}")
        return
    if cell is None and kind != "whole":
        return  # a missing number: whether it may be missing is looked at afterwards
    whole = kind == "whole"
    if isinstance(cell, bool) or not isinstance(cell, int | float) or (whole and cell != cell // 1):
        raise Error(f"{where} must be a {'whole ' if whole else ''}number, not {kind_of(cell)}")
