"""Injury and recovery: what is retrained, what is measured, and that a stopped run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas
import pytest
import torch

from facelesion.models import get
from facelesion.train import main
from facelesion.training import stages
from facelesion.training.classify import ClassifyConfig
from facelesion.training.files import read_table

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "configs" / "train" / "recovery.yaml")
SMALL = [
    "--data.people", "8", "--data.pictures", "5", "--readout_epochs", "2", "--epochs", "2",
    "--run.progress", "false", "--run.accelerator", "cpu",
]  # fmt: skip


def run(folder: Path, tiny: str, *more: str) -> int:
    return main(["--config", CONFIG, "--network", tiny, "--run.folder", str(folder), *SMALL, *more])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    folder = tmp_path_factory.mktemp("recovery") / "run"
    assert run(folder, tiny) == 0
    return folder


@pytest.mark.slow
class TestARun:
    def test_its_table_holds_every_injury_epoch_and_state(self, done: Path) -> None:
        table = pandas.read_csv(done / "recovery.csv")
        places = [(0, 0)] + [(injury, epoch) for injury in (1, 2) for epoch in (0, 1, 2)]
        for injury, epoch in places:
            rows = table[(table["injury"] == injury) & (table["epoch"] == epoch)]
            injured = ["damage in place", "damage taken away"] if injury else []
            assert sorted(rows["state"]) == [*injured, "never damaged"]
        assert set(table["pictures"]) == {8} and set(table["chance"]) == {1 / 8}
        assert table["accuracy"].between(0, 1).all()
        assert (done / "recovery.png").stat().st_size > 5_000

    def test_every_number_names_its_origin_and_intervals_are_over_people(self, done: Path) -> None:
        table = read_table(done / "recovery.csv")
        origin = ["lesion", "lesion_hash", "weights", "seed", "data", "people", "people_seen"]
        assert not table[origin].isna().any().any() and set(table["people"]) == {8}
        assert set(table[table["state"] == "damage in place"]["lesion"]) != {"none"}
        assert set(table[table["state"] != "damage in place"]["lesion"]) == {"none"}
        assert (table["low"] <= table["accuracy"]).all() and (table["accuracy"] <= table["high"]).all()
        # The weights are those of each epoch: of the healthy network before retraining, of others after.
        healthy = get(str(done / "0-healthy" / "weights.safetensors")).weights
        before = table[(table["injury"] == 1) & (table["epoch"] == 0)]["weights"]
        assert set(before) == {healthy}
        assert healthy not in set(table[(table["injury"] == 1) & (table["epoch"] > 0)]["weights"])

    def test_nobody_who_is_tested_retrained_the_network(self, done: Path) -> None:
        tested = set(get(str(done / "0-healthy" / "weights.safetensors")).about["classes"])
        for stage in ("1-injured", "2-injured", "1-sham", "2-sham"):
            taught = set(get(str(done / stage / "weights.safetensors")).about["people"])
            assert len(taught) == 8 and not taught & tested

    def test_the_readout_is_learned_first_and_the_network_stays_as_it_was(
        self, done: Path, tiny: str
    ) -> None:
        healthy, before = get(str(done / "0-healthy" / "weights.safetensors")), get(tiny)
        for one, other in zip(healthy.module.parameters(), before.module.parameters(), strict=True):
            assert torch.equal(one, other)
        assert healthy.extra["head.weight"].shape[0] == 8

    def test_each_stage_begins_where_the_last_one_ended_and_keeps_the_earlier_damage(
        self, done: Path
    ) -> None:
        stages = [
            get(str(done / name / "weights.safetensors")) for name in ("0-healthy", "1-injured", "2-injured")
        ]
        for before, after in zip(stages, stages[1:], strict=False):
            assert after.about["started_from"] == before.weights
        assert stages[2].about["trained_with"].count("seed 1") == 2
        assert stages[2].about["trained_with"].count("seed 2") == 2

    def test_the_sham_twin_is_trained_as_often_and_never_damaged(self, done: Path) -> None:
        shams = [get(str(done / name / "weights.safetensors")) for name in ("1-sham", "2-sham")]
        assert {sham.about["trained_with"] for sham in shams} == {"no lesion"}
        assert shams[1].about["started_from"] == shams[0].weights
        for stage in ("1", "2"):
            logs = [pandas.read_csv(done / f"{stage}-{kind}" / "log.csv") for kind in ("injured", "sham")]
            assert logs[0]["epoch"].tolist() == logs[1]["epoch"].tolist()
        assert shams[1].weights != get(str(done / "0-healthy" / "weights.safetensors")).weights

    def test_a_sham_lesion_leaves_frozen_what_the_real_one_does(
        self, done: Path, tiny: str, tmp_path: Path
    ) -> None:
        assert run(tmp_path / "run", tiny, "--trained", "after_lesion", "--epochs", "1") == 0
        healthy, sham = (
            get(str(tmp_path / "run" / name / "weights.safetensors")).module.state_dict()
            for name in ("0-healthy", "1-sham")
        )
        changed = {name for name in healthy if not torch.equal(healthy[name], sham[name])}
        assert changed and min(int(name.split(".")[1]) for name in changed) > 21  # conv4_3 is features.21

    def test_the_same_command_again_does_nothing_twice_and_gives_the_same_table(
        self, done: Path, tiny: str
    ) -> None:
        table = (done / "recovery.csv").read_bytes()
        times = {path: path.stat().st_mtime_ns for path in done.rglob("weights.safetensors")}
        assert run(done, tiny) == 0
        assert (done / "recovery.csv").read_bytes() == table
        assert {path: path.stat().st_mtime_ns for path in done.rglob("weights.safetensors")} == times

    def test_a_run_that_was_stopped_goes_on_and_ends_the_same(
        self, done: Path, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "run"
        learn = stages.learn

        def stopped(config: ClassifyConfig, *more: object) -> Path:
            if config.run.folder.endswith("2-injured"):
                raise KeyboardInterrupt
            return learn(config, *more)  # type: ignore[arg-type]

        monkeypatch.setattr(stages, "learn", stopped)
        assert run(folder, tiny) == 130
        monkeypatch.setattr(stages, "learn", learn)
        # As if the first injury had been stopped too, between its last checkpoint and its weights.
        (folder / "1-injured" / "weights.safetensors").unlink()
        assert run(folder, tiny) == 0
        assert (folder / "recovery.csv").read_bytes() == (done / "recovery.csv").read_bytes()

    def test_other_settings_in_the_same_folder_are_refused(
        self, done: Path, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "run"
        shutil.copytree(done, folder)
        assert run(folder, tiny, "--seed", "5") == 2
        assert "other settings" in capsys.readouterr().err
        assert (folder / "recovery.csv").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--injuries", "[]"], "injuries is empty"),
        (["--injuries", "[[]]"], "injuries is empty"),
        (["--injuries", "[[{kind: Abalate, site: conv4_3}]]"], "Abalate"),
        (["--injuries", "[[{kind: Ablate, site: conv9_9, fraction: 0.1}]]"], "conv9_9"),
        (["--network", "mobilefacenet"], "mobilefacenet"),
        (["--practice_people", "1"], "practice_people is 1"),
        (["--practice_people", "-5"], "practice_people is -5"),
        (["--practice_people", "5", "--trained", "head"], "practice_people is 5, but trained is head"),
        (["--practice_people", "5", "--task", "detection"], "practice_people is 5, but task is detection"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_trained(
    words: list[str], message: str, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "run", tiny, *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list((tmp_path / "run").rglob("weights.safetensors"))


@pytest.mark.slow
def test_retraining_by_the_tested_people_themselves_says_so(tiny: str, tmp_path: Path) -> None:
    more = ["--practice_people", "0", "--network", "untrained", "--injuries"]
    injury = "[[{kind: Ablate, site: conv4_3, fraction: 0.3}]]"
    assert run(tmp_path / "run", tiny, *more, injury, "--epochs", "1", "--readout_epochs", "1") == 0
    table = pandas.read_csv(tmp_path / "run" / "recovery.csv")
    seen = table.groupby(["injury", "epoch"])["people_seen"].unique()
    assert seen[0, 0].tolist() == seen[1, 0].tolist() == [0] and seen[1, 1].tolist() == [8]
