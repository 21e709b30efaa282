"""Trials are read piece by piece and held to their columns, however large the file."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from facelesion.errors import Error
from facelesion.report import tables
from facelesion.report.columns import TRIAL_COLUMNS, VERSION


def trials_of(conditions: int = 6, trials: int = 50, **changes) -> pd.DataFrame:
    """Made-up trials: three lesions under two stimuli and more draws the more conditions there are."""
    rows = np.arange(conditions * trials)
    condition, trial = rows // trials, rows % trials
    frame = pd.DataFrame(
        {
            "participant": "mine",
            "lesion": np.array(["none", "noise", "ablation"])[condition % 3],
            "dose": condition % 3 * 0.1,
            "draw": condition // 6,
            "control": "",
            "stimulus": np.array(["intact", "mask eyes"])[condition // 3 % 2],
            "task": "identification",
            "trial": trial,
            "section": "",
            "item": [f"picture {number}" for number in trial],
            "person": [f"person {number // 2}" for number in trial],
            "other": "",
            "target": [f"person {number // 2}" for number in trial],
            "answer": "person 0",
            "value": np.sin(rows).astype(np.float32),
            "right": rows % 2 == 0,
            "forced_choice": (rows % 3 / 2).astype(np.float32),
        }
    )
    return frame.assign(**changes)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(tables, "PIECE", 37)


def stored(tmp_path, frame, **options):
    path = tmp_path / "trials.parquet"
    frame.to_parquet(path, index=False, **options)
    return path


def test_pieces_are_the_whole_in_order_and_conditions_are_counted(tmp_path, small_pieces):
    frame = trials_of()
    file = tables.TrialFile(stored(tmp_path, frame))
    pieces = list(file.pieces())
    assert len(pieces) > 5 and max(map(len, pieces)) <= 37 and file.rows == len(frame)
    pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), frame[list(TRIAL_COLUMNS)])
    naive = frame.groupby(list(tables.CONDITION)).size().to_dict()
    assert file.counts == naive and set(naive.values()) == {50}


def test_only_the_trials_under_one_stimulus_are_kept(tmp_path, small_pieces):
    frame = trials_of().astype({"lesion": "category", "stimulus": "category", "item": "category"})
    found = tables.read_trials(stored(tmp_path, frame), "intact")
    wanted = frame[frame.stimulus == "intact"].reset_index(drop=True)
    assert found.astype(str).equals(wanted.astype(str)) and found["lesion"].dtype == object
    assert tables.read_trials(tmp_path / "trials.parquet", "invert").empty


def test_a_trial_that_is_there_twice_is_found_however_far_apart(tmp_path, small_pieces):
    frame = trials_of()
    path = stored(tmp_path, pd.concat([frame, frame.iloc[[61]]]))
    with pytest.raises(Error, match=r"1 trials are there twice, the first: noise 0.1, .*, trial 11"):
        list(tables.TrialFile(path).pieces())


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [("value", np.nan, "column value: 1 values are not finite, the first in row 130"), ("trial", -1, "column trial"),
     ("trial", 2**31, "column trial"), ("value", np.inf, "not finite")],
)  # fmt: skip
def test_a_cell_that_cannot_be_is_told_by_its_row_in_the_file(tmp_path, small_pieces, column, cell, said):
    frame = trials_of()
    frame[column] = frame[column].astype("int64" if column == "trial" else "float64")
    frame.loc[130, column] = cell
    with pytest.raises(Error, match=said):
        list(tables.TrialFile(stored(tmp_path, frame)).pieces())


def test_a_file_of_another_version_is_refused(tmp_path):
    table = pa.Table.from_pandas(trials_of())
    for version, fits in ((VERSION, True), (1, False), (VERSION + 1, False)):
        path = tmp_path / f"{version}.parquet"
        parquet.write_table(
            table.replace_schema_metadata({"facelesion": json.dumps({"version": version})}), path
        )
        if fits:
            assert tables.TrialFile(path).rows == len(table)
        else:
            with pytest.raises(Error, match=f"version {version}"):
                tables.TrialFile(path)


def test_tables_of_the_first_version_are_told_in_one_line():
    old = trials_of().rename(columns={"participant": "model", "lesion": "approach"})
    with pytest.raises(Error, match="lacks participant, lesion.*version 1.*run the study again"):
        tables.check_trials(old)


def test_no_trials_at_all_are_refused(tmp_path):
    with pytest.raises(Error, match="no rows"):
        list(tables.TrialFile(stored(tmp_path, trials_of().iloc[:0])).pieces())
