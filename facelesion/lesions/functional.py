"""The damage itself: pure functions of tensors, that never write on what they are given.

They know nothing of networks. All broadcast, so a dose may be one number or a tensor with one dose a row.
The classes in `kinds` find the units, make the random numbers and call these.

Example:
    >>> float(scale(torch.tensor(3.0), 0.5)), hold(torch.tensor([1.0, 2.0]), 7.0).tolist()
    (1.5, [7.0, 7.0])
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Number = float | Tensor


def how_many(fraction: float, count: int) -> int:
    """How many of `count` a fraction is: rounded, halves up.

    Example:
        >>> how_many(0.25, 10), how_many(0.2, 512)
        (3, 102)
    """
    # The small term forgives 0.15 * 10 = 1.4999...
    return min(count, math.floor(fraction * count + 0.5 + 1e-9))


def noise(y: Tensor, std: Number, draws: Tensor, multiplicative: bool = False) -> Tensor:
    """`y + std·draws`, or `y·(1 + std·draws)`; `draws` are standard normal, of y's shape.

    Example:
        >>> noise(torch.tensor([1.0, 2.0]), 0.5, torch.tensor([2.0, -2.0]))
        tensor([2., 1.])
        >>> noise(torch.tensor([1.0, 2.0]), 0.5, torch.tensor([2.0, -2.0]), multiplicative=True)
        tensor([2., 0.])
    """
    if multiplicative:
        return y + std * draws * y
    # One pass over memory instead of two, and rounded once.
    return torch.addcmul(y, std, draws) if isinstance(std, Tensor) else torch.add(y, draws, alpha=std)


def dropout(y: Tensor, p: Number, draws: Tensor, rescale: bool = True) -> Tensor:
    """Zero where `draws` (uniform in [0, 1)) is below p; survivors times 1/(1 − p) if rescaled.

    Example:
        >>> dropout(torch.ones(4), 0.5, torch.tensor([0.1, 0.4, 0.5, 0.9]))
        tensor([0., 0., 2., 2.])
    """
    kept = y / (1 - p) if rescale else y
    if _bits_at_hand(kept, draws):
        return (kept.view(torch.int32) & _below_zero(_just_below(p) - draws)).view(torch.float32)
    return torch.where(draws < p, torch.zeros((), dtype=y.dtype, device=y.device), kept)


def _just_below(p: Number) -> Tensor:
    """The next smaller float32: what is larger than that is p at the least."""
    return torch.nextafter(torch.as_tensor(p, dtype=torch.float32), torch.tensor(-1.0))


def _below_zero(values: Tensor) -> Tensor:
    """All bits where a value's sign says that it is below zero, none elsewhere; it is written into the values.

    With a mask of bits a processor drops in a tenth of the time that `where` takes.
    """
    return values.view(torch.int32).bitwise_right_shift_(31)


def _bits_at_hand(*tensors: Tensor) -> bool:
    """Whether these are plain float32 in main memory, through which no gradient goes."""
    return not torch.compiler.is_compiling() and all(
        type(each) is Tensor
        and each.device.type == "cpu"
        and each.dtype == torch.float32
        and not (each.requires_grad and torch.is_grad_enabled())
        for each in tensors
    )


def clamp(y: Tensor, low: Number, high: Number) -> Tensor:
    """y held between two bounds; an infinite bound is no bound.

    Example:
        >>> clamp(torch.tensor([-3.0, 0.5, 3.0]), 0.0, float("inf"))
        tensor([0.0000, 0.5000, 3.0000])
    """
    low, high = (torch.as_tensor(bound, dtype=y.dtype, device=y.device) for bound in (low, high))
    return torch.clamp(y, min=low, max=high)


def hold(y: Tensor, value: Number) -> Tensor:
    """A value in y's shape and layout, in memory of its own: whoever comes next may write on it.

    Example:
        >>> hold(torch.ones(2, 2), torch.tensor([3.0, 4.0]))
        tensor([[3., 4.],
                [3., 4.]])
    """
    return torch.empty_like(y).copy_(torch.as_tensor(value, dtype=y.dtype, device=y.device))


def shift(y: Tensor, by: Number) -> Tensor:
    """y plus a constant: positive excites, negative inhibits."""
    return y + by


def scale(y: Tensor, by: Number) -> Tensor:
    """y times a gain."""
    return y * by


def prune(weight: Tensor, order: Tensor, fraction: float) -> Tensor:
    """The weights with a fraction of them zero: those with the smallest `order` (distinct, of weight's shape).

    Example:
        >>> prune(torch.ones(4), torch.tensor([3, 0, 2, 1]), 0.5)
        tensor([1., 0., 1., 0.])
    """
    cut = how_many(fraction, weight.numel())
    if cut == 0:
        return weight
    limit = order.flatten().kthvalue(cut).values
    return weight.masked_fill(order <= limit, 0.0)


def where_map(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask brought to the size of a map: true where at least half of the place lies under the mask.

    Example:
        >>> where_map(torch.tensor([[1, 0], [1, 0]]), (2, 4)).int()
        tensor([[1, 1, 0, 0],
                [1, 1, 0, 0]], dtype=torch.int32)
    """
    return F.adaptive_avg_pool2d(mask.to(torch.float32)[None], size)[0] >= 0.5
