"""The page as a value: everything that decides what stands on it, as plain numbers and words.

A state can be written as JSON, put into a link and read back. It holds no file's path: a photograph is in it as pixels,
and is left out of links.
"""

from __future__ import annotations

import base64
import dataclasses
import difflib
import json
import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

from facelesion.data.facespace_tools import LOOKS
from facelesion.data.objects import CATEGORIES
from facelesion.errors import Error
from facelesion.faces.painted import Painted
from facelesion.faces.stimuli import Stimulus

PERSON, THING, PHOTOGRAPH = "person", "thing", "photograph"
SOURCES = (PERSON, THING, PHOTOGRAPH)
#: What a second picture may be, beside the first.
SECONDS = {
    "same": "another picture of the same person",
    "lookalike": "a look-alike",
    "other": "somebody else",
    PHOTOGRAPH: "a photograph",
}
RANDOM, PICKED, ALL = "random", "picked", "all"
#: How a lesion's units may be chosen: the rankings are by (way, of).
RANKINGS = {"faces": ("selectivity", "faces"), "objects": ("selectivity", "objects"), "active": ("activation", "faces")}
UNITS = {
    RANDOM: "at random",
    "faces": "first those selective for faces",
    "objects": "first those selective for objects",
    "active": "first the most active for faces",
    PICKED: "picked by hand",
    ALL: "all of them",
}
FACE, IDENTITY = "face", "identity"
MOST_PEOPLE, MOST_LESIONS, MOST_PICTURE = 60, 6, 400_000
_Value = TypeVar("_Value")


def _among(value: Any, name: str, known: tuple[str, ...]) -> None:
    given = getattr(value, name)
    if not isinstance(given, str) or given not in known:
        raise Error(f"{name} is {reprlib.repr(given)}: take one of {', '.join(known)}")


def _int(given: object, name: str, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= most:
        raise Error(f"{name} is {reprlib.repr(given)}: it must be a whole number from 0 to {most}")
    return given


def _real(given: object, name: str, least: float, most: float) -> float:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not math.isfinite(given) or not least <= given <= most:  # type: ignore[arg-type,operator]
        raise Error(f"{name} is {reprlib.repr(given)}: it must be a number from {least:g} to {most:g}")
    return float(given)  # type: ignore[arg-type]


def _whole(value: Any, name: str, most: int) -> None:
    object.__setattr__(value, name, _int(getattr(value, name), name, most))


def _number(value: Any, name: str, least: float, most: float) -> None:
    object.__setattr__(value, name, _real(getattr(value, name), name, least, most))


@dataclass(frozen=True)
class Picture:
    """What is shown to the network, before any stimulus.

    Attributes:
        source: a built-in person, a built-in thing, or a photograph.
        person: number of the built-in person; the first forty are enrolled.
        likeness: 1 the person, less: somebody as like the person as that.
        caricature: 1 as the person is, above exaggerated, 0 the average face, below an anti-face.
        looks: expression, light and pose by name, in standard deviations of one person's own variation.
        thing: kind of built-in thing.
        number: which one of them.
        pixels: of a photograph: the part that is shown, as base64 of a PNG.
        points: of a photograph: where its landmarks lie, x and y in turn, in pixels; none for a thing.
        marked: of a photograph in which five points were marked by hand: those, as shares of its width and height.
    """

    source: str = PERSON
    person: int = 0
    likeness: float = 1.0
    caricature: float = 1.0
    looks: tuple[tuple[str, float], ...] = ()
    thing: str = CATEGORIES[0]
    number: int = 0
    pixels: str = field(default="", repr=False)
    points: tuple[float, ...] = field(default=(), repr=False)
    marked: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _among(self, "source", SOURCES)
        _among(self, "thing", CATEGORIES)
        _whole(self, "person", MOST_PEOPLE - 1)
        _whole(self, "number", 999)
        _number(self, "likeness", -1, 1)
        _number(self, "caricature", -2, 3)
        looks = self.looks
        pairs = looks.items() if isinstance(looks, Mapping) else looks
        if not isinstance(pairs, Mapping | tuple | list | type({}.items())):
            raise Error(f"looks {reprlib.repr(looks)}: give amounts by name, such as {{'smile': 1}}")
        found = []
        for pair in pairs:
            name, amount = pair if isinstance(pair, tuple | list) and len(pair) == 2 else (pair, 0)
            if name not in LOOKS:
                raise Error(f"looks: no look {reprlib.repr(name)}: take some of {', '.join(LOOKS)}")
            amount = _real(amount, f"looks: {name}", -4, 4)
            if amount:
                found.append((str(name), amount))
        object.__setattr__(self, "looks", tuple(sorted(found)))
        if not isinstance(self.pixels, str) or len(self.pixels) > MOST_PICTURE:
            raise Error(f"pixels: give base64 of a PNG, of {MOST_PICTURE:,} letters at the most")
        for name, count, most in (("points", 956, 1e5), ("marked", 10, 1)):
            given = getattr(self, name)
            if not isinstance(given, list | tuple) or len(given) not in (0, count):
                raise Error(f"{name}: give {count // 2} points, x and y in turn, or none")
            object.__setattr__(self, name, tuple(_real(each, name, -most, most) for each in given))
        if self.source == PHOTOGRAPH and not self.pixels:
            raise Error("there is no photograph: choose one, or a built-in person")


@dataclass(frozen=True)
class Damage:
    """One lesion of the page.

    Attributes:
        kind: of the lesion, as the library names it.
        site: where.
        dose: how much of what the kind's first dose means.
        units: how its units are chosen.
        share: of the units, for kinds whose dose is another.
        seed: of what is drawn.
        picked: the units that were picked by hand.
        options: the kind's other settings, by name.
    """

    kind: str = "Ablate"
    site: str = "conv5_3"
    dose: float = 0.1
    units: str = RANDOM
    share: float = 1.0
    seed: int = 0
    picked: tuple[int, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        from facelesion.lesions.kinds import KINDS

        _among(self, "kind", tuple(KINDS))
        _among(self, "units", tuple(UNITS))
        if not isinstance(self.site, str) or not 0 < len(self.site) <= 200:
            raise Error(f"site {reprlib.repr(self.site)}: give the name of a place, such as conv5_3")
        _number(self, "dose", -1e6, 1e6)
        _number(self, "share", 0, 1)
        _whole(self, "seed", 2**31)
        if not isinstance(self.picked, list | tuple) or len(self.picked) > 4096:
            raise Error("picked: give units as a list of whole numbers")
        object.__setattr__(self, "picked", tuple(sorted({_int(each, "picked", 2**24) for each in self.picked})))
        given = dict(self.options)
        known = [each.name for each in dataclasses.fields(KINDS[self.kind])]
        for name, value in given.items():
            if name not in known or not isinstance(value, str | bool | int | float):
                raise Error(f"options: {self.kind} has no {reprlib.repr(name)} of {reprlib.repr(value)}")
        object.__setattr__(self, "options", tuple(sorted(given.items())))


@dataclass(frozen=True)
class State:
    """The whole page.

    Attributes:
        network: its name in `facelesion.models`.
        picture: what is shown.
        stimulus: what is done to it, by short names such as `mask eyes + invert`.
        painted: what is painted over, one text of 0 and 1 a row; nothing when empty.
        damage: the lesions, which act together.
        second: what the second picture is.
        photograph: that second picture, where it is a photograph.
        site: where units and maps are looked at.
        map_of: whose evidence the maps show: that it is a face, or who it is.

    Example:
        >>> state = State(picture=Picture(person=3), damage=(Damage(dose=0.2),))
        >>> State.from_dict(state.to_dict()) == state
        True
    """

    network: str = "builtin"
    picture: Picture = field(default_factory=Picture)
    stimulus: str = "intact"
    painted: tuple[str, ...] = ()
    damage: tuple[Damage, ...] = (Damage(),)
    second: str = "same"
    photograph: Picture | None = None
    site: str = "conv5_3"
    map_of: str = FACE

    def __post_init__(self) -> None:
        for name in ("network", "stimulus", "site"):
            value = getattr(self, name)
            if not isinstance(value, str) or not 0 < len(value) <= 200:
                raise Error(f"{name} {reprlib.repr(value)}: give a name")
        _among(self, "second", tuple(SECONDS))
        _among(self, "map_of", (FACE, IDENTITY))
        if not isinstance(self.damage, list | tuple) or len(self.damage) > MOST_LESIONS:
            raise Error(f"damage: give a list of lesions, {MOST_LESIONS} at the most")
        object.__setattr__(self, "damage", tuple(self.damage))
        object.__setattr__(self, "painted", tuple(self.painted) if isinstance(self.painted, list) else self.painted)
        self.shown_as  # noqa: B018  # refused where it comes in

    @property
    def shown_as(self) -> Stimulus:
        """The whole stimulus."""
        named = Stimulus.from_dict(self.stimulus)
        return named + Painted(self.painted) if any("1" in str(row) for row in self.painted) else named

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what stands at its default is left out."""
        values = _changed(self)
        for name in ("picture", "photograph"):
            if values.get(name) is not None:
                values[name] = _plain(values[name])
        if "damage" in values:
            values["damage"] = [_plain(each) for each in self.damage]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """What `to_dict` wrote.

        Raises:
            Error: a key that there is not, or a value that cannot be.
        """
        given = _keys(cls, values)
        for name in ("picture", "photograph"):
            if given.get(name) is not None:
                given[name] = _built(Picture, given[name], name)
        if "damage" in given:
            if not isinstance(given["damage"], list):
                raise Error("damage: give a list of lesions")
            given["damage"] = tuple(_built(Damage, each, "damage") for each in given["damage"][: MOST_LESIONS + 1])
        return cls(**given)

    def to_link(self) -> str:
        """The state as letters that a link can hold; photographs are left out.

        Example:
            >>> State.from_link(State(stimulus="mask eyes").to_link()).stimulus
            'mask eyes'
        """
        text = json.dumps(self.without_photographs().to_dict(), separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def from_link(cls, letters: str) -> Self:
        """What `to_link` wrote.

        Raises:
            Error: it is no such thing.
        """
        try:
            text = base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise Error("the link is damaged: copy it whole") from None
        return cls.from_dict(values)

    def without_photographs(self) -> State:
        """The state with built-in pictures where photographs were."""
        plain = replace(self, photograph=None, second="other" if self.second == PHOTOGRAPH else self.second)
        return replace(plain, picture=Picture()) if self.picture.source == PHOTOGRAPH else plain


def _keys(cls: type, values: object) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise Error(f"{cls.__name__.lower()}: give values by name, not {reprlib.repr(values)}")
    known = [each.name for each in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:50], known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise Error(f"{cls.__name__.lower()} has no {reprlib.repr(key)}: {hint}")
    return dict(values)


def _built(cls: Callable[..., _Value], values: object, name: str) -> _Value:
    given = _keys(cls, values)  # type: ignore[arg-type]
    for key in ("looks", "options"):
        if isinstance(given.get(key), Mapping):
            given[key] = tuple(given[key].items())
        elif key in given:
            raise Error(f"{name}: {key} are values by name, not {reprlib.repr(given[key])}")
    return cls(**given)


def _changed(value: Any) -> dict[str, Any]:
    plain = type(value)()
    return {
        each.name: getattr(value, each.name)
        for each in dataclasses.fields(value)
        if getattr(value, each.name) != getattr(plain, each.name)
    }


def _plain(value: Picture | Damage) -> dict[str, Any]:
    found = _changed(value)
    for key, each in found.items():
        if key in ("looks", "options"):
            found[key] = dict(each)
        elif isinstance(each, tuple):
            found[key] = list(each)
    return found
