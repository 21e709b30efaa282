"""Identification: who is it, among people the network has been shown?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from facelesion.errors import FacelesionError
from facelesion.tasks.readouts import unit_vectors
from facelesion.tasks.scores import Score


@dataclass(frozen=True, eq=False)
class Identification:
    """Who is it? The enrolled person whose prototype is nearest by cosine.

    A prototype is the mean of the healthy network's unit embeddings of a person's enrolment pictures: a memory
    formed before the damage.

    Attributes:
        people: the enrolled people's names, sorted.
        prototypes: (people, E), unit length.
        identity: module from representation to identity embedding, frozen.
        rows: (M,) positions of the probes among the images shown.
        targets: (M,) which enrolled person each probe shows.
    """

    people: tuple[str, ...]
    prototypes: torch.Tensor
    identity: torch.nn.Module
    rows: torch.Tensor
    targets: torch.Tensor
    name: str = "identification"

    @classmethod
    def fit(
        cls,
        representation: torch.Tensor,
        labels: Sequence[str],
        identity: torch.nn.Module,
        rows: torch.Tensor,
        probes: Sequence[str],
    ) -> Identification:
        """Enrol people from the healthy representation (N, D) of pictures of `labels`; probe with `probes`.

        Raises:
            FacelesionError: fewer than two people, or one who is probed and was never enrolled.
        """
        people = sorted(set(labels))
        if len(people) < 2:
            raise FacelesionError(f"identification needs two people or more, not {len(people)}")
        strangers = sorted(set(probes) - set(people))
        if strangers:
            raise FacelesionError(
                f"{strangers[0]!r} is probed but was never enrolled: give each person pictures for both"
            )
        with torch.no_grad():
            embedding = unit_vectors(identity(representation))
        who = torch.tensor([people.index(label) for label in labels])
        sums = torch.zeros(len(people), embedding.shape[1]).index_add_(0, who, embedding)
        targets = torch.tensor([people.index(label) for label in probes])
        return cls(tuple(people), unit_vectors(sums), identity, rows, targets)

    def similarity(self, representation: torch.Tensor) -> torch.Tensor:
        """Cosine of every probe with every prototype (M, people)."""
        with torch.no_grad():
            return unit_vectors(self.identity(representation[self.rows])) @ self.prototypes.T

    def confusion(self, representation: torch.Tensor) -> tuple[tuple[str, ...], torch.Tensor]:
        """Names and counts (people, people): rows who was shown, columns who was named."""
        answers = self.similarity(representation).argmax(1)
        count = len(self.people)
        cells = torch.bincount(self.targets * count + answers, minlength=count * count)
        return self.people, cells.reshape(count, count)

    def score(self, representation: torch.Tensor) -> tuple[Score, ...]:
        """Scores of a representation (N, D) of all images shown.

        Accuracy is the mean over people, so that a person with many probes counts no more than another and a
        constant answer scores one over their number.
        """
        similarity = self.similarity(representation)
        right = (similarity.argmax(1) == self.targets).float()
        own = similarity.gather(1, self.targets[:, None])
        better = (similarity > own).sum(1)
        ties = (similarity == own).sum(1) - 1
        in_five = (better + ties < 5).float()  # a tie is no knowledge: those beside count as ahead
        n, count = len(right), len(self.people)
        return (
            Score("accuracy", self._mean_over_people(right), n, 1 / count),
            Score("top5_accuracy", self._mean_over_people(in_five), n, min(5 / count, 1.0)),
        )

    def _mean_over_people(self, values: torch.Tensor) -> float:
        trials = torch.bincount(self.targets, minlength=len(self.people))
        sums = torch.zeros(len(self.people)).index_add_(0, self.targets, values)
        return float((sums / trials)[trials > 0].mean())
