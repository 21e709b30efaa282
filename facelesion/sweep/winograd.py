"""3 × 3 convolutions by four times fewer products, for the long batches of many channels that a sweep runs.

Winograd's minimal filtering, F(4 × 4, 3 × 3) (Lavin & Gray 2016, "Fast algorithms for convolutional neural networks"):
tiles of 6 × 6 inputs give 4 × 4 outputs by 36 products for each pair of channels where the plain way takes 144. GPU
libraries do so by themselves; on processors PyTorch does not. The usual points of interpolation, 0, ±1 and ±2, lose
two digits of float32; 0, ±2/3 and ±3/2, each other's inverses, lose about as much as the plain way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from facelesion.sweep.matrices import product

# Outputs of a tile along each axis, and its inputs.
SIDE = 4
_INPUTS = SIDE + 2
# Tiles at a time: what they need stays near the caches.
CHUNK = 256

_A, _B = 2 / 3, 3 / 2
_S = _A**2 + _B**2
# For each point of interpolation, the last at infinity: what it makes of a tile's inputs, of a kernel, and of outputs.
_SPREAD = (
    (1.0, 0.0, -_S, 0.0, 1.0, 0.0),
    (0.0, -_B, -(_B**2), _A, 1.0, 0.0),
    (0.0, _B, -(_B**2), -_A, 1.0, 0.0),
    (0.0, -_A, -(_A**2), _B, 1.0, 0.0),
    (0.0, _A, -(_A**2), -_B, 1.0, 0.0),
    (0.0, 1.0, 0.0, -_S, 0.0, 1.0),
)
_NEAR, _FAR = 1 / (2 * _A**2 * (_A**2 - _B**2)), 1 / (2 * _B**2 * (_B**2 - _A**2))
_KERNEL = (
    (1.0, 0.0, 0.0),
    (_NEAR, _NEAR * _A, _NEAR * _A**2),
    (_NEAR, -_NEAR * _A, _NEAR * _A**2),
    (_FAR, _FAR * _B, _FAR * _B**2),
    (_FAR, -_FAR * _B, _FAR * _B**2),
    (0.0, 0.0, 1.0),
)
_GATHER = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, _A, -_A, _B, -_B, 0.0),
    (0.0, _A**2, _A**2, _B**2, _B**2, 0.0),
    (0.0, _A**3, -(_A**3), _B**3, -(_B**3), 1.0),
)


def transformed(weight: Tensor) -> Tensor:
    """A kernel (O, C, 3, 3) as `winograd` wants it: (36, O, C)."""
    taps = weight.detach().flatten(2).permute(2, 0, 1)
    return torch.mm(_both_axes(_KERNEL, taps), taps.flatten(1)).view(-1, *weight.shape[:2])


@torch.no_grad()
def winograd(
    images: Tensor, kernel: Tensor, bias: Tensor | None = None, scratch: dict[str, Tensor] | None = None
) -> Tensor:
    """The convolution with padding 1, equal to `conv2d` to rounding (a few 1e-6 of the largest value, in float32).

    No gradient goes through it.

    Args:
        images: (N, C, H, W), best channels last in memory.
        kernel: (36, O, C), from `transformed`.
        bias: (O,).
        scratch: tensors to work in, kept from call to call: fresh memory costs more than the sums made in it.

    Returns:
        (N, O, H, W), channels last in memory.

    Example:
        >>> layer, images = torch.nn.Conv2d(8, 4, 3, padding=1), torch.randn(2, 8, 7, 10)
        >>> answer = winograd(images, transformed(layer.weight), layer.bias)
        >>> torch.allclose(answer, layer(images), atol=1e-5)
        True
    """
    count, _, height, width = images.shape
    answer = images.new_empty((count, height, width, kernel.shape[1]))
    rows = max(1, CHUNK // (-(-height // SIDE) * -(-width // SIDE)))
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
    down, across = -(-height // SIDE), -(-width // SIDE)

    def room(name: str, *shape: int) -> Tensor:
        size = torch.Size(shape).numel()
        if name not in scratch or len(scratch[name]) < size:
            scratch[name] = images.new_empty(size)
        return scratch[name][:size].view(shape)

    padded = room("padded", count, SIDE * down + 2, SIDE * across + 2, channels)
    padded[:, 0] = padded[:, height + 1 :] = 0
    padded[:, :, 0] = padded[:, :, width + 1 :] = 0
    padded[:, 1 : height + 1, 1 : width + 1] = images
    image, row, place, _ = padded.stride()
    overlapping = padded.as_strided(
        (_INPUTS, _INPUTS, count, down, across, channels), (row, place, image, SIDE * row, SIDE * place, 1)
    )
    tiles = room("tiles", _INPUTS**2, count * down * across * channels)
    tiles.view(overlapping.shape).copy_(overlapping)
    terms = room("terms", _INPUTS**2, count * down * across, channels)
    torch.mm(_both_axes(_SPREAD, images), tiles, out=terms.view(_INPUTS**2, -1))
    products = room("products", _INPUTS**2, count * down * across, kernel.shape[1])
    for number, (term, matrix) in enumerate(zip(terms, kernel, strict=True)):
        products[number] = product(term, matrix)
    outputs = room("outputs", SIDE, SIDE, count, down, across, kernel.shape[1])
    torch.mm(_both_axes(_GATHER, images), products.flatten(1), out=outputs.view(SIDE**2, -1))
    for i in range(SIDE):
        for j in range(SIDE):
            whole = answer[:, i::SIDE, j::SIDE]
            whole.copy_(outputs[i, j, :, : whole.shape[1], : whole.shape[2]])


def _both_axes(turn: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    """One axis's sums as those of both axes, one after the other."""
    one = torch.tensor(turn, dtype=torch.float64)
    return torch.kron(one, one).to(like)
