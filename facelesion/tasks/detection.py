"""Detection: is there a face?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.tasks.readouts import LinearReadout, fit_linear_readout
from facelesion.tasks.scores import YES_NO_MEASURES, area_under_curve, yes_no_scores
from facelesion.tasks.task import Answers, Healthy, Measure, Task, Trials, against_others

FACE, OTHER = "face", "no face"


@dataclass(frozen=True, eq=False)
class Detection(Task):
    """Is there a face? A fixed linear readout of the representation, asked about faces, objects and scrambled faces.

    Attributes:
        readout: tells `face` from `no face`, fitted on the healthy network's training images.
        rows: (M,) positions of the trials among the images shown.
        is_face: (M,) bool, what each trial shows. Both kinds are needed.

    Raises:
        Error: trials of one kind alone.
    """

    readout: LinearReadout
    rows: torch.Tensor
    is_face: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "detection"
    question: ClassVar[str] = "Is there a face in the picture, or something else?"
    alternatives = (FACE, OTHER)
    measures = (
        Measure("auc", "area under the ROC curve of the evidence for a face", 0.5, 1.0),
        *YES_NO_MEASURES,
    )

    def __post_init__(self) -> None:
        if self.is_face.all() or not self.is_face.any():
            raise Error(
                "detection needs faces and other images: with one kind alone any answer is right"
            )

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Probes and new people; objects and other pictures without a face."""
        shown: dict[str, ImageSet] = {
            "probes": materials.probes,
            "strangers": materials.strangers,
            "objects": materials.objects,
        }
        return shown if materials.others is None else shown | {"others": materials.others}

    @classmethod
    def fit(cls, healthy: Healthy) -> Detection:
        """Fit the readout on training faces against training objects, textures and scrambled faces."""
        pictures = healthy.materials
        shown = cls.shows(pictures, healthy.seed)
        people = len(pictures.probes) + len(pictures.strangers)
        sets = list(shown.values())
        is_face = torch.arange(sum(map(len, sets))) < people
        return cls(
            face_readout(pictures, healthy.representation),
            torch.cat([healthy.rows(role) for role in shown]),
            is_face,
            Trials(
                item=tuple(name for each in sets for name in each.names),
                person=tuple(label for each in sets for label in each.labels),
                target=tuple(FACE if face else OTHER for face in is_face.tolist()),
            ),
        )

    def evidence(self, representation: torch.Tensor) -> torch.Tensor:
        """How much each trial looks like a face (M,): the difference of the two logits."""
        logits = self.readout.logits(representation[self.rows])
        face, other = map(self.readout.classes.index, (FACE, OTHER))
        return logits[:, face] - logits[:, other]

    def answer(self, representation: torch.Tensor) -> Answers:
        """Yes where the evidence is above the healthy criterion."""
        evidence = self.evidence(representation)
        yes = evidence > 0
        return Answers(
            (~yes).long(),
            torch.where(self.is_face, evidence, -evidence),
            yes == self.is_face,
            against_others(evidence, self.is_face),
        )

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Area under the curve, and what the fixed criterion gives."""
        evidence = torch.where(self.is_face, answers.value, -answers.value)
        return {"auc": area_under_curve(evidence, self.is_face)} | yes_no_scores(evidence > 0, self.is_face)

    def confusion(self, answers: Answers) -> tuple[tuple[str, ...], torch.Tensor]:
        """Class names and counts (2, 2): rows what was shown, columns what was answered."""
        yes = answers.answer == 0
        cells = [(a & b).sum() for a in (self.is_face, ~self.is_face) for b in (yes, ~yes)]
        return (FACE, OTHER), torch.stack(cells).reshape(2, 2)


def face_readout(pictures: Materials, representation: Callable[[ImageSet], torch.Tensor]) -> LinearReadout:
    """A readout that tells a face from training objects, textures and scrambled faces, fitted on the healthy network.

    Args:
        pictures: the training faces and other training pictures of a study.
        representation: from pictures to the healthy network's representation (N, D) of them.
    """
    faces = representation(pictures.training)
    others = [representation(each) for each in (pictures.training_objects, pictures.training_others)]
    seen = torch.cat([faces, *others])
    return fit_linear_readout(seen, [FACE] * len(faces) + [OTHER] * (len(seen) - len(faces)))
