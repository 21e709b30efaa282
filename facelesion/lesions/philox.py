"""Random numbers that can be looked up: a counter-based generator, in plain torch operations.

Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") turns a key and a
counter into four 32-bit words. There is no state, so the number at (image, unit, place) is the same whatever was
drawn before, beside it, on which device or by which process.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor

from .threads import in_pieces

Words = tuple[Tensor, Tensor, Tensor, Tensor]

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
# Counters in one go on a CPU: what fits its cache is made three times as fast.
_CHUNK = 1 << 16
_SERIAL = 1 << 15  # below this PyTorch itself uses one thread


def key_of(*parts: object) -> tuple[int, int]:
    """Two 32-bit key words from anything that prints the same everywhere.

    Example:
        >>> key_of(0, "noise", "features.22") == key_of(0, "noise", "features.22")
        True
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(counter: Words, key: tuple[Tensor | int, Tensor | int]) -> Words:
    """Four words of 32 random bits for every counter and key, held in int64; counters and keys broadcast.

    Example:
        >>> zero = torch.zeros((), dtype=torch.int64)
        >>> [hex(int(word)) for word in philox((zero, zero, zero, zero), (0, 0))]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    k0, k1 = key
    shape = torch.broadcast_shapes(*(part.shape for part in (*counter, k0, k1) if isinstance(part, Tensor)))
    c0, c1, c2, c3 = (part.expand(shape).contiguous().clone() for part in counter)
    for _ in range(10):
        # int64 products wrap at 64 bits, and the wrapped bits are those of the unsigned product.
        p0, p1 = c0.mul_(_MULTIPLIERS[0]), c2.mul_(_MULTIPLIERS[1])
        # The low halves p0 and p1 keep their high bits until they are used, and are masked there.
        c0, c1 = c1.bitwise_xor_(p1 >> 32).bitwise_xor_(k0).bitwise_and_(_MASK), p1
        c2, c3 = c3.bitwise_xor_(p0 >> 32).bitwise_xor_(k1).bitwise_and_(_MASK), p0
        k0, k1 = k0 + _WEYL[0] & _MASK, k1 + _WEYL[1] & _MASK
    return c0, c1.bitwise_and_(_MASK), c2, c3.bitwise_and_(_MASK)


def uniform(keys: Tensor, images: Tensor, units: Tensor, places: int) -> Tensor:
    """Uniform numbers in [0, 1), float32.

    Args:
        keys: int64 (K, 2), one key for each lesion; its device is where the numbers are made.
        images: int64 (N,), image numbers.
        units: int64 (U,), unit numbers.
        places: how many places each unit has (height × width, tokens, time steps).

    Returns:
        (K, N, U, places). Each number depends on its own key, image, unit and place alone.

    Example:
        >>> keys = torch.tensor([key_of("a"), key_of("b")])
        >>> uniform(keys, torch.arange(3), torch.arange(4), places=5).shape
        torch.Size([2, 3, 4, 5])
    """
    return _draw(_uniform, keys, images, units, places)


def normal(keys: Tensor, images: Tensor, units: Tensor, places: int) -> Tensor:
    """Standard normal numbers, float32, by Box and Muller (1958); arguments and shape as `uniform`.

    The integers behind them are equal on every device; logarithm and cosine agree to rounding.
    """
    return _draw(_normal, keys, images, units, places)


def ranks(count: int, *parts: object) -> Tensor:
    """Distinct random int64 numbers for `count` things; the smallest m of them are the dose of m.

    Example:
        >>> ranks(5, "seed", 0).unique().shape
        torch.Size([5])
    """
    zero = torch.zeros(1, dtype=torch.int64)
    words = _draw(lambda words: list(words), torch.tensor([key_of(*parts)]), zero, zero, count).flatten()
    # The place breaks ties, so that no two are equal; 31 bits leave room for it in a signed integer.
    return (words >> 1 << 32) | torch.arange(count)


def _uniform(words: Words) -> list[Tensor]:
    # 24 bits fill a float32's fraction exactly, so the result never rounds up to 1.
    return [(word >> 8).to(torch.float32) * 2.0**-24 for word in words]


def _normal(words: Words) -> list[Tensor]:
    draws = []
    for first, second in (words[:2], words[2:]):
        # (0, 1], from all 32 bits: the tails reach 6.7 standard deviations.
        radius = ((first + 1).to(torch.float32) * 2.0**-32).log_().mul_(-2.0).sqrt_()
        angle = (second >> 8).to(torch.float32) * (2.0**-24 * 2 * math.pi)
        draws += [radius * angle.cos(), radius * angle.sin()]
    return draws


def _draw(
    law: Callable[[Words], list[Tensor]], keys: Tensor, images: Tensor, units: Tensor, places: int
) -> Tensor:
    device = keys.device
    blocks = torch.arange(-(-places // 4), device=device)
    images, units = images.to(device), units.to(device)
    rows = torch.cat([keys.repeat_interleave(len(images), 0), images.repeat(len(keys))[:, None]], dim=1)
    chunk = _CHUNK if device.type == "cpu" else max(1, len(rows) * len(units) * len(blocks))
    many_units = max(1, chunk // max(1, len(blocks)))
    many_rows = max(1, many_units // max(1, len(units)))

    def some(rows: Tensor, units: Tensor) -> Tensor:
        k0, k1, image = rows[:, :, None, None].unbind(1)
        words = philox((blocks, units[:, None], image & _MASK, image >> 32 & _MASK), (k0, k1))
        return torch.stack(law(words), dim=-1).flatten(-2)[..., :places]

    def whole(rows: Tensor) -> Tensor:
        return torch.cat([some(rows, u) for u in units.split(many_units)], dim=1)

    pieces = rows.split(many_rows)
    if device.type != "cpu" or type(keys) is not Tensor or len(rows) * len(units) * len(blocks) < _SERIAL:
        drawn = [whole(piece) for piece in pieces]
    else:
        drawn = in_pieces(whole, pieces)
    return torch.cat(drawn).view(len(keys), len(images), len(units), places)
