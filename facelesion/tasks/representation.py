"""Representation: at which stage of the network can identity still be read out?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.tasks.exemplars import within_class_whitening
from facelesion.tasks.identification import nearest
from facelesion.tasks.readouts import Prototypes
from facelesion.tasks.task import Answers, Groups, Healthy, Look, Measure, Task, Trials

LAST = "representation"


@dataclass(frozen=True, eq=False)
class Stage:
    """One place of the healthy network, with a readout of identity.

    Attributes:
        centre, whitening: (units,), (units, units), after which pictures of one person differ alike in all directions;
            learned from people who train readouts.
        memory: the enrolled people's prototypes after that.
    """

    centre: torch.Tensor
    whitening: torch.Tensor
    memory: Prototypes

    def likeness(self, seen: torch.Tensor) -> torch.Tensor:
        """Cosine of what is seen (M, units) with every prototype (M, people)."""
        return self.memory.likeness((seen - self.centre) @ self.whitening)


@dataclass(frozen=True, eq=False)
class Representation(Task):
    """Who is it, read out linearly at every stage?

    Stages are the last places of every resolution, each unit averaged over the picture, and the representation. At
    each, identity is read by a linear discriminant that is fixed in health (within-class covariance normalisation,
    Hatch, Kajarekar & Stolcke 2006).

    Attributes:
        stages: by name, from early to late; `representation` is the last.
        rows: (M,) positions of the probes among the images shown.
        targets: (M,) which enrolled person each probe shows.
    """

    stages: Mapping[str, Stage]
    rows: torch.Tensor
    targets: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "representation"
    question: ClassVar[str] = "At which stage can it still be read who this is?"
    looks = "activations"

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Pictures of the enrolled people that were not enrolled."""
        return {"probes": materials.probes}

    @classmethod
    def looked_at(cls, materials: Materials) -> int:
        """All of the same."""
        return len(materials.probes)

    @classmethod
    def fit(cls, healthy: Healthy) -> Representation:
        """Enrol people at every stage of the healthy network."""
        if healthy.look is None:
            raise Error("task representation looks into the network, and here it has only its answers")
        pictures, look = healthy.materials, healthy.look
        enrolment, training = (
            {**look.activations_of(each.images), LAST: healthy.representation(each)}
            for each in (pictures.enrolment, pictures.training)
        )
        stages = {}
        for name, units in training.items():
            centre, whitening = within_class_whitening(units, pictures.training.labels)
            memory = Prototypes.learn((enrolment[name] - centre) @ whitening, pictures.enrolment.labels)
            stages[name] = Stage(centre, whitening, memory)
        people = pictures.probes.labels
        names = list(stages)
        targets = stages[LAST].memory.targets(people)
        return cls(
            stages,
            healthy.rows("probes"),
            targets,
            Trials(
                item=pictures.probes.names * len(names),
                person=people * len(names),
                target=people * len(names),
                section=tuple(name for name in names for _ in people),
            ),
        )

    @property
    def alternatives(self) -> tuple[str, ...]:  # type: ignore[override]
        """The enrolled people."""
        return self.stages[LAST].memory.names

    @property
    def measures(self) -> tuple[Measure, ...]:  # type: ignore[override]
        """Identity at the end, then at every stage."""
        chance = 1 / len(self.alternatives)
        said = "right names by a linear readout of"
        stages = [name for name in self.stages if name != LAST]
        return (
            Measure("accuracy", f"{said} the representation", chance, 1.0, share=True),
            *(Measure(f"identity_{name}", f"{said} {name}", chance, 1.0, share=True) for name in stages),
        )

    def answer(self, representation: torch.Tensor) -> Answers:
        """None: this task looks into the network."""
        raise Error("task representation looks into the network: ask it with `ask`")

    def ask(self, representation: torch.Tensor, look: Look) -> Answers:
        """Whose prototype is nearest at every stage."""
        seen = {**look.activations(self.rows), LAST: representation[self.rows]}
        answers = [nearest(stage.likeness(seen[name]), self.targets) for name, stage in self.stages.items()]
        return Answers(
            *(
                torch.cat([getattr(answer, each) for answer in answers])
                for each in ("answer", "value", "right", "forced_choice")
            )
        )

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Means over people."""
        groups = Groups.of(self.trials.person[: len(self.rows)])
        right = answers.right.reshape(len(self.stages), len(self.rows))
        shares = {name: groups.mean(right[number]) for number, name in enumerate(self.stages)}
        return {"accuracy": shares.pop(LAST)} | {f"identity_{name}": share for name, share in shares.items()}
