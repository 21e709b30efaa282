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
    # 24 bits fill a float32's mantissa exactly.
    return _right(_words(seed, stream, ids, count), 8).float() * 2.0**-24


def normal(seed: int, stream: str, ids: Tensor, count: int) -> Tensor:
    """Standard normal numbers, float32 (N, count): `uniform` through Box and Muller's (1958) transform."""
    half = (count + 1) // 2
    radius, turn = uniform(seed, stream, ids, 2 * half).split(half, dim=1)
    radius = (-2 * torch.log1p(-radius)).sqrt_()
    angle = turn * (2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def _words(seed: int, stream: str, ids: Tensor, count: int) -> Tensor:
    """32 random bits each, as int32 (N, count): a mixing function of a counter, keyed twice."""
    name = zlib.crc32(stream.encode())
    key = torch.full_like(ids, _signed(name), dtype=torch.int32)
    ids = ids.long()
    for part in (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF):
        key = _mix(key + _signed(part))
    key = _mix(key ^ _low(ids))
    key = _mix(key + _low(ids >> 32))
    second = _mix(key ^ _signed(0x9E3779B9))
    counter = torch.arange(count, dtype=torch.int32, device=ids.device)
    return _mix(_mix(counter + key[:, None]) ^ second[:, None])


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32 bits in which every input bit changes about half of the output's (Ellis 2018, low bias 32)."""
    x = x ^ _right(x, 16)
    x = x * _signed(0x7FEB352D)
    x = x ^ _right(x, 15)
    x = x * _signed(0x846CA68B)
    return x ^ _right(x, 16)


def _right(x: Tensor, bits: int) -> Tensor:
    """Shift int32 to the right, filling with zeros."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)


def _low(x: Tensor) -> Tensor:
    """The low 32 bits of int64 as int32."""
    low = x & 0xFFFFFFFF
    return torch.where(low >= 2**31, low - 2**32, low).to(torch.int32)


def _signed(x: int) -> int:
    x &= 0xFFFFFFFF
    return x - 2**32 if x >= 2**31 else x
