"""Scores of yes/no answers: area under the curve, hits, false alarms, sensitivity."""

from __future__ import annotations

import torch
from scipy.special import ndtri

from facelesion.tasks.task import Measure

#: What `yes_no_scores` gives. A hit rate has no chance level of its own: always saying yes makes it 1.
YES_NO_MEASURES = (
    Measure("accuracy", "right answers at the healthy criterion, both kinds weighing alike", 0.5, 1.0, share=True),
    Measure("hit_rate", "yes where yes is right", better="", share=True),
    Measure("false_alarm_rate", "yes where no is right", better="", share=True),
    Measure("d_prime", "sensitivity d′", 0.0),
)


def area_under_curve(scores: torch.Tensor, positive: torch.Tensor) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Args:
        scores: (N,) higher means more likely positive.
        positive: (N,) bool, with both kinds.

    Example:
        >>> area_under_curve(torch.tensor([0.9, 0.4, 0.4, 0.1]), torch.tensor([True, True, False, False]))
        0.875
    """
    _, place, many = torch.unique(scores.double(), return_inverse=True, return_counts=True)
    many = many.double()
    ranks = (many.cumsum(0) - (many - 1) / 2)[place]  # from 1; ties have their mean
    count, others = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def yes_no_scores(answers: torch.Tensor, positive: torch.Tensor) -> dict[str, float]:
    """Scores of yes/no answers: accuracy balanced over the two kinds, hits, false alarms and d′.

    d′ = z(hits) - z(false alarms). One trial is shared out over the four cells in proportion to the two kinds' numbers,
    so that it stays finite and a constant answer has exactly none (the log-linear rule, Hautus 1995, which adds half
    a trial to each cell when the kinds are equally many).

    Args:
        answers: (N,) bool, what was answered.
        positive: (N,) bool, what was true.

    Example:
        >>> yes_no_scores(torch.tensor([True, True, False, False]), torch.tensor([True, True, True, False]))["hit_rate"]
        0.6666666666666666
    """
    hits, yes = int((answers & positive).sum()), int(positive.sum())
    alarms, no = int((answers & ~positive).sum()), int((~positive).sum())
    hit_rate, alarm_rate = hits / yes, alarms / no
    added = 1 / (yes + no)
    sensitivity = ndtri((hit_rate + added) / (1 + 2 * added)) - ndtri((alarm_rate + added) / (1 + 2 * added))
    return {
        "accuracy": (hit_rate + 1 - alarm_rate) / 2,
        "hit_rate": hit_rate,
        "false_alarm_rate": alarm_rate,
        "d_prime": float(sensitivity),
    }
