"""What may stand in a lesion: checks where a value enters, from Python, YAML or JSON alike."""

from __future__ import annotations

import itertools
import numbers
import operator
import reprlib
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .errors import LesionError

# No site has as many units, and no name as many letters.
MOST_UNITS, MOST_LETTERS = 2**24, 1000
LARGEST_NUMBER, LARGEST_SEED = 3.4e38, 2**63 - 1

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 2, 60, 60


def told(value: object) -> str:
    """A value for a message: short, on one line, however large or deep it is.

    Example:
        >>> told("a" * 500), told([[[[1]]]])
        ("'aaaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaaa'", '[[[...]]]')
    """
    if isinstance(value, int) and abs(value) > LARGEST_SEED:
        return "a number of more than 63 bits"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    try:
        return " ".join(_short.repr(value).split())
    except ValueError:  # a number inside that is too long to be printed
        return f"a {type(value).__name__}"


def number(value: object, what: str) -> float:
    """A finite number, also as text (YAML reads 1e-3 as one); not a truth value."""
    try:
        if isinstance(value, str):
            value = float(value)
        elif isinstance(value, Tensor):
            value = value.item()
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            plain = float(value)
            if abs(plain) <= LARGEST_NUMBER:
                return plain
    except (ValueError, OverflowError, RuntimeError):
        pass
    raise LesionError(f"{what} must be a finite number, not {told(value)}")


def whole_number(value: object, what: str) -> int:
    """A seed: a whole number from 0 to 2^63 − 1."""
    try:
        if isinstance(value, Tensor):
            value = value.item()
        if isinstance(value, numbers.Real) and not isinstance(value, bool) and float(value).is_integer():
            plain = operator.index(value) if isinstance(value, numbers.Integral) else int(float(value))
            if 0 <= plain <= LARGEST_SEED:
                return plain
    except (ValueError, OverflowError, RuntimeError):
        pass
    raise LesionError(f"{what} must be a whole number from 0 to 2^63 - 1, not {told(value)}")


def truth(value: object, what: str) -> bool:
    """True or False, and nothing that Python would take for one."""
    if not isinstance(value, bool):
        raise LesionError(f"{what} must be true or false, not {told(value)}")
    return value


def same_in_single(value: float, neutral: float) -> bool:
    """Whether a number is another, as exactly as networks compute."""
    return bool(struct.unpack("f", struct.pack("f", value))[0] == neutral)


def site_text(site: object, what: str) -> str:
    """A pattern, or several as a list of texts, as one text."""
    wanted = f"{what} needs a site: a module path, an alias or a pattern"
    several = isinstance(site, Iterable) and not isinstance(site, str | bytes | Mapping)
    names: list[str] = []
    for name in site if isinstance(site, Iterable) and several else [site]:
        if not isinstance(name, str):
            raise LesionError(f"{wanted}, as text; got {told(name)}")
        if not name.strip() or any(len(each) > MOST_LETTERS for each in name.split(",")):
            raise LesionError(f"{wanted}; got {told(name)}")
        names.append(name)
    if not names:
        raise LesionError(f"{wanted}; got an empty list")
    if len(names) > 1 and any(name.strip().startswith("re:") for name in names):
        raise LesionError(f"{what}: a regular expression stands alone; join it with | or add lesions")
    return ", ".join(names)


def unit_numbers(units: object, what: str) -> tuple[int, ...]:
    """Unit numbers, each once, ascending."""
    wanted = f"{what}: units are whole numbers, as a list such as [3, 7]"
    if isinstance(units, Tensor) or hasattr(units, "__array__"):
        try:
            tensor = torch.as_tensor(units)
        except (TypeError, ValueError, RuntimeError) as error:
            raise LesionError(f"{wanted}; got {told(units)}") from error
        if tensor.numel() and (
            tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool
        ):
            raise LesionError(f"{wanted}; got numbers of {tensor.dtype}")
        given: Iterable[Any] = tensor.flatten().tolist()
    elif isinstance(units, str | bytes | Mapping):
        raise LesionError(f"{wanted}; got {told(units)}")
    else:
        given = units if isinstance(units, Iterable) else [units]
    # Before they are counted: a range may be longer than any memory.
    given = itertools.islice(reversed(given) if isinstance(given, range) and given else given, MOST_UNITS + 1)
    found = set()
    for place, unit in enumerate(given):
        try:
            if isinstance(unit, bool):
                raise TypeError
            one = operator.index(unit)
        except TypeError as error:
            raise LesionError(f"{wanted}; got {told(unit)}") from error
        if not 0 <= one < MOST_UNITS or place >= MOST_UNITS:
            raise LesionError(
                f"{what}: units count from 0, and no site has {MOST_UNITS} of them; got {told(unit)}"
            )
        found.add(one)
    return tuple(sorted(found))


def mask(where: Any, what: str) -> Tensor:
    """A mask over the map, from a tensor, nested lists or one text of 0 and 1 a row: bool (height, width)."""
    wanted = (
        f"{what}: where must be a mask (height, width): a tensor, nested lists, or one text of 0 and 1 a row"
    )
    try:
        if isinstance(where, str | bytes | Mapping):
            raise TypeError
        if not (isinstance(where, Tensor) or hasattr(where, "__array__")):
            rows = [[float(place) for place in row] for row in where]
            if any(isinstance(row, str) and set(row) - {"0", "1"} for row in where):
                raise ValueError
            where = torch.tensor(rows)
        values = torch.as_tensor(where)
        if values.is_complex() or not bool(values.to(torch.float64).isfinite().all()):
            raise ValueError
        covered = values > 0
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise LesionError(f"{wanted}; got {told(where)}") from error
    if covered.ndim != 2:
        raise LesionError(f"{wanted}; got shape {tuple(covered.shape)}")
    if not bool(covered.any()):
        raise LesionError(f"{what}: where covers no place")
    return covered
