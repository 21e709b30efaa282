"""Verification: the same person or two different ones, among people never seen before?"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from facelesion.errors import FacelesionError
from facelesion.tasks.readouts import unit_vectors
from facelesion.tasks.scores import Score, area_under_curve, yes_no_scores


@dataclass(frozen=True, eq=False)
class Verification:
    """Same or different? The cosine of two embeddings against a threshold fixed on the healthy network.

    Attributes:
        identity: module from representation to identity embedding, frozen.
        threshold: cosines above it mean "the same"; chosen on training pairs.
        first, second: (P,) positions of each pair's pictures among the images shown.
        same: (P,) bool, what is true. Both kinds are needed.

    Raises:
        FacelesionError: pairs of one kind alone.
    """

    identity: torch.nn.Module
    threshold: float
    first: torch.Tensor
    second: torch.Tensor
    same: torch.Tensor
    name: str = "verification"

    def __post_init__(self) -> None:
        if self.same.all() or not self.same.any():
            raise FacelesionError(
                "verification needs pairs of both kinds: with one kind alone any answer is right"
            )

    @classmethod
    def fit(
        cls,
        representation: torch.Tensor,
        training_pairs: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        identity: torch.nn.Module,
        pairs: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> Verification:
        """Choose the threshold on `training_pairs` of the healthy representation (N, D); test on `pairs`.

        Pairs are (first, second, same): two position tensors and a bool tensor.
        """
        first, second, same = training_pairs
        return cls(
            identity, best_threshold(pair_cosines(identity, representation, first, second), same), *pairs
        )

    def cosines(self, representation: torch.Tensor) -> torch.Tensor:
        """The likeness of every pair (P,)."""
        return pair_cosines(self.identity, representation, self.first, self.second)

    def score(self, representation: torch.Tensor) -> tuple[Score, ...]:
        """Scores of a representation (N, D) of all images shown.

        `accuracy` uses the healthy threshold (the damaged network does not know that it is damaged); `auc` needs none.
        """
        cosines = self.cosines(representation)
        area = Score("auc", area_under_curve(cosines, self.same), len(cosines), 0.5)
        return (*yes_no_scores(cosines > self.threshold, self.same), area)


def pair_cosines(
    identity: torch.nn.Module, representation: torch.Tensor, first: torch.Tensor, second: torch.Tensor
) -> torch.Tensor:
    """Cosine (P,) between the embeddings of the pictures at positions `first` and `second`."""
    with torch.no_grad():
        embedding = unit_vectors(identity(representation))
    return (embedding[first] * embedding[second]).sum(1)


def best_threshold(cosines: torch.Tensor, same: torch.Tensor) -> float:
    """The threshold that answers most pairs rightly, both kinds weighing alike; halfway between two cosines.

    Example:
        >>> round(best_threshold(torch.tensor([0.9, 0.7, 0.3]), torch.tensor([True, True, False])), 6)
        0.5
    """
    order = cosines.argsort(descending=True)
    ranked = same[order]
    hits = torch.cat([torch.zeros(1), ranked.cumsum(0) / same.sum()])
    alarms = torch.cat([torch.zeros(1), (~ranked).cumsum(0) / (~same).sum()])
    edges = torch.cat([cosines.new_tensor([1.01]), cosines[order], cosines.new_tensor([-1.01])])
    gain = (hits - alarms).masked_fill(
        edges[:-1] <= edges[1:], -1
    )  # no threshold fits between two equal cosines
    best = int(gain.argmax())
    return float((edges[best] + edges[best + 1]) / 2)


def ten_fold_accuracy(cosines: torch.Tensor, same: torch.Tensor, folds: torch.Tensor) -> tuple[float, float]:
    """LFW's protocol: the threshold is chosen on all folds but one and tried on that one.

    Args:
        cosines: (P,).
        same: (P,) bool.
        folds: (P,) number of each pair's fold.

    Returns:
        Mean accuracy over folds and the standard error of that mean (Huang et al. 2007).
    """
    accuracies = []
    for fold in folds.unique():
        test = folds == fold
        threshold = best_threshold(cosines[~test], same[~test])
        accuracies.append(float(((cosines[test] > threshold) == same[test]).float().mean()))
    values = torch.tensor(accuracies, dtype=torch.float64)
    return float(values.mean()), float(values.std() / len(values) ** 0.5)
