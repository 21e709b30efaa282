"""A sweep's way with a processor: the same answers, only where it gains, and only while the sweep computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from facelesion.lesions import Ablate, Noise, Prune, lesioned
from facelesion.sweep import Options, make_plan, matrices, processor, stream, stream_units, sweep
from facelesion.sweep.matrices import product
from facelesion.sweep.processor import OnProcessor


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


KERNEL = 256 * 256 * 36 * 4  # bytes of a transformed kernel of `large`


def large(**changes):
    given = {
        "in": 256,
        "out": 256,
        "size": 32,
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


def noted(monkeypatch, name):
    """What the room's function of this name is given from here on: the first argument's shapes."""
    own, seen = getattr(processor, name), []

    def counted(first, *rest):
        seen.append(first.shape)
        return own(first, *rest)

    monkeypatch.setattr(processor, name, counted)
    return seen


@pytest.fixture
def calls(monkeypatch):
    return noted(monkeypatch, "winograd")


@torch.no_grad()
def test_a_large_convolution_gains(calls):
    layer, images = large()
    plain = layer(images)
    with OnProcessor():
        torch.testing.assert_close(layer(images), plain, rtol=0, atol=1e-5)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"in": 128}, {"out": 128}, {"kernel": 1, "padding": 0}, {"padding": 0}, {"padding": "same"}, {"stride": 2},
        {"dilation": 2, "padding": 2}, {"groups": 2}, {"size": 28},
    ],
    ids=str,
)  # fmt: skip
@torch.no_grad()
def test_any_other_is_computed_as_ever(changes, calls):
    layer, images = large(**changes)
    plain = layer(images)
    with OnProcessor():
        assert torch.equal(layer(images), plain)
    assert not calls


def test_training_double_precision_and_the_plain_layout_are_computed_as_ever(calls):
    layer, images = large()
    with OnProcessor():
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
    with OnProcessor() as mode:
        first = layer(images)
        assert mode.kernel(layer.weight) is mode.kernel(layer.weight)
        layer.weight.mul_(2)
        layer.bias.mul_(2)
        torch.testing.assert_close(layer(images), 2 * first)
    assert len(calls) == 2


@pytest.mark.parametrize(("room", "expected"), [(None, 3), (0, 0), (KERNEL - 1, 0), (KERNEL, 1), (3 * KERNEL - 1, 2)])
@torch.no_grad()
def test_kernels_take_no_more_room_than_they_are_given_and_the_rest_is_computed_as_ever(room, expected, calls):
    layers = nn.Sequential(*(large()[0] for _ in range(3)))
    _, images = large()
    plain = layers(images)
    with OnProcessor(room=room) as mode:
        for _ in range(2):
            torch.testing.assert_close(layers(images), plain, rtol=0, atol=1e-4)
    assert len(calls) == 2 * expected
    held = sum(kernel.nbytes for _, kernel in mode.kernels.values())
    assert held == expected * KERNEL <= processor.bytes_for_kernels(layers, room)
    assert processor.bytes_for_kernels(layers) == 3 * KERNEL


def test_who_has_no_large_convolution_keeps_no_kernels():
    small = [large(**changes)[0] for changes in ({"in": 128}, {"kernel": 1, "padding": 0})]
    assert processor.bytes_for_kernels(nn.Sequential(*small, nn.Linear(512, 512))) == 0
    assert processor.bytes_for_kernels(large()[0].double()) == 0


@torch.no_grad()
def test_a_plan_counts_what_is_kept_beside_activations():
    layer, images = large()
    network = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    lesions = {"ablate": Ablate("1", units=[0])}
    drawing = lesions | {"noise": Noise("1", std=1.0)}

    def kept(lesions, **options):
        return make_plan(network, lesions, images, Options(**options)).kept_bytes

    budget = 4 * KERNEL
    assert kept(lesions, budget=budget) == kept(lesions) == KERNEL
    assert kept(lesions, budget=budget - 4) == KERNEL - 1
    assert kept(lesions, winograd=False) == 0
    assert kept(drawing, budget=budget) == KERNEL + budget // 8
    assert "MB kept beside them" in make_plan(network, lesions, images).explain()
    tight = make_plan(network, drawing, images, Options(budget=budget))
    assert 2 * tight.peak_bytes + tight.kept_bytes <= budget


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


@torch.no_grad()
def test_it_is_left_out_where_fewer_products_are_not_wanted(calls):
    layer, images = large()
    plain = layer(images)
    with OnProcessor(fewer_products=False):
        assert torch.equal(layer(images), plain)
    assert not calls


class TestProducts:
    """Products of matrices by another library than PyTorch's choice."""

    @pytest.fixture
    def taken(self, monkeypatch):
        return noted(monkeypatch, "product")

    @pytest.mark.parametrize("shape", [(256,), (7, 64), (2, 3, 40)], ids=str)
    @pytest.mark.parametrize("bias", [True, False])
    @torch.no_grad()
    def test_a_large_one_equals_the_layer(self, shape, bias, taken):
        layer, rows = nn.Linear(96, 200, bias=bias), torch.randn(*shape, 96)
        exact = functional.linear(rows.double(), layer.weight.double(), layer.bias.double() if bias else None)
        with OnProcessor():
            answer = layer(rows)
        assert answer.dtype == torch.float32 and answer.shape == exact.shape
        torch.testing.assert_close(answer.double(), exact, rtol=0, atol=1e-5)
        assert len(taken) == (matrices.by_onednn(rows))

    @torch.no_grad()
    def test_whatever_else_is_computed_as_ever(self, taken):
        layer, rows = nn.Linear(96, 200), torch.randn(256, 96)
        given = [rows[:4], rows.double(), rows.t().contiguous().t(), rows[0]]
        for each in given:
            own = nn.Linear(96, 200).to(each.dtype)
            plain = own(each)
            with OnProcessor():
                assert torch.equal(own(each), plain)
        with OnProcessor(), torch.enable_grad():
            layer(rows).sum().backward()
        assert not taken and layer.weight.grad is not None

    @torch.no_grad()
    def test_without_that_library_they_are_pytorchs_own(self, monkeypatch):
        monkeypatch.setattr(matrices, "ONEDNN", False)
        rows, matrix, bias = torch.randn(300, 64), torch.randn(128, 64), torch.randn(128)
        assert torch.equal(product(rows, matrix, bias), functional.linear(rows, matrix, bias))

    @torch.no_grad()
    def test_a_sweep_over_linear_layers_equals_plain_hooks(self, taken):
        network = nn.Sequential(nn.Linear(64, 512), nn.GELU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 3)).eval()
        images = torch.randn(8, 10, 64)
        lesions = {"none": None, "some": Ablate("1", fraction=0.3), "noise": Noise("3", std=0.5)}
        found = sweep(network, lesions, images)
        assert bool(taken) == matrices.by_onednn(images)
        for name, lesion in lesions.items():
            with lesioned(network, lesion):
                torch.testing.assert_close(found[name], network(images), rtol=1e-5, atol=1e-5)
