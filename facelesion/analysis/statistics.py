"""Statistics of lesion studies: intervals, effect sizes, single cases, dissociations, many tests, null distributions.

All are pure functions of numbers. What each can and cannot say is in `docs/statistics.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facelesion.errors import FacelesionError

Alternative = Literal["less", "greater", "two-sided"]


# ---------------------------------------------------------------------------- intervals


@dataclass(frozen=True)
class Interval:
    """A number with its interval: `estimate`, `low`, `high`, and the confidence `level` (0.95 = 95 %)."""

    estimate: float
    low: float
    high: float
    level: float = 0.95

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., float] = np.mean,
    *,
    clusters: Sequence[object] | None = None,
    level: float = 0.95,
    method: Literal["percentile", "bca"] = "percentile",
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of a statistic by resampling what varies: lesion draws, people, networks.

    With `clusters` (the person of each value, say) whole clusters are drawn, so that many pictures of one person
    count as one person. Percentile and BCa intervals: Efron & Tibshirani 1993, chapters 13 and 14; whole clusters:
    Davison & Hinkley 1997, section 3.8. Computed by `scipy.stats.bootstrap`.

    With fewer than ten values the interval is too narrow: it cannot know the values it never saw.

    Args:
        values: (N,) numbers; with a statistic of rows, (N, ...).
        statistic: takes the resampled values, gives one number.
        clusters: N labels; None resamples single values.
        method: 'percentile', or 'bca' (corrected for bias and skew).
        seed: the same seed gives the same interval.

    Returns:
        The interval. One value or one cluster alone has none: its bounds are not a number. Values that are all
        the same have an interval of width zero.

    Raises:
        FacelesionError: no values, or some not finite; a level that is no share;
            not one cluster for each value.

    Example:
        >>> kept = bootstrap_interval([0.61, 0.55, 0.70, 0.58, 0.66])
        >>> f"{kept.estimate:.2f} [{kept.low:.2f}, {kept.high:.2f}]"
        '0.62 [0.58, 0.67]'
    """
    from scipy import stats

    data = np.asarray(values, dtype=float)
    if data.ndim == 0 or not len(data):
        raise FacelesionError("an interval needs values: none were given")
    if not np.isfinite(data).all():
        raise FacelesionError("an interval needs finite values: drop or repair the others first")
    if not 0 < level < 1:
        raise FacelesionError(f"the level is a share between 0 and 1 (0.95), not {level}")
    estimate = float(statistic(data))
    if clusters is None:
        groups = [np.array([row]) for row in range(len(data))]
    else:
        if len(clusters) != len(data):
            raise FacelesionError(f"{len(clusters)} clusters do not match {len(data)} values")
        _, member = np.unique(np.asarray(clusters), return_inverse=True)
        groups = [np.flatnonzero(member == group) for group in range(member.max() + 1)]
    if len(groups) < 2:
        return Interval(estimate, math.nan, math.nan, level)
    if (data == data[0]).all():
        return Interval(estimate, estimate, estimate, level)

    def of_groups(chosen: NDArray[np.int64]) -> float:
        return float(statistic(data[np.concatenate([groups[group] for group in chosen])]))

    plain_mean = clusters is None and statistic is np.mean and data.ndim == 1
    drawn = stats.bootstrap(
        (data if plain_mean else np.arange(len(groups)),),
        np.mean if plain_mean else of_groups,
        vectorized=plain_mean,
        confidence_level=level,
        method="BCa" if method == "bca" else "percentile",
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(estimate, float(drawn.low), float(drawn.high), level)


# ---------------------------------------------------------------------------- effect sizes


def hedges_g(a: ArrayLike, b: ArrayLike) -> float:
    """Difference of two means in pooled standard deviations, corrected for small samples (Hedges 1981).

    Raises:
        FacelesionError: no spread in either sample.

    Example:
        >>> round(hedges_g([0.9, 0.8, 0.85], [0.5, 0.4, 0.45]), 2)
        6.38
    """
    x, y = _sample(a, 2), _sample(b, 2)
    freedom = len(x) + len(y) - 2
    pooled = math.sqrt(((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / freedom)
    if pooled == 0:
        raise FacelesionError("no spread in either sample: a standardised difference does not exist")
    correction = math.exp(
        math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2) - math.log(freedom / 2) / 2
    )
    return float((x.mean() - y.mean()) / pooled * correction)


def cohens_h(a: float, b: float) -> float:
    """Difference of two proportions on the arcsine scale; 0.2 is small, 0.5 medium, 0.8 large (Cohen 1988, ch. 6).

    Raises:
        FacelesionError: a proportion below 0 or above 1.

    Example:
        >>> round(cohens_h(0.95, 0.40), 2)
        1.32
    """
    for share in (a, b):
        if not 0 <= share <= 1:
            raise FacelesionError(f"a proportion lies between 0 and 1, not at {share}")
    return 2 * math.asin(math.sqrt(a)) - 2 * math.asin(math.sqrt(b))


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float:
    """How much more often a value of `a` exceeds one of `b` than the reverse, from −1 to 1 (Cliff 1993).

    Example:
        >>> cliffs_delta([3, 4, 5], [1, 2, 3])
        0.8888888888888888
    """
    x, y = _sample(a, 1), _sample(b, 1)
    return float(np.sign(x[:, None] - y[None, :]).mean())


def share_kept(damaged: float, intact: float, chance: float) -> float:
    """What is left of the performance above chance: 1 = as before the damage, 0 = guessing.

    It puts tasks with different chance and different intact levels on one scale. It is not clipped: below 0 is below
    chance, above 1 is better than intact.

    Raises:
        FacelesionError: the intact network is not above chance.

    Example:
        >>> round(share_kept(0.5, intact=0.95, chance=0.05), 2)
        0.5
    """
    if intact <= chance:
        raise FacelesionError(
            f"the intact network is at {intact:.3f}, not above chance ({chance:.3f}): nothing can be lost"
        )
    return (damaged - chance) / (intact - chance)


# ---------------------------------------------------------------------------- single cases


@dataclass(frozen=True)
class CaseTest:
    """One case against a control sample.

    Attributes:
        statistic: t. The revised standardised difference test gives |t|; its sign is that of `effect`.
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
    x = _sample(controls, 2)
    return crawford_howell_from_summary(case, float(x.mean()), float(x.std(ddof=1)), len(x), alternative)


def crawford_howell_from_summary(
    case: float, mean: float, deviation: float, n: int, alternative: Alternative = "less"
) -> CaseTest:
    """`crawford_howell` from the controls' mean, standard deviation (n − 1) and number.

    Raises:
        FacelesionError: fewer than two controls, or controls that do not differ.

    Example:
        >>> round(crawford_howell_from_summary(-2, mean=0, deviation=1, n=15).statistic, 3)
        -1.936
    """
    from scipy import stats

    if n < 2:
        raise FacelesionError(f"a case needs two controls or more to be compared with, not {n}")
    if deviation <= 0:
        raise FacelesionError("the controls do not differ from one another: no case can be judged by them")
    effect = (case - mean) / deviation
    statistic = effect / math.sqrt((n + 1) / n)
    low, high = (_noncentrality(effect * math.sqrt(n), n - 1, tail) / math.sqrt(n) for tail in (0.975, 0.025))
    below = float(stats.t.cdf(statistic, n - 1))
    return CaseTest(statistic, n - 1, _tail(statistic, n - 1, alternative), float(effect), low, high, below)


def revised_standardised_difference(case: tuple[float, float], controls: ArrayLike) -> CaseTest:
    """Do two tasks come apart in this case more than they do in the controls? Two-tailed.

    Scores are standardised by the controls, so the tasks need no common scale. Crawford & Garthwaite 2005,
    *Neuropsychology* 19:318–331 (its equation 7), after Garthwaite & Crawford 2004. When both scores are extreme
    (beyond two deviations) in the same direction it errs more often than it says (Crawford & Garthwaite 2007).

    Args:
        case: scores on task A and task B.
        controls: (N, 2) scores of N ≥ 3 controls on both.

    Raises:
        FacelesionError: fewer than three controls, or controls that do not differ on one of the tasks.

    Example:
        >>> controls = [[90, 80], [93, 86], [88, 79], [95, 88], [91, 82], [89, 83]]
        >>> revised_standardised_difference((70, 82), controls).p < 0.05
        True
    """
    pairs = np.asarray(controls, dtype=float)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) < 3:
        raise FacelesionError(f"controls must be (N, 2) with N of 3 or more, not {pairs.shape}")
    deviation = pairs.std(axis=0, ddof=1)
    if (deviation == 0).any():
        raise FacelesionError("the controls do not differ on one of the tasks: no difference can be judged")
    z = (np.asarray(case, dtype=float) - pairs.mean(axis=0)) / deviation
    correlation = float(np.corrcoef(pairs.T)[0, 1])
    return revised_standardised_difference_from_summary((z[0], z[1]), correlation, len(pairs))


def revised_standardised_difference_from_summary(
    z: tuple[float, float], correlation: float, n: int
) -> CaseTest:
    """`revised_standardised_difference` from the case's two standard scores, the controls' correlation and number.

    Raises:
        FacelesionError: a correlation that is not between -1 and 1.

    Example:
        >>> test = revised_standardised_difference_from_summary((-3.857, -1.875), correlation=0.68, n=20)
        >>> round(test.effect, 2), round(test.p, 3)
        (-2.48, 0.033)
    """
    if not -1 < correlation < 1:
        raise FacelesionError(
            f"the tasks' correlation over controls must lie between -1 and 1, not {correlation:g}"
        )
    difference = z[0] - z[1]
    r, m = correlation, n - 1
    square = (1 + r) * (1 - r**2)
    linear = (1 - r) * (4 * m**2 + 4 * (1 + r) * m + (1 + r) * (5 + r))
    constant = -2 * difference**2 * n * m**2 / (n + 1)
    # The positive root for t squared, in the form that does not cancel when `square` is small.
    t = math.sqrt(-2 * constant / (linear + math.sqrt(linear**2 - 4 * square * constant)))
    return CaseTest(t, m, _tail(t, m, "two-sided"), float(difference / math.sqrt(2 - 2 * r)))


@dataclass(frozen=True)
class Dissociation:
    """How two tasks come apart in one case.

    Attributes:
        kind: 'classical' (one task impaired, the other not, and they differ), 'strong' (both impaired, one more),
            or 'none'.
        impaired: 'a', 'b', 'both' or 'neither': which deficits were found. With a strong dissociation both are.
        worse: 'a' or 'b': the task with the lower standard score.
        a, b, difference: the three tests.
    """

    kind: Literal["classical", "strong", "none"]
    impaired: Literal["a", "b", "both", "neither"]
    worse: Literal["a", "b"]
    a: CaseTest
    b: CaseTest
    difference: CaseTest


def dissociation(case: tuple[float, float], controls: ArrayLike, alpha: float = 0.05) -> Dissociation:
    """Classify a case by the criteria of Crawford & Garthwaite 2005: two deficits (one-tailed) and the difference.

    A classical dissociation needs more than one task impaired and one not: the *difference* must be reliable too
    (revised standardised difference test, two-tailed). No deficit found is not a deficit absent. And a dissociation
    does not prove a module (Plaut 1995): show it beside equivalent lesions.

    Args:
        case: scores on task A and task B, high is good.
        controls: (N, 2) scores of the controls on both.

    Example:
        >>> controls = [[90, 80], [93, 86], [88, 79], [95, 88], [91, 82], [89, 83]]
        >>> found = dissociation((60, 82), controls)
        >>> found.kind, found.impaired
        ('classical', 'a')
    """
    pairs = np.asarray(controls, dtype=float)
    difference = revised_standardised_difference(case, pairs)
    a, b = (crawford_howell(case[task], pairs[:, task]) for task in (0, 1))
    low_a, low_b = a.p < alpha, b.p < alpha
    impaired: Literal["a", "b", "both", "neither"] = (
        "both" if low_a and low_b else "a" if low_a else "b" if low_b else "neither"
    )
    worse: Literal["a", "b"] = "a" if a.effect <= b.effect else "b"
    kind: Literal["classical", "strong", "none"] = "none"
    if difference.p < alpha:
        kind = "strong" if impaired == "both" else "classical" if impaired == worse else "none"
    return Dissociation(kind, impaired, worse, a, b, difference)


# ---------------------------------------------------------------------------- many tests


def false_discovery_rate(
    p: ArrayLike, method: Literal["benjamini-hochberg", "benjamini-yekutieli"] = "benjamini-hochberg"
) -> NDArray[np.float64]:
    """Adjusted p values: call those below q discoveries, and on average a share q of the calls is false.

    Benjamini & Hochberg 1995 holds for tests that are independent or positively dependent; Benjamini & Yekutieli
    2001 for any dependence. Computed by `scipy.stats.false_discovery_control`.

    Args:
        p: p values of any shape; all of them are one family.

    Returns:
        Adjusted values in the same shape.

    Raises:
        FacelesionError: no p values, or some that are not from 0 to 1.

    Example:
        >>> false_discovery_rate([0.01, 0.02, 0.03, 0.5]).round(3).tolist()
        [0.04, 0.04, 0.04, 0.5]
    """
    from scipy import stats

    values = np.asarray(p, dtype=float)
    if not values.size or not ((values >= 0) & (values <= 1)).all():
        raise FacelesionError("p values must be numbers between 0 and 1, one at least")
    short: Literal["bh", "by"] = "bh" if method == "benjamini-hochberg" else "by"
    return np.asarray(stats.false_discovery_control(values, axis=None, method=short)).reshape(values.shape)


@dataclass(frozen=True)
class NullTest:
    """One value against a null distribution: `p`, standard score `z`, and the share of the null `below` it."""

    p: float
    z: float
    below: float
    n: int


def null_test(observed: float, null: ArrayLike, alternative: Alternative = "less") -> NullTest:
    """Is the effect of this lesion more than random lesions of the same size do?

    `null` holds the same measure after matched random lesions. The observed lesion counts as one of the draws, so p
    is never zero (Phipson & Smyth 2010, *Stat Appl Genet Mol Biol* 9:39); the smallest p of B draws is 1 / (B + 1).

    Args:
        observed: the measure after the lesion under test.
        null: (B,) the measure after B random lesions.
        alternative: 'less' asks whether performance fell further than by chance.

    Example:
        >>> null_test(0.40, [0.71, 0.68, 0.74, 0.70, 0.66, 0.73, 0.69, 0.72, 0.67]).p
        0.1
    """
    draws = _sample(null, 1)
    lower = (1 + int((draws <= observed).sum())) / (len(draws) + 1)
    upper = (1 + int((draws >= observed).sum())) / (len(draws) + 1)
    p = {"less": lower, "greater": upper, "two-sided": min(1.0, 2 * min(lower, upper))}[alternative]
    spread = float(draws.std(ddof=1)) if len(draws) > 1 else 0.0
    z = (observed - float(draws.mean())) / spread if spread else math.nan
    return NullTest(p, z, float((draws < observed).mean()), len(draws))


# ---------------------------------------------------------------------------- reliability


def spearman_brown(half: float) -> float:
    """Reliability of the whole from the correlation of its halves (Spearman 1910; Brown 1910).

    Raises:
        FacelesionError: halves that correlate at -1.

    Example:
        >>> round(spearman_brown(0.6), 2)
        0.75
    """
    if half <= -1:
        raise FacelesionError("halves that correlate at -1 have no reliability of the whole")
    return 2 * half / (1 + half)


def split_half_reliability(
    scores: ArrayLike, *, splits: int = 500, level: float = 0.95, seed: int = 0
) -> Interval:
    """Would the same profile of conditions come out of other images?

    The items are cut at random into halves, each half's mean profile over the conditions is taken, the two profiles
    are correlated, and the correlation is brought to full length by Spearman–Brown; the estimate is the mean over
    many cuts. The bounds are quantiles over cuts: how much depends on the cut, not on which items were sampled.

    Args:
        scores: (items, conditions): the score of each image (or person) under each lesion; at least 4 by 3.

    Raises:
        FacelesionError: fewer than 4 items or 3 conditions, or conditions that do not differ.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> profile = np.linspace(0.2, 0.9, 10)
        >>> split_half_reliability(profile + rng.normal(0, 0.1, (40, 10))).estimate > 0.95
        True
    """
    x = np.asarray(scores, dtype=float)
    if x.ndim != 2 or x.shape[0] < 4 or x.shape[1] < 3:
        raise FacelesionError(
            f"split halves need (items, conditions) of 4 by 3 or more, not {tuple(x.shape)}"
        )
    random = np.random.default_rng(seed)
    found = []
    for _ in range(splits):
        order = random.permutation(len(x))
        first, second = (x[half].mean(axis=0) for half in np.array_split(order, 2))
        if first.std() == 0 or second.std() == 0:
            raise FacelesionError("the conditions do not differ: a profile that is flat has no reliability")
        found.append(spearman_brown(max(float(np.corrcoef(first, second)[0, 1]), -0.999)))
    tail = (1 - level) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return Interval(float(np.mean(found)), float(low), float(high), level)


# ---------------------------------------------------------------------------- helpers


def _sample(values: ArrayLike, least: int) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=float).ravel()
    if len(data) < least or not np.isfinite(data).all():
        raise FacelesionError(f"a sample needs {least} or more finite values, not {data.tolist()[:5]}")
    return data


def _tail(t: float, freedom: int, alternative: Alternative) -> float:
    from scipy import stats

    if alternative == "less":
        return float(stats.t.cdf(t, freedom))
    if alternative == "greater":
        return float(stats.t.sf(t, freedom))
    return float(2 * stats.t.sf(abs(t), freedom))


def _noncentrality(t: float, freedom: int, tail: float) -> float:
    """The non-centrality at which `t` is the quantile `tail` of a non-central t distribution."""
    from scipy import optimize, stats

    def gap(centre: float) -> float:
        share = float(stats.nct.cdf(t, freedom, centre))
        if math.isnan(share):  # too far out to be computed: the limit
            share = 1.0 if centre < t else 0.0
        return share - tail

    # nct.cdf falls as the centre rises; the root is near t, within a few of its standard errors.
    reach = 4 + abs(t) * (4 / math.sqrt(2 * freedom) + 0.5)
    try:
        return float(optimize.brentq(gap, t - reach, t + reach, xtol=1e-9))
    except ValueError:
        return math.nan  # so extreme a case that the distribution cannot be computed
