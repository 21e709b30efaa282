"""Objects: which kind of thing is it? The control task that prosopagnosia spares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.tasks.identification import nearest
from facelesion.tasks.readouts import LinearReadout, fit_linear_readout
from facelesion.tasks.task import Answers, Groups, Healthy, Measure, Task, Trials


@dataclass(frozen=True, eq=False)
class Objects(Task):
    """Which category? A fixed linear readout of the representation; scores are means over categories.

    Attributes:
        readout: tells the categories apart, fitted on the healthy network's training images.
        rows: (M,) positions of the trials among the images shown.
        targets: (M,) which category each trial shows.
    """

    readout: LinearReadout
    rows: torch.Tensor
    targets: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "objects"
    question: ClassVar[str] = "Which kind of object is this? A control: the damage may be general."

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Pictures of objects, other ones than the readout was fitted on."""
        return {"objects": materials.objects}

    @classmethod
    def fit(cls, healthy: Healthy) -> Objects:
        """Fit the readout on the training objects."""
        training, shown = healthy.materials.training_objects, healthy.materials.objects
        readout = fit_linear_readout(healthy.representation(training), training.labels)
        return cls(
            readout, healthy.rows("objects"), readout.targets(shown.labels),
            Trials(item=shown.names, person=shown.labels, target=shown.labels),
        )  # fmt: skip

    @property
    def alternatives(self) -> tuple[str, ...]:  # type: ignore[override]
        """The categories."""
        return self.readout.classes

    @property
    def measures(self) -> tuple[Measure, ...]:  # type: ignore[override]
        """Accuracy, and forced choice between two categories."""
        chance = 1 / len(self.readout.classes)
        return (
            Measure("accuracy", "right categories, mean over categories", chance, 1.0, share=True),
            Measure("forced_choice", "right against one other at a time", 0.5, 1.0, share=True),
        )

    def answer(self, representation: torch.Tensor) -> Answers:
        """The category with the largest logit."""
        return nearest(self.readout.logits(representation[self.rows]), self.targets)

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Means over categories."""
        groups = Groups.of(self.trials.person)
        return {
            "accuracy": groups.mean(answers.right),
            "forced_choice": groups.mean(answers.forced_choice),
        }
