"""One case against a few controls: values that were published, and rates of error that were promised."""

import math
import re

import numpy as np
import pytest
from scipy import stats

from facelesion.analysis import statistics
from facelesion.analysis.single_cases import ALTERNATIVES, noncentrality, pairs_of_scores, tail_probability
from facelesion.errors import Error


class TestSingleCase:
    """Values printed in the documentation of the R package singcar 0.1.5 (Rittmo & McIntosh 2021, JOSS 6:3887).

    Patient DF (Hassan et al. 2020) against 28 controls in the visual and kinaesthetic size–weight illusion.
    """

    visual, kinaesthetic, discrepancy, controls = -1.754857, -0.7836956, -1.0647889, 28

    def test_the_deficit_of_patient_df(self):
        test = statistics.crawford_howell_from_summary(self.visual, mean=0, deviation=1, n=self.controls)
        assert test.statistic == pytest.approx(-1.7243, abs=5e-5)
        assert test.freedom == 27
        assert test.p == pytest.approx(0.04804, abs=5e-6)
        assert test.effect == self.visual
        assert (test.low, test.high) == pytest.approx((-2.34, -1.15), abs=0.006)
        assert test.below == pytest.approx(0.04804003, abs=1e-6)
        # The interval of the share below, in percent: [0.95, 12.47].
        assert stats.norm.cdf([test.low, test.high]) * 100 == pytest.approx([0.95, 12.47], abs=0.06)

    def test_the_dissociation_of_patient_df(self):
        correlation = 1 - ((self.visual - self.kinaesthetic) / self.discrepancy) ** 2 / 2
        test = statistics.revised_standardised_difference_from_summary(
            (self.visual, self.kinaesthetic), correlation, self.controls
        )
        assert test.statistic == pytest.approx(1.015, abs=5e-4)
        assert test.freedom == 27
        assert test.p == pytest.approx(0.3191, abs=5e-5)
        assert test.effect == pytest.approx(self.discrepancy)

    def test_a_case_two_deviations_low_and_high(self):
        # singcar's own test of its TD function.
        low = statistics.crawford_howell_from_summary(-2, mean=0, deviation=1, n=15)
        high = statistics.crawford_howell_from_summary(2, mean=0, deviation=1, n=15, alternative="greater")
        assert round(low.statistic, 3) == -1.936 and round(high.statistic, 3) == 1.936
        assert low.p == pytest.approx(high.p)

    def test_scores_and_their_summary_give_the_same_test(self):
        controls = np.random.default_rng(0).normal(0.9, 0.03, 12)
        raw = statistics.crawford_howell(0.8, controls)
        assert raw == statistics.crawford_howell_from_summary(0.8, controls.mean(), controls.std(ddof=1), 12)

    def test_scores_and_their_summary_give_the_same_difference(self):
        random = np.random.default_rng(1)
        pairs = random.multivariate_normal([0.9, 40], [[0.01, 0.1], [0.1, 4]], 10)
        case, z = (0.6, 39.0), []
        for task, score in enumerate(case):
            z.append((score - pairs[:, task].mean()) / pairs[:, task].std(ddof=1))
        raw = statistics.revised_standardised_difference(case, pairs)
        summary = statistics.revised_standardised_difference_from_summary(tuple(z), np.corrcoef(pairs.T)[0, 1], 10)
        fields = ("statistic", "freedom", "p", "effect")
        assert [getattr(raw, of) for of in fields] == pytest.approx([getattr(summary, of) for of in fields], rel=1e-12)

    @pytest.mark.parametrize("t", [-1.3, 0.0, 2.1])
    def test_the_tails_of_a_value_of_t(self, t):
        less, greater, both = (tail_probability(t, 6, alternative) for alternative in ALTERNATIVES)
        assert less == pytest.approx(stats.t.cdf(t, 6)) and less + greater == pytest.approx(1)
        assert both == pytest.approx(2 * stats.t.sf(abs(t), 6))

    def test_the_scale_of_the_scores_does_not_matter(self):
        test = statistics.crawford_howell_from_summary(0.8, mean=0.9, deviation=0.05, n=12)
        plain = statistics.crawford_howell_from_summary(-2, mean=0, deviation=1, n=12)
        assert test.effect == pytest.approx(-2) and test.statistic == pytest.approx(-2 / math.sqrt(13 / 12))
        assert (test.p, test.low, test.high) == pytest.approx((plain.p, plain.low, plain.high))

    def test_two_controls_are_enough_and_one_is_not(self):
        test = statistics.crawford_howell_from_summary(-2, mean=0, deviation=1, n=2)
        assert test.freedom == 1 and test.p == pytest.approx(stats.t.cdf(-2 / math.sqrt(1.5), 1))
        with pytest.raises(Error, match="two controls or more.* not 1"):
            statistics.crawford_howell_from_summary(-2, mean=0, deviation=1, n=1)

    def test_the_difference_solves_the_equation_it_was_derived_from(self):
        # Garthwaite & Crawford 2004: psi with c as its critical value equals c itself.
        z, r, n = (-3.857, -1.875), 0.68, 20
        c = statistics.revised_standardised_difference_from_summary(z, r, n).statistic
        inner = (
            (2 - 2 * r)
            + 2 * (1 - r**2) / (n - 1)
            + (5 + c**2) * (1 - r**2) / (2 * (n - 1) ** 2)
            + r * (1 + c**2) * (1 - r**2) / (2 * (n - 1) ** 2)
        )
        assert abs(z[0] - z[1]) / math.sqrt((n + 1) / n * inner) == pytest.approx(c, rel=1e-12)

    @pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.5, 0.9])
    def test_healthy_cases_are_called_different_at_the_rate_promised(self, correlation):
        random = np.random.default_rng(7)
        sample = random.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], (3000, 11))
        called = [
            statistics.revised_standardised_difference(tuple(case[0]), case[1:]).p < 0.05 for case in sample
        ]
        assert 0.035 < np.mean(called) < 0.068  # Crawford & Garthwaite 2005 found 0.05 to 0.058

    def test_the_test_of_deficit_keeps_its_error_rate_with_five_controls(self):
        sample = np.random.default_rng(3).normal(size=(1500, 6))
        called = [statistics.crawford_howell(case[0], case[1:]).p < 0.05 for case in sample]
        assert 0.035 < np.mean(called) < 0.065

    def test_an_absurdly_extreme_case_still_gets_its_p(self):
        test = statistics.crawford_howell_from_summary(-900, mean=0, deviation=1, n=6)
        assert 0 < test.p < 1e-9 and test.low < test.effect == -900 < test.high
        mirrored = statistics.crawford_howell_from_summary(900, mean=0, deviation=1, n=6, alternative="greater")
        assert (mirrored.p, mirrored.low, mirrored.high) == pytest.approx((test.p, -test.high, -test.low))

    @pytest.mark.parametrize("freedom", [1, 4, 40])
    @pytest.mark.parametrize("tail", [0.025, 0.975])
    def test_the_noncentrality_is_that_at_which_a_value_is_the_quantile(self, freedom, tail):
        for t in (-20.0, -3.0, 0.0, 0.5, 8.0):
            centre = noncentrality(t, freedom, tail)
            assert stats.nct.cdf(t, freedom, centre) == pytest.approx(tail, abs=1e-6), t

    def test_what_cannot_be_judged_is_refused(self):
        said = "^the controls do not differ from one another: no case can be judged by them$"
        with pytest.raises(Error, match=said):
            statistics.crawford_howell(0.5, [0.9, 0.9, 0.9])
        with pytest.raises(Error, match="2 or more"):
            statistics.crawford_howell(0.5, [0.9])
        twelve = np.random.default_rng(0).normal(size=(12, 3))
        for wrong in (twelve, twelve[:, :1], twelve[:, 0], np.where(twelve > 1, np.nan, twelve)[:, :2]):
            said = f"^controls must be finite scores on two tasks (N, 2), N of 10 or more, not {wrong.shape}"
            with pytest.raises(Error, match=re.escape(said).replace(r"\^", "^")):
                pairs_of_scores(wrong)
        flat = np.stack([twelve[:, 0], np.ones(12)], 1)
        for controls in (flat, flat[:, ::-1]):
            said = "^the controls do not differ on one of the tasks: no difference can be judged$"
            with pytest.raises(Error, match=said):
                statistics.revised_standardised_difference((1, 2), controls)
        with pytest.raises(Error, match="^score on task A must be"):
            statistics.revised_standardised_difference((math.nan, 1), twelve[:, :2])
        with pytest.raises(Error, match="case must be a finite number, not nan"):
            statistics.crawford_howell(math.nan, [0.9, 0.8, 0.7])
        with pytest.raises(Error, match="^score on task B"):
            statistics.revised_standardised_difference(
                (1, math.inf), np.random.default_rng(0).normal(size=(12, 2))
            )
        for case, name in (((math.nan, 1), "A"), ((1, math.nan), "B")):
            with pytest.raises(Error, match=f"^standard score on task {name} must be"):
                statistics.revised_standardised_difference_from_summary(case, 0.5, 12)
        for summary, name in (((math.nan, 1), "mean"), ((0, math.nan), "deviation")):
            with pytest.raises(Error, match=f"^{name} must be a finite number"):
                statistics.crawford_howell_from_summary(1, *summary, n=5)
        with pytest.raises(Error, match="no alternative 'lower'"):
            statistics.crawford_howell(0.5, [0.9, 0.8, 0.7], "lower")
        for correlation in (1.0, -1.0, -1.5):
            with pytest.raises(Error, match="correlation"):
                statistics.revised_standardised_difference_from_summary((1, 2), correlation, 10)


class TestDissociation:
    @pytest.mark.parametrize("controls", [3, 6, 9])
    def test_a_difference_is_not_testable_with_fewer_than_ten_controls(self, controls):
        sample = np.random.default_rng(controls).normal(size=(controls, 2))
        with pytest.raises(Error, match=f"not testable with {controls} controls"):
            statistics.revised_standardised_difference((-9.0, 0.0), sample)
        with pytest.raises(Error, match="10 or more"):
            statistics.revised_standardised_difference_from_summary((-9.0, 0.0), 0.5, controls)
        found = statistics.dissociation((-30.0, 0.0), sample)
        assert found.kind == "not testable" and found.difference is None
        assert found.impaired == "a" and found.a.p < 0.05  # a deficit is testable

    def test_two_equal_deficits_are_marked_as_beyond_the_test(self):
        assert statistics.dissociation((-9.0, -3.0), self.controls).both_extreme
        for case in ((-9.0, -1.0), (-9.0, 3.0), (0.1, 0.0)):
            assert not statistics.dissociation(case, self.controls).both_extreme

    controls = stats.zscore(
        np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 20), ddof=1
    )  # a case's scores are then its standard scores

    @pytest.mark.parametrize(
        ("case", "kind", "impaired", "worse"),
        [
            ((-6.0, 0.2), "classical", "a", "a"),
            ((0.2, -6.0), "classical", "b", "b"),
            ((-9.0, -3.0), "strong", "both", "a"),
            ((-3.0, -3.2), "none", "both", "b"),
            ((0.1, 0.0), "none", "neither", "b"),
        ],
    )
    def test_cases_are_classified(self, case, kind, impaired, worse):
        found = statistics.dissociation(case, self.controls)
        assert (found.kind, found.impaired, found.worse) == (kind, impaired, worse)

    def test_ten_controls_are_enough_and_both_deficits_are_tested(self):
        ten = self.controls[:10]
        found = statistics.dissociation((-6.0, 0.2), ten)
        assert found.kind == "classical" and found.difference is not None
        assert found.a == statistics.crawford_howell(-6.0, ten[:, 0])
        assert found.b == statistics.crawford_howell(0.2, ten[:, 1])

    def test_a_p_value_at_the_level_is_not_below_it(self):
        found = statistics.dissociation((-9.0, -3.0), self.controls)
        assert statistics.dissociation((-9.0, -3.0), self.controls, alpha=found.a.p).impaired == "neither"
        assert statistics.dissociation((-9.0, -3.0), self.controls, alpha=found.b.p).impaired == "a"
        p = statistics.dissociation((-2.2, -1.2), self.controls).difference.p
        at, above = (statistics.dissociation((-2.2, -1.2), self.controls, alpha=level) for level in (p, p + 1e-9))
        assert at.kind == "none" != above.kind and at.impaired == above.impaired

    # Mean 0 and standard deviation 1 in either task, exactly.
    exact = np.array([[-1.5, 1.5], [-1.5, 0], [1.5, -1.5], [1.5, 1.5], [0, -1.5], *[[0, 0]] * 5])

    def test_of_two_scores_that_are_equally_low_the_first_counts_as_the_worse(self):
        found = statistics.dissociation((-3.0, -3.0), self.exact)
        assert found.a.effect == found.b.effect == -3 and found.worse == "a"

    @pytest.mark.parametrize(("case", "extreme"), [
        ((-2.0, -3.0), False), ((-3.0, -2.0), False), ((2.0, 3.0), False), ((3.0, 2.0), False),
        ((-2.5, -2.5), True), ((2.5, 2.5), True), ((-2.5, 2.5), False), ((2.5, 0.0), False),
    ])  # fmt: skip
    def test_both_are_extreme_beyond_two_deviations_on_one_side(self, case, extreme):
        assert statistics.dissociation(case, self.exact).both_extreme is extreme

    def test_scores_held_in_single_precision_are_judged_in_double(self):
        single = np.random.default_rng(0).random((12, 2)).astype(np.float32)
        found, wanted = (statistics.dissociation((-3.0, 0.4), of) for of in (single, single.astype(float)))
        assert found == wanted

    def test_one_deficit_without_a_reliable_difference_is_no_dissociation(self):
        found = statistics.dissociation((-2.2, -1.2), self.controls)
        assert found.impaired == "a" and found.kind == "none" and found.difference.p > 0.05

    def test_a_gain_on_the_other_task_is_no_dissociation_of_a_deficit(self):
        found = statistics.dissociation((0.0, 6.0), self.controls)
        assert found.difference.p < 0.05 and found.kind == "none"
