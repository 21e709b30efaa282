"""The whole notebook, as it was and as it should have been: what each of its numbers comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
import torch

from facelesion.models import get
from facelesion.training import notebook as room
from facelesion.training import notebook_facts as facts
from facelesion.training import stages
from facelesion.training.classify import ClassifyConfig, ClassifyData
from facelesion.training.files import read_table
from facelesion.training.notebook_as_it_was import Copies
from facelesion.training.trials import Roles

# What every number has to name.
ORIGIN = ["lesion", "lesion_hash", "weights", "seed", "data", "people", "people_seen"]


@pytest.mark.slow
class TestAsItWas:
    def test_every_approach_is_tested_on_every_copy_in_every_run(self, as_it_was: Path) -> None:
        table = pandas.read_csv(as_it_was / "notebook.csv")
        # Five approaches were tested at all; all three together once.
        assert len(table) == 4 * 5 * 2 + 5 * 1 + 3 * 4 * 2 and set(table["approach"]) == set(facts.PRINTED)
        assert set(table["stimulus"]) == set(facts.STIMULI) and set(table["how"]) == {"as it was"}
        assert (as_it_was / "notebook.png").stat().st_size > 10_000

    def test_the_tests_depend_on_the_untrained_readout_and_not_on_training_or_lesion(
        self, as_it_was: Path, tiny: str, tmp_path: Path, run_notebook: Callable[..., int]
    ) -> None:
        table = (as_it_was / "notebook.csv").read_bytes()
        for name in ("other-training", "no-damage"):
            more = ["--learning_rate", "0.1"]
            if name == "no-damage":
                names = pandas.read_csv(as_it_was / "notebook.csv")["approach"]
                approaches = dict.fromkeys([name for name in names if "units of" not in name], [])
                more = ["--approaches", str(approaches)]
            assert run_notebook(tmp_path / name, "as_it_was.yaml", tiny, *more) == 0
            assert (tmp_path / name / "notebook.csv").read_bytes() == table

    def test_nearly_every_label_says_face(self, as_it_was: Path) -> None:
        tests = pandas.read_csv(as_it_was / "train-no-lesion" / "tests.csv")
        assert set(tests["pictures"]) == {8}
        labelled = tests["true_positive"] + tests["false_negative"]
        assert (labelled >= 7).all()

    def test_ablation_does_not_even_act_in_training(self, as_it_was: Path) -> None:
        trained_with = {
            name: get(str(as_it_was / f"train-{name}" / "weights.safetensors")).about["trained_with"]
            for name in ("ablation-1", "ablation-2", "noise")
        }
        assert trained_with["ablation-1"] == trained_with["ablation-2"] == "no lesion"
        assert "noise" in trained_with["noise"]

    def test_what_the_notebook_never_trained_is_not_trained_and_what_it_broke_off_is(
        self, as_it_was: Path
    ) -> None:
        trained = {path.parent.name for path in as_it_was.glob("*/weights.safetensors")}
        assert trained == {"train-no-lesion", "train-ablation-1", "train-ablation-2", "train-noise"}
        assert len(pandas.read_csv(as_it_was / "train-ablation-2" / "log.csv")) == 1

    def test_noise_on_eyebrows_eyes_and_nose_is_one_network_asked_again(self, as_it_was: Path) -> None:
        table = pandas.read_csv(as_it_was / "notebook.csv")
        seeds = table.groupby(["approach", "stimulus"])["seed"].nunique()
        one = [f"mask {feature}" for feature in ("eyebrows", "eyes", "nose")]
        assert [seeds["noise", stimulus] for stimulus in one] == [1, 1, 1]
        assert seeds["noise", "intact"] == seeds["noise", "mask mouth"] == seeds["dropout", "mask eyes"] == 2

    def test_only_the_undamaged_network_and_noise_get_a_nose_for_a_mouth(self, as_it_was: Path) -> None:
        table = pandas.read_csv(as_it_was / "notebook.csv").set_index(["approach", "stimulus"])["data"]
        same = {
            name: set(table[name, "mask mouth"]) == set(table[name, "mask nose"])
            for name in ("no lesion", "noise", "dropout", "ablation 1", "all three")
        }
        assert same == {
            "no lesion": True, "noise": True, "dropout": False, "ablation 1": False, "all three": False
        }  # fmt: skip

    def test_every_number_names_its_origin_and_says_that_no_lesion_acted(self, as_it_was: Path) -> None:
        table = pandas.read_csv(as_it_was / "notebook.csv")
        assert not table[ORIGIN].isna().any().any() and set(table["lesion"]) == {"none"}
        # The notebook's leak is in its trainings: the same people on both sides, and the result says so.
        leak = pandas.read_csv(as_it_was / "train-no-lesion" / "tests.csv")["people_seen"]
        assert leak.astype(str).str.contains("[1-9]").all()


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

    def test_every_number_names_its_origin(self, right: Path) -> None:
        table = read_table(right / "notebook.csv")
        assert not table[ORIGIN].isna().any().any()
        acted = table[table["how"] != "no lesion"]
        assert (acted["lesion"] != "none").all() and (acted["lesion_hash"].str.len() == 12).all()
        draws = acted[(acted["approach"] == "ablation 1") & (acted["how"] == "damaged")]
        assert (
            draws.groupby("run")["lesion_hash"].nunique().tolist() == [1, 1]
            and draws["lesion_hash"].nunique() == 2
        )
        trained = table[table["how"] == "trained with the damage"]
        for (task, approach), rows in trained.groupby(["task", "approach"]):
            stage = right / room.file_name(f"{task} {approach}")
            assert set(rows["weights"]) == {get(str(stage / "weights.safetensors")).weights}

    def test_nobody_who_is_tested_ever_trained_a_layer(self, right: Path) -> None:
        table = pandas.read_csv(right / "notebook.csv")
        asked = {
            task: set(part["shows"])
            for task, part in pandas.read_parquet(right / "answers.parquet").groupby("task")
        }
        files = sorted(right.glob("*/weights.safetensors"))
        taught = {path.parent.name: set(get(str(path)).about["people"]) for path in files}
        assert (
            taught["identification-noise"] and taught["detection-noise"] and not taught["detection-no-lesion"]
        )
        for name, people in taught.items():
            assert not people & asked[name.split("-")[0]]
        # The file of the network that this began with does not say whom it saw, and so the rows cannot.
        assert set(table["people_seen"].astype(str)) == {"unknown"}

    def test_a_condition_is_summed_up_over_its_draws(self, right: Path) -> None:
        whole, table = pandas.read_csv(right / "summary.csv"), pandas.read_csv(right / "notebook.csv")
        keys = ["task", "approach", "how", "stimulus"]
        means = table.groupby(keys)["accuracy"].mean()
        assert len(whole) == len(means)
        for row in whole.to_dict("records"):
            assert row["accuracy"] == pytest.approx(means[tuple(row[key] for key in keys)], abs=1e-6)
            assert row["low"] - 1e-9 <= row["accuracy"] <= row["high"] + 1e-9
        assert set(whole[whole["how"] == "damaged"]["draws"]) == {2}

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
        self, right: Path, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_notebook: Callable[..., int]
    ) -> None:
        learn = stages.learn

        def stopped(config: ClassifyConfig, *more: object) -> Path:
            if "noise" in config.run.folder:
                raise KeyboardInterrupt
            return learn(config, *more)  # type: ignore[arg-type]

        monkeypatch.setattr(stages, "learn", stopped)
        assert run_notebook(tmp_path / "run", "right.yaml", tiny, "--manipulated", "[conv5_3]") == 130
        monkeypatch.setattr(stages, "learn", learn)
        assert run_notebook(tmp_path / "run", "right.yaml", tiny, "--manipulated", "[conv5_3]") == 0
        assert (tmp_path / "run" / "notebook.csv").read_bytes() == (right / "notebook.csv").read_bytes()


def test_responsible_units_are_those_that_answer_most(tiny: str) -> None:
    from facelesion.data.facespace import FaceSpace

    subject, faces = get(tiny), FaceSpace.load().draw(4, 1, seed=3)
    found = room.responsible(subject, faces, "conv5_3")
    alone = room.Isolate("mouth", fill="blur")(faces.images.float() / 255, faces.landmarks)
    with torch.no_grad():
        maps = subject.module.features[:30](subject.preprocess(alone))  # type: ignore[index,operator]
    means = maps.mean((0, 2, 3))
    assert found["mouth"].tolist() == torch.nonzero(means >= 0.75 * means.max())[:, 0].tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--manipulated", "[conv9_9]"], "conv9_9"), (["--runs", "0"], "runs is 0"),
     (["--approaches", "{a: [{kind: Ablate, site: conv9_9}]}"], "conv9_9"),
     (["--by", "0.0"], "by is 0.0: units would be neither excited nor inhibited"),
     (["--by", "-3"], "by is -3.0"), (["--by", ".nan"], "by is nan"), (["--by", ".inf"], "by is inf"),
     (["--mistakes", "true"], "by is 3.0: with mistakes units are moved by nothing"),
     (["--practice_people", "1"], "practice_people is 1"),
     (["--practice_people", "9", "--tasks", "[detection]"], "practice_people is 9, but nobody is identified")],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_trained(
    words: list[str], message: str, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    run_notebook: Callable[..., int],
) -> None:
    assert run_notebook(tmp_path / "run", "right.yaml", tiny, *words) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not (tmp_path / "run").exists()


def copies(missed: float = 0.1) -> Copies:
    data = ClassifyData(people=10, pictures=5)
    return Copies.made(room.NotebookConfig(mistakes=True, data=data, missed=missed), 112)


def test_each_copy_of_the_notebooks_data_has_a_split_of_its_own() -> None:
    made = copies()
    splits = {name: made.split(name) for name in facts.STIMULI}
    for parts in splits.values():
        assert [len(parts[name]) for name in ("test", "validation", "train")] == [10, 4, 36]
        assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(50))
    assert len({tuple(parts["test"].tolist()) for parts in splits.values()}) == 5


def test_the_deficit_data_are_masked_eyes_alone_and_their_last_fifth_validates() -> None:
    made = copies()
    parts, eyes = made.deficit(0), made.split("mask eyes")
    assert [len(parts[name]) for name in ("train", "validation")] == [29, 7]
    taught = [*parts["train"].targets.tolist(), *parts["validation"].targets.tolist()]
    assert sorted(taught) == sorted(made.labels[eyes["train"]].tolist())
    assert len(made.deficit(20)["train"]) == 16


def test_where_no_face_was_found_masked_copies_show_the_photograph_before() -> None:
    made = copies()
    missed = torch.nonzero(made.labels == 0)[:, 0]
    assert len(missed) == 5
    rows = torch.arange(50)
    intact, masked = made.shown("intact", rows).pictures, made.shown("mask nose", rows).pictures
    for row in missed.tolist():
        before = max((each for each in range(row) if made.labels[each]), default=0)
        assert intact.names[row] == made.faces.names[row] and masked.names[row] == made.faces.names[before]
    found = made.labels.bool().nonzero()[:, 0].tolist()
    assert [masked.names[row] for row in found] == [intact.names[row] for row in found]


def test_practice_moves_layers_and_leaves_both_readouts_as_they_were(
    tiny: str, tmp_path: Path, run_notebook: Callable[..., int]
) -> None:
    """The tested people's readout, and the others', are what the healthy network learned, whatever is trained."""
    more = ["--tasks", "[identification]", "--manipulated", "[]"]
    approach = ["--approaches", "{noise: [{kind: Noise, site: conv4_2, std: 0.8, relative: true}]}"]
    assert run_notebook(tmp_path / "run", "right.yaml", tiny, *more, *approach) == 0
    healthy, trained = (
        get(str(tmp_path / "run" / name / "weights.safetensors"))
        for name in ("identification-no-lesion", "identification-noise")
    )
    assert torch.equal(healthy.extra["head.weight"], trained.extra["head.weight"])
    first = [each.module.state_dict()["features.0.weight"] for each in (healthy, trained)]
    assert not torch.equal(*first)
    assert trained.about["classes"] == healthy.about["classes"]
    assert (
        not set(trained.about["people"]) & set(healthy.about["classes"]) and len(trained.about["people"]) == 8
    )


def test_a_role_that_tests_nobody_has_no_origin_to_name() -> None:
    from facelesion.training.classify import facts_of

    assert facts_of(0, {}, Roles({}, ("a", "b"), "LFW"), "") == {}
