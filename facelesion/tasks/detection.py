"""Detection: is there a face?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from facelesion.errors import FacelesionError
from facelesion.tasks.readouts import LinearReadout, fit_linear_readout
from facelesion.tasks.scores import Score, area_under_curve, yes_no_scores

FACE, OTHER = "face", "no face"


@dataclass(frozen=True, eq=False)
class Detection:
    """Is there a face? A fixed linear readout of the representation; accuracy is balanced over the two answers.

    Attributes:
        readout: tells `face` from `no face`, fitted on the healthy network's training images.
        rows: (M,) positions of the trials among the images shown.
        is_face: (M,) bool, what each trial shows. Both kinds are needed.

    Raises:
        FacelesionError: trials of one kind alone.
    """

    readout: LinearReadout
    rows: torch.Tensor
    is_face: torch.Tensor
    name: str = "detection"

    def __post_init__(self) -> None:
        if self.is_face.all() or not self.is_face.any():
            raise FacelesionError(
                "detection needs faces and other images: with one kind alone any answer is right"
            )

    @classmethod
    def fit(
        cls,
        representation: torch.Tensor,
        is_face: Sequence[bool] | torch.Tensor,
        rows: torch.Tensor,
        trials: torch.Tensor,
    ) -> Detection:
        """Fit the readout on training images (N, D) with `is_face` (N,), for trials at `rows`."""
        labels = [FACE if face else OTHER for face in torch.as_tensor(is_face).tolist()]
        return cls(fit_linear_readout(representation, labels), rows, trials)

    def evidence(self, representation: torch.Tensor) -> torch.Tensor:
        """How much each trial looks like a face (M,): the difference of the two logits."""
        logits = self.readout.logits(representation[self.rows])
        face = self.readout.classes.index(FACE)
        return logits[:, face] - logits[:, 1 - face]

    def confusion(self, representation: torch.Tensor) -> tuple[tuple[str, ...], torch.Tensor]:
        """Class names and counts (2, 2): rows what was shown, columns what was answered."""
        answers = self.evidence(representation) > 0
        cells = [(a & b).sum() for a in (self.is_face, ~self.is_face) for b in (answers, ~answers)]
        return (FACE, OTHER), torch.stack(cells).reshape(2, 2)

    def score(self, representation: torch.Tensor) -> tuple[Score, ...]:
        """Scores of a representation (N, D) of all images shown."""
        evidence = self.evidence(representation)
        area = Score("auc", area_under_curve(evidence, self.is_face), len(evidence), 0.5)
        return (*yes_no_scores(evidence > 0, self.is_face), area)
