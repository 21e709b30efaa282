"""Stimuli made of two faces: halves joined, one feature exchanged."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from facelesion.errors import Error
from facelesion.faces import regions as _regions
from facelesion.faces.blur import gaussian_blur
from facelesion.faces.sent import beside, points_of
from facelesion.faces.stimuli_of_regions import WIDEST, OfRegion
from facelesion.faces.stimulus import Batch, Stimulus, is_number


@dataclass(frozen=True)
class Composite(Stimulus):
    """The upper half of one face with the lower half of another (Young, Hellawell and Hay 1987).

    The second face is first brought on to the first by a similarity of their five points. The cut runs along the eye
    line's direction, half-way between the eyes and the mouth.

    Args:
        misalign: shift of the lower half along the eye line, as a fraction of the face's width (0.5 is usual for
            misaligned composites); what it uncovers is black.

    Example:
        >>> from facelesion.faces import mean_face
        >>> landmarks = mean_face()[None]
        >>> dark, light = torch.zeros(1, 3, 112, 112), torch.ones(1, 3, 112, 112)
        >>> both = Composite()(dark, landmarks, others=(light, landmarks))
        >>> float(both[0, 0, 10, 56]), float(both[0, 0, 100, 56])
        (0.0, 1.0)
    """

    misalign: float = 0.0
    kind: ClassVar[str] = "composite"

    def __post_init__(self) -> None:
        if not is_number(self.misalign, -10, 10):
            raise Error(
                f"{self.kind}: misalign {reprlib.repr(self.misalign)} must be a number of face widths from -10 to 10"
            )

    def _pictures(self, batch: Batch) -> Tensor:
        images, landmarks = _others(self, batch)
        mine, theirs = five_points(batch.landmarks), five_points(landmarks)
        box = _regions.upright_boxes(batch.landmarks, "face")
        matrix = similarity_matrix(theirs, mine)
        matrix[:, :, 2] += self.misalign * box.size[:, :1] * box.along
        lower = _warp(images, matrix)
        middle = (mine[:, :2].mean(1) + mine[:, 3:].mean(1)) / 2
        height, width = batch.size
        y, x = (torch.arange(n, device=lower.device, dtype=torch.float32) for n in (height, width))
        down = box.down[:, :, None, None]
        below = down[:, 0] * (x - middle[:, 0, None, None]) + down[:, 1] * (
            y[:, None] - middle[:, 1, None, None]
        )
        return torch.where(below[:, None] > 0, lower, batch.images)


@dataclass(frozen=True)
class PartSwap(OfRegion):
    """One feature exchanged for another face's (whole and part, Tanaka and Farah 1993).

    The second face is turned and scaled as a similarity of the five points says, and shifted so that the middles of
    the two features' boxes meet.

    Args:
        region, shape, scale: as for `Mask`, on the first face.
        feather: standard deviation, in pixels of a 224-pixel picture, by which the seam is softened; 0 for a hard one.

    Example:
        >>> from facelesion.faces import mean_face
        >>> landmarks = mean_face()[None]
        >>> dark, light = torch.zeros(1, 3, 112, 112), torch.ones(1, 3, 112, 112)
        >>> swapped = PartSwap("nose")(dark, landmarks, others=(light, landmarks))
        >>> float(swapped[0, 0, 66, 56]), float(swapped[0, 0, 100, 56])
        (1.0, 0.0)
    """

    shape: str = "box"
    scale: tuple[float, float] | None = None
    feather: float = 0.0
    kind: ClassVar[str] = "swap"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_number(self.feather, 0, WIDEST):
            raise Error(
                f"{self.kind}: feather {reprlib.repr(self.feather)} must be a number of pixels from 0 to {WIDEST}"
            )

    def _pictures(self, batch: Batch) -> Tensor:
        images, landmarks = _others(self, batch)
        matrix = similarity_matrix(five_points(landmarks), five_points(batch.landmarks))
        here = _regions.upright_boxes(batch.landmarks, self.region).centre
        there = _regions.upright_boxes(landmarks, self.region).centre
        matrix[:, :, 2] = here - (matrix[:, :, :2] @ there[..., None])[..., 0]
        part = _warp(images, matrix)
        mask = self._mask(batch)
        if not self.feather:
            return torch.where(mask, part, batch.images)
        return torch.lerp(
            batch.images, part, gaussian_blur(mask.to(part.dtype), self.feather * batch.per_pixel)
        )


def similarity_matrix(source: Tensor, target: Tensor) -> Tensor:
    """The similarity transforms (N, 2, 3) that bring `source` (N, K, 2) nearest to `target`, as in `align`."""
    middle_s, middle_t = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    s, t = source - middle_s, target - middle_t
    square = s.square().sum((1, 2)).clamp_min(1e-12)
    real = (s * t).sum((1, 2)) / square
    imaginary = (s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0]).sum(1) / square
    linear = torch.stack([torch.stack([real, -imaginary], -1), torch.stack([imaginary, real], -1)], 1)
    shift = middle_t.mT - linear @ middle_s.mT
    return torch.cat([linear, shift], dim=2)


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Pictures moved by similarities (N, 2, 3) in pixels, bilinear, black outside."""
    height, width = images.shape[-2:]
    linear, shift = matrix[:, :, :2], matrix[:, :, 2]
    # A similarity's inverse; `linalg.inv` would wait for a GPU to see whether there is one.
    back = linear.mT / linear[:, :, :1].square().sum(1, keepdim=True)
    y, x = torch.meshgrid(
        *(torch.arange(n, device=images.device, dtype=torch.float32) for n in (height, width)), indexing="ij"
    )
    source = (torch.stack([x, y], -1).flatten(0, 1) - shift[:, None]) @ back.mT
    span = beside(source, [width - 1, height - 1]) / 2
    grid = (source / span - 1).unflatten(1, (height, width))
    return torch.nn.functional.grid_sample(images.float(), grid, align_corners=True).to(images.dtype)


def five_points(landmarks: Tensor) -> Tensor:
    """Left and right eye, nose, left and right corner of the mouth: (N, 5, 2)."""
    left, right = _regions.eye_centres(landmarks)
    mesh = _regions.complete(landmarks)
    return torch.cat([left[:, None], right[:, None], points_of(mesh, (1, 61, 291))], dim=1)


def _others(stimulus: Stimulus, batch: Batch) -> tuple[Tensor, Tensor]:
    if batch.others is None:
        raise Error(f"{stimulus} is made of two faces: pass others=(images, landmarks)")
    images, landmarks = batch.others
    return images.to(batch.images), landmarks.to(batch.images.device, torch.float32)
