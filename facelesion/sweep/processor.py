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
    """

    def __init__(self, fewer_products: bool = True) -> None:
        super().__init__()
        self.fewer_products = fewer_products
        self.scratch: dict[str, Tensor] = {}
        # What was made of each parameter, and which version of it that was.
        self.kernels: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is functional.conv2d and self.fewer_products and not kwargs and _fewer(*args):
            images, weight, bias = args[:3]
            return winograd(images, self.kernel(weight), bias, self.scratch)
        if func is functional.linear and not kwargs and _quicker(*args):
            return product(*args)
        return func(*args, **(kwargs or {}))

    def kernel(self, weight: Tensor) -> Tensor:
        version, kernel = self.kernels.get(weight, (None, None))
        if version != weight._version:
            kernel = transformed(weight.detach())
            self.kernels[weight] = (weight._version, kernel)
        return kernel


def _plain(*factors: Tensor) -> bool:
    """Whether these are numbers on a processor that are computed in their own precision, and no gradient is kept."""
    return (
        all(each.device.type == "cpu" and each.dtype == torch.float32 for each in factors)
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
        weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= CHANNELS
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
