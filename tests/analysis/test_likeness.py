"""Likeness of representations: what plain loops give, blind to scale; with intervals over people."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from facelesion.analysis import likeness_to_health
from facelesion.analysis.likeness import distance_likeness, kernel_alignment, people_drawn, with_interval
from facelesion.errors import Error


def units(seed: int, pictures: int = 12, count: int = 7) -> torch.Tensor:
    return torch.randn(pictures, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_likeness_of_distances_is_what_loops_and_scipy_give():
    one, two = units(0), units(0) + 0.7 * units(1)
    found, weight = distance_likeness(one, two)
    for i in range(len(one)):
        others = [j for j in range(len(one)) if j != i]
        rows = [[1 - np.corrcoef(x[i], x[j])[0, 1] for j in others] for x in (one.numpy(), two.numpy())]
        assert float(found[i]) == pytest.approx(stats.spearmanr(*rows).statistic, abs=1e-9)
    assert weight.tolist() == [1.0] * len(one)


def test_kernel_alignment_is_the_published_ratio():
    one, two = units(2), torch.cat([units(2)[:, :3], units(3)], 1)
    above, below = kernel_alignment(one, two)
    x, y = (each.numpy() - each.numpy().mean(0) for each in (one, two))
    expected = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert float(above.sum() / below.sum()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("likeness", [distance_likeness, kernel_alignment])
def test_likeness_is_one_with_itself_blind_to_scale_and_nothing_with_a_dead_network(likeness):
    x = units(4)
    for same in (x, 5 * x):
        above, below = likeness(x, same)
        assert float(above.sum() / below.sum()) == pytest.approx(1.0)
    for dead in (torch.zeros_like(x), torch.full_like(x, 0.3)):
        above, below = likeness(x, dead)
        told = with_interval("a", above, below, torch.ones(5, len(x), dtype=torch.float64))
        assert told["a"] == pytest.approx(0, abs=1e-9)


def test_an_interval_draws_whole_people():
    people = ("ann", "ann", "bo", "cy", "cy", "cy")
    draws = people_drawn(people, 0)
    assert draws[:, 0].equal(draws[:, 1]) and draws[:, 3].equal(draws[:, 5])
    by_person = draws[:, [0, 2, 3]]
    assert (by_person.sum(1) == 3).all() and by_person.mean().item() == pytest.approx(1, abs=0.05)
    above = torch.tensor([0.9, 0.9, 0.5, 0.1, 0.1, 0.1], dtype=torch.float64)
    told = with_interval("x", above, torch.ones_like(above), draws)
    assert told["x"] == pytest.approx(2.6 / 6)
    assert (told["x_low"], told["x_high"]) == pytest.approx((0.1, 0.9))


def test_both_are_told_with_their_intervals_and_other_numbers_of_pictures_are_refused():
    x, people = units(5), [f"p{row // 3}" for row in range(12)]
    found = likeness_to_health(x, x + units(6), people)
    assert list(found) == ["rdm", "rdm_low", "rdm_high", "cka", "cka_low", "cka_high"]
    for name in ("rdm", "cka"):
        assert 0 < found[f"{name}_low"] < found[name] < found[f"{name}_high"] < 1
    with pytest.raises(Error, match="12 and 11 pictures"):
        likeness_to_health(x, x[1:], people)
