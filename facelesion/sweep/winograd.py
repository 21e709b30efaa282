"""3 × 3 convolutions by 2.25 times fewer products, for the long batches of many channels that a sweep runs.

Winograd's minimal filtering, F(2 × 2, 3 × 3) (Lavin & Gray 2016, "Fast algorithms for convolutional neural networks"):
tiles of 4 × 4 inputs give 2 × 2 outputs by 16 products for each pair of channels where the plain way takes 36. GPU
libraries do so by themselves; on processors PyTorch does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

# Fewer channels or tiles, and moving the tiles about costs more than the products that are saved.
CHANNELS = 256
TILES = 196
# Tiles at a time: what they need stays near the caches.
CHUNK = 1024
_KERNEL = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


def transformed(weight: Tensor) -> Tensor:
    """A kernel (O, C, 3, 3) as `winograd` wants it: (16, C, O)."""
    turn = weight.new_tensor(_KERNEL)
    return torch.einsum("ik,ockl,jl->ijco", turn, weight, turn).flatten(0, 1).contiguous()


@torch.no_grad()
def winograd(
    images: Tensor, kernel: Tensor, bias: Tensor | None = None, scratch: dict[str, Tensor] | None = None
) -> Tensor:
    """The convolution with padding 1, equal to `conv2d` to rounding (a few 1e-6 of the largest value, in float32).

    No gradient goes through it.

    Args:
        images: (N, C, H, W), best channels last in memory.
        kernel: (16, C, O), from `transformed`.
        bias: (O,).
        scratch: tensors to work in, kept from call to call: fresh memory costs more than the sums made in it.

    Returns:
        (N, O, H, W), channels last in memory.

    Example:
        >>> layer, images = nn.Conv2d(8, 4, 3, padding=1), torch.randn(2, 8, 7, 10)
        >>> answer = winograd(images, transformed(layer.weight), layer.bias)
        >>> torch.allclose(answer, layer(images), atol=1e-5)
        True
    """
    count, _, height, width = images.shape
    answer = images.new_empty((count, height, width, kernel.shape[2]))
    rows = max(1, CHUNK // (-(-height // 2) * -(-width // 2)))
    scratch = {} if scratch is None else scratch
    for begin in range(0, count, rows):
        part = images[begin : begin + rows].permute(0, 2, 3, 1)
        _tiles(part, kernel, answer[begin : begin + rows], scratch)
    if bias is not None:
        answer += bias
    return answer.permute(0, 3, 1, 2)


def _tiles(images: Tensor, kernel: Tensor, answer: Tensor, scratch: dict[str, Tensor]) -> None:
    """Some images (n, H, W, C) into their answer (n, H, W, O)."""
    count, height, width, channels = images.shape
    down, across = -(-height // 2), -(-width // 2)

    def room(name: str, *shape: int) -> Tensor:
        size = torch.Size(shape).numel()
        if name not in scratch or len(scratch[name]) < size:
            scratch[name] = images.new_empty(size)
        return scratch[name][:size].view(shape)

    padded = room("padded", count, 2 * down + 2, 2 * across + 2, channels)
    padded[:, 0] = padded[:, height + 1 :] = 0
    padded[:, :, 0] = padded[:, :, width + 1 :] = 0
    padded[:, 1 : height + 1, 1 : width + 1] = images
    rows = room("rows", 4, count, down, 2 * across + 2, channels)
    _spread([padded[:, i : i + 2 * down : 2] for i in range(4)], rows)
    tiles = room("tiles", 4, 4, count, down, across, channels)
    _spread([rows[:, :, :, j : j + 2 * across : 2] for j in range(4)], tiles.transpose(0, 1))
    products = room("products", 16, count * down * across, kernel.shape[2])
    torch.bmm(tiles.view(16, -1, channels), kernel, out=products)
    square = products.view(4, 4, count, down, across, -1)
    halves = room("halves", 2, *square.shape[1:])
    _gather(square, halves)
    for i in range(2):
        pieces = halves[i, :, :, : (height - i + 1) // 2]
        _gather([piece[:, :, : (width + 1) // 2] for piece in pieces], [answer[:, i::2, 0::2]])
        _gather([piece[:, :, : width // 2] for piece in pieces], [None, answer[:, i::2, 1::2]])


def _spread(d: list[Tensor], into: Tensor) -> None:
    """Along one axis of the tiles: four inputs to four terms."""
    torch.sub(d[0], d[2], out=into[0])
    torch.add(d[1], d[2], out=into[1])
    torch.sub(d[2], d[1], out=into[2])
    torch.sub(d[1], d[3], out=into[3])


def _gather(m: Tensor | list[Tensor], into: Iterable[Tensor | None]) -> None:
    """Back along one axis: four terms to two outputs."""
    for number, place in enumerate(into):
        if place is None:
            continue
        if number == 0:
            torch.add(m[0], m[1], out=place)
            place += m[2]
        else:
            torch.sub(m[1], m[2], out=place)
            place -= m[3]


class Winograd(TorchFunctionMode):
    """While it is on, convolutions that gain by it are computed by `winograd`; all others as ever.

    It is for one thread, and for networks whose parameters are not being trained meanwhile.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scratch: dict[str, Tensor] = {}
        # What was made of each parameter, and which version of it that was.
        self.kernels: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is functional.conv2d and not kwargs and _gains(*args):
            images, weight, bias = args[:3]
            return winograd(images, self.kernel(weight), bias, self.scratch)
        return func(*args, **(kwargs or {}))

    def kernel(self, weight: Tensor) -> Tensor:
        version, kernel = self.kernels.get(weight, (None, None))
        if version != weight._version:
            kernel = transformed(weight.detach())
            self.kernels[weight] = (weight._version, kernel)
        return kernel


def _gains(
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
        and images.device.type == "cpu"
        and images.dtype == weight.dtype == torch.float32
        and images.ndim == 4
        and images.is_contiguous(memory_format=torch.channels_last)
        and len(images) * -(-images.shape[2] // 2) * -(-images.shape[3] // 2) >= TILES
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )
