"""A participant on the bench: the pictures it is shown, its calibration, and the tasks with their frozen readouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.faces.stimuli import Intact, Stimulus
from facelesion.lesions import Calibration, Lesion, calibrate
from facelesion.models import Subject
from facelesion.process import give_memory_back
from facelesion.study.design import Planned, Study
from facelesion.study.look import HEALTHY_BATCH, StudyLook
from facelesion.study.pool import Pool, not_shown
from facelesion.study.threads import threads
from facelesion.sweep import sweep
from facelesion.tasks import TASKS, Healthy, Task

# A sweep is quicker than plain forwards, from as many on; it tries the network out first.
_MANY = 128
_REFERENCE = 300  # pictures of either kind that units are calibrated on, at the most


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
        planned: all its lesions, the intact network first.
        batch_size: images per forward pass.
    """

    name: str
    subject: Subject
    device: torch.device
    pool: Pool
    tasks: tuple[Task, ...]
    calibration: Calibration
    planned: Sequence[Planned]
    batch_size: int

    @classmethod
    def build(
        cls,
        name: str,
        subject: Subject,
        study: Study,
        materials: Materials,
        pool: Pool,
        planned: Sequence[Planned],
        device: torch.device,
        asked: bool = True,
    ) -> Bench:
        """Calibrate a healthy network, and fit the readouts of all tasks on it; of none where nothing is asked."""
        give_memory_back()
        subject.module.to(device).eval()
        names = study.tasks if asked else ()
        tasks = fitted(names, subject, materials, pool, study.seed, Representations(subject, device))
        lesions = [p.lesion for p in planned if p.lesion is not None and p.lesion.needs_calibration]
        sites = sorted({part.site for lesion in lesions for part in lesion.parts if part.relative_to_health})
        batches = (
            subject.preprocess(images.to(device)) for images in reference(materials).split(HEALTHY_BATCH)
        )
        calibration = calibrate(subject.module, batches, sites) if sites else Calibration({}, {}, 0)
        return cls(name, subject, device, pool, tasks, calibration, planned, study.batch_size)

    def look(self, stimulus: Stimulus, lesion: Lesion | None) -> StudyLook:
        """The network under a lesion, with the pool under a stimulus, to look into."""
        return StudyLook(self.subject, self.device, self.pool, stimulus, lesion, self.calibration)

    def represent(
        self, stimulus: Stimulus, planned: Sequence[Planned], progress: bool
    ) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
        """Every lesion's representation (N, D) of the pool under a stimulus, and what it did to its sites.

        Both by the lesion's position in `planned`.
        """
        changes: dict[str, dict[str, float]] = {}
        size = max(self.batch_size, 2)  # never one alone: see `Pool.under`
        give_memory_back()
        found = sweep(
            self.subject.module,
            {str(number): each.lesion for number, each in enumerate(planned)},
            (self.subject.preprocess(p) for p in self.pool.under(stimulus, size, self.device)),
            calibration=self.calibration,
            ids=self.pool.ids,
            progress=progress,
            changes=changes,
        )
        give_memory_back()  # tables of trials come next, beside what the sweep found
        return found, changes


def fitted(
    names: Sequence[str], subject: Subject, materials: Materials, pool: Pool, seed: int, represent: Representations
) -> tuple[Task, ...]:
    """Tasks with their readouts fitted on the healthy network.

    Raises:
        Error: a task asks for pictures in a role that it does not show.
    """
    look = StudyLook(subject, represent.device, pool, Intact())

    def healthy(task: str) -> Healthy:
        return Healthy(materials, subject.identity, represent, lambda role: pool.of_task(role, task), seed, look)

    def fit(task: str) -> Task:
        kind = TASKS[task]
        try:
            return kind.fit(healthy(task))
        except KeyError as problem:  # most often of what `shows` gave, which a task asks for its labels too
            asked, roles = problem.args[0] if problem.args else problem, kind.shows(materials, seed)
            raise Error(f"task {task}: its `fit` asks for {asked!r}, {not_shown(roles)}") from problem

    with threads(1):
        return tuple(map(fit, names))


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
        give_memory_back()
        batches = (self.subject.preprocess(some.to(self.device)) for some in images.split(HEALTHY_BATCH))
        with torch.no_grad(), threads(self.threads):
            if len(images) >= _MANY:
                return sweep(self.subject.module, {"healthy": None}, batches)["healthy"].float()
            return torch.cat([self.subject.module(batch).float().cpu() for batch in batches])


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
