"""Memory: a test of 72 items after the Cambridge Face Memory Test (Duchaine & Nakayama 2006)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from facelesion.data.face_memory import ALTERNATIVES, SECTIONS, MemoryTest, build_memory_test
from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.tasks.task import Answers, Healthy, Measure, Task, Trials, forced_choice, margin

CHANCE = 1 / ALTERNATIVES
DAMAGED = "learned under damage"
# Of the grey range: with it the intact built-in network gets about as many of the 24 items under noise as people do.
NOISE = 0.12


@dataclass(frozen=True, eq=False)
class Memory(Task):
    """Which of three faces was learned? Six faces are learned in three pictures each; then 72 times one of three.

    Every item is answered twice: with a memory that was formed before the damage (and without a stimulus), so that
    the damage is to perception alone; and with one that was formed under the very damage and stimulus, so that both
    are damaged. The main measure is the first, over all 72 items.

    Attributes:
        test: the pictures and items.
        identity: module from representation to identity embedding, frozen.
        learned: (P, E) the healthy embedding of the test's pictures.
        rows: (P,) positions of the test's pictures among the images shown.
    """

    test: MemoryTest
    identity: torch.nn.Module
    learned: torch.Tensor
    rows: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "memory"
    question: ClassVar[str] = "Which of three faces is one of the six it has learned?"
    alternatives = ("first", "second", "third")
    measures = (
        Measure("accuracy", "right of 72 items, learned before the damage", CHANCE, 1.0, share=True),
        Measure("same_view", "right of 18 items in a picture that was studied", CHANCE, 1.0, share=True),
        Measure("novel_views", "right of 30 items in a new picture", CHANCE, 1.0, share=True),
        Measure("noise", "right of 24 items in a new picture under noise", CHANCE, 1.0, share=True),
        Measure("accuracy_both_damaged", "right of 72 items, learned under the damage", CHANCE, 1.0, share=True),
    )

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """All pictures of the test, those to learn and those to ask about."""
        return {"memory": _test(cls._pictures(materials), seed).pictures}

    @classmethod
    def fit(cls, healthy: Healthy) -> Memory:
        """Learn the six faces with the healthy network."""
        test = _test(cls._pictures(healthy.materials), healthy.seed)
        names, people = test.pictures.names, test.pictures.labels
        targets = test.items.gather(1, test.answer[:, None]).flatten()
        once = {
            "item": tuple(" | ".join(names[i] for i in row) for row in test.items.tolist()),
            "person": tuple(people[row] for row in targets.tolist()),
            "target": tuple(cls.alternatives[i] for i in test.answer.tolist()),
        }
        sections = tuple(SECTIONS[i] for i in test.section.tolist())
        trials = Trials(
            **{key: values * 2 for key, values in once.items()},
            section=sections + tuple(f"{section}, {DAMAGED}" for section in sections),
        )
        learned = healthy.embedding(test.pictures)
        return cls(test, healthy.identity, learned, healthy.rows("memory"), trials)

    def answer(self, representation: torch.Tensor) -> Answers:
        """The alternative most like a learned face, with the healthy memory and with the damaged one."""
        with torch.no_grad():
            shown = self.identity(representation[self.rows])
        evidence = torch.cat([self.test.evidence(shown, self.learned), self.test.evidence(shown)])
        target = self.test.answer.repeat(2)
        # Rounding must not tell apart what is the same; the first of equal alternatives is taken.
        answers = (evidence >= evidence.amax(1, keepdim=True) - 1e-6).float().argmax(1)
        return Answers(answers, margin(evidence, target), answers == target, forced_choice(evidence, target))

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Shares of right items."""
        right = answers.right.double()
        count = len(self.test.items)
        section = self.test.section
        parts = {
            name: float(right[:count][section == number].mean())
            for number, name in enumerate(("same_view", "novel_views", "noise"))
        }
        whole = float(right[:count].mean())
        return {"accuracy": whole} | parts | {"accuracy_both_damaged": float(right[count:].mean())}

    @staticmethod
    def _pictures(materials: Materials) -> FaceSet:
        if materials.familiar is None:
            raise Error(
                "task memory needs people with eight pictures or more, and this source has none: leave the task out"
            )
        return materials.familiar


@lru_cache(maxsize=2)
def _test(pictures: FaceSet, seed: int) -> MemoryTest:
    return build_memory_test(pictures, seed, NOISE)
