"""A GPU's rules, kept on a GPU that is not there (`made_up_gpu`).

What is asked of a context: no mixing of devices; after its first forward nothing goes to the device or comes from it;
few kernels.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import torch
from made_up_gpu import GPU, Watch, on_a_gpu
from torch import nn

from facelesion.lesions import (
    Ablate,
    Changes,
    Clamp,
    Dropout,
    Keep,
    Noise,
    Prune,
    Scale,
    Shift,
    calibrate,
    kinds,
    lesioned,
    philox,
)

KINDS = {
    "ablate": lambda s, w: Ablate(s, fraction=0.4, seed=2),
    "ablate to mean": lambda s, w: Ablate(s, units=[0, 3], to="mean"),
    "resample": lambda s, w: Ablate(s, fraction=0.5, to="resample"),
    "keep": lambda s, w: Keep(s, fraction=0.3),
    "noise": lambda s, w: Noise(s, std=0.7),
    "relative noise": lambda s, w: Noise(s, std=0.7, relative=True, units=[1, 2, 4]),
    "multiplicative noise": lambda s, w: Noise(s, std=0.5, multiplicative=True, fraction=0.5),
    "dropout": lambda s, w: Dropout(s, p=0.6),
    "channel dropout": lambda s, w: Dropout(s, p=0.6, per="channel", rescale=False),
    "clamp": lambda s, w: Clamp(s, min=0.1, max=0.3, fraction=0.8),
    "hold": lambda s, w: Clamp(s, value=0.4, units=[1]),
    "relative shift": lambda s, w: Shift(s, by=-1.0, relative=True),
    "scale": lambda s, w: Scale(s, by=0.3),
    "prune": lambda s, w: Prune(w, fraction=0.5, seed=1),
    "several": lambda s, w: Noise(s, std=0.5) + Ablate(s, fraction=0.3) + Prune(w, fraction=0.2) + Noise(s, std=0.5),
    "doses side by side": lambda s, w: [Noise(s, std=0.5), None, Noise(s, std=1.0), Ablate(s, fraction=0.2)],
}  # fmt: skip


@contextlib.contextmanager
def moved(case):
    """A case of the zoo on a GPU that is not there, with the calibration that was made on the host before."""
    known = calibrate(case.model, case.images, case.site)
    with on_a_gpu(case.model, case.images) as (model, images):
        yield replace(case, model=model, images=images), known


@pytest.fixture
def there(case):
    if any(isinstance(each, nn.RNNBase) for each in case.model.modules()):
        pytest.skip("PyTorch's own LSTM does not run on fake tensors of a GPU")
    with moved(case) as found:
        yield found


@pytest.fixture(scope="module")
def vgg16(zoo):
    made = zoo["vgg16"]()
    made.model.eval()
    return made


def test_every_kind_of_lesion_is_held_to_these_rules():
    tried = [KINDS[name]("a", "b") for name in KINDS]
    parts = [part for each in tried if not isinstance(each, list) for part in each.parts]
    assert {type(part).__name__ for part in parts} == set(kinds.KINDS)


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_a_lesion_mixes_no_devices_and_fetches_no_value(there, name):
    case, known = there
    lesion = KINDS[name](case.site, case.weights)
    images = case.images if not isinstance(lesion, list) else torch.cat([case.images] * len(lesion))
    with lesioned(case.model, lesion, calibration=known):
        assert case.model(images).device.type == GPU
        with Watch() as watch:
            damaged = case.model(images)
    assert damaged.device.type == GPU
    assert not watch.brought, watch.brought


@torch.no_grad()
def test_image_numbers_are_brought_to_the_device_once(there):
    case, _ = there
    with lesioned(case.model, Noise(case.site, std=1.0), ids=list(range(100, 106))):
        case.model(case.images)
        with Watch() as watch:
            case.model(case.images)
    assert not watch.brought, watch.brought


@torch.no_grad()
def test_the_change_of_a_lesion_is_added_up_where_it_is(there):
    case, _ = there
    with lesioned(case.model, Ablate(case.site, fraction=0.4), changes=Changes()):
        case.model(case.images)
        with Watch() as watch:
            case.model(case.images)
    assert not watch.brought, watch.brought


# Beside the healthy forward, at one site. What draws pays for its numbers: Philox for each image and unit, SplitMix64
# and a law for each place.
FEW = {
    "ablate": 3, "ablate to mean": 5, "keep": 3, "clamp": 4, "hold": 5, "relative shift": 3, "scale": 2, "prune": 3,
    "noise": 155, "dropout": 155, "channel dropout": 155, "resample": 155,
}  # fmt: skip


@pytest.mark.parametrize("name", FEW)
@torch.no_grad()
def test_a_lesion_adds_few_kernels_to_a_forward(vgg16, name):
    with moved(vgg16) as (case, known):
        with Watch() as healthy:
            case.model(case.images)
        with lesioned(case.model, KINDS[name](case.site, case.weights), calibration=known):
            case.model(case.images)
            with Watch() as damaged:
                case.model(case.images)
    added = damaged.done - healthy.done
    assert 0 < added.total() <= FEW[name], (added.total(), added)


@torch.no_grad()
def test_a_hundred_doses_add_no_more_kernels_than_two(vgg16):
    def added(count):
        with moved(vgg16) as (case, _):
            images = torch.cat([case.images] * count)
            doses = [Noise(case.site, std=0.1 * (dose + 1)) for dose in range(count)]
            with lesioned(case.model, doses):
                case.model(images)
                with Watch() as watch:
                    case.model(images)
        return watch.done.total()

    assert added(100) == added(2)


@pytest.mark.parametrize("law", [philox.uniform, philox.normal])
@pytest.mark.parametrize("places", [224 * 224, 1024 * 1024])
def test_what_draws_need_on_their_way_does_not_grow_with_what_is_drawn(law, places):
    images = units = 64
    with on_a_gpu(nn.Identity(), torch.zeros(1, 2, dtype=torch.int64)) as (_, keys), Watch() as watch:
        made = law(keys, torch.arange(images), torch.arange(units), places)
    assert made.shape == (1, images, units, places) and made.device.type == GPU
    assert 0 < watch.integers <= 1 << 21 < made.numel()


def test_the_watch_sees_what_is_brought_and_what_is_mixed(vgg16):
    with moved(vgg16) as (case, _):
        with Watch() as watch:
            torch.zeros(2).to(GPU)
        assert watch.brought
        with Watch() as watch:
            torch.linalg.inv(torch.eye(2, device=GPU))
        assert watch.brought == {"linalg_inv": 1}
        with pytest.raises(RuntimeError, match="device"):
            case.images + torch.ones(32)
        with pytest.raises(Exception, match="local_scalar_dense"):
            bool(case.images.sum() > 0)
