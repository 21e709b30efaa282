"""Engines by name, and the words of the command line that choose one: `--engine ray --address auto`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from facelesion.arguments import help_text, read_arguments
from facelesion.engines.contract import Engine
from facelesion.engines.here import Here
from facelesion.engines.on_ray import Ray
from facelesion.engines.processes import Processes
from facelesion.engines.under_slurm import Slurm
from facelesion.errors import Error
from facelesion.files import nearest

#: What `--engine` may be. `processes` takes how many from the study's own setting of that name.
ENGINES: dict[str, Callable[..., Any]] = {"here": Here, "processes": Processes, "ray": Ray, "slurm": Slurm}

_CHOICE = f"""\
--engine NAME says where the cells are done: {", ".join(ENGINES)} (docs/clusters.md).
`facelesion study --engine ray --help` lists the settings of one.
"""


def engine_words(argv: Sequence[str]) -> tuple[Callable[[int], Engine | None], list[str]]:
    """What makes the engine that words of the command line ask for, given how many processes; and the words left.

    `--help` prints the settings of the engine that stands beside it, or which there are, before what the rest prints.

    Raises:
        Error: no such engine; a setting of an engine that is not chosen; a value that cannot be; an extra that is not
            installed.

    Example:
        >>> make, rest = engine_words(["study.yaml", "--engine", "ray", "--workers", "3", "--draws", "3"])
        >>> rest
        ['study.yaml', '--draws', '3']
    """
    words = list(argv)
    name = _taken(words, "engine")
    asked = "-h" in words or "--help" in words
    if name is None:
        if asked:
            print(_CHOICE)
        for other, kind in ENGINES.items():
            for key in _keys(kind):
                if other != "processes" and _is_given(words, key):
                    raise Error(f"--{key.replace('_', '-')} is a setting of engine {other}: add --engine {other}")
        return lambda processes: None, words
    if name not in ENGINES:
        raise Error(f"--engine {name[:60]!r} is no engine: {nearest(name, ENGINES)}")
    kind = ENGINES[name]
    if name == "processes":
        return lambda processes: Processes(processes if processes > 1 else 2), words
    if asked:
        print(_help_of(name))
        return lambda processes: None, words
    given = []
    for key in _keys(kind):
        if (value := _taken(words, key)) is not None:
            given.append(f"--{key}={value}")
    engine = kind(**read_arguments(kind, given, f"--engine {name}"))
    if hasattr(engine, "look"):
        engine.look()
    return lambda processes: engine, words


def _help_of(name: str) -> str:
    """The settings of an engine."""
    if not _keys(ENGINES[name]):
        return f"engine {name} has no settings\n"
    lines = help_text(ENGINES[name], f"--engine {name}").splitlines()
    return "\n".join([f"settings of engine {name}:", *lines[4:], ""])


def _is_given(words: Sequence[str], key: str) -> bool:
    spelt = (f"--{key}", f"--{key.replace('_', '-')}")
    return any(word.partition("=")[0] in spelt for word in words)


def _keys(kind: Any) -> list[str]:
    return [each.name for each in fields(kind)]


def _taken(words: list[str], key: str) -> str | None:
    """The value of a setting, taken out of the words with its name."""
    spelt = (f"--{key}", f"--{key.replace('_', '-')}")
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name not in spelt:
            continue
        if equals:
            del words[place]
            return value
        if place + 1 == len(words) or words[place + 1].startswith("--"):
            raise Error(f"{name} needs a value after it")
        value = words[place + 1]
        del words[place : place + 2]
        return value
    return None
