"""Convolutions by fewer products: the same answers at every size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from facelesion.sweep import winograd as room
from facelesion.sweep.winograd import transformed, winograd


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 7, 14])
@pytest.mark.parametrize("width", [1, 4, 6, 9])
@pytest.mark.parametrize("channels", [(1, 1), (5, 3)])
@torch.no_grad()
def test_equals_the_plain_convolution_at_every_size(height, width, channels):
    layer = nn.Conv2d(*channels, 3, padding=1).double()
    images = torch.randn(3, channels[0], height, width, dtype=torch.float64)
    answer = winograd(images, transformed(layer.weight), layer.bias)
    torch.testing.assert_close(answer, layer(images), rtol=1e-10, atol=1e-10)
    assert answer.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_what_is_left_in_the_scratch_never_shows(monkeypatch):
    monkeypatch.setattr(room, "CHUNK", 8)  # several chunks, the last one shorter
    scratch: dict[str, torch.Tensor] = {}
    for height, width in ((9, 9), (4, 5), (7, 2), (9, 9)):
        weight, images = torch.randn(4, 3, 3, 3), torch.randn(5, 3, height, width)
        answer = winograd(images, transformed(weight), None, scratch)
        torch.testing.assert_close(answer, functional.conv2d(images, weight, padding=1), rtol=0, atol=5e-5)
        for each in scratch.values():
            each.fill_(float("nan"))


@torch.no_grad()
def test_rounds_about_as_finely_as_the_plain_way_at_the_size_of_vgg16():
    layer, images = nn.Conv2d(512, 512, 3, padding=1), torch.randn(2, 512, 14, 14).relu()
    exact = functional.conv2d(images.double(), layer.weight.double(), layer.bias.double(), padding=1)
    answer = winograd(images, transformed(layer.weight), layer.bias)
    assert float((answer - exact).abs().max() / exact.abs().max()) < 1e-5
