"""Large maps go through a network a few images at a time, and nothing else about them changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from facelesion.lesions import Ablate, Noise, lesioned
from facelesion.sweep import Options, stretches, sweep, unit_sweep
from facelesion.sweep.recorded import Recorded
from facelesion.sweep.stretches import end_of_large_maps, through

MAP = 4 * 16 * 16 * 4  # bytes of one image's map in the first layers


class Convolutions(TorchFunctionMode):
    """Notes how many images, of which size, each convolution is given."""

    def __init__(self):
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is functional.conv2d:
            self.seen.append((len(args[0]), args[0].shape[-1]))
        return func(*args, **(kwargs or {}))


def narrowing() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True),
            nn.MaxPool2d(4), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(96, 5),
        ).eval()  # fmt: skip


@pytest.fixture
def small_caches(monkeypatch):
    """Caches that hold two images' first maps, of which one is large."""
    monkeypatch.setattr(stretches, "CACHE", 4 * MAP)
    monkeypatch.setattr(stretches, "LARGE", MAP)


def test_large_maps_end_where_the_first_small_one_is_all_that_goes_on(small_caches):
    trace = Recorded(narrowing(), torch.zeros(2, 3, 16, 16))
    assert end_of_large_maps(trace) == 5  # behind the pool


def test_a_network_without_any_is_left_whole():
    assert end_of_large_maps(Recorded(narrowing(), torch.zeros(2, 3, 16, 16))) == 0


@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("last", [False, True])
@torch.no_grad()
def test_gives_what_the_whole_batch_gives_in_its_layout(images, last, small_caches):
    network, batch = narrowing(), torch.rand(images, 3, 16, 16)
    trace = Recorded(network, torch.zeros(2, 3, 16, 16))
    trace.channels_last = last
    for begin, end in ((0, 3), (0, 6), (2, 5), (3, 9), (6, 9), (0, 9), (4, 4)):
        start = trace.run(trace.start(batch), 0, begin) if begin else trace.start(batch)
        whole = trace.run(trace.repeated(start, 1), begin, end) if begin < end else start
        found = through(trace, trace.repeated(start, 1), begin, end)
        if end == trace.length:
            whole, found = {"output": whole}, {"output": found}
        assert found.keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(found[name], value)
            assert found[name].stride() == value.stride()


@torch.no_grad()
def test_sweeps_take_large_maps_few_images_at_a_time_and_small_ones_whole(small_caches):
    network, images = narrowing(), torch.rand(6, 3, 16, 16)
    lesions = {"none": None, "ablate": Ablate("5", units=[1]), "noise": Noise("6", std=0.3)}
    sweep(network, lesions, images)  # PyTorch loads what it needs once
    with Convolutions() as watch:
        found = sweep(network, lesions, images)
    # What goes before tries the network out.
    assert watch.seen[-8:-2] == [(2, 16)] * 6 and {size for _, size in watch.seen[-2:]} == {4}
    for name, lesion in lesions.items():
        with lesioned(network, lesion):
            torch.testing.assert_close(found[name], network(images))
    with Convolutions() as watch:
        units = unit_sweep(network, "5", images)["5"]
    assert watch.seen[-7:-1] == [(2, 16)] * 6 and watch.seen[-1] == (6, 4)
    for unit, output in enumerate(units):
        with lesioned(network, Ablate("5", units=[unit])):
            torch.testing.assert_close(output, network(images))


@torch.no_grad()
def test_a_lesion_among_the_large_maps_is_one_all_the_same(small_caches):
    network, images = narrowing(), torch.rand(5, 3, 16, 16)
    lesions = {f"ablate {site}": Ablate(site, units=[0, 2]) for site in ("0", "2", "4", "5")}
    lesions |= {f"noise {site}": Noise(site, std=0.2) for site in ("0", "2", "4", "5")}
    lesions["two"] = Ablate("0", units=[1]) + Noise("6", std=0.1)
    found = sweep(network, lesions, images, options=Options(batch_size=3))
    for name, lesion in lesions.items():
        with lesioned(network, lesion, ids=range(5)):
            torch.testing.assert_close(found[name], network(images))
    units = unit_sweep(network, ["0", "2"], images)
    for site, outputs in units.items():
        for unit, output in enumerate(outputs):
            with lesioned(network, Ablate(site, units=[unit])):
                torch.testing.assert_close(output, network(images))
