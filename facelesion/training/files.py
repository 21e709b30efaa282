"""Files of a run appear whole or not at all: what a reader finds is the old one or the new one, never a part."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def write_whole(path: str | Path, content: bytes | str) -> Path:
    """Put a file in its place whole, or leave what was there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(unfinished, 0o644)  # mkstemp's files are for their owner alone
        os.replace(unfinished, path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    return path


def write_table(path: str | Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV, whole."""
    return write_whole(path, table.to_csv(index=False))


# Columns that are text whatever they look like: a hash of digits alone is no number, and "12e345678901" is none either.
_TEXT = ("lesion", "lesion_hash", "weights", "data", "people_seen")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote, hashes as they were."""
    import pandas

    return pandas.read_csv(path, dtype=dict.fromkeys(_TEXT, str))


def write_parquet(path: str | Path, table: pd.DataFrame) -> Path:
    """Write a table as parquet, whole."""
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return write_whole(path, content.getvalue())


def write_figure(path: str | Path, figure: Figure, dpi: int) -> Path:
    """Write a figure as PNG, whole."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi)
    return write_whole(path, picture.getvalue())
