"""Rankings find the units that were made to matter, and no others."""

import math

import pytest
import torch

from facelesion.analysis import ranking_agreement, responsible_units, selectivity, unit_activation
from facelesion.errors import Error


def test_activation_of_a_map_is_its_mean_over_positions():
    maps = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert torch.equal(unit_activation(maps), maps.mean((2, 3)))
    assert torch.equal(unit_activation(maps[:, :, 0, 0]), maps[:, :, 0, 0])


def test_responsible_units_reach_three_quarters_of_the_largest_mean():
    means = torch.tensor([10.0, 7.5, 7.4, 0.0, 9.0])
    images = means + torch.tensor([[1.0], [-1.0]]) * torch.tensor([0.0, 3, 0, 0, 5])  # the same means
    assert responsible_units(images).tolist() == [0, 1, 4]
    assert responsible_units(images, share=1.0).tolist() == [0]
    assert responsible_units(images[:, :, None, None].expand(-1, -1, 3, 3)).tolist() == [0, 1, 4]


def test_a_dead_layer_has_no_responsible_unit():
    assert responsible_units(torch.zeros(3, 5)).tolist() == []


@pytest.mark.parametrize("share", [0, 1.1, -1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(Error, match="share"):
        responsible_units(torch.ones(1, 2), share)


@pytest.fixture
def domains():
    draw = torch.Generator().manual_seed(0)
    faces, objects, scenes = (torch.randn(60, 50, generator=draw) for _ in range(3))
    faces[:, :5] += 2  # against both
    faces[:, 5:8] += 2  # against objects alone
    scenes[:, 5:8] += 2
    objects[:, 8:10] += 3  # the other way round
    return {"faces": faces, "objects": objects, "scenes": scenes}


def test_selective_units_exceed_every_other_domain(domains):
    found = selectivity(domains, "faces")
    assert sorted(found.units.tolist()) == [0, 1, 2, 3, 4]
    assert torch.all(found.t[found.units].diff() <= 0), "the most selective first"
    assert found.selective.sum() == 5


def test_both_tests_agree_with_scipy_and_the_answer_says_which_was_made(domains):
    from scipy import stats

    for test, equal in (("welch", False), ("student", True)):
        found = selectivity({name: domains[name] for name in ("faces", "objects")}, "faces", test=test)
        faces, objects = domains["faces"].double().numpy(), domains["objects"].double().numpy()
        assert found.t.numpy() == pytest.approx(stats.ttest_ind(faces, objects, equal_var=equal).statistic)
        assert (found.test, found.over) == (test, "channels")
    few = {"faces": domains["faces"][:8], "objects": 3 * domains["objects"]}
    assert not torch.allclose(selectivity(few, "faces").t, selectivity(few, "faces", test="student").t)


def test_over_positions_every_position_is_a_unit_as_published():
    draw = torch.Generator().manual_seed(0)
    faces, cars = torch.randn(40, 6, 3, 3, generator=draw), torch.randn(40, 6, 3, 3, generator=draw)
    faces[:, 2, 1] += 3  # a row of three positions
    faces[:, 4, 0, 0] += 5  # one position, though a clearer one
    found = selectivity({"faces": faces, "cars": cars}, "faces", test="student", over="positions")
    assert found.t.shape == found.p.shape == found.selective.shape == (6, 3, 3)
    assert torch.nonzero(found.selective).tolist() == [[2, 1, 0], [2, 1, 1], [2, 1, 2], [4, 0, 0]]
    assert found.units.tolist() == [2, 4]
    flat = selectivity({"faces": faces.flatten(1), "cars": cars.flatten(1)}, "faces", test="student")
    assert torch.equal(found.t.flatten(), flat.t) and torch.equal(found.p.flatten(), flat.p)


def test_what_cannot_be_compared_is_refused(domains):
    with pytest.raises(Error, match="no test 'anova'"):
        selectivity(domains, "faces", test="anova")
    with pytest.raises(Error, match="take channels, positions"):
        selectivity(domains, "faces", over="units")
    with pytest.raises(Error, match="same channels"):
        selectivity({**domains, "scenes": domains["scenes"][:, :40]}, "faces")
    with pytest.raises(Error, match="'scenes' are not finite"):
        selectivity({**domains, "scenes": domains["scenes"] * math.nan}, "faces")


def test_selectivity_corrects_for_the_number_of_units():
    draw = torch.Generator().manual_seed(1)
    chance = {name: torch.randn(30, 2000, generator=draw) for name in ("faces", "objects")}
    assert selectivity(chance, "faces").selective.sum() <= 1  # uncorrected, about 50 would be


def test_a_silent_unit_is_not_selective(domains):
    for values in domains.values():
        values[:, 20] = 0.0
    found = selectivity(domains, "faces")
    assert not found.selective[20] and found.p[20] == 1 and found.t[20] == 0


def test_selectivity_needs_a_domain_and_something_to_compare_it_with(domains):
    with pytest.raises(Error, match="no domain 'cats'"):
        selectivity(domains, "cats")
    with pytest.raises(Error, match="two domains"):
        selectivity({"faces": domains["faces"]}, "faces")
    with pytest.raises(Error, match="'objects' needs two images"):
        selectivity({"faces": domains["faces"], "objects": domains["objects"][:1]}, "faces")


def test_a_ranking_agrees_with_itself_and_with_any_rising_function_of_itself():
    score = torch.randn(100, generator=torch.Generator().manual_seed(0))
    found = ranking_agreement(score, score.exp())
    assert found.correlation == pytest.approx(1) and found.overlap == 1
    assert (found.top, found.expected) == (10, 0.1)
    assert found.p == pytest.approx(1 / math.comb(100, 10))
    assert ranking_agreement(score, -score).correlation == pytest.approx(-1)


def test_unrelated_rankings_agree_by_chance_only():
    draw = torch.Generator().manual_seed(0)
    overlaps = [
        ranking_agreement(torch.randn(200, generator=draw), torch.randn(200, generator=draw), top=0.2)
        for _ in range(200)
    ]
    assert sum(a.overlap for a in overlaps) / 200 == pytest.approx(0.2, abs=0.02)
    assert sum(a.p < 0.05 for a in overlaps) / 200 < 0.09


def test_a_flat_ranking_has_no_correlation():
    assert math.isnan(ranking_agreement(torch.ones(5), torch.arange(5.0), top=1).correlation)


@pytest.mark.parametrize(
    ("a", "b", "top", "complaint"),
    [
        (torch.ones(4), torch.ones(5), 1, "same units"),
        (torch.tensor([1.0, float("nan"), 2.0]), torch.ones(3), 1, "finite"),
        (torch.ones(4), torch.ones(4), 9, "first 9 of 4"),
    ],
)
def test_rankings_that_cannot_be_compared_are_refused(a, b, top, complaint):
    with pytest.raises(Error, match=complaint):
        ranking_agreement(a, b, top)
