"""What a report says of chosen units beside their control sets."""

from __future__ import annotations

import itertools
import math

import pandas as pd
import pytest

from facelesion.analysis.claims import Loss
from facelesion.analysis.crossed import Estimate
from facelesion.report.against import against_figure, beyond, lines_of, sentences
from facelesion.report.findings import Evidence, lost_in


@pytest.fixture
def controls() -> pd.DataFrame:
    """Two networks; `face units` take `who` beyond both kinds of control at the larger dose, in one of them."""
    rows = []
    for name, lesion, dose, task, control in itertools.product(
        ["one", "two"], ["face units", "others"], [0.1, 0.2], ["who", "what"], ["random", "matched"]
    ):
        hit = (name, lesion, dose, task) == ("one", "face units", 0.2, "who")
        half = (name, lesion, dose, task) == ("two", "face units", 0.2, "who") and control == "random"
        rows.append(
            dict(
                participant=name, lesion=lesion, step=1 + (dose == 0.2), dose=dose, stimulus="intact", task=task,
                metric="accuracy", control=control, intact=1.0, value=0.4 if hit else 0.8, mean=0.8, low=0.6, high=0.9,
                p=0.005 if hit or half else 0.5, floor=0.005, adjusted=0.04 if hit or half else 0.9, sets=200,
                distinct=200, mismatch=0.0,
            )
        )  # fmt: skip
    return pd.DataFrame(rows)


def test_a_loss_is_beyond_where_it_passes_every_kind_of_control(controls):
    found = beyond(controls)
    assert found[["participant", "lesion", "dose", "task"]].values.tolist() == [["one", "face units", 0.2, "who"]]


def test_sentences_name_dose_networks_and_sets_and_tell_of_what_was_not_shown(controls):
    first, second, third = sentences(controls)
    assert first == (
        "face units: who falls further than with as many other units (200 random and 200 matched sets), at 0.2, in 1 "
        "of 2 networks (one): the measure is 1.00 intact, 0.40 with these damaged, 0.80 with other units on average."
    )
    assert second == "face units: no such loss is shown for what; that is no proof of none."
    assert third.startswith("others: no task falls further")


def test_on_the_common_scale_sentences_speak_of_choices(controls):
    assert sentences(controls.assign(metric="choice"))[0].endswith(
        "(one): a share of right choices between two of 1.00 intact, 0.40 with these damaged, 0.80 with other units "
        "on average."
    )


def test_the_figure_fills_the_markers_that_are_beyond(controls):
    figure = against_figure(controls, "face units")
    filled = [
        line.get_markerfacecolor() != "white"
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() not in ("None", None, "")
    ]
    assert len(filled) == 2 * 2 * 2 and sum(filled) == 1


@pytest.mark.parametrize("doses", [[0.2], [0.1, 0.2]])
def test_the_band_of_the_control_sets_is_seen_for_one_dose_as_for_several(controls, doses):
    figure = against_figure(controls[controls["dose"].isin(doses)], "face units")
    for axes in figure.axes:
        (band,) = axes.collections
        extent = band.get_paths()[0].get_extents()
        assert extent.width > 0.3 and extent.height == pytest.approx(0.3)


def test_the_table_has_a_cell_for_every_network(controls):
    lines = lines_of(controls)
    assert len(lines) == 2 * 2 * 2
    wanted = {"lesion": "face units", "dose": 0.2, "task": "who"}
    cell = next(each for each in lines if each | wanted == each)
    assert [each["beyond"] for each in cell["cells"]] == [True, False]
    assert cell["cells"][0] | {"p": 0} == {"value": 0.4, "low": 0.6, "high": 0.9, "p": 0, "beyond": True}


@pytest.fixture
def small_evidence() -> Evidence:
    found = Estimate(0.3, 0.1, 10.0)
    losses = [
        Loss("who", "drawn often", found, 0.01, True),
        Loss("who", "drawn once", Estimate(0.3, math.nan, math.nan), math.nan, False),
    ]
    return Evidence(None, None, losses, [], [])  # type: ignore[arg-type]  # only losses are looked at


def test_damage_that_was_drawn_once_counts_as_not_tested_and_not_as_spared(small_evidence):
    lost = lost_in({"one": small_evidence, "two": small_evidence})
    assert "drawn once" not in lost and set(lost) == {"drawn often"}
