"""Verification: the same person or two different ones, among people never seen before?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.tasks.readouts import unit_vectors
from facelesion.tasks.scores import YES_NO_MEASURES, area_under_curve, yes_no_scores
from facelesion.tasks.task import Answers, Healthy, Measure, Task, Trials, against_others

SAME, DIFFERENT = "same", "different"
_PAIRS = 8192  # whose vectors lie in memory at once


@dataclass(frozen=True, eq=False)
class Verification(Task):
    """Same or different? The cosine of two embeddings against a threshold fixed on the healthy network.

    Attributes:
        identity: module from representation to identity embedding, frozen.
        threshold: cosines above it mean "the same"; chosen on training pairs.
        first, second: (P,) positions of each pair's pictures among the images shown.
        same: (P,) bool, what is true. Both kinds are needed.

    Raises:
        Error: pairs of one kind alone.
    """

    identity: torch.nn.Module
    threshold: float
    first: torch.Tensor
    second: torch.Tensor
    same: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "verification"
    question: ClassVar[str] = "Do two pictures show the same person? The people are new to it."
    alternatives = (SAME, DIFFERENT)
    measures = (
        Measure("auc", "area under the ROC curve of the likeness", 0.5, 1.0),
        *YES_NO_MEASURES,
    )

    def __post_init__(self) -> None:
        if self.same.all() or not self.same.any():
            raise Error(
                "verification needs pairs of both kinds: with one kind alone any answer is right"
            )

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Pictures of people in no other role."""
        return {"strangers": materials.strangers}

    @classmethod
    def fit(cls, healthy: Healthy) -> Verification:
        """Choose the threshold on training people's pairs; ask about those of the new people."""
        pictures = healthy.materials
        first, second, same = pictures.training_pairs
        embedding = healthy.embedding(pictures.training)
        threshold = best_threshold(pair_cosines(embedding, first, second), same)
        first, second, same = pictures.pairs
        rows = healthy.rows("strangers")
        return cls(
            healthy.identity, threshold, rows[first], rows[second], same,
            pair_trials(pictures.strangers, first, second, same),
        )  # fmt: skip

    def cosines(self, representation: torch.Tensor) -> torch.Tensor:
        """The likeness of every pair (P,)."""
        with torch.no_grad():
            return pair_cosines(self.identity(representation), self.first, self.second)

    def answer(self, representation: torch.Tensor) -> Answers:
        """Same where the cosine is above the healthy threshold: the damaged network does not know of its damage."""
        return same_or_different(self.cosines(representation), self.threshold, self.same)

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Area under the curve, which needs no threshold, and what the fixed threshold gives."""
        evidence = torch.where(self.same, answers.value, -answers.value)
        return {"auc": area_under_curve(evidence, self.same)} | yes_no_scores(evidence > 0, self.same)


def pair_trials(
    pictures: ImageSet, first: torch.Tensor, second: torch.Tensor, same: torch.Tensor, section: tuple[str, ...] = ()
) -> Trials:
    """Pairs of pictures (positions) as trials; the first picture's person is whom answers are clustered by."""
    couples = torch.stack([first, second], 1).tolist()
    return Trials(
        item=tuple(f"{pictures.names[a]} | {pictures.names[b]}" for a, b in couples),
        person=tuple(pictures.labels[a] for a, _ in couples),
        target=tuple(SAME if alike else DIFFERENT for alike in same.tolist()),
        other=tuple(pictures.labels[b] for _, b in couples),
        section=section,
    )


def same_or_different(cosines: torch.Tensor, threshold: float, same: torch.Tensor) -> Answers:
    """Answers to pairs (P,) from their likeness; an answer's value is how far the likeness lies on the right side."""
    above = cosines - threshold
    yes = above > 0
    return Answers((~yes).long(), torch.where(same, above, -above), yes == same, against_others(cosines, same))


def pair_cosines(embedding: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Cosine (P,) between the embeddings (N, E) of the pictures at positions `first` and `second`."""
    vectors = unit_vectors(embedding)
    # Some thousand pairs at a time: all pairs of many pictures would hold two vectors each.
    pieces = zip(first.split(_PAIRS), second.split(_PAIRS), strict=True)
    return torch.cat([(vectors[one] * vectors[other]).sum(1) for one, other in pieces])


def best_threshold(cosines: torch.Tensor, same: torch.Tensor) -> float:
    """The threshold that answers most pairs rightly, both kinds weighing alike; halfway between two cosines.

    Example:
        >>> round(best_threshold(torch.tensor([0.9, 0.7, 0.3]), torch.tensor([True, True, False])), 6)
        0.5
    """
    order = cosines.argsort(descending=True)
    ranked = same[order]
    hits, alarms = ranked.cumsum(0) / same.sum(), (~ranked).cumsum(0) / (~same).sum()
    # A threshold above all cosines, then one below each of them but the last: below that, all are the same again.
    gain = torch.cat([torch.zeros(1), (hits - alarms)[:-1]])
    edges = torch.cat([cosines.new_tensor([1.01]), cosines[order]])
    between = edges[:-1] > edges[1:]  # no threshold fits between two equal cosines
    best = int(gain.where(between, -math.inf).argmax())
    return float((edges[best] + edges[best + 1]) / 2)


def ten_fold_accuracy(cosines: torch.Tensor, same: torch.Tensor, folds: torch.Tensor) -> tuple[float, float]:
    """LFW's protocol: the threshold is chosen on all folds but one and tried on that one.

    Args:
        cosines: (P,).
        same: (P,) bool.
        folds: (P,) number of each pair's fold.

    Returns:
        Mean accuracy over folds and the standard error of that mean (Huang et al. 2007).

    Example:
        >>> same = torch.arange(100) % 2 == 0
        >>> cosines = torch.where(same, 0.8, 0.2)
        >>> ten_fold_accuracy(cosines, same, torch.arange(100) % 10)
        (1.0, 0.0)
    """
    accuracies = []
    for fold in folds.unique():
        test = folds == fold
        threshold = best_threshold(cosines[~test], same[~test])
        accuracies.append(float(((cosines[test] > threshold) == same[test]).float().mean()))
    values = torch.tensor(accuracies, dtype=torch.float64)
    return float(values.mean()), float(values.std() / len(values) ** 0.5)
