"""Attention heads as units. `nn.MultiheadAttention` mixes its heads inside; this opens it just before the mixing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def twin(module: nn.Module, parameters: Mapping[str, Tensor], **children: nn.Module) -> nn.Module:
    """A shallow second self with other weights. The module itself is not touched, and its hooks do not run."""
    second = copy.copy(module)
    second.__dict__["_parameters"] = {**module._parameters, **parameters}
    second.__dict__["_modules"] = {**module._modules, **children}
    return second


def contexts(attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """What each head read, before the output projection: (N, tokens, heads, width of a head)."""
    assert isinstance(attention, nn.MultiheadAttention)
    weight = attention.out_proj.weight
    projection = copy.copy(attention.out_proj)
    projection.__dict__["_parameters"] = {
        "weight": torch.eye(weight.shape[0], dtype=weight.dtype, device=weight.device),
        "bias": torch.zeros(weight.shape[0], dtype=weight.dtype, device=weight.device),
    }
    mixed = twin(attention, {}, out_proj=projection).forward(*args, **kwargs)[0]
    batched = mixed if attention.batch_first else mixed.transpose(0, 1)
    return batched.unflatten(-1, (attention.num_heads, -1))


def mixed(attention: nn.Module, heads: Tensor) -> Tensor:
    """The attention's output for given contexts."""
    assert isinstance(attention, nn.MultiheadAttention)
    projection = attention.out_proj
    y = F.linear(heads.flatten(-2), projection.weight, projection.bias)
    return y if attention.batch_first else y.transpose(0, 1)
