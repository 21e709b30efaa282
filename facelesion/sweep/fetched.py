"""What was computed on a device, brought to main memory many tensors at a time.

To fetch one is to wait until a GPU has done all that it was asked for so far; in that time nothing new is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ROOM = 64 * 2**20  # bytes that may lie on a device until they are fetched


def fetched(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same in main memory: one wait for all of one device and type; what is there already is not copied.

    Example:
        >>> few = [torch.arange(3), torch.zeros(2, 2), torch.arange(4)]
        >>> all(torch.equal(a, b) for a, b in zip(few, fetched(few)))
        True
    """
    found = list(tensors)
    alike: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, tensor in enumerate(tensors):
        if tensor.device.type != "cpu":
            alike.setdefault((tensor.device, tensor.dtype), []).append(place)
    for places in alike.values():
        row = torch.cat([tensors[place].reshape(-1) for place in places]).cpu()
        for place, values in zip(places, row.split([tensors[place].numel() for place in places]), strict=True):
            found[place] = values.view(tensors[place].shape)
    return found


class Arriving:
    """Tensors on their way to main memory, each with what is to be done with it there.

    Example:
        >>> seen = []
        >>> arriving = Arriving()
        >>> arriving.take(torch.ones(2), seen.append)
        >>> arriving.land()
        >>> len(seen)
        1
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, Callable[[Tensor], None]]] = []
        self._bytes = 0

    def take(self, tensor: Tensor, then: Callable[[Tensor], None]) -> None:
        """Keep a tensor where it is for a while; what lies in main memory is there at once."""
        if tensor.device.type == "cpu":
            then(tensor)
            return
        self._waiting.append((tensor, then))
        self._bytes += tensor.nbytes
        if self._bytes >= ROOM:
            self.land()

    def land(self) -> None:
        """Fetch all that waits, in the order in which it was taken."""
        for (_, then), here in zip(self._waiting, fetched([tensor for tensor, _ in self._waiting]), strict=True):
            then(here)
        self._waiting, self._bytes = [], 0
