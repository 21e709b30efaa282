"""The checks that every stimulus passes, and made-up faces to show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from facelesion.faces.regions import mean_face
from facelesion.faces.stimuli import Intact, Stimulus

from .tester import Tester


def made_up_faces(count: int, size: int, seed: int = 0) -> Tensor:
    """Mean faces, turned by up to 30 degrees, scaled, stretched, shifted and a little deformed: (count, 478, 2)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * 2 - 1

    middle = (size - 1) / 2
    mesh = (mean_face(size) - middle) * 0.75
    stretch = 1 + 0.1 * draw(1, 2)
    angle = draw(1, 1) * 0.5
    turn = torch.cat([torch.cat([angle.cos(), angle.sin()], 2), torch.cat([-angle.sin(), angle.cos()], 2)], 1)
    return (mesh * stretch) @ turn + middle + draw(1, 2) * size * 0.04 + draw(478, 2) * size * 0.004


def smooth_pictures() -> Tensor:
    """Eight smooth colour pictures (8, 3, 224, 224) in [0, 1], on the 255 grey levels."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(8, 3, 28, 28, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, 224, mode="bilinear")
    return (fine * 255).round() / 255


class StimulusTester(Tester):
    """A stimulus makes pictures of pictures, the same in any batch, and is a value. Rows are stimuli."""

    rows: ClassVar[Mapping[str, Stimulus]] = {}

    @pytest.fixture(scope="class")
    def shown(self) -> tuple[Tensor, Tensor]:
        """Eight pictures and the landmarks in them."""
        return smooth_pictures(), made_up_faces(8, 224)

    def test_keeps_shape_type_range_and_its_input(self, row: Stimulus, shown: tuple[Tensor, Tensor]) -> None:
        pictures, faces = shown
        before = pictures.clone()
        made = row(pictures, faces, others=(pictures.roll(1, 0), faces.roll(1, 0)))
        assert made.shape == pictures.shape and made.dtype == pictures.dtype
        assert torch.equal(pictures, before) and made.data_ptr() != pictures.data_ptr()
        assert made.min() >= -1e-6 and made.max() <= 1 + 1e-6
        assert (made != pictures).any() or row == Intact()

    def test_a_picture_gets_the_same_in_any_batch(self, row: Stimulus, shown: tuple[Tensor, Tensor]) -> None:
        pictures, faces = shown
        others = (pictures.roll(1, 0), faces.roll(1, 0))
        ids = torch.arange(8) + 2**40
        whole = row(pictures, faces, ids=ids, others=others)
        some = torch.tensor([6, 2, 3])
        part = row(pictures[some], faces[some], ids=ids[some], others=(others[0][some], others[1][some]))
        torch.testing.assert_close(part, whole[some], atol=2e-6, rtol=0)

    def test_survives_a_dictionary_and_says_what_it_is(self, row: Stimulus) -> None:
        again = Stimulus.from_dict(json.loads(json.dumps(row.to_dict())))
        assert again == row and hash(again) == hash(row)
        assert str(again) == str(row) and str(row)
