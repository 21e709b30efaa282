"""A race finds the largest means without looking at everything, and errs no more often than it says."""

from __future__ import annotations

import math

import pytest
import torch

from facelesion.sweep.racing import bounds, looks, race

RUNNERS, IMAGES = 24, 400


def exhaustive(values: torch.Tensor, count: int) -> tuple[int, ...]:
    means = values.mean(1).tolist()
    return tuple(sorted(range(len(means)), key=lambda each: (-means[each], each))[:count])


def raced(values, expected, count, seed, **settings):
    order = torch.randperm(values.shape[1], generator=torch.Generator().manual_seed(seed))
    return race(
        lambda who, rows: values[torch.tensor(who)][:, rows], expected, count, order=order, **settings
    )


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed):
    return torch.randn(RUNNERS, IMAGES, generator=draw(seed)).double()


def skewed(seed):
    return normal(seed).exp()


def heavy(seed):
    """Student's t with three degrees of freedom: no fourth moment."""
    ratio = torch.randn(3, RUNNERS, IMAGES, generator=draw(seed + 9)).double().square().mean(0).sqrt()
    return normal(seed) / ratio


SPREADS = {"normal": normal, "skewed": skewed, "heavy": heavy}


def close_race(kind: str, seed: int, told: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of units whose means lie close together, and what is expected of them: `told` of what differs."""
    noise = SPREADS[kind](seed)
    level = 0.02 * torch.arange(RUNNERS).double()[torch.randperm(RUNNERS, generator=draw(seed + 1))]
    values = level[:, None] + 0.3 * (noise - noise.mean(1, keepdim=True))
    return values, told * values


@pytest.mark.parametrize("images", [10, 40, 400])
@pytest.mark.parametrize("count", [1, 3, 24])
def test_without_a_risk_everything_is_looked_at_and_the_winners_are_those_of_sorting(images, count):
    values = normal(3)[:, :images].round()  # with ties
    found = raced(values, torch.zeros_like(values), count, 0, chance=0.0)
    assert found.winners == exhaustive(values, count)
    assert found.measured == values.numel()
    assert list(found.means) == pytest.approx([float(values[who].mean()) for who in found.winners])


def test_a_race_finds_the_same_with_a_fraction_of_the_looks():
    values = normal(5) * 0.1 + torch.linspace(0, 2, RUNNERS).double()[:, None]
    found = raced(values, torch.zeros_like(values), 2, 0, chance=0.001)
    assert found.winners == exhaustive(values, 2) == (23, 22)
    assert list(found.means) == pytest.approx([float(values[who].mean()) for who in found.winners])
    assert found.measured < values.numel() / 5


def test_a_good_expectation_spares_looks_and_a_wrong_one_costs_looks_and_no_truth():
    values, _ = close_race("normal", 0, 0.0)
    said = {name: raced(values, told * values, 2, 1, chance=0.001) for name, told in
            {"nothing": 0.0, "nearly all": 0.95, "the opposite": -1.0}.items()}  # fmt: skip
    assert {found.winners for found in said.values()} == {exhaustive(values, 2)}
    assert said["nearly all"].measured < 0.5 * said["nothing"].measured
    assert said["the opposite"].measured >= said["nothing"].measured


@pytest.mark.parametrize("told", [0.0, 0.9])
@pytest.mark.parametrize("kind", SPREADS)
def test_a_race_errs_no_more_often_than_its_certificate_says(kind, told):
    risk, count, races = 0.1, 2, 200
    wrong = early = 0
    for seed in range(races):
        values, expected = close_race(kind, seed % 20, told)
        found = raced(values, expected, count, 1000 + seed, chance=risk / count)
        wrong += found.winners != exhaustive(values, count)
        early += found.measured < values.numel()
    assert early > 0.9 * races  # it does leave early: nothing is shown otherwise
    # As many errors as a true risk of 0.1 would pass in one run of a thousand.
    assert wrong <= risk * races + 3.1 * math.sqrt(races * risk * (1 - risk))


def test_bounds_that_assume_nothing_hold_where_a_rare_value_decides():
    """One image in forty is worth much: a sample without it looks sure of itself, and only the range says better."""
    values = torch.zeros(1, 400).double()
    values[:, :10] = 1.0
    missed = {"normal": 0, "by the range": 0}
    for seed in range(200):
        sample = torch.randperm(400, generator=draw(seed))[:25]
        for name, span in (("normal", None), ("by the range", 1.0)):
            _, upper = bounds(values[:, sample], torch.zeros_like(values), sample, 0.05, span)
            missed[name] += bool(upper < values.mean())
    assert missed["normal"] > 0.3 * 200 and missed["by the range"] <= 0.05 * 200


def test_who_is_silent_in_the_sample_and_expected_to_matter_elsewhere_does_not_leave():
    expected = torch.zeros(2, 400).double()
    expected[1, 300:] = 1.0
    sample = torch.arange(30)
    middle, upper = bounds(torch.zeros(2, 30).double(), expected, sample, 0.01, None)
    assert middle.tolist() == [0.0, 0.25] and upper[0] == 0 and upper[1] == math.inf


def test_bounds_close_as_the_sample_becomes_the_whole():
    values = normal(1)
    widths = []
    for many in (50, 200, 399):
        sample = torch.randperm(400, generator=draw(2))[:many]
        middle, upper = bounds(values[:, sample], torch.zeros_like(values), sample, 0.01, None)
        widths.append(float((upper - middle).mean()))
    assert widths[0] > 2 * widths[1] > 10 * widths[2]


def test_few_images_are_all_looked_at():
    assert looks(31) == [] and looks(32) == [16] and looks(3200) == [200, 400, 800, 1600]
