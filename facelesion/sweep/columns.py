"""Outputs as a column of a table and back, with every number and its type kept."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from facelesion.sweep.errors import SweepError

# What the table has no type for is kept in one that holds all of its numbers.
_WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.complex32: torch.complex64}
_WIDER |= {kind: torch.float32 for name in dir(torch) if name.startswith("float8_")
           and isinstance(kind := getattr(torch, name), torch.dtype)}  # fmt: skip
_KINDS = {str(kind): kind for kind in vars(torch).values() if isinstance(kind, torch.dtype)}


def written(outputs: Tensor) -> tuple[Any, dict[str, Any]]:
    """Outputs (N, ...) as an arrow column of N lists, and what `read` needs besides.

    Types keep their own; half precision stands as float32, which holds each of its numbers, and complex numbers as
    real and imaginary part in turn.

    Example:
        >>> column, told = written(torch.tensor([[1], [16777217]]))
        >>> column.to_pylist(), told
        ([[1], [16777217]], {'shape': [1], 'dtype': 'torch.int64'})
        >>> read(column, told).dtype
        torch.int64
    """
    import pyarrow

    if outputs.is_quantized or outputs.layout != torch.strided:
        raise SweepError(
            f"outputs of type {outputs.dtype}, {outputs.layout} cannot be kept in a folder: use readout="
        )
    told = {"shape": list(outputs.shape[1:]), "dtype": str(outputs.dtype)}
    flat = outputs.detach().cpu().to(_WIDER.get(outputs.dtype, outputs.dtype))
    if flat.is_complex():
        flat = torch.view_as_real(flat.resolve_conj())
    flat = flat.reshape(-1)
    width = len(flat) // max(1, len(outputs))
    offsets = pyarrow.array([row * width for row in range(len(outputs) + 1)], pyarrow.int32())
    return pyarrow.ListArray.from_arrays(offsets, pyarrow.array(flat.numpy())), told


def read(column: Any, told: dict[str, Any]) -> Tensor:
    """What `written` was given."""
    kind = _KINDS[told["dtype"]]
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    flat = torch.from_numpy(numbers.copy())
    if kind.is_complex:
        flat = torch.view_as_complex(flat.reshape(-1, 2))
    count = len(column)
    assert flat.numel() == count * math.prod(told["shape"])
    return flat.reshape(count, *told["shape"]).to(kind)
