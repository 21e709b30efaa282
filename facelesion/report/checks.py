"""Checks of what a run folder holds: it may have been edited, or come from elsewhere. Each names the key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from facelesion.errors import Error

LONGEST = 20_000  # letters; more is no name and no question


def kind_of(value: object) -> str:
    """What a value is, in the words of someone who edits a file.

    Example:
        >>> kind_of(None), kind_of([1]), kind_of({}), kind_of("a"), kind_of(True), kind_of(2)
        ('null', 'a list', 'a table of keys', 'text', 'true or false', 'the number 2')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        shown = str(value) if abs(value) < 1e12 or value != value else "very large"
        return f"the number {shown}"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list | tuple | set):
        return "a list"
    if isinstance(value, Mapping):
        return "a table of keys"
    return f"a {type(value).__name__}"


def text(value: object, key: str, *, empty: bool = True) -> str:
    """A text that can be written and shown.

    Raises:
        Error: not text, empty where it must not be, or letters that cannot be encoded.
    """
    if not isinstance(value, str):
        raise Error(f"{key} must be text, not {kind_of(value)}")
    if not empty and not value.strip():
        raise Error(f"{key} is empty")
    if len(value) > LONGEST:
        raise Error(f"{key} has {len(value)} letters; {LONGEST} are the most")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Error(f"{key} holds half a letter (a lone surrogate), which cannot be shown") from None
    return value


def number(value: object, key: str) -> float:
    """A finite number.

    Raises:
        Error: not a number, or infinite, or none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Error(f"{key} must be a number, not {kind_of(value)}")
    try:
        finite = math.isfinite(float(value))
    except OverflowError:
        finite = False
    if not finite:
        raise Error(f"{key} must be a finite number, not {kind_of(value)}")
    return value


def mapping(value: object, key: str) -> Mapping[str, Any]:
    """A table of named values.

    Raises:
        Error: not a table, or a key that is no text.
    """
    if not isinstance(value, Mapping):
        raise Error(f"{key} must be a table of keys and values, not {kind_of(value)}")
    for name in value:
        text(name, f"a key of {key}")
    return value


def sequence(value: object, key: str) -> list[Any]:
    """A list.

    Raises:
        Error: not a list.
    """
    if not isinstance(value, list | tuple):
        raise Error(f"{key} must be a list, not {kind_of(value)}")
    return list(value)
