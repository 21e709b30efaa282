"""Convolutions by fewer products: the same answers, only where they gain, and only while a sweep computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from facelesion.lesions import Ablate, Noise, Prune, lesioned
from facelesion.sweep import Options, stream, stream_units, sweep
from facelesion.sweep import winograd as room
from facelesion.sweep.winograd import Winograd, transformed, winograd


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("height", [1, 2, 3, 7, 14])
@pytest.mark.parametrize("width", [1, 4, 9])
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
        torch.testing.assert_close(answer, functional.conv2d(images, weight, padding=1), rtol=0, atol=1e-5)
        for each in scratch.values():
            each.fill_(float("nan"))


@torch.no_grad()
def test_rounds_about_as_finely_as_the_plain_way_at_the_size_of_vgg16():
    layer, images = nn.Conv2d(512, 512, 3, padding=1), torch.randn(2, 512, 14, 14).relu()
    exact = functional.conv2d(images.double(), layer.weight.double(), layer.bias.double(), padding=1)
    answer = winograd(images, transformed(layer.weight), layer.bias)
    assert float((answer - exact).abs().max() / exact.abs().max()) < 1e-5


def large(**changes):
    given = {
        "in": 256,
        "out": 256,
        "size": 28,
        "kernel": 3,
        "padding": 1,
        "stride": 1,
        "groups": 1,
        "dilation": 1,
    }
    given |= changes
    layer = nn.Conv2d(
        given["in"],
        given["out"],
        given["kernel"],
        given["stride"],
        given["padding"],
        given["dilation"],
        given["groups"],
    )
    images = torch.randn(1, given["in"], given["size"], given["size"])
    return layer, images.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def calls(monkeypatch):
    seen: list[torch.Size] = []

    def counted(images, *rest):
        seen.append(images.shape)
        return winograd(images, *rest)

    monkeypatch.setattr(room, "winograd", counted)
    return seen


@torch.no_grad()
def test_a_large_convolution_gains(calls):
    layer, images = large()
    plain = layer(images)
    with Winograd():
        torch.testing.assert_close(layer(images), plain, rtol=0, atol=1e-5)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"in": 128}, {"out": 128}, {"kernel": 1, "padding": 0}, {"padding": 0}, {"padding": "same"}, {"stride": 2},
        {"dilation": 2, "padding": 2}, {"groups": 2}, {"size": 14},
    ],
    ids=str,
)  # fmt: skip
@torch.no_grad()
def test_any_other_is_computed_as_ever(changes, calls):
    layer, images = large(**changes)
    plain = layer(images)
    with Winograd():
        assert torch.equal(layer(images), plain)
    assert not calls


def test_training_double_precision_and_the_plain_layout_are_computed_as_ever(calls):
    layer, images = large()
    with Winograd():
        layer(images).sum().backward()
        with torch.no_grad():
            layer(images.contiguous())
            with torch.autocast("cpu", torch.bfloat16):
                layer(images)
            layer.double()(images.double())
    assert not calls and layer.weight.grad is not None


@torch.no_grad()
def test_a_kernel_that_was_changed_in_place_is_seen(calls):
    layer, images = large()
    with Winograd() as mode:
        first = layer(images)
        assert mode.kernel(layer.weight) is mode.kernel(layer.weight)
        layer.weight.mul_(2)
        layer.bias.mul_(2)
        torch.testing.assert_close(layer(images), 2 * first)
    assert len(calls) == 2


def wide() -> nn.Module:
    layers = [nn.Conv2d(3, 256, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 4)).eval()


@torch.no_grad()
def test_a_sweep_of_wide_layers_equals_plain_hooks_and_uses_it(calls):
    network, images = wide(), torch.randn(4, 3, 14, 14)
    lesions = {
        "none": None,
        "ablate": Ablate("3", fraction=0.3),
        "noise": Noise("5", std=0.5),
        "prune": Prune("4", fraction=0.4),
        "both": Ablate("1", fraction=0.1) + Prune("6", fraction=0.2),
    }
    found = sweep(network, lesions, images, options=Options(rows=8))
    assert len(calls) > 2
    for name, lesion in lesions.items():
        with lesioned(network, lesion):
            torch.testing.assert_close(found[name], network(images), rtol=1e-5, atol=1e-5)
    del calls[:]
    sweep(network, lesions, images, options=Options(rows=8, winograd=False))
    assert not calls


@torch.no_grad()
def test_a_unit_sweep_of_wide_layers_equals_plain_hooks_and_uses_it(calls):
    network, images = wide(), torch.randn(4, 3, 14, 14)
    for part in stream_units(network, "3", images, units=[0, 9, 200]):
        for unit, output in zip(part.units, part.outputs, strict=True):
            with lesioned(network, Ablate("3", units=[unit])):
                torch.testing.assert_close(output, network(images), rtol=1e-5, atol=1e-5)
    assert calls


@torch.no_grad()
def test_it_is_off_between_the_parts_of_a_sweep(calls):
    network, images = wide(), torch.randn(4, 3, 14, 14)
    layer, large_images = large()
    for _ in stream(network, {"none": None, "some": Ablate("3", fraction=0.2)}, images):
        before = len(calls)
        layer(large_images)
        assert len(calls) == before
