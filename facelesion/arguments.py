"""Words of the command line, and files of settings, as a dataclass or a function's arguments; and `--help`."""

from __future__ import annotations

import difflib
import json
import re
import textwrap
import types
import typing
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from facelesion.errors import Error
from facelesion.fields import REQUIRED, bare, describe, fields_of, rules_of
from facelesion.ranges import Kinds
from facelesion.settings import build, overlaid
from facelesion.yaml_files import COMMAND_LINE, Node, read_yaml

_WIDTH = 110


def read_arguments(
    target: Callable[..., Any], argv: Sequence[str], prog: str, config: bool = False
) -> dict[str, Any]:
    """Arguments of a function or dataclass from the command line, and from YAML files where `config` says so.

    With `config`, the first plain word is a YAML file, as is what follows `--config`; `--key.part value` goes over it.
    `--key=value` is the same, `--switch` alone is true, and a value is YAML: `--stimuli "[intact, invert]"`. A setting
    that is a list takes all the words up to the next key: `--stimuli intact invert`. Without `config`, a plain word, of
    no key, is the first argument, wherever it stands; where that is a list, all plain words are.

    Raises:
        SystemExit: after `--help`.
        Error: an unknown key, a value of the wrong kind, a file that is missing or no YAML.
    """
    built = build(target, read_words(target, argv, prog, config))
    return {found.name: getattr(built, found.name) for found in fields_of(target)} if is_dataclass(target) else built


def read_words(target: Callable[..., Any], argv: Sequence[str], prog: str, config: bool = False) -> Node:
    """The settings that words of the command line and a YAML file give, before anything is made of them.

    As `read_arguments`, which makes a dataclass or a function's arguments of them.
    """
    words = list(argv)
    if "-h" in words or "--help" in words:
        print(help_text(target, prog, config), end="")
        raise SystemExit(0)
    tree = Node({}, COMMAND_LINE)
    given: dict[str, str] = {}
    known = fields_of(target)
    first = known[0].name if known and not config else ""  # what plain words stand for
    several = bool(first) and _is_list(target, first)
    plain: list[str] = []
    if words and not words[0].startswith("-") and config:
        words = [f"--config={words[0]}", *words[1:]]
    for key, word in _pairs(target, words, config):
        if key is None:
            if not first or word.startswith("-") or (plain and not several):
                raise Error(f"{word[:60]!r} stands there alone: a setting is written --key value")
            plain.append(word)
        elif key == "config" and config:
            if tree.source != COMMAND_LINE:
                raise Error(f"two configs, {tree.source} and {word}: give one, and --key value over it")
            tree = read_settings(config_path(word))
        else:
            given[key] = word
    if plain:
        word = _as_list(plain) if several else plain[0]
        if first in given:
            raise Error(f"{first} is given twice, as {word} and with --{first} {given[first]}: give it once")
        given = {first: word} | given
    return overlaid(tree, given)


def read_settings(path: str | Path) -> Node:
    """A YAML file of settings, each as key: value.

    Raises:
        Error: as `read_yaml`, or it holds a list or a single value.
    """
    tree = read_yaml(path)
    if not isinstance(tree.value, dict):
        kind = "a list" if isinstance(tree.value, list) else "a single value"
        raise Error(f"{tree.where()}: {kind} stands there: settings are written as key: value")
    return tree


def config_path(word: str) -> Path:
    """The YAML file a word on the command line means: a path, or the name of a config that the project carries.

    Raises:
        Error: neither a file nor the name of a config.
    """
    if _is_file(Path(word)):
        return Path(word)
    package = Path(__file__).resolve().parent
    carried = [folder / f"{word}.yaml" for folder in (package / "_configs", package.parent / "configs")]
    found = [path for path in carried if Path(word).name == word and _is_file(path)]
    if not found:
        raise Error(f"no config file at {word[:200]}: give a YAML file, or a name such as default or lfw")
    return found[0]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def _pairs(target: Callable[..., Any], words: list[str], config: bool) -> Iterator[tuple[str | None, str]]:
    """Keys and their words, in order; None before a word of no key."""
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if not word.startswith("--") or word == "--":
            yield None, word
            continue
        key, equals, value = word[2:].partition("=")
        key = _known(target, key, config)
        if not equals:
            after = words[place] if place < len(words) else None
            if after is not None and not after.startswith("--"):
                several = _is_list(target, key)
                stop = next((n for n in range(place, len(words)) if words[n].startswith("--")), len(words))
                taken = words[place : stop if several else place + 1]
                value = _as_list(taken) if several else after
                place += len(taken)
            elif _is_switch(target, key):
                value = "true"
            else:
                raise Error(f"--{key} needs a value after it")
        yield key, value


def _known(target: Callable[..., Any], key: str, config: bool) -> str:
    """The key with underscores, where its first part is a setting."""
    first, dot, rest = key.partition(".")
    names = [found.name for found in fields_of(target)]
    if first not in names and first.replace("-", "_") in names:
        first = first.replace("-", "_")
    if first not in names and not (config and key == "config"):
        told = getattr(target, "OLD_KEYS", {})
        if first in told:
            raise Error(f"--{first} is no setting any more: {told[first]}")
        near = difflib.get_close_matches(first, names, 1, cutoff=0.5)
        hint = f"did you mean --{near[0]}?" if near else f"there are {', '.join('--' + name for name in names)}"
        raise Error(f"--{first[:60]} is no setting: {hint if names else 'this command takes none'}")
    return f"{first}{dot}{rest}"


def _is_switch(target: Callable[..., Any], key: str) -> bool:
    return _type_of(target, key) is bool


def _is_list(target: Callable[..., Any], key: str) -> bool:
    """Whether a setting is a list of any length, or may be one."""
    wanted = _type_of(target, key)
    kinds = typing.get_args(wanted) if typing.get_origin(wanted) in (typing.Union, types.UnionType) else [wanted]
    for kind in map(bare, kinds):
        origin, inside = typing.get_origin(kind), typing.get_args(kind)
        if origin in (list, Sequence) or (origin is tuple and inside[-1:] == (Ellipsis,)):
            return True
    return False


def _type_of(target: Callable[..., Any], key: str) -> Any:
    """The type of a setting, or of one within it; None where there is no such setting."""
    wanted: Any = target
    for number, part in enumerate(key.split(".")):
        found = None
        if not number or is_dataclass(wanted):
            found = next((found for found in fields_of(wanted) if found.name == part), None)
        if found is None:
            return None
        wanted = bare(found.wanted)
    return wanted


def _as_list(words: Sequence[str]) -> str:
    """Words as one list in YAML; a single word that is a list already stays as it is."""
    if len(words) == 1 and words[0].lstrip().startswith("["):
        return words[0]
    plain = (word if word.lstrip().startswith("{") else json.dumps(word, ensure_ascii=False) for word in words)
    return f"[{', '.join(plain)}]"


def help_text(target: Callable[..., Any], prog: str, config: bool = False) -> str:
    """A command's help: what it does, an example, and every setting with its kind, its default and what it is for.

    The example is a line of the docstring that begins with `$`.
    """
    known = fields_of(target)
    first = "[CONFIG] " if config else f"{known[0].name.upper()} " if known and known[0].default is REQUIRED else ""
    if first and not config and _is_list(target, known[0].name):
        first = f"{first.strip()} ... "
    about = (target.__doc__ or "").strip().split("\n\n")[0]
    lines = [f"usage: {prog} {first}{'[--key value ...]' if known else ''}".rstrip(), "", " ".join(about.split()), ""]
    lines += [f"example: {example}\n" for example in re.findall(r"^\s*\$ (.*)$", target.__doc__ or "", re.M)]
    if config:
        lines += ["  CONFIG, --config FILE", "      a YAML file with any of these settings; what follows goes over it"]
    for key, kind, default, said in _listed(target, ""):
        lines.append(f"  --{key}")
        shown = " ".join([f"{said.rstrip('.')}." if said else "", f"{kind[0].upper()}{kind[1:]}{default}."]).strip()
        lines += textwrap.wrap(shown, _WIDTH, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines).rstrip() + "\n"


def _listed(target: Callable[..., Any], above: str, made: Any = None) -> Iterator[tuple[str, str, str, str]]:
    """Key, kind, default and purpose of every setting; `made` is what stands in their place when all are left out."""
    for found in fields_of(target):
        key, default = f"{above}{found.name}", found.default if made is None else getattr(made, found.name)
        wanted = bare(found.wanted)
        if is_dataclass(wanted) and isinstance(wanted, type):
            kinds = next((rule for rule in rules_of(found.wanted) if isinstance(rule, Kinds)), None)
            if kinds is not None:
                yield f"{key}.{kinds.key}", kinds.words, f"; {default.name} when left out", found.doc
            yield from _listed(wanted, f"{key}.", None if default is REQUIRED else default)
            if kinds is not None:
                yield from _of_each(kinds, key, {shared.name for shared in fields_of(wanted)})
            continue
        if default is REQUIRED:
            shown = "; required"
        else:
            shown = "" if default is None else f"; {_as_written(default)} when left out"
        yield key, describe(found.wanted), shown, found.doc


def _of_each(kinds: Kinds, key: str, shared: Container[str]) -> Iterator[tuple[str, str, str, str]]:
    """The settings that each kind has beside those of all: as `_listed`."""
    for name, kind in kinds.of.items():
        for row in _listed(kind, ""):
            if row[0] not in shared:
                yield f"{key}.{row[0]} (with --{key}.{kinds.key} {name})", *row[1:]


def _as_written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_written, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" and value != {} else "nothing"
