"""Views of faces for a student to learn from, each labelled by the teacher that sees the very same view.

Distillation works best when teacher and student see the same picture and there are very many of them (Beyer et al.
2022, "a good teacher is patient and consistent"). A few thousand aligned photographs become many more faces by moving
them a little, by blending two people, and by putting one person's eyes, nose or mouth into another's face: faces of
nobody, whose identity the teacher can still say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
from torch import nn

from facelesion.errors import Error
from facelesion.ranges import Range
from facelesion.settings import check
from facelesion.sweep.arguments import device_of

Progress = Callable[[int], object]

_AT_ONCE = 256
# Places of aligned 112-pixel crops that composites take from the other face: centre x, y and radii x, y.
_PARTS = ((56, 48, 36, 16), (56, 68, 17, 20), (56, 92, 26, 14), (56, 96, 60, 34), (56, 30, 60, 34))


@dataclass(frozen=True)
class Views:
    """Views and what the teacher says of them.

    Attributes:
        images: uint8 (N, 3, S, S), RGB.
        targets: float32 (N, E), unit length.
    """

    images: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def joined(cls, parts: list[Views]) -> Self:
        return cls(torch.cat([part.images for part in parts]), torch.cat([part.targets for part in parts]))

    def __getitem__(self, rows: torch.Tensor) -> Views:
        return replace(self, images=self.images[rows], targets=self.targets[rows])


@dataclass(frozen=True)
class Shares:
    """How many views of each kind are made per photograph.

    Attributes:
        plain: the photograph itself.
        moved: turned, scaled and shifted a little.
        blended: mixed with another, pixel by pixel.
        composite: with parts of another.
    """

    plain: Annotated[float, Range(0, 100)] = 1.0
    moved: Annotated[float, Range(0, 100)] = 1.0
    blended: Annotated[float, Range(0, 100)] = 1.5
    composite: Annotated[float, Range(0, 100)] = 1.5

    def __post_init__(self) -> None:
        check(self)
        if not self.plain + self.moved + self.blended + self.composite:
            raise Error("shares are all 0: at least one kind of view must be made")


def teach(
    teacher: nn.Module,
    preprocess: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Views:
    """Ask the teacher about pictures as they are (uint8 (N, 3, S, S)). Small batches stay in a CPU's cache."""
    targets, device = [], device_of(teacher)
    with torch.inference_mode():
        for rows in images.split(batch_size):
            answers = teacher(preprocess(rows.to(device)).contiguous(memory_format=torch.channels_last))
            targets.append(nn.functional.normalize(answers).cpu())
            if progress is not None:
                progress(len(rows))
    return Views(images, torch.cat(targets).clone())


def make_views(images: torch.Tensor, shares: Shares, seed: int) -> torch.Tensor:
    """Views (M, 3, S, S), uint8, of aligned faces (N, 3, S, S), uint8, at random by `seed`."""
    return torch.cat([made for made, _ in draw_views(images, shares, seed)])


def count_views(photographs: int, shares: Shares) -> int:
    """How many views are made of so many photographs.

    Example:
        >>> count_views(10, Shares(1, 1, 0.5, 0))
        25
    """
    copies = photographs * int(shares.plain)
    return copies + sum(
        round(photographs * share) for share in (shares.moved, shares.blended, shares.composite)
    )


def draw_views(
    images: torch.Tensor, shares: Shares, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The same views, some at a time, and whom they show.

    Yields:
        Views (B, 3, S, S), uint8, and (B, 2) rows of the photographs that each was made of: one and the same twice, or
        two.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(int(shares.plain)):
        for rows in torch.arange(len(images)).split(_AT_ONCE):
            yield images[rows], torch.stack([rows, rows], 1)
    for kind, share in (
        ("moved", shares.moved),
        ("blended", shares.blended),
        ("composite", shares.composite),
    ):
        count = round(len(images) * share)
        if not count:
            continue
        order = torch.cat([torch.randperm(len(images), generator=generator) for _ in range(math.ceil(share))])
        for first in order[:count].split(_AT_ONCE):
            faces, other = _moved(images[first].float(), generator), first
            if kind != "moved":
                other = torch.randint(len(images), (len(first),), generator=generator)
                others = _moved(images[other].float(), generator)
                mix = _blended if kind == "blended" else _composite
                faces = mix(faces, others, generator)
            yield faces.round_().clamp_(0, 255).to(torch.uint8), torch.stack([first, other], 1)


def _moved(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turned by up to about 8 degrees, scaled by up to 8 %, shifted by up to 3 % of the side, each in a small bell."""
    count = len(images)
    bell = torch.randn(4, count, generator=generator).clamp_(-2, 2) / 2
    angle, scale = bell[0] * math.radians(8), 1 + 0.08 * bell[1]
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    matrix = torch.stack(
        [torch.stack([cos, -sin, 0.06 * bell[2]], 1), torch.stack([sin, cos, 0.06 * bell[3]], 1)], 1
    )
    grid = nn.functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _blended(faces: torch.Tensor, others: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    weight = torch.rand(len(faces), 1, 1, 1, generator=generator) * 0.6 + 0.2
    return weight * faces + (1 - weight) * others


def _composite(faces: torch.Tensor, others: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One or two soft-edged parts of the others, brought to the faces' mean colour there."""
    size = faces.shape[-1]
    axis = (torch.arange(size) + 0.5) * (112 / size) - 0.5
    ovals = torch.stack(
        [
            torch.sigmoid(8 * (1 - torch.sqrt(((axis[None] - x) / a) ** 2 + ((axis[:, None] - y) / b) ** 2)))
            for x, y, a, b in _PARTS
        ]
    )
    which = torch.randint(len(_PARTS), (2, len(faces)), generator=generator)
    cover = torch.maximum(ovals[which[0]], ovals[which[1]])[:, None]
    area = cover.sum((2, 3), keepdim=True)
    difference = ((faces - others) * cover).sum((2, 3), keepdim=True) / area
    return cover * (others + difference) + (1 - cover) * faces
