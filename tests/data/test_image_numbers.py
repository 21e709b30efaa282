"""A picture's number belongs to the picture: it goes wherever the picture goes, and depends on nothing else."""

from __future__ import annotations

import pytest
import torch

from facelesion.data import FaceSet, ImageSet
from facelesion.data.imagesets import numbers_of
from facelesion.errors import Error
from facelesion.faces.stimuli import ControlMask, GaussianNoise, Stimulus


def faces(count: int, size: int = 32) -> FaceSet:
    torch.manual_seed(0)
    names = tuple(f"a/{number}" for number in range(count))
    pictures = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    return FaceSet(pictures, ("a",) * count, names, torch.rand(count, 68, 2) * 16 + 8)


def test_numbers_come_from_the_names_alone() -> None:
    some = faces(6)
    assert torch.equal(some.ids, numbers_of(some.names)) and len(set(some.ids.tolist())) == 6
    assert bool((some.ids >= 0).all()) and some.ids.dtype == torch.int64
    other = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), ("b", "c"), ("a/3", "a/1"))
    assert torch.equal(other.ids, some.ids[[3, 1]])


@pytest.mark.parametrize("rows", [[4, 1], slice(2, 5), torch.tensor([5]), []])
def test_numbers_stay_with_their_pictures(rows: object) -> None:
    some = faces(6)
    part = some[rows]  # type: ignore[index]
    assert torch.equal(part.ids, numbers_of(part.names))


def test_given_numbers_are_kept_and_have_to_fit() -> None:
    picture = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    given = ImageSet(picture, ("a", "b"), ("1", "2"), ids=torch.tensor([7, 9]))
    assert given[[1]].ids.tolist() == [9]
    for wrong in (torch.tensor([7]), torch.tensor([7.0, 9.0]), torch.tensor([[7], [9]])):
        with pytest.raises(Error, match="ids must be int64"):
            ImageSet(picture, ("a", "b"), ("1", "2"), ids=wrong)


@pytest.mark.parametrize(
    "stimulus", [GaussianNoise(), Stimulus.from_dict("tile scramble"), ControlMask("eyes")]
)
def test_pictures_under_a_random_stimulus_do_not_depend_on_batch_part_or_order(stimulus: Stimulus) -> None:
    some = faces(9)
    shown = some.shown(stimulus)
    assert torch.equal(some.shown(stimulus, batch_size=2).images, shown.images)
    assert torch.equal(some[[7, 2]].shown(stimulus).images, shown.images[[7, 2]])
    assert torch.equal(shown.ids, some.ids) and shown.names == some.names
    assert not torch.equal(shown.images, some.images)
