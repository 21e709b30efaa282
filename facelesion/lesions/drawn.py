"""Random numbers that several lesions share, kept while they may be asked for again.

What is drawn hangs on lesion, image, unit and place, never on the dose (`philox`): a sweep of five doses, run one
after the other, asks for the same numbers five times.
"""

from __future__ import annotations

import contextlib
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeAlias

import torch
from torch import Tensor

#: Keys, images' numbers, units' numbers, places to random numbers: `philox.uniform` and `philox.normal`.
Law: TypeAlias = Callable[[Tensor, Tensor, Tensor, int], Tensor]


class Kept:
    """Draws that were made, those asked for last at hand, up to a number of bytes; on a processor alone.

    Example:
        >>> from facelesion.lesions import philox
        >>> keys, kept = torch.tensor([philox.key_of("a")]), Kept(1000)
        >>> first = kept.drawn(philox.uniform, keys, torch.arange(3), torch.arange(4), 5)
        >>> kept.drawn(philox.uniform, keys, torch.arange(3), torch.arange(4), 5) is first
        True
    """

    def __init__(self, room: int) -> None:
        self.room, self.held = room, 0
        self._draws: OrderedDict[object, tuple[Tensor, int]] = OrderedDict()

    def drawn(self, law: Law, keys: Tensor, images: Tensor, units: Tensor, places: int) -> Tensor:
        """What `law` draws, drawn now or before. Who writes into it has it drawn anew for the next."""
        if not _plain(keys, images, units):
            return law(keys, images, units, places)
        alike = (law, places, images.numpy().tobytes(), units.numpy().tobytes())
        each = [self._of_one(key, alike, lambda key: law(key[None], images, units, places)) for key in keys]
        if len(each) == 1:
            return each[0]
        return torch.cat([part.mT for part in each]).mT if each[0].stride(-2) == 1 else torch.cat(each)

    def _of_one(self, key: Tensor, alike: tuple[object, ...], draw: Callable[[Tensor], Tensor]) -> Tensor:
        name = (*key.tolist(), *alike)
        if name in self._draws:
            draws, version = self._draws[name]
            if draws._version == version:
                self._draws.move_to_end(name)
                return draws
            self._forget(name)
        draws = draw(key)
        if not draws.is_inference() and draws.nbytes <= self.room:
            while self.held + draws.nbytes > self.room:
                self._forget(next(iter(self._draws)))
            self._draws[name] = (draws, draws._version)
            self.held += draws.nbytes
        return draws

    def _forget(self, name: object) -> None:
        self.held -= self._draws.pop(name)[0].nbytes


_NOW: ContextVar[Kept | None] = ContextVar("kept draws", default=None)


@contextlib.contextmanager
def keeping(kept: Kept) -> Iterator[None]:
    """Lesions draw from what is kept, as long as this lasts."""
    before = _NOW.set(kept)
    try:
        yield
    finally:
        _NOW.reset(before)


def drawn(
    law: Law, keys: Tensor, images: Tensor, units: Tensor, places: int, units_last: bool = False
) -> Tensor:
    """What `law` draws; from what is kept, where somebody keeps it.

    Args:
        units_last: lay what a processor draws out with units last in memory, as the activations are that it meets.
    """
    if torch.compiler.is_compiling():
        return law(keys, images, units, places)
    if units_last and places > 1 and _plain(keys, images, units):
        law = _with_units_last(law)
    kept = _NOW.get()
    return law(keys, images, units, places) if kept is None else kept.drawn(law, keys, images, units, places)


@functools.cache
def _with_units_last(law: Law) -> Law:
    """A law whose numbers are the same and lie otherwise; one and the same each time, since draws are kept by law."""
    return lambda *given: law(*given).mT.contiguous().mT


def _plain(*tensors: Tensor) -> bool:
    return all(type(each) is Tensor and each.device.type == "cpu" for each in tensors)
