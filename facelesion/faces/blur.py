"""A Gaussian blur of batches on any device, with the borders and the kernels of OpenCV."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def gaussian_blur(
    images: Tensor, sigma: float, rows: slice = slice(None), columns: slice = slice(None)
) -> Tensor:
    """Blur a batch, mirrored at the border without repeating the edge (OpenCV's default), by two matrix products.

    The kernel is as long as OpenCV's for the same sigma: 51 pixels for 8, 21 for 3.5.

    Args:
        images: float (N, C, H, W).
        sigma: standard deviation in pixels of these pictures.
        rows, columns: slices (start, stop) of the pixels that are wanted; all when left out.

    Returns:
        float (N, C, rows, columns).

    Example:
        >>> flat = gaussian_blur(torch.full((1, 3, 20, 20), 0.5), sigma=8.0)
        >>> bool(torch.allclose(flat, torch.tensor(0.5)))
        True
    """
    height, width = images.shape[-2:]
    radius = radius_of(sigma)
    top, bottom, _ = rows.indices(height)
    left, right, _ = columns.indices(width)
    # Mirrored pixels lie nearer than the kernel reaches, so these are all that the wanted ones depend on.
    used_rows = _reach(top, bottom, radius, height)
    used_columns = _reach(left, right, radius, width)
    device = images.device
    down, across = (
        torch.from_numpy(_blur_matrix(size, sigma)).to(device, non_blocking=True) for size in (height, width)
    )
    down, across = down[top:bottom, used_rows], across[left:right, used_columns]
    with torch.autocast(device.type, enabled=False):
        blurred = down @ (images[..., used_rows, used_columns].float() @ across.mT)
    return blurred.to(images.dtype)


def radius_of(sigma: float) -> int:
    """Half the length of the kernel for which OpenCV derives this sigma, never less than two sigmas."""
    return max(1, round((sigma - 0.5) / 0.3), math.ceil(2 * sigma))


def _reach(start: int, stop: int, radius: int, size: int) -> slice:
    # A kernel longer than the picture bounces off both ends: then everything counts.
    return slice(None) if radius >= size else slice(max(0, start - radius), min(size, stop + radius))


@lru_cache(maxsize=16)
def _blur_matrix(size: int, sigma: float) -> npt.NDArray[np.float32]:
    """The matrix (size, size) that blurs a column of pixels.

    As an array: a tensor that is kept would be of whatever mode it was first asked for in (inference, fake).
    """
    radius = radius_of(sigma)
    offset = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offset / sigma) ** 2)
    weights /= weights.sum()
    source = np.arange(size)[:, None] + offset
    period = max(1, 2 * (size - 1))
    source = source % period
    source = np.where(source >= size, period - source, source)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], source), weights)
    return matrix.astype(np.float32)
