"""What is painted over by hand: a mask that belongs to the picture, not to the face in it."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from facelesion.errors import Error
from facelesion.faces.sent import beside
from facelesion.faces.stimuli_of_regions import FILLS, covered
from facelesion.faces.stimulus import Batch, Stimulus, check_seed

_MOST_CELLS = 256


@dataclass(frozen=True)
class Painted(Stimulus):
    """Places of the picture covered, whatever lies there.

    Args:
        where: one text of 0 and 1 for every row of a grid of any size; 1 is covered. It is brought to the
            picture's size.
        fill: as for `Mask`: "black", "mean" or "noise".
        seed: of the noise.

    Example:
        >>> import torch
        >>> half = Painted(("10", "10"))(torch.ones(1, 3, 112, 112), torch.zeros(1, 5, 2))
        >>> float(half[0, 0, 50, 50]), float(half[0, 0, 50, 60])
        (0.0, 1.0)
    """

    where: tuple[str, ...]
    fill: str = "black"
    seed: int = 0
    kind: ClassVar[str] = "painted"

    def __post_init__(self) -> None:
        rows = self.where
        fits = isinstance(rows, tuple) and 0 < len(rows) <= _MOST_CELLS
        if not fits or not all(isinstance(row, str) and 0 < len(row) <= _MOST_CELLS for row in rows):
            fits = False
        if not fits or not set("".join(rows)) <= set("01") or len({len(row) for row in rows}) > 1:
            raise Error(
                f"{self.kind}: where {reprlib.repr(rows)} must be rows of 0 and 1, equally long, such as ['010', '111']"
            )
        if not (isinstance(self.fill, str) and self.fill in FILLS):
            raise Error(f"{self.kind}: no fill {reprlib.repr(self.fill)}: choose {', '.join(FILLS)}")
        check_seed(self)

    def _pictures(self, batch: Batch) -> Tensor:
        grid = beside(batch.images, [float(place) for row in self.where for place in row]).reshape(len(self.where), -1)
        mask = functional.interpolate(grid[None, None], batch.size, mode="nearest-exact") > 0
        return covered(batch, mask.expand(len(batch.images), -1, -1, -1), self.fill, self.seed)

    def __str__(self) -> str:
        cells = "".join(self.where)
        return f"painted over ({100 * cells.count('1') / len(cells):.0f}% of the picture)"
