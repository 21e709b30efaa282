"""Random numbers that belong to a picture, not to the batch it is in.

A number depends on (seed, stream, picture's number, place) alone, through a counter-based generator: the same on every
device, in every order and for every batch size.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# PyTorch shares an operation out between threads from 32,768 elements on, MKL logarithms and cosines from fewer:
# dozens of short operations would each wait for the slower thread.
PIECE = (1 << 15) - 1
_SHORT = 2048


def uniform(seed: int, stream: str, ids: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1), float32 (N, count), for pictures with these numbers `ids` (N,), on their device.

    Example:
        >>> both = uniform(3, "mask", torch.tensor([7, 8]), 4)
        >>> bool((uniform(3, "mask", torch.tensor([8]), 4) == both[1]).all())
        True
    """
    keys = _keys(seed, stream, ids)
    numbers = torch.empty(len(ids), count, device=ids.device)
    for start, stop in _pieces(ids, count):
        numbers[:, start:stop] = _uniform(keys, start, stop)
    return numbers


def normal(seed: int, stream: str, ids: Tensor, count: int) -> Tensor:
    """Standard normal numbers, float32 (N, count): `uniform` through Box and Muller's (1958) transform."""
    keys = _keys(seed, stream, ids)
    half = (count + 1) // 2
    numbers = torch.empty(len(ids), count, device=ids.device)
    for start, stop in _pieces(ids, half):
        radius = _uniform(keys, start, stop)
        sine = _uniform(keys, half + start, half + stop).mul_(2 * math.pi)
        cosine = sine.clone()
        for r, c, s in zip(_short(radius), _short(cosine), _short(sine), strict=True):
            r.neg_().log1p_().mul_(-2).sqrt_()
            c.cos_()
            s.sin_()
        numbers[:, start:stop] = cosine.mul_(radius)
        place = numbers[:, half + start : half + stop]  # one number less where the count is odd
        place.copy_(sine.mul_(radius)[:, : place.shape[1]])
    return numbers


def _pieces(ids: Tensor, count: int) -> Iterator[tuple[int, int]]:
    """Where pieces of `count` places begin and end: on a processor few enough for its cache and for one thread."""
    step = max(1, count if ids.device.type != "cpu" else PIECE // max(1, len(ids)))
    for start in range(0, count, step):
        yield start, min(count, start + step)


def _short(values: Tensor) -> Sequence[Tensor]:
    """Views of all the values, short enough for MKL to use one thread."""
    return values.view(-1).split(_SHORT) if values.device.type == "cpu" else (values,)


def _uniform(keys: tuple[Tensor, Tensor], start: int, stop: int) -> Tensor:
    counter = torch.arange(start, stop, dtype=torch.int32, device=keys[0].device)
    # 24 bits fill a float32's mantissa exactly.
    return _right(_words(keys, counter), 8).to(torch.float32).mul_(2.0**-24)


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
    x.bitwise_xor_(_right(x, 16)).mul_(_signed(0x7FEB352D))
    x.bitwise_xor_(_right(x, 15)).mul_(_signed(0x846CA68B))
    return x.bitwise_xor_(_right(x, 16))


def _right(x: Tensor, bits: int) -> Tensor:
    """int32 shifted to the right, filled with zeros."""
    return (x >> bits).bitwise_and_((1 << (32 - bits)) - 1)


def _low(x: Tensor) -> Tensor:
    """The low 32 bits of int64 as int32."""
    low = x & 0xFFFFFFFF
    return torch.where(low >= 2**31, low - 2**32, low).to(torch.int32)


def _signed(x: int) -> int:
    x &= 0xFFFFFFFF
    return x - 2**32 if x >= 2**31 else x
