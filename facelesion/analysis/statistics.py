"""Statistics of lesion studies: intervals, effect sizes, single cases, dissociations, many tests, null distributions.

All are pure functions of numbers. What each can and cannot say is in `docs/statistics.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facelesion.analysis.checks import check_level, finite, one_of, sample
from facelesion.analysis.intervals import Interval, bootstrap_interval
from facelesion.analysis.single_cases import (
    ALTERNATIVES,
    Alternative,
    CaseTest,
    Dissociation,
    crawford_howell,
    crawford_howell_from_summary,
    dissociation,
    revised_standardised_difference,
    revised_standardised_difference_from_summary,
)
from facelesion.errors import Error

__all__ = [
    "CaseTest",
    "Dissociation",
    "Interval",
    "NullTest",
    "bootstrap_interval",
    "cliffs_delta",
    "cohens_h",
    "crawford_howell",
    "crawford_howell_from_summary",
    "dissociation",
    "false_discovery_rate",
    "hedges_g",
    "null_test",
    "revised_standardised_difference",
    "revised_standardised_difference_from_summary",
    "share_kept",
    "spearman_brown",
    "split_half_reliability",
]


# ---------------------------------------------------------------------------- effect sizes


def hedges_g(a: ArrayLike, b: ArrayLike) -> float:
    """Difference of two means in pooled standard deviations, corrected for small samples (Hedges 1981).

    Raises:
        Error: no spread in either sample.

    Example:
        >>> round(hedges_g([0.9, 0.8, 0.85], [0.5, 0.4, 0.45]), 2)
        6.38
    """
    x, y = sample(a, 2), sample(b, 2)
    freedom = len(x) + len(y) - 2
    pooled = math.sqrt(((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / freedom)
    if pooled == 0:
        raise Error("no spread in either sample: a standardised difference does not exist")
    correction = math.exp(
        math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2) - math.log(freedom / 2) / 2
    )
    return float((x.mean() - y.mean()) / pooled * correction)


def cohens_h(a: float, b: float) -> float:
    """Difference of two proportions on the arcsine scale; 0.2 is small, 0.5 medium, 0.8 large (Cohen 1988, ch. 6).

    Raises:
        Error: a proportion below 0 or above 1.

    Example:
        >>> round(cohens_h(0.95, 0.40), 2)
        1.32
    """
    for share in (a, b):
        if not 0 <= share <= 1:
            raise Error(f"a proportion lies between 0 and 1, not at {share}")
    return 2 * math.asin(math.sqrt(a)) - 2 * math.asin(math.sqrt(b))


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float:
    """How much more often a value of `a` exceeds one of `b` than the reverse, from −1 to 1 (Cliff 1993).

    Example:
        >>> cliffs_delta([3, 4, 5], [1, 2, 3])
        0.8888888888888888
    """
    x, y = sample(a, 1), sample(b, 1)
    return float(np.sign(x[:, None] - y[None, :]).mean())


def share_kept(damaged: float, intact: float, chance: float) -> float:
    """What is left of the performance above chance: 1 = as before the damage, 0 = guessing.

    It puts tasks with different chance and different intact levels on one scale. It is not clipped: below 0 is below
    chance, above 1 is better than intact.

    Raises:
        Error: the intact network is not above chance.

    Example:
        >>> round(share_kept(0.5, intact=0.95, chance=0.05), 2)
        0.5
    """
    finite(damaged=damaged, intact=intact, chance=chance)
    if intact <= chance:
        raise Error(
            f"the intact network is at {intact:.3f}, not above chance ({chance:.3f}): nothing can be lost"
        )
    return (float(damaged) - float(chance)) / (float(intact) - float(chance))


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
        Error: no p values, or some that are not from 0 to 1.

    Example:
        >>> false_discovery_rate([0.01, 0.02, 0.03, 0.5]).round(3).tolist()
        [0.04, 0.04, 0.04, 0.5]
    """
    from scipy import stats

    one_of("method", method, ("benjamini-hochberg", "benjamini-yekutieli"))
    values = np.asarray(p, dtype=float)
    if not values.size or not ((values >= 0) & (values <= 1)).all():
        raise Error("p values must be numbers between 0 and 1, one at least")
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
    draws = sample(null, 1)
    finite(observed=observed)
    one_of("alternative", alternative, ALTERNATIVES)
    lower = (1 + int((draws <= observed).sum())) / (len(draws) + 1)
    upper = (1 + int((draws >= observed).sum())) / (len(draws) + 1)
    p = {"less": lower, "greater": upper, "two-sided": min(1.0, 2 * min(lower, upper))}[alternative]
    spread = float(draws.std(ddof=1)) if len(draws) > 1 else 0.0
    z = (float(observed) - float(draws.mean())) / spread if spread else math.nan
    return NullTest(p, z, float((draws < observed).mean()), len(draws))


# ---------------------------------------------------------------------------- reliability


def spearman_brown(half: float) -> float:
    """Reliability of the whole from the correlation of its halves (Spearman 1910; Brown 1910).

    The formula is made for halves that measure the same thing, whose correlation is not negative. A sample's can be;
    then the mirrored formula `2r / (1 + |r|)` keeps it between -1 and 0 (Krus & Helmstadter 1993), where the plain one
    runs off to minus infinity.

    Raises:
        Error: no correlation.

    Example:
        >>> round(spearman_brown(0.6), 2), round(spearman_brown(-0.6), 2)
        (0.75, -0.75)
    """
    if not -1 <= half <= 1:
        raise Error(f"a correlation lies between -1 and 1, not at {half}")
    return 2 * half / (1 + abs(half))


def split_half_reliability(
    scores: ArrayLike, *, splits: int = 500, level: float = 0.95, seed: int = 0
) -> Interval:
    """Would the same profile of conditions come out of other images?

    The items are cut at random into halves, each half's mean profile over the conditions is taken, and the two
    profiles are correlated. The estimate is the mean correlation over many cuts, brought to full length by
    Spearman–Brown once; 0 or less is no reliability. The bounds are quantiles over cuts: how much depends on the cut,
    not on which items were sampled.

    Args:
        scores: (items, conditions): the score of each image (or person) under each lesion; at least 4 by 3.

    Raises:
        Error: fewer than 4 items or 3 conditions, scores that are not finite, or conditions that do not
            differ.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> profile = np.linspace(0.2, 0.9, 10)
        >>> split_half_reliability(profile + rng.normal(0, 0.1, (40, 10))).estimate > 0.95
        True
    """
    x = np.asarray(scores, dtype=float)
    if x.ndim != 2 or x.shape[0] < 4 or x.shape[1] < 3:
        raise Error(f"split halves need (items, conditions) of 4 by 3 or more, not {tuple(x.shape)}")
    if not np.isfinite(x).all():
        raise Error("split halves need finite scores: drop or repair the others first")
    if splits < 1:
        raise Error(f"splits is {splits}: cut once or more")
    check_level(level)
    if np.ptp(x.mean(axis=0)) <= 1e-12 * np.abs(x).max():
        raise Error("the conditions do not differ: a profile that is flat has no reliability")
    random = np.random.default_rng(seed)
    found = np.zeros(splits)
    for cut in range(splits):
        order = random.permutation(len(x))
        first, second = (x[half].mean(axis=0) for half in np.array_split(order, 2))
        if first.std() > 0 and second.std() > 0:  # a half that is flat agrees with nothing: 0
            found[cut] = np.corrcoef(first, second)[0, 1]
    tail = (1 - level) / 2
    low, high = (spearman_brown(float(bound)) for bound in np.quantile(found, [tail, 1 - tail]))
    return Interval(spearman_brown(float(found.mean())), low, high, level)
