"""One case against a few controls: a deficit, a difference between two tasks, a dissociation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facelesion.analysis.checks import finite, one_of, sample
from facelesion.errors import Error

Alternative = Literal["less", "greater", "two-sided"]
ALTERNATIVES = ("less", "greater", "two-sided")

#: Fewest controls with which a difference of two tasks can be tested. With three, the revised standardised difference
#: test calls 9 % of healthy cases different; with ten it keeps to its 5 %.
LEAST_CONTROLS = 10


@dataclass(frozen=True)
class CaseTest:
    """One case against a control sample.

    Attributes:
        statistic: t. The revised standardised difference test gives `|t|`; its sign is that of `effect`.
        freedom: degrees of freedom.
        p: probability under the null hypothesis, for the alternative that was asked.
        effect: standardised effect: z_CC for one task, z_DCC for a difference of two.
        low, high: its interval at 95 %; not a number where no method is known.
        below: estimated share of the control population with a lower score (one task only).
    """

    statistic: float
    freedom: int
    p: float
    effect: float
    low: float = math.nan
    high: float = math.nan
    below: float = math.nan


def crawford_howell(case: float, controls: ArrayLike, alternative: Alternative = "less") -> CaseTest:
    """Modified t test: is this case's score too low for the population that the controls come from?

    Controls are the like of the case: other networks or equivalent lesions, never images. Crawford & Howell 1998,
    *Clin Neuropsychol* 12:482–486; interval of the effect: Crawford & Garthwaite 2002, *Neuropsychologia* 40:1196–1208.

    Args:
        case: the score of the damaged network.
        controls: (N,) scores of N ≥ 2 controls.
        alternative: 'less' asks for a deficit.

    Example:
        >>> test = crawford_howell(0.55, [0.90, 0.93, 0.88, 0.95, 0.91, 0.89])
        >>> test.freedom, test.p < 0.001
        (5, True)
    """
    x = sample(controls, 2)
    return crawford_howell_from_summary(case, float(x.mean()), float(x.std(ddof=1)), len(x), alternative)


def crawford_howell_from_summary(
    case: float, mean: float, deviation: float, n: int, alternative: Alternative = "less"
) -> CaseTest:
    """`crawford_howell` from the controls' mean, standard deviation (n − 1) and number.

    Raises:
        Error: fewer than two controls, or controls that do not differ.

    Example:
        >>> round(crawford_howell_from_summary(-2, mean=0, deviation=1, n=15).statistic, 3)
        -1.936
    """
    from scipy import stats

    finite(case=case, mean=mean, deviation=deviation)
    one_of("alternative", alternative, ALTERNATIVES)
    if n < 2:
        raise Error(f"a case needs two controls or more to be compared with, not {n}")
    if deviation <= 0:
        raise Error("the controls do not differ from one another: no case can be judged by them")
    effect = (float(case) - float(mean)) / float(deviation)
    statistic = effect / math.sqrt((n + 1) / n)
    low, high = (noncentrality(effect * math.sqrt(n), n - 1, tail) / math.sqrt(n) for tail in (0.975, 0.025))
    below = float(stats.t.cdf(statistic, n - 1))
    return CaseTest(statistic, n - 1, tail_probability(statistic, n - 1, alternative), effect, low, high, below)


def revised_standardised_difference(case: tuple[float, float], controls: ArrayLike) -> CaseTest:
    """Do two tasks come apart in this case more than they do in the controls? Two-tailed.

    Scores are standardised by the controls, so the tasks need no common scale. Crawford & Garthwaite 2005,
    *Neuropsychology* 19:318–331 (its equation 7), after Garthwaite & Crawford 2004. When both scores are extreme
    (beyond two deviations) in the same direction it errs more often than it says (Crawford & Garthwaite 2007).

    Args:
        case: scores on task A and task B.
        controls: (N, 2) scores of N ≥ 10 controls on both.

    Raises:
        Error: fewer than ten controls, with which it is not testable; or controls that do not differ on
            one of the tasks.

    Example:
        >>> controls = [[90, 80], [93, 86], [88, 79], [95, 88], [91, 82], [89, 83]]
        >>> controls += [[92, 81], [94, 87], [90, 84], [91, 85]]
        >>> revised_standardised_difference((70, 82), controls).p < 0.05
        True
    """
    pairs = pairs_of_scores(controls)
    _enough_controls(len(pairs))
    deviation = pairs.std(axis=0, ddof=1)
    if (deviation == 0).any():
        raise Error("the controls do not differ on one of the tasks: no difference can be judged")
    finite(**{"score on task A": case[0], "score on task B": case[1]})
    z = [float(gap) for gap in (np.asarray(case) - pairs.mean(axis=0)) / deviation]
    correlation = float(np.asarray(np.corrcoef(pairs.T))[0, 1])
    return revised_standardised_difference_from_summary((z[0], z[1]), correlation, len(pairs))


def revised_standardised_difference_from_summary(
    z: tuple[float, float], correlation: float, n: int
) -> CaseTest:
    """`revised_standardised_difference` from the case's two standard scores, the controls' correlation and number.

    Raises:
        Error: fewer than ten controls, or a correlation that is not between -1 and 1.

    Example:
        >>> test = revised_standardised_difference_from_summary((-3.857, -1.875), correlation=0.68, n=20)
        >>> round(test.effect, 2), round(test.p, 3)
        (-2.48, 0.033)
    """
    _enough_controls(n)
    finite(**{"standard score on task A": z[0], "standard score on task B": z[1]})
    if not -1 < correlation < 1:
        raise Error(f"the tasks' correlation over controls must lie between -1 and 1, not {correlation:g}")
    difference = z[0] - z[1]
    r, m = correlation, n - 1
    square = (1 + r) * (1 - r**2)
    linear = (1 - r) * (4 * m**2 + 4 * (1 + r) * m + (1 + r) * (5 + r))
    constant = -2 * difference**2 * n * m**2 / (n + 1)
    # The positive root for t squared, in the form that does not cancel when `square` is small.
    t = math.sqrt(-2 * constant / (linear + math.sqrt(linear**2 - 4 * square * constant)))
    return CaseTest(t, m, tail_probability(t, m, "two-sided"), float(difference / math.sqrt(2 - 2 * r)))


@dataclass(frozen=True)
class Dissociation:
    """How two tasks come apart in one case.

    Attributes:
        kind: 'classical' (one task impaired, the other not, and they differ), 'strong' (both impaired, one more),
            'none', or 'not testable' (fewer than ten controls).
        impaired: 'a', 'b', 'both' or 'neither': which deficits were found. With a strong dissociation both are.
        worse: 'a' or 'b': the task with the lower standard score.
        a, b: the tests of the two deficits; they hold with two controls.
        difference: the test of the difference; None where it is not testable.
        both_extreme: both scores lie beyond two deviations on the same side. There the test of the difference errs
            more often than it says: two equal deficits of 8 deviations pass for a strong dissociation in 28 of 100
            cases, with 20 controls. Take such a dissociation for unproven.
    """

    kind: Literal["classical", "strong", "none", "not testable"]
    impaired: Literal["a", "b", "both", "neither"]
    worse: Literal["a", "b"]
    a: CaseTest
    b: CaseTest
    difference: CaseTest | None
    both_extreme: bool


def dissociation(case: tuple[float, float], controls: ArrayLike, alpha: float = 0.05) -> Dissociation:
    """Classify a case by the criteria of Crawford & Garthwaite 2005: two deficits (one-tailed) and the difference.

    A classical dissociation needs more than one task impaired and one not: the *difference* must be reliable too
    (revised standardised difference test, two-tailed). No deficit found is not a deficit absent. And a dissociation
    does not prove a module (Plaut 1995): show it beside equivalent lesions. With fewer than ten controls the
    difference is not testable, and the answer says so.

    Args:
        case: scores on task A and task B, high is good.
        controls: (N, 2) scores of the controls on both, N of 2 or more.

    Example:
        >>> controls = [[90, 80], [93, 86], [88, 79], [95, 88], [91, 82], [89, 83]]
        >>> controls += [[92, 81], [94, 87], [90, 84], [91, 85]]
        >>> found = dissociation((60, 82), controls)
        >>> found.kind, found.impaired
        ('classical', 'a')
        >>> found = dissociation((60, 82), controls[:6])
        >>> found.kind, found.impaired
        ('not testable', 'a')
    """
    pairs = pairs_of_scores(controls)
    difference = revised_standardised_difference(case, pairs) if len(pairs) >= LEAST_CONTROLS else None
    a, b = (crawford_howell(case[task], pairs[:, task]) for task in (0, 1))
    low_a, low_b = a.p < alpha, b.p < alpha
    impaired: Literal["a", "b", "both", "neither"] = (
        "both" if low_a and low_b else "a" if low_a else "b" if low_b else "neither"
    )
    worse: Literal["a", "b"] = "a" if a.effect <= b.effect else "b"
    kind: Literal["classical", "strong", "none", "not testable"] = "none"
    if difference is None:
        kind = "not testable"
    elif difference.p < alpha:
        kind = "strong" if impaired == "both" else "classical" if impaired == worse else "none"
    extreme = min(a.effect, b.effect) > 2 or max(a.effect, b.effect) < -2
    return Dissociation(kind, impaired, worse, a, b, difference, extreme)


def pairs_of_scores(controls: ArrayLike, least: int = LEAST_CONTROLS) -> NDArray[np.float64]:
    """Controls' scores (N, 2) as float64, after the check that they are that and finite.

    Raises:
        Error: another shape, or scores that are not finite.
    """
    pairs = np.asarray(controls, dtype=float)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all():
        raise Error(
            f"controls must be finite scores on two tasks (N, 2), N of {least} or more, not {pairs.shape}"
        )
    return pairs


def _enough_controls(n: int) -> None:
    if n < LEAST_CONTROLS:
        raise Error(
            f"a difference between tasks is not testable with {n} controls: it takes scores (N, 2) of "
            f"{LEAST_CONTROLS} or more (with three, 9 % of healthy cases would be called different)"
        )


def tail_probability(t: float, freedom: int, alternative: Alternative) -> float:
    """p of a value of Student's t for an alternative."""
    from scipy import stats

    out, tails = {"less": (-t, 1), "greater": (t, 1), "two-sided": (abs(t), 2)}[alternative]
    return float(tails * stats.t.sf(out, freedom))


def noncentrality(t: float, freedom: int, tail: float) -> float:
    """The non-centrality at which `t` is the quantile `tail` of a non-central t distribution."""
    from scipy import optimize, stats

    def gap(centre: float) -> float:
        share = float(stats.nct.cdf(t, freedom, centre))
        return t - centre if math.isnan(share) else share - tail  # too far out to be computed: on which side it is

    # nct.cdf falls as the centre rises; the root is near t, within a few of its standard errors.
    reach = 4 + abs(t) * (4 / math.sqrt(2 * freedom) + 0.5)
    try:
        return float(optimize.brentq(gap, t - reach, t + reach))
    except ValueError:
        return math.nan  # so extreme a case that the distribution cannot be computed
