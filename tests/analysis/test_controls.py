"""Controls are alike in what they must be, differ in what they may, and are many."""

import pytest
import torch

from facelesion.analysis import matched_units, random_units
from facelesion.errors import Error

ACTIVATION = torch.rand(256, generator=torch.Generator().manual_seed(0)) ** 3  # skewed, as activations are
LESION = torch.argsort(ACTIVATION, descending=True)[10:60:2]  # 25 busy units, not quite the busiest


def test_random_sets_have_the_number_asked_and_leave_out_the_lesion():
    rows = random_units(256, 25, draws=40, exclude=LESION)
    assert rows.shape == (40, 25)
    assert all(len(set(row.tolist())) == 25 for row in rows)
    assert not set(rows.flatten().tolist()) & set(LESION.tolist())
    assert len({tuple(row.tolist()) for row in rows}) == 40


def test_every_unit_is_drawn_about_as_often():
    counts = torch.bincount(random_units(20, 5, draws=2000).flatten(), minlength=20)
    assert counts.min() > 400 and counts.max() < 600


def test_more_draws_leave_the_earlier_ones_as_they_were():
    assert torch.equal(random_units(50, 5, 10, seed=3)[:4], random_units(50, 5, 4, seed=3))
    assert not torch.equal(random_units(50, 5, 4, seed=3), random_units(50, 5, 4, seed=4))
    few, many = (matched_units(ACTIVATION, LESION, draws).units for draws in (3, 6))
    assert torch.equal(few, many[:3])


def test_more_units_than_there_are_cannot_be_drawn():
    with pytest.raises(Error, match="6 units cannot be drawn from 5"):
        random_units(8, 6, 1, exclude=[0, 1, 2])


def test_matched_sets_are_as_active_as_the_lesion_where_random_sets_are_not():
    controls = matched_units(ACTIVATION, LESION, draws=50)
    gap = ACTIVATION[controls.units].mean(1) - ACTIVATION[LESION].mean()
    assert (gap.abs() / ACTIVATION.std()).max() <= 0.1
    assert torch.allclose(controls.mismatch.float(), gap / ACTIVATION.std(), atol=1e-5)
    plain = random_units(256, 25, 50, exclude=LESION)
    assert ((ACTIVATION[plain].mean(1) - ACTIVATION[LESION].mean()).abs() / ACTIVATION.std()).min() > 0.5


def test_matched_sets_err_to_both_sides_and_by_little():
    controls = matched_units(ACTIVATION, LESION, draws=60)
    assert controls.mismatch.abs().max() < 0.05  # the best that is found, not the first inside the tolerance
    assert abs(controls.bias) < 0.005
    assert 0.25 < (controls.mismatch > 0).double().mean() < 0.75


def test_matched_sets_spread_as_the_lesion_does():
    wide = torch.argsort(ACTIVATION)[[10, 60, 110, 160, 210, 230, 240, 245]]  # from silent to busy
    spread = ACTIVATION.double().std()
    rows = matched_units(ACTIVATION, wide, draws=30)
    gap = (
        ACTIVATION[rows.units].double().std(1, correction=0) - ACTIVATION[wide].double().std(correction=0)
    ) / spread
    assert torch.allclose(rows.spread, gap, atol=1e-5)
    assert gap.abs().mean() < 0.15
    assert rows.mismatch.abs().max() < 0.05


def test_few_possible_sets_are_told_and_a_unit_in_all_of_them():
    activation = torch.tensor([0.0, 1, 2, 3, 4, 5, 40])
    controls = matched_units(activation, [3], draws=20, tolerance=None)
    assert controls.distinct == len({tuple(row) for row in controls.units.tolist()}) <= 6
    assert controls.units.shape == (20, 1)
    busy = torch.cat(
        [torch.rand(40, generator=torch.Generator().manual_seed(2)), torch.tensor([3.0, 3.1, 3.2])]
    )
    controls = matched_units(busy, [40, 41], draws=10, tolerance=None)
    assert controls.commonest == 1.0  # the one other busy unit
    assert controls.bias == pytest.approx(float(controls.mismatch.mean())) and controls.bias < -0.5


@pytest.mark.parametrize(
    "arguments",
    [
        dict(draws=0),
        dict(draws=2, tolerance=-1.0),
        dict(draws=2, tries=0),
        dict(draws=2, tolerance=float("nan")),
    ],
)
def test_numbers_that_ask_for_no_control_are_refused(arguments):
    with pytest.raises(Error):
        matched_units(ACTIVATION, LESION, **arguments)
    with pytest.raises(Error, match="draws is 0"):
        random_units(8, 2, 0)


def test_matched_sets_differ_from_one_another_and_from_the_lesion():
    rows = matched_units(ACTIVATION, LESION, draws=50).units
    assert rows.shape == (50, 25)
    assert all(len(set(row.tolist())) == 25 for row in rows)
    assert not set(rows.flatten().tolist()) & set(LESION.tolist())
    assert len({tuple(row.tolist()) for row in rows}) == 50


def test_units_without_equals_are_reported_and_not_passed_off_as_matched():
    activation = torch.cat(
        [torch.rand(60, generator=torch.Generator().manual_seed(0)), torch.tensor([50.0, 60.0])]
    )
    with pytest.raises(Error, match="too extreme"):
        matched_units(activation, [60, 61], draws=2)
    loose = matched_units(activation, [60, 61], draws=2, tolerance=None)
    assert (loose.mismatch < -3).all()


@pytest.mark.parametrize(
    ("units", "complaint"),
    [([], "one at least"), ([1, 1], "different"), ([256], "0 to 255"), (range(200), "too few")],
)
def test_lesions_that_cannot_be_matched_are_refused(units, complaint):
    with pytest.raises(Error, match=complaint):
        matched_units(ACTIVATION, list(units), draws=1)


def test_a_site_where_all_units_are_alike_is_matched_by_any():
    assert matched_units(torch.ones(10), [0, 1], draws=3).mismatch.tolist() == [0, 0, 0]
