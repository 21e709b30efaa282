"""Which units a lesion damages at a site."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from . import functional, philox
from .errors import NoSuchUnit
from .kinds import Keep, UnitLesion
from .locate import Site


@dataclass(frozen=True)
class Entry:
    """One lesion of one block of rows at one site; `turn` counts those there that would draw the same numbers."""

    block: int
    part: UnitLesion
    site: Site
    turn: int

    def key(self, seed: int, call: int) -> tuple[int, int]:
        """The key of its random numbers at one call of the site: they hang on no dose, and on no spelling."""
        site = Site(self.site.path, call, self.site.output, None, self.site.heads)
        return philox.key_of(seed, *self.part.drawn_by, self.turn, site)


@functools.lru_cache(maxsize=256)
def _unit_order(count: int, seed: int, site: str) -> Tensor:
    return philox.ranks(count, "units", seed, site).argsort()


def _how_many(part: UnitLesion, site: Site, count: int) -> int:
    if part.count is not None:
        if part.count > count:
            raise NoSuchUnit(f"{site} has {count} units: {part.count} of them cannot be drawn")
        return part.count
    assert part.fraction is not None
    number = functional.how_many(part.fraction, count)
    if part.fraction > 0 and number == 0:
        raise NoSuchUnit(f"{part.fraction:g} of the {count} units of {site} is less than half a unit")
    return number


def chosen_units(part: UnitLesion, site: Site, count: int) -> Tensor:
    """Which of `count` units a lesion damages at a site: int64, ascending.

    Raises:
        NoSuchUnit: a unit that is not there, a fraction that comes to no unit, a count above the units there are.

    Example:
        >>> from facelesion.lesions import Ablate
        >>> small, large = (chosen_units(Ablate("a", fraction=f), Site("a"), 10).tolist() for f in (0.2, 0.5))
        >>> len(small), len(large), set(small) <= set(large)
        (2, 5, True)
    """
    if part.units is not None:
        beyond = [unit for unit in part.units if unit >= count]
        if beyond:
            name = str(site) if part.site in (str(site), "") else f"{part.site} ({site})"
            raise NoSuchUnit(f"{name} has {count} units, numbered from 0: there is no unit {beyond[0]}")
        chosen = torch.tensor(part.units, dtype=torch.int64)
    elif part.draws_units:
        number = _how_many(part, site, count)
        name = ".".join((site.path, *site.output)) + (".heads" if site.heads else "")
        chosen = _unit_order(count, part.seed, name)[:number].sort().values
    else:
        chosen = torch.arange(count)
    if isinstance(part, Keep):
        others = torch.ones(count, dtype=torch.bool)
        others[chosen] = False
        if not bool(others.any()):
            raise NoSuchUnit(
                f"{part}: these are all {count} units of {site}, so nothing is ablated; take fewer, or None"
            )
        return others.nonzero().flatten()
    return chosen
