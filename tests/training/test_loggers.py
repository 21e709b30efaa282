"""Any of Lightning's loggers is told how a training goes, by its name in the settings."""

from __future__ import annotations

import importlib.util
import sqlite3
from pathlib import Path

import pandas
import pytest

from facelesion.train import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--data.people", "8", "--data.pictures", "4", "--data.stimuli", "[intact]", "--data.tests", "[intact]",
    "--epochs", "2", "--run.progress", "false", "--run.accelerator", "cpu", "--trained", "head",
]  # fmt: skip


@pytest.fixture
def train(tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def trained(loggers: str, *more: str) -> int:
        config = tmp_path / "mine.yaml"
        text = (ROOT / "configs" / "notebook" / "healthy.yaml").read_text()
        config.write_text(text.replace("\nrun:\n", f"\nrun:\n  loggers: {loggers}\n"))
        return main(["--config", str(config), *SMALL, "--network", tiny, "--run.folder", "run", *more])

    return trained


def test_a_csv_logger_writes_into_the_run_s_folder(train, tmp_path):
    assert train("[csv]") == 0
    told = pandas.read_csv(tmp_path / "run" / "csv" / "metrics.csv")
    own = pandas.read_csv(tmp_path / "run" / "log.csv")
    assert told["val_loss"].dropna().tolist() == pytest.approx(own["val_loss"].tolist(), rel=1e-4)
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_nobody_is_told_where_the_list_is_empty(train, tmp_path):
    assert train("[]") == 0
    assert (tmp_path / "run" / "log.csv").is_file() and not (tmp_path / "run" / "tensorboard").exists()


def test_several_are_told_each_with_its_settings(train, tmp_path):
    pytest.importorskip("tensorboard")
    assert train("[tensorboard, {kind: csv, name: other, version: 3}]") == 0
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    assert (tmp_path / "run" / "other" / "version_3" / "metrics.csv").is_file()


@pytest.mark.slow
def test_weights_and_biases_is_told_offline(train, tmp_path):
    pytest.importorskip("wandb", reason="W&B is not installed: pip install wandb")
    assert train("[{kind: wandb, project: faces, offline: true}]") == 0
    (kept,) = (tmp_path / "run" / "wandb").rglob("*.wandb")
    assert b"val_loss" in kept.read_bytes()
    import wandb

    assert wandb.run is None  # ended: the next training is another run


@pytest.mark.slow
def test_mlflow_is_told_in_a_file(train, tmp_path):
    for package in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(package, reason="MLflow is not installed: pip install mlflow")
    assert train("[{kind: mlflow, experiment_name: faces}]") == 0
    own = pandas.read_csv(tmp_path / "run" / "log.csv")
    with sqlite3.connect(tmp_path / "run" / "mlflow.db") as kept:
        told = kept.execute("select value from metrics where key = 'val_loss' order by step").fetchall()
    assert [value for (value,) in told] == pytest.approx(own["val_loss"].tolist())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[tensorbord]", "loggers.0 is 'tensorbord', no logger of Lightning's: did you mean 'tensorboard'"),
        ("[csv, {kind: csv, flush: 3}]", "loggers.1.flush is no setting of csv"),
        ("[{kind: mlflow, tracking_uri: 'no://where'}]", "run.loggers.0: mlflow cannot begin"),
    ],
)
def test_a_wrong_logger_is_one_line(train, capsys, given, said):
    if "mlflow" in given and importlib.util.find_spec("mlflow") is None:
        pytest.skip("MLflow is not installed: pip install mlflow-skinny")
    assert train(given) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_a_logger_whose_package_is_absent_is_one_line(absent, tmp_path, capsys, train, monkeypatch):
    absent("comet_ml")
    assert train("[comet]") == 2
    assert capsys.readouterr().err == (
        "facelesion: error: run.loggers.0: comet needs comet-ml, which is not installed: pip install comet-ml\n"
    )


def test_a_run_goes_on_whoever_is_told(train, tmp_path):
    assert train("[csv]", "--trained", "everything") == 0
    assert train("[]", "--trained", "everything", "--epochs", "3", "--run.resume", "true") == 0
    assert pandas.read_csv(tmp_path / "run" / "log.csv")["epoch"].tolist() == [0, 1, 2]
