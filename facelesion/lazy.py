"""Public names that a package imports when they are first asked for (PEP 562): importing the package is quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazily(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`, for names that live in modules of its own.

    Args:
        package: its `__name__`.
        homes: by module, counted from the package, the names that it holds.

    Example:
        In a package's `__init__`: `__getattr__, __dir__ = lazily(__name__, _HOMES)`.

        >>> get, names = lazily("facelesion", {"errors": ("Error",)})
        >>> get("Error")
        <class 'facelesion.errors.Error'>
        >>> get("Eror")
        Traceback (most recent call last):
        AttributeError: module 'facelesion' has no attribute 'Eror'
    """
    home = {name: f"{package}.{module}" for module, names in homes.items() for name in names}

    def fetch(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home[name]), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home})

    return fetch, names
