"""A claim is made where there is something, and hardly ever where there is nothing."""

import math

import numpy as np
import pandas as pd
import pytest

from facelesion.analysis.answers import answers_of
from facelesion.analysis.claims import differences, dissociations, losses, profile
from facelesion.errors import Error
from facelesion.report.findings import findings

from .trials import made_up, shuffle_all, split_people, swap_lesions, swap_tasks

TABLES = 200
# Both kinds of damage take something of both tasks, and each takes more of one.
CROSSED = {
    ("ablation", "who"): 1.6, ("ablation", "what"): 0.5, ("noise", "who"): 0.5, ("noise", "what"): 1.6,
    ("dropout", "who"): 1.0, ("dropout", "what"): 1.0,
}  # fmt: skip
# One task is harder, and one kind of damage is stronger.
HARDER = {
    (damage, task): strong * hard
    for damage, strong in (("ablation", 1.4), ("noise", 0.5), ("dropout", 1.0))
    for task, hard in (("who", 1.4), ("what", 0.6))
}


def claims(trials: pd.DataFrame) -> tuple[bool, bool]:
    """Whether a dissociation is claimed, and whether a loss is."""
    found = profile(answers_of(trials))
    return any(one.claimed for one in dissociations(found)), any(one.claimed for one in losses(found))


def share_of_claims(make) -> float:
    return float(
        np.mean([claims(make(seed, np.random.default_rng(seed + 5000)))[0] for seed in range(TABLES)])
    )


def test_task_labels_shuffled_within_each_lesion_give_hardly_a_claim():
    assert share_of_claims(lambda seed, random: swap_tasks(made_up(seed, CROSSED), random)) <= 0.05


def test_lesion_labels_shuffled_give_hardly_a_claim():
    assert share_of_claims(lambda seed, random: swap_lesions(made_up(seed, CROSSED), random)) <= 0.05


def test_all_that_is_left_shuffled_gives_hardly_a_claim():
    assert share_of_claims(lambda seed, random: shuffle_all(made_up(seed, CROSSED), random)) <= 0.05


def test_two_random_halves_of_the_same_people_are_hardly_ever_told_apart():
    def halves(seed, random):
        return split_people(made_up(seed, CROSSED, people=24), "who", random)

    assert share_of_claims(halves) <= 0.05


def test_a_harder_task_and_a_stronger_damage_are_no_dissociation():
    assert share_of_claims(lambda seed, random: made_up(seed, HARDER)) <= 0.05


def test_doses_that_lie_elsewhere_are_no_dissociation():
    """One scale of strength: middling doses of one kind, none and a huge one of the other; means over doses cross."""
    same = {
        (damage, task): loss
        for damage in ("ablation", "noise")
        for task, loss in (("who", 3.0), ("what", 0.7))
    }
    strength = {"ablation": (1.0, 1.0), "noise": (0.0, 4.0)}
    made = [
        made_up(seed, same, damages=("ablation", "noise"), strength=strength, people=30, draws=12)
        for seed in range(40)
    ]
    assert np.mean([claims(trials)[0] for trials in made]) <= 0.05
    found = profile(answers_of(made[0]))
    left = {key: scores.values.mean() for key, scores in found.scores.items()}
    assert left["who", "ablation"] < left["who", "noise"] - 0.1
    assert left["what", "ablation"] > left["what", "noise"] + 0.1  # what a mean over doses would have called


def test_damage_that_does_nothing_is_hardly_ever_called_a_loss():
    assert np.mean([claims(made_up(seed, {}))[1] for seed in range(TABLES)]) <= 0.05


def test_a_true_double_dissociation_is_found():
    found = [claims(made_up(seed, CROSSED, people=30, draws=12)) for seed in range(20)]
    assert np.mean([dissociated for dissociated, _ in found]) > 0.8
    assert np.mean([lost for _, lost in found]) == 1
    (first, *_) = dissociations(profile(answers_of(made_up(0, CROSSED, people=30, draws=12))))
    assert (first.damages, first.tasks) == (("ablation", "noise"), ("who", "what"))
    assert first.compared == 4 and first.crossings >= 1 and first.doses[0] == 0.3


def test_every_pair_of_tasks_is_given_under_every_kind_whatever_its_sign():
    found = differences(profile(answers_of(made_up(1, CROSSED, people=30, draws=8)), "choice"))
    assert {(one.tasks, one.damage) for one in found} == {
        (("who", "what"), damage) for damage in ("ablation", "noise", "dropout")
    }
    by_damage = {one.damage: one.found.estimate for one in found}
    assert by_damage["ablation"] > 0 > by_damage["noise"]


def test_tasks_count_as_equally_hard_only_between_ceiling_and_floor():
    easy = made_up(0, CROSSED, healthy=6.0)
    assert not any(
        one.matched for one in differences(profile(answers_of(easy, {"who": 0.5, "what": 0.5}), "choice"))
    )
    fair = made_up(0, CROSSED, healthy=1.2)
    assert all(
        one.matched for one in differences(profile(answers_of(fair, {"who": 0.5, "what": 0.5}), "choice"))
    )


def test_one_draw_is_not_testable_and_claims_nothing():
    found = profile(answers_of(made_up(0, CROSSED, draws=1)))
    assert all(math.isnan(one.p) and not one.claimed for one in losses(found) + dissociations(found))


def test_several_networks_must_all_have_been_asked_alike():
    several = [profile(answers_of(made_up(0, CROSSED).assign(value=value))) for value in (1.0, 2.0)]
    assert len(losses(several)) == 6
    other = profile(answers_of(made_up(0, CROSSED, damages=("ablation",))))
    with pytest.raises(Error, match="damaged and asked alike"):
        losses([several[0], other])


def test_answers_without_the_intact_network_are_refused():
    trials = made_up(0, CROSSED)
    with pytest.raises(Error, match="intact network"):
        profile(answers_of(trials[trials["lesion"] != "none"]))


def table_of(trials: pd.DataFrame) -> pd.DataFrame:
    """The result table that belongs to made-up trials."""
    rows = (
        trials.groupby(["lesion", "dose", "draw", "task"], sort=False)["right"]
        .mean()
        .reset_index(name="value")
    )
    return rows.assign(
        participant="net", weights="w", damage=rows["lesion"], damage_hash=rows["lesion"], sites="s", seed=0,
        step=rows["dose"].rank(method="dense").astype(int) - 1, stimulus="intact", metric="accuracy", main=True,
        words="right", share=True, better="higher", ceiling=1.0, n=90, data="d", study="s", chance=0.125,
    )  # fmt: skip


def test_the_report_s_sentences_claim_what_was_found_and_name_what_was_not():
    from facelesion.report.findings import evidence

    trials = made_up(0, {**CROSSED, ("dropout", "what"): 0.0}, people=30, draws=12)
    table = table_of(trials)
    said = findings(table, evidence(table, trials))
    text = " ".join(finding.text for finding in said)
    assert "ablation at 0.3 takes more of who than noise at" in text and "and takes less of what" in text
    (what,) = [finding.text for finding in said if finding.text.startswith("what (")]
    assert what.startswith("what (right answers, mean over all doses): ")
    assert "not shown to be lower under dropout" in what and "noise" in what.split(";")[0]
    assert all(finding.test for finding in said if finding.claim)


def test_a_report_of_shuffled_labels_claims_no_dissociation():
    from facelesion.report.findings import evidence

    trials = swap_lesions(made_up(3, CROSSED), np.random.default_rng(0))
    table = table_of(trials)
    text = " ".join(finding.text for finding in findings(table, evidence(table, trials)))
    assert "No kind of damage was found to take one task where another kind takes another" in text


def test_what_is_claimed_for_one_network_is_said_not_to_be_shown_in_another():
    from facelesion.report.findings import across, evidence

    true, none = (made_up(0, loss, people=30, draws=12) for loss in (CROSSED, {}))
    found = {name: evidence(table_of(trials), trials) for name, trials in (("one", true), ("two", none))}
    (said,) = across(found)
    assert "in 1 of 2 (one)" in said.text
    (said,) = across({"two": found["two"], "three": found["two"]})
    assert "In none of the 2 networks" in said.text and not said.claim
    assert across({"one": found["one"]}) == []


def test_one_kind_of_damage_is_said_to_be_too_few():
    from facelesion.report.findings import evidence

    trials = made_up(3, CROSSED, damages=("ablation",))
    table = table_of(trials)
    text = " ".join(finding.text for finding in findings(table, evidence(table, trials)))
    assert "not testable with one kind of damage" in text
