"""The settings that a dataclass or function declares: names, types, defaults, rules, and what is said of them."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union

REQUIRED: Any = object()
_NAMED: dict[Any, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"
}  # fmt: skip


class Field(NamedTuple):
    """One setting of a dataclass or function."""

    name: str
    wanted: Any
    default: Any
    doc: str


@cache
def fields_of(target: Any) -> tuple[Field, ...]:
    """The settings of a dataclass, or of a function's arguments: names, types, defaults, and what is said of them."""
    docs = _documented(target)
    if is_dataclass(target):
        hints = typing.get_type_hints(target, include_extras=True)
        return tuple(
            Field(
                f.name,
                hints[f.name],
                f.default if f.default is not MISSING
                else f.default_factory() if f.default_factory is not MISSING else REQUIRED,
                docs.get(f.name, ""),
            )
            for f in fields(target) if f.init
        )  # fmt: skip
    hints = typing.get_type_hints(target, include_extras=True)
    return tuple(
        Field(name, hints[name], REQUIRED if p.default is p.empty else p.default, docs.get(name, ""))
        for name, p in inspect.signature(target).parameters.items()
    )


def describe(wanted: Any, rules: Sequence[Any] = ()) -> str:
    """A kind of value in words.

    Example:
        >>> describe(Literal["facespace", "lfw"]), describe(int | None), describe(list[str])
        ('one of facespace, lfw', 'a whole number or null', 'a list')
    """
    rules = [*rules, *rules_of(wanted)]
    wanted = bare(wanted)
    origin, inside = typing.get_origin(wanted), typing.get_args(wanted)
    words = [rule.words for rule in rules if getattr(rule, "words", "")]
    if origin in (Union, types.UnionType):
        return " or ".join("null" if kind is type(None) else describe(kind, rules) for kind in inside)
    if origin is Literal:
        options = [str(option).lower() if isinstance(option, bool) else str(option) for option in inside]
        return options[0] if len(options) == 1 else f"one of {', '.join(options)}"
    if origin is tuple and inside and inside[-1] is not Ellipsis:
        base = f"a list of {len(inside)}"
    elif origin in (tuple, list, Sequence) or wanted in (tuple, list):
        base = "a list"
    elif origin in (dict, Mapping) or wanted is dict or is_dataclass(wanted):
        base = "settings, each as key: value"
    else:
        base = _NAMED.get(wanted) or str(getattr(wanted, "__name__", wanted))
    return ", ".join([base, *words])


def bare(wanted: Any) -> Any:
    """A type without the rules beside it."""
    return typing.get_args(wanted)[0] if typing.get_origin(wanted) is Annotated else wanted


def rules_of(wanted: Any) -> list[Any]:
    """The rules beside a type."""
    return list(typing.get_args(wanted)[1:]) if typing.get_origin(wanted) is Annotated else []


def _documented(target: Any) -> dict[str, str]:
    """What the `Attributes:` or `Args:` section of a docstring says, by name; of a class, its bases' sections too."""
    bases = reversed(target.__mro__) if isinstance(target, type) else (target,)
    return {name: said for base in bases for name, said in _section(base.__doc__ or "").items()}


def _section(docstring: str) -> dict[str, str]:
    found: dict[str, str] = {}
    names: list[str] = []
    within = False
    for row in inspect.cleandoc(docstring).splitlines():
        if not row.startswith(" "):
            within = row.strip() in ("Attributes:", "Args:") or (within and not row.strip())
        elif within and row.startswith("    ") and not row.startswith("     ") and ":" in row:
            before, _, said = row.strip().partition(":")
            names = [name.strip() for name in before.split(",")]
            found.update(dict.fromkeys(names, said.strip()))
        elif within:
            found.update({name: f"{found[name]} {row.strip()}".strip() for name in names})
    return found
