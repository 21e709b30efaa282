"""All pictures that a study shows under damage, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from facelesion.data.imagesets import FaceSet, ImageSet, eight_bits
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.faces.stimuli import GaussianNoise, Stimulus
from facelesion.tasks import Task

_BATCH = 64


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
        """Positions of the pictures that a task shows in a role.

        Raises:
            Error: no task shows pictures in that role.
        """
        rows = self.rows.get(_own(role, task), self.rows.get(role))
        if rows is None:
            raise Error(f"task {task} asks for its pictures in the role {role!r}, {not_shown(self.rows)}")
        return torch.arange(len(self))[rows]

    def under(self, stimulus: Stimulus, batch_size: int, device: torch.device) -> Iterator[torch.Tensor]:
        """The pictures under a stimulus, float (n, 3, H, W) in [0, 1], in batches.

        A picture left over joins the batch before it: one alone is convolved by another algorithm, which rounds
        otherwise, and a study's numbers must not hang on how its pictures are cut into batches.
        """

        batches = list(torch.arange(len(self)).split(batch_size))
        if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        for rows in batches:
            yield self.shown(stimulus, rows, device)

    def shown(self, stimulus: Stimulus, rows: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Some of the pictures under a stimulus, float (n, 3, H, W) in [0, 1]."""

        def pictures(rows: torch.Tensor) -> torch.Tensor:
            return self.images[rows].to(device).float() / 255

        partners = self.partners[rows]
        return stimulus(
            pictures(rows),
            self.landmarks[rows].to(device),
            ids=self.ids[rows].to(device),
            others=(pictures(partners), self.landmarks[partners].to(device)),
        )


def noisy(pictures: ImageSet, std: float, seed: int) -> ImageSet:
    """Pictures under normal noise on every pixel and channel, by the pictures' own numbers; otherwise the same set."""
    stimulus, images = GaussianNoise(std, seed), torch.empty_like(pictures.images)
    for rows in torch.arange(len(pictures)).split(_BATCH):
        # Noise looks at no landmarks, so that pictures without a face need none.
        none = torch.zeros(len(rows), 5, 2)
        made = stimulus(pictures.images[rows].float() / 255, none, ids=pictures.ids[rows])
        images[rows] = eight_bits(made)
    return replace(pictures, images=images)


def not_shown(roles: Iterable[str]) -> str:
    """What is said of a role that a task asks for and does not show."""
    return f"which its `shows` does not give; shown are {', '.join(roles) or 'none'} (docs/extending.md)"


def _own(role: str, task: str) -> str:
    return f"{role} ({task})"


def _partners(labels: Sequence[str], faces: Sequence[bool]) -> torch.Tensor:
    """For every picture the next face of another person, in the order of rows; itself where there is none."""
    places = [row for row, face in enumerate(faces) if face]
    found = []
    for row, label in enumerate(labels):
        begin = next((i for i, place in enumerate(places) if place > row), 0)
        turn = places[begin:] + places[:begin]
        found.append(next((place for place in turn if labels[place] != label), row))
    return torch.tensor(found)
