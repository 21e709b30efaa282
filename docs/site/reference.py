"""The reference: a page for every public name, written anew from the package whenever the site is built.

A name's page shows its signature, its docstring, a doctested example, and where the gallery uses it. A value that only
functions make (`Interval`, say) is shown in the example of one that makes it; whatever else lacks an example of its own
is shown in one that uses it. `example_of` is the rule, and a test holds every public name to it, or to the gallery.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import facelesion


@dataclass(frozen=True)
class Name:
    """A public name of a room."""

    room: str
    name: str

    @property
    def full(self) -> str:
        return f"{self.room}.{self.name}"

    @property
    def value(self) -> Any:
        return getattr(importlib.import_module(self.room), self.name)

    @property
    def page(self) -> str:
        """Where its page lies; `split` and `Split` are one file on some systems, so a function may be told apart."""
        twin = inspect.isfunction(self.value) and self.name.capitalize() in importlib.import_module(self.room).__all__
        return f"{self.room}/{self.name}{'_function' if twin else ''}"


def rooms() -> list[str]:
    """The rooms with public names, in the alphabet's order."""
    found = [each.name for each in pkgutil.iter_modules(facelesion.__path__, "facelesion.") if each.ispkg]
    return sorted(room for room in found if hasattr(importlib.import_module(room), "__all__"))


@cache
def public_names() -> tuple[Name, ...]:
    """Every public name of every room. Those at the top are all names of a room too, `Error` apart."""
    named = [Name(room, name) for room in rooms() for name in sorted(importlib.import_module(room).__all__)]
    return (*named, Name("facelesion.errors", "Error"))


def home_of(name: str) -> Name:
    """The room's name behind one at the top, such as `facelesion.Ablate`."""
    value = getattr(facelesion, name)
    value = value.sweep if isinstance(value, ModuleType) else value  # the room that is called as its function is
    return next(each for each in public_names() if each.name == name and each.value is value)


def own_example(value: Any) -> str:
    """The doctest in a name's own docstring, or in those of its methods."""
    docs = [inspect.getdoc(value)] if _is_documented(value) else []
    if inspect.isclass(value):
        docs = [value.__dict__.get("__doc__")]
        members = (getattr(each, "__func__", each) for name, each in vars(value).items() if not name.startswith("_"))
        docs += [each.__doc__ for each in members if callable(each)]
    return "\n".join(_doctest(inspect.cleandoc(each)) for each in docs if each and ">>>" in each)


def example_of(wanted: Name) -> tuple[Name, str] | None:
    """Whose example shows a name, and that example: its own, one that makes it, or one that uses it."""
    shown = own_examples()
    if wanted in shown:
        return wanted, shown[wanted]
    word = re.compile(rf"\b{wanted.name}\b")
    near = sorted(shown, key=lambda each: each.room != wanted.room)
    for each in near:
        if inspect.isfunction(each.value) and word.search(str(each.value.__annotations__.get("return", ""))):
            return each, shown[each]
    return next(((each, shown[each]) for each in near if word.search(code_of(shown[each]))), None)


@cache
def own_examples() -> dict[Name, str]:
    """By name, the examples of those that have one of their own."""
    found = {each: own_example(each.value) for each in public_names()}
    return {each: example for each, example in found.items() if example}


@cache
def code_of(example: str) -> str:
    return "".join(line.source for line in doctest.DocTestParser().get_examples(example))


def pages() -> dict[str, str]:
    """Every page of the reference, by its path without the ending."""
    written = {"index": _index(), "facelesion": _top()}
    for room in rooms():
        written[room] = _room(room)
    for each in public_names():
        written[each.page] = _page(each)
    return written


def write(folder: Path) -> None:
    """Write the pages that changed, and remove those that are no more."""
    written = {folder / f"{path}.rst": text for path, text in pages().items()}
    for path in folder.rglob("*.rst"):
        if path not in written:
            path.unlink()
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _index() -> str:
    rows = [(f":doc:`{room}`", summary(importlib.import_module(room))) for room in ["facelesion", *rooms()]]
    return "\n".join(
        [
            *_title("Reference"),
            "Every public name, room by room. What stands in `facelesion` itself is what most programs need.",
            "",
            *_table(rows),
            *_tree(["facelesion", *rooms()]),
        ]
    )


def _top() -> str:
    homes = [home_of(name) for name in sorted(facelesion.__all__)]
    rows = [(_link(each), summary(each.value)) for each in homes]
    return "\n".join(
        [
            *_title("facelesion"),
            *_prose(facelesion),
            *_table(rows),
        ]
    )


def _room(room: str) -> str:
    names = [each for each in public_names() if each.room == room]
    module = importlib.import_module(room)
    rows = [(_link(each), summary(each.value) if not _is_data(each.value) else _said(each)) for each in names]
    return "\n".join(
        [*_title(room), *_prose(module), *_table(rows)]
    )


def _page(each: Name) -> str:
    value = each.value
    above = each.room if each.room in rooms() else "facelesion"
    # Out of the sidebar, which would be rendered on every page with all names: they are found by their room's table.
    lines = [":orphan:", "", *_title(each.name), f":doc:`{above} </reference/{above}>`", ""]
    lines += [f".. currentmodule:: {each.room}", ""]
    twin = next(one for one in public_names() if one.value is value)
    if twin != each:
        lines += [f"The same as {_link(twin)} of `{twin.room}`.", "", summary(value), ""]
    elif isinstance(value, ModuleType):
        lines += [f".. automodule:: {each.full}", "   :members:", ""]
    elif _is_data(value):
        lines += [f".. py:data:: {each.full}", "", f"   {_said(each)}", "", *_entries(value)]
    elif inspect.isclass(value):
        lines += [f".. autoclass:: {each.full}", "   :members:", ""]
    else:
        lines += [f".. autofunction:: {each.full}", ""]
    shown = example_of(each)
    if shown and shown[0] != each:
        lines += ["Example", "-------", "", f"Shown by {_link(shown[0])}:", "", shown[1], ""]
    called = each.full + (f" facelesion.{each.name}" if each.name in facelesion.__all__ else "")
    return "\n".join([*lines, f".. minigallery:: {called}", "   :add-heading: In the gallery", ""])


def summary(value: Any) -> str:
    """The first sentence of what is said of it, on one line."""
    about = inspect.getdoc(value) or ""
    return " ".join(about.split("\n\n")[0].split())


def _said(each: Name) -> str:
    """The comment `#:` above a value, wherever it is defined."""
    (folder,) = importlib.import_module(each.room).__path__
    for path in sorted(Path(folder).glob("*.py")):
        told = re.search(rf"((?:^#: .*\n)+){each.name}\b", path.read_text(encoding="utf-8"), re.M)
        if told:
            return " ".join(told[1].replace("#:", "").split())
    return ""


def _entries(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return _table([(f"``{key}``", _entry(found)) for key, found in value.items()])
    return _table([(f"``{each}``", "") for each in value])


def _entry(found: Any) -> str:
    meaning = getattr(found, "meaning", "") or getattr(found, "question", "")
    told = str(meaning) if isinstance(meaning, str) and meaning else summary(found)
    return told if inspect.getdoc(found) != inspect.getdoc(type(found)) or meaning else f"``{found!r}``"


def _is_data(value: Any) -> bool:
    return isinstance(value, (Mapping, tuple, list, str))


def _is_documented(value: Any) -> bool:
    return inspect.isroutine(value) or hasattr(value, "__wrapped__") or isinstance(value, ModuleType)


def _doctest(text: str) -> str:
    """The doctest blocks of a docstring, to the left margin."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        lines = inspect.cleandoc("\n" + block).splitlines()
        first = next((number for number, line in enumerate(lines) if line.lstrip().startswith(">>>")), None)
        if first is not None:
            blocks.append(inspect.cleandoc("\n" + "\n".join(lines[first:])))
    return "\n\n".join(blocks)


def _link(each: Name) -> str:
    return f":doc:`{each.name} </reference/{each.page}>`"


def _prose(module: ModuleType) -> list[str]:
    return [inspect.getdoc(module) or "", ""]


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), ""]


def _table(rows: list[tuple[str, str]]) -> list[str]:
    lines = [".. list-table::", "   :widths: 30 70", "   :class: names", ""]
    for first, second in rows:
        lines += [f"   * - {first}", f"     - {second}"]
    return [*lines, ""]


def _tree(names: list[str]) -> list[str]:
    return [".. toctree::", "   :hidden:", "", *(f"   {name}" for name in names), ""]
