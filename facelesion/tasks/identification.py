"""Identification: who is it, among people the network has been shown?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.tasks.readouts import Prototypes
from facelesion.tasks.task import Answers, Groups, Healthy, Measure, Task, Trials, forced_choice, margin


@dataclass(frozen=True, eq=False)
class Identification(Task):
    """Who is it? The enrolled person whose prototype is nearest by cosine.

    A prototype is the mean of the healthy network's unit embeddings of a person's enrolment pictures: a memory
    formed before the damage.

    Attributes:
        memory: the enrolled people's prototypes.
        identity: module from representation to identity embedding, frozen.
        rows: (M,) positions of the probes among the images shown.
        targets: (M,) which enrolled person each probe shows.
    """

    memory: Prototypes
    identity: torch.nn.Module
    rows: torch.Tensor
    targets: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "identification"
    question: ClassVar[str] = "Which of the people it knows is this?"

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Pictures of the enrolled people that were not enrolled."""
        return {"probes": materials.probes}

    @classmethod
    def fit(cls, healthy: Healthy) -> Identification:
        """Enrol people from the healthy network.

        Raises:
            Error: fewer than two people, or one who is probed and was never enrolled.
        """
        pictures = healthy.materials
        memory = Prototypes.learn(healthy.embedding(pictures.enrolment), pictures.enrolment.labels)
        probes = pictures.probes
        return cls(
            memory,
            healthy.identity,
            healthy.rows("probes"),
            memory.targets(probes.labels),
            Trials(item=probes.names, person=probes.labels, target=probes.labels),
        )

    @property
    def alternatives(self) -> tuple[str, ...]:  # type: ignore[override]
        """The enrolled people."""
        return self.memory.names

    @property
    def measures(self) -> tuple[Measure, ...]:  # type: ignore[override]
        """Accuracy, and whether the right person is among the five nearest."""
        return naming_measures(len(self.memory.names))

    def similarity(self, representation: torch.Tensor) -> torch.Tensor:
        """Cosine of every probe with every prototype (M, people)."""
        with torch.no_grad():
            return self.memory.likeness(self.identity(representation[self.rows]))

    def answer(self, representation: torch.Tensor) -> Answers:
        """The nearest prototype's person."""
        return nearest(self.similarity(representation), self.targets)

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Means over people, so that a constant answer scores one over their number."""
        return naming_scores(answers, self.trials, len(self.memory.names))

    def confusion(self, answers: Answers) -> tuple[tuple[str, ...], torch.Tensor]:
        """Names and counts (people, people): rows who was shown, columns who was named."""
        count = len(self.memory.names)
        cells = torch.bincount(self.targets * count + answers.answer, minlength=count * count)
        return self.memory.names, cells.reshape(count, count)


def nearest(similarity: torch.Tensor, targets: torch.Tensor) -> Answers:
    """Answers of naming by likeness (M, K): the most alike is named, the first of those equally near.

    A network that tells nothing apart always names the first, and so is right about one in K.
    """
    named = similarity.argmax(1)
    return Answers(named, margin(similarity, targets), named == targets, forced_choice(similarity, targets))


def naming_measures(count: int) -> tuple[Measure, ...]:
    """The measures of naming one of `count` people or things."""
    five = Measure("top5_accuracy", "the right name is among the five likeliest", 5 / count, 1.0, share=True)
    return (
        Measure("accuracy", "right names, mean over those shown", 1 / count, 1.0, share=True),
        *((five,) if count >= 10 else ()),
        Measure("forced_choice", "right against one other at a time", 0.5, 1.0, share=True),
    )


def naming_scores(answers: Answers, trials: Trials, count: int) -> dict[str, float]:
    """Values of `naming_measures`: means over the people or things shown."""
    groups = Groups.of(trials.person)
    ahead = (1 - answers.forced_choice) * (count - 1)  # how many are nearer than the target, a tie counting half
    five = {"top5_accuracy": groups.mean(ahead < 4.25)} if count >= 10 else {}
    return {"accuracy": groups.mean(answers.right)} | five | {"forced_choice": groups.mean(answers.forced_choice)}
