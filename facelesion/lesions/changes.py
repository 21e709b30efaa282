"""How much lesions changed their sites: measured in the very pass in which they act."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .errors import LesionError

# A sum of squares in float32 above this has lost nothing that counts to squares too small for the type.
_SMALLEST = 1e-25
# As many squares, next to each other in memory, are added up one by one: fewer take longer so, and more are off by
# more than 1e-7 of their sum.
_LINES = range(24, 1025)


class Changes:
    """What each lesion did to the activations of its sites: give an empty one to `lesioned(..., changes=)`.

    For every lesion of the list and every site it acts at, two sums of squares grow over all forwards: of the change
    (the site's whole output with the lesion, less what it was without), and of the output without. "Without" is what
    the site would have put out in this very pass: for a lesion of several sites, what reaches a later one is damaged
    already. Whatever the lesion does at a site counts together; `Prune` is compared with the unpruned layer.

    One object may serve several contexts of the same lesions, one after the other: the sums go on. They stay on the
    network's device and wait for nothing until they are asked for.

    Example:
        >>> from torch import nn
        >>> from facelesion.lesions import Scale, lesioned
        >>> network, changes = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), Changes()
        >>> with lesioned(network, [None, Scale("1", by=0.5)], changes=changes):
        ...     _ = network(torch.rand(3, 4).repeat(2, 1))
        >>> changes.relative()
        [{}, {'1': 0.5}]
    """

    def __init__(self) -> None:
        self._sites: tuple[tuple[str, ...], ...] | None = None
        self._sums: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._sites or ())

    @property
    def squares(self) -> list[dict[str, Tensor]]:
        """For each lesion, site to two sums of squares (2,): of the change, of the output without the lesion.

        They can be added to those of other images; `relative_change` makes one number of them.
        """
        nothing = torch.zeros(2, dtype=torch.float64)
        return [
            {site: self._sums[site][place] if site in self._sums else nothing for site in sites}
            for place, sites in enumerate(self._sites or ())
        ]

    def relative(self) -> list[dict[str, float]]:
        """For each lesion, site to ‖change‖ / ‖output without‖: 0 where nothing changed, 1 where all is silenced."""
        return [relative_change(squares) for squares in self.squares]

    def expect(self, sites: Sequence[Sequence[str]]) -> None:
        """Which sites each lesion of a list has; a context says so as it begins."""
        named = tuple(tuple(dict.fromkeys(each)) for each in sites)
        if self._sites not in (None, named):
            raise LesionError(
                "changes= holds what other lesions did: give each list of lesions a Changes() of its own"
            )
        self._sites = named

    def add(self, site: str, before: Tensor, after: Tensor, batch: int = 0) -> None:
        """One call of a site: its output without and with damage; axis `batch` holds the lesions' rows in turn."""
        with torch.no_grad():
            found = [
                _squares(values.movedim(batch, 0).unflatten(0, (len(self), -1)))
                for values in (after - before, before)
            ]
            sums = torch.stack(found, dim=1)
            self._sums[site] = self._sums[site].to(sums.device) + sums if site in self._sums else sums


def _squares(rows: Tensor) -> Tensor:
    """The sum of squares of everything behind the first axis, in float64."""
    axes = tuple(range(1, rows.ndim))
    if rows.device.type == "cpu" and rows.dtype == torch.float32:
        sums = _in_float32(rows, axes)
        # Unless squares leave its range, which a processor can look at for nothing.
        outside = ~((sums > _SMALLEST) & (sums < math.inf))
        if not outside.any() or not rows[outside].any():
            return sums
    # Apple's GPUs have no float64.
    precise = torch.float32 if rows.device.type == "mps" else torch.float64
    return torch.linalg.vector_norm(rows, dim=axes, dtype=precise).square()


def _in_float32(rows: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The same, added up in float32 as far as that is exact to 1e-7: in a tenth of the time."""
    line = next((axis for axis in axes if rows.stride(axis) == 1), axes[-1])
    if rows.shape[line] in _LINES:
        sums = torch.linalg.vector_norm(rows, dim=line).double().square()
    else:
        sums = rows.square().sum(dim=axes[1:] or axes).double()  # PyTorch sums in cascades
    return sums.sum(dim=tuple(range(1, sums.ndim))) if sums.ndim > 1 else sums


def relative_change(squares: Mapping[str, Tensor]) -> dict[str, float]:
    """Site to ‖change‖ / ‖output without‖, from the two sums of squares of each (see `Changes.squares`).

    Infinite where a silent site was made to answer.

    Example:
        >>> relative_change({"conv5_3": torch.tensor([4.0, 16.0])})
        {'conv5_3': 0.5}
    """
    found = {}
    for site, sums in squares.items():
        change, without = (float(value) for value in sums)
        found[site] = math.sqrt(change / without) if without else math.inf if change else 0.0
    return found
