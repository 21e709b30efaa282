"""A participant's lessons: people, individual things, and what kinds of things there are, in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader, Dataset

from facelesion.data.imagesets import ImageSet
from facelesion.ranges import Range
from facelesion.settings import check
from facelesion.training.augmentation import vary
from facelesion.training.distillation import FACE, Schedule, StepsInTurn, prepared, shuffled_rows
from facelesion.training.individuals import Individuals, Pictures

NOBODY = -1


@dataclass(frozen=True)
class Contrast:
    """How individuals are told apart.

    Attributes:
        individuals: of one kind in a step.
        pictures: of each in a step.
        weight: of this loss beside that of faces taught by a teacher.
        temperature: cosines are divided by it.
    """

    individuals: Annotated[int, Range(2, 4096)] = 16
    pictures: Annotated[int, Range(2, 256)] = 4
    weight: Annotated[float, Range(0, 10_000)] = 0.3
    temperature: Annotated[float, Range(0.001, 100)] = 0.1

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Taught:
    """Faces with what a teacher says of them.

    Attributes:
        pictures: of faces.
        targets: (N, E), unit length.
    """

    pictures: Pictures
    targets: torch.Tensor


@dataclass(frozen=True)
class Lesson:
    """One step's pictures, preprocessed: faces, then things, then others.

    Attributes:
        images: (N, 3, S, S).
        faces, things: how many there are of each; the rest are others.
        targets: (faces, E) what the teacher says of the faces; (faces, 0) without a teacher.
        which: (faces + things,) the individual on each, of its own list; -1 for faces that a teacher names.
        classes: (N,) what kind of thing each picture shows.
    """

    images: torch.Tensor
    faces: int
    things: int
    targets: torch.Tensor
    which: torch.Tensor
    classes: torch.Tensor

    def to(self, device: Any, **options: Any) -> Lesson:
        images, targets, which, classes = (
            value.to(device, **options) for value in (self.images, self.targets, self.which, self.classes)
        )
        return Lesson(images, self.faces, self.things, targets, which, classes)


@dataclass(frozen=True)
class Material:
    """What a participant learns from.

    Attributes:
        faces: with a teacher's answers; by name; or None: it never sees a face.
        things: individual things.
        others: pictures of kinds of things, and of no thing at all.
    """

    faces: Taught | Individuals | None
    things: Individuals
    others: ImageSet

    @property
    def classes(self) -> tuple[str, ...]:
        """Every kind of picture there is."""
        kinds = {*self.things.kinds, *self.others.labels}
        return tuple(sorted(kinds if self.faces is None else kinds | {FACE}))


class Lessons(Dataset[Lesson]):
    """Every step's pictures, a pure function of (seed, epoch, step): a run that is resumed sees the same ones."""

    def __init__(
        self, material: Material, schedule: Schedule, people: Contrast, things: Contrast, seed: int
    ) -> None:
        self.material, self.schedule, self.seed = material, schedule, seed
        self.people, self.contrast = people, things
        number = {name: place for place, name in enumerate(material.classes)}
        self._face = number.get(FACE, 0)
        self._thing_classes = torch.tensor([number[kind] for kind in material.things.kinds])
        self._other_classes = torch.tensor([number[label] for label in material.others.labels])
        self._epoch = self._size = -1
        self._order = torch.empty(0)
        self._shown: tuple[Pictures | None, Pictures, Pictures]

    def __len__(self) -> int:
        return self.schedule.steps_per_epoch

    def __getitem__(self, key: tuple[int, int]) -> Lesson:
        epoch, step = key
        self._begin(epoch)
        generator = torch.Generator().manual_seed((self.seed * 100_003 + epoch) * 1_000_003 + step)
        rows, targets, who = self._faces(step, generator)
        things = self.material.things.draw(generator, self.contrast.individuals, self.contrast.pictures)
        others = torch.randint(len(self.material.others), (self.schedule.nonfaces,), generator=generator)
        faces_shown, things_shown, others_shown = self._shown
        shown = [things_shown[things], others_shown[others]]
        if faces_shown is not None:
            shown.insert(0, faces_shown[rows])
        classes = [
            torch.full_like(rows, self._face),
            self._thing_classes[things],
            self._other_classes[others],
        ]
        varied = vary(torch.cat(shown), generator, self.schedule.strength)
        return Lesson(
            prepared(varied, self._size), len(rows), len(things), targets,
            torch.cat([who, self.material.things.which[things]]), torch.cat(classes),
        )  # fmt: skip

    def _begin(self, epoch: int) -> None:
        if self._epoch == epoch:
            return
        faces, schedule = self.material.faces, self.schedule
        if isinstance(faces, Taught):
            self._order = shuffled_rows(len(faces.pictures), epoch, schedule.views_per_epoch, self.seed)
        size = schedule.size(epoch)
        if size != self._size:
            # Once per size and not once per step: scaling costs more than all other changes.
            self._shown = (
                None if faces is None else faces.pictures.scaled(size),
                self.material.things.pictures.scaled(size),
                Pictures.of(self.material.others.images).scaled(size),
            )
        self._epoch, self._size = epoch, size

    def _faces(
        self, step: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows of this step's faces, the teacher's answers (N, E or 0), and who they are."""
        faces, count = self.material.faces, self.schedule.batch_size
        if isinstance(faces, Taught):
            rows = self._order[step * count : (step + 1) * count]
            return rows, faces.targets[rows], torch.full_like(rows, NOBODY)
        if faces is None:
            rows = torch.empty(0, dtype=torch.int64)
            return rows, torch.empty(0, 0), rows
        rows = faces.draw(generator, self.people.individuals, self.people.pictures)
        return rows, torch.empty(len(rows), 0), faces.which[rows]


@dataclass(frozen=True)
class Watched:
    """Individuals that are in no lesson, by whom it is seen how far a participant is.

    Attributes:
        faces: pictures of people, or None.
        targets: (N, E) what the teacher says of them; None without a teacher.
        people: who is on each.
        things: pictures of things, as many of each, one thing's together.
        names, kinds: which thing each shows, and of which kind it is.
    """

    faces: torch.Tensor | None
    targets: torch.Tensor | None
    people: tuple[str, ...]
    things: torch.Tensor
    names: tuple[str, ...]
    kinds: tuple[str, ...]


class ParticipantData(lightning.LightningDataModule):
    """Lessons, and what is watched, as Lightning wants them."""

    def __init__(
        self,
        material: Material,
        watched: Watched,
        schedule: Schedule,
        people: Contrast,
        things: Contrast,
        seed: int,
    ) -> None:
        super().__init__()
        self.lessons = Lessons(material, schedule, people, things, seed)
        self.watched = watched

    def train_dataloader(self) -> DataLoader[Lesson]:
        return DataLoader(self.lessons, batch_size=None, sampler=StepsInTurn(len(self.lessons)))

    def val_dataloader(self) -> DataLoader[Any]:
        faces = [] if self.watched.faces is None else self.watched.faces.split(50)
        batches: Sequence[tuple[bool, torch.Tensor]] = [
            *((True, part) for part in faces),
            *((False, part) for part in self.watched.things.split(50)),
        ]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
