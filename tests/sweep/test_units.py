"""A unit sweep gives what one forward per removed unit gives, and begins each unit's run one layer later."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.lesions import Ablate, LesionError, calibrate, lesioned
from facelesion.sweep import Options, SweepError, stream_units, unit_sweep

SITES = {
    "toy": ("stem", "twice", "block.0", "block.1", "block", "late", "head"),
    "vgg": (
        "conv1_1",
        "conv1_2",
        "features.5",
        "conv3_3",
        "pool3",
        "conv4_2",
        "conv5_1",
        "conv5_2",
        "conv5_3",
        "pool",
    ),
    "resnet": (
        "conv1",
        "relu",
        "layer1.0.conv1",
        "layer2.0.bn1",
        "layer3",
        "layer4.0",
        "layer4.1.bn2",
        "avgpool",
    ),
    "mobilenet": ("features.0", "features.3.block.0.2", "features.4.block.1", "features.11", "classifier.0"),
    "vit": (
        "conv_proj",
        "encoder.layers.encoder_layer_0.mlp.0",
        "encoder.layers.encoder_layer_1",
        "encoder.ln",
    ),
    "facenet": ("conv2d_4b.relu", "repeat_2.8", "mixed_7a.branch0.1.conv", "last_bn"),
}


@pytest.fixture
def sites(zoo, request):
    return SITES[request.node.callspec.params["zoo"]]


def some_units(count: int) -> list[int]:
    return sorted({0, 1, count // 2, count - 1})


def test_every_unit_equals_one_forward_under_an_ablation(zoo, sites, naive, close):
    network, images, _ = zoo
    images = images[:3]
    for site in sites:
        units = [0, 3]
        outputs = unit_sweep(network, site, images, units=units, batch_size=2)
        (path, found) = next(iter(outputs.items()))
        assert len(found) == len(units)
        for unit, output in zip(units, found, strict=True):
            close(output, naive(network, Ablate(path, units=[unit]), images, batch_size=2))


def test_all_units_of_several_sites_in_one_walk(vgg, images, naive, close):
    found = unit_sweep(vgg, ["conv2_1", "conv4_*"], images)
    assert {path: len(outputs) for path, outputs in found.items()} == {
        "features.6": 16, "features.18": 64, "features.20": 64, "features.22": 64,
    }  # fmt: skip
    for path, outputs in found.items():
        for unit in (0, 7, len(outputs) - 1):
            close(outputs[unit], naive(vgg, Ablate(path, units=[unit]), images))


def test_removed_units_take_their_mean_where_asked(vgg, images, naive, close):
    calibration = calibrate(vgg, images, ["conv3_2", "conv5_3"])
    found = unit_sweep(vgg, ["conv3_2", "conv5_3"], images, to="mean", calibration=calibration, units=[2, 5])
    for path, outputs in found.items():
        for unit, output in zip((2, 5), outputs, strict=True):
            close(output, naive(vgg, Ablate(path, units=[unit], to="mean"), images, calibration=calibration))
    with pytest.raises(SweepError, match="calibrate"):
        unit_sweep(vgg, "conv3_2", images, to="mean")


def test_units_can_be_tried_on_top_of_others_that_are_gone(vgg, images, naive, close):
    here = unit_sweep(vgg, "conv4_1", images, units=[1, 4], removed={"features.18": [0, 9]})["features.18"]
    for unit, output in zip((1, 4), here, strict=True):
        close(output, naive(vgg, Ablate("conv4_1", units=[0, 9, unit]), images))
    elsewhere = unit_sweep(vgg, "conv4_1", images, units=[1], removed={"features.11": [3]})["features.18"]
    close(elsewhere[0], naive(vgg, Ablate("conv3_1", units=[3]) + Ablate("conv4_1", units=[1]), images))


def test_units_begin_their_own_runs_one_layer_later(vgg, images, multiply_adds):
    def work(**options):
        with multiply_adds() as done:
            for part in stream_units(vgg, "conv5_1", images, **options):
                assert part.outputs.shape[1:] == (5, 5)
        return done()

    with multiply_adds() as full, torch.no_grad():
        vgg(images)
    conv = 64 * 64 * 9 * 2 * 2 * len(images)
    # 64 runs of conv5_3, against 64 runs of conv5_2 and conv5_3.
    assert work(ahead=False) - work() == pytest.approx(64 * conv, rel=0.05)
    assert work() < 64 * full() / 10


def test_a_linear_readout_needs_no_run_at_all(vgg, images, multiply_adds):
    with multiply_adds() as full, torch.no_grad():
        vgg(images)
    with multiply_adds() as done:
        unit_sweep(vgg, "conv5_3", images)
    # Planning (5 images on paper, 10 tried out), one healthy pass, and the contributions.
    assert done() < 4.2 * full()


def test_chunks_and_batches_do_not_change_the_answers(vgg, images, close):
    once = unit_sweep(vgg, "conv4_3", images)["features.22"]
    for options in (
        Options(rows=1),
        Options(batch_size=2, rows=7),
        Options(channels_last=False),
        Options(trace=False),
    ):
        units = [0, 1, 63] if not options.trace else None
        other = unit_sweep(vgg, "conv4_3", images, units=units, options=options)["features.22"]
        close(other, once if units is None else once[units])


def test_effects_can_be_summed_up_as_they_come(vgg, images):
    whole = unit_sweep(vgg, "conv4_3", images)["features.22"]
    sums = unit_sweep(vgg, "conv4_3", images, batch_size=2, reduce=lambda outputs, rows: outputs.sum((1, 2)))
    torch.testing.assert_close(sums["features.22"], whole.double().sum((1, 2)), rtol=1e-4, atol=1e-4)


def test_the_network_is_left_as_it_was(vgg, images, naive):
    before, copy = naive(vgg, None, images), images.clone()
    unit_sweep(vgg, ["features.0", "conv5_3"], images, units=[1], removed={"features.0": [0]})
    assert torch.equal(copy, images) and torch.equal(before, naive(vgg, None, images))


def test_a_unit_that_is_not_there_is_told(vgg, images):
    with pytest.raises(SweepError, match="no unit 99"):
        unit_sweep(vgg, "conv4_3", images, units=[99])


def test_hooks_of_the_user_between_site_and_next_layer_are_heeded(images, naive, close):
    from facelesion.models.vgg import VGGFace

    network = VGGFace(width=0.125).eval()
    handle = network.features[26].register_forward_hook(lambda module, args, output: output.abs().sqrt())
    found = unit_sweep(network, "conv5_1", images, units=[0, 5])["features.25"]
    for unit, output in zip((0, 5), found, strict=True):
        close(output, naive(network, Ablate("conv5_1", units=[unit]), images))
    handle.remove()


@pytest.mark.parametrize("size", [1e5, float("inf")])
def test_a_unit_that_outweighs_all_others_is_removed_without_a_trace(size, naive):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.LazyLinear(2)
    ).eval()
    images = torch.rand(3, 3, 8, 8)
    network(images)
    with torch.no_grad():
        network[0].bias[2] = size
    found = unit_sweep(network, "0", images, units=[2])["0"][0]
    wanted = naive(network, Ablate("0", units=[2]), images)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6 * float(wanted.abs().max()))


class Places(nn.Module):
    """Learned places, looked up once for all images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.places, self.second = nn.Linear(5, 6), nn.Embedding(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.first(x) + self.places(torch.arange(x.shape[1]))
        return self.second(torch.relu(x).mean(1))


def test_units_of_what_is_computed_once_for_all_images(naive, close):
    network, images = Places().eval(), torch.rand(5, 4, 5)
    for site in ("first", "places"):
        found = unit_sweep(network, site, images, units=[0, 3])[site]
        for unit, output in zip((0, 3), found, strict=True):
            with torch.no_grad(), lesioned(network, Ablate(site, units=[unit])):
                close(output, network(images))


def test_what_several_lesions_cannot_have_together_they_have_one_by_one():
    from facelesion.sweep.memory import in_chunks

    ran = []

    def run(items):
        ran.append(list(items))
        if len(items) > 1:
            raise LesionError("its rows cannot be shared out")
        return sum(items)

    assert list(in_chunks([1, 2, 3], 3, run, alone=LesionError)) == [([1], 1), ([2], 2), ([3], 3)]
    assert ran == [[1, 2, 3], [1], [2], [3]]
    with pytest.raises(LesionError):
        list(in_chunks([1, 2, 3], 3, run))


def test_a_network_without_a_head_ends_in_the_units_themselves(images, naive, close):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    for site in ("0", "1", "2"):
        found = unit_sweep(network, site, images)[site]
        for unit, output in enumerate(found):
            close(output, naive(network, Ablate(site, units=[unit]), images))
