"""One function ranks units in every way: it finds planted units, says how sure it is, and equals naive code."""

import numpy as np
import pandas
import pytest
import torch
from scipy import stats
from torch import nn

from facelesion.analysis import agreement_of_rankings, rank, responsible_units, selectivity, top_units
from facelesion.analysis.activations import by_person, picture_activations
from facelesion.analysis.picture_groups import Groups, again, half
from facelesion.analysis.ranked import COLUMNS
from facelesion.analysis.ways import FromFile, Greedy, Moments, Responsible, Selective
from facelesion.errors import Error
from facelesion.lesions import Ablate, lesioned
from facelesion.sweep import greedy_ranking

PEOPLE = tuple(f"person {row // 2}" for row in range(24))


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 6, 3), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip
    return layers.eval()


@pytest.fixture
def pictures():
    draw = torch.Generator().manual_seed(1)
    groups = {name: torch.rand(24, 3, 10, 10, generator=draw) for name in ("red", "green", "grey")}
    groups["red"][:, 0] += 1
    groups["green"][:, 1] += 1
    return groups


def naive(network, site, images):
    """The site's output, kept by a plain hook."""
    kept = []
    handle = network.get_submodule(site).register_forward_hook(lambda *_: kept.append(_[2].clone()))
    with torch.no_grad():
        network(images.clone())
    handle.remove()
    return kept[0]


def loss(outputs, numbers):
    return nn.functional.cross_entropy(outputs, numbers % 3, reduction="none")


def test_activations_are_those_of_a_plain_hook_with_the_place_of_the_largest(network, pictures):
    output = naive(network, "1", pictures["red"])
    found = picture_activations(network, ["1", "6"], pictures["red"], batch_size=5)
    assert torch.allclose(found["1"].mean, output.mean((2, 3)), atol=1e-6)
    assert torch.equal(found["1"].largest, output.amax((2, 3)))
    row, column = found["1"].place[3, 2].tolist()
    assert output[3, 2, row, column] == output[3, 2].max()
    assert found["6"].place.shape == (24, 3, 0)


def test_a_site_that_runs_twice_has_to_be_said_which(network):
    shared = nn.ReLU()
    twice = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared)
    with pytest.raises(Error, match="runs 2 times"):
        picture_activations(twice, "1", torch.rand(3, 4))
    assert list(picture_activations(twice, "1[1]", torch.rand(3, 4))) == ["1[1]"]


def test_the_table_has_a_row_for_every_unit_and_its_columns_are_explained(network, pictures):
    table = rank(network, ["1", "3"], pictures, "selectivity", of="red", people=dict.fromkeys(pictures, PEOPLE))
    assert list(table) == list(COLUMNS) and len(table) == 8 + 6
    assert table["rank"].tolist() == [*range(1, 9), *range(1, 7)]
    assert set(table["people"]) == {12} and set(table["against"]) == {"green, grey"}
    assert ((table["low"] <= table["score"]) & (table["score"] <= table["high"])).all()
    assert table.groupby("site")["ranking"].nunique().tolist() == [1, 1] and table["ranking"].nunique() == 2


def test_the_notebook_s_rule_names_the_units_that_it_names_alone(network, pictures):
    output = naive(network, "1", pictures["red"])
    table = rank(network, "1", pictures, "responsible", of="red")
    assert sorted(top_units(table, "1")) == responsible_units(output).tolist()
    mean = output.mean((0, 2, 3))
    assert table.sort_values("unit")["score"].to_numpy() == pytest.approx((mean / mean.max()).numpy(), abs=1e-6)


def test_corrected_for_overall_activity_a_busy_unit_is_responsible_for_nothing():
    busy = {name: torch.ones(12, 4) for name in ("eyes", "mouth")}
    for each in busy.values():
        each[:, 0] = 100
    busy["eyes"][:, 1], busy["mouth"][:, 2] = 3, 3
    table = rank(nn.Sequential(nn.Identity()), "0", busy, "responsible")
    plain = {of: top_units(table, "0", of=of) for of in busy}
    corrected = rank(nn.Sequential(nn.Identity()), "0", busy, Responsible(corrected=True))
    assert plain == {"eyes": (0,), "mouth": (0,)}, "the same unit for every feature"
    assert {of: top_units(corrected, "0", of=of) for of in busy} == {"eyes": (1,), "mouth": (2,)}


def test_selectivity_is_the_smallest_d_prime_over_people_with_the_published_test(network, pictures):
    people = dict.fromkeys(pictures, PEOPLE)
    table = rank(network, "1", pictures, "selectivity", of="red", people=people).sort_values("unit")
    means = {
        name: naive(network, "1", each).mean((2, 3)).view(12, 2, 8).mean(1).double() for name, each in pictures.items()
    }
    found = []
    for other in ("green", "grey"):
        spread = ((means["red"].var(0) + means[other].var(0)) / 2).sqrt()
        found.append(((means["red"].mean(0) - means[other].mean(0)) / spread).numpy())
    assert table["score"].to_numpy() == pytest.approx(np.min(found, axis=0), rel=1e-4)
    tested = selectivity(means, "red")
    assert table["chosen"].tolist() == tested.selective.tolist()
    assert table["p"].to_numpy() == pytest.approx(tested.p.numpy(), rel=1e-3)


def test_a_planted_unit_comes_first_with_an_interval_above_zero_and_chance_units_do_not():
    draw = torch.Generator().manual_seed(3)
    groups = {name: torch.randn(40, 20, generator=draw) for name in ("faces", "cars", "cups")}
    groups["faces"][:, 7] += 3
    table = rank(nn.Sequential(nn.Identity()), "0", groups, "selectivity", of="faces")
    first = table.iloc[0]
    assert (first["unit"], bool(first["chosen"])) == (7, True) and first["low"] > 1.5
    assert table["chosen"].sum() == 1


def test_a_ranking_of_noise_is_not_reliable_and_one_of_signal_is():
    draw = torch.Generator().manual_seed(4)
    noise = torch.randn(30, 40, generator=draw)
    level = torch.linspace(0, 3, 40)
    found = {
        name: rank(nn.Sequential(nn.Identity()), "0", values, "activation")["reliability"].iloc[0]
        for name, values in (("noise", noise), ("signal", noise + level))
    }
    assert abs(found["noise"]) < 0.45 and found["signal"] > 0.95


def test_causal_is_one_hook_per_unit(network, pictures):
    images = pictures["red"]
    table = rank(network, "3", {"red": images}, "causal", loss=loss, people={"red": PEOPLE}).sort_values("unit")
    with torch.no_grad():
        healthy = loss(network(images.clone()), torch.arange(24))
        rises = []
        for unit in range(6):
            with lesioned(network, Ablate("3", units=[unit])):
                rises.append(float((loss(network(images.clone()), torch.arange(24)) - healthy).mean()))
    assert table["score"].to_numpy() == pytest.approx(rises, abs=1e-6)


def test_first_order_is_gradient_times_activation(network, pictures):
    images = pictures["red"]
    kept = []

    def keep(_, __, output):
        kept.append(output.clone().requires_grad_())
        return kept[0].clone()

    handle = network[3].register_forward_hook(keep)
    value = loss(network(images.clone()), torch.arange(24)).sum()
    handle.remove()
    (slope,) = torch.autograd.grad(value, kept)
    expected = -(slope * kept[0]).sum((0, 2, 3)) / 24
    table = rank(network, "3", images, "first_order", loss=loss, batch_size=7).sort_values("unit")
    assert table["score"].to_numpy() == pytest.approx(expected.detach().numpy(), abs=1e-6)


def test_greedy_is_the_sweep_s_ranking_and_the_rest_has_no_rank(network, pictures):
    way = Greedy(fraction=0.5, step=0.25)
    table = rank(network, "1", pictures["red"], way, loss=loss, people=PEOPLE)
    expected = greedy_ranking(network, "1", pictures["red"], loss, fraction=0.5, step=0.25)
    assert top_units(table, "1", 4) == expected.units == top_units(table, "1")
    assert table["rank"].isna().sum() == 4
    assert set(table["certificate"]) == {str(expected.certificate)} and expected.certificate.risk == 0
    with pytest.raises(Error, match="5 units of 1 are asked for, and 4 are ranked"):
        top_units(table, "1", 5)


def test_a_raced_greedy_ranking_is_the_same_table_with_another_certificate(network, pictures):
    images = pictures["red"].repeat(4, 1, 1, 1) + 0.1 * torch.rand(96, 3, 10, 10)
    way = {risk: Greedy(fraction=0.5, step=0.25, risk=risk) for risk in (0.0, 0.01)}
    whole, raced = (rank(network, "1", images, way[risk], loss=loss, splits=0) for risk in way)
    assert top_units(raced, "1") == top_units(whole, "1")
    assert raced["score"].to_numpy() == pytest.approx(whole["score"].to_numpy(), rel=1e-4, nan_ok=True)
    assert raced["certificate"].str.contains("with probability 0.99 or more").all()
    assert rank(network, "1", images, "activation")["certificate"].eq("").all()


def test_a_ranking_comes_back_from_a_file(network, pictures, tmp_path):
    table = rank(network, ["1", "3"], pictures, "selectivity", of="red")
    table.to_csv(tmp_path / "units.csv", index=False)
    again = rank(network, ["1", "3"], pictures["red"], FromFile(str(tmp_path / "units.csv")))
    assert again["unit"].tolist() == table["unit"].tolist()
    table.to_parquet(tmp_path / "units.parquet", index=False)
    assert rank(network, "3", pictures["red"], FromFile(str(tmp_path / "units.parquet")))["unit"].tolist() == (
        table[table["site"] == "3"]["unit"].tolist()
    )


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("1", 3), ("1", 3)], "names a unit twice"),
        ([("1", 8)], "unit 8 is none of its 8"),
        ([("conv9", 1)], "it ranks no unit of 1"),
    ],
)
def test_a_file_of_units_that_are_none_is_one_line(network, pictures, tmp_path, rows, says):
    path = tmp_path / "units.csv"
    pandas.DataFrame(rows, columns=["site", "unit"]).to_csv(path, index=False)
    with pytest.raises(Error, match=says):
        rank(network, "1", pictures["red"], FromFile(str(path)))


def test_the_same_seed_gives_the_same_table_and_ranks_do_not_depend_on_it(network, pictures):
    one, two, other = (rank(network, "1", pictures, "selectivity", seed=seed) for seed in (0, 0, 1))
    pandas.testing.assert_frame_equal(one, two)
    assert one["unit"].tolist() == other["unit"].tolist() and not one["low"].equals(other["low"])


def test_people_who_are_in_several_groups_are_drawn_in_all_of_them_at_once():
    groups = Groups(
        {"eyes": torch.zeros(3, 1), "mouth": torch.zeros(3, 1), "cars": torch.zeros(4, 1)},
        {"eyes": ("a", "b", "c"), "mouth": ("c", "b", "a"), "cars": tuple("wxyz")},
    )
    for draw, total in ((again, 3), (half, 1)):
        weights = groups.weights(["eyes", "mouth", "cars"], 50, draw(np.random.default_rng(0)))
        assert torch.equal(weights["eyes"], weights["mouth"])
        assert (weights["eyes"].sum(1) == total).all()
        assert set(weights["cars"].sum(1).tolist()) == ({4.0} if draw is again else {2.0})


def test_weighted_moments_are_those_of_people_counted_so_often():
    values = torch.randn(5, 3, dtype=torch.float64)
    weights = torch.tensor([[2.0, 0, 1, 1, 1]], dtype=torch.float64)
    found = Moments.of(values, weights)
    counted = values[[0, 0, 2, 3, 4]]
    assert torch.allclose(found.mean[0], counted.mean(0)) and torch.allclose(found.variance[0], counted.var(0))


def test_one_photograph_is_ranked_without_interval_or_reliability(network, pictures):
    table = rank(network, "1", {"eyes": pictures["red"][:1], "nose": pictures["grey"][:1]}, "responsible")
    assert table["low"].isna().all() and table["reliability"].isna().all() and table["chosen"].any()


def test_agreement_compares_every_two_rankings_of_a_site(network, pictures):
    tables = [
        rank(network, ["1", "3"], pictures["red"], "activation"),
        rank(network, ["1", "3"], pictures["red"], "first_order", loss=loss),
    ]
    found = agreement_of_rankings(pandas.concat(tables), top=2)
    assert found["site"].tolist() == ["1", "3"]
    scores = [each[each["site"] == "1"].sort_values("unit")["score"].to_numpy() for each in tables]
    assert found["correlation"].iloc[0] == pytest.approx(stats.spearmanr(*scores).statistic, abs=1e-5)
    shared = set(top_units(tables[0], "1", 2)) & set(top_units(tables[1], "1", 2))
    assert found["overlap"].iloc[0] == len(shared) / 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"by": "selectvity"}, "did you mean 'selectivity'"),
        ({"by": "selectivity", "of": "blue"}, "no group of pictures is called 'blue'"),
        ({"by": "causal"}, "needs a loss"),
        ({"by": "activation", "loss": loss}, "asks no question"),
        ({"by": "activation", "people": PEOPLE}, "say who is on them by group"),
        ({"by": "activation", "people": {"red": PEOPLE[:3]}}, "24 pictures of 'red' and 3 people"),
        ({"by": "activation", "sites": "conv9"}, "sites: "),
        ({"by": "activation", "resamples": -1}, "at least 0"),
        ({"by": Greedy(), "loss": {"green": loss}, "of": "red"}, "there is none for 'red'"),
    ],
)
def test_what_cannot_be_ranked_is_one_line(network, pictures, words, says):
    with pytest.raises(Error, match=says):
        rank(network, words.pop("sites", "1"), pictures, **words)


@pytest.mark.parametrize("way", [lambda: Responsible(share=0), lambda: Selective(alpha=1), FromFile])
def test_a_way_refuses_settings_that_make_no_sense(way):
    with pytest.raises(Error):
        way()


def test_one_group_has_nothing_to_be_selective_against(network, pictures):
    for way in ("selectivity", Responsible(corrected=True)):
        with pytest.raises(Error, match="two or more"):
            rank(network, "1", pictures["red"], way)


def test_people_weigh_alike_however_many_pictures_they_have():
    names, means = by_person(torch.tensor([[0.0], [0.0], [0.0], [4.0]]), ["a", "a", "a", "b"])
    assert names == ("a", "b") and means.flatten().tolist() == [0.0, 4.0]
    three = torch.tensor([[0.0], [0.0], [4.0]])
    table = rank(nn.Sequential(nn.Identity()), "0", three, "activation", people=["a", "a", "b"])
    assert table["score"].tolist() == [2.0]
