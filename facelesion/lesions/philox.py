"""Random numbers that can be looked up: a counter-based generator, in plain torch operations.

Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") turns a key and a
counter (image, unit) into four 32-bit words: where a sequence begins, and by how much it counts on. Along the places of
a map it is SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"): counted on, and
mixed, which is four times less arithmetic than Philox at every place. There is no state, so the number at (image, unit,
place) is the same whatever was drawn before, beside it, on which device or by which process.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Words = tuple[Tensor, Tensor, Tensor, Tensor]

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
# SplitMix64's constants as signed numbers (int64 products wrap, as the unsigned ones do): shift, factor.
_MIXING = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64), (31, 1))
# Elements in one go on a CPU: what fits its cache is made three times as fast, and PyTorch shares an operation out
# between threads from 32,768 elements on: a hundred short ones would wait a hundred times for the slower thread.
CHUNK = (1 << 15) - 2
# Elements in one go elsewhere: they fill a GPU, and what is needed on the way is 100 MB, whatever is drawn.
CHUNK_ON_GPU = 1 << 21
# MKL shares the inverse error function out from fewer on.
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
    # All ten rounds' keys in a few operations: on a GPU each is a kernel.
    turns = [[turn * weyl & _MASK for turn in range(10)] for weyl in _WEYL]
    schedule = [
        [word + turn & _MASK for turn in own] if isinstance(word, int) else _all_rounds(word, own)
        for word, own in zip(key, turns, strict=True)
    ]
    return _philox(counter, list(zip(*schedule, strict=True)))


def _all_rounds(word: Tensor, turns: list[int]) -> Sequence[Tensor]:
    added = torch.arange(10, device=word.device).view(10, *[1] * word.ndim) * turns[1]
    return (word + added).bitwise_and_(_MASK).unbind(0)


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
    """Standard normal numbers, float32, by the inverse of their distribution; arguments and shape as `uniform`.

    The integers behind them are equal on every device; the inverse error function agrees to rounding. The largest
    lie at 5.4 standard deviations, beyond which one in fifteen million would.
    """
    return _draw(_normal, keys, images, units, places)


def ranks(count: int, *parts: object) -> Tensor:
    """Distinct random int64 numbers for `count` things; the smallest m of them are the dose of m.

    Example:
        >>> ranks(5, "seed", 0).unique().shape
        torch.Size([5])
    """
    zero = torch.zeros((), dtype=torch.int64)
    drawn = torch.empty(-(-count // 4) * 4, dtype=torch.int64)
    for part, blocks in zip(drawn.split(4 * CHUNK), torch.arange(-(-count // 4)).split(CHUNK), strict=True):
        torch.stack(philox((blocks, zero, zero, zero), key_of(*parts)), 1, out=part.view(-1, 4))
    # The place breaks ties, so that no two are equal; 31 bits leave room for it in a signed integer.
    return (drawn[:count] >> 1 << 32) | torch.arange(count)


def _uniform(words: Tensor, made: Tensor) -> None:
    # 24 bits fill a float32's fraction exactly, so the result never rounds up to 1.
    made.copy_(words.bitwise_and_(-256)).mul_(2.0**-32).add_(0.5)


def _normal(words: Tensor, made: Tensor) -> None:
    # Rounded, the ends lie at 1 and -1; drawn in by a bit, the inverse error function is finite there.
    made.copy_(words).mul_(2.0**-31 * (1 - 2.0**-24))
    for part in _cut(made, _SHORT):
        part.erfinv_()
    made.mul_(math.sqrt(2.0))


def _cut(values: Tensor, length: int) -> Sequence[Tensor]:
    """Views of all the values, short enough for one thread."""
    return values.view(-1).split(length) if _on_processor(values) else (values,)


def _on_processor(values: Tensor) -> bool:
    """Whether operations run here one by one; a GPU or a compiler does best with all at once."""
    return values.device.type == "cpu" and not torch.compiler.is_compiling()


def _chunk(values: Tensor) -> int:
    """How many numbers are made in one go."""
    if torch.compiler.is_compiling():
        return max(1, values.numel())
    return CHUNK if _on_processor(values) else CHUNK_ON_GPU


def splitmix(states: Tensor) -> Tensor:
    """SplitMix64's output for these states (int64), which are written over.

    Example:
        >>> [hex(word % 2**64) for word in splitmix(torch.tensor([1, 2]) * (0x9E3779B97F4A7C15 - 2**64)).tolist()]
        ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    for shift, factor in _MIXING:
        states.bitwise_xor_((states >> shift).bitwise_and_((1 << 64 - shift) - 1))
        if factor != 1:
            states.mul_(factor)
    return states


def _sequences(keys: Tensor, images: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
    """Where each sequence begins, and the odd number by which it counts on: int64 (K * N, U) each."""
    device = keys.device
    images, units = images.to(device), units.to(device)
    begins = torch.empty(len(keys) * len(images), len(units), dtype=torch.int64, device=device)
    steps = torch.empty(begins.shape, dtype=torch.int64, device=device)
    chunk = _chunk(begins)
    many_units = min(max(1, len(units)), chunk)
    many_rows = max(1, chunk // many_units)
    low, high = images.repeat(len(keys))[:, None] & _MASK, images.repeat(len(keys))[:, None] >> 32 & _MASK
    own, zero = keys.repeat_interleave(len(images), 0)[..., None], torch.zeros_like(low[:1, 0])
    for row, unit in itertools.product(
        range(0, len(begins), many_rows), range(0, len(units), many_units)
    ):
        here, some = slice(row, row + many_rows), slice(unit, unit + many_units)
        words = philox((zero, units[some], low[here], high[here]), (own[here, 0], own[here, 1]))
        torch.bitwise_or(words[0] << 32, words[1], out=begins[here, some])
        torch.bitwise_or(words[2] << 32, words[3] | 1, out=steps[here, some])
    return begins, steps


def _draw(
    law: Callable[[Tensor, Tensor], None], keys: Tensor, images: Tensor, units: Tensor, places: int
) -> Tensor:
    # Whoever watches torch's functions (a sweep does) need not see a hundred steps of arithmetic for each draw.
    with contextlib.nullcontext() if torch.compiler.is_compiling() else torch._C.DisableTorchFunction():
        begins, steps = (each.flatten()[:, None] for each in _sequences(keys, images, units))
        pairs = -(-places // 2)
        even = torch.empty(len(begins), 2 * pairs, device=keys.device)
        chunk = _chunk(even)
        many_pairs = min(max(1, pairs), chunk)
        many_rows = max(1, chunk // many_pairs)
        for pair in range(0, pairs, many_pairs):
            counts = torch.arange(pair + 1, min(pairs, pair + many_pairs) + 1, device=keys.device)
            for row in range(0, len(begins), many_rows):
                states = (counts * steps[row : row + many_rows]).add_(begins[row : row + many_rows])
                piece = even[row : row + many_rows, 2 * pair : 2 * (pair + len(counts))]
                words = splitmix(states).view(torch.int32)
                for some, made in zip(_cut(words, CHUNK), _cut(piece, CHUNK), strict=True):
                    law(some, made)
    return even[:, :places].view(len(keys), len(images), len(units), places)

