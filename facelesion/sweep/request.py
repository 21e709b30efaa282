"""What is asked of a sweep, as one value: plans, engine, processes, keys and folders take from it what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from facelesion.lesions import Calibration, Lesion, Prune
from facelesion.lesions.kinds import SiteLesion
from facelesion.lesions.locate import find, incoming
from facelesion.sweep import arguments
from facelesion.sweep.arguments import Batches, Readout
from facelesion.sweep.errors import SweepError
from facelesion.sweep.options import Options


@dataclass(frozen=True, eq=False)
class Request:
    """Many lesions of a network, on many images; the arguments of `sweep`.

    Attributes:
        model: the network.
        lesions: names to lesions; None is the healthy network.
        batches: one tensor of all images, or an iterable of batches.
        seed: of the random lesions.
        calibration: for lesions that are relative to a site's activations.
        ids: image numbers that key the lesions' randomness; None counts the images.
        readout: from the network's output to the tensor wanted, as it was given.
        options: how it is run.
        changes: whether it is measured by how much each lesion changed its sites.

    Raises:
        SweepError: an argument that makes no sense; the images of an iterable are looked at as they come.

    Example:
        >>> request = Request(nn.Linear(3, 2), {"none": None}, torch.zeros(5, 3), options=Options(batch_size=2))
        >>> [(rows, ids.tolist()) for rows, ids, batch in request.images()]
        [(range(0, 2), [0, 1]), (range(2, 4), [2, 3]), (range(4, 5), [4])]
    """

    model: nn.Module
    lesions: Mapping[str, Lesion | None]
    batches: Batches
    seed: int = 0
    calibration: Calibration | None = None
    ids: Sequence[int] | Tensor | None = None
    readout: Callable[[Any], Tensor] | None = None
    options: Options = field(default_factory=Options)
    changes: bool = False

    def __post_init__(self) -> None:
        taken = {"model": arguments.network(self.model), "lesions": arguments.named_lesions(self.lesions)}
        arguments.drawn_by(self.seed, self.calibration)
        arguments.readout_of(self.readout)
        taken["ids"] = numbers = arguments.image_numbers(self.ids)
        if isinstance(self.batches, Tensor):
            count = len(arguments.one_tensor(self.batches, "batches"))
            if numbers is not None and len(numbers) != count:
                raise SweepError(f"ids names {len(numbers)} images; there are {count}")
        for name, value in taken.items():
            object.__setattr__(self, name, value)

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return arguments.device_of(self.model)

    @property
    def reader(self) -> Readout:
        """From the network's output to a tensor, whatever was asked for."""
        return arguments.readout_of(self.readout)

    @property
    def parts(self) -> set[SiteLesion]:
        """The simple lesions of which all others are made."""
        return {part for lesion in self.lesions.values() if lesion is not None for part in lesion.parts}

    @property
    def sites(self) -> set[str]:
        """Module paths of everything that the lesions touch."""
        found: set[str] = set()
        for part in self.parts:
            for site in find(self.model, part.site):
                found |= {site.path, incoming(self.model, site.path)} if isinstance(part, Prune) else {site.path}
        return found

    def images(self) -> Iterator[tuple[range, Tensor, Tensor]]:
        """Batch by batch which images, counted from 0, their numbers, and the images.

        Raises:
            SweepError: batches that cannot be swept, or more or fewer images than numbers.
        """
        count = 0
        for rows, batch in arguments.in_batches(self.batches, self.options.batch_size):
            count = rows.stop
            ids = torch.as_tensor(rows if self.ids is None else self.ids[rows.start : rows.stop])
            if len(ids) != len(rows):
                raise SweepError(f"ids names {rows.start + len(ids)} images; there are more")
            yield rows, ids, batch
        if self.ids is not None and count != len(self.ids):
            raise SweepError(f"ids names {len(self.ids)} images; there are {count}")

    def some(self, begin: int, end: int) -> Request:
        """The same of some of the images alone, which are one tensor."""
        assert isinstance(self.batches, Tensor)
        ids = torch.arange(len(self.batches)) if self.ids is None else self.ids
        return replace(self, batches=self.batches[begin:end], ids=ids[begin:end])
