"""Dose and response: a psychometric curve, the dose that takes half of what there was, and whether two doses differ.

What is left falls from the healthy network's level to chance as the dose grows. Both ends are fixed, so that the curve
has two parameters: the dose at half loss, and how steeply it falls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facelesion.analysis.answers import INTACT, Answers
from facelesion.analysis.checks import check_level, one_of
from facelesion.analysis.crossed import PersonScores, Source
from facelesion.analysis.intervals import Interval
from facelesion.analysis.resampling import in_words
from facelesion.errors import Error

Shape = Literal["logistic", "normal", "weibull"]
SHAPES: tuple[Shape, ...] = ("logistic", "normal", "weibull")
#: The 10 to 90 % fall in e-folds of the dose: no wider than this, and no narrower than half the gap of two doses.
_WIDEST, _FALL = 12.0, 2 * math.log(9)


@dataclass(frozen=True)
class Curve:
    """A fitted psychometric curve.

    Attributes:
        shape: 'logistic', 'normal' or 'weibull', over the logarithm of the dose.
        half: dose at half loss, with its interval; its bounds are not a number where there is none.
        steepness: of the fall over the natural logarithm of the dose: of the logistic curve Hill's coefficient, of the
            normal one its deviation's inverse, of Weibull's its exponent.
        healthy: where it begins: the healthy network's level, one less the lapses.
        chance: where it ends.
        doses, observed, fitted: the doses, and what was left there, as measured and by the curve.
        inside: half of the loss lies within the doses. If not, `half` is extrapolated and has no interval.
        over: what varies in the interval, such as 'people × draws'.
    """

    shape: Shape
    half: Interval
    steepness: float
    healthy: float
    chance: float
    doses: tuple[float, ...]
    observed: tuple[float, ...]
    fitted: tuple[float, ...]
    inside: bool
    over: str

    def at(self, doses: ArrayLike) -> NDArray[np.float64]:
        """What is left at these doses, by the curve.

        Raises:
            Error: a dose below 0.
        """
        given = np.asarray(doses, dtype=float)
        if not (given >= 0).all():
            raise Error("a dose is 0 or more")
        with np.errstate(divide="ignore"):
            left = _left(self.shape, self.steepness * (np.log(given) - math.log(self.half.estimate)))
        return self.chance + (self.healthy - self.chance) * left


def scores_by_dose(
    answers: Answers, series: str, scale: Literal["own", "choice"] = "choice"
) -> dict[float, PersonScores]:
    """A task's scores under every dose of a series, and at dose 0 those of the healthy network.

    Raises:
        Error: no answers of the healthy network or of the series.

    Example:
        >>> from facelesion.analysis import Answers
        >>> people = tuple((name,) for name in "abcd")
        >>> right = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
        >>> cells, names = (("none", 0.0, 0), ("noise", 0.5, 0)), np.array(list("abcd"), object)
        >>> answers = Answers("who", cells, right * 2.0 - 1, right, names, people, "", 4)
        >>> {dose: float(each.values.mean()) for dose, each in scores_by_dose(answers, "noise", scale="own").items()}
        {0.0: 1.0, 0.5: 0.5}
    """
    scores = answers.scores(scale)
    found = {dose: each for (name, dose), each in scores.items() if name == series}
    if INTACT not in scores or not found:
        raise Error(f"{answers.task}: there are no answers of the intact network, or none under {series!r}")
    return {0.0: scores[INTACT], **{dose: found[dose] for dose in sorted(found)}}


def fit_curve(
    scores: Mapping[float, PersonScores],
    *,
    chance: float = 0.5,
    healthy: float | None = None,
    shape: Shape = "logistic",
    over: Sequence[Literal["people", "draws"]] = ("people", "draws"),
    level: float = 0.95,
    resamples: int = 400,
    seed: int = 0,
) -> Curve:
    """Fit a psychometric curve to what is left at each dose, by maximum likelihood with both its ends fixed.

    Wichmann & Hill 2001 (*Percept Psychophys* 63:1293–1313, 1314–1329): lapses that are not taken into account bias the
    dose. Here they are what the healthy network gets wrong, counted anew in every resample. Likelihood is that of
    binomial answers, all doses asked alike. The interval is a t interval of the dose's logarithm; its variance adds
    those of resampled people and of resampled draws, as in `contrast`.

    Args:
        scores: by dose, every person's score under every draw; dose 0 is the healthy network.
        chance: of guessing; 0.5 on the scale 'choice'.
        healthy: level of the healthy network, if not that at dose 0.
        shape: of the fall over the logarithm of the dose.
        over: what varies.
        level: of the interval.
        resamples, seed: the same seed gives the same interval.

    Raises:
        Error: fewer than three doses, doses that are not above 0, other people or draws at some dose, or a
            healthy network at chance.

    Example:
        >>> people = tuple("abcdefgh")
        >>> left = {0.0: 0.95, 0.1: 0.91, 0.2: 0.80, 0.4: 0.62, 0.8: 0.52}
        >>> curve = fit_curve({dose: PersonScores(people, np.full((1, 8), share)) for dose, share in left.items()})
        >>> round(curve.half.estimate, 2), curve.inside
        (0.26, True)
    """
    one_of("shape of a curve", shape, SHAPES)
    data = _Data.of(scores, chance, healthy)
    _check(over, level, resamples)
    log_half, steepness = (float(value[0]) for value in _fit(shape, data, *data.means()))
    log_doses = np.log(data.doses)
    inside = bool(log_doses[0] <= log_half <= log_doses[-1])
    variances, frees = _variances(shape, [data], over, resamples, seed, lambda half: half[0])
    low, high = _bounds(log_half, variances, frees, level) if inside else (math.nan, math.nan)
    level_of_healthy, observed = data.means()
    left = _left(shape, steepness * (log_doses - log_half))
    return Curve(
        shape,
        Interval(math.exp(log_half), math.exp(low), math.exp(high), level),
        steepness,
        float(level_of_healthy[0]),
        chance,
        tuple(float(dose) for dose in data.doses),
        tuple(float(value) for value in observed[0]),
        tuple(float(chance + (level_of_healthy[0] - chance) * value) for value in left),
        inside,
        in_words(_sources([data], over)),
    )


@dataclass(frozen=True)
class CurveComparison:
    """The dose at half loss of one curve, as a multiple of another's.

    Attributes:
        ratio: with its interval.
        p: two-sided, of a ratio of 1; not a number where one of the halves lies outside its doses.
        over: what varies.
    """

    ratio: Interval
    p: float
    over: str


def compare_curves(
    one: Mapping[float, PersonScores],
    two: Mapping[float, PersonScores],
    *,
    chance: tuple[float, float] = (0.5, 0.5),
    same_draws: bool = False,
    shape: Shape = "logistic",
    over: Sequence[Literal["people", "draws"]] = ("people", "draws"),
    level: float = 0.95,
    resamples: int = 400,
    seed: int = 0,
) -> CurveComparison:
    """Does one take more than the other to lose half: two tasks under a lesion, or two lesions in a task?

    People of one name are the same people and are resampled together. The test is a t test of the ratio's logarithm,
    with variances by resampling people and draws (see `fit_curve`).

    Args:
        one, two: by dose, every person's score under every draw; dose 0 is the healthy network.
        chance: of guessing, in either.
        same_draws: both were measured under the same drawn lesions: two tasks under one lesion.
        shape, over, level, resamples, seed: as in `fit_curve`.

    Raises:
        Error: as `fit_curve`; or draws that are the same and not as many.

    Example:
        `compare_curves(scores_by_dose(identification, "noise"), scores_by_dose(objects, "noise"), same_draws=True).p`

    Example:
        >>> people = tuple("abcdefgh")
        >>> rng = np.random.default_rng(0)
        >>> who = {0.0: 0.95, 0.1: 0.80, 0.2: 0.65, 0.4: 0.55, 0.8: 0.5}
        >>> what = {0.0: 0.95, 0.1: 0.93, 0.2: 0.88, 0.4: 0.72, 0.8: 0.55}
        >>> def scores(task):
        ...     return {dose: PersonScores(people, rng.normal(share, 0.02, (3, 8))) for dose, share in task.items()}
        >>> found = compare_curves(scores(who), scores(what), resamples=50)
        >>> round(found.ratio.estimate, 1), found.p < 0.01
        (0.4, True)
    """
    one_of("shape of a curve", shape, SHAPES)
    both = [_Data.of(scores, guess, None) for scores, guess in zip((one, two), chance, strict=True)]
    _check(over, level, resamples)
    if same_draws and both[0].draws != both[1].draws:
        raise Error(f"draws cannot be the same: there are {both[0].draws} and {both[1].draws}")
    halves = [float(_fit(shape, data, *data.means())[0][0]) for data in both]
    inside = all(
        math.log(data.doses[0]) <= half <= math.log(data.doses[-1])
        for data, half in zip(both, halves, strict=True)
    )
    gap = halves[0] - halves[1]
    variances, frees = _variances(
        shape, both, over, resamples, seed, lambda half: half[0] - half[1], same_draws=same_draws
    )
    low, high = _bounds(gap, variances, frees, level) if inside else (math.nan, math.nan)
    p = _p(gap, variances, frees) if inside else math.nan
    ratio = Interval(math.exp(gap), math.exp(low), math.exp(high), level)
    return CurveComparison(ratio, p, in_words(_sources(both, over)))


@dataclass(frozen=True, eq=False)
class _Data:
    """What is left, ready to be resampled.

    Attributes:
        healthy: (people,) at dose 0, or one level for all.
        values: (doses, draws, people).
    """

    people: tuple[str, ...]
    doses: NDArray[np.float64]
    healthy: NDArray[np.float64]
    values: NDArray[np.float64]
    chance: float

    @property
    def draws(self) -> int:
        return self.values.shape[1]

    @classmethod
    def of(cls, scores: Mapping[float, PersonScores], chance: float, healthy: float | None) -> _Data:
        doses = sorted(dose for dose in scores if dose != 0)
        if len(doses) < 3 or doses[0] <= 0 or not all(map(math.isfinite, doses)):
            raise Error(f"a curve needs three doses or more, all above 0, not {doses[:6]}")
        if healthy is None and 0 not in scores:
            raise Error("a curve needs the healthy network's scores, at dose 0, or its level as `healthy`")
        if not 0 <= chance < 1:
            raise Error(f"chance is a share from 0 to below 1, not {chance}")
        people, draws = scores[doses[0]].people, len(scores[doses[0]].values)
        for dose in scores:
            if scores[dose].people != people:
                raise Error(f"dose {dose:g} was asked about other people than dose {doses[0]:g}")
            if dose and len(scores[dose].values) != draws:
                raise Error(
                    f"dose {dose:g} has {len(scores[dose].values)} draws, and dose {doses[0]:g} has {draws}"
                )
        level = np.full(len(people), healthy) if healthy is not None else scores[0].values.mean(0)
        if not chance < level.mean() <= 1:
            raise Error(f"the healthy network is at {level.mean():.3f}, not above chance ({chance:.3f})")
        values = np.stack([scores[dose].values for dose in doses])
        return cls(people, np.array(doses), level, values, chance)

    def means(
        self, people: NDArray[np.float64] | None = None, draws: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The healthy level (R,) and what is left (R, doses), with people and draws counted as often as said (R, N)."""
        people = np.ones((1, len(self.people))) if people is None else people
        draws = np.ones((1, self.draws)) if draws is None else draws
        people, draws = people / people.sum(1, keepdims=True), draws / draws.sum(1, keepdims=True)
        by_draw = np.einsum("rp,sdp->rsd", people, self.values)
        left = (by_draw * draws[:, None, :]).sum(2)
        # At chance or above 1 there is no curve; a resample can get there.
        return np.clip(people @ self.healthy, self.chance + 1e-3, 1.0), np.clip(left, 0.0, 1.0)


def _left(shape: Shape, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of what there was that is left, one half at u = 0."""
    from scipy import special

    if shape == "logistic":
        return np.asarray(special.expit(-u))
    if shape == "normal":
        return np.asarray(special.ndtr(-u))
    return np.asarray(np.exp(-math.log(2) * np.exp(np.minimum(u, 50.0))))


def _slope(shape: Shape, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """The derivative of `_left`."""
    left = _left(shape, u)
    if shape == "logistic":
        return -left * (1 - left)
    if shape == "normal":
        return -np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    return -math.log(2) * np.exp(np.minimum(u, 50.0)) * left


def _fit(
    shape: Shape, data: _Data, healthy: NDArray[np.float64], observed: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithm of the dose at half loss, and steepness, of many samples at once (R,): the likelihood's maximum.

    From the best point of a grid on, by Fisher scoring with a damping that each sample has for itself.
    """
    x = np.log(data.doses)
    span = max(float(x[-1] - x[0]), math.log(2))
    lower = np.array([x[0] - span, math.log(_FALL / _WIDEST)])
    upper = np.array([x[-1] + span, math.log(_FALL / (0.5 * float(np.diff(x).min())))])

    def expected(theta: NDArray[np.float64], top: NDArray[np.float64]) -> NDArray[np.float64]:
        u = np.exp(theta[:, 1:]) * (x - theta[:, :1])
        return np.clip(data.chance + (top[:, None] - data.chance) * _left(shape, u), 1e-9, 1 - 1e-9)

    def likelihood(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = expected(theta, healthy)
        return np.asarray((observed * np.log(mean) + (1 - observed) * np.log(1 - mean)).sum(1))

    grid = np.stack(
        np.meshgrid(np.linspace(lower[0], upper[0], 61), np.linspace(lower[1], upper[1], 15)), axis=-1
    ).reshape(-1, 2)
    mean = expected(grid, np.full(len(grid), healthy.mean()))
    best = (observed @ np.log(mean).T + (1 - observed) @ np.log(1 - mean).T).argmax(1)
    theta, value = grid[best], likelihood(grid[best])
    damping = np.full(len(theta), 1e-2)
    for _ in range(60):
        mean = expected(theta, healthy)
        steep = np.exp(theta[:, 1:])
        u = steep * (x - theta[:, :1])
        change = (healthy[:, None] - data.chance) * _slope(shape, u)
        jacobian = np.stack([-steep * change, u * change], axis=-1)  # (R, doses, 2)
        weight = 1 / (mean * (1 - mean))
        score = np.einsum("rs,rsk->rk", weight * (observed - mean), jacobian)
        information = np.einsum("rs,rsj,rsk->rjk", weight, jacobian, jacobian)
        diagonal = np.einsum("rkk->rk", information) * (1 + damping[:, None]) + 1e-9
        cross = information[:, 0, 1]
        determinant = diagonal.prod(axis=1) - cross**2
        step = np.stack(
            [diagonal[:, 1] * score[:, 0] - cross * score[:, 1], diagonal[:, 0] * score[:, 1] - cross * score[:, 0]],
            axis=1,
        ) / determinant[:, None]  # fmt: skip
        tried = np.clip(theta + step, lower, upper)
        found = likelihood(tried)
        better = found > value
        moved = np.abs(tried - theta).max(axis=1)
        theta = np.where(better[:, None], tried, theta)
        value = np.maximum(found, value)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-9, 1e9)
        if (moved < 1e-8).all():
            break
    return theta[:, 0], np.exp(theta[:, 1])


def _check(over: Sequence[str], level: float, resamples: int) -> None:
    check_level(level)
    if not over:
        raise Error("over must name what varies: people, draws")
    for source in over:
        one_of("source of variance", source, ("people", "draws"))
    if resamples < 20:
        raise Error(f"resamples is {resamples}: an interval needs many, such as 400")


def _sources(data: Sequence[_Data], over: Sequence[str]) -> list[Source]:
    """What varies and was seen more than once."""
    found: list[Source] = ["people"] if "people" in over else []
    return [*found, "draws"] if "draws" in over and any(one.draws > 1 for one in data) else found


def _variances(
    shape: Shape,
    data: Sequence[_Data],
    over: Sequence[str],
    resamples: int,
    seed: int,
    measure: Callable[[Sequence[NDArray[np.float64]]], NDArray[np.float64]],
    same_draws: bool = False,
) -> tuple[list[float], list[int]]:
    """The variance that each source adds to a measure of the logarithms of the halves, and its degrees of freedom."""
    random = np.random.default_rng(seed)
    at_rest = [_fit(shape, one, *one.means())[0] for one in data]
    variances, frees = [], []

    def add(halves: Sequence[NDArray[np.float64]], n: int) -> None:
        # Half of the central 68 %: a few resamples without a curve must not count for all.
        low, high = np.quantile(measure(halves), [0.1587, 0.8413])
        variances.append(float((high - low) / 2) ** 2 * n / (n - 1) if n > 1 else math.nan)
        frees.append(n - 1)

    if "people" in over:
        counts: dict[str, NDArray[np.float64]] = {}
        sets = [set(one.people) for one in data]
        groups: dict[tuple[bool, ...], list[str]] = {}
        for name in dict.fromkeys(name for one in data for name in one.people):
            groups.setdefault(tuple(name in each for each in sets), []).append(name)
        for group in groups.values():
            counts.update(zip(group, _counts(len(group), resamples, random).T, strict=True))
        halves = [
            _fit(shape, one, *one.means(people=np.stack([counts[name] for name in one.people], axis=1)))[0]
            for one in data
        ]
        add(halves, min(map(len, groups.values())))
    if "draws" in over:
        shared = _counts(data[0].draws, resamples, random) if same_draws else None
        drawn = [
            one.means(draws=_counts(one.draws, resamples, random) if shared is None else shared) for one in data
        ]
        halves = [_fit(shape, one, *means)[0] for one, means in zip(data, drawn, strict=True)]
        if same_draws:
            if data[0].draws > 1:
                add(halves, data[0].draws)
        else:
            for place, one in enumerate(data):
                if one.draws > 1:
                    add([half if place == other else at_rest[other] for other, half in enumerate(halves)], one.draws)
    return variances, frees


def _counts(n: int, resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    return random.multinomial(n, np.full(n, 1 / n), resamples).astype(float)


def _error(variances: Sequence[float], frees: Sequence[int]) -> tuple[float, float]:
    """Standard error of a sum of variances, and its degrees of freedom (Satterthwaite 1946)."""
    total = sum(variances)
    if not variances or math.isnan(total) or total == 0:
        return (0.0, math.inf) if total == 0 and variances else (math.nan, math.nan)
    return math.sqrt(total), total**2 / sum(v**2 / free for v, free in zip(variances, frees, strict=True) if v > 0)


def _bounds(middle: float, variances: Sequence[float], frees: Sequence[int], level: float) -> tuple[float, float]:
    from scipy import stats

    error, freedom = _error(variances, frees)
    reach = error * float(stats.t.ppf((1 + level) / 2, freedom)) if error else 0.0
    return middle - reach, middle + reach


def _p(middle: float, variances: Sequence[float], frees: Sequence[int]) -> float:
    from scipy import stats

    error, freedom = _error(variances, frees)
    if error == 0:
        return 1.0 if middle == 0 else 0.0
    return float(2 * stats.t.sf(abs(middle) / error, freedom)) if not math.isnan(error) else math.nan
