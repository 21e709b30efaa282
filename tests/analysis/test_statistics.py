"""Statistics are held to values that were published, and to what they must mean."""

import math

import numpy as np
import pytest
from scipy import stats

from facelesion.analysis import statistics
from facelesion.analysis.checks import sample
from facelesion.errors import Error

# The spatial test data of Efron & Tibshirani 1993 (An Introduction to the Bootstrap), table 14.1, column A.
SPATIAL = [
    48,
    36,
    20,
    29,
    42,
    42,
    20,
    42,
    22,
    41,
    45,
    14,
    6,
    0,
    33,
    28,
    34,
    4,
    32,
    24,
    47,
    41,
    24,
    26,
    30,
    41,
]


class TestBootstrapInterval:
    @pytest.mark.parametrize(
        ("method", "low", "high"), [("percentile", 100.8, 233.9), ("bca", 115.8, 259.6)]
    )  # Efron & Tibshirani 1993, table 14.2: 2,000 resamples, so their figures scatter by a few units
    def test_the_variance_of_the_spatial_test_has_the_published_interval(self, method, low, high):
        found = statistics.bootstrap_interval(SPATIAL, np.var, level=0.9, method=method, resamples=4000)
        assert found.estimate == pytest.approx(171.5, abs=0.05)
        assert found.low == pytest.approx(low, abs=6)
        assert found.high == pytest.approx(high, abs=6)

    def test_the_same_seed_gives_the_same_interval_and_another_seed_another(self):
        values = np.random.default_rng(0).normal(size=12)
        for method in ("percentile", "bca"):
            first = statistics.bootstrap_interval(values, seed=1, method=method)
            assert first == statistics.bootstrap_interval(values, seed=1, method=method)
            assert first != statistics.bootstrap_interval(values, seed=2, method=method)

    @pytest.mark.parametrize("draws", [3, 5, 20])
    def test_it_covers_the_true_mean_as_often_as_it_says_with_few_draws_too(self, draws):
        random = np.random.default_rng(draws)
        hits = [0.0 in statistics.bootstrap_interval(random.normal(size=draws)) for _ in range(1500)]
        assert 0.935 <= np.mean(hits) <= 0.965

    def test_it_covers_when_whole_people_are_what_varies(self):
        random = np.random.default_rng(1)
        person = np.repeat(range(6), 8)
        hits = [
            0.0
            in statistics.bootstrap_interval(
                (random.normal(size=6)[person] + random.normal(size=48)), clusters=person
            )
            for _ in range(800)
        ]
        assert 0.93 <= np.mean(hits) <= 0.97

    def test_it_covers_a_ratio_of_columns_not_only_a_mean(self):
        random = np.random.default_rng(2)

        def ratio(rows):
            return rows[:, 0].sum() / rows[:, 1].sum()

        rows = random.normal([2.0, 4.0], 0.4, (800, 8, 2))
        assert (
            0.92 <= np.mean([0.5 in statistics.bootstrap_interval(sample, ratio) for sample in rows]) <= 0.98
        )

    def test_percentiles_of_five_draws_cover_less_than_they_say(self):
        random = np.random.default_rng(3)
        samples = random.normal(size=(300, 5))
        hits = [
            0.0 in statistics.bootstrap_interval(sample, method="percentile", resamples=300)
            for sample in samples
        ]
        assert np.mean(hits) < 0.9  # why it is not the default

    def test_the_interval_of_a_mean_is_the_usual_t_interval(self):
        values = np.random.default_rng(4).normal(size=5)
        found = statistics.bootstrap_interval(values, level=0.9)
        low, high = stats.t.interval(0.9, 4, values.mean(), values.std(ddof=1) / math.sqrt(5))
        assert (found.low, found.high) == pytest.approx((low, high))

    def test_an_interval_is_cut_where_no_value_can_be(self):
        found = statistics.bootstrap_interval([0.99, 0.9, 1.0], bounds=(0, 1))
        assert found.high == 1 and found.low < 0.9

    @pytest.mark.parametrize("method", ["t", "percentile", "bca"])
    def test_many_pictures_of_one_person_count_as_one_person(self, method):
        people = np.repeat(np.random.default_rng(0).normal(size=10), 50)
        labels = np.repeat([f"person {i}" for i in range(10)], 50)
        alone = statistics.bootstrap_interval(people, method=method, resamples=500)
        clustered = statistics.bootstrap_interval(people, clusters=labels, method=method, resamples=500)
        width, wide = alone.high - alone.low, clustered.high - clustered.low
        assert wide / width == pytest.approx(math.sqrt(50), rel=0.25)
        assert clustered.estimate == alone.estimate

    def test_clusters_of_one_are_no_clusters(self):
        values = np.random.default_rng(0).normal(size=15)
        for method, near in (("t", 1e-9), ("percentile", 0.05)):
            plain = statistics.bootstrap_interval(values, method=method, resamples=3000)
            single = statistics.bootstrap_interval(values, clusters=range(15), method=method, resamples=3000)
            assert (single.low, single.high) == pytest.approx((plain.low, plain.high), abs=near)

    def test_one_value_has_no_interval_and_equal_values_an_empty_one(self):
        single = statistics.bootstrap_interval([0.7])
        assert single.estimate == 0.7 and math.isnan(single.low) and math.isnan(single.high)
        assert statistics.bootstrap_interval([1, 1, 1], method="bca") == statistics.Interval(1, 1, 1)
        rows = np.tile([1.0, 4.0], (5, 1))
        found = statistics.bootstrap_interval(rows, lambda rows: rows[:, 0].sum() / rows[:, 1].sum(), method="bca")
        assert found == statistics.Interval(0.25, 0.25, 0.25)

    def test_two_values_are_enough_and_every_interval_says_its_level(self):
        found = statistics.bootstrap_interval([1.0, 2.0], level=0.9, resamples=0)  # t resamples nothing
        assert (found.low, found.high) == pytest.approx(stats.t.interval(0.9, 1, 1.5, 0.5))
        for values in ([1.0, 2.0], [0.7], [1, 1, 1]):
            assert statistics.bootstrap_interval(values, level=0.9).level == 0.9
        once = statistics.bootstrap_interval([1.0, 2.0, 4.0], method="percentile", resamples=1)
        assert once.low == once.high

    def test_unless_told_otherwise_two_thousand_resamples_are_drawn_from_seed_nought(self):
        values = np.random.default_rng(0).normal(size=20)
        for method in ("percentile", "bca"):
            named = statistics.bootstrap_interval(values, method=method, resamples=2000, seed=0)
            assert statistics.bootstrap_interval(values, method=method) == named

    def test_the_mean_of_a_table_is_resampled_by_its_rows(self):
        table = np.random.default_rng(0).normal(size=(25, 3))
        found, rows = (
            statistics.bootstrap_interval(of, method="percentile", resamples=500) for of in (table, table.mean(1))
        )
        assert (found.low, found.high) == pytest.approx((rows.low, rows.high), abs=0.05)

    def test_an_interval_holds_its_bounds_and_nothing_beyond(self):
        found = statistics.Interval(0.5, low=0.25, high=0.75)
        assert 0.25 in found and 0.5 in found and 0.75 in found
        assert 0.24 not in found and 0.76 not in found

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (dict(values=[]), "^an interval needs values: none were given$"),
            (dict(values=[1, np.nan]), "^an interval needs finite values: drop or repair the others first$"),
            (dict(values=[1, 2], clusters=["a"]), "1 clusters do not match 2"),
            *((dict(values=[1, 2], level=level), "0.95") for level in (95, 1.5, 1, 0, -0.5)),
            (dict(values=[1, 2], method="basic"), "^no method of an interval 'basic': take t, percentile, bca"),
            (dict(values=[1, 2], method="bca", resamples=0), "resamples is 0"),
        ],
    )
    def test_what_cannot_be_resampled_is_refused(self, arguments, complaint):
        with pytest.raises(Error, match=complaint):
            statistics.bootstrap_interval(**arguments)


class TestEffectSizes:
    def test_cohens_h_agrees_with_cohens_table(self):
        # Cohen 1988, table 6.2.2: phi is 1.571 for .50, 1.047 for .25, 0.451 for .05, 2.691 for .95.
        assert statistics.cohens_h(0.5, 0.25) == pytest.approx(1.571 - 1.047, abs=1e-3)
        assert statistics.cohens_h(0.95, 0.05) == pytest.approx(2.691 - 0.451, abs=1e-3)

    def test_hedges_g_is_cohens_d_made_smaller_by_the_usual_approximation(self):
        random = np.random.default_rng(0)
        a, b = random.normal(1, 1, 10), random.normal(0, 1, 10)
        d = (a.mean() - b.mean()) / math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        assert statistics.hedges_g(a, b) == pytest.approx(d * (1 - 3 / (4 * 18 - 1)), rel=1e-3)
        assert statistics.hedges_g(b, a) == pytest.approx(-statistics.hedges_g(a, b))

    def test_cliffs_delta_is_the_rescaled_rank_sum_statistic(self):
        random = np.random.default_rng(0)
        a, b = random.integers(0, 6, 15), random.integers(1, 8, 12)
        u = stats.mannwhitneyu(a, b).statistic
        assert statistics.cliffs_delta(a, b) == pytest.approx(2 * u / (15 * 12) - 1)

    def test_share_kept_is_one_when_nothing_and_zero_when_everything_is_lost(self):
        assert statistics.share_kept(0.94, intact=0.94, chance=0.025) == 1
        assert statistics.share_kept(0.5, intact=0.97, chance=0.5) == 0
        assert statistics.share_kept(0.4, intact=0.9, chance=0.5) < 0

    def test_the_largest_effects_there_are(self):
        assert statistics.cohens_h(1, 0) == pytest.approx(math.pi)
        assert statistics.cohens_h(0, 1) == pytest.approx(-math.pi)
        assert statistics.cliffs_delta([2], [1]) == 1 and statistics.cliffs_delta([1], [2, 3]) == -1

    @pytest.mark.parametrize("lacking", ["damaged", "intact", "chance"])
    def test_a_level_that_is_no_number_is_refused_by_its_name(self, lacking):
        levels = {"damaged": 0.5, "intact": 0.9, "chance": 0.1} | {lacking: math.nan}
        with pytest.raises(Error, match=f"^{lacking} must be a finite number"):
            statistics.share_kept(**levels)

    def test_what_is_held_in_single_precision_is_computed_in_double(self):
        scores = np.random.default_rng(0).random((40, 5)).astype(np.float32)
        (a, b), p = scores.T[:2], scores[:, 0]
        for of in (
            statistics.hedges_g,
            lambda x, y: statistics.null_test(x[0], y).z,
            lambda x, y: statistics.share_kept(x[0], intact=x[1], chance=y[2]),
            lambda x, _: statistics.crawford_howell_from_summary(*x[:3], n=9).effect,
        ):
            assert of(a, b) == of(a.astype(float), b.astype(float))
        for of in (
            statistics.bootstrap_interval, statistics.false_discovery_rate, statistics.split_half_reliability
        ):  # fmt: skip
            given = scores if of is statistics.split_half_reliability else p
            assert np.all(of(given) == of(given.astype(float)))

    def test_what_has_no_effect_size_is_refused(self):
        with pytest.raises(Error, match="above chance"):
            statistics.share_kept(0.5, intact=0.5, chance=0.5)
        with pytest.raises(Error, match="^no spread in either sample: a standardised difference does not exist$"):
            statistics.hedges_g([1, 1], [2, 2])
        with pytest.raises(Error, match="between 0 and 1"):
            statistics.cohens_h(1.2, 0.5)


def test_a_sample_that_is_too_small_is_shown_by_its_first_five_values():
    said = r"^a sample needs 9 or more finite values, not \[1.0, 2.0, 3.0, 4.0, 5.0\]$"
    with pytest.raises(Error, match=said):
        sample([1, 2, 3, 4, 5, 6], 9)


class TestManyTests:
    # The 15 p values of Benjamini & Hochberg 1995, section 3.2: four are called at 0.05, Bonferroni calls three.
    published = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
        0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000,
    ]  # fmt: skip

    def test_the_published_example_calls_four(self):
        assert (statistics.false_discovery_rate(self.published) < 0.05).sum() == 4

    def test_yekutieli_is_stricter_by_the_harmonic_sum(self):
        harmonic = sum(1 / i for i in range(1, 16))
        bh = statistics.false_discovery_rate(self.published)
        by = statistics.false_discovery_rate(self.published, "benjamini-yekutieli")
        assert by == pytest.approx(np.minimum(bh * harmonic, 1))

    def test_adjusted_values_by_the_step_up_rule(self):
        random = np.random.default_rng(0).random((4, 5)) ** 3
        flat = random.ravel()
        by_hand = [min(flat.size * q / (flat <= q).sum() for q in flat[flat >= p]) for p in flat]
        assert statistics.false_discovery_rate(random) == pytest.approx(np.reshape(by_hand, (4, 5)))

    @pytest.mark.parametrize("p", [[], [0.5, 1.5], [np.nan]])
    def test_numbers_that_are_no_p_values_are_refused(self, p):
        with pytest.raises(Error, match="^p values must be numbers between 0 and 1, one at least$"):
            statistics.false_discovery_rate(p)

    def test_a_p_of_zero_is_one_and_an_unknown_method_is_refused(self):
        assert statistics.false_discovery_rate([0.0, 1.0]).tolist() == [0.0, 1.0]
        with pytest.raises(Error, match="^no method 'holm'"):
            statistics.false_discovery_rate([0.5], "holm")


class TestNull:
    def test_p_counts_the_lesion_itself_and_is_never_zero(self):
        null = np.linspace(0.5, 0.9, 99)
        assert statistics.null_test(0.1, null).p == 1 / 100
        assert statistics.null_test(0.1, null, "two-sided").p == 2 / 100
        assert statistics.null_test(0.95, null).p == 1
        assert statistics.null_test(0.95, null, "greater").p == 1 / 100

    def test_ties_count_against_the_effect(self):
        assert statistics.null_test(0.5, [0.5] * 9).p == 1
        assert statistics.null_test(0.5, [0.5] * 9, "greater").p == 1
        both = statistics.null_test(0.5, [0.5] * 9, "two-sided")
        assert both.p == 1 and both.below == 0  # a draw as low as the lesion is not below it

    def test_a_draw_of_the_null_is_called_as_often_as_promised(self):
        random = np.random.default_rng(0)
        called = [
            statistics.null_test(random.normal(), random.normal(size=39)).p <= 0.05 for _ in range(3000)
        ]
        assert 0.04 < np.mean(called) < 0.06

    def test_a_measure_that_is_no_number_is_not_called_significant(self):
        with pytest.raises(Error, match="observed must be a finite number"):
            statistics.null_test(math.nan, [0.5] * 99)
        with pytest.raises(Error, match="no alternative"):
            statistics.null_test(0.5, [0.5] * 99, "below")

    def test_the_standard_score_is_in_deviations_of_the_null(self):
        test = statistics.null_test(-2.0, [-1.0, 0.0, 1.0])
        assert (test.z, test.below, test.n) == (-2.0, 0.0, 3)
        assert statistics.null_test(9.0, [2.0, 4.0]).z == pytest.approx((9 - 3) / math.sqrt(2))

    @pytest.mark.filterwarnings("error")
    def test_one_draw_has_no_deviation_to_count_in(self):
        test = statistics.null_test(0.4, [0.5])
        assert (test.p, test.n) == (0.5, 1) and math.isnan(test.z)


class TestReliability:
    def test_spearman_brown_inverts_the_halving_of_a_test(self):
        for whole in (0.2, 0.5, 0.9):
            half = whole / (2 - whole)
            assert statistics.spearman_brown(half) == pytest.approx(whole)

    def test_it_finds_the_reliability_that_the_noise_leaves(self):
        random = np.random.default_rng(0)
        profile = random.normal(0, 1, 400)
        scores = profile + random.normal(0, math.sqrt(40), (40, 400))  # mean of 40 items: noise variance 1
        assert statistics.split_half_reliability(scores, splits=40).estimate == pytest.approx(0.5, abs=0.08)

    def test_conditions_that_differ_little_but_always_alike_are_reliable(self):
        profile, random = np.linspace(0.2, 0.9, 10), np.random.default_rng(0)
        assert statistics.split_half_reliability(profile + random.normal(0, 0.1, (40, 10))).estimate > 0.95
        found = statistics.split_half_reliability(np.tile([0.1, 0.2, 0.3], (4, 1)), splits=1)
        assert (found.low, found.estimate, found.high) == pytest.approx((1, 1, 1))

    def test_the_bounds_are_quantiles_of_what_the_cuts_gave(self):
        scores = np.random.default_rng(2).normal(size=(12, 6)) + np.linspace(0, 1, 6)
        inner, outer = (statistics.split_half_reliability(scores, splits=2, level=level) for level in (0.5, 0.9))
        assert (inner.level, outer.level) == (0.5, 0.9)
        assert outer.low < inner.low < inner.estimate < inner.high < outer.high
        # Between two cuts a quantile is as far along as it says: half and nine tenths of the way.
        half = [each.high / (2 - each.high) - each.low / (2 - each.low) for each in (inner, outer)]
        assert half[0] / half[1] == pytest.approx(0.5 / 0.9)
        assert outer == statistics.split_half_reliability(scores, splits=2, level=0.9)

    def test_unless_told_otherwise_it_is_cut_five_hundred_times_from_seed_nought(self):
        scores = np.random.default_rng(2).normal(size=(12, 6)) + np.linspace(0, 1, 6)
        usual = statistics.split_half_reliability(scores)
        assert usual == statistics.split_half_reliability(scores, splits=500, seed=0, level=0.95)
        assert usual != statistics.split_half_reliability(scores, seed=1)

    def test_noise_alone_is_not_reliable(self):
        scores = np.random.default_rng(0).normal(size=(40, 400))
        assert abs(statistics.split_half_reliability(scores, splits=40).estimate) < 0.15

    def test_noise_in_few_conditions_gives_no_number_below_minus_one(self):
        found = [
            statistics.split_half_reliability(np.random.default_rng(seed).normal(size=(20, 3)), splits=60)
            for seed in range(60)
        ]
        estimates = [interval.estimate for interval in found]
        assert min(interval.low for interval in found) >= -1 and max(interval.high for interval in found) <= 1
        assert abs(np.mean(estimates)) < 0.25

    def test_the_formula_stays_within_a_correlation_s_bounds(self):
        assert statistics.spearman_brown(-1) == -1 and statistics.spearman_brown(1) == 1
        assert statistics.spearman_brown(-0.9) == pytest.approx(-statistics.spearman_brown(0.9))
        for half in (math.nan, 1.5, -2):
            with pytest.raises(Error, match="between -1 and 1"):
                statistics.spearman_brown(half)

    def test_a_half_that_is_flat_by_chance_agrees_with_nothing(self):
        scores = np.zeros((6, 3))
        scores[0, 0] = scores[1, 1] = 1  # one right answer each: some halves hold none
        found = statistics.split_half_reliability(scores, splits=50)
        assert found.estimate < 0.5

    def test_scores_that_are_not_finite_are_refused(self):
        scores = np.random.default_rng(0).normal(size=(8, 4))
        scores[2, 1] = np.nan
        with pytest.raises(Error, match="^split halves need finite scores: drop or repair the others first$"):
            statistics.split_half_reliability(scores)
        for wrong, told in ((dict(splits=0), "^splits is 0"), (dict(level=95), "level")):
            with pytest.raises(Error, match=told):
                statistics.split_half_reliability(np.random.default_rng(0).normal(size=(8, 4)), **wrong)

    def test_a_flat_profile_and_too_few_items_are_refused(self):
        items = np.linspace(0, 1, 6)[:, None]
        rounded = 1e8 * (1 + items + 1e-15 * np.arange(4))
        for flat in (np.ones((6, 4)), np.zeros((6, 4)), items * np.ones(4), rounded):
            said = "^the conditions do not differ: a profile that is flat has no reliability$"
            with pytest.raises(Error, match=said):
                statistics.split_half_reliability(flat)
        with pytest.raises(Error, match="4 by 3"):
            statistics.split_half_reliability(np.ones((3, 4)))
