"""Curves of dose and response are those of R's glm, and their half-loss doses cover and differ as often as they say."""

import math

import numpy as np
import pytest
from scipy import optimize, special

from facelesion.analysis import PersonScores, answers_of
from facelesion.analysis.psychometric import SHAPES, compare_curves, fit_curve, scores_by_dose
from facelesion.errors import Error

from .trials import made_up

DOSES = (0.05, 0.1, 0.2, 0.4, 0.8)


def measured(
    seed: int,
    half: float = 0.2,
    *,
    steep: float = 2.0,
    people: int = 24,
    draws: int = 5,
    differ: tuple[float, float] = (0.25, 0.2),
    prefix: str = "p",
    people_seed: int | None = None,
) -> dict[float, PersonScores]:
    """Choices between two under growing damage; people and draws differ in the dose that takes half."""
    random = np.random.default_rng(seed)
    names = tuple(f"{prefix}{number}" for number in range(people))
    frail = (random if people_seed is None else np.random.default_rng(people_seed)).normal(0, differ[0], people)
    strong = random.normal(0, differ[1], draws)[:, None]
    top = np.clip(0.93 + random.normal(0, 0.03, people), 0.5, 1)
    found = {0.0: PersonScores(names, (random.binomial(8, top) / 8)[None])}
    for dose in DOSES:
        left = special.expit(steep * (math.log(half) + frail + strong - math.log(dose)))
        found[dose] = PersonScores(names, random.binomial(4, 0.5 + (top - 0.5) * left) / 4)
    return found


# Budworms that died of 20 at each dose (Collett 1991; Venables & Ripley 2002, section 7.2), and R 4.2.2's
# glm(cbind(dead, 20 - dead) ~ log(dose), binomial) with the links logit, probit and cloglog: LD50 and slope.
BUDWORMS = {"male": [1, 4, 9, 13, 18, 20], "female": [0, 2, 6, 10, 12, 16]}


@pytest.mark.parametrize(
    ("sex", "shape", "half", "steepness"),
    [
        ("male", "logistic", 4.7200924, 1.8162801),
        ("male", "normal", 4.7031194, 1.0631025),
        ("male", "weibull", 5.4396092, 1.1902075),
        ("female", "logistic", 9.8764810, 1.3071343),
        ("female", "normal", 9.8673400, 0.7866031),
        ("female", "weibull", 11.3210389, 0.9340616),
    ],
)
def test_with_ends_at_one_and_zero_it_is_the_generalised_linear_model_of_r(sex, shape, half, steepness):
    names = tuple(f"worm {number}" for number in range(20))
    scores = {
        2.0**step: PersonScores(names, (np.arange(20) >= dead).astype(float)[None])
        for step, dead in enumerate(BUDWORMS[sex])
    }
    found = fit_curve(scores, chance=0, healthy=1, shape=shape)
    assert found.half.estimate == pytest.approx(half, rel=1e-5)
    assert found.steepness == pytest.approx(steepness, rel=1e-5)
    assert found.at(half) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_s_maximum_is_what_a_plain_search_finds(shape, seed):
    scores = measured(seed)
    top = scores[0.0].values.mean()
    left = np.array([scores[dose].values.mean() for dose in DOSES])

    def cost(theta):
        u = np.exp(theta[1]) * (np.log(DOSES) - theta[0])
        falls = {"logistic": special.expit(-u), "normal": special.ndtr(-u), "weibull": 0.5 ** np.exp(u)}
        mean = 0.5 + (top - 0.5) * falls[shape]
        return -(left * np.log(mean) + (1 - left) * np.log(1 - mean)).sum()

    starts = [(a, b) for a in (-3, -2, -1) for b in (0, 1)]
    best = min((optimize.minimize(cost, start, method="Nelder-Mead") for start in starts), key=lambda one: one.fun)
    found = fit_curve(scores, shape=shape, resamples=20)
    assert math.log(found.half.estimate) == pytest.approx(best.x[0], abs=1e-3)
    assert found.steepness == pytest.approx(math.exp(best.x[1]), rel=2e-3)
    assert found.observed == pytest.approx(left)
    assert found.at(DOSES) == pytest.approx(found.fitted)


def test_it_begins_at_the_healthy_level_and_ends_at_chance():
    scores = measured(0)
    found = fit_curve(scores, resamples=20)
    assert found.healthy == pytest.approx(scores[0.0].values.mean())
    assert found.at([0.0, 1e9]) == pytest.approx([found.healthy, 0.5])
    assert found.at(found.half.estimate) == pytest.approx((found.healthy + 0.5) / 2)


def test_lapses_that_are_not_taken_into_account_shift_the_dose():
    # Wichmann & Hill 2001, figure 1: with one end wrongly fixed at 1 the threshold is biased.
    names = tuple("abcdefgh")
    share = 0.5 + 0.35 * special.expit(-3 * np.log(np.array(DOSES) / 0.2))
    scores = {dose: PersonScores(names, np.full((1, 8), value)) for dose, value in zip(DOSES, share, strict=True)}
    scores[0.0] = PersonScores(names, np.full((1, 8), 0.85))
    assert fit_curve(scores).half.estimate == pytest.approx(0.2, rel=1e-4)
    assert fit_curve(scores, healthy=1.0).half.estimate < 0.15


def test_a_half_that_lies_beyond_the_doses_has_no_interval():
    found = fit_curve(measured(0, half=5.0), resamples=20)
    assert not found.inside and found.half.estimate > 0.8
    assert math.isnan(found.half.low) and math.isnan(found.half.high)
    assert math.isnan(compare_curves(measured(0), measured(1, half=5.0), resamples=20).p)


def test_what_varies_is_named_and_adds_to_the_interval():
    scores = measured(0)
    width = {}
    for over in (["people"], ["draws"], ["people", "draws"]):
        found = fit_curve(scores, over=over)
        width[found.over] = math.log(found.half.high / found.half.low)
    assert list(width) == ["people", "draws", "people × draws"]
    assert width["people × draws"] > 0.8 * max(width.values())
    once = {dose: PersonScores(each.people, each.values[:1]) for dose, each in scores.items()}
    assert fit_curve(once, resamples=20).over == "people"


def test_the_same_seed_gives_the_same_interval():
    one, two = (fit_curve(measured(0), resamples=50, seed=2) for _ in range(2))
    assert one == two and one != fit_curve(measured(0), resamples=50, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize(("draws", "people"), [(5, 24), (3, 24), (5, 12)])
def test_the_interval_covers_the_dose_at_half_loss(draws, people):
    found = [
        fit_curve(measured(seed, draws=draws, people=people), resamples=200, seed=seed).half for seed in range(150)
    ]
    assert 0.91 <= np.mean([0.2 in half for half in found if not math.isnan(half.low)])


def test_the_interval_over_people_alone_covers_where_draws_do_not_differ():
    found = [
        fit_curve(measured(seed, differ=(0.25, 0.0), draws=2), over=["people"], resamples=100).half
        for seed in range(100)
    ]
    assert np.mean([0.2 in half for half in found]) >= 0.9


class TestTwoCurves:
    @pytest.mark.slow
    @pytest.mark.parametrize(("draws", "people"), [(5, 24), (3, 24)])
    def test_lesions_alike_are_told_apart_in_five_of_a_hundred_or_fewer(self, draws, people):
        called = []
        for seed in range(150):
            one, two = (measured(2 * seed + n, draws=draws, people=people, people_seed=seed) for n in (0, 1))
            called.append(compare_curves(one, two, resamples=150, seed=seed).p < 0.05)
        assert np.mean(called) <= 0.085

    def test_twice_the_dose_is_found(self):
        found = [
            compare_curves(measured(seed, 0.3), measured(100 + seed, 0.15), resamples=100) for seed in range(20)
        ]
        assert np.median([one.ratio.estimate for one in found]) == pytest.approx(2, rel=0.15)
        assert np.mean([one.p < 0.05 for one in found]) > 0.7

    def test_people_who_are_in_both_are_the_same(self):
        one = measured(0, people_seed=1, differ=(0.8, 0.05))
        two = measured(2, people_seed=1, differ=(0.8, 0.05))
        other = measured(2, people_seed=1, differ=(0.8, 0.05), prefix="q")
        same, apart = (compare_curves(one, each, over=["people"]).ratio for each in (two, other))
        assert math.log(same.high / same.low) < 0.8 * math.log(apart.high / apart.low)

    def test_a_curve_does_not_differ_from_itself(self):
        found = compare_curves(measured(0), measured(0), same_draws=True, resamples=50)
        assert found.ratio.estimate == 1 and found.p == 1


def test_the_scores_of_a_task_by_dose_come_from_its_answers():
    trials = made_up(0, {("noise", "who"): 1.5})
    found = scores_by_dose(answers_of(trials.assign(forced_choice=trials["right"] * 1.0))["who"], "noise")
    assert list(found) == [0.0, 0.1, 0.3]
    part = trials[(trials["lesion"] == "noise") & (trials["dose"] == 0.3) & (trials["task"] == "who")]
    assert found[0.3].values.mean() == pytest.approx(part["right"].mean())
    with pytest.raises(Error, match="none under 'noize'"):
        scores_by_dose(answers_of(trials)["who"], "noize")


@pytest.mark.parametrize(
    ("change", "arguments", "complaint"),
    [
        (lambda s: {dose: s[dose] for dose in (0.0, 0.1, 0.2)}, {}, "three doses"),
        (lambda s: {-1.0: s[0.1], **s}, {}, "all above 0"),
        (lambda s: {dose: s[dose] for dose in DOSES}, {}, "at dose 0"),
        (lambda s: s, {"chance": 0.99}, "not above chance"),
        (lambda s: s, {"chance": 1.0}, "chance is a share"),
        (lambda s: s, {"healthy": 1.2}, "not above chance"),
        (lambda s: {**s, 0.1: PersonScores(("a",), np.ones((5, 1)))}, {}, "other people"),
        (lambda s: {**s, 0.1: PersonScores(s[0.1].people, s[0.1].values[:2])}, {}, "2 draws"),
        (lambda s: s, {"shape": "line"}, "shape"),
        (lambda s: s, {"over": ["pictures"]}, "source"),
        (lambda s: s, {"over": []}, "what varies"),
        (lambda s: s, {"resamples": 2}, "resamples"),
    ],
)
def test_what_has_no_curve_is_refused(change, arguments, complaint):
    with pytest.raises(Error, match=complaint):
        fit_curve(change(measured(0)), **arguments)
    if not {"chance", "healthy"} & set(arguments):
        with pytest.raises(Error, match=complaint):
            compare_curves(change(measured(0)), measured(1), **arguments)
