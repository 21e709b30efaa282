"""Intervals: how much would a number change if what varies had been drawn anew?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facelesion.analysis.checks import check_level, one_of
from facelesion.errors import Error


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
    method: Literal["t", "percentile", "bca"] = "t",
    resamples: int = 2000,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Interval of a statistic by resampling what varies: lesion draws, people, networks.

    With `clusters` (the person of each value, say) whole clusters are resampled, so that many pictures of one person
    count as one person. Three ways:

    - `t`: every cluster is left out once (the jackknife), and the spread of the pseudo-values is taken to Student's t
      (Tukey 1958; Davison & Hinkley 1997, section 3.2). For the mean this is the usual t interval. It covers what it
      says with three values as with forty, so it is the one for a few draws. Not for quantiles such as the median.
    - `percentile`, `bca`: Efron & Tibshirani 1993, chapters 13 and 14, computed by `scipy.stats.bootstrap`; whole
      clusters: Davison & Hinkley 1997, section 3.8. They cannot know the values they never saw: a 95 % interval of
      five values covers 83 %, of twenty 92 %. Take them for twenty or more.

    Args:
        values: (N,) numbers; with a statistic of rows, (N, ...).
        statistic: takes the resampled values, gives one number.
        clusters: N labels; None resamples single values.
        method: 't', 'percentile', or 'bca' (corrected for bias and skew).
        resamples, seed: of 'percentile' and 'bca'; the same seed gives the same interval. 't' needs none.
        bounds: the least and largest value that is possible; the interval is cut there.

    Returns:
        The interval. One value or one cluster alone has none: its bounds are not a number. Values that are all
        the same have an interval of width zero.

    Raises:
        Error: no values, or some not finite; a level that is no share; an unknown method;
            not one cluster for each value.

    Example:
        >>> kept = bootstrap_interval([0.61, 0.55, 0.70, 0.58, 0.66])
        >>> f"{kept.estimate:.2f} [{kept.low:.2f}, {kept.high:.2f}]"
        '0.62 [0.54, 0.70]'
    """
    data = np.asarray(values, dtype=float)
    if data.ndim == 0 or not len(data):
        raise Error("an interval needs values: none were given")
    if not np.isfinite(data).all():
        raise Error("an interval needs finite values: drop or repair the others first")
    check_level(level)
    one_of("method of an interval", method, ("t", "percentile", "bca"))
    if method != "t" and resamples < 1:
        raise Error(f"resamples is {resamples}: an interval needs many, such as 2000")
    estimate = float(statistic(data))
    if clusters is None:
        groups = [np.array([row]) for row in range(len(data))]
    else:
        if len(clusters) != len(data):
            raise Error(f"{len(clusters)} clusters do not match {len(data)} values")
        _, member = np.unique(np.asarray(clusters), return_inverse=True)
        groups = [np.flatnonzero(member == group) for group in range(member.max() + 1)]
    if len(groups) < 2:
        return Interval(estimate, math.nan, math.nan, level)
    if not np.ptp(data, axis=0).any():
        return Interval(estimate, estimate, estimate, level)
    low, high = (
        _jackknife_bounds(data, statistic, groups, estimate, level)
        if method == "t"
        else _bootstrap_bounds(data, statistic, groups, clusters is None, level, method, resamples, seed)
    )
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Interval(estimate, low, high, level)


def _jackknife_bounds(
    data: NDArray[np.float64],
    statistic: Callable[..., float],
    groups: Sequence[NDArray[np.int64]],
    estimate: float,
    level: float,
) -> tuple[float, float]:
    from scipy import stats

    count = len(groups)
    without = np.array([float(statistic(np.delete(data, group, axis=0))) for group in groups])
    # The pseudo-values, count * estimate - (count - 1) * without, have the spread of what is taken from them.
    error = (count - 1) * float(without.std(ddof=1)) / math.sqrt(count)
    reach = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    return estimate - reach, estimate + reach


def _bootstrap_bounds(
    data: NDArray[np.float64],
    statistic: Callable[..., float],
    groups: Sequence[NDArray[np.int64]],
    single: bool,
    level: float,
    method: str,
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    from scipy import stats

    def of_groups(chosen: NDArray[np.int64]) -> float:
        return float(statistic(data[np.concatenate([groups[group] for group in chosen])]))

    plain_mean = single and statistic is np.mean and data.ndim == 1
    drawn = stats.bootstrap(
        (data if plain_mean else np.arange(len(groups)),),
        np.mean if plain_mean else of_groups,
        confidence_level=level,
        method="BCa" if method == "bca" else "percentile",
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(drawn.low), float(drawn.high)
