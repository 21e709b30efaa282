"""Random numbers that can be looked up: a counter-based generator, in plain torch operations.

Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") turns a key and a
counter into four 32-bit words. There is no state, so the number at (image, unit, place) is the same whatever was
drawn before, beside it, on which device or by which process.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

Words = tuple[Tensor, Tensor, Tensor, Tensor]

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
# Counters in one go on a CPU: what fits its cache is made three times as fast, and PyTorch shares an operation out
# between threads from 32,768 elements on: a hundred short ones would wait a hundred times for the slower thread.
_CHUNK = (1 << 15) - 1
# MKL shares logarithms and cosines out from fewer on.
_SHORT = 2048


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
    keys = [(k0 + turn * _WEYL[0] & _MASK, k1 + turn * _WEYL[1] & _MASK) for turn in range(10)]
    return _philox(counter, keys)


def _philox(counter: Words, keys: Sequence[tuple[Tensor | int, ...]]) -> Words:
    """As `philox`, with the ten rounds' keys."""
    shape = torch.broadcast_shapes(*(part.shape for part in (*counter, *keys[0]) if isinstance(part, Tensor)))

    def mixed(low: Tensor, product: Tensor, key: Tensor | int, ours: bool) -> Tensor:
        # Counters that broadcast fill out within four rounds; until then there is less to do.
        if not ours or low.shape != shape:
            return ((product >> 32) ^ (low ^ key)).bitwise_and_(_MASK)
        return low.bitwise_xor_(product >> 32).bitwise_xor_(key).bitwise_and_(_MASK)

    c0, c1, c2, c3 = counter
    for turn, (k0, k1) in enumerate(keys):
        # After the first round no tensor is the caller's, and each may be written over.
        ours = turn > 0
        # int64 products wrap at 64 bits, and the wrapped bits are those of the unsigned product.
        p0 = c0.mul_(_MULTIPLIERS[0]) if ours else c0 * _MULTIPLIERS[0]
        p1 = c2.mul_(_MULTIPLIERS[1]) if ours else c2 * _MULTIPLIERS[1]
        # The low halves p0 and p1 keep their high bits until they are used, and are masked there.
        c0, c1, c2, c3 = mixed(c1, p1, k0, ours), p1, mixed(c3, p0, k1, ours), p0
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
    words = _draw(iter, torch.tensor([key_of(*parts)]), zero, zero, count, torch.int64).flatten()
    # The place breaks ties, so that no two are equal; 31 bits leave room for it in a signed integer.
    return (words >> 1 << 32) | torch.arange(count)


def _uniform(words: Words) -> Iterator[Tensor]:
    # 24 bits fill a float32's fraction exactly, so the result never rounds up to 1.
    return ((word >> 8).to(torch.float32).mul_(2.0**-24) for word in words)


def _normal(words: Words) -> Iterator[Tensor]:
    for first, second in (words[:2], words[2:]):
        # (0, 1], from all 32 bits: the tails reach 6.7 standard deviations.
        radius = (first + 1).to(torch.float32).mul_(2.0**-32)
        sine = (second >> 8).to(torch.float32).mul_(2.0**-24 * 2 * math.pi)
        cosine = sine.clone()
        for r, c, s in zip(_short(radius), _short(cosine), _short(sine), strict=True):
            r.log_().mul_(-2.0).sqrt_()
            c.cos_()
            s.sin_()
        yield cosine.mul_(radius)
        yield sine.mul_(radius)


def _short(values: Tensor) -> Sequence[Tensor]:
    """Views of all the values, short enough for one thread."""
    return values.view(-1).split(_SHORT) if _on_processor(values) else (values,)


def _on_processor(values: Tensor) -> bool:
    """Whether operations run here one by one; a GPU or a compiler does best with all at once."""
    return values.device.type == "cpu" and not torch.compiler.is_compiling()


def _draw(
    law: Callable[[Words], Iterable[Tensor]], keys: Tensor, images: Tensor, units: Tensor, places: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:  # fmt: skip
    device = keys.device
    blocks = torch.arange(-(-places // 4), device=device)
    images, units = images.to(device), units.to(device)
    rows = images.repeat(len(keys))
    drawn = rows.new_empty((len(rows), len(units), places), dtype=dtype)
    chunk = _CHUNK if _on_processor(rows) else max(1, drawn.numel())
    many_blocks = min(max(1, len(blocks)), chunk)
    many_units = max(1, chunk // many_blocks)
    many_rows = max(1, many_units // max(1, len(units)))

    turns = torch.arange(10, device=device)[:, None, None] * torch.tensor(_WEYL, device=device)
    schedule = (keys.repeat_interleave(len(images), 0) + turns & _MASK)[..., None, None]
    for row, unit, block in itertools.product(
        range(0, len(rows), many_rows), range(0, len(units), many_units), range(0, len(blocks), many_blocks)
    ):
        image = rows[row : row + many_rows, None, None]
        counter = (
            blocks[block : block + many_blocks], units[unit : unit + many_units, None],
            image & _MASK, image >> 32 & _MASK,
        )  # fmt: skip
        some_keys = [each.unbind(1) for each in schedule[:, row : row + many_rows].unbind(0)]
        piece = drawn[row : row + many_rows, unit : unit + many_units, 4 * block : 4 * (block + many_blocks)]
        # Whoever watches torch's functions (a sweep does) need not see a hundred steps of arithmetic for each draw.
        with contextlib.nullcontext() if torch.compiler.is_compiling() else torch._C.DisableTorchFunction():
            for number, values in enumerate(law(_philox(counter, some_keys))):
                place = piece[..., number::4]
                place.copy_(values[..., : place.shape[-1]])
    return drawn.view(len(keys), len(images), len(units), places)
