"""What is asked of a network: tasks with readouts that are fixed before damage, and their scores."""

from typing import Protocol

import torch

from facelesion.tasks.detection import Detection
from facelesion.tasks.identification import Identification
from facelesion.tasks.objects import Objects
from facelesion.tasks.scores import Score
from facelesion.tasks.verification import Verification, ten_fold_accuracy


class Task(Protocol):
    """A question with a fixed readout: a representation of all images shown goes in, scores come out."""

    @property
    def name(self) -> str:
        """What the task is called in the table."""

    def score(self, representation: torch.Tensor) -> tuple[Score, ...]:
        """Scores of a representation (N, D) of all images shown."""


__all__ = ["Detection", "Identification", "Objects", "Score", "Task", "Verification", "ten_fold_accuracy"]
