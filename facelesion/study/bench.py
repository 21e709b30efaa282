"""A participant on the bench: the pictures it is shown, its calibration, and the tasks with their frozen readouts."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.materials import Materials
from facelesion.faces.stimuli import GaussianNoise, Stimulus
from facelesion.lesions import Calibration, calibrate
from facelesion.models import Subject
from facelesion.study.design import Planned, Study
from facelesion.sweep import sweep
from facelesion.tasks import TASKS, Healthy, Task

# Healthy networks are measured in batches of this size whatever a study's batch size is, so that it changes no number.
_BATCH = 64
_REFERENCE = 300  # pictures of either kind that units are calibrated on, at the most


@dataclass(frozen=True, eq=False)
class Pool:
    """All pictures that are shown under damage, each once: what every task takes its rows from.

    Pictures without a face borrow the landmarks of one, so that a mask is no sign of a face.

    Attributes:
        images: uint8 (N, 3, H, W).
        landmarks: (N, points, 2).
        ids: int64 (N,), the pictures' numbers.
        partners: (N,) positions of a face of somebody else, for stimuli that are made of two.
        rows: where each role's pictures lie; where a task shows its own, under noise, the role is `probes (TASK)`.
        digest: of all pictures, with their roles.
    """

    images: torch.Tensor
    landmarks: torch.Tensor
    ids: torch.Tensor
    partners: torch.Tensor
    rows: dict[str, slice]
    digest: str

    @classmethod
    def of(
        cls,
        tasks: Sequence[type[Task]],
        materials: Materials,
        seed: int,
        noise: Mapping[str, float] | None = None,
    ) -> Pool:
        """The pictures that these tasks show; under noise, by the tasks' names, where a task has some of its own."""
        shown: dict[str, ImageSet] = {}
        for task in tasks:
            std = (noise or {}).get(task.name, 0.0)
            for role, pictures in task.shows(materials, seed).items():
                if std:
                    shown[_own(role, task.name)] = noisy(pictures, std, seed)
                else:
                    shown.setdefault(role, pictures)
        lender = materials.probes.landmarks
        landmarks, rows, end = [], {}, 0
        for role, pictures in shown.items():
            own = pictures.landmarks if isinstance(pictures, FaceSet) else None
            landmarks.append(lender[torch.arange(len(pictures)) % len(lender)] if own is None else own)
            rows[role] = slice(end, end + len(pictures))
            end += len(pictures)
        labels = [label for pictures in shown.values() for label in pictures.labels]
        faces = [isinstance(pictures, FaceSet) for pictures in shown.values() for _ in range(len(pictures))]
        sha = hashlib.sha256("".join(f"{role}{each.digest}" for role, each in shown.items()).encode())
        return cls(
            torch.cat([pictures.images for pictures in shown.values()]),
            torch.cat(landmarks),
            torch.cat([pictures.ids for pictures in shown.values()]),
            _partners(labels, faces),
            rows,
            sha.hexdigest()[:12],
        )

    def __len__(self) -> int:
        return len(self.ids)

    def of_task(self, role: str, task: str) -> torch.Tensor:
        """Positions of the pictures that a task shows in a role."""
        return torch.arange(len(self))[self.rows.get(_own(role, task), self.rows.get(role, slice(0)))]

    def under(self, stimulus: Stimulus, batch_size: int, device: torch.device) -> Iterator[torch.Tensor]:
        """The pictures under a stimulus, float (n, 3, H, W) in [0, 1], in batches.

        A picture left over joins the batch before it: one alone is convolved by another algorithm, which rounds
        otherwise, and a study's numbers must not hang on how its pictures are cut into batches.
        """

        def pictures(rows: torch.Tensor) -> torch.Tensor:
            return self.images[rows].to(device).float() / 255

        batches = list(torch.arange(len(self)).split(batch_size))
        if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        for rows in batches:
            partners = self.partners[rows]
            yield stimulus(
                pictures(rows),
                self.landmarks[rows].to(device),
                ids=self.ids[rows].to(device),
                others=(pictures(partners), self.landmarks[partners].to(device)),
            )


@dataclass(frozen=True, eq=False)
class Bench:
    """One participant, ready to be damaged and asked.

    Attributes:
        name: of the participant.
        subject: the network.
        device: where it runs.
        pool: the pictures.
        tasks: with readouts fitted on the healthy network, frozen.
        calibration: of all sites that lesions are relative to, over faces and objects alike.
        batch_size: images per forward pass.
    """

    name: str
    subject: Subject
    device: torch.device
    pool: Pool
    tasks: tuple[Task, ...]
    calibration: Calibration
    batch_size: int

    @classmethod
    def build(
        cls, name: str, subject: Subject, study: Study, materials: Materials, pool: Pool, device: torch.device
    ) -> Bench:
        """Calibrate a healthy network, and fit the readouts of all tasks on it."""
        subject.module.to(device).eval()
        tasks = fitted(study.tasks, subject, materials, pool, study.seed, Representations(subject, device))
        lesions = [p.lesion for p in study.planned(name) if p.lesion is not None and p.lesion.needs_calibration]
        sites = sorted({part.site for lesion in lesions for part in lesion.parts if part.relative_to_health})
        batches = (
            subject.preprocess(images.to(device)) for images in reference(materials).split(_BATCH)
        )
        calibration = calibrate(subject.module, batches, sites) if sites else Calibration({}, {}, 0)
        return cls(name, subject, device, pool, tasks, calibration, study.batch_size)

    def represent(
        self, stimulus: Stimulus, planned: Sequence[Planned], progress: bool
    ) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
        """Every lesion's representation (N, D) of the pool under a stimulus, and what it did to its sites.

        Both by the lesion's position in `planned`.
        """
        changes: dict[str, dict[str, float]] = {}
        size = max(self.batch_size, 2)  # never one alone: see `Pool.under`
        found = sweep(
            self.subject.module,
            {str(number): each.lesion for number, each in enumerate(planned)},
            (self.subject.preprocess(p) for p in self.pool.under(stimulus, size, self.device)),
            calibration=self.calibration,
            ids=self.pool.ids,
            progress=progress,
            changes=changes,
        )
        return found, changes


def fitted(
    names: Sequence[str], subject: Subject, materials: Materials, pool: Pool, seed: int, represent: Representations
) -> tuple[Task, ...]:
    """Tasks with their readouts fitted on the healthy network."""

    def healthy(task: str) -> Healthy:
        return Healthy(materials, subject.identity, represent, lambda role: pool.of_task(role, task), seed)

    with threads(1):
        return tuple(TASKS[task].fit(healthy(task)) for task in names)


def noisy(pictures: ImageSet, std: float, seed: int) -> ImageSet:
    """Pictures under normal noise on every pixel and channel, by the pictures' own numbers; otherwise the same set."""
    stimulus, images = GaussianNoise(std, seed), torch.empty_like(pictures.images)
    for rows in torch.arange(len(pictures)).split(_BATCH):
        # Noise looks at no landmarks, so that pictures without a face need none.
        none = torch.zeros(len(rows), 5, 2)
        made = stimulus(pictures.images[rows].float() / 255, none, ids=pictures.ids[rows])
        images[rows] = (made * 255).round().clamp(0, 255).to(torch.uint8)
    return replace(pictures, images=images)


def _own(role: str, task: str) -> str:
    return f"{role} ({task})"


class Representations:
    """The healthy network's representation of sets of pictures, each measured once."""

    def __init__(self, subject: Subject, device: torch.device) -> None:
        self.subject, self.device = subject, device
        self.threads = torch.get_num_threads()
        self.known: dict[str, torch.Tensor] = {}

    def __call__(self, pictures: ImageSet) -> torch.Tensor:
        digest = pictures.digest
        if digest not in self.known:
            self.known[digest] = self.of(pictures.images)
        return self.known[digest]

    def of(self, images: torch.Tensor) -> torch.Tensor:
        """The representation (N, D) of uint8 images (N, 3, H, W), measured anew."""
        with torch.no_grad(), threads(self.threads):
            parts = [
                self.subject.module(self.subject.preprocess(some.to(self.device))).float().cpu()
                for some in images.split(_BATCH)
            ]
        return torch.cat(parts)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch on so many threads within.

    Convolutions give the same bits on any number of them; the small products of readouts do not, and are done on one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def reference(materials: Materials) -> torch.Tensor:
    """The pictures that units are calibrated on: faces and objects alike many, none of them tested.

    A unit's deviation over faces alone would make the same dose of relative noise larger for faces than for objects
    wherever units answer less to faces.
    """
    faces, objects = materials.training.images, materials.training_objects.images
    count = min(len(faces), len(objects), _REFERENCE)

    def some(images: torch.Tensor) -> torch.Tensor:
        return images[torch.linspace(0, len(images) - 1, count).round().long()]

    return torch.cat([some(faces), some(objects)])


def _partners(labels: Sequence[str], faces: Sequence[bool]) -> torch.Tensor:
    """For every picture the next face of another person, in the order of rows; itself where there is none."""
    places = [row for row, face in enumerate(faces) if face]
    found = []
    for row, label in enumerate(labels):
        begin = next((i for i, place in enumerate(places) if place > row), 0)
        turn = places[begin:] + places[:begin]
        found.append(next((place for place in turn if labels[place] != label), row))
    return torch.tensor(found)
