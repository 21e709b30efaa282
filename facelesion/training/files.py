"""Files of a run appear whole or not at all: what a reader finds is the old one or the new one, never a part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facelesion.files import write_bytes, write_whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def write_table(path: str | Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV, whole."""
    return write_bytes(path, table.to_csv(index=False).encode())


# Columns that are text whatever they look like: a hash of digits alone is no number, and "12e345678901" is none either.
_TEXT = ("lesion", "lesion_hash", "weights", "data", "people_seen")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote, hashes as they were."""
    import pandas

    return pandas.read_csv(path, dtype=dict.fromkeys(_TEXT, str))


def write_parquet(path: str | Path, table: pd.DataFrame) -> Path:
    """Write a table as parquet, whole."""
    return write_whole(path, lambda file: table.to_parquet(file, index=False))


def write_figure(path: str | Path, figure: Figure, dpi: int) -> Path:
    """Write a figure as PNG, whole."""
    return write_whole(path, lambda file: figure.savefig(file, format="png", dpi=dpi))
