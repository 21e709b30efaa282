"""From lesions to a plan: for each module, step by step, which kind of damage which rows of a batch get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from . import functional
from .calibration import Calibration, missing
from .errors import LesionError, NoCalibration, NoSuchUnit
from .kinds import Lesion, Prune, SiteLesion, UnitLesion
from .locate import Site, find, incoming, weight_of
from .steps import Fitted
from .units import Entry
from .values import told


@dataclass
class Step:
    """Entries of one kind that are computed together, with what is known once the output's shape is."""

    place: int
    entries: list[Entry]
    fitted: dict[tuple[Any, ...], Fitted] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        return self.entries[0].site

    @property
    def draws(self) -> bool:
        return self.entries[0].part.draws_values


@dataclass
class Plan:
    """What happens where. All are by module path.

    Attributes:
        pruned: by lesion of the list, what acts on weights.
        heads, outputs: steps on attention heads, and on the module's output.
        expected: (path, call) that must run in every forward.
        sites: for each lesion of the list, where it acts.
    """

    pruned: dict[str, dict[int, list[Prune]]] = field(default_factory=dict)
    heads: dict[str, list[Step]] = field(default_factory=dict)
    outputs: dict[str, list[Step]] = field(default_factory=dict)
    expected: set[tuple[str, int]] = field(default_factory=set)
    sites: list[list[Site]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return list(dict.fromkeys([*self.pruned, *self.heads, *self.outputs]))


def rows_of_lesions(lesion: object) -> list[Lesion | None]:
    """The lesions of a batch, one for each block of rows.

    Raises:
        LesionError: what is given holds something else, or nothing.
    """
    if lesion is None or isinstance(lesion, Lesion):
        return [lesion]
    wanted = "a lesion, None (healthy) or a list of them is needed, one for each block of rows"
    if isinstance(lesion, str | bytes | dict) or not isinstance(lesion, Iterable):
        raise LesionError(f"{wanted}; got {told(lesion)}")
    rows = list(lesion)
    if not rows:
        raise LesionError("an empty list of lesions: give at least one, or None for a healthy network")
    for each in rows:
        if each is not None and not isinstance(each, Lesion):
            raise LesionError(f"{wanted}; got {told(each)} in it")
    return rows


def sites_of(model: nn.Module, part: SiteLesion) -> tuple[Site, ...]:
    """Where a simple lesion acts: for `Prune`, the layers whose weights it means."""
    found = find(model, part.site)
    if not isinstance(part, Prune):
        return found
    return tuple(Site(path) for path in dict.fromkeys(incoming(model, site.path) for site in found))


def make_plan(model: nn.Module, rows: Sequence[Lesion | None], calibration: Calibration | None) -> Plan:
    """The plan for these lesions in this network.

    Raises:
        LesionError: a lesion does not fit the network, or a calibration is missing.
    """
    plan = Plan()
    found: dict[SiteLesion, tuple[Site, ...]] = {}
    # Parts of one kind that come at the same place in the order of their rows share a step.
    steps: dict[tuple[Any, ...], Step] = {}
    for block, lesion in enumerate(rows):
        plan.sites.append([])
        depth: Counter[tuple[str, bool]] = Counter()
        turns: Counter[tuple[object, ...]] = Counter()
        for part in () if lesion is None else lesion.parts:
            if part not in found:
                found[part] = sites_of(model, part)
            for site in found[part]:
                plan.expected.add((site.path, site.call or 0))
                plan.sites[-1].append(site)
                if isinstance(part, Prune):
                    _check_weights(model, part, site)
                    plan.pruned.setdefault(site.path, {}).setdefault(block, []).append(part)
                    continue
                assert isinstance(part, UnitLesion)
                _check_calibrated(part, site, calibration)
                place = depth[site.path, site.heads]
                step = steps.setdefault((place, site, part.mode()), Step(place, []))
                same = (site.path, site.output, site.heads, *part.drawn_by)
                step.entries.append(Entry(block, part, site, turns[same]))
                depth[site.path, site.heads] += 1
                turns[same] += 1
    for step in sorted(steps.values(), key=lambda step: step.place):
        where = plan.heads if step.site.heads else plan.outputs
        where.setdefault(step.site.path, []).append(step)
    return plan


def _check_weights(model: nn.Module, part: Prune, site: Site) -> None:
    weight = weight_of(model.get_submodule(site.path))
    if isinstance(weight, nn.parameter.UninitializedParameter):
        return  # it is looked at when it is there
    enough_weights(part, site, weight.numel())


def enough_weights(part: Prune, site: Site, count: int) -> None:
    """Refuses a fraction that comes to no weight of `count`."""
    if functional.how_many(part.fraction, count) == 0:
        raise NoSuchUnit(
            f"{part}: {part.fraction:g} of the {count} weights of {site} is less than half a weight"
        )


def _check_calibrated(part: UnitLesion, site: Site, calibration: Calibration | None) -> None:
    if not part.relative_to_health:
        return
    if calibration is None:
        raise NoCalibration(f"{part}: {missing(str(site))}")
    calibration.of(site, site.call or 0)
