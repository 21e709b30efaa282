"""One step of damage at one site, for all the rows that get it: fitted to the output's shape once, then applied.

Fitting is planned on the host, in numbers that are real whatever the network runs on; applying touches tensors of the
network's device alone and never waits for one of their values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import functional, philox
from .calibration import Calibration
from .drawn import Law, drawn
from .errors import LesionError, NoCalibration
from .host import on_the_host
from .units import Entry, chosen_units


class Fitted:
    """A step fitted to one output shape. z is (blocks, images, units, places ...) throughout."""

    def __init__(
        self,
        entries: Sequence[Entry],
        z: Tensor,
        call: int,
        blocks: int,
        seed: int,
        calibration: Calibration | None,
    ) -> None:
        count = z.shape[2]
        self.part, self.places = entries[0].part, z.shape[3:]
        with on_the_host():
            chosen = [chosen_units(entry.part, entry.site, count) for entry in entries]
            union = torch.cat(chosen).unique()
            # Copying out most of the units costs more than working on all of them.
            narrow = 2 * len(union) < count
            numbers = union if narrow else torch.arange(count)
            masked = any(entry.part.where is not None for entry in entries)
            selection = None
            if masked or any(len(units) < len(numbers) for units in chosen):
                selection = self._selection(entries, numbers, chosen)

        def sent(values: Tensor) -> Tensor:
            """To the device; nobody waits until a GPU has done what it has still to do."""
            return values.to(z.device, non_blocking=True)

        self.unit_numbers = sent(numbers)
        self.units = self.unit_numbers if narrow else None
        self.select = None if selection is None else sent(selection)
        whole = len(entries) == blocks
        self.blocks = None if whole else sent(torch.tensor([entry.block for entry in entries]))
        precise = torch.float64 if z.dtype == torch.float64 else torch.float32
        doses = [entry.part.numbers() for entry in entries]
        self.doses = {
            name: sent(torch.tensor([dose[name] for dose in doses], dtype=precise)).view(-1, *[1] * (z.ndim - 1))
            for name in doses[0]
        }
        # Doses of one lesion share their random numbers, which are drawn once for all of them.
        keys = [entry.key(seed, call) for entry in entries]
        apart = list(dict.fromkeys(keys))
        self.keys = sent(torch.tensor(apart))
        mixed = 1 < len(apart) < len(keys)
        self.whose = sent(torch.tensor([apart.index(key) for key in keys])) if mixed else None
        if self.part.relative_to_health:
            assert calibration is not None  # as the plan has seen to
            moments = calibration.of(entries[0].site, call)
            if len(moments[0]) != count:
                raise NoCalibration(
                    f"{entries[0].site}: calibrated with {len(moments[0])} units, it has {count}: calibrate again"
                )
            self.usual = tuple(
                sent(each[numbers].to(precise)).view(-1, *[1] * len(self.places)) for each in moments
            )

    def _selection(self, entries: Sequence[Entry], numbers: Tensor, chosen: list[Tensor]) -> Tensor:
        rest = [1] * len(self.places)
        select = torch.stack([torch.isin(numbers, units) for units in chosen])
        select = select.view(len(entries), 1, -1, *rest)
        if all(entry.part.where is None for entry in entries):
            return select
        if len(self.places) != 2:
            raise LesionError(
                f"{entries[0].site}: where= needs a map (height, width), this has {len(self.places)} axes"
            )
        maps = []
        for entry in entries:
            maps.append(functional.where_map(entry.part.mask(), (self.places[0], self.places[1])))
            if not maps[-1].any():
                raise LesionError(f"{entry.site}: where= covers less than half of any place of this map")
        return select & torch.stack(maps)[:, None, None]

    def damage(self, z: Tensor, ids: Tensor) -> Tensor:
        self.ids = ids
        rows = z if self.blocks is None else z.index_select(0, self.blocks)
        part = rows if self.units is None else rows.index_select(2, self.units)
        self.units_last = _units_last(part)
        damaged = self.part.damage(part, self).to(z.dtype)
        if self.select is not None:
            damaged = torch.where(self.select, damaged, part)
        if self.units is not None:
            damaged = _replaced(rows, 2, self.units, damaged)
        return damaged if self.blocks is None else _replaced(z, 0, self.blocks, damaged)

    # What a kind may ask for (kinds.Material).

    def number(self, name: str) -> Tensor:
        return self.doses[name]

    def mean(self) -> Tensor:
        return self.usual[0]

    def deviation(self) -> Tensor:
        return self.usual[1]

    def normal(self) -> Tensor:
        return self._draw(philox.normal, self.unit_numbers, self.places)

    def uniform(self, per_unit: bool = False) -> Tensor:
        places = torch.Size([1] * len(self.places)) if per_unit else self.places
        return self._draw(philox.uniform, self.unit_numbers, places)

    def _draw(self, law: Law, units: Tensor, places: torch.Size) -> Tensor:
        """(blocks, or one for all of them, images, units, places ...)."""
        draws = drawn(law, self.keys, self.ids, units, places.numel(), self.units_last)
        draws = draws if self.whose is None else draws.index_select(0, self.whose)
        return draws.view(*draws.shape[:3], *places)

    def another_image(self, y: Tensor) -> Tensor:
        images = y.shape[1]
        if images < 2:
            raise LesionError(
                f"{self.part}: another image is needed to resample from; give batches of two or more"
            )
        # One number an image, whatever units are damaged: they come from one other image together.
        draws = self._draw(philox.uniform, self.unit_numbers.new_zeros(1), torch.Size()).squeeze(-1)
        steps = 1 + (draws * (images - 1)).to(torch.int64)
        donors = (torch.arange(images, device=y.device) + steps) % images
        return y[torch.arange(len(y), device=y.device)[:, None], donors]


def _units_last(z: Tensor) -> bool:
    """Whether units lie next to each other in memory, as in the layout channels last."""
    return z.ndim > 3 and z.stride(2) == 1 and not z.is_contiguous()


def _replaced(z: Tensor, axis: int, numbers: Tensor, part: Tensor) -> Tensor:
    """`index_copy` that keeps units last in memory where they are: PyTorch's own lays all out anew, twice the work."""
    last = z.movedim(2, -1)
    if not last.is_contiguous():
        return z.index_copy(axis, numbers, part)
    copied = last.index_copy(-1 if axis == 2 else axis, numbers, part.movedim(2, -1))
    return copied.movedim(-1, 2)
