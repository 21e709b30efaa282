"""The student learns from the teacher; a stopped run goes on as if nothing had been."""

from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as lightning
import torch

from facelesion.data import FaceSet, ImageSet
from facelesion.errors import Error
from facelesion.training.augmentation import vary
from facelesion.training.distil import go_on_from, hold_out
from facelesion.training.distillation import (
    Distillation,
    DistillationData,
    HeldOut,
    Lessons,
    Schedule,
    shuffled_rows,
)
from facelesion.training.reached import even_folds
from facelesion.training.run import RunConfig, fit
from facelesion.training.views import Shares, Views, make_views, teach

SCHEDULE = Schedule(epochs=3, views_per_epoch=16, batch_size=8, nonfaces=2, sizes=((0, 32), (2, 48)))
QUIET = RunConfig(progress=False, accelerator="cpu")


def pictures(count: int, seed: int = 0, size: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def views(count: int, seed: int = 0) -> Views:
    targets = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    return Views(pictures(count, seed), torch.nn.functional.normalize(targets))


def others() -> ImageSet:
    return ImageSet(pictures(6, 9), ("cup", "car") * 3, tuple("abcdef"))


def data(schedule: Schedule = SCHEDULE) -> DistillationData:
    held_out = HeldOut(views(6, 3), ("ada", "ada", "bob", "bob", "cy", "cy"))
    return DistillationData(views(20), others(), held_out, schedule, seed=1)


def student(loaded: DistillationData, schedule: Schedule = SCHEDULE) -> Distillation:
    torch.manual_seed(0)
    return Distillation(0.0625, 8, schedule, loaded.classes, loaded.held_out.people, size=48)


class Killed(Exception):
    pass


class Kill(lightning.Callback):
    """A run that ends in the middle of its third epoch, without a chance to tidy up."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.current_epoch == 2:
            raise Killed


def test_a_resumed_run_ends_with_the_same_weights_to_the_bit(tmp_path: Path) -> None:
    whole, stopped = (replace(QUIET, folder=str(tmp_path / name)) for name in ("whole", "stopped"))
    loaded = data()
    expected = student(loaded)
    fit(expected, loaded, 3, whole, seed=1)

    loaded = data()
    with pytest.raises(Killed):
        fit(student(loaded), loaded, 3, stopped, seed=1, callbacks=[Kill()])
    loaded = data()
    resumed = student(loaded)
    fit(resumed, loaded, 3, replace(stopped, resume=True), seed=1)

    for (name, value), again in zip(
        expected.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(value, again), name
    log = (tmp_path / "stopped" / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["epoch", "0", "1", "2"]
    assert (tmp_path / "stopped" / "curves.png").stat().st_size > 1000


def test_a_folder_with_a_run_is_not_written_over_unasked(tmp_path: Path) -> None:
    run = replace(QUIET, folder=str(tmp_path / "run"))
    loaded = data(replace(SCHEDULE, epochs=1))
    fit(student(loaded), loaded, 1, run, seed=1)
    with pytest.raises(Error, match="holds an earlier run"):
        fit(student(loaded), loaded, 1, run, seed=1)
    with pytest.raises(Error, match="nothing to resume"):
        fit(student(loaded), loaded, 1, replace(run, folder=str(tmp_path / "new"), resume=True), seed=1)


def test_the_student_comes_nearer_to_the_teacher(tmp_path: Path) -> None:
    # A teacher that names colours: easy enough to be learned in seconds.
    colours = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.nn.functional.normalize((colours - 0.5) @ torch.eye(3, 8))
    flat = (colours * 255).to(torch.uint8)[:, :, None, None].repeat(1, 1, 32, 32)
    schedule = replace(
        SCHEDULE,
        epochs=6,
        views_per_epoch=160,
        sizes=((0, 32),),
        learning_rate=1e-2,
        strength=0.0,
        averaging=0.5,
    )
    held_out = HeldOut(Views(flat[:6], targets[:6]), ("ada", "ada", "bob", "bob", "cy", "cy"))
    loaded = DistillationData(Views(flat, targets), others(), held_out, schedule, seed=1)
    fit(student(loaded, schedule), loaded, 6, replace(QUIET, folder=str(tmp_path)), seed=1)
    rows = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()]
    angle = [float(row[rows[0].index("angle")]) for row in rows[1:]]
    assert angle[-1] < 0.6 * angle[0]


def test_a_lesson_depends_on_seed_epoch_and_step_alone() -> None:
    loaded = data()

    def lesson(seed: int, epoch: int, step: int) -> torch.Tensor:
        return Lessons(loaded.views, loaded.others, loaded.classes, SCHEDULE, seed)[epoch, step].images

    assert torch.equal(lesson(1, 1, 1), lesson(1, 1, 1))
    assert not torch.equal(lesson(1, 1, 1), lesson(1, 1, 0)) and not torch.equal(
        lesson(1, 1, 1), lesson(2, 1, 1)
    )
    assert lesson(1, 0, 0).shape == (10, 3, 32, 32) and lesson(1, 2, 0).shape == (10, 3, 48, 48)


def test_every_view_is_seen_equally_often() -> None:
    seen = torch.cat([shuffled_rows(20, epoch, 15, seed=4) for epoch in range(4)])
    assert torch.bincount(seen).tolist() == [3] * 20


def test_views_are_as_many_as_asked_and_the_plain_ones_come_first() -> None:
    images = pictures(6, size=112)
    made = make_views(images, Shares(1, 1, 0.5, 1.5), seed=3)
    assert made.shape == (6 + 6 + 3 + 9, 3, 112, 112) and made.dtype == torch.uint8
    assert torch.equal(made[:6], images)
    assert torch.equal(made, make_views(images, Shares(1, 1, 0.5, 1.5), seed=3))
    assert not torch.equal(made, make_views(images, Shares(1, 1, 0.5, 1.5), seed=4))


def test_a_moved_face_is_still_mostly_where_it_was() -> None:
    bright = torch.zeros(4, 3, 112, 112, dtype=torch.uint8)
    bright[:, :, 36:76, 36:76] = 255
    moved = make_views(bright, Shares(0, 1, 0, 0), seed=0)
    assert float(moved[:, :, 46:66, 46:66].float().mean()) > 250
    assert not torch.equal(moved, bright)


def test_the_teacher_is_asked_about_the_very_picture() -> None:
    images = pictures(5)
    answers = teach(torch.nn.Flatten(), lambda rows: rows.float(), images, batch_size=2)
    expected = torch.nn.functional.normalize(images.float().flatten(1))
    torch.testing.assert_close(answers.targets, expected)


def test_changes_of_light_keep_pictures_in_range_and_can_be_left_out() -> None:
    images = pictures(16)
    changed = vary(images, torch.Generator().manual_seed(0), strength=1.0)
    assert 0 <= float(changed.min()) and float(changed.max()) <= 1
    plain = vary(images, torch.Generator().manual_seed(0), strength=0.0)
    values = images.float() / 255
    mirrored = [torch.equal(row, value.flip(2)) for row, value in zip(plain, values, strict=True)]
    as_is = [torch.equal(row, value) for row, value in zip(plain, values, strict=True)]
    assert all(a != b for a, b in zip(mirrored, as_is, strict=True)) and 2 < sum(mirrored) < 14


def test_people_held_out_are_in_no_view() -> None:
    people = tuple(f"p{i // 5}" for i in range(50))
    faces = FaceSet(pictures(50, size=8), people, tuple(map(str, range(50))), torch.zeros(50, 1, 2))
    rest, held = hold_out(faces, sorted(set(people)), 3, seed=0)
    assert len(set(held.labels)) == 3 and len(held) == 3 * 4
    assert not set(rest.labels) & set(held.labels) and len(rest) == 35
    with pytest.raises(Error, match="hold out fewer"):
        hold_out(faces, sorted(set(people)), 10, seed=0)


def test_folds_share_out_both_kinds_of_pairs() -> None:
    same = torch.arange(1000) < 500
    folds = even_folds(same)
    assert all(
        int((folds[same] == fold).sum()) == 50 == int((folds[~same] == fold).sum()) for fold in range(10)
    )


def test_a_second_run_begins_with_the_averaged_weights_of_the_first(tmp_path: Path) -> None:
    loaded = data()
    first = student(loaded)
    best = fit(first, loaded, 1, replace(QUIET, folder=str(tmp_path)), seed=1)
    second = student(loaded)
    go_on_from(second, best)
    for part in (second.student, second.average):
        for name, value in part.state_dict().items():
            assert torch.equal(value, first.average.state_dict()[name]), name


def test_a_start_that_is_no_checkpoint_of_this_network_is_refused(tmp_path: Path) -> None:
    loaded = data()
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    for path, message in (("none.ckpt", "no such checkpoint"), ("other.ckpt", "not a checkpoint of a run")):
        with pytest.raises(Error, match=message):
            go_on_from(student(loaded), tmp_path / path)
    best = fit(student(loaded), loaded, 1, replace(QUIET, folder=str(tmp_path / "run")), seed=1)
    wider = Distillation(0.125, 8, SCHEDULE, loaded.classes, loaded.held_out.people, size=48)
    with pytest.raises(Error, match="do not fit"):
        go_on_from(wider, best)
