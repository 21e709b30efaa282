"""How a processor computes a sweep: large convolutions by fewer products, all products by the quicker library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from facelesion.sweep.matrices import by_onednn, product
from facelesion.sweep.winograd import SIDE, transformed, winograd

# Fewer channels or tiles, and moving the tiles about costs more than the products that are saved.
CHANNELS = 256
TILES = 64
# Fewer multiply-adds are done before a library has looked at what it was given.
WORK = 2**20


class OnProcessor(TorchFunctionMode):
    """While it is on, what gains by `winograd` or `product` is computed by them; all else as ever.

    It is for one thread, and for networks whose parameters are not being trained meanwhile.

    Args:
        fewer_products: whether convolutions go by `winograd`.
        room: bytes that transformed kernels may take; where it is full, further convolutions go as ever.
    """

    def __init__(self, fewer_products: bool = True, room: int | None = None) -> None:
        super().__init__()
        self.fewer_products, self.room = fewer_products, room
        self.scratch: dict[str, Tensor] = {}
        # What was made of each parameter, and which version of it that was.
        self.kernels: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is functional.conv2d and self.fewer_products and not kwargs and _fewer(*args) and self.fits(args[1]):
            images, weight, bias = args[:3]
            return winograd(images, self.kernel(weight), bias, self.scratch)
        if func is functional.linear and not kwargs and _quicker(*args):
            return product(*args)
        return func(*args, **(kwargs or {}))

    def fits(self, weight: Tensor) -> bool:
        """Whether there is a kernel of these weights, or room for one."""
        if self.room is None or weight in self.kernels:
            return True
        held = sum(kernel.nbytes for _, kernel in self.kernels.values())
        return held + kernel_bytes(weight) <= self.room

    def kernel(self, weight: Tensor) -> Tensor:
        version, kernel = self.kernels.get(weight, (None, None))
        if version != weight._version:
            kernel = transformed(weight.detach())
            self.kernels[weight] = (weight._version, kernel)
        return kernel


def kernel_bytes(weight: Tensor) -> int:
    """What the transformed kernel of a convolution's weights (C, D, 3, 3) takes.

    Example:
        >>> weight = torch.rand(8, 4, 3, 3)
        >>> kernel_bytes(weight) == transformed(weight).nbytes
        True
    """
    return weight[..., 0, 0].numel() * (SIDE + 2) ** 2 * weight.itemsize


def bytes_for_kernels(model: nn.Module, room: int | None = None) -> int:
    """What transformed kernels of a network come to at the most, if all its convolutions are large enough to gain."""
    weights = {
        each.weight: kernel_bytes(each.weight)
        for each in model.modules()
        if isinstance(each, nn.Conv2d) and _many_channels(each.weight) and _plain_kind(each.weight)
    }
    total = sum(weights.values())
    return total if room is None else min(total, room)


def _many_channels(weight: Tensor) -> bool:
    return weight.shape[2:] == (3, 3) and min(weight.shape[:2]) >= CHANNELS


def _plain_kind(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def _plain(*factors: Tensor) -> bool:
    """Whether these are numbers on a processor that are computed in their own precision, and no gradient is kept."""
    return (
        all(map(_plain_kind, factors))
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def _fewer(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> bool:
    """Whether a convolution is of the kind that `winograd` computes, and large enough to gain."""
    ones = (1, 1)
    return (
        _many_channels(weight)
        and (stride, padding, dilation, groups) == (ones, ones, ones, 1)
        # Only what lasts: a kernel that a lesion has just made would be transformed each time.
        and isinstance(weight, nn.Parameter)
        and _plain(images, weight)
        and images.ndim == 4
        and images.is_contiguous(memory_format=torch.channels_last)
        and len(images) * -(-images.shape[2] // SIDE) * -(-images.shape[3] // SIDE) >= TILES
    )


def _quicker(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> bool:
    """Whether a product is large enough to gain by oneDNN, and of plain tensors that it can read."""
    return (
        matrix.ndim == 2
        and rows.ndim >= 2
        and type(rows) is Tensor
        and type(matrix) in (Tensor, nn.Parameter)
        and rows.numel() * len(matrix) >= WORK
        and _plain(rows, matrix)
        and by_onednn(rows, matrix)
        and rows.is_contiguous()
        and matrix.is_contiguous()
    )
