"""What units are necessary for, and what they suffice for, beside sets that mean nothing."""

import pytest
import torch
from torch import nn

from facelesion.analysis.necessity import necessity_and_sufficiency
from facelesion.errors import Error
from facelesion.lesions import Ablate, Keep, lesioned


@pytest.fixture
def network():
    """Thirty units, all about as active; the answer is made of units 4 and 7 alone."""
    torch.manual_seed(0)
    reader = nn.Linear(30, 2, bias=False)
    with torch.no_grad():
        reader.weight.zero_()
        reader.weight[0, 4] = reader.weight[0, 7] = 1
        reader.weight[1] = 0.001
    return nn.Sequential(nn.Linear(5, 30), nn.Sigmoid(), reader).eval()


@pytest.fixture
def images():
    return torch.randn(24, 5, generator=torch.Generator().manual_seed(2))


def score(outputs, numbers):
    return (outputs[:, 0] > outputs[:, 1]).float()


PEOPLE = [f"p{row % 8}" for row in range(24)]


def test_planted_units_are_necessary_and_sufficient_and_other_sets_are_not(network, images):
    table = necessity_and_sufficiency(network, "1", [4, 7, 0], images, score, people=PEOPLE, counts=(1, 2, 3), draws=99)
    assert table["score"].iloc[0] == 1.0 and table["set"].iloc[0] == "intact"
    both = table[(table["set"] == "ranked") & (table["count"] == 2)].set_index("kind")
    assert both.loc["removed", "score"] == 0.0 and both.loc["kept alone", "score"] == 1.0
    # A random pair holds one of the two planted units in 13 % of draws, and one is enough when it is kept.
    assert both.loc["removed", "p_random"] <= 0.02 and both.loc["kept alone", "p_random"] < 0.3
    # Of sets as active only those that differ count.
    matched = table[(table["set"] == "matched") & (table["count"] == 2) & (table["kind"] == "removed")]
    assert 1 < len(matched) == matched["distinct"].iloc[0]
    assert both.loc["removed", "p_matched"] == pytest.approx(1 / (len(matched) + 1))


def test_every_row_is_one_lesion_made_by_hand(network, images):
    table = necessity_and_sufficiency(network, "1", [4, 2, 9], images, score, people=PEOPLE, counts=(2,), draws=2)
    ranked = table[table["set"] == "ranked"].set_index("kind")["score"]
    for kind, lesion in (("removed", Ablate("1", units=[4, 2])), ("kept alone", Keep("1", units=[4, 2]))):
        with torch.no_grad(), lesioned(network, lesion):
            right = score(network(images), None)
        people = [right[[p == name for p in PEOPLE]].mean() for name in sorted(set(PEOPLE))]
        assert ranked[kind] == pytest.approx(float(torch.stack(people).mean()))


def test_a_null_has_as_many_sets_as_are_asked_for_and_says_how_well_they_match(network, images):
    table = necessity_and_sufficiency(network, "1", range(20), images, score, counts=(5, 20, 40), draws=7)
    sizes = table.groupby(["count", "kind", "set"]).size()
    assert sizes[5, "removed", "random"] == 7 >= sizes[5, "kept alone", "matched"] > 1
    assert (20, "removed", "matched") not in sizes and sizes[20, "removed", "random"] == 7, "too few units are left"
    assert set(table["count"]) == {0, 5, 20}
    assert table[table["set"] == "matched"]["mismatch"].notna().all()


def test_the_same_seed_gives_the_same_table(network, images):
    one, two = (necessity_and_sufficiency(network, "1", [4, 7], images, score, counts=(1, 2), draws=4) for _ in "ab")
    assert one.equals(two)


@pytest.mark.parametrize(
    ("units", "more", "says"),
    [
        ([4, 4], {}, "different numbers"),
        ([30], {}, "from 0 to 29"),
        ([4], {"counts": (2,)}, "counts: none of 2 fits"),
        ([4], {"draws": 0}, "one set or more"),
        ([4], {"people": ["a"]}, "24 pictures and 1 people"),
    ],
)
def test_what_cannot_be_asked_is_one_line(network, images, units, more, says):
    with pytest.raises(Error, match=says):
        necessity_and_sufficiency(network, "1", units, images, score, **more)
