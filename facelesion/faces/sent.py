"""What the host knows, sent to where tensors are, without waiting for what a GPU has still to do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def points_of(landmarks: Tensor, numbers: Sequence[int]) -> Tensor:
    """Some of the points (N, K, 2); a list as an index would wait for a GPU."""
    return landmarks.index_select(1, torch.tensor(numbers).to(landmarks.device, non_blocking=True))


def beside(tensor: Tensor, values: Sequence[float]) -> Tensor:
    """A few numbers of the tensor's type where the tensor is."""
    return torch.tensor(values, dtype=tensor.dtype).to(tensor.device, non_blocking=True)
