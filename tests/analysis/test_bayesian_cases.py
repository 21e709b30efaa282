"""The Bayesian tests of single cases are held to the figures that R's singcar and the authors' programs print."""

import math

import numpy as np
import pytest
from scipy import stats

from facelesion.analysis import (
    bayesian_deficit,
    bayesian_difference,
    coming_apart,
    crawford_howell,
    crawford_howell_from_summary,
    revised_standardised_difference,
    revised_standardised_difference_from_summary,
    standing,
)
from facelesion.errors import Error

# The size-weight illusion in patient DF (visual, kinaesthetic) and 28 controls, with years of age and whether female:
# Hassan, Sedda, Buckingham & McIntosh 2020, data of the R package singcar 0.1.5.
DF, AGE, FEMALE = (0.02814921, 0.10012712), 65, 1
VISUAL = np.array([
    0.21692634, 0.17223226, 0.07138049, 0.10186453, 0.15911439, 0.26809900, 0.19695687, 0.10736352,
    0.18950169, 0.07111544, 0.08737361, 0.06344435, 0.28346919, 0.16055886, 0.14660883, 0.26757100,
    0.17539645, 0.07231100, 0.13091611, 0.06198217, 0.11967995, 0.35759686, 0.19305945, 0.12930807,
    0.30240928, 0.18533901, 0.13573173, 0.18215046,
])  # fmt: skip
TOUCH = np.array([
    0.21792930, 0.26338899, 0.09331700, 0.25938045, 0.08922615, 0.05285117, 0.11060836, 0.13938638,
    0.25397571, 0.11717917, 0.20407159, 0.01595979, 0.21601188, 0.10933768, 0.21391243, 0.41966310,
    0.31925402, 0.13013907, 0.08391300, 0.09895475, 0.02188988, 0.36519633, 0.17559808, 0.21204374,
    0.33128727, 0.18377945, 0.17316119, 0.15297603,
])  # fmt: skip
AGES = [70, 64, 63, 65, 66, 56, 69, 61, 59, 62, 72, 72, 73, 65, 71, 68, 63, 59, 63, 72, 61, 72, 68, 61, 63, 67, 66, 70]
FEMALES = [1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0]
BOTH = np.c_[VISUAL, TOUCH]
KNOWN = {"none": {}, "age": {"covariates": AGES, "of_case": [AGE]},
         "age and sex": {"covariates": np.c_[AGES, FEMALES], "of_case": [AGE, FEMALE]}}  # fmt: skip


def exactly(n: int, mean: list[float], covariance: list[list[float]]) -> np.ndarray:
    """Scores whose means and covariances are these to the last digit."""
    x = np.random.default_rng(0).normal(size=(n, len(mean)))
    x = (x - x.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov((x - x.mean(axis=0)).T))).T
    return x @ np.linalg.cholesky(np.array(covariance, dtype=float)).T + mean


class TestDeficit:
    # singcar's vignette prints, from 10,000 draws: p 0.04799, z_CC -1.754857 [-2.33, -1.16], below 4.80 % [0.98,
    # 12.38]; with age p 0.05201, z_CCC -1.749556 [-2.30, -1.10], below 5.20 % [1.08, 13.60]. Its code run with 400,000
    # draws (100,000 with covariates) prints what is here.
    @pytest.mark.parametrize(
        ("known", "p", "effect", "z", "share", "freedom"),
        [
            ("none", 0.04808, -1.754857, (-2.341, -1.153), (0.96, 12.45), 27),
            ("age", 0.05179, -1.749556, (-2.306, -1.118), (1.06, 13.17), 26),
            ("age and sex", 0.06194, -1.702819, (-2.288, -0.976), (1.11, 16.46), 25),
        ],
    )
    def test_the_deficit_of_patient_df_is_what_singcar_prints(self, known, p, effect, z, share, freedom):
        found = bayesian_deficit(DF[0], VISUAL, **KNOWN[known])
        assert found.p == pytest.approx(p, abs=3e-4)
        assert found.effect == pytest.approx(effect, abs=1e-6)
        assert (found.low, found.high) == pytest.approx(z, abs=0.008)
        assert (100 * found.below_low, 100 * found.below_high) == pytest.approx(share, abs=0.15)
        assert found.freedom == freedom and found.controls == 28

    def test_a_deficit_with_a_covariate_is_what_the_authors_program_prints(self):
        x = exactly(18, [100, 13], [[15**2, 0.65 * 45], [0.65 * 45, 9]])
        found = bayesian_deficit(78, x[:, 0], covariates=x[:, 1], of_case=[13])
        assert found.p == pytest.approx(0.04362, abs=2e-4)
        assert (found.low, found.high) == pytest.approx((-2.653, -1.071), abs=0.002)
        assert (100 * found.below_low, 100 * found.below_high) == pytest.approx((0.3987, 14.2189), abs=0.01)

    def test_without_covariates_it_is_crawford_and_howells(self):
        for case, alternative in ((0.1, "less"), (0.3, "greater"), (0.02, "two-sided")):
            one = bayesian_deficit(case, VISUAL, alternative=alternative)
            two = crawford_howell(case, VISUAL, alternative)
            assert (one.p, one.effect, one.low, one.high) == pytest.approx((two.p, two.effect, two.low, two.high))

    def test_the_exact_posterior_is_what_drawing_from_it_gives(self):
        random, n, draws = np.random.default_rng(1), 28, 200_000
        design = np.c_[np.ones(n), AGES]
        slope, square, *_ = np.linalg.lstsq(design, VISUAL, rcond=None)
        variance = square[0] / random.chisquare(n - 2, draws)
        root = np.linalg.cholesky(np.linalg.inv(design.T @ design))
        line = slope + np.sqrt(variance)[:, None] * (random.normal(size=(draws, 2)) @ root.T)
        z = (DF[0] - line @ [1, AGE]) / np.sqrt(variance)
        found = bayesian_deficit(DF[0], VISUAL, **KNOWN["age"])
        assert found.p == pytest.approx(stats.norm.cdf(z).mean(), abs=5e-4)
        assert (found.low, found.high) == pytest.approx(np.quantile(z, [0.025, 0.975]), abs=0.005)

    def test_a_covariate_that_explains_the_score_takes_the_deficit_away(self):
        random = np.random.default_rng(0)
        seen = random.uniform(1, 10, 20)
        scores = seen + random.normal(0, 0.3, 20)
        assert bayesian_deficit(1.0, scores).p < 0.1
        assert bayesian_deficit(1.0, scores, covariates=seen, of_case=[1.0]).p > 0.2

    @pytest.mark.parametrize("n", [5, 12, 30])
    def test_healthy_cases_are_called_at_five_percent(self, n):
        random = np.random.default_rng(n)
        called = []
        for _ in range(1500):
            x = random.normal(size=(n + 1, 2))
            x[:, 0] += x[:, 1]
            found = bayesian_deficit(x[0, 0], x[1:, 0], covariates=x[1:, 1], of_case=x[0, 1:])
            called.append(found.p < 0.05)
        assert np.mean(called) == pytest.approx(0.05, abs=0.018)


class TestDifference:
    # As the vignette prints, from 10,000 draws: p 0.3212 [-1.69, -0.40], below 16.06 % [4.53, 34.43]; with age 0.3299
    # [-1.66, -0.41], below 16.50 % [4.84, 34.10]; with 400,000 and 100,000 draws what is here.
    @pytest.mark.parametrize(
        ("known", "p", "effect", "z", "share", "freedom"),
        [
            ("none", 0.3218, -1.0647889, (-1.689, -0.420), (4.56, 33.71), 26),
            ("age", 0.3309, -1.064152, (-1.670, -0.401), (4.74, 34.44), 25),
        ],
    )
    def test_the_difference_of_patient_df_is_what_singcar_prints(self, known, p, effect, z, share, freedom):
        found = bayesian_difference(DF, BOTH, draws=100_000, **KNOWN[known])
        assert found.p == pytest.approx(p, abs=0.003)
        assert found.effect == pytest.approx(effect, abs=1e-6)
        assert (found.low, found.high) == pytest.approx(z, abs=0.015)
        assert (100 * found.below_low, 100 * found.below_high) == pytest.approx(share, abs=0.5)
        assert found.freedom == freedom

    @pytest.mark.parametrize(
        ("prior", "p", "z", "share"),
        [
            ("calibrated", 0.16247, (-2.8085, -0.465), (0.251, 32.114)),
            ("standard", 0.14009, (-2.882, -0.559), (0.197, 28.816)),
        ],
    )
    def test_a_difference_with_a_covariate_is_what_the_authors_program_prints(self, prior, p, z, share):
        x = exactly(20, [100, 80, 50], [[225, 108, 78], [108, 100, 12], [78, 12, 100]])
        found = bayesian_difference(
            (70, 78), x[:, :2], covariates=x[:, 2], of_case=[30], prior=prior, draws=100_000
        )
        assert found.p == pytest.approx(p, abs=0.002)
        assert (found.low, found.high) == pytest.approx(z, abs=0.012)
        assert (100 * found.below_low, 100 * found.below_high) == pytest.approx(share, abs=0.35)

    def test_the_reference_prior_gives_what_the_authors_program_prints_for_made_up_controls(self):
        a = [-0.49094434, -1.25947544, -0.40339230, -0.12673867, 0.43919457, -0.11994170, 0.68001403, -1.12678679,
             -0.91987671, 0.49401765, 1.07773774, 0.09122404, -0.12151505, -0.76224593, -1.44645118, 1.05976883,
             2.59665103, 1.27920207, -0.75500952, -0.18543234]  # fmt: skip
        b = [-0.23357273, -2.09724146, -2.13526191, 0.89081394, 0.76778599, 0.61269488, 0.54535923, -1.30459451,
             -0.25811271, 0.64790674, 0.52118776, -0.33601990, -0.37181171, -0.31255830, -0.03610260, 0.85230736,
             2.06553374, -0.10455893, 0.33921656, -0.05297144]  # fmt: skip
        found = bayesian_difference((-2, -3), np.c_[a, b], prior="standard", draws=100_000)
        assert found.p == pytest.approx(0.27849, abs=0.002)

    def test_the_posterior_is_that_of_covariances_drawn_one_by_one(self):
        random, n = np.random.default_rng(2), 12
        x = random.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], n)
        square = (n - 1) * np.cov(x.T)
        z = []
        while len(z) < 3000:
            sigma = stats.invwishart(n - 2, square * (n - 2) / (n - 1)).rvs(1, random_state=random)
            rho = sigma[0, 1] / math.sqrt(sigma[0, 0] * sigma[1, 1])
            if random.uniform() ** 2 <= 1 - rho**2:
                mean = random.multivariate_normal(x.mean(axis=0), sigma / n)
                standard = (np.array([-2.0, 0.3]) - mean) / np.sqrt(np.diag(sigma))
                z.append((standard[0] - standard[1]) / math.sqrt(2 - 2 * rho))
        found = bayesian_difference((-2.0, 0.3), x)
        assert found.below == pytest.approx(stats.norm.cdf(z).mean(), abs=0.004)
        assert (found.low, found.high) == pytest.approx(np.quantile(z, [0.025, 0.975]), abs=0.12)

    @pytest.mark.parametrize("n", [5, 12, 30])
    @pytest.mark.parametrize("correlation", [0.0, 0.8])
    def test_healthy_cases_are_called_at_five_percent_with_five_controls_too(self, n, correlation):
        random = np.random.default_rng(n)
        called = []
        for seed in range(600):
            x = random.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], n + 1)
            called.append(bayesian_difference(tuple(x[0]), x[1:], draws=500, seed=seed).p < 0.05)
        assert np.mean(called) <= 0.072  # 5 % and its sampling error; with five controls it calls fewer

    def test_the_same_seed_gives_the_same_answer(self):
        one, two = (bayesian_difference(DF, BOTH, draws=500, seed=3) for _ in range(2))
        assert one == two and one != bayesian_difference(DF, BOTH, draws=500, seed=4)

    def test_turning_the_tasks_round_turns_the_answer_round(self):
        one = bayesian_difference(DF, BOTH, alternative="less")
        two = bayesian_difference(DF[::-1], BOTH[:, ::-1], alternative="greater")
        assert one.effect == pytest.approx(-two.effect)
        assert one.p == pytest.approx(two.p, abs=0.004)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"covariates": AGES}, "go together"),
        ({"covariates": AGES[:5], "of_case": [65]}, "must be"),
        ({"covariates": [65] * 28, "of_case": [65]}, "same in every control"),
        ({"covariates": np.c_[AGES, AGES], "of_case": [65, 65]}, "say the same"),
        ({"covariates": [math.nan] * 28, "of_case": [65]}, "finite"),
        ({"covariates": np.random.default_rng(0).normal(size=(28, 27)), "of_case": [0] * 27}, "too few"),
        ({"alternative": "more"}, "alternative"),
        ({"level": 2}, "level"),
    ],
)
def test_what_cannot_be_judged_is_refused(arguments, complaint):
    with pytest.raises(Error, match=complaint):
        bayesian_deficit(0.1, VISUAL, **arguments)
    with pytest.raises(Error, match=complaint):
        bayesian_difference(DF, BOTH, draws=100, **arguments)


def test_controls_that_do_not_differ_or_tasks_that_are_one_are_refused():
    with pytest.raises(Error, match="do not differ"):
        bayesian_deficit(0.1, [0.5] * 6)
    with pytest.raises(Error, match="do not differ"):
        bayesian_deficit(0.1, 2.0 * np.array(AGES) + 1, covariates=AGES, of_case=[65])
    with pytest.raises(Error, match="say the same"):
        bayesian_difference((0.1, 0.2), np.c_[VISUAL, 2 * VISUAL])
    with pytest.raises(Error, match="draws"):
        bayesian_difference(DF, BOTH, draws=0)
    with pytest.raises(Error, match="prior"):
        bayesian_difference(DF, BOTH, prior="flat")


# Patient J and 27 controls in the Cambridge Face Memory Test (study "hidden identity of faces"; published t and p).
@pytest.mark.parametrize(
    ("case", "mean", "deviation", "t", "p"),
    [(18, 17.52, 0.80, 0.59, 0.561), (11, 25.00, 4.04, -3.40, 0.002), (8, 16.33, 3.64, -2.25, 0.033)],
)
def test_patient_j_knows_the_same_picture_and_not_another(case, mean, deviation, t, p):
    found = crawford_howell_from_summary(case, mean, deviation, 27, "two-sided")
    assert found.statistic == pytest.approx(t, abs=0.01) and found.freedom == 26
    assert found.p == pytest.approx(p, abs=0.002)


class TestWords:
    def test_a_deficit_is_told_as_the_share_of_controls_it_lies_below(self):
        assert standing(bayesian_deficit(DF[0], VISUAL)) == (
            "below 95.2 % of networks trained alike (95 % interval 87.6 to 99.0 %)"
        )
        assert standing(crawford_howell(DF[0], VISUAL)) == standing(bayesian_deficit(DF[0], VISUAL))
        assert standing(crawford_howell(0.3, VISUAL), "people").startswith("above 95.")

    def test_no_case_is_below_all_there_could_be(self):
        assert standing(crawford_howell(-5, VISUAL)).startswith("below more than 99.9 % of")

    def test_with_fewer_than_ten_controls_it_is_not_testable(self):
        few = "not testable against 9 networks trained alike: it takes 10"
        assert standing(bayesian_deficit(DF[0], VISUAL[:9])) == few
        assert standing(crawford_howell(DF[0], VISUAL[:9])) == few
        assert coming_apart(bayesian_difference(DF, BOTH[:9], draws=100), ("a", "b"), 9) == few
        assert "not testable" not in standing(crawford_howell(DF[0], VISUAL[:10]))

    def test_a_difference_names_the_lower_task_first(self):
        for test in (bayesian_difference(DF, BOTH), revised_standardised_difference(DF, BOTH)):
            words = coming_apart(test, ("vision", "touch"), 28)
            assert words.startswith("vision lies further below touch than in 8") and "(p = 0.3" in words
        swapped = revised_standardised_difference_from_summary((0, -3), correlation=0.5, n=20)
        assert coming_apart(swapped, ("vision", "touch"), 20).startswith("touch lies further below vision than in 99.")
