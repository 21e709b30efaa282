"""Scores: one number a task gives, with what guessing would give beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import norm, rankdata


@dataclass(frozen=True)
class Score:
    """A metric's value over `n` trials, and what a constant or random answer scores."""

    metric: str
    value: float
    n: int
    chance: float


def area_under_curve(scores: torch.Tensor, positive: torch.Tensor) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Args:
        scores: (N,) higher means more likely positive.
        positive: (N,) bool, with both kinds.

    Example:
        >>> area_under_curve(torch.tensor([0.9, 0.4, 0.4, 0.1]), torch.tensor([True, True, False, False]))
        0.875
    """
    ranks = rankdata(scores.double().numpy())
    yes = positive.numpy()
    count, others = int(yes.sum()), int((~yes).sum())
    return float((ranks[yes].sum() - count * (count + 1) / 2) / (count * others))


def yes_no_scores(answers: torch.Tensor, positive: torch.Tensor) -> tuple[Score, ...]:
    """Scores of yes/no answers: accuracy balanced over the two kinds, hits, false alarms and d′.

    d′ = z(hits) - z(false alarms). One trial is shared out over the four cells in proportion to the two kinds' numbers,
    so that it stays finite and a constant answer has exactly none (the log-linear rule, Hautus 1995, which adds half
    a trial to each cell when the kinds are equally many).

    Args:
        answers: (N,) bool, what was answered.
        positive: (N,) bool, what was true.
    """
    hits, yes = int((answers & positive).sum()), int(positive.sum())
    alarms, no = int((answers & ~positive).sum()), int((~positive).sum())
    hit_rate, alarm_rate = hits / yes, alarms / no
    added = 1 / (yes + no)
    sensitivity = norm.ppf((hit_rate + added) / (1 + 2 * added)) - norm.ppf(
        (alarm_rate + added) / (1 + 2 * added)
    )
    return (
        Score("accuracy", (hit_rate + 1 - alarm_rate) / 2, yes + no, 0.5),
        Score("hit_rate", hit_rate, yes, 0.5),
        Score("false_alarm_rate", alarm_rate, no, 0.5),
        Score("d_prime", float(sensitivity), yes + no, 0.0),
    )
