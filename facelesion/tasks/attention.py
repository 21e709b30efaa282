"""Attention: where in the face does the evidence for who it is lie, and does it stay there?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from facelesion.analysis.evidence import evidence_shares
from facelesion.analysis.gradcam import likeness_score
from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.faces.division import PARTS, divided
from facelesion.tasks.readouts import Prototypes
from facelesion.tasks.task import Answers, Groups, Healthy, Look, Measure, Task, Trials

MORE, LESS = "more", "less"


@dataclass(frozen=True, eq=False)
class Attention(Task):
    """Does each part of the face carry more of the evidence than its size, as it did in health?

    The evidence is Grad-CAM's (Selvaraju et al. 2017) at the last of the late layers, for the likeness of one picture
    of each enrolled person to their healthy prototype. Each part of each picture is a trial: its share of the map, less
    its share of the picture.

    Attributes:
        memory: the enrolled people's prototypes.
        identity: module from representation to identity embedding, frozen.
        rows: (M,) positions of the pictures among the images shown.
        people: (M,) whose they are, as positions in the memory.
        healthy: float (M, parts), the healthy network's shares of the intact pictures; the parts' areas where a map has
            no evidence.
        area: float (M, parts), the parts' shares of the intact pictures.
    """

    memory: Prototypes
    identity: torch.nn.Module
    rows: torch.Tensor
    people: torch.Tensor
    healthy: torch.Tensor
    area: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "attention"
    question: ClassVar[str] = "Which parts of the face does the evidence for who it is lie on?"
    looks = "maps"
    alternatives = (MORE, LESS)

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Pictures of the enrolled people that were not enrolled."""
        return {"probes": materials.probes}

    @classmethod
    def looked_at(cls, materials: Materials) -> int:
        """One picture of each enrolled person."""
        return len(set(materials.probes.labels))

    @classmethod
    def fit(cls, healthy: Healthy) -> Attention:
        """Enrol people from the healthy network, and see where its evidence lies.

        Raises:
            Error: a network without a layer whose output is a map.
        """
        if healthy.look is None:
            raise Error("task attention looks into the network, and here it has only its answers")
        pictures = healthy.materials
        memory = Prototypes.learn(healthy.embedding(pictures.enrolment), pictures.enrolment.labels)
        first: dict[str, int] = {}
        for row, person in enumerate(pictures.probes.labels):
            first.setdefault(person, row)
        names = [pictures.probes.names[row] for row in first.values()]
        rows = healthy.rows("probes")[list(first.values())]
        people = memory.targets(list(first))
        share, area = _lying(memory, healthy.identity, rows, people, healthy.look)
        share = torch.where(share.isnan(), area, share)
        return cls(
            memory, healthy.identity, rows, people, share, area,
            Trials(
                item=tuple(name for name in names for _ in PARTS),
                person=tuple(person for person in first for _ in PARTS),
                target=tuple(MORE if more else LESS for more in (share > area).flatten().tolist()),
                section=PARTS * len(names),
            ),
        )  # fmt: skip

    @property
    def measures(self) -> tuple[Measure, ...]:  # type: ignore[override]
        """How alike the evidence lies, then its share on each part; their chance is evidence spread evenly."""
        area, even = self.area.mean(0).tolist(), float(self._overlap(self.area))
        return (
            Measure("agreement", "parts with more or less evidence than their size as in health", 0.5, 1.0, share=True),
            Measure("overlap", "share of the evidence that lies where it lay in health", even, 1.0),
            *(
                Measure(part, f"share of the evidence on {part.replace('_', ' ')}", area[place], 1.0, better="")
                for place, part in enumerate(PARTS)
            ),
            Measure("evident", "pictures whose map has any evidence", 0.0, 1.0, share=True),
        )  # fmt: skip

    def answer(self, representation: torch.Tensor) -> Answers:
        """None: this task looks into the network."""
        raise Error("task attention looks into the network: ask it with `ask`")

    def ask(self, representation: torch.Tensor, look: Look) -> Answers:
        """Whether each part has more or less than its size; neither where a map has no evidence."""
        share, _ = _lying(self.memory, self.identity, self.rows, self.people, look)
        excess = torch.where(share.isnan(), 0.0, share - self.area)
        value = self._as_in_health(excess).flatten()
        right = value > 0
        answer = (right != self._more.flatten()).long()  # more, where more is right or less is wrong
        return Answers(answer, value, right, torch.where(value == 0, 0.5, right.float()))

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Means over people; the evidence of a map that has none counts as spread evenly."""
        excess = self._as_in_health(answers.value.reshape(self.area.shape))
        share = excess + self.area
        spread, evident = share.mean(0).tolist(), (excess != 0).any(1)
        return {
            "agreement": Groups.of(self.trials.person).mean(answers.forced_choice),
            "overlap": float(self._overlap(share)),
            **{part: spread[place] for place, part in enumerate(PARTS)},
            "evident": float(evident.float().mean()),
        }

    @property
    def _more(self) -> torch.Tensor:
        """bool (M, parts), where the healthy network has more evidence than the part's size."""
        return self.healthy > self.area

    def _as_in_health(self, excess: torch.Tensor) -> torch.Tensor:
        """What is above a part's size (M, parts), turned round where in health it is below; done twice, as it was."""
        return torch.where(self._more, excess, -excess)

    def _overlap(self, share: torch.Tensor) -> torch.Tensor:
        return torch.minimum(share, self.healthy).sum(1).mean()


def _lying(
    memory: Prototypes, identity: torch.nn.Module, rows: torch.Tensor, people: torch.Tensor, look: Look
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares of the evidence and of the area (M, parts) of pictures of these people."""
    maps = look.maps(lambda chosen: likeness_score(memory.vectors, people[chosen], identity), rows)
    found = evidence_shares(maps, divided(look.landmarks(rows), *maps.shape[1:]))
    return found.share, found.area
