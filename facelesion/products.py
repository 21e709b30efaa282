"""How exactly products of float32 are computed: in full, or rounded to 10 bits as newer GPUs do by themselves.

PyTorch lets cuDNN's convolutions round their factors (TensorFloat-32, TF32) unless it is told otherwise, and products
of matrices where a user has asked for it. Each factor is then off by up to 5e-4 of its size, where float32 is off by
6e-8: a lesion of one unit may change an answer by less.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class _Switch:
    """One of PyTorch's settings: how it is read and set, and its words for exact and for rounded."""

    read: Callable[[], Any]
    set: Callable[[Any], None]
    exact: Any
    rounded: Any

    @classmethod
    def at(cls, place: str, name: str, exact: Any, rounded: Any) -> _Switch:
        """An attribute of a module of `torch.backends`."""

        def owner() -> Any:
            found: Any = torch.backends
            for part in place.split("."):
                found = getattr(found, part)
            return found

        return cls(lambda: getattr(owner(), name), lambda value: setattr(owner(), name, value), exact, rounded)


# PyTorch's settings until 2.8, and those it has beside them since: it refuses to tell of the former what the latter
# say otherwise. So the former are set first, and the latter only where they do not follow.
_FORMER = (
    _Switch(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest", "high"),
    _Switch.at("cudnn", "allow_tf32", False, True),
)
_LATTER = tuple(
    _Switch.at(place, "fp32_precision", "ieee", "tf32") for place in ("cudnn.conv", "cudnn.rnn", "cuda.matmul")
)


@contextlib.contextmanager
def float32_products(rounded: bool = False) -> Iterator[None]:
    """Convolutions and products of float32 in full, whatever is set; `rounded` lets a GPU take TF32 for them.

    What was set before holds again afterwards.

    Example:
        >>> with float32_products():
        ...     rounds()
        False
    """
    former, latter = _as_set(_FORMER), _as_set(_LATTER)
    try:
        for switch, _ in former:
            switch.set(switch.rounded if rounded else switch.exact)
        for switch, _ in latter:
            if (switch.read() == switch.rounded) != rounded:
                switch.set(switch.rounded if rounded else switch.exact)
        yield
    finally:
        for switch, value in former:
            switch.set(value)
        for switch, value in latter:
            if switch.read() != value:
                switch.set(value)


def rounds() -> bool:
    """Whether a GPU rounds the factors of some products of float32, as things are set now.

    Example:
        >>> with float32_products(rounded=True):
        ...     rounds()
        True
    """
    return any(value not in (switch.exact, "none") for switch, value in _as_set((*_FORMER, *_LATTER)))


def _as_set(switches: tuple[_Switch, ...]) -> list[tuple[_Switch, Any]]:
    """What is set: without what this PyTorch does not have, and what it does not tell."""
    found = []
    for switch in switches:
        with contextlib.suppress(AttributeError, RuntimeError):
            found.append((switch, switch.read()))
    return found
