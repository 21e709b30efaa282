"""One case against a few controls, the Bayesian way: a deficit, a difference between two tasks, with covariates.

The answer is a posterior: which share of the control population lies lower than the case, and how far out the case is,
each with a credible interval. Covariates (how long a network was trained, how much it saw) are taken out by regression.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facelesion.analysis.checks import check_level, finite, one_of, sample
from facelesion.analysis.single_cases import (
    ALTERNATIVES,
    Alternative,
    noncentrality,
    pairs_of_scores,
    tail_probability,
)
from facelesion.errors import Error

Prior = Literal["calibrated", "standard"]


@dataclass(frozen=True)
class BayesianTest:
    """One case against a control population that is known from a few controls.

    Attributes:
        p: posterior probability that a control is as extreme, for the alternative that was asked.
        effect: standardised score of the case: z_CC for one task, z_DCC for a difference of two, with covariates z_CCC
            and z_DCCC.
        low, high: its credible interval.
        below: posterior mean of the share of controls that lie lower; of a difference, whose difference does.
        below_low, below_high: its credible interval.
        freedom: degrees of freedom of the posterior.
        controls: how many there were.
    """

    p: float
    effect: float
    low: float
    high: float
    below: float
    below_low: float
    below_high: float
    freedom: int
    controls: int


def bayesian_deficit(
    case: float,
    controls: ArrayLike,
    *,
    covariates: ArrayLike | None = None,
    of_case: ArrayLike | None = None,
    alternative: Alternative = "less",
    level: float = 0.95,
) -> BayesianTest:
    """Is this case's score too low for the population of its controls, given what else is known of them?

    Crawford & Garthwaite 2007 (*Cogn Neuropsychol* 24:343–372); with covariates Crawford, Garthwaite & Ryan 2011
    (*Cortex* 47:1166–1178). The posterior is computed exactly and not drawn: without covariates p is Crawford &
    Howell's.

    Args:
        case: the score of the case.
        controls: (N,) scores of the controls.
        covariates: (N,) or (N, M), what else is known of each control.
        of_case: (M,) the same of the case; the two go together.
        alternative: 'less' asks for a deficit.
        level: of the credible intervals.

    Raises:
        Error: too few controls for so many covariates, controls that do not differ (beyond what their
            covariates say), or covariates that say the same twice.

    Example:
        >>> found = bayesian_deficit(0.55, [0.90, 0.93, 0.88, 0.95, 0.91, 0.89])
        >>> found.p < 0.001, found.freedom
        (True, 5)
        >>> seen = [10, 30, 20, 40, 30, 20]
        >>> bayesian_deficit(0.86, [0.90, 0.93, 0.88, 0.95, 0.91, 0.89], covariates=seen, of_case=[40]).p < 0.05
        True
    """
    from scipy import stats

    finite(case=case)
    one_of("alternative", alternative, ALTERNATIVES)
    check_level(level)
    fitted = _regress(sample(controls, 2)[:, None], covariates, of_case, freedom=1)
    freedom = fitted.n - fitted.many - 1
    square, gap = float(fitted.squares[0, 0]), case - float(fitted.expected[0])
    t = gap / math.sqrt(square / freedom * (1 + fitted.leverage))
    centre = gap / math.sqrt(square / freedom * fitted.leverage)
    low, high = (
        noncentrality(centre, freedom, tail) * math.sqrt(fitted.leverage)
        for tail in ((1 + level) / 2, (1 - level) / 2)
    )
    effect = gap / math.sqrt(square / (fitted.n - 1))
    return BayesianTest(
        tail_probability(t, freedom, alternative),
        effect,
        low,
        high,
        float(stats.t.cdf(t, freedom)),
        float(stats.norm.cdf(low)),
        float(stats.norm.cdf(high)),
        freedom,
        fitted.n,
    )


def bayesian_difference(
    case: tuple[float, float],
    controls: ArrayLike,
    *,
    covariates: ArrayLike | None = None,
    of_case: ArrayLike | None = None,
    alternative: Alternative = "two-sided",
    prior: Prior = "calibrated",
    level: float = 0.95,
    draws: int = 20_000,
    seed: int = 0,
) -> BayesianTest:
    """Do two tasks come apart in this case more than in the population of its controls?

    The Bayesian standardised difference test: Crawford & Garthwaite 2007, with covariates Crawford, Garthwaite & Ryan
    2011, from where the calibrated prior is. Covariances are drawn from the posterior, means are integrated over, so
    that 20,000 draws give p to about 0.001. A two-sided p is twice the smaller tail, as in the authors' program.

    Args:
        case: scores on task A and task B.
        controls: (N, 2) scores of the controls on both.
        covariates: (N,) or (N, M), what else is known of each control.
        of_case: (M,) the same of the case; the two go together.
        alternative: 'less' asks whether A lies lower than B.
        prior: 'calibrated', whose error rate is near the nominal one, or 'standard', the reference prior, which calls
            more cases than it says.
        level: of the credible intervals.
        draws, seed: of the posterior; the same seed gives the same answer.

    Raises:
        Error: as `bayesian_deficit`; and tasks that say the same of the controls.

    Example:
        >>> controls = [[90, 80], [93, 86], [88, 79], [95, 88], [91, 82], [89, 83]]
        >>> controls += [[92, 81], [94, 87], [90, 84], [91, 85]]
        >>> found = bayesian_difference((70, 82), controls)
        >>> found.p < 0.05, found.below < 0.02
        (True, True)
    """
    from scipy import stats

    one_of("alternative", alternative, ALTERNATIVES)
    one_of("prior", prior, ("calibrated", "standard"))
    check_level(level)
    if draws < 1:
        raise Error(f"draws is {draws}: a posterior needs many, such as 20,000")
    finite(**{"score on task A": case[0], "score on task B": case[1]})
    calibrated = prior == "calibrated"
    fitted = _regress(pairs_of_scores(controls, 4), covariates, of_case, freedom=2 if calibrated else 1)
    freedom = fitted.n - fitted.many - (2 if calibrated else 0)
    spread = np.sqrt(np.diag(fitted.squares))
    correlation = float(fitted.squares[0, 1] / (spread[0] * spread[1]))
    if abs(correlation) > 1 - 1e-12:
        raise Error("the two tasks say the same of every control: no difference can be judged")
    gap = np.asarray(case, dtype=float) - fitted.expected
    random = np.random.default_rng(seed)
    scale = fitted.squares * (freedom / (freedom + 1) if calibrated else 1.0)
    sigma = _covariances(scale, freedom, draws, random, calibrated)
    deviation = np.sqrt(sigma[:, (0, 1), (0, 1)])
    rho = sigma[:, 0, 1] / deviation.prod(axis=1)
    z = gap / deviation
    # Given the covariances, the standardised difference is normal about this with the leverage as its variance.
    centre = (z[:, 0] - z[:, 1]) / np.sqrt(2 - 2 * rho)
    drawn = centre + math.sqrt(fitted.leverage) * random.normal(size=draws)
    within = centre / math.sqrt(1 + fitted.leverage)
    less, greater = (float(share(within).mean()) for share in (stats.norm.cdf, stats.norm.sf))
    p = {"less": less, "greater": greater, "two-sided": 2 * min(less, greater)}[alternative]
    low, high = (float(bound) for bound in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
    standard = gap / spread * math.sqrt(fitted.n - 1)
    effect = float((standard[0] - standard[1]) / math.sqrt(2 - 2 * correlation))
    return BayesianTest(
        p,
        effect,
        low,
        high,
        less,
        float(stats.norm.cdf(low)),
        float(stats.norm.cdf(high)),
        freedom,
        fitted.n,
    )


class _Fitted(NamedTuple):
    """Controls' scores given covariates.

    Attributes:
        n: controls.
        many: covariates.
        expected: (K,) what is expected of the case.
        squares: (K, K) residual sums of squares and products.
        leverage: variance of what is expected, in units of a residual's.
    """

    n: int
    many: int
    expected: NDArray[np.float64]
    squares: NDArray[np.float64]
    leverage: float


def _regress(
    scores: NDArray[np.float64], covariates: ArrayLike | None, of_case: ArrayLike | None, freedom: int
) -> _Fitted:
    """Regress scores (N, K) on the covariates, of which `freedom` degrees must be left beyond K."""
    n = len(scores)
    if (covariates is None) != (of_case is None):
        raise Error("covariates of the controls and of the case go together: give both, or neither")
    known = np.zeros((n, 0)) if covariates is None else np.asarray(covariates, dtype=float)
    known = known[:, None] if known.ndim == 1 else known
    case = np.zeros(0) if of_case is None else np.asarray(of_case, dtype=float).ravel()
    if known.ndim != 2 or len(known) != n or known.shape[1] != len(case):
        raise Error(
            f"covariates must be (N, M) for {n} controls and (M,) for the case, not {known.shape} and {case.shape}"
        )
    if not (np.isfinite(known).all() and np.isfinite(case).all()):
        raise Error("covariates must be finite")
    many, least = known.shape[1], known.shape[1] + scores.shape[1] + freedom
    if n < least:
        raise Error(f"{n} controls are too few for {many} covariates: it takes {least} or more")
    # In deviations from the controls' means the intercept is the mean, and no covariate drowns the others.
    middle = known.mean(axis=0)
    spread = known.std(axis=0)
    if (spread == 0).any():
        raise Error("a covariate is the same in every control: leave it out")
    design = (known - middle) / spread
    if many and np.linalg.matrix_rank(design) < many:
        raise Error("two covariates say the same of every control: leave one out")
    place = (case - middle) / spread
    mean = scores.mean(axis=0)
    slope = np.linalg.lstsq(design, scores - mean, rcond=None)[0]
    residual = scores - mean - design @ slope
    squares = residual.T @ residual
    if (np.diag(squares) <= 1e-20 * np.maximum((scores**2).sum(axis=0), 1e-300)).any():
        beyond = " beyond what their covariates say" if many else ""
        raise Error(f"the controls do not differ from one another{beyond}: no case can be judged by them")
    leverage = 1 / n + float(place @ np.linalg.solve(design.T @ design, place)) if many else 1 / n
    return _Fitted(n, many, mean + place @ slope, squares, leverage)


def _covariances(
    scale: NDArray[np.float64], freedom: int, draws: int, random: np.random.Generator, calibrated: bool
) -> NDArray[np.float64]:
    """Covariance matrices (draws, 2, 2) of an inverse Wishart distribution, by Bartlett's decomposition.

    With the calibrated prior each is kept with the probability sqrt(1 - correlation²), until there are enough.
    """
    root = np.linalg.cholesky(scale)
    kept: list[NDArray[np.float64]] = []
    while sum(map(len, kept)) < draws:
        upper = np.zeros((draws, 2, 2))
        first, second = (np.sqrt(random.chisquare(freedom - place, draws)) for place in (0, 1))
        upper[:, 0, 0], upper[:, 1, 1] = 1 / first, 1 / second
        upper[:, 0, 1] = -random.normal(size=draws) / (first * second)
        half = root @ upper
        sigma = half @ half.transpose(0, 2, 1)
        if calibrated:
            rho = sigma[:, 0, 1] / np.sqrt(sigma[:, 0, 0] * sigma[:, 1, 1])
            sigma = sigma[random.uniform(size=draws) ** 2 <= 1 - rho**2]
        kept.append(sigma)
    return np.concatenate(kept)[:draws]
