"""Out of the page: a state's lesion as YAML, all of it as Python, and the study that would test it properly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from facelesion.errors import Error
from facelesion.lab.damage import dose_of, parts_of
from facelesion.lab.pictures import second_of
from facelesion.lab.state import FACE, PERSON, PHOTOGRAPH, PICKED, RANKINGS, Damage, Picture, State
from facelesion.lesions import Lesion
from facelesion.weights import registry

_STEPS = (0.5, 1.0, 1.5)  # of the page's dose


def as_yaml(state: State) -> str:
    """The lesion as studies write it: a list of the parts that act together."""
    parts = [part for _, part in parts_of(state)]
    return _dumped(parts) if parts else "# no damage: the intact network\n"


def as_python(state: State) -> str:
    """A program that gives every number of the page: `found["healthy"]`, `found["damaged"]`."""
    lesion, kinds, helpers = _lesion_lines(state)
    second = second_of(state)
    helpers |= {"readouts"} | {_maker(each) for each in (state.picture, second)}
    if any(part.get("relative") for _, part in parts_of(state)):
        helpers.add("calibration_for")
    calibration = f"calibration_for({state.network!r}, damage)" if "calibration_for" in helpers else "None"
    score = "known.face" if state.map_of == FACE else "lambda x: known.likeness(x)[:, named]"
    named = "\nnamed = int(known.likeness(look(picture, None))[0].argmax())  # whose evidence the maps show" * (
        state.map_of != FACE
    )
    analysis = "grad_cam, top_units" if "ranking" in helpers else "grad_cam"
    return f"""\
import torch

from facelesion import {", ".join(sorted(kinds | {"lesioned"}))}
from facelesion.analysis import {analysis}
from facelesion.faces import Stimulus
from facelesion.lab import {", ".join(sorted(helpers))}

known = readouts({state.network!r})  # the network, with readouts that were fixed on it in health
subject = known.subject
picture = {_picture(state.picture)}.shown(Stimulus.from_dict({_stimulus(state)!r}))
second = {_picture(second)}
{lesion}


def on(pictures, damage):
    calibration = {calibration}
    return lesioned(subject.module, damage, calibration=calibration, ids=pictures.ids)


def look(pictures, damage):
    with torch.no_grad(), on(pictures, damage):
        return subject.module(subject.preprocess(pictures.images)).float()

{named}
found = {{}}
for name, damage in {{"healthy": None, "damaged": lesion}}.items():
    seen, other = look(picture, damage), look(second, damage)
    people, things = known.likeness(seen)[0], known.kinds(seen)[0]
    heat = grad_cam(
        subject.module, subject.preprocess(picture.images), [{state.site!r}], {score},
        damage=lambda: on(picture, damage), normalise=False, resize=False,
    )
    found[name] = {{
        "evidence for a face": float(known.face(seen)),  # a face where it is above 0
        "nearest": {{known.people[i]: float(people[i]) for i in people.argsort(descending=True)[:5].tolist()}},
        "alike": float(known.alike(seen, other)),  # the same person where it is above known.same_above
        "things": {{known.things[i]: float(things[i]) for i in things.argsort(descending=True)[:3].tolist()}},
        "map": heat[{state.site!r}][0],
    }}
    print(name, found[name])
"""


def as_study(state: State) -> str:
    """A study that tests the lesion properly: doses, draws, controls, networks trained alike, an untrained one.

    Raises:
        Error: there is no damage to test.
    """
    parts = parts_of(state)
    if not parts:
        raise Error("there is no damage to test: add a lesion")
    lesions: dict[str, Any] = {"from the lab": [_in_doses(*each) for each in parts]}
    if any(damage.units == PICKED for damage, _ in parts):
        lesions["as many at random"] = [_as_many(*each) for each in parts]
    alike = next((name for name, members in registry.groups().items() if state.network in members), None)
    study: dict[str, Any] = {
        "name": "from-the-lab",
        "question": "What does this damage take, what does it spare, and is that more than other damage as large does?",
        "participants": [state.network, alike, "untrained"] if alike else [state.network],
        "pictures": {"source": "facespace", "variability": 1.0},
        "lesions": lesions,
    }
    if any(damage.units in RANKINGS for damage, _ in parts):
        study["controls"] = {"random": 50, "matched": 50}
    study |= {
        "draws": 10,
        "stimuli": ["intact", *([_stimulus(state)] if state.stimulus != "intact" or state.painted else [])],
        "tasks": ["detection", "identification", "verification", "objects", "memory"],
        "contrasts": [
            {
                "name": "who against whether", "lesion": "from the lab", "tasks": ["identification", "detection"],
                "primary": True,
            },
            {"name": "who against what", "lesion": "from the lab", "tasks": ["identification", "objects"]},
        ],
    }  # fmt: skip
    head = "# From the lab. See what it would do:  facelesion study FILE --dry-run   then run it without that word.\n"
    return head + _dumped(study)


def _in_doses(damage: Damage, part: Mapping[str, Any]) -> dict[str, Any]:
    """A part in three doses around the page's; units that were picked by hand have one."""
    found = {key: value for key, value in part.items() if key != "seed"}
    slider = dose_of(damage.kind)
    if slider.field not in found:
        return found
    none = slider.none or 0.0
    steps = [none + (damage.dose - none) * step for step in _STEPS]
    low, high = (0.02, 1.0) if slider.field == "fraction" else (slider.least, slider.most)
    doses = sorted({round(min(max(step, low), high), 4) for step in steps} - {slider.none})
    found[slider.field] = doses if len(doses) == len(_STEPS) else [damage.dose]
    if found[slider.field] == [damage.dose]:
        found[slider.field] = damage.dose
    return found


def _as_many(damage: Damage, part: Mapping[str, Any]) -> dict[str, Any]:
    found = _in_doses(damage, part)
    if damage.units == PICKED:
        found["count"] = len(found.pop("units"))
    return found


def _lesion_lines(state: State) -> tuple[str, set[str], set[str]]:
    """The lines that make the lesion, the kinds they name, and what of the lab they call."""
    made, kinds, helpers = [], set(), set()
    for each, part in parts_of(state):
        chosen = part.get("units")
        several = any(sign in each.site for sign in "*?,") or each.site.startswith("re:")
        if isinstance(chosen, Mapping) and several:
            helpers.add("lesion_written")
            made.append(f"lesion_written({state.network!r}, {part!r})")
            continue
        if isinstance(chosen, Mapping):
            helpers.add("ranking")
            ranked = f"ranking({state.network!r}, {each.site!r}, {chosen['by']!r}, {chosen['of']!r})"
            units = f"top_units({ranked}, {each.site!r}, fraction={part['fraction']!r})"
            rest = {key: value for key, value in part.items() if key not in ("kind", "site", "units", "fraction")}
            said = "".join(f", {key}={value!r}" for key, value in rest.items())
            made.append(f"{each.kind}({each.site!r}{said}, units={units})")
        else:
            made.append(repr(Lesion.from_dict(part)))
        kinds.add(each.kind)
    return f"lesion = {' + '.join(made) or None}", kinds, helpers


def _stimulus(state: State) -> Any:
    """The stimulus as studies write it: by its short name where that says all of it."""
    stimulus = state.shown_as
    return state.stimulus if str(stimulus) == state.stimulus else stimulus.to_dict()


def _maker(picture: Picture) -> str:
    return {PERSON: "built_in_face", PHOTOGRAPH: "photograph_in"}.get(picture.source, "built_in_thing")


def _picture(picture: Picture) -> str:
    """The call that draws a picture."""
    if picture.source == PERSON:
        said = [repr(picture.person)]
        said += [f"likeness={picture.likeness!r}"] * (picture.likeness != 1)
        said += [f"strength={picture.caricature!r}"] * (picture.caricature != 1)
        said += [f"looks={dict(picture.looks)!r}"] * bool(picture.looks)
        return f"built_in_face({', '.join(said)})"
    if picture.source == PHOTOGRAPH:
        # The page does not know the file's name.
        how = f", points={list(picture.marked)!r}" if picture.marked else "" if picture.points else ", thing=True"
        return f'photograph_in("PHOTOGRAPH.jpg"{how})'
    return f"built_in_thing({picture.thing!r}, {picture.number!r})"


def _dumped(values: Any) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
