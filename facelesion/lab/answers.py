"""What is left: a network's answers to one picture, in health and under damage, at once.

    seen = answer(State(stimulus="mask eyes"))
    seen.healthy.evidence, seen.damaged.evidence
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from facelesion.analysis.gradcam import Score, grad_cam, resized
from facelesion.analysis.mapped_sites import map_sites
from facelesion.data.imagesets import FaceSet
from facelesion.lab.damage import calibration_for, hit_units, lesion_of
from facelesion.lab.known import ALONE, Readouts, readouts
from facelesion.lab.pictures import first_picture, second_picture
from facelesion.lab.state import FACE, PERSON, State
from facelesion.lesions import Changes, Lesion, lesioned
from facelesion.lesions.locate import find
from facelesion.models import Subject

NEAREST, KINDS = 5, 3


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network makes of a picture.

    Attributes:
        evidence: for a face; it sees one where this is above 0.
        people: the nearest enrolled people, the nearest first, each with the cosine.
        alike: cosine with the second picture.
        kinds: the likeliest kinds of thing, each with its share.
        heat: Grad-CAM at the state's site (h, w), in its own unit.
        units: (C, h, w) what the site puts out.
    """

    evidence: float
    people: tuple[tuple[str, float], ...]
    alike: float
    kinds: tuple[tuple[str, float], ...]
    heat: torch.Tensor
    units: torch.Tensor

    @property
    def activation(self) -> torch.Tensor:
        """Every unit's mean over the map (C,)."""
        return self.units.mean((1, 2))


@dataclass(frozen=True, eq=False)
class Answer:
    """A state's answers.

    Attributes:
        state: the state.
        lesion: what it comes to; None for the intact network.
        picture, second: what was shown, under the stimulus.
        healthy, damaged: what was seen; the same where there is no lesion.
        hit: bool (C,), which units of the looked-at site the lesion reaches.
        changes: by site, how much the lesion changed its output: relative.
        same_above: cosines above it mean the same person.
    """

    state: State
    lesion: Lesion | None
    picture: FaceSet
    second: FaceSet
    healthy: Seen
    damaged: Seen
    hit: torch.Tensor
    changes: dict[str, float]
    same_above: float


def answer(state: State) -> Answer:
    """The healthy and the damaged network's answers to a state's picture.

    Raises:
        Error: a network, site, lesion or picture that cannot be; one line.

    Example:
        >>> from facelesion.lab import Damage
        >>> found = answer(State(damage=(Damage(site="conv5_1", dose=0.5),)))
        >>> found.healthy.people[0][0], found.healthy.people[0][1] > found.damaged.people[0][1]
        ('person-2-0', True)
    """
    with ALONE:
        return _answered(state)


def _answered(state: State) -> Answer:
    known = readouts(state.network)
    picture, second = shown(state), second_picture(state)
    healthy = _healthy(replace(state, damage=()))
    lesion = lesion_of(state)
    if lesion is None:
        nothing = torch.zeros(len(healthy.units), dtype=torch.bool)
        return Answer(state, None, picture, second, healthy, healthy, nothing, {}, known.same_above)
    changes = Changes()
    damaged = _see(state, picture, second, _score_of(state, known, healthy), lesion, changes)
    hit = hit_units(state, lesion, state.site, len(healthy.units))
    return Answer(state, lesion, picture, second, healthy, damaged, hit, changes.relative()[0], known.same_above)


def shown(state: State) -> FaceSet:
    """The first picture under the state's stimulus."""
    return first_picture(state).shown(state.shown_as)


@lru_cache(maxsize=16)
def mapped(network: str) -> tuple[str, ...]:
    """The places of a network that have a map, in the order in which they run."""
    subject = readouts(network).subject
    return tuple(each.name for each in map_sites(subject.module, blank(subject)))


def blank(subject: Subject) -> torch.Tensor:
    """An empty picture as the network takes it."""
    return subject.preprocess(torch.zeros(1, 3, subject.size, subject.size))


@lru_cache(maxsize=12)
def _healthy(state: State) -> Seen:
    """What is seen in health; the state is without its damage, so that all doses of a picture share the answer."""
    score = _score_of(state, readouts(state.network), None)
    return _see(state, shown(state), second_picture(state), score, None, None)


def _score_of(state: State, known: Readouts, healthy: Seen | None) -> Score:
    """Whose evidence the map shows: a face; or the person who is named in health, damaged or not."""
    if state.map_of == FACE:
        return known.face
    if healthy is None:
        return lambda answer: known.likeness(answer).amax(1)
    named = known.people.index(healthy.people[0][0])
    return lambda answer: known.likeness(answer)[:, named]


def _see(
    state: State, picture: FaceSet, second: FaceSet, score: Score, lesion: Lesion | None, changes: Changes | None
) -> Seen:
    """One pass forward and back of the picture, and one forward of the second."""
    known = readouts(state.network)
    subject, calibration = known.subject, calibration_for(state.network, lesion)
    kept: dict[str, torch.Tensor] = {}
    place = find(subject.module, state.site)[0]

    @contextlib.contextmanager
    def watched() -> Iterator[None]:
        with lesioned(subject.module, lesion, calibration=calibration, ids=picture.ids, changes=changes):
            # Hooked once the damage is there, so that what is seen is what the next layer gets.
            handle = subject.module.get_submodule(place.path).register_forward_hook(keep)
            try:
                yield
            finally:
                handle.remove()

    def keep(_module: object, _given: object, output: torch.Tensor) -> None:
        kept["units"] = output.detach()[0].float().clone()

    def scored(representation: torch.Tensor) -> torch.Tensor:
        kept["representation"] = representation.detach().float()
        return score(representation.float())

    images = subject.preprocess(picture.images)
    heat = grad_cam(subject.module, images, [state.site], scored, damage=watched, normalise=False, resize=False)
    (found,) = heat.values()
    with torch.no_grad():
        with lesioned(subject.module, lesion, calibration=calibration, ids=second.ids):
            other = subject.module(subject.preprocess(second.images)).float()
        seen = kept["representation"].nan_to_num(0.0)
        alike = float(known.alike(seen, other.nan_to_num(0.0)))
        people = _first(known.likeness(seen)[0], known.people, NEAREST)
        kinds = _first(known.kinds(seen)[0], known.things, KINDS)
        return Seen(float(known.face(seen)), people, alike, kinds, found[0], kept["units"])


def _first(values: torch.Tensor, names: tuple[str, ...], count: int) -> tuple[tuple[str, float], ...]:
    top = values.topk(min(count, len(names)))
    return tuple((names[place], float(value)) for value, place in zip(*top, strict=True))


def truth(state: State) -> tuple[str | None, bool | None]:
    """Who is really shown, if that is an enrolled person, and whether both pictures show the same; None if unknown."""
    picture = state.picture
    if picture.source != PERSON:
        return None, None
    known = picture.likeness >= 1 and picture.caricature > 0
    label = f"person-2-{picture.person}"
    who = label if known and label in readouts(state.network).people else None
    if state.second == "photograph":
        return who, None
    return who, state.second == "same" and picture.caricature > 0


def large(heat: torch.Tensor, side: int) -> torch.Tensor:
    """A map (h, w) at the picture's size (side, side)."""
    return resized(heat[None], side, side)[0]
