"""A face memory test of 72 items after the Cambridge Face Memory Test (Duchaine & Nakayama 2006).

Six faces are learned, three pictures of each. Then 72 times, three faces are shown and one of them was
learned: 18 times in a picture that was studied, 30 times in a new picture, 24 times in a new picture under
noise. People know 58 of 72 (upright), 42 (inverted); prosopagnosics 37; guessing gives 24. The original's
photographs and its exact views are
not used: a test is built here from any set with enough pictures of each person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.errors import Error

TARGETS, STUDIED, ALTERNATIVES = 6, 3, 3
SECTIONS = ("same view", "novel views", "noise")
ITEMS_PER_TARGET = (3, 5, 4)
ITEMS = TARGETS * sum(ITEMS_PER_TARGET)
PICTURES_NEEDED = STUDIED + ITEMS_PER_TARGET[1]

# Mean correct answers of 72 (Duchaine & Nakayama 2006): 50 people upright, people inverted, 8 prosopagnosics
# upright.
HUMAN_MEANS: Mapping[str, int] = MappingProxyType({"upright": 58, "inverted": 42, "prosopagnosics": 37})
CHANCE = ITEMS // ALTERNATIVES


@dataclass(frozen=True)
class MemoryScore:
    """What was answered.

    Attributes:
        correct: right answers of 72.
        by_section: right answers of 18 (same view), 30 (novel views), 24 (noise).
        answers: (72,) the chosen alternative of each item.
    """

    correct: int
    by_section: Mapping[str, int]
    answers: torch.Tensor


@dataclass(frozen=True)
class MemoryTest:
    """The test as a value: its pictures, and who is shown when, as positions in them.

    Attributes:
        pictures: all pictures of the test, the noisy ones made; a `FaceSet` when built from one, so that
            stimuli such as inversion can be put on them. Names of noisy copies end in `+noise`.
        study: (6, 3) the studied pictures of each target.
        items: (72, 3) the alternatives of each item.
        answer: (72,) which alternative is the target, each of the three 24 times.
        target: (72,) which of the six it is.
        section: (72,) 0 same view, 1 novel views, 2 noise.

    Example:
        >>> import torch
        >>> people = tuple(f"person-{i // 12}" for i in range(12 * 12))
        >>> names = tuple(map(str, range(len(people))))
        >>> faces = ImageSet(torch.zeros(len(people), 3, 16, 16, dtype=torch.uint8), people, names)
        >>> test = build_memory_test(faces, seed=1)
        >>> tuple(test.items.shape), test.score(torch.zeros(len(test.pictures), 4)).correct
        ((72, 3), 24)
    """

    pictures: ImageSet
    study: torch.Tensor
    items: torch.Tensor
    answer: torch.Tensor
    target: torch.Tensor
    section: torch.Tensor

    def score(self, embeddings: torch.Tensor, memory: torch.Tensor | None = None) -> MemoryScore:
        """Answer every item from embeddings.

        A target is remembered as the mean of its studied pictures' unit embeddings. In the first section, as
        in the original, one target is learned and asked about at once, so the alternative most like that
        target is chosen; in the others, the alternative most like any of the six.

        Args:
            embeddings: (M, E), of `pictures` in their order; likeness is the cosine.
            memory: (M, E) embeddings that the targets were learned with, where that was before the damage;
                the same as `embeddings` when left out.

        Returns:
            The answers. Among equally likely alternatives the first is taken: a network that sees no
            difference gets 24 of 72, as guessing does.

        Raises:
            Error: embeddings that are not one row for each of the test's pictures.
        """
        evidence = self.evidence(embeddings, memory)
        # Rounding must not tell apart what is the same.
        answers = (evidence >= evidence.amax(1, keepdim=True) - 1e-6).float().argmax(1)
        right = answers == self.answer
        by_section = {name: int(right[self.section == i].sum()) for i, name in enumerate(SECTIONS)}
        return MemoryScore(int(right.sum()), MappingProxyType(by_section), answers)

    def evidence(self, embeddings: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        """How much each alternative of each item looks like one that was learned (72, 3); arguments as for `score`."""
        for given in (embeddings, embeddings if memory is None else memory):
            if given.ndim != 2 or len(given) != len(self.pictures):
                raise Error(
                    f"memory test: embeddings of all {len(self.pictures)} pictures (M, E) are needed, not"
                    f" {tuple(given.shape)}"
                )
        shown, learned = _unit(embeddings), _unit(embeddings if memory is None else memory)
        remembered = _unit(learned[self.study].mean(1))
        likeness = shown[self.items] @ remembered.T
        own = likeness.gather(2, self.target[:, None, None].expand(-1, ALTERNATIVES, 1))[..., 0]
        return torch.where(self.section[:, None] == 0, own, likeness.amax(2))

    def manifest(self) -> dict[str, Any]:
        """What a result has to say about the test."""
        return {
            "targets": [self.pictures.labels[int(row)] for row in self.study[:, 0]],
            "pictures": len(self.pictures),
            "digest": self.pictures.digest,
        }


def build_memory_test(faces: ImageSet, seed: int = 0, noise: float = 0.2) -> MemoryTest:
    """Build the test from pictures of people.

    Targets need 8 pictures each (3 studied, 5 new); with 12 the noise section has pictures of its own, else
    it takes the new ones again. At least two other people are needed to choose between; with few, their
    pictures come often. The two wrong alternatives are two other people, the least shown so far, and, for a
    `FaceSet`, in the picture whose landmarks are nearest to the target's: the same view, as in the original.

    Args:
        faces: labels are the people.
        seed: of the choice of people, pictures, order of alternatives and noise.
        noise: standard deviation of the Gaussian noise as a fraction of the grey range.

    Raises:
        Error: fewer than six people with 8 pictures, or fewer than two others.

    Example:
        >>> from facelesion.data import FaceSpace
        >>> test = build_memory_test(FaceSpace.load().draw(people=8, pictures=8, seed=1), seed=1)
        >>> tuple(test.items.shape)
        (72, 3)
    """
    generator = torch.Generator().manual_seed(seed)
    members: dict[str, list[int]] = {}
    for row in torch.randperm(len(faces), generator=generator).tolist():
        members.setdefault(faces.labels[row], []).append(row)
    able = sorted(person for person, rows in members.items() if len(rows) >= PICTURES_NEEDED)
    if len(able) < TARGETS:
        raise Error(
            f"memory test: {TARGETS} people with {PICTURES_NEEDED} pictures each are needed, {len(able)} have so many:"
            " add pictures"
        )
    if len(members) < TARGETS + ALTERNATIVES - 1:
        raise Error(
            f"memory test: {TARGETS} people to know and {ALTERNATIVES - 1} others are needed, not {len(members)}"
        )
    targets = [able[i] for i in torch.randperm(len(able), generator=generator)[:TARGETS].tolist()]
    asked = [_asked_rows(members[person]) for person in targets]
    others = {person: rows for person, rows in sorted(members.items()) if person not in targets}
    views = _views(faces)

    used: dict[int, int] = {}
    shown: dict[str, int] = dict.fromkeys(others, 0)
    items, target, section = [], [], []
    for part in range(len(SECTIONS)):
        plan = [(t, row) for t in range(TARGETS) for row in asked[t][part]]
        order = range(len(plan)) if part == 0 else torch.randperm(len(plan), generator=generator).tolist()
        for t, row in (plan[i] for i in order):
            wrong = _distractors(row, others, used, shown, views)
            items.append([row, *wrong])
            target.append(t)
            section.append(part)
    return _assemble(
        faces,
        torch.tensor([members[person][:STUDIED] for person in targets]),
        torch.tensor(items),
        torch.tensor(target),
        torch.tensor(section),
        noise,
        generator,
    )


def _asked_rows(rows: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Which of a target's pictures each section shows."""
    fresh = rows[STUDIED:]
    novel = fresh[: ITEMS_PER_TARGET[1]]
    rest = fresh[ITEMS_PER_TARGET[1] :] + novel
    return rows[:STUDIED], novel, rest[: ITEMS_PER_TARGET[2]]


def _views(faces: ImageSet) -> torch.Tensor | None:
    """Landmarks about their middle (N, K), which mostly say how the head is turned."""
    if not isinstance(faces, FaceSet):
        return None
    some = faces.landmarks[:, ::8]  # enough to tell views apart
    return (some - some.mean(1, keepdim=True)).flatten(1)


def _distractors(
    row: int,
    others: Mapping[str, list[int]],
    used: dict[int, int],
    shown: dict[str, int],
    views: torch.Tensor | None,
) -> list[int]:
    """Two pictures of two other people: seldom shown before, then in the most similar view."""

    far = None if views is None else (views - views[row]).square().sum(1).tolist()

    def cost(picture: int) -> tuple[int, float]:
        return used.get(picture, 0), 0.0 if far is None else far[picture]

    fewest = sorted(shown.values())[ALTERNATIVES - 2]
    best = {person: min(others[person], key=cost) for person in others if shown[person] <= fewest}
    people = sorted(best, key=lambda person: (shown[person], *cost(best[person])))[: ALTERNATIVES - 1]
    for person in people:
        shown[person] += 1
        used[best[person]] = used.get(best[person], 0) + 1
    return [best[person] for person in people]


def _assemble(
    faces: ImageSet,
    study: torch.Tensor,
    items: torch.Tensor,
    target: torch.Tensor,
    section: torch.Tensor,
    noise: float,
    generator: torch.Generator,
) -> MemoryTest:
    """Keep only the pictures that are shown, add the noisy copies, shuffle the alternatives."""
    noisy = section == 2
    clean_rows = torch.cat([study.flatten(), items[~noisy].flatten()]).unique()
    noisy_rows = items[noisy].flatten().unique()
    clean, under = faces[clean_rows], faces[noisy_rows]
    grain = 255 * noise * torch.randn(under.images.shape, generator=generator)
    blurred = (under.images.float() + grain).round().clamp(0, 255).to(torch.uint8)
    changes: dict[str, Any] = {
        "images": torch.cat([clean.images, blurred]),
        "labels": clean.labels + under.labels,
        "names": clean.names + tuple(f"{name}+noise" for name in under.names),
    }
    if isinstance(clean, FaceSet) and isinstance(under, FaceSet):
        changes["landmarks"] = torch.cat([clean.landmarks, under.landmarks])
    pictures = type(faces)(**changes)

    items = torch.where(
        noisy[:, None],
        torch.searchsorted(noisy_rows, items) + len(clean_rows),
        torch.searchsorted(clean_rows, items),
    )
    # Each place holds the target 24 times, so a constant answer gets exactly what guessing gets.
    answer = torch.arange(len(items))[torch.randperm(len(items), generator=generator)] % ALTERNATIVES
    turned = (torch.arange(ALTERNATIVES)[None] - answer[:, None]) % ALTERNATIVES
    return MemoryTest(
        pictures, torch.searchsorted(clean_rows, study), items.gather(1, turned), answer, target, section
    )


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    """Length one; what is no number becomes zero, like nobody."""
    return torch.nn.functional.normalize(torch.nan_to_num(vectors.float(), 0.0, 0.0, 0.0), dim=-1)
