"""Who trains and who is tested in the training recipes: LFW's lists are kept to, and files say whom they saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas
import pytest
import torch

from facelesion.data import FaceSet, ImageSet
from facelesion.data.facespace import FaceSpace
from facelesion.errors import Error
from facelesion.models import get
from facelesion.train import main
from facelesion.training import trials as room
from facelesion.training.classify import ClassifyConfig, ClassifyData
from facelesion.training.files import read_table
from facelesion.training.trials import practice_of, trials_of
from facelesion.weights import store

ROOT = Path(__file__).resolve().parents[2]
TRAINING, TESTED = [f"Train_{i:02d}" for i in range(14)], [f"Test_{i:02d}" for i in range(8)]


@pytest.fixture
def lfw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder like LFW whose training people have most photographs, with its lists; faces are made up."""
    people = {name: 7 for name in TRAINING} | {name: 5 for name in TESTED}
    labels = tuple(name for name, count in people.items() for _ in range(count))
    names = tuple(f"{name}/{name}_{i + 1:04d}.jpg" for name, count in people.items() for i in range(count))
    for name in people:
        (tmp_path / "lfw" / name).mkdir(parents=True)
        (tmp_path / "lfw" / name / f"{name}_0001.jpg").touch()
    for part, some in (("Train", TRAINING), ("Test", TESTED)):
        lines = [str(len(some)), *(f"{name}\t{people[name]}" for name in some)]
        (tmp_path / f"peopleDev{part}.txt").write_text("\n".join(lines) + "\n")
    drawn = FaceSpace.load().draw(len(labels), 1, seed=77)
    faces = FaceSet(drawn.images, labels, names, drawn.landmarks)
    monkeypatch.setattr(room, "aligned_photographs", lambda *_: faces)
    return str(tmp_path / "lfw")


def config(root: str, task: str = "identification", **data: object) -> ClassifyConfig:
    return ClassifyConfig(task=task, data=ClassifyData(source="lfw", root=root, **data))  # type: ignore[arg-type]


def test_who_is_identified_is_from_the_test_list_however_few_photographs_they_have(lfw: str) -> None:
    roles = trials_of(config(lfw, people=8, pictures=5), 112)
    assert set(roles.classes) == set(TESTED) == set(roles.people("train", "validation", "test"))
    with pytest.raises(Error, match="9 people are asked for, but there are only 8"):
        trials_of(config(lfw, people=9, pictures=5), 112)


def test_detection_learns_from_the_training_list_and_is_tested_on_the_test_list(lfw: str) -> None:
    roles = trials_of(config(lfw, "detection", people=15, pictures=2), 112)
    assert set(roles.people("train", "validation")) <= set(TRAINING) and set(roles.people("test")) <= set(
        TESTED
    )
    assert len(roles.people("test")) == 3 and len(roles.people("train", "validation")) == 12
    assert not set(roles.people("train")) & set(roles.people("validation"))


def test_practice_is_with_training_people_and_has_no_test(lfw: str) -> None:
    roles = practice_of(config(lfw, people=8, pictures=5), 112, 10)
    assert set(roles.people("train", "validation")) <= set(TRAINING) and len(roles.classes) == 10
    assert set(roles.parts) == {"train", "validation"}
    made_up = ClassifyConfig(task="identification", data=ClassifyData(people=4, pictures=4))
    practice = practice_of(made_up, 112, 6)
    assert len(practice.classes) == 6
    assert not set(practice.classes) & set(trials_of(made_up, 112).classes)


def test_all_people_together_are_none_that_a_network_was_trained_on(lfw: str) -> None:
    faces, _ = room.faces_of(config(lfw, people=8, pictures=3).data, 112, 0)
    assert set(faces.labels) == set(TESTED)


def words(root: str, folder: Path, network: str, *more: str) -> list[str]:
    return [
        "--recipe", "classify", "--network", network, "--task", "identification", "--data.source", "lfw",
        "--data.root", root, "--data.people", "8", "--data.pictures", "5", "--data.tests", "[intact]", "--epochs", "1",
        "--run.folder", str(folder), "--run.progress", "false", "--run.accelerator", "cpu", *more,
    ]  # fmt: skip


def test_a_network_that_saw_the_people_to_be_tested_is_refused_or_its_results_say_so(
    lfw: str, tmp_path: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, about = store.read_weights(tiny)
    seen = str(tmp_path / "seen.safetensors")
    store.save_weights(seen, tensors, about | {"trained_on": "nothing", "people": ["Test_03", "Somebody"]})
    assert main(words(lfw, tmp_path / "run", seen)) == 2
    told = capsys.readouterr().err
    assert "pictures of 1 of the 8 people to be tested (such as Test_03)" in told and told.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert main(words(lfw, tmp_path / "run", seen, "--data.seen", "say", "--trained", "head")) == 0
    assert pandas.read_csv(tmp_path / "run" / "tests.csv")["people_seen"].tolist() == [1]


def test_a_file_says_who_trained_its_layers_and_every_score_names_its_origin(
    lfw: str, tmp_path: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(lfw, tmp_path / "head", tiny, "--trained", "head")) == 0
    assert get(str(tmp_path / "head" / "weights.safetensors")).about["people"] == []
    lesion = "[{kind: Ablate, site: conv4_3, fraction: 0.5}]"
    assert main(words(lfw, tmp_path / "all", "untrained", "--lesion", lesion)) == 0
    trained = get(str(tmp_path / "all" / "weights.safetensors"))
    assert trained.about["people"] == sorted(TESTED)
    assert trained.about["trained_on"] == "nothing, then 8 people of LFW"
    tests = read_table(tmp_path / "all" / "tests.csv")
    assert set(tests["people_seen"]) == {"8"} and set(tests["weights"]) == {trained.weights}
    assert tests["lesion"].tolist() == ["none", "ablate 50% of conv4_3 (seed 0)"] and set(tests["seed"]) == {
        0
    }
    assert tests["data"].nunique() == 1 and tests["lesion_hash"].nunique() == 2
    assert (tests["low"] <= tests["accuracy"]).all() and (tests["accuracy"] <= tests["high"]).all()
    unknown = pandas.read_csv(tmp_path / "head" / "tests.csv")["people_seen"].tolist()
    assert unknown == ["unknown"], "the first network's file does not say whom it saw"
    assert main(words(lfw, tmp_path / "on", str(tmp_path / "all" / "weights.safetensors"))) == 2
    assert "8 of the 8 people to be tested" in capsys.readouterr().err


def test_photographs_of_objects_that_taught_a_network_are_not_tested() -> None:
    names = tuple(f"{kind}/image_{i:04d}.jpg" for kind in ("cup", "car") for i in range(50))
    pictures = ImageSet(torch.zeros(100, 3, 8, 8, dtype=torch.uint8), ("cup",) * 50 + ("car",) * 50, names)
    taught = {f"{kind}/image_{i:04d}.jpg" for kind in ("cup", "car") for i in range(40)}
    parts = room.objects_apart(pictures, 0, get("builtin").about)
    assert not set(parts["test"].names) & taught and len(parts["test"]) == 20
    assert set(parts["train"].names) | set(parts["validation"].names) == taught
    free = room.objects_apart(pictures, 0, {"trained_on": "nothing"})
    assert set(free["test"].names) & taught
    with pytest.raises(Error, match="no others to test it on"):
        room.objects_apart(pictures, 0, get("builtin").about | {"object_photographs": 60})


def test_seeds_of_training_and_practice_are_not_those_of_another_role() -> None:
    base = ClassifyConfig(task="identification", data=ClassifyData(people=3, pictures=4))
    drawn = [set(trials_of(replace(base, seed=seed), 112).classes) for seed in (0, 1)]
    practised = [set(practice_of(replace(base, seed=seed), 112, 3).classes) for seed in (0, 1)]
    assert len(set().union(*drawn, *practised)) == 12
