"""The whole notebook, as it was and as it should have been: what each of its numbers comes from."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest
import torch

from facelesion.models import get
from facelesion.train import main
from facelesion.training import notebook as room

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "notebook"
SMALL = [
    "--runs", "2", "--data.people", "8", "--data.pictures", "5", "--data.keep", "20", "--epochs", "1",
    "--damaged_epochs", "1", "--run.progress", "false", "--run.accelerator", "cpu",
]  # fmt: skip


def run(folder: Path, config: str, network: str, *more: str) -> int:
    words = ["--config", str(CONFIGS / config), "--network", network, "--run.folder", str(folder)]
    return main([*words, *SMALL, *more])


@pytest.fixture(scope="module")
def as_it_was(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    folder = tmp_path_factory.mktemp("notebook") / "run"
    assert run(folder, "as_it_was.yaml", tiny) == 0
    return folder


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    folder = tmp_path_factory.mktemp("notebook") / "run"
    assert run(folder, "right.yaml", tiny, "--manipulated", "[conv5_3]") == 0
    return folder


@pytest.mark.slow
class TestAsItWas:
    def test_every_approach_is_tested_on_every_copy_in_every_run(self, as_it_was: Path) -> None:
        table = pandas.read_csv(as_it_was / "notebook.csv")
        assert len(table) == 6 * 5 * 2 + 3 * 4 * 2 and set(table["approach"]) > set(room.PRINTED)
        assert set(table["stimulus"]) == set(room.STIMULI) and set(table["how"]) == {"as it was"}
        assert (as_it_was / "notebook.png").stat().st_size > 10_000

    def test_the_tests_depend_on_the_untrained_readout_and_not_on_training_or_lesion(
        self, as_it_was: Path, tiny: str, tmp_path: Path
    ) -> None:
        table = (as_it_was / "notebook.csv").read_bytes()
        for name in ("other-training", "no-damage"):
            more = ["--learning_rate", "0.1"]
            if name == "no-damage":
                names = pandas.read_csv(as_it_was / "notebook.csv")["approach"]
                approaches = dict.fromkeys([name for name in names if "units of" not in name], [])
                more = ["--approaches", str(approaches)]
            assert run(tmp_path / name, "as_it_was.yaml", tiny, *more) == 0
            assert (tmp_path / name / "notebook.csv").read_bytes() == table

    def test_nearly_every_label_says_face(self, as_it_was: Path) -> None:
        tests = pandas.read_csv(as_it_was / "train-no-lesion" / "tests.csv")
        assert set(tests["pictures"]) == {8}
        labelled = tests["true_positive"] + tests["false_negative"]
        assert (labelled >= 7).all()

    def test_ablation_does_not_even_act_in_training(self, as_it_was: Path) -> None:
        trained_with = {
            name: get(str(as_it_was / f"train-{name}" / "weights.safetensors")).about["trained_with"]
            for name in ("ablation-1", "noise", "all-three")
        }
        assert trained_with["ablation-1"] == "no lesion" and "noise" in trained_with["noise"]
        assert "ablate" not in trained_with["all-three"]


@pytest.mark.slow
class TestRight:
    def test_every_damage_is_tested_as_it_is_and_after_training_with_it(self, right: Path) -> None:
        table = pandas.read_csv(right / "notebook.csv")
        damages = table[table["how"].isin(["damaged", "trained with the damage"])]
        counts = damages.groupby(["task", "approach", "how", "stimulus"]).size()
        assert len(counts) == 2 * 5 * 2 * 5
        assert set(counts.xs("damaged", level="how")) == {2}
        assert set(counts.xs("trained with the damage", level="how")) == {1}
        assert set(table[table["task"] == "identification"]["chance"]) == {1 / 8}

    def test_lesions_act_and_the_readout_is_the_healthy_one(self, right: Path) -> None:
        healthy = get(str(right / "detection-no-lesion" / "weights.safetensors"))
        damaged = get(str(right / "detection-ablation-1" / "weights.safetensors"))
        assert damaged.about["started_from"] == healthy.weights and "50%" in damaged.about["trained_with"]

    def test_the_healthy_rows_are_those_of_its_own_training(self, right: Path) -> None:
        table = pandas.read_csv(right / "notebook.csv")
        for task in ("identification", "detection"):
            rows = table[(table["task"] == task) & (table["how"] == "no lesion")]
            tests = pandas.read_csv(right / f"{task}-no-lesion" / "tests.csv")
            assert rows["accuracy"].tolist() == pytest.approx(tests["accuracy"].tolist())

    def test_manipulated_units_have_controls_of_the_same_number(self, right: Path) -> None:
        table = pandas.read_csv(right / "notebook.csv")
        rows = table[table["approach"].str.startswith("conv5_3: ")]
        counts = rows.groupby(["task", "approach"])["how"].value_counts()
        assert len(counts) == 2 * 4 * 2 * 2
        assert set(counts.xs("responsible units", level="how")) == {1}
        assert set(counts.xs("as many other units", level="how")) == {2}
        assert (right / "manipulated.png").stat().st_size > 10_000

    def test_a_run_that_was_stopped_goes_on_and_ends_the_same(
        self, right: Path, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        classify = room.classify

        def stopped(config: room.ClassifyConfig) -> Path:
            if "noise" in config.run.folder:
                raise KeyboardInterrupt
            return classify(config)

        monkeypatch.setattr(room, "classify", stopped)
        assert run(tmp_path / "run", "right.yaml", tiny, "--manipulated", "[conv5_3]") == 130
        monkeypatch.setattr(room, "classify", classify)
        assert run(tmp_path / "run", "right.yaml", tiny, "--manipulated", "[conv5_3]") == 0
        assert (tmp_path / "run" / "notebook.csv").read_bytes() == (right / "notebook.csv").read_bytes()


def test_responsible_units_are_those_that_answer_most(tiny: str) -> None:
    from facelesion.data.facespace import FaceSpace

    subject, faces = get(tiny), FaceSpace.load().draw(4, 1, seed=3)
    found = room.responsible(subject, faces, "conv5_3")
    alone = room.Stimulus.from_dict("isolate mouth")(faces.images.float() / 255, faces.landmarks)
    with torch.no_grad():
        maps = subject.module.features[:30](subject.preprocess(alone))  # type: ignore[index,operator]
    means = maps.mean((0, 2, 3))
    assert found["mouth"].tolist() == torch.nonzero(means >= 0.75 * means.max())[:, 0].tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--manipulated", "[conv9_9]"], "conv9_9"), (["--runs", "0"], "runs is 0"),
     (["--approaches", "{a: [{kind: Ablate, site: conv9_9}]}"], "conv9_9")],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_trained(
    words: list[str], message: str, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "run", "right.yaml", tiny, *words) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not (tmp_path / "run").exists()
