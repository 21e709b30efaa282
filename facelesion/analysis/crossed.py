"""What varies in a lesion study varies crosswise: every drawn lesion meets every person. Intervals and tests for that.

Resampling draws alone says nothing of other people, and people alone nothing of other draws. Here both vary, and
networks where there are several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facelesion.analysis.checks import check_level, one_of
from facelesion.analysis.intervals import Interval
from facelesion.errors import Error


@dataclass(frozen=True, eq=False)
class PersonScores:
    """A task's score of every person under every draw of a lesion.

    Attributes:
        people: P names, each once. The same name in two tasks is the same person.
        values: float64 (draws, P). The task's score is the mean over people.
    """

    people: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.people) or not self.values.size:
            raise Error(
                f"scores must be (draws, people) for {len(self.people)} people, not {self.values.shape}"
            )
        if len(set(self.people)) != len(self.people):
            raise Error("a person is named twice: give every person one column")
        if not np.isfinite(self.values).all():
            raise Error("scores must be finite")


@dataclass(frozen=True)
class Term:
    """One summand of a contrast: `weight` times the mean score of `task` under `lesion`.

    Attributes:
        fixed: the lesion has no draws that could have come out otherwise, such as none at all.
    """

    weight: float
    task: str
    lesion: str
    fixed: bool = False


@dataclass(frozen=True)
class Estimate:
    """A weighted sum of mean scores, with its error over people, draws and networks.

    Attributes:
        estimate: the sum.
        error: its standard error; not a number where something that varies was seen only once.
        freedom: degrees of freedom of the error (Satterthwaite 1946).
        parts: the variance that each source adds: 'people', 'draws', 'networks'.
    """

    estimate: float
    error: float
    freedom: float
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def p(self) -> float:
        """Two-sided p of a t test against 0; not a number where it cannot be tested."""
        from scipy import stats

        if math.isnan(self.error):
            return math.nan
        if self.error == 0:
            return 1.0 if self.estimate == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.estimate) / self.error, self.freedom))

    def interval(self, level: float = 0.95) -> Interval:
        """The t interval; its bounds are not a number where there is no error."""
        from scipy import stats

        check_level(level)
        if math.isnan(self.error):
            return Interval(self.estimate, math.nan, math.nan, level)
        reach = self.error * float(stats.t.ppf((1 + level) / 2, self.freedom)) if self.error else 0.0
        return Interval(self.estimate, self.estimate - reach, self.estimate + reach, level)


Network = Mapping[tuple[str, str], PersonScores]  # scores by (task, lesion)
Source = Literal["people", "draws", "networks"]
SOURCES: tuple[Source, ...] = ("people", "draws", "networks")


def contrast(
    networks: Network | Sequence[Network], terms: Sequence[Term], over: Sequence[Source] = SOURCES
) -> Estimate:
    """A weighted sum of mean scores of tasks under lesions, with an error over all that varies crosswise.

    Every person adds the variance of its own contribution, whichever tasks it is in; every lesion that of its draws;
    with several networks theirs takes the place of the draws', which are other units in each. What two sources share
    (one person under one draw) counts twice, so the error is a little too large rather than too small. The sum of the
    variances is taken to Student's t with the degrees of freedom of Satterthwaite 1946 (*Biometrics Bull* 2:110–114).

    Args:
        networks: scores by (task, lesion), of one network or several.
        terms: what is added, with its weight.
        over: what varies; the rest is taken as it is. With networks and draws both, the networks' variance, which has
            their draws' in it, stands for both; where three networks lie nearer together than their draws let them,
            the draws' does.

    Raises:
        Error: nothing that varies, a task and lesion without scores, or other people in another network.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> people = tuple("abcdefgh")
        >>> scores = {("who", lesion): PersonScores(people, rng.normal(level, 0.1, (5, 8)))
        ...           for lesion, level in (("noise", 0.4), ("ablation", 0.7))}
        >>> found = contrast(scores, [Term(1, "who", "ablation"), Term(-1, "who", "noise")])
        >>> round(found.estimate, 1), found.p < 0.001
        (0.3, True)
    """
    several = checked_networks(networks, terms)
    if not over:
        raise Error(f"over must name what varies: {', '.join(SOURCES)}")
    for source in over:
        one_of("source of variance", source, SOURCES)
    estimates = [
        sum(term.weight * float(network[term.task, term.lesion].values.mean()) for term in terms)
        for network in several
    ]
    sources: list[tuple[str, float, int]] = _of_people(several, terms) if "people" in over else []
    drawn = [
        ("draws", variance / len(several) ** 2, free)
        for network in (several if "draws" in over else [])
        for _, variance, free in _of_draws(network, terms)
    ]
    if "networks" in over and (len(several) > 1 or "draws" not in over):
        spread = float(np.var(estimates, ddof=1)) / len(several) if len(several) > 1 else math.nan
        # Few networks may lie together by chance, and have their draws' variance in them all the same.
        if sum(variance for _, variance, _ in drawn) > spread:
            sources += [("networks", variance, free) for _, variance, free in drawn]
        else:
            sources.append(("networks", spread, len(several) - 1))
    else:
        sources += drawn
    total = sum(variance for _, variance, _ in sources)
    estimate = float(np.mean(estimates))
    parts: dict[str, float] = {}
    for name, variance, _ in sources:
        parts[name] = parts.get(name, 0.0) + variance
    if math.isnan(total) or total == 0:
        return Estimate(estimate, total, math.nan if math.isnan(total) else math.inf, parts)
    freedom = total**2 / sum(variance**2 / free for _, variance, free in sources if variance > 0)
    return Estimate(estimate, math.sqrt(total), freedom, parts)


def checked_networks(networks: Network | Sequence[Network], terms: Sequence[Term]) -> list[Network]:
    """The networks as a list, after the check that each has what the terms name, of the same people.

    Raises:
        Error: no network or term, a task and lesion without scores, or other people in another network.
    """
    several = [networks] if isinstance(networks, Mapping) else list(networks)
    if not several or not terms:
        raise Error("a contrast needs a network and a term, one of each at least")
    for network in several:
        for term in terms:
            if (term.task, term.lesion) not in network:
                raise Error(f"no scores of {term.task} under {term.lesion}")
            if network[term.task, term.lesion].people != several[0][term.task, term.lesion].people:
                raise Error(
                    f"{term.task}: every network must have been asked about the same people"
                )
    return several


def shares_of_people(networks: Sequence[Network], terms: Sequence[Term]) -> list[dict[str, float]]:
    """What each person adds to the estimate, for each group of people who are in the same tasks; it sums to it."""
    share: dict[str, float] = {}
    tasks: dict[str, set[str]] = {}
    for term in terms:
        first = networks[0][term.task, term.lesion]
        mean = np.mean([network[term.task, term.lesion].values.mean(0) for network in networks], axis=0)
        for person, value in zip(first.people, term.weight * mean / len(first.people), strict=True):
            share[person] = share.get(person, 0.0) + float(value)
            tasks.setdefault(person, set()).add(term.task)
    groups: dict[frozenset[str], dict[str, float]] = {}
    for person, value in share.items():
        groups.setdefault(frozenset(tasks[person]), {})[person] = value
    return list(groups.values())


def _of_people(networks: Sequence[Network], terms: Sequence[Term]) -> list[tuple[str, float, int]]:
    """The variance that people add, for each group of people who are in the same tasks."""
    groups = [list(group.values()) for group in shares_of_people(networks, terms)]
    return [
        ("people", len(group) * float(np.var(group, ddof=1)) if len(group) > 1 else math.nan, len(group) - 1)
        for group in groups
    ]


def _of_draws(network: Network, terms: Sequence[Term]) -> list[tuple[str, float, int]]:
    """The variance that each lesion's draws add."""
    by_lesion: dict[str, NDArray[np.float64]] = {}
    for term in terms:
        if term.fixed:
            continue
        drawn = term.weight * network[term.task, term.lesion].values.mean(1)
        before = by_lesion.get(term.lesion, np.zeros_like(drawn))
        if len(before) != len(drawn):
            raise Error(f"{term.lesion} has {len(before)} draws in one task and {len(drawn)} in another")
        by_lesion[term.lesion] = before + drawn
    return [
        ("draws", float(drawn.var(ddof=1)) / len(drawn) if len(drawn) > 1 else math.nan, len(drawn) - 1)
        for drawn in by_lesion.values()
    ]


def crossed_interval(
    values: ArrayLike,
    *,
    level: float = 0.95,
    method: Literal["t", "bootstrap"] = "t",
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of a mean over people and draws (and networks), all of which could have been others.

    Args:
        values: (draws, people) scores, or (networks, draws, people).
        method: 't', as in `contrast`, which covers what it says with three draws too; or 'bootstrap': networks, draws
            and people are each drawn anew and crossed again (Owen 2007, *Ann Appl Stat* 1:386–411; draws within their
            network), percentiles of the mean. The bootstrap is for ten draws or more.

    Raises:
        Error: values of another shape or not finite, or an unknown method.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> scores = rng.normal(0.7, 0.1, 5)[:, None] + rng.normal(0, 0.1, 30)
        >>> found = crossed_interval(scores)
        >>> found.low < found.estimate < found.high
        True
    """
    check_level(level)
    one_of("method of an interval", method, ("t", "bootstrap"))
    data = np.asarray(values, dtype=float)
    if data.ndim == 2:
        data = data[None]
    if data.ndim != 3 or not data.size or not np.isfinite(data).all():
        raise Error(
            f"values must be finite, (draws, people) or (networks, draws, people), not {np.shape(values)}"
        )
    networks, draws, people = data.shape
    if method == "t":
        names = tuple(str(number) for number in range(people))
        cells = [{("task", "lesion"): PersonScores(names, network)} for network in data]
        return contrast(cells, [Term(1, "task", "lesion")]).interval(level)
    if people < 2 or (draws < 2 and networks < 2):
        return Interval(float(data.mean()), math.nan, math.nan, level)
    random = np.random.default_rng(seed)
    weights = random.multinomial(people, np.full(people, 1 / people), resamples) / people
    by_draw = np.einsum("rp,ndp->rnd", weights, data)
    within = random.multinomial(draws, np.full(draws, 1 / draws), (resamples, networks)) / draws
    between = random.multinomial(networks, np.full(networks, 1 / networks), resamples) / networks
    means = (between * (within * by_draw).sum(2)).sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(data.mean()), float(low), float(high), level)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """p values adjusted so that any false call in the whole family is as rare as one test's (Holm 1979).

    A test that could not be made (not a number) stays one and is not counted.

    Example:
        >>> holm([0.01, 0.04, 0.03, float("nan")]).tolist()
        [0.03, 0.06, 0.06, nan]
    """
    values = np.asarray(p, dtype=float)
    if not ((values >= 0) & (values <= 1) | np.isnan(values)).all():
        raise Error("p values must be numbers between 0 and 1")
    made = ~np.isnan(values)
    order = np.argsort(values[made], kind="stable")
    count = len(order)
    steps = np.maximum.accumulate(values[made][order] * (count - np.arange(count)))
    adjusted = values.copy()
    inner = np.empty(count)
    inner[order] = np.minimum(steps, 1.0)
    adjusted[made] = inner
    return adjusted
