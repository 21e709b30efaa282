"""Exemplars: which cup is it? Individual things, asked of as faces are: the control for *who*."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.tasks.identification import naming_measures, naming_scores, nearest
from facelesion.tasks.readouts import Prototypes
from facelesion.tasks.task import Answers, Healthy, Measure, Task, Trials

CATEGORIES = ("car", "chair", "cup", "house")
PER_CATEGORY, ENROLLED, PROBED = 10, 3, 2
_TRAINING_EXEMPLARS, _TRAINING_PICTURES = 40, 4
_RIDGE = 0.1


@dataclass(frozen=True, eq=False)
class Exemplars(Task):
    """Which of forty cars, chairs, cups and houses is it? The enrolled thing whose prototype is nearest.

    As in identification, a prototype is the healthy memory of three pictures, and other pictures are asked about. The
    likeness is the cosine of representations in which the directions that differ between pictures of one thing count
    less: whitened by the covariance within other, training things (within-class covariance normalisation, Hatch,
    Kajarekar & Stolcke 2006), as an identity embedding that was trained on faces does it for faces.

    Attributes:
        memory: the enrolled things' prototypes.
        centre, whitening: (D,), (D, D), what is done to a representation before likeness is measured.
        rows: (M,) positions of the probes among the images shown.
        targets: (M,) which thing each probe shows.
    """

    memory: Prototypes
    centre: torch.Tensor
    whitening: torch.Tensor
    rows: torch.Tensor
    targets: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "exemplars"
    question: ClassVar[str] = "Which of the cars, chairs, cups and houses it knows is this very one?"

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Pictures of things that were enrolled in other pictures."""
        return {"exemplars": _pictures(seed, materials.size)[1]}

    @classmethod
    def fit(cls, healthy: Healthy) -> Exemplars:
        """Learn from other things how pictures of one thing differ; then enrol those that are asked about."""
        enrolment, probes, training = _pictures(healthy.seed, healthy.materials.size)
        centre, whitening = within_class_whitening(healthy.representation(training), training.labels)
        memory = Prototypes.learn(
            (healthy.representation(enrolment) - centre) @ whitening, enrolment.labels
        )
        return cls(
            memory, centre, whitening, healthy.rows("exemplars"), memory.targets(probes.labels),
            Trials(item=probes.names, person=probes.labels, target=probes.labels),
        )  # fmt: skip

    @property
    def alternatives(self) -> tuple[str, ...]:  # type: ignore[override]
        """The enrolled things."""
        return self.memory.names

    @property
    def measures(self) -> tuple[Measure, ...]:  # type: ignore[override]
        """As for identification."""
        return naming_measures(len(self.memory.names))

    def answer(self, representation: torch.Tensor) -> Answers:
        """The nearest prototype's thing."""
        shown = (representation[self.rows] - self.centre) @ self.whitening
        return nearest(self.memory.likeness(shown), self.targets)

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Means over things."""
        return naming_scores(answers, self.trials, len(self.memory.names))


def within_class_whitening(
    representation: torch.Tensor, labels: tuple[str, ...], ridge: float = _RIDGE
) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre (D,) and matrix (D, D) after which pictures of one thing differ alike in all directions.

    Args:
        representation: (N, D) of pictures of things that are not asked about.
        labels: which thing each picture shows; two pictures of each or more.
        ridge: added to the covariance's diagonal, as a share of its mean.
    """
    x = representation.double()
    names = sorted(set(labels))
    who = torch.tensor([names.index(label) for label in labels])
    sums = torch.zeros(len(names), x.shape[1], dtype=x.dtype).index_add_(0, who, x)
    within = x - (sums / torch.bincount(who)[:, None])[who]
    covariance = within.T @ within / len(x)
    diagonal = covariance.diagonal()
    diagonal += ridge * diagonal.mean().clamp_min(1e-12)
    whitening = torch.linalg.inv(torch.linalg.cholesky(covariance)).mT
    return x.mean(0).float(), whitening.float()


@lru_cache(maxsize=2)
def _pictures(seed: int, size: int) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Enrolment, probes, and pictures of other things to learn from."""
    from facelesion.data.objects import builtin_exemplars

    each = ENROLLED + PROBED
    tested = builtin_exemplars(PER_CATEGORY, each, seed * 10 + 4, size, categories=CATEGORIES)
    place = torch.arange(len(tested)) % each
    training = builtin_exemplars(
        _TRAINING_EXEMPLARS, _TRAINING_PICTURES, seed * 10 + 3, size, categories=CATEGORIES
    )
    return (
        tested[torch.nonzero(place < ENROLLED)[:, 0]],
        tested[torch.nonzero(place >= ENROLLED)[:, 0]],
        training,
    )
