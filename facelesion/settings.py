"""What a setting may be, said once where it is declared; checked alike from Python, YAML and the command line.

    @dataclass(frozen=True)
    class StudyConfig:
        '''A study.

        Attributes:
            draws: how often each lesion is drawn anew.
        '''

        draws: Annotated[int, Range(1, 10_000)] = 5

        def __post_init__(self) -> None:
            check(self)

    StudyConfig(draws=-1)                                  # draws is -1: it must be 1 to 10,000 (how often each ...)
    build(StudyConfig, read_yaml("study.yaml"))            # study.yaml, line 3: draws is -1: ...
    build(StudyConfig, parse_yaml("{}", ""), {"draws": "-1"})   # --draws is -1: ...

What an `Attributes:` or `Args:` section says of a field stands in its errors and in `--help`.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from facelesion.errors import Error
from facelesion.fields import REQUIRED, bare, describe, fields_of, rules_of
from facelesion.ranges import Constraint, OnlyWhen, is_text
from facelesion.yaml_files import COMMAND_LINE, Node, Where, overlay, parse_word

Value = TypeVar("Value")
_YES, _NO = ("yes", "on", "y"), ("no", "off", "n")


class SettingError(Error):
    """A setting that cannot be what it is: its key, what is wrong with it, and where it was written.

    Example:
        >>> print(SettingError("stimuli", "begin with 'invert': they must begin with intact"))
        stimuli begin with 'invert': they must begin with intact
    """

    def __init__(self, key: str, said: str, where: Where | None = None) -> None:
        self.key, self.said, self.where = key, said, where
        super().__init__(f"{where if where is not None else key} {said}".strip())

    def __reduce__(self) -> tuple[Any, ...]:
        """What it is made of, so that a worker process can hand it on."""
        return type(self), (self.key, self.said, self.where)


def check(config: Any) -> None:
    """Check every field of a frozen dataclass against its annotation; call it in `__post_init__`.

    Whole numbers for real ones, lists for tuples and numpy's numbers are turned into what the annotation says.

    Raises:
        SettingError: a value of another kind, out of range, or one that does nothing beside the others.
    """
    cls: Any = type(config)
    for found in fields_of(cls):
        given = getattr(config, found.name)
        settled = _settle(found.wanted, given, found.name, found.doc)
        if settled is not given:
            object.__setattr__(config, found.name, settled)
    _refuse_unused(cls, {found.name: getattr(config, found.name) for found in fields_of(cls)})


def _refuse_unused(target: Any, values: Mapping[str, Any]) -> None:
    """Refuse a value that was set and does nothing beside the others."""
    for found in fields_of(target):
        for rule in rules_of(found.wanted):
            if isinstance(rule, OnlyWhen) and values[found.name] != found.default:
                if problem := rule.idle(values[rule.name]):
                    raise SettingError(found.name, problem)


def refuse_idle(config: Any, idle: Mapping[str, str]) -> None:
    """Refuse settings that do nothing in this use of a config, unless they are left at their defaults.

    Args:
        config: a dataclass.
        idle: why, by key; keys reach into nested dataclasses.

    Example:
        `refuse_idle(config, {"data.tests": "all tests are on intact pictures"})`

    Raises:
        SettingError: one of them is set.
    """
    cls: Any = type(config)
    for key, why in idle.items():
        first, *parts = key.split(".")
        value = getattr(config, first)
        default = next(found.default for found in fields_of(cls) if found.name == first)
        for part in parts:
            value, default = getattr(value, part), getattr(default, part)
        if value != default:
            raise SettingError(key, f"does nothing here ({why}): leave it out")


def overlaid(tree: Node, overrides: Mapping[str, str]) -> Node:
    """What was read, with words of the command line over it, by key such as `data.people`.

    Raises:
        SettingError: a key that goes through a value without parts.
    """
    for key, word in overrides.items():
        try:
            tree = overlay(tree, key, parse_word(word))
        except Error as error:
            raise SettingError(key, f"cannot be set: {error}", Where(COMMAND_LINE, key)) from None
    return tree


def build(
    cls: Callable[..., Value], tree: Node, overrides: Mapping[str, str] | None = None, key: str = ""
) -> Value:
    """A dataclass, or a function's arguments as a dict, from what was read, with words of the command line over it.

    Args:
        cls: a dataclass; of a function, its arguments by name are returned.
        tree: what `read_yaml` read.
        overrides: by key such as `data.people`, the word given for it.
        key: where the settings lie, for messages, if they are part of others.

    Raises:
        SettingError: a key that there is not, one that is missing, a value that does not fit; with file, line and key.
    """
    return _assembled(cls, overlaid(tree, overrides or {}), key)


def _assembled(cls: Callable[..., Any], given: Any, key: str) -> Any:
    """A dataclass (or a function's arguments) from a mapping."""
    entries = given.value if isinstance(given, Node) else given
    if not isinstance(entries, Mapping):
        raise _wrong(given, key, f"is {_shown(given)}: it must be settings, each as key: value", "")
    known = {found.name: found for found in fields_of(cls)}
    for name in entries:
        if name not in known:
            said = _unknown(cls, str(name), list(known))
            raise SettingError(_below(key, name), said, _place(given, _below(key, name), str(name)))
    values: dict[str, Any] = {}
    for name, found in known.items():
        if name in entries:
            line = given.key_lines.get(name) if isinstance(given, Node) else None
            values[name] = _settle(found.wanted, entries[name], _below(key, name), found.doc, line)
        elif found.default is REQUIRED:
            said = f"is missing: it must be {describe(found.wanted)}"
            raise _wrong(given, _below(key, name), said, found.doc)
    try:
        if is_dataclass(cls):
            return cls(**values)
        values = {name: values.get(name, found.default) for name, found in known.items()}
        _refuse_unused(cls, values)
        return values
    except SettingError as error:
        if error.where is not None:
            raise
        own = error.key.removeprefix(f"{key.rpartition('.')[2]}.") if key else error.key
        where = _place(given, _below(key, own), own)
        raise SettingError(_below(key, own), error.said, where) from None
    except Error as error:
        where = _place(given, key)
        told = str(where) if key or where.source != COMMAND_LINE else ""
        raise Error(f"{told}: {error}" if told else str(error)) from None


def _settle(wanted: Any, given: Any, key: str, doc: str, line: int | None = None) -> Any:
    """A value of the kind that is wanted, once it was found to be one."""
    if isinstance(given, Node) and line is not None and given.line != line:
        given = Node(given.value, given.source, line, given.text, given.key_lines)  # the key's line, not the value's
    kind, rules = bare(wanted), rules_of(wanted)
    value = _of_kind(kind, given, key, doc, rules)
    if value is not None:
        for rule in rules:
            if problem := rule.problem(value):
                raise _wrong(given, key, f"is {_shown(given)}: {problem}", doc)
    return value


def _of_kind(wanted: Any, given: Any, key: str, doc: str, rules: Sequence[Constraint]) -> Any:
    value = given.value if isinstance(given, Node) else given
    origin, inside = typing.get_origin(wanted), typing.get_args(wanted)

    def wrong() -> SettingError:
        return _wrong(given, key, f"is {_shown(given)}: it must be {describe(wanted, rules)}", doc)

    if wanted is Any:
        return given.plain() if isinstance(given, Node) else given
    if origin in (Union, types.UnionType):
        return _of_some_kind(inside, given, key, doc, wrong)
    if origin is Literal:
        for option in inside:
            if type(value) is type(option) and value == option:
                return option
            if isinstance(given, Node) and isinstance(option, str) and given.text == option and value is not None:
                return option
        if isinstance(value, str) and (near := difflib.get_close_matches(value, map(str, inside), 1)):
            raise _wrong(given, key, f"is {value!r}: did you mean {near[0]}? It must be {describe(wanted)}", doc)
        raise wrong()
    if origin in (tuple, list, Sequence) or wanted in (tuple, list):
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
            raise wrong()
        return _settled_list(origin or wanted, inside, value, key, doc, wrong)
    if origin in (dict, Mapping) or wanted is dict:
        if not isinstance(value, Mapping):
            raise wrong()
        keys, values = inside or (str, Any)
        lines = given.key_lines if isinstance(given, Node) else {}
        settled = {}
        for name, each in value.items():
            # A name that is wrong is told at its own line, as the name that it is.
            named = Node(name, given.source, lines.get(name), name) if isinstance(given, Node) else name
            try:
                name = _settle(keys, named, key, "")
            except SettingError as error:
                raise SettingError(key, error.said.replace("is", "names", 1), error.where) from None
            settled[name] = _settle(values, each, _below(key, name), "", lines.get(name))
        same = not isinstance(given, Node) and all(settled[name] is value.get(name) for name in settled)
        return given if same else settled
    if is_dataclass(wanted) and isinstance(wanted, type):
        return given if isinstance(given, wanted) else _assembled(wanted, given, key)
    endless = any(getattr(rule, "endless", False) for rule in rules)
    return _settled_scalar(wanted, given, value, wrong, endless)


def _settled_list(
    origin: Any, inside: tuple[Any, ...], value: Sequence[Any], key: str, doc: str, wrong: Callable[[], SettingError]
) -> Any:
    if origin is tuple and inside and inside[-1] is not Ellipsis:
        if len(value) != len(inside):
            raise wrong()
        kinds = inside
    else:
        kinds = (inside[0] if inside else Any,) * len(value)
    settled = [
        _settle(kind, each, _below(key, str(place)), "")
        for place, (kind, each) in enumerate(zip(kinds, value, strict=True))
    ]
    make = list if origin is list else tuple
    fits = isinstance(value, list | tuple if origin is Sequence else make)
    same = fits and all(a is b for a, b in zip(settled, value, strict=True))
    return value if same else make(settled)


def _settled_scalar(
    wanted: Any, given: Any, value: Any, wrong: Callable[[], SettingError], endless: bool = False
) -> Any:
    text = given.text if isinstance(given, Node) else None
    if wanted is type(None):
        if value is not None:
            raise wrong()
        return None
    if wanted is bool:
        word = (text or "").lower()
        if not isinstance(value, bool) and word not in _YES + _NO:
            raise wrong()
        return value if isinstance(value, bool) else word in _YES
    if wanted in (int, float):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise wrong()
        if isinstance(value, numbers.Integral) and wanted is int:
            return value if type(value) is int else int(value)
        try:
            real = float(value)
        except OverflowError:  # a whole number beyond what a real one can be
            raise wrong() from None
        if wanted is int:
            if not real.is_integer():
                raise wrong()
            return int(real)
        if not math.isfinite(real) and not endless:
            raise wrong()
        return value if type(value) is float else real
    if wanted is str or wanted is Path:
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if text is not None and (value is not None or (given.source == COMMAND_LINE and text == "")):
            value = text
        if not is_text(value):
            raise wrong()
        return Path(value) if wanted is Path else value
    if isinstance(wanted, type):
        if not isinstance(value, wanted):
            raise wrong()
        return given
    raise TypeError(f"settings cannot be of type {wanted}")


def _of_some_kind(
    kinds: Sequence[Any], given: Any, key: str, doc: str, wrong: Callable[[], SettingError]
) -> Any:
    """The first of several kinds that a value is of; where one kind alone has its shape, that one's complaint."""
    value = given.value if isinstance(given, Node) else given
    fitting = [kind for kind in kinds if _has_shape(bare(kind), value)]
    if isinstance(given, Node) and given.source == COMMAND_LINE and given.text is not None and not fitting:
        fitting = [kind for kind in kinds if bare(kind) is str]
    if len(fitting) == 1:
        return _settle(fitting[0], given, key, doc)
    for kind in fitting:
        try:
            return _settle(kind, given, key, doc)
        except SettingError:
            continue
    raise wrong()


def _has_shape(kind: Any, value: Any) -> bool:
    origin = typing.get_origin(kind)
    if kind is type(None) or value is None:
        return kind is type(None) and value is None
    if isinstance(value, Mapping):
        return origin in (dict, Mapping) or kind is dict or is_dataclass(kind)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return origin in (list, tuple, Sequence) or kind in (list, tuple)
    if is_dataclass(kind):
        return isinstance(kind, type) and isinstance(value, kind)
    return origin is Literal or (origin is None and kind not in (dict, list, tuple))


def _below(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)


def _place(given: Any, key: str, name: str = "") -> Where:
    """Where the entry `name` of what is given was written, or what is given itself."""
    if not isinstance(given, Node):
        return Where(key=key)
    found = given.where(name)
    below = given.value.get(name.split(".")[0]) if isinstance(given.value, dict) else None
    return Where(below.source if isinstance(below, Node) else given.source, key, found.line)


def _wrong(given: Any, key: str, said: str, doc: str) -> SettingError:
    where = Where(given.source, key, given.line) if isinstance(given, Node) else Where(key=key)
    about = _first_words(doc)
    return SettingError(key, f"{said} ({about})" if about else said, where if isinstance(given, Node) else None)


def _unknown(cls: Any, name: str, known: Sequence[str]) -> str:
    told = getattr(cls, "OLD_KEYS", {})  # a class may say what to write instead of keys it had
    if name in told:
        return f"is no setting any more: {told[name]}"
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"is no setting: {hint}"


def _shown(given: Any) -> str:
    value = given.plain() if isinstance(given, Node) else given
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        shown = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        shown = "a number of thousands of digits"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _first_words(doc: str) -> str:
    """The first statement of what is said of a field; nothing where it begins with what may stand there."""
    if doc.startswith("`"):
        return ""
    for end in (". ", "; ", " ("):
        doc = doc.split(end)[0]
    return doc.rstrip(".:;,")
