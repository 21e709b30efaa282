"""How many threads PyTorch runs on, for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch on so many threads within.

    Convolutions give the same bits on any number of them; the small products of readouts do not, and are done on one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
