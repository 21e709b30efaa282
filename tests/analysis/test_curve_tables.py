"""Curves of a whole study: each is `fit_curve`'s, and where there is none it is said why."""

import pandas as pd
import pytest

from facelesion.analysis import answers_of, compare_curves, fit_curve, scores_by_dose
from facelesion.analysis.curve_tables import CURVES, CURVES_COMPARED, fit_curves

from .trials import made_up


@pytest.fixture(scope="module")
def answers():
    """Two tasks under two kinds of damage at three doses; noise takes nothing."""
    small = made_up(0, {("ablation", "who"): 9.0, ("ablation", "what"): 5.0}, people=20, draws=4,
                    damages=("ablation", "noise"), healthy=2.5)  # fmt: skip
    middle = small[small["dose"] == 0.1].assign(dose=0.2)
    large = small[small["dose"] == 0.3]
    # A dose between: each trial as at the smaller dose or at the larger, turn about.
    odd = (large["trial"] % 2 == 1).to_numpy()
    middle.loc[odd, ["answer", "value", "right"]] = large.loc[odd, ["answer", "value", "right"]].to_numpy()
    middle["right"] = middle["right"].astype(bool)
    middle["value"] = middle["value"].astype(float)
    return answers_of(pd.concat([small, middle], ignore_index=True))


DOSES = {"ablation": (0.1, 0.2, 0.3), "noise": (0.1, 0.2, 0.3)}
MEANINGS = {"ablation": "share of the units", "noise": "deviation"}


def test_every_lesion_and_task_has_a_row_and_the_numbers_of_its_own_fit(answers):
    found = fit_curves("net", answers, DOSES, MEANINGS, resamples=60)
    assert list(found.curves) == list(CURVES) and list(found.compared) == list(CURVES_COMPARED)
    assert list(zip(found.curves["lesion"], found.curves["task"], strict=True)) == [
        (lesion, task) for lesion in DOSES for task in ("who", "what")
    ]
    for row in found.curves.itertuples():
        naive = fit_curve(scores_by_dose(answers[row.task], row.lesion), resamples=60)
        assert (row.half, row.steepness, row.healthy) == (naive.half.estimate, naive.steepness, naive.healthy)
        assert row.inside == naive.inside and (row.over == "people × draws") == naive.inside
        assert row.inside == (row.low == row.low) == (row.why == "")


def test_two_curves_are_compared_where_both_lose_half_and_their_doses_mean_the_same(answers):
    found = fit_curves("net", answers, DOSES, MEANINGS, resamples=60)
    inside = {(row.lesion, row.task) for row in found.curves.itertuples() if row.inside}
    assert ("ablation", "who") in inside and ("noise", "who") not in inside
    for row in found.compared.itertuples():
        assert {(row.lesion, row.task), (row.than_lesion, row.than_task)} <= inside
        assert row.lesion == row.than_lesion and row.adjusted >= row.p
        one, two = (scores_by_dose(answers[task], row.lesion) for task in (row.task, row.than_task))
        assert row.ratio == compare_curves(one, two, same_draws=True, resamples=60).ratio.estimate


def test_no_curve_is_fitted_to_what_cannot_have_one_and_it_is_said_why(answers):
    backwards = fit_curves("net", answers, {"ablation": (0.3, 0.2, 0.1)}, MEANINGS, resamples=60)
    assert set(backwards.curves["why"]) == {"a larger dose is less damage"} and not backwards.fitted
    few = fit_curves("net", answers, {"ablation": (0.1, 0.3)}, MEANINGS, resamples=60)
    assert set(few.curves["why"]) == {"a curve needs three doses, and there are 2"}
    guessing = made_up(1, {}, healthy=-4.0, damages=("ablation",))
    found = fit_curves("net", answers_of(guessing), {"ablation": (0.1, 0.2, 0.3)}, MEANINGS, resamples=60)
    assert found.curves["why"].str.contains("too near to chance").all() and found.compared.empty
