"""Random numbers that can be looked up: a counter-based generator, in plain torch operations.

Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") turns a key and a
counter into four 32-bit words. There is no state, so the number at (image, unit, place) is the same whatever was
drawn before, beside it, on which device or by which process.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

Words = tuple[Tensor, Tensor, Tensor, Tensor]

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def key_of(*parts: object) -> tuple[int, int]:
    """Two 32-bit key words from anything that prints the same everywhere.

    Example:
        >>> key_of(0, "noise", "features.22") == key_of(0, "noise", "features.22")
        True
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(counter: Words, key: tuple[Tensor | int, Tensor | int], rounds: int = 10) -> Words:
    """Four words of 32 random bits for every counter and key, held in int64; the parts broadcast.

    Example:
        >>> zero = torch.zeros((), dtype=torch.int64)
        >>> [hex(int(word)) for word in philox((zero, zero, zero, zero), (0, 0))]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        # int64 products wrap at 64 bits, and the wrapped bits are those of the unsigned product.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32 & _MASK) ^ c1 ^ k0, p1 & _MASK, (p0 >> 32 & _MASK) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = k0 + _WEYL[0] & _MASK, k1 + _WEYL[1] & _MASK
    return c0, c1, c2, c3


def _words(keys: Tensor, images: Tensor, units: Tensor, places: int) -> Words:
    device = keys.device
    images = images.to(device)[None, :, None, None]
    blocks = torch.arange(-(-places // 4), device=device)
    counter = (blocks, units.to(device)[None, None, :, None], images & _MASK, images >> 32 & _MASK)
    k0, k1 = keys[:, :, None, None, None].unbind(1)
    return philox(counter, (k0, k1))


def _together(words: list[Tensor], places: int) -> Tensor:
    return torch.stack(words, dim=-1).flatten(-2)[..., :places]


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
    # 24 bits fill a float32's fraction exactly, so the result never rounds up to 1.
    words = _words(keys, images, units, places)
    return _together([(word >> 8).to(torch.float32) * 2.0**-24 for word in words], places)


def normal(keys: Tensor, images: Tensor, units: Tensor, places: int) -> Tensor:
    """Standard normal numbers, float32, by Box and Muller (1958); arguments and shape as `uniform`.

    The integers behind them are equal on every device; logarithm and cosine agree to rounding.
    """
    w0, w1, w2, w3 = _words(keys, images, units, places)
    draws = []
    for first, second in ((w0, w1), (w2, w3)):
        # (0, 1], from all 32 bits: the tails reach 6.7 standard deviations.
        radius = ((first + 1).to(torch.float32) * 2.0**-32).log().mul(-2.0).sqrt()
        angle = (second >> 8).to(torch.float32) * (2.0**-24 * 2 * math.pi)
        draws += [radius * angle.cos(), radius * angle.sin()]
    return _together(draws, places)


def ranking(count: int, *parts: object) -> Tensor:
    """A random order of `count` things, the same for the same parts: its first m are the dose of m.

    Example:
        >>> ranking(5, "seed", 0).sort().values
        tensor([0, 1, 2, 3, 4])
    """
    return ranks(count, *parts).argsort()


def ranks(count: int, *parts: object) -> Tensor:
    """Distinct random int64 numbers for `count` things; the smallest m of them are the dose of m."""
    keys = torch.tensor([key_of(*parts)])
    zero = torch.zeros(1, dtype=torch.int64)
    words = _together(list(_words(keys, zero, zero, count)), count).flatten()
    # The place breaks ties, so that no two are equal. 31 bits leave room for it in a signed integer.
    return (words >> 1 << 32) | torch.arange(count)
