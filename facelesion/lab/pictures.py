"""What is shown: built-in people and things, and photographs that came as bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch

from facelesion.data.facespace import FaceSpace
from facelesion.data.facespace_tools import caricature, distractors, look_direction
from facelesion.data.images import read_image
from facelesion.data.imagesets import FaceSet
from facelesion.data.objects import builtin_exemplars
from facelesion.errors import Error
from facelesion.faces.regions import mean_face
from facelesion.lab.state import MOST_PEOPLE, PERSON, PHOTOGRAPH, THING, Picture, State

#: Forty names for the forty enrolled people, then twenty for people whom nobody enrolled.
NAMES = (
    "Adi", "Alex", "Ari", "Ash", "Bao", "Billie", "Bo", "Cam", "Charlie", "Dale", "Dani", "Devi", "Eden", "Ellis",
    "Ezra", "Fran", "Gabi", "Hana", "Indy", "Jamie", "Jo", "Jules", "Kai", "Kim", "Lee", "Lou", "Luca", "Mika", "Nico",
    "Noor", "Oli", "Pat", "Quinn", "Remy", "Robin", "Rory", "Sam", "Sasha", "Sky", "Toni",
    "Umi", "Val", "Vic", "Wren", "Xi", "Yael", "Yuri", "Zaki", "Zoe", "Ziv",
    "Abe", "Bea", "Cleo", "Dov", "Emre", "Fay", "Gil", "Ida", "Jun", "Kit",
)  # fmt: skip
ENROLLED = 40
PEOPLE_SEED = 2  # of the built-in people; the lab's enrolled people are the first forty of them (`known`)
_LOOKALIKE, _OTHERS_LOOK = 0.8, {"turned right": 0.9, "smile": 0.8, "light from the right": 0.8}
_UPLOAD_PIXELS = 24_000_000


def name_of(label: str) -> str:
    """The name that a built-in person goes by on the page.

    Example:
        >>> name_of("person-2-0"), name_of("person-2-40")
        ('Adi', 'Umi')
    """
    return NAMES[int(label.rpartition("-")[2])]


def built_in_face(
    person: int = 0, likeness: float = 1.0, strength: float = 1.0, looks: Mapping[str, float] | None = None
) -> FaceSet:
    """One picture of a built-in person, as the lab shows it.

    Args:
        person: 0 to 59; the first forty are enrolled.
        likeness: below 1, of somebody else who is so like the person (`facespace_tools.distractors`).
        strength: of a caricature (`facespace_tools.caricature`).
        looks: expression, light and pose (`facespace_tools.with_looks`), in standard deviations.

    Example:
        >>> built_in_face(3, looks={"smile": 1.0}).images.shape
        torch.Size([1, 3, 112, 112])
    """
    if not 0 <= person < MOST_PEOPLE:
        raise Error(f"person {person}: there are {MOST_PEOPLE}, numbered from 0")
    space = _space()
    vector = _people()[person : person + 1]
    if likeness < 1:
        vector = distractors(space, vector[0], 1, likeness, seed=1000 + person)
    vector = caricature(vector, strength)
    for look, amount in (looks or {}).items():
        vector = vector + amount * _direction(look)
    images, landmarks = space.render(vector.astype(np.float32))
    label = f"person-{PEOPLE_SEED}-{person}"
    return FaceSet(images, (label,), (f"{label}/lab",), landmarks)


def built_in_thing(kind: str, number: int = 0) -> FaceSet:
    """One picture of a built-in thing; it borrows the mean face's landmarks, so that a mask is no sign of a face.

    Example:
        >>> built_in_thing("cup", 2).labels
        ('cup',)
    """
    drawn = builtin_exemplars(number + 1, 1, seed=903, categories=(kind,), name_by_exemplar=False)[[number]]
    return FaceSet(drawn.images, drawn.labels, drawn.names, mean_face(drawn.size)[None])


def photographed(pixels: str, points: tuple[float, ...] = ()) -> FaceSet:
    """A photograph that the page holds: aligned already, as base64 of a PNG, with its landmarks.

    Raises:
        Error: it is no picture.
    """
    try:
        image = read_image(base64.b64decode(pixels, validate=True), max_pixels=1_000_000, name="the photograph")
    except (binascii.Error, ValueError) as error:
        raise error if isinstance(error, Error) else Error("the photograph is damaged: choose it again") from None
    if image.shape[0] != image.shape[1]:
        raise Error("the photograph is not cut out as a square: choose it again")
    images = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
    side = image.shape[0]
    landmarks = torch.tensor(points).reshape(1, 478, 2) if points else mean_face(side)[None]
    # By its pixels: the same photograph meets the same noise.
    name = f"photograph/{binascii.crc32(image.tobytes()):08x}"
    return FaceSet(images, ("photograph",), (name,), landmarks.float())


def first_picture(state: State) -> FaceSet:
    """The picture that is shown, before its stimulus."""
    return _drawn(state.picture)


def second_picture(state: State) -> FaceSet:
    """The picture that the first is compared with; it is shown as it is."""
    return _drawn(second_of(state))


def second_of(state: State) -> Picture:
    """What the second picture is: another look of the same person, a look-alike, or somebody else."""
    picture = state.picture
    if state.second == PHOTOGRAPH:
        if state.photograph is None:
            raise Error("there is no second photograph: choose one, or another second picture")
        return state.photograph
    looks = tuple(_OTHERS_LOOK.items())
    person = picture.person if picture.source == PERSON else 0
    if state.second == "other" or picture.source != PERSON:
        return Picture(person=(person + 7) % MOST_PEOPLE, looks=looks)
    return Picture(person=person, likeness=_LOOKALIKE if state.second == "lookalike" else picture.likeness, looks=looks)


def photograph_of(upload: bytes) -> np.ndarray:
    """An uploaded picture as uint8 (H, W, 3), RGB: held in memory and never written.

    Raises:
        Error: it cannot be read, or is too large; one line.
    """
    return read_image(upload, max_pixels=_UPLOAD_PIXELS, name="the photograph")


@lru_cache(maxsize=64)
def _drawn(picture: Picture) -> FaceSet:
    if picture.source == THING:
        return built_in_thing(picture.thing, picture.number)
    if picture.source == PHOTOGRAPH:
        return photographed(picture.pixels, picture.points)
    return built_in_face(picture.person, picture.likeness, picture.caricature, dict(picture.looks))


@lru_cache(maxsize=1)
def _space() -> FaceSpace:
    # Held: a face is drawn at every move of a slider.
    return FaceSpace.load()


@lru_cache(maxsize=1)
def _people() -> np.ndarray:
    return _space().people(MOST_PEOPLE, PEOPLE_SEED)


@lru_cache(maxsize=16)
def _direction(look: str) -> np.ndarray:
    return look_direction(_space(), look)
