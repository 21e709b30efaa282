"""A study's trials on disk, read in part: the same rows as by a plain read, and little memory besides them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from facelesion.study.table import read_some

COLUMNS = ["lesion", "stimulus", "answer", "dose", "trial", "right"]


def cell(number: int, rows: int = 50) -> pd.DataFrame:
    """A cell's trials: some lesions are of all cells and some of one alone, and so are answers."""
    rng = np.random.default_rng(number)
    return pd.DataFrame(
        {
            "lesion": rng.choice(["none", f"noise {number}"], rows),
            "stimulus": ["intact", "invert"][number % 2],
            "answer": rng.choice(["Ada", "Bo", f"only {number}"], rows),
            "dose": rng.random(rows),
            "trial": np.arange(rows, dtype=np.int32),
            "right": rng.random(rows) > 0.5,
        }
    ).astype({"lesion": "category", "stimulus": "category", "answer": "category"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Five cells, one after the other, each with categories of its own."""
    path = tmp_path / "trials.parquet"
    cells = [pa.Table.from_pandas(cell(number)) for number in range(5)]
    with parquet.ParquetWriter(path, cells[0].schema) as writer:
        for each in cells:
            writer.write_table(each.cast(cells[0].schema))
    return path


@pytest.mark.parametrize(
    "of",
    [
        {"lesion": ["none"]},
        {"lesion": ["none", "noise 3"], "stimulus": ["invert"]},
        {"stimulus": ["intact"], "answer": ["only 2", "only 4"]},
        {"lesion": ["there is none such"]},
    ],
)
def test_some_trials_are_those_of_a_plain_read(file, of):
    plain = pd.read_parquet(file)
    for name, texts in of.items():
        plain = plain[plain[name].isin(texts)]
    found = read_some(file, COLUMNS, of)
    pd.testing.assert_frame_equal(
        found, plain.reset_index(drop=True), check_dtype=False, check_categorical=False, check_column_type=False
    )
    assert [str(found[name].dtype) for name in COLUMNS] == ["category"] * 3 + ["float64", "int32", "bool"]


def test_a_column_may_choose_and_not_be_read(file):
    found = read_some(file, ["trial"], {"lesion": ["noise 1"]})
    plain = pd.read_parquet(file)
    assert list(found) == ["trial"]
    assert found["trial"].tolist() == plain["trial"][plain["lesion"] == "noise 1"].tolist()
