"""How a Python package is cut: its files, its longest ones, its public names, its functions. Nothing is imported.

    python scripts/measure_package.py facelesion [other/package ...]

One row per package: files, lines, the longest file, files over 500 lines, names that the package offers at its top
(`__all__`, else what its `__init__` imports or defines without an underscore), functions, and how many of them are
longer than 60 lines. These are the figures of "Beside its peers" in docs/architecture.md.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

LONG_FILE, LONG_FUNCTION = 500, 60


@dataclass(frozen=True)
class Measured:
    """What is counted of a package; see the module."""

    files: int
    lines: int
    longest: tuple[str, int]
    long_files: int
    public: int
    functions: int
    long_functions: int


def measure(package: Path) -> Measured:
    """Count a package's files, names and functions; comments and docstrings count as lines."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    if package / "__init__.py" not in texts:
        raise SystemExit(f"{package}: no package: give the folder that holds its __init__.py")
    lines = {path: text.count("\n") for path, text in texts.items()}
    longest = max(lines, key=lambda path: lines[path])
    functions = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for text in texts.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return Measured(
        files=len(texts),
        lines=sum(lines.values()),
        longest=(str(longest.relative_to(package)), lines[longest]),
        long_files=sum(count > LONG_FILE for count in lines.values()),
        public=len(public_names(ast.parse(texts[package / "__init__.py"]))),
        functions=len(functions),
        long_functions=sum(length > LONG_FUNCTION for length in functions),
    )


def public_names(module: ast.Module) -> set[str]:
    """What a package's `__init__` offers: `__all__` where it is a plain list, else its names without an underscore."""
    named: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
        if isinstance(node, ast.Import | ast.ImportFrom):
            named |= {each.asname or each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            named.add(node.name)
        elif isinstance(node, ast.Assign):
            named |= {each.id for each in node.targets if isinstance(each, ast.Name)}
    return {name for name in named if not name.startswith("_")}


def main(packages: list[str]) -> None:
    """Print one row per package."""
    print("package | files | lines | longest file | over 500 | public names | functions | over 60 lines")
    for package in packages or ["facelesion"]:
        found = measure(Path(package))
        name, length = found.longest
        print(
            f"{Path(package).name} | {found.files} | {found.lines:,} | {length:,} ({name}) | {found.long_files} | "
            f"{found.public} | {found.functions:,} | {found.long_functions}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
