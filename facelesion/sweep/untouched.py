"""A network is left as it was, whatever its own forwards note down on it while it is tried out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# What every module carries: its parts, parameters, buffers, hooks and mode are nobody's notes.
OWN = frozenset(vars(nn.Module()))


def notes(module: nn.Module) -> dict[str, Any]:
    """A module's plain attributes: what its author put there, beside parameters, buffers, parts and hooks.

    Example:
        >>> sorted(notes(nn.Flatten()))
        ['end_dim', 'start_dim']
    """
    return {name: value for name, value in vars(module).items() if name not in OWN}


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Puts plain attributes and buffers back as they were when the block ends.

    Example:
        >>> network = nn.BatchNorm1d(2)
        >>> with untouched(network):
        ...     _ = network(torch.rand(4, 2) + 5)
        >>> network.running_mean
        tensor([0., 0.])
    """
    kept = [(module, notes(module), _inside(module), _buffers(module)) for module in model.modules()]
    try:
        yield
    finally:
        for module, own, inside, buffers in kept:
            for name in notes(module).keys() - own.keys():
                del vars(module)[name]
            for name, value in own.items():
                vars(module)[name] = value
            for value, content in inside:
                _refill(value, content)
            for name, tensor, numbers in buffers:
                module._buffers[name] = tensor
                if not _same(tensor, numbers):
                    with torch.no_grad():
                        tensor.copy_(numbers)


def _inside(module: nn.Module) -> list[tuple[Any, Any]]:
    return [(v, copy.copy(v)) for v in notes(module).values() if type(v) in (list, dict, set)]


def _refill(value: Any, content: Any) -> None:
    if isinstance(value, list):
        value[:] = content
        return
    value.clear()
    value.update(content)


def _buffers(module: nn.Module) -> list[tuple[str, Tensor, Tensor]]:
    found = [(name, buffer) for name, buffer in module._buffers.items() if isinstance(buffer, Tensor)]
    return [(name, buffer, buffer.detach().clone()) for name, buffer in found]


def _same(one: Tensor, other: Tensor) -> bool:
    # By bits: numbers that are no numbers are never equal.
    if one.layout != torch.strided or one.is_quantized or one.is_meta:
        return True
    return one.shape == other.shape and bool(
        torch.equal(one, other) or torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))
    )
