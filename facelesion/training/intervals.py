"""Intervals of a share of right answers, over the people who are tested and over draws of the damage.

Answers to pictures of one person hang together, and so do those to objects of one kind: they are drawn again together
(cluster bootstrap, Davison & Hinkley 1997). Pictures with a face and without one are drawn apart, as many of each as
there are. With several draws of the damage, people and draws are drawn again at once, crossed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch


def over_people(
    right: torch.Tensor, people: Sequence[str], kinds: torch.Tensor | None = None, samples: int = 2000
) -> tuple[float, float]:
    """The 95 % interval of a share of right answers.

    Where every answer is the same, nothing varies and the bootstrap says nothing: then it is Wilson's interval (1927)
    for as many answers as there are people.

    Args:
        right: bool (N,), or (D, N) for D draws of the damage.
        people: who (or what kind of thing) is on each picture.
        kinds: int64 (N,), groups that are drawn apart, such as face and no face; one group when left out.
        samples: of the bootstrap, which is seeded.

    Example:
        >>> low, high = over_people(torch.tensor([True, True, False, False]), ["a", "a", "b", "b"])
        >>> low, high
        (0.0, 1.0)
    """
    answers = np.atleast_2d(right.numpy().astype(float))
    groups = np.zeros(answers.shape[1], int) if kinds is None else kinds.numpy()
    if answers.min() == answers.max():
        from scipy.stats import binomtest

        many = len(set(zip(groups.tolist(), people, strict=True)))
        interval = binomtest(int(answers.min()) * many, many).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)
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
