"""The run folder gives back what was put in, and refuses what a report could not be trusted with."""

import numpy as np
import pandas as pd
import pytest

from facelesion.errors import Error
from facelesion.report import TABLE_COLUMNS, run_folder


def test_what_is_written_is_read_back(run, table, arrays, manifest):
    found = run_folder.read_run(run)
    pd.testing.assert_frame_equal(found.table, table[list(TABLE_COLUMNS)])
    assert found.manifest == manifest
    assert found.config["lesions"]["noise"] == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert found.stimuli.names == arrays["stimuli"][0]
    assert np.array_equal(found.stimuli.images, arrays["stimuli"][1])
    assert len(found.confusions) == 4
    for read, written in zip(found.confusions, arrays["confusions"], strict=True):
        assert (read.task, read.condition, read.labels) == (written.task, written.condition, written.labels)
        assert np.array_equal(read.matrix, written.matrix)
    assert found.gradcam.layers == arrays["gradcam"].layers
    assert np.allclose(found.gradcam.heat, arrays["gradcam"].heat, atol=1e-3)
    assert {"epoch", "train_loss", "val_loss"} <= set(found.training.columns)


def test_only_table_config_and_manifest_are_needed(tmp_path, table, manifest):
    run_folder.write_config(tmp_path, {})
    run_folder.write_table(tmp_path, table)
    run_folder.write_manifest(tmp_path, manifest)
    found = run_folder.read_run(tmp_path)
    assert found.stimuli is None and found.gradcam is None and found.training is None
    assert found.confusions == ()


@pytest.mark.parametrize("name", [run_folder.CONFIG, run_folder.TABLE, run_folder.MANIFEST])
def test_a_missing_main_file_is_named(run, name):
    (run / name).unlink()
    with pytest.raises(Error, match=name):
        run_folder.read_run(run)


def test_a_table_without_a_column_is_refused(tmp_path, table):
    with pytest.raises(Error, match="chance"):
        run_folder.write_table(tmp_path, table.drop(columns="chance"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(tmp_path, table, value):
    broken = table.copy()
    broken.loc[3, "value"] = value
    with pytest.raises(Error, match="not finite"):
        run_folder.write_table(tmp_path, broken)


def test_the_same_condition_twice_is_refused(tmp_path, table):
    with pytest.raises(Error, match="twice"):
        run_folder.write_table(tmp_path, pd.concat([table, table.iloc[[5]]]))


def test_an_empty_table_is_refused(tmp_path, table):
    with pytest.raises(Error, match="no rows"):
        run_folder.write_table(tmp_path, table.iloc[:0])


def test_a_write_that_fails_leaves_the_old_file_and_no_scraps(tmp_path, monkeypatch, table, manifest):
    run_folder.write_table(tmp_path, table)
    before = (tmp_path / run_folder.TABLE).read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
    with pytest.raises(OSError):
        run_folder.write_table(tmp_path, table.iloc[:10])
    assert [path.name for path in tmp_path.iterdir()] == [run_folder.TABLE]
    assert (tmp_path / run_folder.TABLE).read_bytes() == before


def test_settings_of_other_types_become_plain(tmp_path):
    import yaml

    path = run_folder.write_config(
        tmp_path, {"root": tmp_path, "doses": (np.float32(0.5), np.int64(2)), "none": None}
    )
    assert yaml.safe_load(path.read_text()) == {"root": str(tmp_path), "doses": [0.5, 2], "none": None}


def test_arrays_of_the_wrong_shape_are_refused(tmp_path, arrays):
    names, images = arrays["stimuli"]
    with pytest.raises(Error, match="uint8 RGB"):
        run_folder.write_stimuli(tmp_path, names[:-1], images)
    with pytest.raises(Error, match="uint8 RGB"):
        run_folder.write_stimuli(tmp_path, names, images / 255)
    with pytest.raises(Error, match="labels"):
        run_folder.Confusion("detection", "intact", np.zeros((2, 2)), ("face",))
    with pytest.raises(Error, match="conditions, layers"):
        run_folder.GradCamMaps(("intact",), ("conv1_1",), np.zeros((2, 1, 112, 112)), images[0])
