"""The healthy network's answers, and what lesions and readouts refer to: pictures of the built-in face space."""

from __future__ import annotations

from functools import cached_property

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.lesions import Calibration, Lesion, calibrate
from facelesion.models import Subject

_BATCH = 32


class Reference:
    """A healthy network beside the pictures that readouts are fitted and units calibrated on; made when asked for.

    Args:
        subject: the network.
        seed: of the pictures.
    """

    def __init__(self, subject: Subject, seed: int = 0) -> None:
        self.subject, self.seed = subject, seed

    def represent(self, pictures: ImageSet) -> torch.Tensor:
        """The representation (N, D) of pictures."""
        with torch.no_grad():
            parts = [
                self.subject.module(self.subject.preprocess(images)).float()
                for images in pictures.images.split(_BATCH)
            ]
        return torch.cat(parts)

    def materials(self) -> Materials:
        """Faces of 50 people, objects and other pictures without a face."""
        return self._materials

    @cached_property
    def _materials(self) -> Materials:
        from facelesion.data.from_facespace import FaceSpacePictures

        source = FaceSpacePictures(
            training_people=50, training_pictures=4, enrolled_people=2, new_people=2, object_training_pictures=12,
            object_pictures=1, other_pictures=1,
        )  # fmt: skip
        return source.gather(self.seed, self.subject.size)

    def calibration(self, lesion: Lesion) -> Calibration | None:
        """Mean and deviation of the units that a lesion is relative to, over faces and objects alike many."""
        if not lesion.needs_calibration:
            return None
        faces, objects = self.materials().training.images, self.materials().training_objects.images
        count = min(len(faces), len(objects))
        batches = (
            self.subject.preprocess(images)
            for kind in (faces, objects)
            for images in kind[torch.linspace(0, len(kind) - 1, count).round().long()].split(_BATCH)
        )
        sites = sorted({part.site for part in lesion.parts if part.relative_to_health})
        return calibrate(self.subject.module, batches, sites)
