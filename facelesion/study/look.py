"""A study's network as it stands under one lesion and stimulus, for tasks that look into it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import cached_property

import torch

from facelesion.analysis.gradcam import grad_cam
from facelesion.analysis.mapped_sites import map_sites, stages_of
from facelesion.faces.stimuli import Stimulus
from facelesion.lesions import Calibration, Lesion, lesioned
from facelesion.lesions.locate import find
from facelesion.models import Subject
from facelesion.models.frame import Frame, frame_of
from facelesion.study.pool import Pool
from facelesion.study.threads import threads
from facelesion.tasks.task import Scores

# Healthy networks are measured in batches of this size whatever a study's batch size is, so that it changes no number.
HEALTHY_BATCH = 32


@dataclass(frozen=True, eq=False)
class StudyLook:
    """What `tasks.Look` promises, of a participant of a study.

    A picture meets the same noise here as in the sweep: it hangs on the picture's number, not on the pass.

    Attributes:
        subject: the network.
        device: where it runs.
        pool: the pictures.
        stimulus: what is done to them.
        lesion: None for the healthy network.
        calibration: of the sites that the lesion is relative to.
        threads: that the network runs on, however many its readouts do.
    """

    subject: Subject
    device: torch.device
    pool: Pool
    stimulus: Stimulus
    lesion: Lesion | None = None
    calibration: Calibration | None = None
    threads: int = field(default_factory=torch.get_num_threads)
    _seen: dict[tuple[int, ...], dict[str, torch.Tensor]] = field(default_factory=dict, init=False, repr=False)

    def maps(self, scores: Scores, rows: torch.Tensor) -> torch.Tensor:
        """As `tasks.Look.maps`."""
        found = []
        with threads(self.threads):
            for chosen in torch.arange(len(rows)).split(HEALTHY_BATCH):
                here, score = rows[chosen], scores(chosen)
                images = self.subject.preprocess(self.pool.shown(self.stimulus, here, self.device))
                heat = grad_cam(
                    self.subject.module, images, [self.site],
                    lambda answer, score=score: score(answer.float().cpu()),  # type: ignore[misc]
                    damage=lambda here=here: lesioned(  # type: ignore[misc]
                        self.subject.module, self.lesion, calibration=self.calibration, ids=self.pool.ids[here]
                    ),
                    normalise=False,
                )  # fmt: skip
                found.append(heat[self.site].cpu())
        return torch.cat(found)

    def landmarks(self, rows: torch.Tensor) -> torch.Tensor:
        """As `tasks.Look.landmarks`."""
        size = self.pool.images.shape[-1]
        return self.frame.moved(self.stimulus.moved(self.pool.landmarks[rows], size, size))

    def activations(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """As `tasks.Look.activations`. Pictures that several tasks look at are shown once."""
        asked = tuple(rows.tolist())
        if asked not in self._seen:
            self._seen[asked] = self._activations(rows)
        return self._seen[asked]

    def _activations(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        found = []
        for here in rows.split(HEALTHY_BATCH):
            images = self.subject.preprocess(self.pool.shown(self.stimulus, here, self.device))
            damage = lesioned(self.subject.module, self.lesion, calibration=self.calibration, ids=self.pool.ids[here])
            found.append(self._means(images, damage))
        return {name: torch.cat([each[name] for each in found]) for name in self.stages}

    def activations_of(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """As `tasks.Look.activations_of`."""
        parts = (self.subject.preprocess(some.to(self.device)) for some in images.split(HEALTHY_BATCH))
        found = [self._means(part, contextlib.nullcontext()) for part in parts]
        return {name: torch.cat([each[name] for each in found]) for name in self.stages}

    def _means(
        self, images: torch.Tensor, damage: contextlib.AbstractContextManager[object]
    ) -> dict[str, torch.Tensor]:
        """Every unit's mean over places, at every stage, while the network is damaged."""
        module, seen, stages = self.subject.module, {}, self.stages  # found before there is any damage
        with threads(self.threads), torch.no_grad(), damage, contextlib.ExitStack() as hooks:
            # Hooked once the damage is there, so that what is seen is what the next layer gets.
            for name in stages:
                (site,) = find(module, name)

                def keep(_module: object, _given: object, output: torch.Tensor, name: str = name) -> None:
                    seen[name] = output.float().mean((2, 3)).cpu()

                hooks.callback(module.get_submodule(site.path).register_forward_hook(keep).remove)
            module(images)
        return seen

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The last place of every resolution of the network's maps."""
        size = self.pool.images.shape[-1]
        blank = self.subject.preprocess(torch.zeros(1, 3, size, size, device=self.device))
        last = {(each.height, each.width): each.name for each in map_sites(self.subject.module, blank)}
        return tuple(last.values())

    @cached_property
    def site(self) -> str:
        """The last of the late layers."""
        size = self.pool.images.shape[-1]
        blank = self.subject.preprocess(torch.zeros(1, 3, size, size, device=self.device))
        *_, last = stages_of(map_sites(self.subject.module, blank)).values()
        return last.name

    @cached_property
    def frame(self) -> Frame:
        """Where the pictures' points lie in the maps."""
        size = self.pool.images.shape[-1]
        return frame_of(lambda images: self.subject.preprocess(images.to(self.device)).cpu(), size, size)
