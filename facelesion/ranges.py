"""What a setting may be, as words beside its type: `draws: Annotated[int, Range(1, 10_000)] = 5`.

`facelesion.settings` checks them. A constraint says in words what is allowed, and what is wrong with a value.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from facelesion.errors import Error


class Constraint(Protocol):
    """A rule for a value: `words` for help, `problem(value)` None where it holds, else what it must be."""

    words: str

    def problem(self, value: Any) -> str | None: ...


@dataclass(frozen=True)
class Range:
    """The least and the most a number may be, both allowed.

    Attributes:
        least: None where anything small goes.
        most: None where anything large goes.
        above: the least itself is not allowed.
        bytes_each: memory that each takes, where the number says how many; told when too many are asked for.
        seconds_each: time that each takes at least, likewise.
        endless: infinity may stand there too.

    Example:
        >>> Range(1, 10_000).words, Range(0, 10, above=True).words, Range(0).words
        ('1 to 10,000', 'above 0 and at most 10', '0 or more')
        >>> Range(1, 100_000, bytes_each=37_632).problem(10**9)
        'it must be 1 to 100,000; so many take 37.6 TB of memory'
    """

    least: float | None = None
    most: float | None = None
    above: bool = False
    bytes_each: float = 0
    seconds_each: float = 0
    endless: bool = False

    @property
    def words(self) -> str:
        least, most = _number(self.least), _number(self.most)
        if self.above:
            return f"above {least}" + (f" and at most {most}" if self.most is not None else "")
        if self.least is None:
            return f"at most {most}" if self.most is not None else "any number"
        return f"{least} or more" if self.most is None else f"{least} to {most}"

    def problem(self, value: Any) -> str | None:
        low = self.least is not None and (value <= self.least if self.above else value < self.least)
        high = self.most is not None and value > self.most
        if high and (self.bytes_each or self.seconds_each):
            return f"it must be {self.words}; so many take {self.cost(value)}"
        return f"it must be {self.words}" if low or high or value != value else None

    def cost(self, count: int) -> str:
        """What so many take."""
        if self.bytes_each:
            return f"{in_bytes(count * math.ceil(self.bytes_each))} of memory"
        return in_time(count * math.ceil(self.seconds_each))


@dataclass(frozen=True)
class Text:
    """Text that can be shown and kept: something in it, so long at the most, and no characters that cannot be seen.

    Attributes:
        most: letters.
        lines: more than one line is fine, and nothing at all as well.
        folder: it becomes the name of a folder.
        path: it is a path: any length that a file system takes.
    """

    most: int = 100
    lines: bool = False
    folder: bool = False
    path: bool = False

    @property
    def words(self) -> str:
        return "" if self.lines or self.path else f"1 to {self.most} letters"

    def problem(self, value: str) -> str | None:
        value = str(value)
        if not value.strip() and not self.lines:
            return "it must not be blank" + (": leave it out, or give a path" if self.path else "")
        strange = next((c for c in value if not c.isprintable() and not (self.lines and c in "\n\t")), None)
        if strange is not None:
            return f"it must not hold the character {strange!r}"
        if self.path:
            return _problem_of_path(value)
        if len(value) > self.most:
            return f"it must be at most {self.most:,} letters; it has {len(value):,}"
        if not self.lines and value != value.strip():
            return "it must not begin or end with a blank"
        return _problem_of_folder(value) if self.folder else None


@dataclass(frozen=True)
class DeviceText:
    """A device's name, as torch writes those that compute."""

    words = "auto, cpu, cuda, cuda:0 or mps"

    def problem(self, value: str) -> str | None:
        kind, colon, number = value.partition(":")
        known = kind in ("cpu", "cuda", "mps", "xpu") and (not colon or (number.isdecimal() and len(number) < 4))
        return None if known or value == "auto" else f"it must be {self.words}"


@dataclass(frozen=True)
class Size:
    """How many entries a list or mapping may have, and whether one may stand there twice."""

    least: int = 0
    most: int = 10_000
    twice: bool = True

    words = ""

    def problem(self, value: Any) -> str | None:
        if len(value) < self.least:
            return f"it must name at least {'one' if self.least == 1 else self.least}"
        if len(value) > self.most:
            return f"it must name at most {self.most:,}, and names {len(value):,}"
        if not self.twice:
            seen: list[Any] = []
            for each in value:
                if each in seen:
                    return f"{str(each)[:60]!r} stands there twice"
                seen.append(each)
        return None


@dataclass(frozen=True)
class Readable:
    """What a function reads without complaint, such as `Stimulus.from_dict`; the value stays as it was written."""

    read: Callable[[Any], Any]

    words = ""

    def problem(self, value: Any) -> str | None:
        try:
            self.read(value)
        except ValueError as error:  # `Error` is one, and whoever extends the package raises it too
            return str(error)
        return None


@dataclass(frozen=True)
class OnlyWhen:
    """A setting that does something only where another has one of these values (or any value that is not empty).

    Example:
        >>> OnlyWhen("source", "lfw").idle("facespace")
        'does nothing with source facespace: leave it out, or set source to lfw'
    """

    name: str
    values: tuple[Any, ...] = ()

    words = ""

    def __init__(self, name: str, *values: Any) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "values", values)

    def problem(self, value: Any) -> str | None:
        return None

    def idle(self, other: Any) -> str | None:
        """What to say where the other setting is `other`; None where this one does something."""
        if other in self.values if self.values else other:
            return None
        if not self.values:
            return f"does nothing without {self.name}: leave it out, or set {self.name}"
        wanted = " or ".join(_word(value) for value in self.values)
        return f"does nothing with {self.name} {_word(other)}: leave it out, or set {self.name} to {wanted}"


@dataclass(frozen=True)
class Kinds:
    """A setting that is one of several kinds, each with further settings of its own; a key within it says which.

    Example:
        >>> Kinds("source", {"facespace": dict, "lfw": list}).words
        'one of facespace, lfw'
    """

    key: str
    of: Mapping[str, type]

    @property
    def words(self) -> str:
        return f"one of {', '.join(self.of)}"

    def problem(self, value: Any) -> str | None:
        return None


Name = Annotated[str, Text(folder=True)]
Label = Annotated[str, Text()]
Prose = Annotated[str, Text(10_000, lines=True)]
PathText = Annotated[str, Text(path=True)]
Device = Annotated[str, DeviceText()]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what every generator takes
PICTURE_BYTES = 3 * 112 * 112  # of the size that the built-in networks take


def is_text(value: Any) -> bool:
    """Whether a value is text that a file or screen can take."""
    return isinstance(value, str) and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)


def refuse_endless(counts: Mapping[str, int], bytes_each: float, what: str = "pictures") -> None:
    """Refuse a product of settings that no memory here could hold, and say its cost.

    Args:
        counts: settings by name; what they ask for is their product.
        bytes_each: memory that one takes.
        what: they ask for.

    Raises:
        Error: it is more than this machine's memory.

    Example:
        >>> refuse_endless({"people": 100, "pictures": 5}, 3 * 112 * 112)
    """
    amount = math.prod(counts.values())
    if amount * bytes_each > _memory():
        asked = " × ".join(f"{name} {count:,}" for name, count in counts.items())
        raise Error(
            f"{asked}: {amount:,} {what} take {in_bytes(amount * int(bytes_each))} of memory, and this machine has "
            f"{in_bytes(_memory())}: ask for less"
        )


def in_bytes(count: int) -> str:
    """An amount of memory that can be read.

    Example:
        >>> in_bytes(37_632), in_bytes(3 * 10**13), in_bytes(10**40)
        ('37.6 KB', '30 TB', '1e+28 TB')
    """
    return _in_units(count, {"TB": 10**12, "GB": 10**9, "MB": 10**6, "KB": 10**3, "bytes": 1})


def in_time(seconds: int) -> str:
    """A time that can be read.

    Example:
        >>> in_time(90), in_time(10**10)
        ('1.5 minutes', '317 years')
    """
    return _in_units(
        seconds, {"years": 31_557_600, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
    )


def _in_units(count: int, units: Mapping[str, int]) -> str:
    name, size = next(((name, size) for name, size in units.items() if count >= size), list(units.items())[-1])
    if count >= size * 10**300:
        return f"1e+{int(math.log10(count // size))} {name}"
    return f"{count / size:.3g} {name}"


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**40


def _problem_of_folder(name: str) -> str | None:
    for bad in ("/", "\\"):
        if bad in name:
            return f"it must not hold {bad}: it becomes the name of a folder"
    if name.startswith("."):
        return "it must not begin with a dot: it becomes the name of a folder"
    if len(name.encode("utf-8", "replace")) > 200:
        return "it is too long for the name of a folder"
    return None


def _problem_of_path(path: str) -> str | None:
    if path.startswith("~"):
        return "~ is not understood here: write the whole path"
    if len(path.encode("utf-8", "replace")) > 4000 or any(
        len(part.encode("utf-8", "replace")) > 255 for part in path.split(os.sep)
    ):
        return "it is longer than a path can be"
    return None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
