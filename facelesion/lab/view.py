"""What the page shows of an answer, as plain values and addresses of pictures."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache
from typing import Any

from facelesion.data.facespace_tools import LOOKS
from facelesion.data.objects import CATEGORIES
from facelesion.faces.regions import REGIONS
from facelesion.lab.answers import Answer, Seen, mapped, truth
from facelesion.lab.case_card import Card
from facelesion.lab.code import as_python, as_study, as_yaml
from facelesion.lab.damage import dose_of, parts_of
from facelesion.lab.dose_curve import ASKED, Curve, band
from facelesion.lab.drawing import address, maps, pixels_of, sheet
from facelesion.lab.known import readouts
from facelesion.lab.pictures import ENROLLED, NAMES, name_of
from facelesion.lab.state import FACE, MOST_LESIONS, SECONDS, UNITS, State
from facelesion.lab.tour import TOUR
from facelesion.lesions.kinds import KINDS, UnitLesion
from facelesion.models import names
from facelesion.weights import registry


def told(found: Answer) -> dict[str, Any]:
    """All that the page shows at once."""
    state, drawn = found.state, maps(found)
    who, same = truth(state)
    healthy, damaged, cell = sheet(found)
    named = name_of(found.healthy.people[0][0])
    return {
        "lesion": "the intact network" if found.lesion is None else str(found.lesion),
        "picture": address(pixels_of(found.picture)),
        "second": address(pixels_of(found.second)),
        "truth": {"who": None if who is None else name_of(who), "same": same},
        "sameAbove": found.same_above,
        "healthy": _seen(found.healthy, found.same_above, who),
        "damaged": _seen(found.damaged, found.same_above, who),
        "maps": {name: address(each) for name, each in drawn.items()},
        "empty": not (found.healthy.heat.any() or found.damaged.heat.any()),
        "mapOf": "that there is a face" if state.map_of == FACE else f"that it is {named}",
        "units": {
            "site": state.site, "count": len(found.healthy.units), "cell": cell,
            "healthy": _rounded(found.healthy.activation), "damaged": _rounded(found.damaged.activation),
            "hit": found.hit.nonzero().flatten().tolist(),
            "sheets": {"healthy": address(healthy), "damaged": address(damaged)},
        },
        "changes": {site: _plain(value) for site, value in found.changes.items()},
        "link": state.to_link(),
        "out": out_of(state),
    }  # fmt: skip


def out_of(state: State) -> dict[str, str]:
    """The texts that leave the page."""
    return {
        "yaml": as_yaml(state),
        "python": as_python(state),
        "study": as_study(state) if parts_of(state) else "# there is no damage to test: add a lesion\n",
    }


def _seen(seen: Seen, same_above: float, who: str | None) -> dict[str, Any]:
    return {
        "evidence": seen.evidence,
        "face": seen.evidence > 0,
        "people": [
            {
                "name": name_of(label), "cosine": cosine, "right": label == who,
                "number": int(label.rpartition("-")[2]),
            }
            for label, cosine in seen.people
        ],
        "alike": seen.alike,
        "same": seen.alike > same_above,
        "kinds": [{"name": name, "share": share} for name, share in seen.kinds],
    }  # fmt: skip


def told_curve(curve: Curve) -> dict[str, Any]:
    """A curve as far as it is measured."""
    return {
        "field": curve.field, "meaning": curve.meaning, "doses": list(curve.doses), "at": curve.at,
        "draws": curve.draws, "done": len(next(iter(curve.null.values()))), "words": list(curve.words),
        "tasks": [
            {
                "task": task, "name": name, "scores": list(curve.scores[task]), "chance": _plain(curve.chance[task]),
                "band": [list(each) for each in band(curve.null[task])] if curve.null[task] else [],
            }
            for task, (_, name) in ASKED.items()
        ],
    }  # fmt: skip


def told_card(card: Card) -> dict[str, Any]:
    """A case study as far as it is."""
    rows = [{key: _plain(value) for key, value in dataclasses.asdict(row).items()} for row in card.rows]
    return {**dataclasses.asdict(card), "rows": rows}


@lru_cache(maxsize=4)
def offered(network: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """What can be chosen on the page."""
    from facelesion.lesions import aliases

    module = readouts(network).subject.module
    places = mapped(network)
    blocks = sorted({f"{name.rpartition('_')[0]}_*" for name in aliases(module) if "_" in name and name[-1].isdigit()})
    return {
        "networks": [*_here(), *more],
        "people": list(NAMES),
        "enrolled": ENROLLED,
        "things": list(CATEGORIES),
        "looks": list(LOOKS),
        "regions": list(REGIONS),
        "seconds": SECONDS,
        "units": UNITS,
        "mostLesions": MOST_LESIONS,
        "sites": list(places),
        "patterns": [*places, *blocks],
        "kinds": {name: _kind(name) for name in KINDS},
        "tour": [dataclasses.asdict(step) | {"state": step.state.to_dict()} for step in TOUR],
    }


def _kind(name: str) -> dict[str, Any]:
    slider, kind = dose_of(name), KINDS[name]
    units = [key for key in UNITS if issubclass(kind, UnitLesion) or key == "random"]
    if slider.field == "fraction":
        units = [key for key in units if key != "all"]
    return {
        "field": slider.field, "meaning": kind.doses.get(slider.field, slider.field), "least": slider.least,
        "most": slider.most, "step": slider.step, "usual": slider.usual, "options": dict(slider.options),
        "units": units, "about": (kind.__doc__ or "").strip().split("\n")[0].replace("`", ""),
    }  # fmt: skip


def _here() -> list[str]:
    """The networks whose weights are on this machine."""
    there = {entry.network or name for name, entry in registry.entries().items() if entry.find() is not None}
    return [name for name in names() if name in there or name == "untrained"]


def _rounded(values: Any) -> list[float]:
    return [round(float(each), 4) for each in values]


def _plain(value: Any) -> Any:
    """JSON has no word for what is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
