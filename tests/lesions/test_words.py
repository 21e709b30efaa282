"""Lesions in words: what is said is what is meant, what a lesion prints is read back, and slips are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facelesion.lesions import (
    Ablate,
    Clamp,
    Dropout,
    Keep,
    LesionError,
    Noise,
    Prune,
    Scale,
    Shift,
    lesion_of_words,
)
from facelesion.lesions.kinds import KINDS, UnitLesion

SAID = {
    "ablate 20% of conv5_3": Ablate("conv5_3", fraction=0.2),
    "Ablate 20 % of conv5_3": Ablate("conv5_3", fraction=0.2),
    "ablate 20% of the units of conv5_3 (seed 4)": Ablate("conv5_3", fraction=0.2, seed=4),
    "ablate 7% of conv5_* seed 4": Ablate("conv5_*", fraction=0.07, seed=4),
    "ablate conv5_3": Ablate("conv5_3"),
    "ablate units 21, 282 of conv5_3": Ablate("conv5_3", units=[21, 282]),
    "ablate unit 3 of conv5_3": Ablate("conv5_3", units=[3]),
    "ablate units 3-6 of conv5_3": Ablate("conv5_3", units=[3, 4, 5, 6]),
    "ablate 20% of conv4_3, conv5_1": Ablate("conv4_3, conv5_1", fraction=0.2),
    "mean-ablate 20% of conv5_3": Ablate("conv5_3", fraction=0.2, to="mean"),
    "resample-ablate conv5_3": Ablate("conv5_3", to="resample"),
    "keep only 10% of conv5_3": Keep("conv5_3", fraction=0.1),
    "keep units 1,2 of conv5_3": Keep("conv5_3", units=[1, 2]),
    "mean-ablate all but units 1,2 of conv5_3": Keep("conv5_3", units=[1, 2], to="mean"),
    "noise 0.8 on conv3_2": Noise("conv3_2", std=0.8),
    "noise std 0.8 at conv3_2": Noise("conv3_2", std=0.8),
    "noise 0.8 relative on conv3_2": Noise("conv3_2", std=0.8, relative=True),
    "noise 0.5 multiplicative on 20% of conv3_2": Noise("conv3_2", std=0.5, multiplicative=True, fraction=0.2),
    "dropout 0.8 on conv4_3": Dropout("conv4_3", p=0.8),
    "dropout 80% in conv4_3": Dropout("conv4_3", p=0.8),
    "dropout 0.5 per channel unscaled at conv4_3": Dropout("conv4_3", p=0.5, per="channel", rescale=False),
    "clamp 0 at units 3,7 of conv5_3": Clamp("conv5_3", value=0, units=[3, 7]),
    "clamp value 2 at conv5_3": Clamp("conv5_3", value=2),
    "clamp min -1 max 2 at conv5_3": Clamp("conv5_3", min=-1, max=2),
    "shift +2 at units 3,7 of conv5_3": Shift("conv5_3", by=2, units=[3, 7]),
    "shift -1.5 relative at conv5_3": Shift("conv5_3", by=-1.5, relative=True),
    "scale 0.5 at conv4_3": Scale("conv4_3", by=0.5),
    "scale ×0.5 at conv4_3": Scale("conv4_3", by=0.5),
    "scale x2 on features.21": Scale("features.21", by=2),
    "prune 50% of the weights into conv4_3": Prune("conv4_3", fraction=0.5),
    "prune 50% into conv4_3 (seed 9)": Prune("conv4_3", fraction=0.5, seed=9),
    "ablate 20% of conv5_3 + noise 0.8 on conv3_2": Ablate("conv5_3", fraction=0.2) + Noise("conv3_2", std=0.8),
    "shift +2 at conv5_3 + shift -1 at conv5_2": Shift("conv5_3", by=2) + Shift("conv5_2", by=-1),
}


@pytest.mark.parametrize("words", SAID)
def test_what_is_said_is_what_is_meant(words):
    assert lesion_of_words(words) == SAID[words]


@pytest.mark.parametrize("lesion", SAID.values(), ids=str)
def test_what_a_lesion_prints_is_read_back(lesion):
    if any(getattr(part, "rescale", True) is False for part in lesion.parts):
        pytest.skip("not printed")
    assert lesion_of_words(str(lesion)) == lesion


SITES = st.sampled_from(["conv5_3", "conv5_*", "features.21", "conv4_3, conv5_1", "relu[1]", "layer4@-1"])
UNITS = st.one_of(
    st.just({}),
    st.lists(st.integers(0, 511), min_size=1, max_size=6, unique=True).map(lambda units: {"units": units}),
    st.tuples(st.integers(1, 99), st.integers(0, 99)).map(lambda two: {"fraction": two[0] / 100, "seed": two[1]}),
)
NUMBER = st.integers(1, 400).map(lambda n: n / 100)


@given(site=SITES, units=UNITS, number=NUMBER, data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_lesion_that_prints_all_of_itself_is_read_back(site, units, number, data):
    sign, share = data.draw(st.sampled_from([1, -1])), round(min(number, 3.9) / 4, 4)
    kinds = [
        lambda: Ablate(site, to=data.draw(st.sampled_from(["zero", "mean", "resample"])), **units),
        lambda: Keep(site, **(units or {"units": [4]})),
        lambda: Noise(site, std=number, relative=data.draw(st.booleans()), **units),
        lambda: Dropout(site, p=share, per=data.draw(st.sampled_from(["activation", "channel"])), **units),
        lambda: Clamp(site, max=sign * number, **units),
        lambda: Shift(site, by=sign * number, relative=data.draw(st.booleans()), **units),
        lambda: Scale(site, by=round(number + 1, 2), **units),
        lambda: Prune(site, fraction=share, seed=data.draw(st.integers(0, 9))),
    ]
    lesions = [data.draw(st.sampled_from(kinds))() for _ in range(data.draw(st.integers(1, 3)))]
    total = lesions[0]
    for each in lesions[1:]:
        total = total + each
    assert lesion_of_words(str(total)) == total


SLIPS = {
    "ablte 20% of conv5_3": "did you mean 'ablate': write 'ablate 20% of conv5_3'",
    "destroy conv5_3": "there are ablate, mean-ablate",
    "noise on conv3_2": "says no std: write, for example, noise 0.8 on conv3_2",
    "noise 0.8 relativ on conv3_2": "did you mean 'relative'",
    "noise 0.8 conv3_2": "says no place",
    "noise loud on conv3_2": "has no 'loud'",
    "noise 0.8.1 on conv3_2": "where a number belongs",
    "dropout 1.8 on conv4_3": "p must lie in 0 to 1",
    "ablate 0% of conv5_3": "changes nothing",
    "ablate 20% of": "names no site",
    "ablate": "names no site",
    "ablate some of conv5_3": "names no one site",
    "ablate units of conv5_3": "units 3,7 of SITE",
    "ablate units 3..7 of conv5_3": "units 3,7 of SITE",
    "prune conv4_3": "says no share of the weights",
    "clamp at conv5_3": "says no value or min or max",
    "scale twice at conv5_3": "has no 'twice'",
    "": "a lesion in words",
}


@pytest.mark.parametrize("words", SLIPS)
def test_a_slip_is_told_with_words_that_are_right(words):
    with pytest.raises(LesionError) as caught:
        lesion_of_words(words)
    assert SLIPS[words] in str(caught.value) and "\n" not in str(caught.value)


def test_a_kind_that_was_added_has_its_own_verb(monkeypatch):
    @dataclass(frozen=True, repr=False)
    class Saturate(UnitLesion):
        level: float
        numeric: ClassVar[tuple[str, ...]] = ("level",)

    monkeypatch.setitem(KINDS, "Saturate", Saturate)
    assert lesion_of_words("saturate 0.5 at 20% of conv5_3") == Saturate("conv5_3", 0.5, fraction=0.2)
