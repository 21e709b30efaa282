"""Files of a run are whole: one that is written while the program is stopped is the old one."""

from __future__ import annotations

import re
from pathlib import Path

import pandas
import pytest

from facelesion.training import files

ROOM = Path(files.__file__).parent


def test_a_file_whose_writing_fails_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        files.write_table(target, pandas.DataFrame({"a": [1]}))
    assert target.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_hash_that_looks_like_a_number_stays_a_hash(tmp_path: Path) -> None:
    hashes = ["012916398514", "129163985140"], ["12e345678901", "1e5"]
    table = pandas.DataFrame({"weights": hashes[0], "data": hashes[1], "accuracy": [0.5, 1.0]})
    read = files.read_table(files.write_table(tmp_path / "table.csv", table))
    assert (read["weights"].tolist(), read["data"].tolist()) == hashes and read["accuracy"].tolist() == [
        0.5,
        1.0,
    ]


def test_no_recipe_writes_a_file_in_place() -> None:
    """Only `files.py` opens a file for writing; Lightning writes its checkpoints, whole, itself."""
    writes = re.compile(r"\.(to_csv|to_parquet|savefig|write_text|write_bytes)\(|open\(.*[\"']w")
    wrong = [
        f"{path.name}: {line.strip()}"
        for path in sorted(ROOM.glob("*.py"))
        if path.name != "files.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if writes.search(line)
    ]
    assert not wrong
