"""Pictures by role fit together, or one line says which do not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.materials import Materials, all_pairs
from facelesion.errors import Error
from facelesion.study.bench import Pool
from facelesion.tasks import TASKS


def faces(role: str, people: int = 3, size: int = 16, points: int = 5) -> FaceSet:
    labels = tuple(f"{role} {number // 2}" for number in range(2 * people))
    names = tuple(f"{label}/{number % 2}" for number, label in enumerate(labels))
    images = torch.zeros(2 * people, 3, size, size, dtype=torch.uint8)
    return FaceSet(images, labels, names, landmarks=torch.zeros(2 * people, points, 2))


def things(size: int = 16, count: int = 4) -> ImageSet:
    names = tuple(f"cup {size} {number}" for number in range(count))
    return ImageSet(torch.zeros(count, 3, size, size, dtype=torch.uint8), ("cup",) * count, names)


@pytest.fixture
def fitting() -> Materials:
    training, known, new = faces("training"), faces("known"), faces("new")
    return Materials(
        training=training, training_pairs=all_pairs(training.labels), enrolment=known[[0, 2, 4]],
        probes=known[[1, 3, 5]], strangers=new, pairs=all_pairs(new.labels), training_objects=things(),
        objects=things(), training_others=things(), others=things(),
    )  # fmt: skip


def test_materials_that_fit_are_a_pool(fitting):
    assert len(Pool.of([TASKS["detection"]], fitting, 0)) > 0


@pytest.mark.parametrize(
    "role", ["training", "enrolment", "strangers", "objects", "training_objects", "others", "training_others"]
)
def test_pictures_of_unlike_sizes_are_told_by_their_roles(fitting, role):
    own = getattr(fitting, role)
    images = torch.zeros(len(own), 3, 24, 24, dtype=torch.uint8)
    other = dataclasses.replace(own, images=images)
    with pytest.raises(Error, match=rf"probes of 16 × 16 and {role} of 24 × 24 pixels"):
        dataclasses.replace(fitting, **{role: other})
    oblong = dataclasses.replace(own, images=images[:, :, :16])
    with pytest.raises(Error, match=rf"{role} of 24 × 16 pixels"):
        dataclasses.replace(fitting, **{role: oblong})


@pytest.mark.parametrize("role", ["training", "probes", "strangers", "objects", "others"])
def test_a_role_without_a_picture_is_told(fitting, role):
    with pytest.raises(Error, match=f"{role} has no picture"):
        dataclasses.replace(fitting, **{role: getattr(fitting, role)[[]]})


def test_landmarks_of_unlike_kinds_are_told(fitting):
    with pytest.raises(Error, match="strangers and probes have 5 and 68 landmarks"):
        dataclasses.replace(fitting, strangers=faces("new", points=68))


def test_pairs_that_are_none_of_the_pictures_are_told(fitting):
    first, second, same = fitting.pairs
    with pytest.raises(Error, match="pairs names picture 6, and there are 6, numbered from 0"):
        dataclasses.replace(fitting, pairs=(first + 1, second + 1, same))
    with pytest.raises(Error, match="pairs has 15, 15 and 3 entries"):
        dataclasses.replace(fitting, pairs=(first, second, same[:3]))
    for kind in (same, ~same):
        with pytest.raises(Error, match="training_pairs must be of both kinds"):
            dataclasses.replace(fitting, training_pairs=(first[kind], second[kind], same[kind]))


def test_a_probe_of_nobody_enrolled_is_told(fitting):
    with pytest.raises(Error, match="'known 2' is in probes and not in enrolment"):
        dataclasses.replace(fitting, enrolment=fitting.enrolment[[0, 1]])


def test_somebody_who_trains_is_not_tested(fitting):
    with pytest.raises(Error, match="'training 0' both trains the readouts and is tested"):
        dataclasses.replace(fitting, strangers=faces("training"), pairs=fitting.training_pairs)
