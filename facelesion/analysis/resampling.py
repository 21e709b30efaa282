"""The crossed bootstrap: people, draws and networks are drawn anew, alone or together, and crossed again.

People are clusters: all that somebody was asked goes with them, in every task, under every lesion and in every network;
a pair counts with both of its people. A draw goes with all its doses, tasks and stimuli. Beside the t intervals of
`crossed` this is for measures that are no sums, such as a sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from facelesion.analysis.checks import check_level, one_of
from facelesion.analysis.crossed import (
    SOURCES,
    Network,
    Source,
    Term,
    checked_networks,
    contrast,
    shares_of_people,
)
from facelesion.analysis.intervals import Interval
from facelesion.errors import Error

Link = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def in_words(over: Sequence[Source]) -> str:
    """What varies, as figures name it.

    Example:
        >>> in_words(("draws", "people"))
        'people × draws'
    """
    return " × ".join(source for source in SOURCES if source in over)


def resampled(
    networks: Network | Sequence[Network],
    terms: Sequence[Term],
    over: Sequence[Source] = SOURCES,
    *,
    links: Mapping[str, Link] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """A contrast over and over, as it would be with other people, draws and networks.

    What varies crosswise is drawn anew independently and crossed again (Owen 2007, *Ann Appl Stat* 1:386–411); draws
    lie within their network and lesion. People are drawn among those who are in the same tasks.

    Args:
        networks: scores by (task, lesion), of one network or several.
        terms: what is added, with its weight.
        over: what varies; the rest is taken as it is.
        links: by task, what is done to each network's mean score before it is weighed, such as `d_prime`.
        resamples, seed: the same seed gives the same values.

    Returns:
        (resamples,) values.

    Raises:
        Error: nothing that varies, or what `contrast` refuses.

    Example:
        >>> from facelesion.analysis import PersonScores, Term
        >>> rng = np.random.default_rng(0)
        >>> scores = {("who", "noise"): PersonScores(tuple("abcdefgh"), rng.normal(0.6, 0.1, (5, 8)))}
        >>> resampled(scores, [Term(1, "who", "noise")], ["people"]).shape
        (2000,)
    """
    several = checked_networks(networks, terms)
    if not over:
        raise Error(f"over must name what varies: {', '.join(SOURCES)}")
    for source in over:
        one_of("source of variance", source, SOURCES)
    if resamples < 1:
        raise Error(f"resamples is {resamples}: an interval needs many, such as 2000")
    random = np.random.default_rng(seed)
    weight_of = _people(several, terms, "people" in over, resamples, random)
    drawn: dict[tuple[int, str], NDArray[np.float64]] = {}
    value = np.zeros((len(several), resamples))
    for place, network in enumerate(several):
        for term in terms:
            scores = network[term.task, term.lesion]
            people = np.stack([weight_of[name] for name in scores.people])
            by_draw = (scores.values @ people) / people.sum(0)  # (draws, resamples)
            if (place, term.lesion) not in drawn:
                varies = "draws" in over and not term.fixed
                drawn[place, term.lesion] = _counts(len(by_draw), varies, resamples, random)
            counts = drawn[place, term.lesion]
            if len(counts) != len(by_draw):
                raise Error(
                    f"{term.lesion} has {len(counts)} draws in one task and {len(by_draw)} in another"
                )
            mean = (counts * by_draw).sum(0) / counts.sum(0)
            link = (links or {}).get(term.task)
            value[place] += term.weight * (mean if link is None else link(mean))
    counts = _counts(len(several), "networks" in over, resamples, random)
    return np.asarray((counts * value).sum(0) / counts.sum(0))


def resampled_interval(
    networks: Network | Sequence[Network],
    terms: Sequence[Term],
    over: Sequence[Source] = SOURCES,
    *,
    links: Mapping[str, Link] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of `resampled`, widened for few people, draws or networks.

    Plain percentiles of n values are narrow by sqrt((n - 1) / n) and know no Student's t. The expanded percentiles of
    Hesterberg 2015 (*Am Stat* 69:371–386) mend both; n is one more than the degrees of freedom of `contrast`.

    Args:
        networks, terms, over, links, resamples, seed: as in `resampled`.
        level: confidence.

    Returns:
        The interval; its bounds are not a number where something that varies was seen only once.

    Example:
        >>> from facelesion.analysis import PersonScores, Term
        >>> rng = np.random.default_rng(0)
        >>> scores = {("who", "noise"): PersonScores(tuple("abcdefgh"), rng.normal(0.6, 0.1, (5, 8)))}
        >>> found = resampled_interval(scores, [Term(1, "who", "noise")], ["people"])
        >>> found.low < found.estimate < found.high
        True
    """
    from scipy import stats

    check_level(level)
    several = checked_networks(networks, terms)
    estimate = float(_value(several, terms, links))
    found = contrast(several, terms, over)
    if math.isnan(found.error):
        return Interval(estimate, math.nan, math.nan, level)
    if found.error == 0:
        return Interval(estimate, estimate, estimate, level)
    # Where several sources vary, their number that counts lies between the fewest and all of them (Satterthwaite).
    n = found.freedom + 1
    reach = math.sqrt(n / (n - 1)) * float(stats.t.ppf((1 + level) / 2, found.freedom))
    tail = float(stats.norm.sf(reach))
    values = resampled(several, terms, over, links=links, resamples=resamples, seed=seed)
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), level)


def _value(networks: Sequence[Network], terms: Sequence[Term], links: Mapping[str, Link] | None) -> float:
    total = 0.0
    for network in networks:
        for term in terms:
            mean = np.array([network[term.task, term.lesion].values.mean()])
            link = (links or {}).get(term.task)
            total += term.weight * float((mean if link is None else link(mean))[0])
    return total / len(networks)


def _people(
    networks: Sequence[Network], terms: Sequence[Term], vary: bool, resamples: int, random: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """How often everybody is drawn (resamples,), by name; as often in every task and network."""
    found: dict[str, NDArray[np.float64]] = {}
    for group in shares_of_people(networks, terms):
        found.update(zip(group, _counts(len(group), vary, resamples, random), strict=True))
    return found


def _counts(n: int, vary: bool, resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    """How often each of n is drawn in a resample (n, resamples)."""
    if not vary:
        return np.ones((n, resamples))
    return random.multinomial(n, np.full(n, 1 / n), resamples).T.astype(float)
