"""What is asked of a unit sweep, as one value, and what of it is to be done at each site of a network."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from facelesion.lesions import Ablate, Calibration, Lesion
from facelesion.lesions.locate import Site, unit_axis
from facelesion.sweep import arguments, memory
from facelesion.sweep.arguments import Units, device_of, name_of
from facelesion.sweep.channels import Stretch, stretch
from facelesion.sweep.errors import SweepError
from facelesion.sweep.facts import ROWS
from facelesion.sweep.options import Options
from facelesion.sweep.preparing import prepared
from facelesion.sweep.trace import Trace
from facelesion.sweep.trial import Trial


@dataclass(frozen=True, eq=False)
class Removals:
    """Single units of some sites to be removed, one by one. `of` makes one of what a user gives.

    Attributes:
        model: the network.
        places: the sites.
        units: which to try, for all sites or by module path; None tries all.
        removed: by module path, which are gone throughout.
        to: what a removed unit is set to, "zero" or "mean".
        calibration: for the mean.
        options: how it is run.
        ahead: whether to go one layer ahead.
    """

    model: nn.Module
    places: tuple[Site, ...]
    units: Mapping[str, tuple[int, ...]] | tuple[int, ...] | None
    removed: Mapping[str, tuple[int, ...]]
    to: str
    calibration: Calibration | None
    options: Options
    ahead: bool

    @classmethod
    def of(
        cls,
        model: object,
        sites: object,
        *,
        units: Units | Mapping[str, Units] | None = None,
        removed: Mapping[str, Units] | None = None,
        to: str = "zero",
        calibration: Calibration | None = None,
        options: Options,
        ahead: bool = True,
    ) -> Removals:
        """A request, looked at: the arguments of `unit_sweep`.

        Raises:
            SweepError: an argument that makes no sense.
        """
        if to not in ("zero", "mean"):
            raise SweepError(f"to is zero or mean, not {to!r}")
        if to == "mean" and calibration is None:
            raise SweepError('to="mean" needs calibration=calibrate(model, images, sites)')
        arguments.drawn_by(0, calibration)
        model = arguments.network(model)
        places = arguments.sites_of(model, sites)
        for site in places:
            if site.call is not None or site.output or site.heads:
                raise SweepError(f"{site}: a unit sweep takes whole modules; use sweep with one Ablate per unit")
        chosen: Mapping[str, tuple[int, ...]] | tuple[int, ...] | None = None
        if isinstance(units, Mapping):
            chosen = arguments.units_at(model, units, "units", places)
        elif units is not None:
            chosen = arguments.units_of(units, "units")
        gone = arguments.units_at(model, {} if removed is None else removed, "removed")
        return cls(model, tuple(places), chosen, gone, to, calibration, options, ahead)

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return device_of(self.model)

    def chosen(self, path: str, count: int) -> tuple[int, ...]:
        """The units to try at a site of `count` units."""
        named = self.units.get(path) if isinstance(self.units, Mapping) else self.units
        chosen = tuple(range(count)) if named is None else named
        arguments.check_count(chosen, path or ".", count, "units")
        if not chosen:
            raise SweepError(f"units: there is none to try at {path or '.'}")
        return chosen

    def fill(self, site: Site, count: int) -> torch.Tensor:
        """What each of a site's units is set to when it is removed: (units,)."""
        if self.to == "zero":
            return torch.zeros(count)
        assert self.calibration is not None
        fill = self.calibration.of(site, 0)[0]
        if len(fill) != count:
            raise SweepError(f"calibration has {len(fill)} units for {name_of(site)}, which has {count}")
        return fill

    def elsewhere(self, site: Site) -> dict[str, tuple[int, ...]]:
        """What is gone at other sites, by module path."""
        return {path: gone for path, gone in self.removed.items() if gone and path != site.path}

    def lesion(self, site: Site, units: Iterable[int]) -> Lesion:
        """These units of a site removed, with all that is gone elsewhere."""
        gone = [(Site(path), units) for path, units in self.elsewhere(site).items()]
        each = [Ablate(name_of(where), units=tuple(units), to=self.to) for where, units in [*gone, (site, units)]]
        return functools.reduce(operator.add, each)

    def prepared(self, trial: Trial) -> Trace:
        """The network's steps, with every site a step of its own."""

        def cuts(trace: Trace) -> Iterator[int]:
            for job in jobs_of(trace, self):
                if job.way is not None:
                    yield from (job.step + 1, job.way.stop, job.way.end)

        return prepared(self.model, {site.path for site in self.places}, self.options, trial, cuts)


@dataclass
class Job:
    """What is to be done at one site.

    Attributes:
        site: the site.
        step: the step that makes its output.
        units: which units to try.
        way: how far its units can be followed together; None: each runs as a lesion of its own.
        fill: what a removed unit is set to, (units, 1, ...).
        gone: units of this site that are removed throughout.
        rows: how many rows are run at once.
    """

    site: Site
    step: int
    units: tuple[int, ...]
    way: Stretch | None
    fill: torch.Tensor
    gone: tuple[int, ...]
    rows: int


def jobs_of(trace: Trace, removals: Removals) -> list[Job]:
    """What is to be done at each site, in the network's order."""
    budget = removals.options.budget_on(removals.device) - trace.kept_bytes
    places = sorted(removals.places, key=lambda site: trace.position(site.path) or 0)
    return [_job(trace, site, removals, budget) for site in places]


def _job(trace: Trace, site: Site, removals: Removals, budget: int) -> Job:
    step = trace.position(site.path)
    if step is None:
        raise SweepError(
            f"{name_of(site)} never runs in a forward of {type(trace.model).__name__}: name a site in use"
        )
    fact = trace.facts[step]
    own = trace.calls_of(site.path) == 1 and fact.path == site.path
    own = own and fact.dtype is not None and fact.dtype.is_floating_point
    # The site may be part of a step, or run more than once: its shape is then not in the record.
    shape = fact.shape if own else trace.output_shape(site.path)
    if shape is None:
        raise SweepError(
            f"{name_of(site)} does not run, or does not answer with one tensor of floating point numbers; use sweep "
            "with one Ablate per unit"
        )
    axis = unit_axis(trace.model.get_submodule(site.path), torch.empty(shape, device="meta"), site)
    # What has no row per image is no lesion's own in a longer batch.
    way = stretch(trace, step, axis, ahead=removals.ahead) if own and fact.growth == ROWS else None
    count, device = shape[axis], removals.device
    fill = removals.fill(site, count).to(device).view(-1, *[1] * (len(shape) - 1 - axis))
    row = trace.peak_bytes(way.end if way else step, trace.length)
    fit = removals.options.rows or memory.rows_that_fit(row, budget, device)
    gone = removals.removed.get(site.path, ())
    arguments.check_count(gone, site.path or ".", count, "removed")
    return Job(site, step, removals.chosen(site.path, count), way, fill, gone, fit)
