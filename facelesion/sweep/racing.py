"""Who of many has the largest mean, without looking at everybody's every value: a race, with a certificate.

A fixed set of images is drawn from without replacement, in one order for all. Whoever has the largest means is looked
at in full, so the level that has to be reached is exact; who is certain to stay below it leaves early. Only a
winner that leaves is an error, so the risk is shared by the winners and the looks, not by everybody.

An expectation of every value (a first-order estimate) carries most of what differs between images. Its mean over all
images is known, so that a sample has to tell only how far it is off (the difference estimator of surveys).

Sources: Maron & Moore 1994 (Hoeffding races), Mnih, Szepesvári & Audibert 2008 (empirical Bernstein stopping),
Kalyanakrishnan et al. 2012 (the top m of several), Bardenet & Maillard 2015 (bounds without replacement), Särndal,
Swensson & Wretman 1992 (difference estimators).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

# Runners and images to the runners' values, float64 (runners, images).
Measure = Callable[[Sequence[int], torch.Tensor], torch.Tensor]

# A first look at fewer images says too little of how much they differ.
FEWEST = 16
# Of the images, at the first look.
FIRST = 1 / 16


@dataclass(frozen=True)
class Raced:
    """The winners of a race.

    Attributes:
        winners: the largest means first; equal ones in rising order.
        means: their means over all images, exact.
        measured: how many values were looked at.
    """

    winners: tuple[int, ...]
    means: tuple[float, ...]
    measured: int


def race(
    measure: Measure,
    expected: torch.Tensor,
    count: int,
    *,
    chance: float,
    order: torch.Tensor,
    span: float | None = None,
) -> Raced:
    """The runners with the largest means.

    Args:
        measure: from runners and image numbers to values.
        expected: float64 (runners, images), what values are expected to be; zeros where nothing is.
        count: how many win.
        chance: the largest probability that one given winner is lost; 0 looks at everything.
        order: int64 (images,), in which order images are looked at: drawn at random, whatever the values are.
        span: largest less smallest difference that there can be between a value and its expectation. With it bounds
            assume nothing; without it they take the mean difference of a sample to be normal.

    Example:
        >>> values = torch.arange(20.0).double()[:, None] + torch.rand(20, 300, dtype=torch.float64)
        >>> found = race(lambda who, rows: values[list(who)][:, rows], torch.zeros(20, 300), 2, chance=0.001,
        ...              order=torch.randperm(300))
        >>> found.winners, found.measured < 2000
        ((19, 18), True)
    """
    runners, images = expected.shape
    values = torch.full((runners, images), torch.nan, dtype=torch.float64)
    whole, racing = torch.zeros(runners, dtype=torch.bool), torch.ones(runners, dtype=torch.bool)
    seen = 0

    def look(who: torch.Tensor, rows: torch.Tensor) -> None:
        values[who[:, None], rows] = measure(who.tolist(), rows)

    def finish(who: torch.Tensor) -> None:
        if len(who) and seen < images:
            look(who, order[seen:])
        whole[who], racing[who] = True, False

    stops = looks(images) if chance > 0 else []
    for stop in stops:
        if not racing.any():
            break
        look(racing.nonzero().flatten(), order[seen:stop])
        seen = stop
        while racing.any():
            who = racing.nonzero().flatten()
            sample = order[:seen]
            middle, upper = bounds(values[who][:, sample], expected[who], sample, chance / len(stops), span)
            exact = values[whole].mean(1)
            racing[who[upper < _level(exact, count)]] = False
            # Who seems to be among the first is looked at in full, which raises the level for all others.
            ahead = who[middle >= _level(torch.cat([exact, middle]), count)]
            ahead = ahead[racing[ahead]]
            if not len(ahead):
                break
            finish(ahead)
    finish(racing.nonzero().flatten())
    known = whole.nonzero().flatten().tolist()
    means = values[whole].mean(1).tolist()
    best = sorted(zip(known, means, strict=True), key=lambda each: (-each[1], each[0]))[:count]
    measured = int((~values.isnan()).sum())
    return Raced(tuple(who for who, _ in best), tuple(mean for _, mean in best), measured)


def looks(images: int) -> list[int]:
    """After how many images bounds are computed: each time twice as many, up to half of all.

    Example:
        >>> looks(600), looks(20)
        ([38, 76, 152], [])
    """
    first = max(FEWEST, math.ceil(FIRST * images))
    return [first * 2**turn for turn in range(64) if 2 * first * 2**turn <= images]


def bounds(
    values: torch.Tensor, expected: torch.Tensor, sample: torch.Tensor, chance: float, span: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimates of means over all images, and what these exceed with no more probability than `chance`.

    Args:
        values: float64 (runners, n), of a sample of the images.
        expected: float64 (runners, N), for all images.
        sample: which images the values are of.
        chance: for each runner.
        span: as for `race`.
    """
    many, images = len(sample), expected.shape[1]
    here = expected[:, sample]
    off = values - here
    middle = expected.mean(1) + off.mean(1)
    if span is not None:
        # Bardenet & Maillard 2015, theorem 4.3.
        doubt = math.log(5 / chance)
        rest = (1 - many / images) * (1 + 1 / many) if 2 * many > images else 1 - (many - 1) / images
        spread = off.std(1, correction=0) * math.sqrt(2 * rest * doubt / many)
        return middle, middle + spread + (7 / 3 + 3 / math.sqrt(2)) * span * doubt / many
    # A sample that happened to hold images to which a unit means little says too little of its spread: what is
    # expected for all images says by how much.
    share = (expected.square().mean(1) / here.square().mean(1)).nan_to_num(1.0, posinf=math.inf)
    spread = off.std(1) * share.clamp_min(1).sqrt() * math.sqrt((1 - many / images) / many)
    spread = torch.where(share.isinf(), math.inf, spread)
    # Rare large values that a sample has missed lower its mean and its spread at once (Johnson 1978; Hall 1992). One
    # that has missed them looks even, so that nobody is taken to be less skewed than all are on average.
    point = _quantile(chance, many - 1)
    apart = off - off.mean(1, keepdim=True)
    skew = (apart.pow(3).mean(1) / apart.square().mean(1).pow(1.5)).nan_to_num(0.0)
    skew = skew.clamp_min(max(0.0, float(skew.mean())))
    return middle, middle + (point + skew * (2 * point**2 + 1) / (6 * math.sqrt(many))) * spread


def _level(means: torch.Tensor, count: int) -> float:
    """What has to be reached to be among the first."""
    return float(means.topk(count).values[-1]) if len(means) >= count else -math.inf


def _quantile(chance: float, freedom: int) -> float:
    """What Student's t exceeds with this probability."""
    from scipy import stats

    return float(stats.t.isf(chance, freedom))
