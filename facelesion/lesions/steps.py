"""One step of damage at one site, for all the rows that get it: fitted to the output's shape once, then applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import functional, philox
from .calibration import Calibration
from .errors import LesionError, NoCalibration
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
        device, count, places = z.device, z.shape[2], z.shape[3:]
        self.part, self.places = entries[0].part, places
        chosen = [chosen_units(entry.part, entry.site, count) for entry in entries]
        union = torch.cat(chosen).unique()
        everything = [len(units) == len(union) and entry.part.where is None
                      for units, entry in zip(chosen, entries, strict=True)]  # fmt: skip
        self.nothing = len(union) == 0
        # Copying out most of the units costs more than working on all of them.
        narrow = 2 * len(union) < count
        self.units = union.to(device) if narrow else None
        self.unit_numbers = union if narrow else torch.arange(count)
        self.blocks: Tensor | None = None
        if len(entries) < blocks:
            self.blocks = torch.tensor([entry.block for entry in entries], device=device)
        self.select: Tensor | None = None
        if not (all(everything) and (narrow or len(union) == count)):
            self.select = self._selection(entries, chosen).to(device)

        def column(values: list[Any], dtype: torch.dtype) -> Tensor:
            tensor = torch.tensor(values, dtype=dtype, device=device)
            return tensor.view(len(entries), *[1] * (z.ndim - 1))

        precise = torch.float64 if z.dtype == torch.float64 else torch.float32
        doses = [entry.part.numbers() for entry in entries]
        self.doses = {name: column([dose[name] for dose in doses], precise) for name in doses[0]}
        site = entries[0].site
        self.keys = torch.tensor([entry.key(seed, call) for entry in entries], device=device)
        self.usual: tuple[Tensor, ...] = ()
        if calibration is not None and self.part.relative_to_health:
            moments = calibration.of(site, call)
            if len(moments[0]) != count:
                raise NoCalibration(
                    f"{site}: calibrated with {len(moments[0])} units, it has {count}: calibrate again"
                )
            self.usual = tuple(
                each[self.unit_numbers].to(device, precise).view(-1, *[1] * len(places)) for each in moments
            )
        self.ids = torch.empty(0)

    def _selection(self, entries: Sequence[Entry], chosen: list[Tensor]) -> Tensor:
        rest = [1] * len(self.places)
        select = torch.stack([torch.isin(self.unit_numbers, units) for units in chosen])
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
        if self.nothing:
            return z
        self.ids = ids
        rows = z if self.blocks is None else z.index_select(0, self.blocks)
        part = rows if self.units is None else rows.index_select(2, self.units)
        damaged = self.part.damage(part, self).to(z.dtype)
        if self.select is not None:
            damaged = torch.where(self.select, damaged, part)
        if self.units is not None:
            damaged = rows.index_copy(2, self.units, damaged)
        return damaged if self.blocks is None else z.index_copy(0, self.blocks, damaged)

    # What a kind may ask for (kinds.Material).

    def number(self, name: str) -> Tensor:
        return self.doses[name]

    def mean(self) -> Tensor:
        return self.usual[0]

    def deviation(self) -> Tensor:
        return self.usual[1]

    def normal(self) -> Tensor:
        return self._draw(philox.normal, self.places)

    def uniform(self, per_unit: bool = False) -> Tensor:
        return self._draw(philox.uniform, torch.Size([1] * len(self.places)) if per_unit else self.places)

    def _draw(self, law: Any, places: torch.Size) -> Tensor:
        draws = law(self.keys, self.ids, self.unit_numbers, places.numel())
        return draws.view(*draws.shape[:3], *places)

    def another_image(self, y: Tensor) -> Tensor:
        images = y.shape[1]
        if images < 2:
            raise LesionError(
                f"{self.part}: another image is needed to resample from; give batches of two or more"
            )
        draws = philox.uniform(self.keys, self.ids, torch.zeros(1, dtype=torch.int64), 1)[:, :, 0, 0]
        steps = 1 + (draws * (images - 1)).to(torch.int64)
        donors = (torch.arange(images, device=y.device) + steps) % images
        return y[torch.arange(len(y), device=y.device)[:, None], donors]
