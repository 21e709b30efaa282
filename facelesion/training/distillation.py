"""Teach a small VGG16 what a larger face recogniser knows: identity from a teacher, objects beside it.

The student's embedding is drawn towards the teacher's by angle, and the angles between the faces of a batch towards
the teacher's (relational distillation, Park et al. 2019). A linear readout of objects, thrown away afterwards, keeps
the pooled features good for more than faces.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pytorch_lightning as lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from facelesion.data import ImageSet
from facelesion.models.normalised import NormalisedVGG
from facelesion.models.subject import Preprocessing
from facelesion.models.vgg import channels
from facelesion.ranges import Range
from facelesion.settings import SettingError, check
from facelesion.tasks.scores import area_under_curve
from facelesion.training.augmentation import vary
from facelesion.training.run import BatchSize, Epochs, LearningRate
from facelesion.training.views import Views

FACE = "face"


Side = Annotated[int, Range(32, 224)]


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and at what sizes the student learns.

    Attributes:
        epochs: passes; validation and a checkpoint follow each.
        views_per_epoch: views of faces in a pass.
        batch_size: faces in a step.
        nonfaces: pictures without a face in a step, beside the faces.
        learning_rate: the highest, after a tenth of the steps; it falls to nothing along a cosine.
        weight_decay: of AdamW.
        sizes: sides of the pictures in pixels: `[[0, 64], [10, 112]]` is 64 pixels in epochs 0 to 9 and 112 from
            then on. Small pictures are quick, and what is learned on them carries over.
        strength: of the changes of light and grain.
        relations: weight of the angles between faces.
        objects: weight of the objects' readout.
        averaging: decay of the running average of the weights, which is what is validated and kept.
    """

    epochs: Epochs = 25
    views_per_epoch: Annotated[int, Range(1, 100_000_000)] = 20_000
    batch_size: BatchSize = 64
    nonfaces: Annotated[int, Range(0, 65_536)] = 8
    learning_rate: LearningRate = 2e-3
    weight_decay: Annotated[float, Range(0, 10)] = 0.02
    sizes: tuple[tuple[Annotated[int, Range(0, 100_000)], Side], ...] = ((0, 64), (14, 88), (21, 112))
    strength: Annotated[float, Range(0, 10)] = 1.0
    relations: Annotated[float, Range(0, 10_000)] = 1.0
    objects: Annotated[float, Range(0, 10_000)] = 0.1
    averaging: Annotated[float, Range(0, 0.999999)] = 0.998

    def __post_init__(self) -> None:
        check(self)
        if self.views_per_epoch < self.batch_size:
            said = f"is {self.views_per_epoch}: less than one batch of {self.batch_size}"
            raise SettingError("views_per_epoch", said)
        starts = [start for start, _ in self.sizes]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            said = f"begin at epochs {starts}: begin at 0 and go up, such as [[0, 64], [10, 112]]"
            raise SettingError("sizes", said)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.views_per_epoch // self.batch_size

    def size(self, epoch: int) -> int:
        """Side of the pictures in this epoch.

        Example:
            >>> [Schedule().size(epoch) for epoch in (0, 13, 14, 24)]
            [64, 64, 88, 112]
        """
        return [size for start, size in self.sizes if start <= epoch][-1]


@dataclass(frozen=True)
class Lesson:
    """One step's pictures: preprocessed faces first, then the others."""

    images: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor

    def to(self, device: Any, **options: Any) -> Lesson:
        return Lesson(*(value.to(device, **options) for value in (self.images, self.targets, self.labels)))


def prepared(images: torch.Tensor, size: int) -> torch.Tensor:
    """Pictures in [0, 1] (N, 3, S, S) as the student sees them at this size (channels last: quicker on CPUs)."""
    return Preprocessing(size)(images).contiguous(memory_format=torch.channels_last)


class Lessons(Dataset[Lesson]):
    """Every step's pictures, a pure function of (seed, epoch, step): a run that is resumed sees the same ones."""

    def __init__(
        self, views: Views, others: ImageSet, classes: Sequence[str], schedule: Schedule, seed: int
    ) -> None:
        self.views, self.others, self.schedule, self.seed = views, others, schedule, seed
        self.labels = torch.tensor([classes.index(label) for label in others.labels])
        self._epoch = -1
        self._order = torch.empty(0)
        self._faces, self._others = views.images, others.images

    def __len__(self) -> int:
        return self.schedule.steps_per_epoch

    def __getitem__(self, key: tuple[int, int]) -> Lesson:
        epoch, step = key
        schedule = self.schedule
        if self._epoch != epoch:
            self._epoch = epoch
            self._order = shuffled_rows(len(self.views), epoch, schedule.views_per_epoch, self.seed)
            size = schedule.size(epoch)
            if not self._faces.shape[-1] == self._others.shape[-1] == size:
                # Once per size and not once per step: scaling costs more than all other changes.
                self._faces = scaled(self.views.images, size)
                self._others = scaled(self.others.images, size)
        rows = self._order[step * schedule.batch_size : (step + 1) * schedule.batch_size]
        generator = torch.Generator().manual_seed((self.seed * 100_003 + epoch) * 1_000_003 + step)
        others = torch.randint(len(self.others), (schedule.nonfaces,), generator=generator)
        images = torch.cat([self._faces[rows], self._others[others]])
        labels = torch.cat([torch.zeros(len(rows), dtype=torch.int64), self.labels[others]])
        varied = vary(images, generator, schedule.strength)
        return Lesson(prepared(varied, schedule.size(epoch)), self.views.targets[rows], labels)


def scaled(images: torch.Tensor, size: int) -> torch.Tensor:
    """Pictures (N, 3, S, S), uint8, at another size, uint8."""
    if images.shape[-1] == size:
        return images
    parts = []
    for part in images.split(512):
        values = nn.functional.interpolate(part.float(), (size, size), mode="bilinear", antialias=True)
        parts.append(values.round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(parts)


def shuffled_rows(views: int, epoch: int, per_epoch: int, seed: int) -> torch.Tensor:
    """The views of this epoch: one long row of shuffled decks, cut into epochs, so that all are seen equally often."""
    first, last = epoch * per_epoch, (epoch + 1) * per_epoch
    decks = range(first // views, (last - 1) // views + 1)
    row = torch.cat(
        [torch.randperm(views, generator=torch.Generator().manual_seed(seed * 1000 + deck)) for deck in decks]
    )
    start = first - decks[0] * views
    return row[start : start + per_epoch]


class StepsInTurn(Sampler[tuple[int, int]]):
    """(epoch, step) in turn; Lightning says which epoch it is."""

    def __init__(self, steps: int) -> None:
        self.steps, self.epoch = steps, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, step) for step in range(self.steps))


@dataclass(frozen=True)
class HeldOut:
    """People who are in no training view: their pictures, labelled by the teacher, and who is who."""

    views: Views
    people: tuple[str, ...]


class DistillationData(lightning.LightningDataModule):
    """Views, other pictures and held-out people as Lightning wants them."""

    def __init__(
        self, views: Views, others: ImageSet, held_out: HeldOut, schedule: Schedule, seed: int
    ) -> None:
        super().__init__()
        self.views, self.others, self.held_out = views, others, held_out
        self.schedule, self.seed = schedule, seed
        self.classes = (FACE, *sorted(set(others.labels)))

    def train_dataloader(self) -> DataLoader[Lesson]:
        lessons = Lessons(self.views, self.others, self.classes, self.schedule, self.seed)
        return DataLoader(lessons, batch_size=None, sampler=StepsInTurn(len(lessons)))

    def val_dataloader(self) -> DataLoader[Any]:
        views = self.held_out.views
        batches = list(zip(views.images.split(50), views.targets.split(50), strict=True))
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class Distillation(lightning.LightningModule):
    """The student at work.

    Args:
        classes: names of the auxiliary readout's classes; the first is the face.
        people: who is on each held-out picture.
    """

    def __init__(
        self,
        width: float,
        embedding: int,
        schedule: Schedule,
        classes: Sequence[str],
        people: Sequence[str],
        size: int,
    ) -> None:
        super().__init__()
        self.schedule, self.size = schedule, size
        self.student = NormalisedVGG(width, embedding).to(memory_format=torch.channels_last)
        self.objects = nn.Linear(channels(width)[-1], len(classes))
        self.average = copy.deepcopy(self.student).requires_grad_(False).eval()
        names = sorted(set(people))
        self.people = torch.tensor([names.index(person) for person in people])
        self._answers: list[torch.Tensor] = []
        self._targets: list[torch.Tensor] = []

    def training_step(self, batch: Lesson, step: int) -> torch.Tensor:
        pooled = self.student(batch.images)
        faces = len(batch.targets)
        embedding = nn.functional.normalize(self.student.embed(pooled[:faces]))
        angle = 1 - (embedding * batch.targets).sum(1).mean()
        relations = (embedding @ embedding.T - batch.targets @ batch.targets.T).square().mean()
        objects = nn.functional.cross_entropy(self.objects(pooled), batch.labels)
        loss = angle + self.schedule.relations * 10 * relations + self.schedule.objects * objects
        values = {"train_loss": loss, "angle": angle, "relations": relations, "objects": objects}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=faces)
        self.log("angle_now", angle, prog_bar=True, logger=False, batch_size=faces)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        follow(self.average, self.student, self.schedule, self.trainer.global_step)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], step: int) -> None:
        images, targets = batch
        answers = self.average.embed(self.average(prepared(images, self.size)))
        self._answers.append(nn.functional.normalize(answers))
        self._targets.append(targets)

    def on_validation_epoch_end(self) -> None:
        answers, targets = torch.cat(self._answers), torch.cat(self._targets)
        self._answers, self._targets = [], []
        self.log("val_loss", 1 - (answers * targets).sum(1).mean(), prog_bar=True)
        if len(answers) == len(self.people):  # not in Lightning's two trial batches
            first, second = torch.combinations(torch.arange(len(answers))).T
            same = self.people[first] == self.people[second]
            cosines = (answers[first] * answers[second]).sum(1)
            self.log("val_auc", area_under_curve(cosines.cpu(), same), prog_bar=True)

    def configure_optimizers(self) -> Any:
        return optimised([*self.student.parameters(), *self.objects.parameters()], self.schedule)


def follow(average: nn.Module, learner: nn.Module, schedule: Schedule, done: int) -> None:
    """Move a running average of a learner's weights on by one step, faster while few are `done`."""
    decay = min(schedule.averaging, (1 + done) / (10 + done))
    with torch.no_grad():
        for mean, now in zip(average.state_dict().values(), learner.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)


def optimised(parameters: Sequence[nn.Parameter], schedule: Schedule) -> dict[str, Any]:
    """AdamW over the whole of a schedule, for Lightning; vectors (biases, gains) do not decay."""
    groups = [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        schedule.learning_rate,
        schedule.epochs * schedule.steps_per_epoch,
        pct_start=0.1,
        cycle_momentum=False,
        final_div_factor=1e3,
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}
