"""The dose curve and the case study, against the same asked plainly."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from facelesion.analysis import null_test
from facelesion.errors import Error
from facelesion.lab import Damage, State, curve, readouts
from facelesion.lab.case_card import TASKS_ASKED, card, judged, rows_of
from facelesion.lab.damage import lesion_of
from facelesion.lab.dose_curve import ASKED, band
from facelesion.lab.known import fitted_on, pool_of
from facelesion.lesions import lesioned

pytestmark = pytest.mark.slow  # readouts are fitted once, which takes seconds
STATE = State(
    damage=(Damage(site="conv5_2", dose=0.3, seed=2), Damage(kind="Scale", site="conv5_3", dose=0.8, units="all"))
)


def plainly(state: State, task_name: str) -> float:
    """A state's share right, by one forward of the whole pool under hooks."""
    known = readouts(state.network)
    task, pool = known.tasks[task_name], known.pool
    images = known.subject.preprocess(pool.images)
    with torch.no_grad(), lesioned(known.subject.module, lesion_of(state), ids=pool.ids):
        seen = known.subject.module(images).float()
    return task.measure(task.answer(seen))[ASKED[task_name][0]]


def test_every_dose_is_what_the_whole_lesion_of_that_dose_costs():
    *_, found = curve(STATE, 0, draws=2)
    assert 0.3 in found.doses and len(found.doses) == 7 and found.at == 0.3
    for place in (0, 2, 5):
        damage = dataclasses.replace(STATE.damage[0], dose=found.doses[place])
        for task in ASKED:
            expected = plainly(State(damage=(damage, STATE.damage[1])), task)
            assert found.scores[task][place] == pytest.approx(expected, abs=1e-9)


def test_the_band_is_of_other_units_as_many_and_the_words_are_the_null_test_s():
    *_, found = curve(STATE, 0, draws=5)
    place = found.doses.index(0.3)
    drawn = dataclasses.replace(STATE.damage[0], seed=7001)
    assert found.null["identification"][0][place] == pytest.approx(
        plainly(State(damage=(drawn, STATE.damage[1])), "identification"), abs=1e-9
    )
    draws = [each[place] for each in found.null["identification"]]
    assert len(draws) == 5 and band(found.null["identification"])[place] == (min(draws), max(draws))
    p = null_test(found.scores["identification"][place], draws).p
    assert f"(p = {p:.3f})" in found.words[1] and "of 5 random lesions" in found.words[1]


def test_the_curve_comes_part_by_part():
    done = [len(each.null["objects"]) for each in curve(State(damage=(Damage(),)), draws=10)]
    assert done == [0, 4, 8, 10]


def test_picked_units_are_taken_one_after_the_other():
    state = State(damage=(Damage(units="picked", picked=(3, 9, 40)),))
    *_, found = curve(state, draws=1)
    assert found.field == "units" and found.doses == (0.0, 1.0, 2.0, 3.0) and found.at == 3
    first = State(damage=(Damage(units="picked", picked=(3,)),))
    assert found.scores["identification"][1] == pytest.approx(plainly(first, "identification"), abs=1e-9)


def test_a_lesion_that_draws_nothing_has_no_band():
    found = list(curve(State(damage=(Damage(kind="Scale", dose=0.5, units="all"),))))
    assert len(found) == 1 and found[0].draws == 0 and not found[0].words


@pytest.mark.parametrize("kind", ["Keep", "Noise", "Dropout", "Clamp", "Shift", "Prune"])
def test_every_kind_has_a_curve(kind):
    from facelesion.lab.damage import dose_of

    slider = dose_of(kind)
    units = "random" if slider.field == "fraction" else "all"
    found = next(curve(State(damage=(Damage(kind=kind, dose=slider.usual, units=units, options=slider.options),))))
    assert slider.usual in found.doses and len(set(found.doses)) == 7


def test_nothing_grows_where_there_is_no_damage():
    for state, which in ((State(damage=()), 0), (State(), 3), (State(damage=(Damage(dose=0.0),)), 0)):
        with pytest.raises(Error, match="no damage to grow"):
            next(curve(state, which))


def test_the_card_s_measures_are_the_tasks_own():
    *_, found = card(STATE, group=("builtin",))
    assert [row.task for row in found.rows] == list(TASKS_ASKED) and not found.controls
    subject, pool = readouts("builtin").subject, pool_of(TASKS_ASKED)
    with torch.no_grad(), lesioned(subject.module, lesion_of(STATE), ids=pool.ids):
        seen = subject.module(subject.preprocess(pool.images)).float()
    for task, row in zip(fitted_on("builtin", TASKS_ASKED), found.rows, strict=True):
        main = task.measures[0].name
        assert row.damaged == pytest.approx(task.measure(task.answer(seen))[main], abs=1e-9)
        assert row.words.startswith("not testable")
    assert "Duchaine" in found.rows[0].people and not found.rows[1].people


def test_with_enough_networks_alike_the_words_are_single_case_statistics():
    intact, damaged = rows_of("builtin", None, "none"), rows_of("builtin", lesion_of(STATE), "the lab's damage")
    controls = []
    for number in range(12):
        other = intact.copy()
        other["participant"] = f"alike {number}"
        other["value"] = (other["value"] - 0.005 * (number % 4)).clip(0, 1)
        controls.append(other)
    names = tuple(f"alike {number}" for number in range(12))
    found = judged("builtin", names, [intact, damaged, *controls], lesion_of(STATE))
    identification = next(row for row in found.rows if row.task == "identification")
    assert identification.damaged < identification.healthy
    assert "% of networks trained alike" in identification.words and identification.words.startswith("below")
    assert len(found.apart) == 6 and any("p " in each for each in found.apart)
