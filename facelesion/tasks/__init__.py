"""What is asked of a network: tasks with readouts that are fixed before damage, answered trial by trial."""

from facelesion.tasks.attention import Attention
from facelesion.tasks.composite import Composite
from facelesion.tasks.detection import Detection
from facelesion.tasks.exemplars import Exemplars
from facelesion.tasks.identification import Identification
from facelesion.tasks.likeness import Likeness
from facelesion.tasks.memory import Memory
from facelesion.tasks.objects import Objects
from facelesion.tasks.parts import Parts
from facelesion.tasks.readouts import fit_linear_readout
from facelesion.tasks.representation import Representation
from facelesion.tasks.task import (
    Answers,
    Healthy,
    Look,
    Measure,
    Task,
    Trials,
    against_others,
    forced_choice,
    margin,
)
from facelesion.tasks.verification import Verification, ten_fold_accuracy

#: Every task by its name. One more is one line. See docs/extending.md.
TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Detection, Identification, Verification, Objects, Exemplars, Memory, Parts, Composite, Attention,
        Representation, Likeness,
    )  # fmt: skip
}

__all__ = [
    "TASKS", "Answers", "Attention", "Composite", "Detection", "Exemplars", "Healthy", "Identification", "Likeness",
    "Look", "Measure", "Memory", "Objects", "Parts", "Representation", "Task", "Trials", "Verification",
    "against_others", "fit_linear_readout", "forced_choice", "margin", "ten_fold_accuracy",
]  # fmt: skip
