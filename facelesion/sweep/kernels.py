"""What each unit by itself adds to the next linear map: pure tensor functions, two ways each, chosen by measurement.

A linear map of x minus unit c is the map of x, minus the map of unit c alone. The contributions of all units of a
site together cost as many multiply-adds as one pass of the map.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def convolution_by_products(
    change: torch.Tensor, healthy: torch.Tensor, layer: nn.Conv2d, units: torch.Tensor
) -> torch.Tensor:
    """The convolution's result after each unit's own change, by unfolding and batched matrix products.

    Args:
        change: (N, C, H, W), by how much each unit changes at the layer's input.
        healthy: (N, O, H', W'), the layer's result without a change.
        layer: a convolution with one group and zero padding.
        units: (m,) the units wanted.

    Returns:
        (m·N, O, H', W'), all images for the first unit, all images for the second, ...; channels last in memory where
        `healthy` is, else plain.

    Example:
        >>> layer, image = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8)
        >>> healthy = layer(image)
        >>> without = convolution_by_products(-image, healthy, layer, torch.tensor([1]))
        >>> image[:, 1] = 0
        >>> torch.allclose(without, layer(image), atol=1e-5)
        True
    """
    images, outputs, height, width = healthy.shape
    wanted = len(units)
    # Units become the batch: one channel each, so that unfolding gives one small matrix per unit and image.
    # Chosen along the first axis: along another, PyTorch first lays out anew all that there is to choose from.
    alone = change.transpose(0, 1).index_select(0, units).reshape(wanted * images, 1, *change.shape[2:])
    assert not isinstance(layer.padding, str)
    columns = functional.unfold(alone, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    weight = layer.weight.transpose(0, 1).index_select(0, units).flatten(2)  # (m, O, taps)
    taps = weight.shape[-1]
    if _channels_last(healthy):
        rows = columns.transpose(1, 2).reshape(wanted, images * height * width, taps)
        base = healthy.permute(0, 2, 3, 1).reshape(1, images * height * width, outputs)
        result = torch.baddbmm(base.expand(wanted, -1, -1), rows, weight.transpose(1, 2))
        return result.view(wanted * images, height, width, outputs).permute(0, 3, 1, 2)
    columns = columns.view(wanted, images, taps, height * width)
    result = torch.matmul(weight[:, None], columns)
    result += healthy.flatten(2)
    return result.view(wanted * images, outputs, height, width)


def linear_contributions(
    change: torch.Tensor, healthy: torch.Tensor, layer: nn.Linear, units: torch.Tensor, block: int = 1
) -> torch.Tensor:
    """A linear layer's result after each unit's own change.

    Args:
        change: (N, ..., C·block), by how much each input changes; unit c owns a block of them.
        healthy: (N, ..., O), the layer's result without a change.
        layer: the linear layer.
        units: (m,) the units wanted.
        block: inputs per unit.

    Returns:
        (m·N, ..., O), all images for the first unit, all images for the second, ...

    Example:
        >>> layer, vector = nn.Linear(4, 2), torch.randn(3, 4)
        >>> without = linear_contributions(-vector, layer(vector), layer, torch.arange(4))
        >>> without.shape
        torch.Size([12, 2])
        >>> vector[:, 3] = 0
        >>> torch.allclose(without[9:], layer(vector), atol=1e-6)
        True
    """
    parts = change.unflatten(-1, (-1, block)).index_select(-2, units)  # (N, ..., m, block)
    weight = layer.weight.unflatten(-1, (-1, block)).index_select(-2, units)  # (O, m, block)
    if block == 1:
        # One product per output: broadcasting, no sum.
        moved = torch.movedim(parts.squeeze(-1), -1, 0).unsqueeze(-1)  # (m, N, ..., 1)
        rows = weight.squeeze(-1).t().reshape(len(units), *[1] * (change.ndim - 1), -1)
        result = torch.addcmul(healthy.expand(len(units), *healthy.shape), moved, rows)
    else:
        moved = torch.movedim(parts, -2, 0).flatten(1, -2)  # (m, N..., block)
        base = healthy.reshape(1, -1, healthy.shape[-1]).expand(len(units), -1, -1)
        result = torch.baddbmm(base, moved, weight.permute(1, 2, 0))
    return result.reshape(len(units) * len(healthy), *healthy.shape[1:])


def contributions(
    change: torch.Tensor,
    healthy: torch.Tensor,
    layer: nn.Conv2d | nn.Linear,
    units: torch.Tensor,
    block: int = 1,
) -> torch.Tensor:
    """The layer's result after each unit's own change, by the kernel that was fastest where it was measured."""
    if isinstance(layer, nn.Linear):
        return linear_contributions(change, healthy, layer, units, block)
    return convolution_by_products(change, healthy, layer, units)


def _channels_last(value: torch.Tensor) -> bool:
    return (
        value.ndim == 4
        and value.is_contiguous(memory_format=torch.channels_last)
        and not value.is_contiguous()
    )
