"""Tests go through names that a room gives: none reaches for what the package keeps to itself."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__).resolve()]
# Names that the package has and somebody else too: a test that says them means the other's.
OTHERS = {
    "_buffers": "torch's modules have them",
    "_fields": "named tuples have them",
}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def trees(folder: str) -> Iterator[ast.AST]:
    return (ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / folder).rglob("*.py")))


def named(tree: ast.AST) -> set[str]:
    """The private names that a file gives: to functions, classes, values and attributes."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return set(filter(private, found))


@functools.cache
def kept_to_itself() -> frozenset[str]:
    return frozenset().union(*map(named, trees("facelesion"))) - OTHERS.keys()


def reached(tree: ast.AST) -> set[str]:
    """The package's private names that a test imports, asks for, sets, or says in text (`"facelesion.room._name"`)."""
    known, found = kept_to_itself() - named(tree), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "facelesion":
            found |= {each for each in (*node.module.split("."), *(name.name for name in node.names)) if private(each)}
        elif isinstance(node, ast.Attribute):
            found |= {node.attr} & known
        elif isinstance(node, ast.Call) and "attr" in ast.unparse(node.func):
            found |= {each.value for each in node.args if isinstance(each, ast.Constant)} & known
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(re.findall(r"\w\.(_\w+)", node.value)) & known
    return found


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_no_test_reaches_for_what_the_package_keeps_to_itself(path: Path) -> None:
    assert reached(ast.parse(path.read_text(encoding="utf-8"))) == set(), "go through a name that the room gives"


@pytest.mark.parametrize(
    "source",
    [
        "from facelesion.sweep.store import _parts",
        "from facelesion.sweep import store\nstore._parts(folder)",
        "monkeypatch.setattr(store, '_parts', None)",
        "monkeypatch.setattr('facelesion.sweep.store._parts', None)",
        "SCRIPT = 'from facelesion.sweep import store; store._parts(folder)'",
    ],
)
def test_whoever_reaches_is_found(source: str) -> None:
    assert reached(ast.parse(source)) == {"_parts"}


def test_names_that_are_somebody_else_s_are_still_the_package_s_too() -> None:
    assert frozenset().union(*map(named, trees("facelesion"))) >= OTHERS.keys()
