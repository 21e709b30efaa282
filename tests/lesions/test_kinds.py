"""Lesions as values: equal, hashed, printed, written and read back; wrong ones are refused with a way out."""

from __future__ import annotations

import pytest
import torch
from testers import LesionTester

from facelesion.lesions import (
    KINDS,
    Ablate,
    Clamp,
    Dropout,
    Keep,
    Lesion,
    LesionError,
    Noise,
    Prune,
    Scale,
    Shift,
)

ALL = [
    Ablate("conv5_*", fraction=0.2, seed=3),
    Ablate(["conv4_3", "conv5_1"], units=[3, 1, 1], to="mean"),
    Keep("conv5_3", units=range(3)),
    Noise("conv3_2", std=0.8, relative=True),
    Dropout("conv4_3", p=0.8, per="channel", seed=1),
    Clamp("a", min=0.0, max=1.0, where=torch.eye(3)),
    Shift("a", by=-2, units=torch.tensor([4])),
    Scale("re:a|b", by=0.5),
    Prune("conv5_3", fraction=0.5),
]


class TestKinds(LesionTester):
    rows = {str(lesion): lesion for lesion in [*ALL, ALL[0] + ALL[3] + ALL[8]]}


def test_every_kind_there_is_is_tested():
    """A new kind is one more line in `ALL`."""
    assert {type(lesion) for lesion in ALL} == set(KINDS.values())


def test_different_lesions_have_different_hashes():
    others = [
        Ablate("a"),
        Keep("a", units=[1]),
        Ablate("b"),
        Ablate("a", seed=1),
        Keep("a", units=[]),
        Keep("a", fraction=0),
    ]
    assert len({lesion.hash for lesion in ALL + others}) == len(ALL + others)


def test_a_hash_does_not_change_between_versions():
    assert Ablate("conv5_3", fraction=0.2, seed=3).hash == "79afeedd8cd7"


def test_units_are_a_set():
    assert (
        Ablate("a", units=[3, 1, 1]) == Ablate("a", units=(1, 3)) == Ablate("a", units=torch.tensor([1, 3]))
    )


def test_together_is_flat_and_ordered():
    a, b, c = ALL[:3]
    assert (a + b) + c == a + (b + c)
    assert a + b != b + a
    assert (a + b).parts == (a, b)


def test_reads_well():
    assert str(ALL[0] + ALL[3] + Dropout("conv4_3", p=0.8)) == (
        "ablate 20% of conv5_* (seed 3) + noise std 0.8 relative at conv3_2 + dropout p 0.8 at conv4_3"
    )
    assert str(Shift("a", by=2, units=range(9))) == "shift +2 at units 0,1,2,3,4,5,… of a"
    assert str(Keep("a", units=[1, 2])) == "keep only units 1,2 of a"
    assert str(Keep("a", fraction=0.1, to="mean")) == "mean-ablate all but 10% of a (seed 0)"


def test_a_dose_that_counts_in_something_says_in_what():
    deviations = ", in units of the unit's own standard deviation"
    noise = "standard deviation of the noise"
    assert Noise("a", std=1).meaning("std") == noise
    assert Noise("a", std=1, relative=True).meaning("std") == noise + deviations
    assert Noise("a", std=1, multiplicative=True).meaning("std") == noise + ", in units of the activation"
    assert Shift("a", by=1).meaning("by") == "what is added to the activation"
    assert Shift("a", by=1, relative=True).meaning("by") == "what is added to the activation" + deviations
    for lesion in (Noise("a", std=1, relative=True), Shift("a", by=1, relative=True)):
        assert lesion.meaning("fraction") == type(lesion).doses["fraction"]


def test_what_is_dropped_by_chance_is_an_activation_or_a_whole_unit():
    assert Dropout("a", p=0.5).meaning("p") == "probability that an activation is dropped"
    whole = Dropout("a", p=0.5, per="channel")
    assert whole.meaning("p") == "probability that a unit is dropped, anew for every image"
    assert whole.meaning("fraction") == "share of the units under dropout"


def test_bounds_may_be_one_value():
    assert Clamp("a", min=1, max=1).numbers() == {"min": 1.0, "max": 1.0}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Ablate(""), "needs a site"),
        (lambda: Ablate("a", units=[1], fraction=0.1), "not both"),
        (lambda: Ablate("a", units=[1], count=1), "not both"),
        (lambda: Ablate("a", fraction=0.1, count=1), "not both"),
        (lambda: Ablate("a", count=-1), "whole number"),
        (lambda: Ablate("a", count=1.5), "whole number"),
        (lambda: Ablate("a", units=[-1]), "count from 0"),
        (lambda: Ablate("a", units=[0.5]), "whole numbers"),
        (lambda: Ablate("a", fraction=20), "0 to 1"),
        (lambda: Ablate("a", to="median"), "zero, mean or resample, not 'median'"),
        (lambda: Ablate("a", where=[[0, 0]]), "no place"),
        (lambda: Noise("a", std=-1), "0 or more"),
        (lambda: Noise("a", std=1, relative=True, multiplicative=True), "not both"),
        (lambda: Dropout("a", p=1.2), "0 to 1"),
        (lambda: Dropout("a", p=1.0), "rescale=False"),
        (lambda: Dropout("a", p=0.5, per="unit"), "activation or channel, not 'unit'"),
        (lambda: Clamp("a"), "give value"),
        (lambda: Clamp("a", value=1, min=0), "give value"),
        (lambda: Clamp("a", min=1, max=0), "above max"),
        (lambda: Prune("a", fraction=2), "0 to 1"),
        (lambda: Lesion.from_dict("Ablate"), "keys and values"),
        (lambda: Lesion.from_dict({"site": "a"}), "no kind of lesion"),
        (lambda: Lesion.from_dict({"kind": "ablate", "site": "a"}), "did you mean 'Ablate'"),
        (
            lambda: Lesion.from_dict({"kind": "Ablate", "site": "a", "fractoin": 0.1}),
            "did you mean 'fraction'",
        ),
        (lambda: Lesion.from_dict({"kind": "Noise", "site": "a"}), "std"),
        (lambda: Lesion.from_dict({"kind": "Noise", "site": "a", "std": "much"}), "std"),
        (lambda: Lesion.from_dict({"kind": "Ablate", "site": "a", "version": 9}), "version 9"),
        (lambda: Lesion.from_dict({"kind": "Compound"}), "parts"),
        (lambda: Lesion.from_dict({"kind": "Compound", "parts": []}), "parts"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(make, says):
    with pytest.raises(LesionError, match=says) as raised:
        make()
    assert "\n" not in str(raised.value)
