"""From the page's lesions to the library's: doses, units by a ranking, and what they need to be known in health."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from facelesion.analysis.ranked import rank, top_units
from facelesion.errors import Error
from facelesion.lab.known import ALONE, materials, ranking_pictures, readouts
from facelesion.lab.state import ALL, PICKED, RANKINGS, Damage, State
from facelesion.lesions import Calibration, Lesion, calibrate
from facelesion.lesions.kinds import KINDS, UnitLesion
from facelesion.lesions.locate import find
from facelesion.lesions.units import chosen_units
from facelesion.study.bench import reference

if TYPE_CHECKING:
    import pandas as pd

_REFERENCE = 3  # every third of the pictures that a study calibrates on


@dataclass(frozen=True)
class Dose:
    """The slider of one kind of lesion.

    Attributes:
        field: of the lesion.
        least, most, step: of the slider.
        usual: where it stands at first.
        none: the dose that is no damage; None where there is none.
        options: the kind's other settings, as the lab has them.
    """

    field: str
    least: float
    most: float
    step: float
    usual: float
    none: float | None
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def start(self) -> float:
        """Where damage begins: at the dose that is none, else at the slider's end."""
        return self.most if self.none is None else self.none


#: Kinds that are not named here have a slider from 0 to 1 for their first dose.
DOSES: Mapping[str, Dose] = {
    "Ablate": Dose("fraction", 0, 1, 0.01, 0.1, 0),
    "Keep": Dose("fraction", 0.02, 1, 0.01, 0.5, 1),
    "Noise": Dose("std", 0, 4, 0.05, 1, 0, (("relative", True),)),
    "Dropout": Dose("p", 0, 0.95, 0.01, 0.5, 0),
    "Clamp": Dose("max", 0, 4, 0.05, 1, None),
    "Shift": Dose("by", -3, 3, 0.05, 1, 0, (("relative", True),)),
    "Scale": Dose("by", 0, 3, 0.05, 0.5, 1),
    "Prune": Dose("fraction", 0, 1, 0.01, 0.2, 0),
}


def dose_of(kind: str) -> Dose:
    """The slider of a kind.

    Example:
        >>> dose_of("Noise").field
        'std'
    """
    if kind in DOSES:
        return DOSES[kind]
    return Dose(next(iter(KINDS[kind].doses), "fraction"), 0, 1, 0.01, 0.5, None)


def written(damage: Damage, dose: float | None = None) -> dict[str, Any] | None:
    """A lesion of the page as studies write it; None where its dose is no damage.

    Example:
        >>> written(Damage(units="faces", dose=0.2))["units"]
        {'by': 'selectivity', 'of': 'faces'}
    """
    slider, kind = dose_of(damage.kind), KINDS[damage.kind]
    given = damage.dose if dose is None else dose
    found: dict[str, Any] = {"kind": damage.kind, "site": damage.site, **dict(damage.options)}
    shared = slider.field == "fraction"
    if given == slider.none and not (shared and damage.units == PICKED):
        return None
    if not shared:
        found[slider.field] = given
    if not issubclass(kind, UnitLesion):
        found["fraction"] = given
    elif damage.units == PICKED:
        if not damage.picked:
            return None
        found["units"] = list(damage.picked)
    elif damage.units != ALL:
        share = given if shared else damage.share
        if share <= 0:
            return None
        if damage.units in RANKINGS:
            by, of = RANKINGS[damage.units]
            found |= {"units": {"by": by, "of": of}, "fraction": share}
        elif shared or share < 1:
            found["fraction"] = share
    if damage.seed and is_drawn(damage.kind):
        found["seed"] = damage.seed
    return found


def is_drawn(kind: str) -> bool:
    """Whether a kind of lesion draws anything."""
    return "seed" in {each.name for each in fields(KINDS[kind])}


def parts_of(state: State) -> list[tuple[Damage, dict[str, Any]]]:
    """The page's lesions that damage anything, each with how studies write it."""
    return [(each, part) for each in state.damage if (part := written(each)) is not None]


def together(lesions: Iterable[Lesion | None]) -> Lesion | None:
    """Lesions that act at once; None where there are none."""
    found = [each for each in lesions if each is not None]
    return functools.reduce(operator.add, found) if found else None


def lesion_of(state: State) -> Lesion | None:
    """The lesion of a whole state; None for the intact network.

    Raises:
        Error: a lesion that cannot be; one line.
    """
    return together(_lesion(state.network, each) for each in state.damage)


@lru_cache(maxsize=256)
def _lesion(network: str, damage: Damage) -> Lesion | None:
    values = written(damage)
    return None if values is None else lesion_written(network, values)


def lesion_written(network: str, values: Mapping[str, Any]) -> Lesion:
    """A lesion that is written as studies write it, with the units that its ranking puts first.

    Example:
        >>> lesion_written("builtin", {"kind": "Ablate", "site": "conv5_3", "fraction": 0.1})
        Ablate('conv5_3', fraction=0.1)
    """
    chosen = values.get("units")
    if not isinstance(chosen, Mapping):
        return Lesion.from_dict(values)
    table = ranking(network, values["site"], chosen["by"], chosen["of"])
    rest = {key: value for key, value in values.items() if key not in ("site", "units", "fraction")}
    parts = [
        Lesion.from_dict({**rest, "site": site, "units": list(top_units(table, site, fraction=values["fraction"]))})
        for site in dict.fromkeys(table["site"])
    ]
    return functools.reduce(operator.add, parts)


@lru_cache(maxsize=64)
def ranking(network: str, site: str, by: str = "selectivity", of: str = "faces") -> pd.DataFrame:
    """The units of a site, ranked on pictures that nothing is asked about (`facelesion.analysis.rank`).

    Args:
        network: its name.
        site: a place or a pattern.
        by: the way of ranking.
        of: faces or objects.

    Example:
        >>> table = ranking("builtin", "conv5_3")
        >>> len(table), set(table["of"]), len(top_units(table, "conv5_3", 3))
        (128, {'faces'}, 3)
    """
    if (by, of) not in RANKINGS.values():
        known = ", ".join(" of ".join(each) for each in RANKINGS.values())
        raise Error(f"no ranking by {by} of {of}: there are {known}")
    table = _ranked(network, site, by)
    return table[table["of"] == of].reset_index(drop=True)


@lru_cache(maxsize=32)
def _ranked(network: str, site: str, by: str) -> pd.DataFrame:
    """The same for faces and for objects, which are looked at together."""
    subject, pictures = readouts(network).subject, ranking_pictures()
    groups = {name: subject.preprocess(each.images) for name, each in pictures.items()}
    people = {name: each.labels for name, each in pictures.items()}
    with ALONE:
        return rank(subject.module, site, groups, by, people=people, resamples=0, splits=0)


def calibration_for(network: str, lesion: Lesion | None) -> Calibration | None:
    """Mean and deviation in health of the units that a lesion is relative to; None where it is to none.

    Example:
        >>> from facelesion.lesions import Ablate
        >>> calibration_for("builtin", Ablate("conv5_3", fraction=0.1)) is None
        True
    """
    if lesion is None or not lesion.needs_calibration:
        return None
    return _calibration(network, tuple(sorted({part.site for part in lesion.parts if part.relative_to_health})))


@lru_cache(maxsize=32)
def _calibration(network: str, sites: tuple[str, ...]) -> Calibration:
    subject = readouts(network).subject
    images = reference(materials())[::_REFERENCE]
    with ALONE:
        return calibrate(subject.module, (subject.preprocess(each) for each in images.split(32)), sites)


def hit_units(state: State, lesion: Lesion | None, site: str, count: int) -> torch.Tensor:
    """Which of a site's units the lesion reaches: bool (count,)."""
    module, hit = readouts(state.network).subject.module, torch.zeros(count, dtype=torch.bool)
    paths = {each.path for each in find(module, site)}
    for part in () if lesion is None else lesion.parts:
        if isinstance(part, UnitLesion):
            for place in find(module, part.site):
                if place.path in paths:
                    hit[chosen_units(part, place, count)] = True
    return hit
