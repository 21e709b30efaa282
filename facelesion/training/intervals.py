"""Intervals of a share of right answers, over the people who are tested and over draws of the damage.

Answers to pictures of one person hang together, and so do those to objects of one kind: they are drawn again together
(cluster bootstrap, Davison & Hinkley 1997). Pictures with a face and without one are drawn apart, as many of each as
there are. With several draws of the damage, people and draws are drawn again at once, crossed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

_FEW = 5


def over_people(
    right: torch.Tensor, people: Sequence[str], kinds: torch.Tensor | None = None, samples: int = 2000
) -> tuple[float, float]:
    """The 95 % interval of a share of right answers.

    Where fewer than five people (or kinds) have an answer unlike most, the bootstrap says too little of what may come;
    then it is Wilson's interval (1927) for as many answers as there are people.

    Args:
        right: bool (N,), or (D, N) for D draws of the damage.
        people: who (or what kind of thing) is on each picture.
        kinds: int64 (N,), groups that are drawn apart, such as face and no face; one group when left out.
        samples: of the bootstrap, which is seeded.

    Example:
        >>> right = torch.tensor([True, False]).repeat_interleave(60)
        >>> low, high = over_people(right, [f"person {number // 6}" for number in range(120)])
        >>> round(low, 2), round(high, 2)
        (0.3, 0.7)
    """
    answers = np.atleast_2d(right.numpy().astype(float))
    groups = np.zeros(answers.shape[1], int) if kinds is None else kinds.numpy()
    names = np.array([f"{group} {person}" for group, person in zip(groups, people, strict=True)])
    rare = min(len(set(names[(answers == value).any(0)])) for value in (0, 1))
    if rare < _FEW:
        return _wilson(float(answers.mean()), len(set(names)))
    rng = np.random.default_rng(0)
    draws = rng.integers(len(answers), size=(samples, len(answers)))
    weight = np.zeros((samples, len(answers)))
    np.add.at(weight, (np.arange(samples)[:, None], draws), 1 / len(answers))
    shares = np.zeros(samples)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group).tolist()
        shares += (
            len(rows) / len(groups) * _resampled(answers[:, rows], [people[row] for row in rows], weight, rng)
        )
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share among so many independent answers."""
    z = 1.959964
    middle, spread = (
        share + z * z / (2 * count),
        z * math.sqrt(share * (1 - share) / count + (z / count) ** 2 / 4),
    )
    low, high = ((middle + side * spread) / (1 + z * z / count) for side in (-1, 1))
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def _resampled(
    answers: npt.NDArray[np.float64],
    people: Sequence[str],
    weight: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Shares (samples,) with people drawn again, draws of the damage weighted by `weight` (samples, D)."""
    names, who = np.unique(np.asarray(people), return_inverse=True)
    size = np.bincount(who, minlength=len(names))
    total = np.stack([np.bincount(who, weights=row, minlength=len(names)) for row in answers])
    samples = len(weight)
    chosen = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=samples)
    return np.einsum("sd,dp,sp->s", weight, total, chosen) / (chosen @ size)
