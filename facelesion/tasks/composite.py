"""Composite: are the upper halves of two faces the same, whatever the lower halves are? (Young et al. 1987.)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from facelesion.data.imagesets import FaceSet, ImageSet, eight_bits
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.faces.stimuli import Composite as CompositeStimulus
from facelesion.tasks.task import Answers, Healthy, Measure, Task, Trials
from facelesion.tasks.verification import best_threshold, pair_cosines, pair_trials, same_or_different

ALIGNED, MISALIGNED = "aligned", "misaligned"
_SHIFT = 0.5  # of the face's width
_PEOPLE = 24


@dataclass(frozen=True, eq=False)
class Composite(Task):
    """Are the upper halves the same person's? Every face shown has the lower half of another person.

    A pair shows two pictures of one person's upper half, or the upper halves of two people; all lower halves differ.
    Where faces are seen as wholes, two equal upper halves look different when a lower half is aligned with them, and
    less so when it is shifted aside: `holistic_effect` is that difference, on pairs of the same upper half.

    Attributes:
        identity: module from representation to identity embedding, frozen.
        threshold: cosines above it mean "the same"; chosen on composites of training people.
        first, second: (P,) positions of each pair's pictures among the images shown; aligned pairs first.
        same: (P,) bool, whether the upper halves are of one person.
    """

    identity: torch.nn.Module
    threshold: float
    first: torch.Tensor
    second: torch.Tensor
    same: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "composite"
    question: ClassVar[str] = "Do two faces have the same upper half? Their lower halves are other people's."
    alternatives = ("same", "different")
    measures = (
        Measure("accuracy", "right answers, both kinds of pairs weighing alike", 0.5, 1.0, share=True),
        Measure("accuracy_aligned", "right answers where the halves are aligned", 0.5, 1.0, share=True),
        Measure("accuracy_misaligned", "right answers where they are not", 0.5, 1.0, share=True),
        Measure("holistic_effect", "same upper halves known as such, misaligned less aligned", 0.0, better=""),
    )

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Composites of the enrolled people's probes."""
        return {"composites": _composites(materials.probes)[0]}

    @classmethod
    def fit(cls, healthy: Healthy) -> Composite:
        """Choose the threshold on composites of training people, aligned and misaligned."""
        training, first, second, same = _composites(healthy.materials.training)
        threshold = best_threshold(pair_cosines(healthy.embedding(training), first, second), same)
        shown, first, second, same = _composites(healthy.materials.probes)
        rows = healthy.rows("composites")
        section = (ALIGNED,) * (len(same) // 2) + (MISALIGNED,) * (len(same) // 2)
        return cls(
            healthy.identity, threshold, rows[first], rows[second], same,
            pair_trials(shown, first, second, same, section),
        )  # fmt: skip

    def answer(self, representation: torch.Tensor) -> Answers:
        """Same where the likeness of the two faces is above the healthy threshold."""
        with torch.no_grad():
            cosines = pair_cosines(self.identity(representation), self.first, self.second)
        halves = [
            same_or_different(cosines[part], self.threshold, self.same[part])
            for part in (self._aligned, ~self._aligned)
        ]
        return Answers(
            *(
                torch.cat([getattr(half, name) for half in halves])
                for name in ("answer", "value", "right", "forced_choice")
            )
        )

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Balanced accuracies, and the effect on pairs with the same upper half."""
        aligned, right = self._aligned, answers.right.double()

        def share(chosen: torch.Tensor) -> float:
            return float(right[chosen].mean())

        def accuracy(chosen: torch.Tensor) -> float:
            return (share(chosen & self.same) + share(chosen & ~self.same)) / 2

        return {
            "accuracy": (accuracy(aligned) + accuracy(~aligned)) / 2,
            "accuracy_aligned": accuracy(aligned),
            "accuracy_misaligned": accuracy(~aligned),
            "holistic_effect": share(~aligned & self.same) - share(aligned & self.same),
        }

    @property
    def _aligned(self) -> torch.Tensor:
        """(P,) bool, which pairs are; they come first."""
        return torch.tensor([section == ALIGNED for section in self.trials.section])


@lru_cache(maxsize=2)
def _composites(faces: FaceSet) -> tuple[FaceSet, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Composites of people with two pictures, and pairs of them (positions): aligned ones first, then misaligned.

    Person i's first and second picture get the lower halves of the next and the next but one person. Same: both
    pictures of i; different: the first of i with the second of the third after i.
    """
    members: dict[str, list[int]] = {}
    for row, person in enumerate(faces.labels):
        members.setdefault(person, []).append(row)
    able = [rows for rows in members.values() if len(rows) >= 2][:_PEOPLE]
    count = len(able)
    if count < 4:
        raise Error(
            f"task composite needs four people with two pictures each, there are {count}: add probe pictures"
        )
    upper = torch.tensor([rows[k] for k in (0, 1) for rows in able])
    lower = torch.tensor([able[(i + step) % count][0] for step in (1, 2) for i in range(count)])
    images, landmarks = faces.images[upper].float() / 255, faces.landmarks[upper]
    others = (faces.images[lower].float() / 255, faces.landmarks[lower])
    made = [
        CompositeStimulus(misalign=shift)(images, landmarks, others=others) for shift in (0.0, _SHIFT)
    ]
    names = [f"{faces.names[a]} over {faces.names[b]}" for a, b in torch.stack([upper, lower], 1).tolist()]
    composites = FaceSet(
        eight_bits(torch.cat(made)),
        tuple(faces.labels[int(row)] for row in upper) * 2,
        tuple(names) + tuple(f"{name}, {MISALIGNED}" for name in names),
        torch.cat([landmarks, landmarks]),
    )
    at = torch.arange(len(composites)).view(2, 2, count)  # aligned or not, first picture or second, person
    first = at[:, 0].repeat(1, 2)
    second = torch.cat([at[:, 1], at[:, 1].roll(-3, 1)], 1)
    same = torch.arange(2 * count) < count
    return composites, first.flatten(), second.flatten(), same.repeat(2)
