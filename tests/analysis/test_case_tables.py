"""Single cases of a whole study: who is compared with whom, by which test, and how seldom nothing is called."""

import math

import numpy as np
import pandas as pd
import pytest

from facelesion.analysis import (
    bayesian_deficit,
    bayesian_difference,
    crawford_howell,
    revised_standardised_difference,
)  # fmt: skip
from facelesion.analysis.case_tables import CASES, false_alarms, judge_cases
from facelesion.errors import Error

ALIKE = "trained alike"


def made_up(
    seed: int, networks: int = 13, trials: int = 80, level: float = 0.9, lesion: float = 0.0, spread: float = 0.3,
    subject: float = 0.0, tasks: tuple[str, ...] = ("who", "whether", "which"),
) -> pd.DataFrame:  # fmt: skip
    """A result table of networks alike, intact and under one lesion that takes so much of every log odds."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(networks):
        for task in tasks:
            own = math.log(level / (1 - level)) + random.normal(0, spread)
            for name, dose, taken in (
                ("none", 0.0, 0.0),
                ("noise", 0.5, lesion + (subject if not number else 0.0)),
            ):
                share = random.binomial(trials, 1 / (1 + math.exp(taken - own))) / trials
                rows.append(
                    dict(
                        participant=f"net {number}", lesion=name, dose=dose, draw=0, control="", stimulus="intact",
                        task=task, metric="accuracy", main=True, value=share, n=trials, share=True, ceiling=1.0,
                        better="higher",
                    )
                )  # fmt: skip
    return pd.DataFrame(rows)


def group_of(table: pd.DataFrame) -> dict[str, list[str]]:
    return {ALIKE: list(dict.fromkeys(table["participant"]))}


def test_every_participant_is_a_case_and_the_subject_s_damage_is_compared_twice():
    table = made_up(0, networks=4)
    found = judge_cases(table, group_of(table))
    assert list(found) == list(CASES)
    one = found[found["minus"] == ""]
    intact, damaged = one[one["lesion"] == "none"], one[one["lesion"] == "noise"]
    assert list(dict.fromkeys(intact["participant"])) == ["net 0", "net 1", "net 2", "net 3"]
    assert set(damaged["participant"]) == {"net 0"} and set(damaged["against"]) == {
        "intact",
        "the same damage",
    }
    assert len(intact) == 4 * 3 and len(damaged) == 2 * 3
    assert len(found[found["minus"] != ""]) == len(one)  # three tasks have three pairs


def test_fewer_than_ten_controls_test_nothing_and_say_how_many_it_takes():
    table = made_up(0, networks=10)
    found = judge_cases(table, group_of(table))
    assert found["p"].isna().all() and not found["called"].any()
    assert set(found["words"]) == {
        "not testable against 9 networks trained alike: it takes 10",
        "not testable against 9 networks trained alike with the same damage: it takes 10",
    }
    assert found.loc[found["minus"] == "", "score"].notna().all()


def test_the_tests_are_those_of_single_cases_on_log_odds():
    table = made_up(1, networks=12, level=0.7, spread=0.8)
    found = judge_cases(table, group_of(table))
    odds = {
        (row.participant, row.task): math.log((row.value * 80 + 0.5) / ((1 - row.value) * 80 + 0.5))
        for row in table[table["lesion"] == "none"].itertuples()
    }
    others = [f"net {number}" for number in range(1, 12)]
    controls = np.array([[odds[name, "who"], odds[name, "which"]] for name in others])
    intact = found[(found["participant"] == "net 0") & (found["lesion"] == "none")]
    (one,) = intact[(intact["task"] == "who") & (intact["minus"] == "")].itertuples()
    naive = bayesian_deficit(odds["net 0", "who"], controls[:, 0])
    assert (one.p, one.effect, one.low, one.high) == pytest.approx(
        (naive.p, naive.effect, naive.low, naive.high)
    )
    assert one.p_classical == one.p and one.controls == 11
    (two,) = intact[(intact["task"] == "who") & (intact["minus"] == "which")].itertuples()
    pair = (odds["net 0", "who"], odds["net 0", "which"])
    assert two.p == bayesian_difference(pair, controls, draws=10_000).p
    assert two.p_classical == revised_standardised_difference(pair, controls).p


def test_the_subject_s_damage_stands_beside_controls_with_that_damage_too():
    table = made_up(2, lesion=2.0, level=0.9)
    found = judge_cases(table, group_of(table))
    who = found[(found["lesion"] == "noise") & (found["task"] == "who") & (found["minus"] == "")].set_index(
        "against"
    )
    assert who.loc["intact", "called"] and not who.loc["the same damage", "called"]
    assert who.loc["intact", "words"].startswith("below")
    assert "with the same damage" in who.loc["the same damage", "words"]
    with_damage = table[
        (table["lesion"] == "noise") & (table["task"] == "who") & (table["participant"] != "net 0")
    ]
    assert who.loc["the same damage", "mean"] == pytest.approx(with_damage["value"].mean())


def test_a_subject_whose_damage_takes_one_task_alone_is_a_classical_dissociation():
    table = made_up(3, level=0.8, networks=16)
    hit = (table["participant"] == "net 0") & (table["lesion"] == "noise") & (table["task"] == "who")
    table.loc[hit, "value"] = 0.05
    found = judge_cases(table, group_of(table))
    here = found[(found["lesion"] == "noise") & (found["against"] == "intact") & (found["minus"] != "")]
    kinds = {frozenset((row.task, row.minus)): row.kind for row in here.itertuples()}
    assert kinds[frozenset(("who", "whether"))] == kinds[frozenset(("who", "which"))] == "classical"
    assert kinds[frozenset(("whether", "which"))] == "none"


def test_who_is_in_no_group_is_a_case_and_never_a_control():
    table = made_up(4, networks=12)
    untrained = table[table["participant"] == "net 0"].assign(participant="untrained", value=0.02)
    found = judge_cases(pd.concat([table, untrained]), group_of(table))
    case = found[(found["participant"] == "untrained") & (found["minus"] == "")]
    assert set(case["lesion"]) == {"none"} and set(case["controls"]) == {12} and case["called"].all()
    assert set(found.loc[found["participant"] != "untrained", "controls"]) == {11}


def test_controls_at_their_ceiling_are_given_the_deviation_that_chance_brings():
    table = made_up(5, networks=12, tasks=("who", "which"))
    table.loc[table["task"] == "who", "value"] = 1.0
    found = judge_cases(table, group_of(table))
    ceiling = found[(found["task"] == "who") & (found["minus"] == "")]
    assert ceiling["p"].notna().all() and not ceiling["called"].any()
    assert found.loc[found["minus"] != "", "words"].str.contains("do not differ in who").all()


def test_an_error_rate_counts_downwards_and_a_measure_without_bounds_is_tested_as_it_is():
    table = made_up(6, networks=12)
    wrong = table.assign(value=1 - table["value"], better="lower")
    same = judge_cases(table, group_of(table)), judge_cases(wrong, group_of(wrong))
    assert same[0]["p"].to_numpy() == pytest.approx(same[1]["p"].to_numpy(), abs=1e-9, nan_ok=True)
    free = table.assign(share=False, ceiling=math.nan, value=table["value"] * 5)
    found = judge_cases(free, group_of(free))
    assert set(found["scale"]) == {"own"} and found["p"].notna().all()


def test_a_group_of_strangers_is_refused():
    with pytest.raises(Error, match="nobody"):
        judge_cases(made_up(0, networks=3), {ALIKE: ["net 0", "nobody"]})


def test_among_networks_alike_hardly_a_study_in_twenty_calls_anybody():
    """Permuted participants: all networks are alike, whatever their order, and the subject's damage does nothing."""
    called = 0
    for seed in range(200):
        table = made_up(seed, networks=12, level=(0.75, 0.95)[seed % 2], tasks=("who", "whether"))
        table = table[(table["lesion"] == "none") | (table["participant"] == "net 0")]
        called += judge_cases(table, group_of(table), draws=1000)["called"].any()
    assert called <= 0.05 * 200


def test_networks_alike_are_called_as_often_as_a_test_at_a_twentieth_says():
    found = pd.concat(
        [
            false_alarms(made_up(seed, networks=12, level=0.8, lesion=0.8, tasks=tuple("abcdef")), names, draws=400)
            for seed in range(8)
            for names in [[f"net {number}" for number in range(12)]]
        ]
    )
    assert (found["low"] <= found["called"]).all() and (found["called"] <= found["high"]).all()
    tests = found.groupby(["test", "state"])["tests"].sum().to_dict()
    assert tests["deficit", "intact"] == tests["deficit", "damaged"] == 8 * 12 * 6
    assert tests["difference, Bayesian", "damaged"] == 8 * 12 * 15
    shares = found.groupby(["test", "state"])["called"].mean()
    assert shares.between(0.025, 0.075).all(), shares


def test_the_least_spread_keeps_tests_careful_of_networks_closer_together_than_chance():
    table = made_up(1, networks=12, level=0.8, tasks=("who",))
    trials = 400
    table["n"], table["value"] = trials, [0.8 + 0.0025 * (number % 3) for number in range(len(table))]
    odd = (table["participant"] == "net 3") & (table["lesion"] == "none")
    table.loc[odd, "value"] = 0.78  # far outside their own spread, well inside what 400 answers bring
    names = group_of(table)[ALIKE]
    found = [false_alarms(table, names, draws=100, least_spread=least) for least in (True, False)]
    careful, own = (each.set_index(["test", "state"]).loc[("deficit", "intact")] for each in found)
    assert careful["most"] == 0.0 and own["most"] == 1.0
    odds = [
        math.log((value * trials + 0.5) / ((1 - value) * trials + 0.5))
        for value in table[table["lesion"] == "none"]["value"]
    ]
    called = [
        crawford_howell(value, [each for place, each in enumerate(odds) if place != case]).p < 0.05
        for case, value in enumerate(odds)
    ]
    assert own["called"] == pytest.approx(np.mean(called))


def test_the_least_spread_changes_nothing_of_networks_further_apart():
    table = made_up(2, networks=12, level=0.7, spread=2.0, trials=400, tasks=("who", "which"))
    names = group_of(table)[ALIKE]
    found = [false_alarms(table, names, draws=200, least_spread=least) for least in (True, False)]
    pd.testing.assert_frame_equal(*found)


def test_a_member_that_is_not_like_the_others_stands_out_of_the_false_alarms():
    table = made_up(1, networks=12, level=0.8, tasks=tuple("abcd"))
    odd = table["participant"] == "net 3"
    table.loc[odd, "value"] = table.loc[odd, "value"] - 0.6
    found = false_alarms(table, group_of(table)[ALIKE], draws=100).set_index(["test", "state"])
    assert found.loc[("deficit", "intact"), "most"] == 1.0


@pytest.mark.parametrize(
    ("members", "told"), [(10, "10 networks: it takes 11"), (["net 0", "nobody"], "'nobody' takes no part")]
)
def test_false_alarms_need_ten_controls_who_take_part(members, told):
    table = made_up(1, networks=10)
    with pytest.raises(Error, match=told):
        false_alarms(table, group_of(table)[ALIKE] if members == 10 else members)
