"""Answers become scores of people: the task's own measure, and one scale for all."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from facelesion.analysis import Term, answers_of, choice_of_two, contrast, crossed_interval, d_prime, holm
from facelesion.analysis.answers import INTACT
from facelesion.analysis.crossed import PersonScores
from facelesion.errors import Error


def pairs(seed: int = 0, people: int = 8, pictures: int = 3, draws: int = 3) -> pd.DataFrame:
    """Same or different, over all pairs of pictures, as damage makes the pictures of a person less alike."""
    random = np.random.default_rng(seed)
    who = np.repeat(range(people), pictures)
    centre = random.normal(size=(people, 4))
    rows = []
    for lesion, dose, draw in [("none", 0.0, 0), *(("noise", 1.0, draw) for draw in range(draws))]:
        shown = centre[who] + random.normal(0, 0.6 + dose + 0.3 * draw * dose, (len(who), 4))
        for trial, (a, b) in enumerate(itertools.combinations(range(len(who)), 2)):
            value = -float(np.linalg.norm(shown[a] - shown[b]))
            same = who[a] == who[b]
            rows.append(
                (
                    lesion,
                    dose,
                    draw,
                    trial,
                    f"p{who[a]}",
                    f"p{who[b]}",
                    "same" if same else "different",
                    value,
                )
            )
    frame = pd.DataFrame(
        rows, columns=["lesion", "dose", "draw", "trial", "person", "other", "target", "value"]
    )
    answer = np.where(frame["value"] > -2, "same", "different")
    return frame.assign(task="pairs", answer=answer, right=answer == frame["target"])


def area(trials: pd.DataFrame) -> float:
    yes, no = (trials.loc[trials["target"] == kind, "value"] for kind in ("same", "different"))
    return float(stats.mannwhitneyu(yes, no).statistic / (len(yes) * len(no)))


def test_the_mean_over_people_is_the_area_under_the_curve():
    trials = pairs()
    scores = answers_of(trials)["pairs"].scores()
    assert scores[INTACT].values.mean() == pytest.approx(area(trials[trials["lesion"] == "none"]))
    for draw in range(3):
        part = trials[(trials["lesion"] == "noise") & (trials["draw"] == draw)]
        assert scores["noise", 1.0].values[draw].mean() == pytest.approx(area(part))


def test_a_person_counts_with_its_pairs_with_others_too():
    trials = pairs()
    part = trials[(trials["lesion"] == "noise") & (trials["draw"] == 0)]
    scores = answers_of(trials)["pairs"].scores()["noise", 1.0]
    people, whole = len(scores.people), area(part)
    for place, name in enumerate(scores.people):
        without = area(part[(part["person"] != name) & (part["other"] != name)])
        pseudo = people * whole - (people - 1) * without
        shift = scores.values[0].mean() - pseudo
        assert scores.values[0, place] == pytest.approx(pseudo, abs=abs(shift) + 0.1)


@pytest.mark.parametrize("scale", ["own", "choice"])
@pytest.mark.parametrize("kept", [False, True])
def test_levels_are_the_means_of_peoples_scores(scale, kept):
    random = np.random.default_rng(3)
    named = pd.concat(
        [
            pd.DataFrame(
                dict(lesion=lesion, dose=dose, draw=draw, task="who", trial=range(30), person=list("AABBBBCDEF") * 3,
                     other="", target=list("AABBBBCDEF") * 3, answer=random.choice(list("ABCDEF"), 30), value=0.0)
            )
            for lesion, dose, draw in [("none", 0.0, 0), ("noise", 1.0, 1), ("noise", 1.0, 0), ("noise", 2.0, 0)]
        ]
    )  # fmt: skip
    named["right"] = named["answer"] == named["target"]
    who = answers_of(named.assign(forced_choice=random.random(len(named))) if kept else named)["who"]
    pair = answers_of(pairs())["pairs"]
    named_pairs = dataclasses.replace(pair, yes="", alternatives=3)
    for answers in (who, pair, named_pairs):
        scores, levels = answers.scores(scale), answers.levels(scale)
        assert list(scores) == list(levels) and len(levels) > 1
        for lesion, values in levels.items():
            one_observer = scale == "choice" and answers is not pair and answers.beaten is None
            if one_observer and len(values) > 1:  # draws are carried over together in one, each by itself in the other
                assert values == pytest.approx(scores[lesion].values.mean(1), abs=0.02)
            else:
                assert values == pytest.approx(scores[lesion].values.mean(1), abs=1e-6)


def test_intervals_of_pairs_cover_what_other_people_would_give():
    areas = [area(pairs(seed, people=12, draws=0)) for seed in range(120)]
    truth, hits = float(np.mean(areas)), []
    for seed in range(60):
        scores = answers_of(pairs(seed, people=12, draws=0))["pairs"].scores()[INTACT]
        found = contrast({("pairs", "none"): scores}, [Term(1, "pairs", "none", fixed=True)]).interval()
        hits.append(truth in found)
    assert np.mean(hits) >= 0.85  # pairs as if independent would cover about half


def test_the_side_that_large_values_speak_for_is_found_from_the_answers():
    trials = pairs()
    names = {"same": "alike", "different": "unalike"}
    renamed = trials.replace({"target": names, "answer": names})
    assert answers_of(renamed)["pairs"].yes == "alike"
    turned = renamed.assign(value=-renamed["value"])
    assert answers_of(turned)["pairs"].yes == "unalike"
    silent = trials.assign(answer="same", right=trials["target"] == "same")  # a dead network
    assert answers_of(silent)["pairs"].yes == "same"


def test_two_people_to_choose_from_are_no_yes_and_no():
    random = np.random.default_rng(0)
    person = np.repeat(["Ann", "Bea"], 20)
    value = random.normal(0.5, 1, 40)
    answer = np.where(value > 0, person, np.where(person == "Ann", "Bea", "Ann"))
    trials = pd.DataFrame(
        dict(lesion="none", dose=0.0, draw=0, task="who", trial=range(40), person=person, other="", target=person,
             answer=answer, value=value, right=value > 0)
    )  # fmt: skip
    found = answers_of(trials)["who"]
    assert found.yes == "" and found.alternatives == 2
    assert found.scores()[INTACT].values[0] == pytest.approx(
        [(value > 0)[:20].mean(), (value > 0)[20:].mean()]
    )
    kept = answers_of(trials.assign(forced_choice=(value > 0) * 1.0), {"who": math.nan})["who"]
    assert kept.comparable and kept.alternatives == 0
    assert not answers_of(trials, {"who": math.nan})["who"].comparable
    with pytest.raises(Error, match="common scale"):
        answers_of(trials, {"who": math.nan})["who"].scores("choice")


@pytest.mark.parametrize("alternatives", [2, 3, 16, 40])
def test_the_common_scale_is_what_an_observer_does(alternatives):
    random = np.random.default_rng(alternatives)
    for sensitivity in (0.0, 0.8, 2.0):
        target = random.normal(sensitivity, 1, 40_000)
        others = random.normal(0, 1, (40_000, alternatives - 1))
        share = float((target[:, None] > others).all(1).mean())
        two = float((target > others[:, 0]).mean())
        assert choice_of_two(share, alternatives) == pytest.approx(two, abs=0.02)
        assert d_prime(two) == pytest.approx(sensitivity, abs=0.05)


def test_guessing_among_many_is_guessing_between_two_on_average():
    random = np.random.default_rng(0)
    shares = random.binomial(200, 1 / 40, 400) / 200
    assert np.mean([choice_of_two(share, 40) for share in shares]) == pytest.approx(0.5, abs=0.02)
    assert choice_of_two(1.0, 40) == 1.0 and 0 <= choice_of_two(0.0, 40) < 0.5


@pytest.mark.parametrize(("share", "alternatives"), [(0.5, 1), (1.2, 4), (-0.1, 4), (math.nan, 4)])
def test_shares_that_are_none_are_refused(share, alternatives):
    with pytest.raises(Error):
        choice_of_two(share, alternatives)


def test_answers_that_are_missing_or_belong_to_several_are_refused():
    trials = pairs()
    with pytest.raises(Error, match="each of the 276 trials once"):
        answers_of(trials.iloc[1:])
    with pytest.raises(Error, match="one participant"):
        answers_of(trials.assign(participant=np.arange(len(trials)) % 2))
    alone = trials[trials["target"] == "different"]
    lonely = pd.concat([alone, trials[(trials["target"] == "same") & (trials["person"] == "p0")]])
    with pytest.raises(Error, match="without 'p0'"):
        answers_of(lonely)["pairs"].scores()


class TestCrossed:
    @pytest.mark.parametrize(("draws", "people"), [(3, 20), (5, 12), (5, 40)])
    def test_it_covers_where_people_and_draws_both_vary(self, draws, people):
        random = np.random.default_rng(draws * people)
        hits = []
        for _ in range(500):
            values = (
                random.normal(0, 1, (draws, 1))
                + random.normal(0, 1, (1, people))
                + random.normal(0, 1, (draws, people))
            )
            hits.append(0.0 in crossed_interval(values))
        assert 0.92 <= np.mean(hits) <= 0.99

    def test_the_bootstrap_agrees_where_there_are_many_of_both(self):
        random = np.random.default_rng(0)
        values = random.normal(0, 1, (40, 1)) + random.normal(0, 1, (1, 60)) + random.normal(0, 1, (40, 60))
        t, drawn = crossed_interval(values), crossed_interval(values, method="bootstrap")
        assert (drawn.low, drawn.high) == pytest.approx((t.low, t.high), abs=0.06)

    def test_networks_that_differ_widen_the_interval(self):
        random = np.random.default_rng(0)
        one = random.normal(0, 0.1, (3, 4, 20))
        spread = one + np.array([-1.0, 0.0, 1.0])[:, None, None]
        assert crossed_interval(spread).high - crossed_interval(spread).low > 3
        assert crossed_interval(one).high - crossed_interval(one).low < 0.6
        drawn = crossed_interval(spread, method="bootstrap")
        assert drawn.high - drawn.low > 1

    def test_the_same_people_in_two_tasks_are_the_same(self):
        random = np.random.default_rng(0)
        people = tuple("abcdefghij")
        ease = random.normal(0, 1, 10)
        scores = {
            (task, "noise"): PersonScores(people, ease + random.normal(0, 0.05, (4, 10)))
            for task in ("a", "b")
        }
        apart = {**scores, ("b", "noise"): PersonScores(tuple("klmnopqrst"), scores["b", "noise"].values)}
        terms = [Term(1, "a", "noise"), Term(-1, "b", "noise")]
        assert contrast(scores, terms).error < 0.2 * contrast(apart, terms).error

    def test_what_was_seen_once_has_no_interval(self):
        assert math.isnan(crossed_interval(np.ones((1, 5))).low)
        assert math.isnan(crossed_interval(np.random.default_rng(0).normal(size=(4, 1))).low)
        assert math.isnan(crossed_interval(np.ones((1, 5)), method="bootstrap").low)

    def test_values_of_another_shape_are_refused(self):
        for values in (np.ones(3), np.full((2, 2), np.nan), np.ones((0, 3))):
            with pytest.raises(Error, match="draws, people"):
                crossed_interval(values)
        with pytest.raises(Error, match="named twice"):
            PersonScores(("a", "a"), np.ones((1, 2)))
        with pytest.raises(Error, match="no scores of b"):
            contrast({("a", "x"): PersonScores(("p", "q"), np.ones((2, 2)))}, [Term(1, "b", "x")])

    def test_holm_is_the_step_down_of_bonferroni(self):
        assert holm([0.01, 0.02, 0.5]).tolist() == pytest.approx([0.03, 0.04, 0.5])
        assert holm([]).tolist() == []
        with pytest.raises(Error):
            holm([1.5])


def _liked(seed: int, people: int = 14) -> pd.DataFrame:
    """Pairs in a task with sections: each person makes all pairs with them easier or harder; the mean is 0.3."""
    random = np.random.default_rng(seed)
    ease = random.normal(0, 0.8, people)
    rows = []
    for one in range(people):
        for two in range(one + 1, people):
            value = 0.3 + ease[one] + ease[two] + random.normal()
            rows.append((len(rows), f"p{one}", f"p{two}", value))
    trials = pd.DataFrame(rows, columns=["trial", "person", "other", "value"])
    return trials.assign(
        lesion="none", dose=0.0, draw=0, task="composite", section="aligned", target="same", answer="",
        right=trials["value"] > 0, forced_choice=trials["value"],
    )  # fmt: skip


class TestPairsOfATaskWithSections:
    def test_both_people_of_a_pair_are_what_varies(self):
        hits = []
        for seed in range(150):
            scores = answers_of(_liked(seed))["composite"].scores("choice")[INTACT]
            found = contrast({("c", "none"): scores}, [Term(1, "c", "none", fixed=True)])
            hits.append(0.3 in found.interval())
        assert np.mean(hits) >= 0.9  # with the spread of people's own means it was 0.69

    def test_a_person_s_score_is_the_pseudo_value_of_leaving_them_out(self):
        trials = _liked(0)
        scores = answers_of(trials)["composite"].scores("choice")[INTACT]
        assert scores.values.mean() == pytest.approx(trials["value"].mean())
        without = [
            trials[(trials["person"] != name) & (trials["other"] != name)]["value"].mean()
            for name in scores.people
        ]
        pseudo = 14 * trials["value"].mean() - 13 * np.array(without)
        assert scores.values[0] == pytest.approx(pseudo - pseudo.mean() + trials["value"].mean())

    def test_somebody_in_every_pair_cannot_be_told_from_the_trials(self):
        trials = _liked(0)
        star = trials[trials["person"] == "p0"].assign(trial=range(13))
        found = answers_of(star)["composite"]
        assert not found.separable
        with pytest.raises(Error, match="'p0' is in every pair"):
            found.scores("choice")
