"""What a network is shown when it learns "face or not": no short cut, no leak, and the same again after a stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
import torch

from facelesion.data import FaceSet
from facelesion.data.modules import Trials
from facelesion.errors import Error
from facelesion.lesions import Noise, calibrate
from facelesion.models import get
from facelesion.train import main
from facelesion.training.classifier import Classifier
from facelesion.training.classify import ClassifyConfig, ClassifyData, calibrated
from facelesion.training.trials import shown_as, trials_of

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ClassifyConfig(data=ClassifyData(people=12, pictures=3))


@pytest.fixture(scope="module")
def parts() -> dict[str, Trials]:
    return dict(trials_of(CONFIG, 112).parts)


def test_half_of_the_pictures_show_no_face_and_all_have_a_place_for_a_mask(parts: dict[str, Trials]) -> None:
    for trials in parts.values():
        assert trials.targets.float().mean() == 0.5
        assert isinstance(trials.pictures, FaceSet) and bool(trials.pictures.landmarks.any(2).any(1).all())


def test_a_mask_does_not_tell_what_is_behind_it(parts: dict[str, Trials]) -> None:
    shown = shown_as(parts["train"], ["mask eyes"])
    masked = shown.images(torch.arange(len(shown)))
    black = (masked == 0).all(1).float().mean((1, 2))
    faces = parts["train"].targets.bool()
    assert black[faces].min() > 0.01 and black[~faces].min() > 0.01


def test_nobody_and_nothing_is_in_two_parts(parts: dict[str, Trials]) -> None:
    seen: list[set[bytes]] = []
    people: list[set[str]] = []
    for trials in parts.values():
        pictures = trials.pictures
        seen.append({image.numpy().tobytes() for image in pictures.images})
        people.append({name for name, face in zip(pictures.labels, trials.targets, strict=True) if face})
    for sets in (seen, people):
        assert sum(map(len, sets)) == len(set().union(*sets))  # type: ignore[arg-type]


def test_what_is_kept_is_what_would_be_chosen_from_all(parts: dict[str, Trials]) -> None:
    stimuli = ["intact", "mask eyes", "mask nose"]
    every, some = shown_as(parts["train"], stimuli), shown_as(parts["train"], stimuli, keep=10, seed=3)
    assert len(every) == 3 * len(parts["train"]) and len(some) == 10
    place = {name: row for row, name in enumerate(every.names)}
    rows = torch.tensor([place[name] for name in some.names])
    assert torch.equal(some.images(torch.arange(10)), every.images(rows))
    assert torch.equal(some.targets, every.targets[rows]) and torch.equal(some.ids, every.ids[rows])


@pytest.mark.parametrize("stimulus", ["noise", "phase scramble", "control eyes"])
def test_a_picture_gets_the_same_random_stimulus_in_every_batch_part_and_order(
    parts: dict[str, Trials], stimulus: str
) -> None:
    whole = shown_as(parts["train"], [stimulus])
    every = whole.images(torch.arange(len(whole)))
    assert len({picture.numpy().tobytes() for picture in every}) == len(every)
    backwards = torch.arange(len(whole)).flip(0)
    one_by_one = torch.cat([whole.images(row[None]) for row in backwards])
    assert torch.equal(one_by_one, every.flip(0))
    half = Trials(parts["train"].pictures[backwards[:5]], parts["train"].targets[backwards[:5]])
    assert torch.equal(shown_as(half, [stimulus]).images(torch.arange(5)), every.flip(0)[:5])


def test_masked_copies_are_made_when_they_are_asked_for_and_not_kept(
    parts: dict[str, Trials], tiny: str
) -> None:
    from facelesion.training.classifier import TrialData

    module = Classifier(get(tiny), ("no face", "face"), None, CONFIG)
    shown = {
        name: shown_as(parts[name], ["intact", "mask eyes", "mask nose"]) for name in ("train", "validation")
    }
    data = TrialData(shown, CONFIG, module)
    held = [value for rows in data.parts.values() for value in rows.tensors.values()]
    assert sum(value.numel() * value.element_size() for value in held) < 50 * sum(map(len, shown.values()))
    batch = data.parts["train"][[0, len(parts["train"])]]
    assert torch.equal(batch["image"][0], parts["train"].pictures.images[0])
    assert not torch.equal(batch["image"][1], parts["train"].pictures.images[0])
    assert batch["index"][0] == batch["index"][1]


def test_damage_in_training_only_is_in_no_test(parts: dict[str, Trials], tiny: str) -> None:
    lesion = Noise("conv5_3", std=2.0, relative=True)
    subject = get(tiny)
    damaged = replace(CONFIG, lesion=(lesion.to_dict(),))
    modules = [
        Classifier(subject, ("no face", "face"), lesion, replace(damaged, training_only=only))
        for only in (True, False)
    ]
    for module in modules:
        module.calibration = calibrated(subject, lesion, parts["train"], 0)
    rows = torch.arange(4)
    batch = {
        "image": parts["train"].pictures.images[rows],
        "index": rows,
        "target": parts["train"].targets[rows],
    }
    assert [set(module.states()) for module in modules] == [{"healthy"}, {"healthy", "damaged"}]
    healthy = modules[0].represent(batch["image"], None, rows, 0)
    for module in modules:
        module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
        seen: list[torch.Tensor] = []
        module.head.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        module.training_step(batch, 0)
        module.validation_step(batch, 0)
        assert not torch.equal(seen[0], healthy)
        assert torch.equal(seen[1], healthy) is (module is modules[0])


def test_relative_noise_is_relative_to_intact_pictures_whatever_is_trained_on(
    parts: dict[str, Trials], tiny: str
) -> None:
    subject, lesion = get(tiny), Noise("conv5_3", std=1.0, relative=True)
    (found,) = calibrated(subject, lesion, parts["train"], seed=5, most=10_000).deviations.values()
    intact = calibrate(subject.module, subject.preprocess(parts["train"].pictures.images), lesion)
    masked = shown_as(parts["train"], ["mask eyes"])
    trained = calibrate(subject.module, subject.preprocess(masked.images(torch.arange(len(masked)))), lesion)
    assert torch.allclose(found, *intact.deviations.values(), rtol=1e-4)
    assert not torch.allclose(found, *trained.deviations.values(), rtol=1e-2)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: ClassifyConfig(epochs=0), "epochs is 0"),
        (lambda: ClassifyConfig(batch_size=0), "batch_size is 0"),
        (lambda: ClassifyConfig(learning_rate=0), "learning_rate is 0"),
        (lambda: ClassifyData(people=0), "people is 0"),
        (lambda: ClassifyData(stimuli=()), "stimuli is .*: it must name at least one"),
        (lambda: ClassifyData(tests=("mask ears",)), "ears"),
    ],
)
def test_settings_that_mean_nothing_are_refused(made, message: str) -> None:
    with pytest.raises(Error, match=message):
        made()


def words(folder: Path, network: str, *more: str) -> list[str]:
    return [
        "--config", str(ROOT / "configs/notebook/noise.yaml"), "--network", network, "--run.folder", str(folder),
        "--data.people", "12", "--data.pictures", "4", "--data.keep", "60", "--data.tests", "[intact]", "--epochs", "5",
        "--run.progress", "false", "--run.accelerator", "cpu", *more,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["everything", "head"])
def test_a_run_killed_at_any_time_ends_with_the_same_weights(tmp_path: Path, tiny: str, trained: str) -> None:
    assert main(words(tmp_path / "whole", tiny, "--trained", trained)) == 0
    killed = tmp_path / "killed"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "facelesion.train", *words(killed, tiny, "--trained", trained)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (killed / "checkpoints" / "last.ckpt").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not (killed / "weights.safetensors").is_file():
        assert main(words(killed, tiny, "--trained", trained, "--run.resume", "true")) == 0
    whole, resumed = (
        (folder / "weights.safetensors").read_bytes() for folder in (tmp_path / "whole", killed)
    )
    assert whole == resumed
    assert len(pandas.read_csv(killed / "log.csv")) == 5


@pytest.mark.slow
def test_two_processes_train_together_and_write_once(tmp_path: Path, tiny: str) -> None:
    command = [sys.executable, "-m", "facelesion.train", *words(tmp_path / "run", tiny)]
    more = ["--run.devices", "2", "--run.strategy", "ddp", "--epochs", "1", "--course", "true"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *more], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(pandas.read_csv(tmp_path / "run" / "tests.csv")) == 2
    assert len(pandas.read_csv(tmp_path / "run" / "log.csv")) == 1
    assert "head.weight" in get(str(tmp_path / "run" / "weights.safetensors")).extra


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_settings_only(
    tmp_path: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path / "run", tiny, "--epochs", "1")) == 0
    on = ("--run.resume", "true")
    assert main(words(tmp_path / "run", tiny, *on, "--epochs", "2")) == 0
    assert main(words(tmp_path / "run", tiny, *on, "--epochs", "2", "--learning_rate", "0.5")) == 2
    assert "has learning_rate" in capsys.readouterr().err
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(b"half")
    assert main(words(tmp_path / "run", tiny, *on)) == 2
    assert "not a whole checkpoint" in capsys.readouterr().err


def test_a_device_that_is_not_here_is_one_line(
    tmp_path: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path / "run", tiny, "--run.strategy", "no-such")) == 2
    told = capsys.readouterr().err
    assert "strategy no-such" in told and told.count("\n") == 1
