"""A preprocessing's frame says where a point of the picture lies in what the network is given, and shows it again."""

from __future__ import annotations

import pytest
import torch

from facelesion.errors import Error
from facelesion.models.frame import frame_of
from facelesion.models.subject import Preprocessing
from facelesion.models.zoo import CroppedPreprocessing


def spot(side: int, x: int, y: int) -> torch.Tensor:
    """A soft white spot on black, so that its middle can be found after any resampling."""
    columns, rows = torch.arange(side)[None], torch.arange(side)[:, None]
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2))[None, None].expand(1, 3, side, side)


@pytest.mark.parametrize(
    "preprocess",
    [Preprocessing(112), Preprocessing(160), Preprocessing(64, colour_order="BGR"), CroppedPreprocessing(224, 256),
     CroppedPreprocessing(96, 128, interpolation="bicubic", squash=True)],
    ids=lambda each: f"{type(each).__name__} {each.size}",
)  # fmt: skip
def test_a_spot_lies_where_the_frame_says(preprocess):
    frame = frame_of(preprocess, 112, 112)
    for x, y in ((40, 70), (60, 50)):
        seen = frame.seen(preprocess(spot(112, x, y)))[0, 0]
        weight = seen / seen.sum()
        found = (weight.sum(0) @ torch.arange(frame.width).float(), weight.sum(1) @ torch.arange(frame.height).float())
        expected = frame.moved(torch.tensor([[[float(x), float(y)]]]))[0, 0]
        assert torch.stack(found).sub(expected).abs().max() < 0.15


def test_what_is_seen_has_the_picture_s_own_colours():
    picture = torch.tensor([0.9, 0.5, 0.1])[None, :, None, None].expand(1, 3, 64, 64)
    for preprocess in (Preprocessing(48, colour_order="BGR"), CroppedPreprocessing(48, 56)):
        seen = frame_of(preprocess, 64, 64).seen(preprocess(picture))
        assert torch.allclose(seen, torch.tensor([0.9, 0.5, 0.1])[None, :, None, None].expand_as(seen), atol=1e-4)


@pytest.mark.parametrize(
    ("preprocess", "said"),
    [
        (lambda x: x**2, "bends brightness"),
        (lambda x: x.mT, "turns or bends"),
        (lambda x: x.flip(-1), "turns or bends"),
        (lambda x: x.mean(1, keepdim=True).expand_as(x), "mixes colours"),
        (lambda x: x.flatten(1), "no picture"),
        (torch.zeros_like, "no difference"),
    ],
)
def test_a_preprocessing_without_a_frame_is_told(preprocess, said):
    with pytest.raises(Error, match=said):
        frame_of(preprocess, 32, 32)
