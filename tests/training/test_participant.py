"""A participant learns people and things, each seed its own; a stopped run goes on as if nothing had been."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as lightning
import torch

from facelesion.arguments import read_arguments
from facelesion.data import ImageSet, open_lfw
from facelesion.data.seen import people_seen
from facelesion.errors import Error
from facelesion.models import get
from facelesion.settings import SettingError
from facelesion.train import main
from facelesion.training.distillation import FACE, Schedule
from facelesion.training.individuals import Individuals, Pictures
from facelesion.training.participant import ParticipantConfig, ParticipantSources, participant
from facelesion.training.participant_learner import Learner, ParticipantLearning
from facelesion.training.participant_lessons import (
    Contrast,
    Lessons,
    Material,
    ParticipantData,
    Taught,
    Watched,
)
from facelesion.training.run import RunConfig, fit
from facelesion.weights import store

ROOT = Path(__file__).resolve().parents[2]
SCHEDULE = Schedule(epochs=3, views_per_epoch=16, batch_size=8, nonfaces=2, sizes=((0, 32), (2, 48)))
PEOPLE, THINGS = Contrast(4, 2, 1.0), Contrast(2, 2, 0.5)
QUIET = RunConfig(progress=False, accelerator="cpu")


def pictures(count: int, seed: int = 0, size: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def unit(count: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)))


def material(faces: str) -> Material:
    names = [f"cup{i}" for i in range(4) for _ in range(3)]
    things = Individuals(Pictures.of(pictures(12, 5)), names, ["cup"] * 12)
    others = ImageSet(pictures(6, 9), ("cup", "texture") * 3, tuple("abcdef"))
    people = {
        "taught": Taught(Pictures.of(pictures(20)), unit(20)),
        "named": Individuals(Pictures.of(pictures(20)), [f"p{i // 4}" for i in range(20)], ["person"] * 20),
        "none": None,
    }
    return Material(people[faces], things, others)


def watched(faces: str) -> Watched:
    names = tuple(f"cup{i}" for i in range(3) for _ in range(5))
    things = (pictures(15, 6), names, ("cup",) * 15)
    if faces == "none":
        return Watched(None, None, (), *things)
    targets = unit(6, 3) if faces == "taught" else None
    return Watched(pictures(6, 3), targets, ("ada", "ada", "bob", "bob", "cy", "cy"), *things)


def learning(faces: str) -> tuple[ParticipantLearning, ParticipantData]:
    shown, seen = material(faces), watched(faces)
    torch.manual_seed(0)
    learner = Learner(0.0625, 8, len(shown.classes), shown.faces is not None)
    module = ParticipantLearning(learner, SCHEDULE, PEOPLE, THINGS, seen, size=48)
    return module, ParticipantData(shown, seen, SCHEDULE, PEOPLE, THINGS, seed=1)


class Killed(Exception):
    pass


class Kill(lightning.Callback):
    """A run that ends in the middle of its third epoch, without a chance to tidy up."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.current_epoch == 2:
            raise Killed


@pytest.mark.parametrize("faces", ["taught", "named", "none"])
def test_a_run_that_was_killed_ends_with_the_same_weights_to_the_bit(faces: str, tmp_path: Path) -> None:
    whole, stopped = (replace(QUIET, folder=str(tmp_path / name)) for name in ("whole", "stopped"))
    expected, loaded = learning(faces)
    fit(expected, loaded, 3, whole, seed=1)
    with pytest.raises(Killed):
        fit(*learning(faces), 3, stopped, seed=1, callbacks=[Kill()])
    resumed, loaded = learning(faces)
    fit(resumed, loaded, 3, replace(stopped, resume=True), seed=1)
    for (name, value), again in zip(
        expected.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(value, again), name
    logged = (tmp_path / "whole" / "log.csv").read_text().splitlines()[0].split(",")
    assert {"things", "kinds", "val_things", "val_loss"} <= set(logged)
    assert ("angle" in logged) == (faces == "taught") and ("people" in logged) == (faces == "named")


def test_a_lesson_holds_faces_then_things_then_others() -> None:
    lessons = Lessons(material("taught"), SCHEDULE, PEOPLE, THINGS, seed=1)
    lesson = lessons[0, 0]
    assert (lesson.faces, lesson.things, len(lesson.images)) == (8, 4, 8 + 4 + 2)
    classes = [lessons.material.classes[i] for i in lesson.classes.tolist()]
    assert classes[:8] == [FACE] * 8 and classes[8:12] == ["cup"] * 4 and len(lesson.which) == 12
    assert lesson.targets.shape == (8, 8)
    named = Lessons(material("named"), SCHEDULE, PEOPLE, THINGS, seed=1)[0, 0]
    assert named.targets.shape == (8, 0)
    assert named.which[:8].reshape(4, 2).diff(dim=1).abs().sum() == 0 and len(named.which[:8].unique()) == 4
    nobody = Lessons(material("none"), SCHEDULE, PEOPLE, THINGS, seed=1)
    assert nobody[0, 0].faces == 0 and FACE not in nobody.material.classes
    assert torch.equal(lessons[1, 1].images, lessons[1, 1].images)
    assert not torch.equal(lessons[1, 1].images, lessons[1, 0].images)
    assert lessons[2, 0].images.shape[-1] == 48 != lessons[0, 0].images.shape[-1]


def test_things_come_apart_while_they_are_learned(tmp_path: Path) -> None:
    # Things that differ in colour: easy enough to be learned in seconds.
    colours = (torch.rand(8, 3, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    images = colours.repeat_interleave(4, 0)[:, :, None, None].repeat(1, 1, 32, 32)
    names = [f"cup{i}" for i in range(8) for _ in range(4)]
    things = Individuals(Pictures.of(images), names, ["cup"] * 32)
    others = ImageSet(images[:4].contiguous(), ("texture",) * 4, tuple("abcd"))
    seen = Watched(None, None, (), images, tuple(names), ("cup",) * 32)
    schedule = replace(
        SCHEDULE, epochs=6, views_per_epoch=160, sizes=((0, 32),), learning_rate=1e-2, averaging=0.5
    )
    contrast = Contrast(8, 2, 1.0)
    torch.manual_seed(0)
    module = ParticipantLearning(Learner(0.0625, 8, 2, False), schedule, contrast, contrast, seen, size=32)
    loaded = ParticipantData(Material(None, things, others), seen, schedule, contrast, contrast, seed=1)
    fit(module, loaded, 6, replace(QUIET, folder=str(tmp_path)), seed=1)
    rows = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()]
    losses = [float(row[rows[0].index("things")]) for row in rows[1:]]
    assert losses[-1] < 0.6 * losses[0]


def small(folder: Path, seed: int, **data: object) -> ParticipantConfig:
    sources = {"people": "none", "things": 3, "thing_pictures": 3, "builtin_objects": 2, "nonfaces": 6}
    return ParticipantConfig(
        data=ParticipantSources(**{**sources, **data}), width=0.0625, seed=seed, measure=False,
        schedule=replace(SCHEDULE, epochs=1, sizes=((0, 32),)), things=THINGS,
        run=replace(QUIET, folder=str(folder)),
    )  # fmt: skip


def test_each_seed_has_a_folder_and_things_of_its_own_and_is_made_once(tmp_path: Path) -> None:
    first, second = (participant(small(tmp_path, seed)) for seed in (1, 2))
    assert first == tmp_path / "seed1" / "weights.safetensors" and second.is_file()
    before = first.stat().st_mtime_ns
    assert participant(small(tmp_path, 1)) == first and first.stat().st_mtime_ns == before
    one, other = get(str(first)), get(str(second))
    assert one.weights != other.weights
    with pytest.raises(Error, match="other settings"):
        participant(small(tmp_path, 1, things=4))


def test_harder_kinds_are_shown_twice_as_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "facelesion.training.participant.Individuals",
        lambda *given: asked.append(given[3]) or Individuals(*given),
    )
    participant(small(tmp_path, 1, harder_kinds=("cup", "chair")))
    assert asked == [{"car": 1, "chair": 2, "cup": 2, "house": 1}]
    things = Individuals(Pictures.of(pictures(8)), list("aabbccdd"), ["cup"] * 4 + ["car"] * 4, {"cup": 2, "car": 1})
    generator = torch.Generator().manual_seed(0)
    drawn = [things.kinds[int(things.draw(generator, 2, 2)[0])] for _ in range(600)]
    assert 370 < drawn.count("cup") < 430


def test_it_goes_on_from_weights_that_the_recipe_made_of_the_same_seed(tmp_path: Path) -> None:
    for seed in (1, 2):
        participant(small(tmp_path / "first", seed))
    start = str(tmp_path / "first" / "seed{seed}" / "weights.safetensors")
    for seed in (1, 2):
        second = participant(replace(small(tmp_path / "second", seed), start=start, fixed_blocks=2))
        before, _ = store.read_weights(start.format(seed=seed))
        after, about = store.read_weights(second)
        assert about["started_from"] == store.digest(before) and about["seed"] == seed
        fixed = {f"features.{layer}.{part}" for layer in (0, 2, 5, 7) for part in ("weight", "bias")}
        for name, value in before.items():
            same = torch.allclose(value, after[name], rtol=1e-4, atol=1e-5)
            assert same == (name in fixed), name
    assert "started_from" not in store.read_weights(start.format(seed=1))[1]


def test_the_first_answers_are_those_of_the_weights_that_it_starts_from() -> None:
    shown, images = Learner(0.0625, 8, 3, True).eval(), torch.randn(6, 3, 48, 48)
    for value in shown.parameters():
        value.data.add_(0.02 * torch.randn_like(value))
    module, data = learning("taught")
    module.learner = Learner(0.0625, 8, 3, True, fixed_blocks=1)
    module.average = Learner(0.0625, 8, 3, True)
    module.begin_from(shown.tensors(), "there", data.lessons[0, 0].images)
    for learner in (module.learner.eval(), module.average.eval()):
        with torch.no_grad():
            features, again = shown.trunk(images), learner.trunk(images)
            torch.testing.assert_close(again, features, rtol=1e-3, atol=1e-5)
            for part in ("things", "categories"):
                torch.testing.assert_close(
                    getattr(learner, part)(again), getattr(shown, part)(features), rtol=1e-3, atol=1e-4
                )
            torch.testing.assert_close(learner.trunk.embed(again), shown.trunk.embed(features), rtol=1e-3, atol=1e-4)
    module.learner.train()
    resting = [not layer.training for layer in module.learner.trunk.features[:8]]
    assert resting == [True] * 7 + [False]
    with pytest.raises(Error, match="there: weights do not fit"):
        module.begin_from(Learner(0.0625, 8, 5, True).tensors(), "there", images)
    with pytest.raises(Error, match="2 too many"):  # one that is to know nobody does not begin from one that does
        Learner(0.0625, 8, 3, False).begin_from(shown.tensors(), "there", images)


def test_a_start_that_is_not_there_or_another_ones_is_refused_before_the_folder_is_claimed(tmp_path: Path) -> None:
    made = participant(small(tmp_path / "first", 1))
    for start, said in ((tmp_path / "none.safetensors", "no such weights file"), (made, "not the weights of a")):
        with pytest.raises(Error, match=said):
            participant(replace(small(tmp_path / "second", 2), start=str(start)))
    assert not (tmp_path / "second").exists()
    with pytest.raises(SettingError, match="fixed_blocks does nothing without start"):
        replace(small(tmp_path, 2), fixed_blocks=1)


def test_a_network_that_never_saw_a_face_says_so_and_reads_things(tmp_path: Path) -> None:
    subject = get(str(participant(small(tmp_path, 1))))
    assert subject.about["trained_on"] == "objects" and subject.about["people"] == []
    assert FACE not in subject.about["categories"] and not any(
        "face" in c for c in subject.about["categories"]
    )
    assert str(people_seen(subject.about, ["George_W_Bush", "person-7000002-1"])) == "0"
    assert subject.extra["things.weight"].shape == (128, 32)
    assert len(subject.extra["categories.bias"]) == len(subject.about["categories"])


def test_settings_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="root is left out"):
        ParticipantSources()
    with pytest.raises(SettingError, match="kinds name 'zebra'"):
        ParticipantSources(people="none", kinds=("cup", "zebra"))
    with pytest.raises(SettingError, match="harder_kinds name 'house', and kinds are cup"):
        ParticipantSources(people="none", kinds=("cup",), harder_kinds=("house",))
    with pytest.raises(SettingError, match="teacher does nothing"):
        ParticipantConfig(data=ParticipantSources(people="none"), teacher="x.pt")
    with pytest.raises(SettingError, match="64 faces in a step"):
        ParticipantConfig(data=ParticipantSources(root="x"), schedule=replace(SCHEDULE, batch_size=8))


@pytest.mark.parametrize(("name", "people", "by_name"), [
    ("participant", "photographs", False), ("participant_named", "photographs", True),
    ("participant_objects", "none", True), ("participant_finish", "photographs", False),
])  # fmt: skip
def test_each_kind_of_participant_and_a_second_part_can_be_asked_for(name: str, people: str, by_name: bool) -> None:
    words = [str(ROOT / "configs" / "train" / f"{name}.yaml"), "--seed", "7"]
    words += [] if people == "none" else ["--data.root", "lfw.tgz"]
    words += [] if by_name else ["--teacher", "teacher.pt"]
    config = ParticipantConfig(
        **read_arguments(ParticipantConfig, words, "python -m facelesion.train", config=True)
    )
    assert (config.seed, config.data.people, config.teacher is None) == (7, people, by_name)
    assert config.schedule.size(0) == (112 if config.start else 64)
    assert config.schedule.size(config.schedule.epochs - 1) == 112


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("teacher", [True, False])
def test_the_command_runs_from_photographs_to_figures(
    teacher: bool, little_lfw: Path, shared: Path, tmp_path: Path
) -> None:
    def words(seed: int) -> list[str]:
        taught = ["--teacher", str(shared / "data" / "mobilefacenet.pt")] if teacher else []
        apart = [] if teacher else ["--people", "{individuals: 8, pictures: 2}"]
        return [
            "--config", str(ROOT / "configs" / "train" / "participant.yaml"), "--seed", str(seed), *taught, *apart,
            "--data.root", str(little_lfw), "--data.prepared", str(tmp_path / "prepared"),
            "--data.landmarker", str(shared / "data" / "face_landmarker.task"),
            "--data.pool", str(tmp_path / "pool"), "--data.share", "0.75", "--data.held_out_people", "3",
            "--data.facespace_people", "3", "--data.builtin_objects", "2", "--data.things", "3",
            "--data.thing_pictures", "2", "--data.nonfaces", "10", "--width", "0.0625",
            "--schedule.epochs", "2", "--schedule.views_per_epoch", "32", "--schedule.batch_size", "16",
            "--schedule.sizes", "[[0, 64], [1, 112]]", "--things.individuals", "3",
            "--run.folder", str(tmp_path / "runs"), "--run.progress", "false", "--run.accelerator", "cpu",
        ]  # fmt: skip

    lfw = open_lfw(little_lfw)
    taught = []
    for seed in (3, 4):
        assert main(words(seed)) == 0
        run = tmp_path / "runs" / f"seed{seed}"
        reached = json.loads((run / "reached.json").read_text())
        assert reached["pairsDevTest_pairs"] + reached["pairsDevTest_missing"] == 20
        assert {"things_cup", "things_whitened_car"} <= set(reached)
        subject = get(str(run / "weights.safetensors"))
        assert subject.about["reached"] == reached
        people = set(subject.about["people"])
        assert len(people) == 12 and people <= set(lfw.people("train"))
        assert not people & set(subject.about["validation_people"])
        assert people_seen(subject.about, lfw.people("test"), lfw).people == ()
        assert people <= set(people_seen(subject.about, lfw.people("train"), lfw).people)
        taught.append(people)
    assert taught[0] != taught[1]
    assert len(list((tmp_path / "pool").iterdir())) == 1
