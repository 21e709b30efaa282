"""Attention heads as units. `nn.MultiheadAttention` mixes its heads inside; this opens it just before the mixing."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import LesionError
from .inside import Inside, Plan, twin


def opened(
    attention: nn.Module, run: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, tuple[Any, ...]]:
    """What each head read, before the output projection: (N, tokens, heads, width of a head), and other outputs.

    Args:
        run: a forward that takes the module as its first argument.
    """
    assert isinstance(attention, nn.MultiheadAttention)
    weight = attention.out_proj.weight
    plain = {
        "weight": torch.eye(weight.shape[0], dtype=weight.dtype, device=weight.device),
        "bias": torch.zeros(weight.shape[0], dtype=weight.dtype, device=weight.device),
    }
    read, *rest = run(twin(attention, {}, out_proj=twin(attention.out_proj, plain)), *args, **kwargs)
    batched = read[None] if read.ndim == 2 else read if attention.batch_first else read.transpose(0, 1)
    return batched.unflatten(-1, (attention.num_heads, -1)), tuple(rest)


def mixed(attention: nn.Module, heads: Tensor, axes: int = 3) -> Tensor:
    """The attention's output for given contexts, with as many axes as it had."""
    assert isinstance(attention, nn.MultiheadAttention)
    projection = attention.out_proj
    y = F.linear(heads.flatten(-2), projection.weight, projection.bias)
    return y[0] if axes == 2 else y if attention.batch_first else y.transpose(0, 1)


def contexts(attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """What each head read in a healthy network."""
    return opened(attention, type(attention).forward, args, kwargs)[0]


class Heads(Inside):
    """An attention's forward with its heads damaged."""

    def damaged(self, plans: list[Plan], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        attention = self.module
        assert isinstance(attention, nn.MultiheadAttention)
        if self.foreign:
            raise LesionError(
                f"the forward of this {type(attention).__name__} was replaced by a function, which does not show its "
                "heads: take the whole module as the site"
            )
        heads, rest = opened(attention, self.run, args, kwargs)
        axes = 2 if _first(args, kwargs).ndim == 2 else 3
        if type(attention) is not nn.MultiheadAttention and not self.checked:
            with torch.no_grad():
                same = torch.allclose(
                    mixed(attention, heads, axes), self.run(attention, *args, **kwargs)[0], atol=1e-4
                )
            if not same:
                raise LesionError(
                    f"{type(attention).__name__} does not mix its heads as nn.MultiheadAttention does, so that they "
                    "cannot be damaged: take the whole module as the site"
                )
            self.checked = True
        for plan in plans:
            heads = plan.heads(heads)
        return (mixed(attention, heads, axes), *rest)


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    given: Tensor = args[0] if args else kwargs["query"]
    return given
