"""One step of damage: what a kind is handed of the output, and which of its numbers lesions side by side share."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from made_up_gpu import GPU, Watch, on_a_gpu
from torch import nn

from facelesion.lesions import (
    Ablate,
    Calibration,
    LesionError,
    Material,
    Noise,
    Scale,
    Shift,
    UnitLesion,
    calibrate,
    lesioned,
)

SEEN: list[dict[str, torch.Tensor]] = []


@dataclass(frozen=True, repr=False)
class Spied(UnitLesion):
    """Changes nothing; keeps what a kind is handed."""

    by: float = 1.0
    numeric = ("by",)
    draws_values = True

    def damage(self, y: torch.Tensor, material: Material) -> torch.Tensor:
        SEEN.append({"y": y, "by": material.number("by"), "normal": material.normal(), "uniform": material.uniform(),
                     "by unit": material.uniform(per_unit=True)})  # fmt: skip
        return y


def spied(lesions, shape=(2, 8, 3, 5), dtype=torch.float32) -> list[dict[str, torch.Tensor]]:
    SEEN.clear()
    rows = len(lesions) if isinstance(lesions, list) else 1
    with lesioned(nn.Identity(), lesions) as network:
        network(torch.rand(rows * shape[0], *shape[1:], dtype=dtype))
    return list(SEEN)


@pytest.mark.parametrize(("units", "handed"), [(1, 1), (3, 3), (4, 8), (5, 8), (8, 8)])
def test_a_kind_works_on_its_units_alone_until_they_are_half_of_all(units, handed):
    (seen,) = spied(Spied(".", units=range(units)))
    assert seen["y"].shape == seen["normal"].shape == seen["uniform"].shape == (1, 2, handed, 3, 5)
    assert seen["by unit"].shape == (1, 2, handed, 1, 1) and seen["by"].shape == (1, 1, 1, 1, 1)


def test_rows_that_a_step_leaves_alone_are_not_handed_to_it():
    (seen,) = spied([Spied(".", units=[0]), None, Spied(".", units=[2], by=2.0), Noise(".", std=1.0)])
    assert seen["y"].shape == (2, 2, 2, 3, 5) and seen["by"].flatten().tolist() == [1.0, 2.0]


def test_doses_of_one_lesion_share_their_draws_and_lesions_of_other_seeds_do_not():
    (seen,) = spied([Spied(".", by=dose) for dose in (1.0, 2.0, 3.0)])
    assert seen["normal"].shape[0] == seen["by unit"].shape[0] == 1 and seen["by"].shape[0] == 3
    (seen,) = spied([Spied(".", by=dose, seed=seed) for dose, seed in ((1, 0), (1, 7), (2, 0), (2, 7))])
    for draws in (seen["normal"], seen["uniform"], seen["by unit"]):
        first, other, *again = draws
        assert torch.equal(first, again[0]) and torch.equal(other, again[1]) and not (first == other).any()


def test_what_is_damaged_whole_is_not_copied_out_nor_are_draws_that_nobody_shares():
    with lesioned(nn.Identity(), [Noise(".", std=1.0, seed=seed) for seed in range(3)]) as network, Watch() as watch:
        network(torch.rand(6, 4, 2, 2))
    assert watch.done["normal"] == 0 < watch.done["mul"] and not watch.done["index_select"] and not watch.done["where"]


@pytest.mark.parametrize(
    ("network", "doses"),
    [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.float16, torch.float32)],
)
def test_a_dose_is_as_precise_as_the_network_and_never_half_as_much(network, doses):
    (seen,) = spied(Spied(".", by=0.1), dtype=network)
    assert seen["by"].dtype == doses and float(seen["by"]) == float(torch.tensor(0.1, dtype=doses))


def test_damage_in_double_precision_is_computed_in_it():
    model, y = nn.Sequential(nn.Identity()).double(), torch.rand(4, 6, 2, 2, dtype=torch.float64)
    known = calibrate(model, y, "0")
    mean, deviation = (of["0"].double().view(-1, 1, 1) for of in (known.means, known.deviations))
    for lesion, wanted in (
        (Scale("0", by=0.1), 0.1 * y),
        (Ablate("0", to="mean"), mean.expand_as(y)),
        (Shift("0", by=0.3, relative=True), y + 0.3 * deviation),
    ):
        with lesioned(model, lesion, calibration=known):
            assert torch.allclose(model(y), wanted, rtol=0, atol=1e-14), lesion


@dataclass(frozen=True, repr=False)
class SpiedHealth(UnitLesion):
    """Changes nothing; keeps the healthy moments that it is handed."""

    relative_to_health = True

    def damage(self, y: torch.Tensor, material: Material) -> torch.Tensor:
        SEEN.append({"mean": material.mean(), "deviation": material.deviation()})
        return y


@pytest.mark.parametrize("units", [(0, 2), (0, 1, 2, 4)])
def test_healthy_moments_are_those_of_the_units_in_the_networks_precision_whatever_they_were_written_in(units):
    SEEN.clear()
    many = torch.arange(5.0, dtype=torch.float64)
    known = Calibration({"": many}, {"": many / 2}, 1)
    with lesioned(nn.Identity(), SpiedHealth(".", units=units), calibration=known) as network:
        network(torch.zeros(1, 5, 2, 2))
    handed = many[list(units)] if len(units) < 2.5 else many
    ((mean, deviation),) = (seen.values() for seen in SEEN)
    assert mean.dtype == deviation.dtype == torch.float32 and mean.shape == (len(handed), 1, 1)
    assert mean.flatten().tolist() == handed.tolist() and deviation.flatten().tolist() == (handed / 2).tolist()


def test_a_network_in_half_precision_stays_in_it():
    with lesioned(nn.Identity(), Noise(".", std=1.0)) as network:
        assert network(torch.rand(2, 3).half()).dtype == torch.float16


def test_lesions_of_as_many_units_that_are_not_the_same_damage_each_its_own():
    x = torch.ones(2, 9)
    with lesioned(nn.Identity(), [Ablate(".", units=[0, 1]), Ablate(".", units=[1, 2])]) as network:
        assert network(x).tolist() == [[0, 0, *[1] * 7], [1, 0, 0, *[1] * 6]]


def donors(lesions, images: int) -> torch.Tensor:
    """(lesions, images): whose output each image's units got."""
    x = torch.arange(images).float()[:, None].expand(images, 3).repeat(len(lesions), 1)
    with lesioned(nn.Identity(), lesions) as network:
        made = network(x).view(len(lesions), images, 3)
    assert (made == made[..., :1]).all()  # one image gives all units
    return made[..., 0].long()


def test_every_other_image_is_resampled_from_as_often_and_an_image_never_from_itself():
    found = donors([Ablate(".", to="resample", seed=seed) for seed in range(200)], images=5)
    away = (found - torch.arange(5)) % 5
    counts = torch.bincount(away.flatten(), minlength=5).tolist()
    assert counts[0] == 0 and all(200 < count < 300 for count in counts[1:])
    assert donors([Ablate(".", to="resample")], images=2).tolist() == [[1, 0]]


def test_whom_a_seed_resamples_from_does_not_change_between_versions():
    assert donors([Ablate(".", to="resample", seed=3)], images=6).tolist() == [[5, 3, 0, 2, 0, 0]]


def test_resampling_side_by_side_is_each_lesion_alone():
    lesions = [Ablate(".", fraction=dose, to="resample", seed=seed) for dose, seed in ((1, 0), (1, 1), (0.6, 0))]
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    with lesioned(nn.Identity(), lesions) as network:
        together = network(x.repeat(3, 1)).chunk(3)
    for lesion, rows in zip(lesions, together, strict=True):
        with lesioned(nn.Identity(), lesion) as network:
            assert torch.equal(network(x), rows), lesion
    assert not torch.equal(together[0], together[1])


def test_one_image_alone_has_none_to_resample_from():
    with (
        pytest.raises(LesionError, match=r"^resample-ablate \.: another image is needed to resample from; give"),
        lesioned(nn.Identity(), Ablate(".", to="resample")) as network,
    ):
        network(torch.ones(1, 3))


@pytest.mark.parametrize("lesions", [
    [Ablate("0", units=[0, 3]), Ablate("0", fraction=0.5), None],
    [Shift("0", by=1.0, relative=True), Shift("0", by=2.0, relative=True)],
    [Scale("0", by=0.5, where=["10", "01"]), Scale("0", by=0.25)],
])  # fmt: skip
@torch.no_grad()
def test_the_first_forward_waits_for_nothing_that_it_sends_to_the_device(lesions):
    model, x = nn.Sequential(nn.Identity()), torch.rand(len(lesions) * 2, 8, 2, 2)
    known = calibrate(model, x, "0")
    with on_a_gpu(model, x) as (there, images), lesioned(there, lesions, calibration=known), Watch() as watch:
        assert there(images).device.type == GPU
    assert not watch.brought, watch.brought


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("lesions", [Ablate(".", units=[1]), [Ablate(".", units=[1]), None]], ids=str)
def test_maps_are_damaged_in_the_layout_they_have_and_never_laid_out_anew(layout, lesions):
    images = torch.rand(4, 8, 3, 3).contiguous(memory_format=layout)
    with lesioned(nn.Identity(), lesions) as network, Watch() as watch:
        assert network(images).is_contiguous(memory_format=layout)
    assert watch.done["index_copy"] and not watch.done["clone"]
