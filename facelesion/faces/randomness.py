"""Random numbers that belong to a picture, not to the batch it is in.

A number depends on (seed, stream, picture's number, place) alone, through a counter-based generator: the same on every
device, in every order and for every batch size.
"""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor


def uniform(seed: int, stream: str, ids: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1), float32 (N, count), for pictures with these numbers `ids` (N,), on their device.

    Example:
        >>> both = uniform(3, "mask", torch.tensor([7, 8]), 4)
        >>> bool((uniform(3, "mask", torch.tensor([8]), 4) == both[1]).all())
        True
    """
    keys = _keys(seed, stream, ids)
    # On a processor, pieces that one thread does at once, without waiting for another; the numbers are the same.
    step = count if ids.device.type != "cpu" else max(1, (2**15 - 1) // max(1, len(ids)))
    numbers = torch.empty(len(ids), count, device=ids.device)
    for start in range(0, count, step):
        piece = numbers[:, start : start + step]
        counter = torch.arange(start, start + piece.shape[1], dtype=torch.int32, device=ids.device)
        # 24 bits fill a float32's mantissa exactly.
        piece.copy_(_right_(_words(keys, counter), 8)).mul_(2.0**-24)
    return numbers


def normal(seed: int, stream: str, ids: Tensor, count: int) -> Tensor:
    """Standard normal numbers, float32 (N, count): `uniform` through Box and Muller's (1958) transform."""
    half = (count + 1) // 2
    radius, turn = uniform(seed, stream, ids, 2 * half).split(half, dim=1)
    radius = (-2 * torch.log1p(-radius)).sqrt_()
    angle = turn * (2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def _keys(seed: int, stream: str, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Two keys (N, 1) for each picture, as int32."""
    key = torch.full_like(ids, _signed(zlib.crc32(stream.encode())), dtype=torch.int32)
    ids = ids.long()
    for part in (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF):
        key = _mix_(key + _signed(part))
    key = _mix_(key ^ _low(ids))
    key = _mix_(key + _low(ids >> 32))
    return key[:, None], _mix_(key ^ _signed(0x9E3779B9))[:, None]


def _words(keys: tuple[Tensor, Tensor], counter: Tensor) -> Tensor:
    """32 random bits each, as int32 (N, count): a mixing function of a counter, keyed twice."""
    first, second = keys
    return _mix_(_mix_(counter + first).bitwise_xor_(second))


def _mix_(x: Tensor) -> Tensor:
    """In place, a bijection of 32 bits in which every input bit changes about half of the output's (Ellis 2018)."""
    x.bitwise_xor_(_right_(x.clone(), 16)).mul_(_signed(0x7FEB352D))
    x.bitwise_xor_(_right_(x.clone(), 15)).mul_(_signed(0x846CA68B))
    return x.bitwise_xor_(_right_(x.clone(), 16))


def _right_(x: Tensor, bits: int) -> Tensor:
    """Shift int32 to the right in place, filling with zeros."""
    return x.bitwise_right_shift_(bits).bitwise_and_((1 << (32 - bits)) - 1)


def _low(x: Tensor) -> Tensor:
    """The low 32 bits of int64 as int32."""
    low = x & 0xFFFFFFFF
    return torch.where(low >= 2**31, low - 2**32, low).to(torch.int32)


def _signed(x: int) -> int:
    x &= 0xFFFFFFFF
    return x - 2**32 if x >= 2**31 else x
