"""Evidence that a lesion moved is found, with the parts it left and came to; evidence that stayed is not."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from facelesion.analysis.moved import moved_evidence
from facelesion.errors import Error

PARTS = ("eyes", "nose", "mouth")
AREA = np.array([0.2, 0.3, 0.5])


def trials_of(effects: dict[str, np.ndarray], draws: int = 6, people: int = 20, seed: int = 0) -> pd.DataFrame:
    """A study's trials: in health most lies on the eyes; each lesion adds its own to the parts' shares.

    A lesion called "cut, random" is the control of "cut".
    """
    random = np.random.default_rng(seed)
    own = np.array([0.5, 0.3, 0.2]) + random.normal(0, 0.03, (people, 3))
    rows = []
    for lesion, effect in {"none": np.zeros(3), **effects}.items():
        for draw in range(1 if lesion == "none" else draws):
            noise = 0 if lesion == "none" else random.normal(0, 0.01, 3) + random.normal(0, 0.02, (people, 3))
            share = own + effect + noise
            for person, part in itertools.product(range(people), range(3)):
                more = own[person, part] > AREA[part]
                value = (share[person, part] - AREA[part]) * (1 if more else -1)
                name, _, control = lesion.partition(", ")
                rows.append(
                    {"participant": "a", "stimulus": "intact", "lesion": name, "dose": float(name != "none"),
                     "control": control, "draw": draw, "section": PARTS[part], "person": f"p{person}",
                     "target": "more" if more else "less", "value": value}
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_evidence_that_moves_from_the_eyes_to_the_mouth_is_found_with_its_size():
    moved = {each.part: each for each in moved_evidence(trials_of({"cut": np.array([-0.15, 0, 0.15])}))}
    for part, change in (("eyes", -0.15), ("nose", 0.0), ("mouth", 0.15)):
        interval = moved[part].found.interval()
        assert interval.low < change < interval.high and interval.high - interval.low < 0.08
        assert (moved[part].p < 0.05) == (change != 0)


def test_controls_give_a_band_that_what_moved_lies_outside_and_what_stayed_within():
    effect = np.array([-0.15, 0, 0.15])
    effects = {"cut": effect, "cut, random": np.zeros(3), "cut, matched": effect}
    moved = {(each.part, each.control): each for each in moved_evidence(trials_of(effects, draws=40))}
    assert len(moved) == 6
    eyes, nose = moved["eyes", "random"], moved["nose", "random"]
    assert eyes.found.estimate < eyes.null_low < 0 < eyes.null_high and eyes.null_p == pytest.approx(2 / 41)
    assert nose.null_low < nose.found.estimate < nose.null_high and nose.null_p > 0.05
    assert eyes.sets == 40 and eyes.p == moved["eyes", "matched"].p < 0.05
    assert moved["eyes", "matched"].null_low < eyes.found.estimate < moved["eyes", "matched"].null_high


def test_a_lesion_of_one_draw_has_an_interval_over_people_alone():
    moved = {each.part: each for each in moved_evidence(trials_of({"cut": np.array([-0.15, 0, 0.15])}, draws=1))}
    interval = moved["eyes"].found.interval()
    assert interval.low < -0.15 < interval.high < 0 and set(moved["eyes"].found.parts) == {"people"}


def test_nothing_that_only_varies_is_said_to_have_moved():
    called = sum(
        any(each.p < 0.05 for each in moved_evidence(trials_of({"cut": np.zeros(3)}, seed=seed))) for seed in range(60)
    )
    assert called <= 6


def test_trials_that_cannot_be_compared_are_told():
    trials = trials_of({"cut": np.zeros(3)})
    assert {each.control for each in moved_evidence(trials)} == {""}
    with pytest.raises(Error, match="no trials of the intact network"):
        moved_evidence(trials[trials.lesion != "none"])
    with pytest.raises(Error, match="one stimulus at a time"):
        moved_evidence(pd.concat([trials, trials.assign(stimulus="invert")]))
