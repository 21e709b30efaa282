"""Likeness: do the pictures lie to one another, stage by stage, as they did in the healthy network?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from facelesion.analysis.likeness import distance_likeness, kernel_alignment, order_kept
from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.tasks.representation import LAST
from facelesion.tasks.task import Answers, Healthy, Look, Measure, Task, Trials

LIKE, UNLIKE = "as in health", "otherwise"
_KINDS = {"rdm": distance_likeness, "cka": kernel_alignment}
_WORDS = {
    "rdm": "rank correlation of the distances between pictures with those in health",
    "cka": "linear centred kernel alignment with health",
}


@dataclass(frozen=True, eq=False)
class Likeness(Task):
    """Do the pictures lie to one another as they did in health, at every stage of the network?

    A trial is a picture at a stage, for each of two likenesses: its row of distances to the other pictures, ranked,
    beside the same row in health (representational similarity, Kriegeskorte, Mur & Bandettini 2008); and its share of
    linear centred kernel alignment (Kornblith et al. 2019), times the number of pictures. So either likeness is the
    mean of its trials. A trial is right if of two other pictures the one that was more like it in health is so more
    often than not. Stages are those of `representation`; what the healthy network makes of the pictures as they are is
    what everything is compared with.

    Attributes:
        healthy: by stage, from early to late, the healthy network's units (M, units) for the intact pictures.
        rows: (M,) positions of the pictures among the images shown.
    """

    healthy: Mapping[str, torch.Tensor]
    rows: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "likeness"
    question: ClassVar[str] = "Do faces lie to one another, stage by stage, as they did in health?"
    alternatives = (LIKE, UNLIKE)

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Pictures of the enrolled people that were not enrolled."""
        return {"probes": materials.probes}

    @classmethod
    def fit(cls, healthy: Healthy) -> Likeness:
        """See how the pictures lie in the healthy network.

        Raises:
            Error: fewer than three pictures.
        """
        if healthy.look is None:
            raise Error("task likeness looks into the network, and here it has only its answers")
        pictures, rows = healthy.materials.probes, healthy.rows("probes")
        if len(rows) < 3:
            raise Error(f"task likeness needs three pictures or more to lie to one another, and there are {len(rows)}")
        units = {**healthy.look.activations(rows), LAST: healthy.representation(pictures)}
        sections = [f"{kind} {stage}" for stage in units for kind in _KINDS]
        return cls(
            units,
            rows,
            Trials(
                item=pictures.names * len(sections),
                person=pictures.labels * len(sections),
                target=(LIKE,) * (len(rows) * len(sections)),
                section=tuple(section for section in sections for _ in rows),
            ),
        )

    @property
    def measures(self) -> tuple[Measure, ...]:  # type: ignore[override]
        """Both likenesses at the end, then at every stage."""
        return tuple(
            Measure(_named(kind, stage), f"{_WORDS[kind]}, of {_told(stage)}", 0.0, 1.0)
            for stage in self._stages
            for kind in _KINDS
        )

    @property
    def _stages(self) -> tuple[str, ...]:
        """The end, which counts most, and then all others from early to late."""
        return (LAST, *(stage for stage in self.healthy if stage != LAST))

    def answer(self, representation: torch.Tensor) -> Answers:
        """None: this task looks into the network."""
        raise Error("task likeness looks into the network: ask it with `ask`")

    def ask(self, representation: torch.Tensor, look: Look) -> Answers:
        """How each picture lies to the others at every stage."""
        seen = {**look.activations(self.rows), LAST: representation[self.rows]}
        values, kept = [], []
        for stage, healthy in self.healthy.items():
            one, two = healthy.double(), seen[stage].double()
            order = order_kept(one, two)
            for likeness in _KINDS.values():
                above, below = likeness(one, two)
                total = below.sum()
                values.append(above * len(above) / total if total > 0 else torch.zeros_like(above))
                kept.append(order)
        value, forced_choice = torch.cat(values).float(), torch.cat(kept).float()
        right = forced_choice > 0.5
        return Answers((~right).long(), value, right, forced_choice)

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Means over pictures."""
        found = answers.value.double().reshape(len(self.healthy), len(_KINDS), len(self.rows)).mean(2)
        line = {stage: number for number, stage in enumerate(self.healthy)}
        return {
            _named(kind, stage): float(found[line[stage], place])
            for stage in self._stages
            for place, kind in enumerate(_KINDS)
        }


def _named(kind: str, stage: str) -> str:
    return kind if stage == LAST else f"{kind}_{stage}"


def _told(stage: str) -> str:
    return "the representation" if stage == LAST else stage
