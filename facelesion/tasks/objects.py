"""Objects: which kind of thing is it? The control task that prosopagnosia spares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from facelesion.tasks.readouts import LinearReadout, fit_linear_readout
from facelesion.tasks.scores import Score


@dataclass(frozen=True, eq=False)
class Objects:
    """Which category? A fixed linear readout of the representation; accuracy is the mean over categories.

    Attributes:
        readout: tells the categories apart, fitted on the healthy network's training images.
        rows: (M,) positions of the trials among the images shown.
        targets: (M,) which category each trial shows.
    """

    readout: LinearReadout
    rows: torch.Tensor
    targets: torch.Tensor
    name: str = "objects"

    @classmethod
    def fit(
        cls,
        representation: torch.Tensor,
        labels: Sequence[str],
        rows: torch.Tensor,
        trials: Sequence[str],
    ) -> Objects:
        """Fit the readout on training images (N, D) of `labels`, for trials at `rows` that show `trials`."""
        readout = fit_linear_readout(representation, labels)
        return cls(readout, rows, readout.targets(trials))

    def score(self, representation: torch.Tensor) -> tuple[Score, ...]:
        """Scores of a representation (N, D) of all images shown."""
        answers = self.readout.logits(representation[self.rows]).argmax(1)
        count = len(self.readout.classes)
        trials = torch.bincount(self.targets, minlength=count)
        right = torch.bincount(self.targets[answers == self.targets], minlength=count)
        accuracy = float((right / trials)[trials > 0].mean())
        return (Score("accuracy", accuracy, len(answers), 1 / count),)
