"""The numbers of a report follow from the table, worked out by hand here."""

import math

import numpy as np
import pandas as pd
import pytest

from facelesion.report import summary
from facelesion.report.findings import findings


def row(task="identification", lesion="ablation", dose=0.5, draw=0, value=0.5, stimulus="intact", **other):
    chance = {"identification": 0.1, "detection": 0.5}.get(task, 0.5)
    step = 0 if lesion == "none" else {0.2: 1, 0.8: 2}.get(dose, 1)
    return dict(
        study="s", participant="m", weights="w", lesion=lesion, damage="x", damage_hash=f"{lesion}{dose}{draw}",
        sites="s", step=step, dose=dose, meaning="" if lesion == "none" else "share of units", draw=draw, control="",
        mismatch=float("nan"), seed=0, change=0.1, changes="{}",
        stimulus=stimulus, task=task, metric="accuracy", words="right answers", main=True,
        value=value, n=400, chance=chance, ceiling=1.0, better="higher", share=True, data="d",
    ) | other  # fmt: skip


@pytest.fixture
def small():
    """Identification from 0.9 to 0.5 to 0.1, detection from 0.9 to 0.9 to 0.7; two draws each."""
    rows = [row(lesion="none", dose=0, value=0.9), row("detection", "none", 0, value=0.9)]
    for dose, identification, detection in ((0.2, 0.5, 0.9), (0.8, 0.1, 0.7)):
        for draw, shift in enumerate((-0.02, 0.02)):
            rows.append(row(dose=dose, draw=draw, value=identification + shift))
            rows.append(row("detection", dose=dose, draw=draw, value=detection + shift))
    return pd.DataFrame(rows)


def test_dose_response_averages_over_draws_and_begins_with_the_intact_network(small):
    curve = summary.dose_response(small, "identification", "accuracy")
    assert curve["lesion"].tolist() == ["none", "ablation", "ablation"]
    assert curve["step"].tolist() == [0, 1, 2]
    assert curve["mean"].tolist() == pytest.approx([0.9, 0.5, 0.1])
    reach = 12.706 * 0.02  # Student's t of two values
    assert curve["low"].tolist()[1:] == pytest.approx(
        [0.5 - reach, 0.0], abs=1e-4
    )  # a share is never below 0
    assert curve["high"].tolist()[1:] == pytest.approx([0.5 + reach, 0.1 + reach], abs=1e-4)
    assert math.isnan(curve["low"][0]) and curve["draws"].tolist() == [1, 2, 2]


def test_other_stimuli_do_not_enter(small):
    masked = small.assign(stimulus="mask eyes", value=0.0)
    both = pd.concat([small, masked])
    pd.testing.assert_frame_equal(
        summary.dose_response(both, "identification", "accuracy"),
        summary.dose_response(small, "identification", "accuracy"),
    )


def test_the_headline_is_the_largest_dose(small):
    identification, detection = summary.headline(small)
    assert (detection.task, identification.task) == ("detection", "identification")
    assert identification.dose == 0.8 and identification.draws == 2
    assert identification.damaged.estimate == pytest.approx(0.1)
    assert identification.change.estimate == pytest.approx(-0.8)
    assert identification.kept.estimate == pytest.approx(0, abs=1e-9)
    assert detection.kept.estimate == pytest.approx(0.5)
    reach = 12.706 * 0.02
    assert (detection.kept.low, detection.kept.high) == pytest.approx(
        (0.5 - reach / 0.4, 0.75 + 0.5), rel=0.2
    )
    assert identification.effect == pytest.approx(2 * (math.asin(0.9**0.5) - math.asin(0.1**0.5)))


def test_cohens_h_is_never_that_of_an_area(small):
    rows = {row.task: row for row in summary.headline(small.assign(metric="auc", share=False))}
    assert all(math.isnan(row.effect) and not row.has_effect for row in rows.values())


def test_pairs_of_a_few_people_are_not_counted_as_so_many_trials():
    assert not summary.above_chance(0.6, 0.5, 1128)  # 12 people, 48 pictures
    assert not summary.above_chance(0.6, math.nan, 1128) and not summary.above_chance(math.nan, 0.5, 1128)
    assert summary.above_chance(0.9, 0.5, 1128) and summary.above_chance(0.1, 0.5, 1128)


def test_a_task_at_chance_has_nothing_to_lose(small):
    guessing = small.copy()
    guessing.loc[guessing["task"] == "identification", "value"] = 0.11
    shares = summary.kept_shares(guessing)
    assert set(shares["task"]) == {"detection"}
    by_task = {line.task: line for line in summary.headline(guessing)}
    assert math.isnan(by_task["identification"].kept.estimate)


def test_the_heat_map_is_the_change_against_the_intact_network_on_intact_images(small):
    masked = small.assign(stimulus="mask eyes", value=small["value"] - 0.1)
    heat = summary.heat_map(pd.concat([small, masked]), "identification")
    assert heat.stimuli == ("intact", "mask eyes")
    assert heat.columns == (("none", 0.0), ("ablation", 0.2), ("ablation", 0.8))
    assert heat.change == pytest.approx(np.array([[0, -0.4, -0.8], [-0.1, -0.5, -0.9]]))


def test_conditions_that_were_not_measured_are_no_zero(small):
    only = pd.DataFrame([row(stimulus="mask eyes", lesion="none", dose=0, value=0.6)])
    heat = summary.heat_map(pd.concat([small, only]), "identification")
    assert np.isnan(heat.change[1, 1:]).all() and heat.change[1, 0] == pytest.approx(-0.3)


def test_the_measure_that_speaks_for_a_task_is_the_one_the_table_calls_main():
    table = pd.DataFrame(
        [
            row("verification", metric="accuracy", main=False),
            row("verification", metric="auc", words="area", share=False),
            row("other", metric="d_prime", words="d′", share=False, ceiling=math.nan, main=False),
        ]
    )
    assert summary.metric_of(table, "verification") == "auc"
    assert summary.metric_of(table, "other") == "d_prime"  # none is main: the first
    assert summary.tasks_of(table) == ["verification", "other"]
    assert summary.measure_of(table, "verification") == summary.Measure("auc", "area", False, 0.5, 1.0)
    assert summary.measure_of(table, "verification", "accuracy").share
    assert summary.measure_of(table, "other").bounds is None


def test_steps_stand_in_the_study_s_order_also_where_a_smaller_dose_is_more_damage(small):
    gain = small.replace({"dose": {0.2: 0.8, 0.8: 0.2}})  # to 80 %, then to 20 % of the activation
    curve = summary.dose_response(gain, "identification", "accuracy")
    assert curve["dose"].tolist() == [0, 0.8, 0.2] and curve["step"].tolist() == [0, 1, 2]
    assert curve["mean"].tolist() == pytest.approx([0.9, 0.5, 0.1])
    assert summary.headline(gain)[0].dose == 0.2
    assert summary.heat_map(gain, "detection").columns == (("none", 0.0), ("ablation", 0.8), ("ablation", 0.2))


def test_a_task_without_chance_has_no_share_kept(small):
    rows = summary.headline(small.assign(chance=math.nan))
    assert all(math.isnan(row.kept.estimate) for row in rows)
    assert summary.kept_shares(small.assign(chance=math.nan)).empty


def test_what_a_dose_means_is_what_the_table_says(small):
    assert summary.dose_meaning(small, "ablation") == "share of units"


AREA, SENSITIVITY = summary.Measure("auc", "area", ceiling=1.0), summary.Measure("d_prime", "d′", chance=0.0)


@pytest.mark.parametrize(
    ("value", "measure", "signed", "text"),
    [
        (0.5, summary.SHARE, False, "50.0\u00a0%"),
        (-0.0004, summary.SHARE, True, "0.0"),
        (-0.25, summary.SHARE, True, "−25.0"),
        (0.25, AREA, True, "+0.250"),
        (1.234, SENSITIVITY, False, "1.23"),
        (math.nan, AREA, False, "–"),
    ],
)
def test_numbers_as_people_read_them(value, measure, signed, text):
    assert summary.show(value, measure, signed) == text


def test_an_interval_of_no_width_is_no_certainty(small):
    same = small.assign(value=small["value"].where(small["lesion"] == "none", 1.0))
    rows = summary.headline(same)
    assert {summary.show_interval(row.damaged, row.measure) for row in rows} == {"no interval"}
    assert {summary.show_interval(row.kept, summary.SHARE) for row in rows} == {"no interval"}
    assert summary.show_interval(summary.Interval(0.9, 0.8999, 0.9001), summary.SHARE) == "[90.0, 90.0]"


def test_findings_say_what_the_table_says_and_claim_nothing_without_answers(small):
    found = findings(small, None)
    said = " ".join(finding.text for finding in found).replace("\u00a0", " ")
    assert "90.0 % in identification (right answers; chance 10.0 %)" in said
    assert "No claim is made" in said and "trials.parquet" in said
    assert not any(finding.claim or finding.test for finding in found)
