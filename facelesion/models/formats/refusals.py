"""Weights that have the right shapes and are still not VGG-Face's, or not in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from facelesion.models.formats.layers import NAMES

# The first biases of conv1_1 in the two ImageNet networks of this shape that everybody has, as their users print them.
# A bias does not depend on the order of the axes or of the colours.
_IMAGENET: dict[str, tuple[float, ...]] = {
    "torchvision's VGG16": (0.4034, 0.3778, 0.4644, -0.3228, 0.3940, -0.3953, 0.3951, -0.5496),
    "Simonyan and Zisserman's VGG16 (Caffe, MatConvNet, Keras)": (
        0.7302, 0.0649, 0.0343, 0.8260, 0.2578, 0.5487, -0.0124, 0.3479,
    ),
}  # fmt: skip
_IMAGENET_CLASSES = 1000
_NEAR = 0.02  # fine-tuning hardly moves the first layer

_FEWEST = 128  # units with which a correlation of 0.5 cannot be chance: more than five standard errors
_CLEAR, _ABSENT = 0.5, 0.2


def imagenet(first_bias: torch.Tensor, outputs: int | None) -> str | None:
    """Why these are ImageNet's weights, or None where nothing says so.

    Args:
        first_bias: conv1_1's bias.
        outputs: units of the last layer, where the file has one.

    Example:
        >>> imagenet(torch.zeros(64), 1000)
        "its last layer has 1000 outputs, as ImageNet's classes"
    """
    if outputs == _IMAGENET_CLASSES:
        return "its last layer has 1000 outputs, as ImageNet's classes"
    for name, known in _IMAGENET.items():
        start = first_bias[: len(known)].double()
        if len(start) == len(known) and bool((start - torch.tensor(known).double()).abs().max() < _NEAR):
            return f"conv1_1 has the biases of {name}, trained on ImageNet"
    return None


def balance(kernels: Mapping[str, torch.Tensor]) -> dict[tuple[str, str], float]:
    """How well layers fit behind one another: for every pair that could follow by its shape, a correlation over units.

    Training with weight decay pulls the norm of what comes into a rectified unit and the norm of what goes out of it
    towards one another (they can be traded without changing the function, and the decay is least where they are
    equal). So the log norms agree, unit by unit, between a trained layer and the one behind it, and with no other.
    Random weights show no such thing, and batch normalisation folded into a layer weakens it.

    Args:
        kernels: convolutions by name, (out, in, rows, columns), at least 128 units for a pair to count.

    Returns:
        By (layer, layer behind it): the correlation of the logarithms of those norms.
    """

    def log_norms(kernel: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        norms = torch.linalg.vector_norm(kernel, dim=axes, dtype=torch.float64)
        return torch.log(norms.clamp_min(1e-12))

    into = {name: log_norms(kernel, (1, 2, 3)) for name, kernel in kernels.items()}
    out_of = {name: log_norms(kernel, (0, 2, 3)) for name, kernel in kernels.items()}
    fits = {}
    for name, here in into.items():
        for behind, there in out_of.items():
            if behind != name and len(here) == len(there) >= _FEWEST:
                spread = float(here.std() * there.std())
                both = float(((here - here.mean()) * (there - there.mean())).sum() / (len(here) - 1))
                fits[name, behind] = both / spread if spread > 1e-12 else 0.0
    return fits


def exchanged(kernels: Mapping[str, torch.Tensor], order: Sequence[str] = NAMES) -> str | None:
    """Why convolutions are in the wrong order, or None where nothing says so.

    It speaks up only where another layer fits clearly behind one and the layer that stands there does not at all.
    """
    fits = balance(kernels)
    for name, behind in zip(order, order[1:], strict=False):
        if fits.get((name, behind), 1.0) > _ABSENT:
            continue
        others = {other: fit for (first, other), fit in fits.items() if first == name and other != behind}
        best = max(others, key=lambda other: others[other], default=None)
        if best is not None and others[best] > _CLEAR:
            return (
                f"behind {name} fits what is called {best} (correlation {others[best]:.2f} over its units) and "
                f"not what is called {behind} ({fits[name, behind]:.2f})"
            )
    return None
