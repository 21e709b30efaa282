"""The network's outputs under many lesions: kept, taken in by something small, or handed out as they come."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from facelesion.lesions import Calibration, Lesion, relative_change
from facelesion.sweep import arguments
from facelesion.sweep.arguments import Batches
from facelesion.sweep.engine import Part, Ready, chunks
from facelesion.sweep.errors import SweepError
from facelesion.sweep.fetched import Arriving
from facelesion.sweep.measures import together
from facelesion.sweep.options import Options
from facelesion.sweep.planner import Plan
from facelesion.sweep.request import Request
from facelesion.sweep.trial import tried


class Reducer(Protocol):
    """What takes in outputs as they come and keeps something small, such as a metric.

    Example:
        >>> class Largest:
        ...     value = -torch.inf
        ...     def update(self, outputs, rows):
        ...         self.value = max(self.value, float(outputs.max()))
        ...     def compute(self):
        ...         return self.value
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval()
        >>> found = sweep(network, {"none": None}, torch.rand(5, 3), reduce=lambda name: Largest())
        >>> found["none"] >= 0
        True
    """

    def update(self, outputs: torch.Tensor, rows: range) -> None: ...
    def compute(self) -> Any: ...


def sweep(
    model: nn.Module,
    lesions: Mapping[str, Lesion | None],
    batches: Batches,
    *,
    seed: int = 0,
    calibration: Calibration | None = None,
    ids: Sequence[int] | torch.Tensor | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    reduce: Callable[[str], Reducer] | None = None,
    readout: Callable[[Any], torch.Tensor] | None = None,
    options: Options | None = None,
    changes: dict[str, dict[str, float]] | None = None,
) -> dict[str, Any]:
    """The network's outputs under many lesions, each computed from the first damaged step on only.

    Equal, to rounding, to `with lesioned(model, lesion, ...): model(batch)` for each lesion and batch.

    Args:
        model: any module in evaluation mode that takes one batch; it is left exactly as it was.
        lesions: names to lesions; None is the healthy network.
        batches: preprocessed images (N, ...), or an iterable of such tensors, or of tuples that begin with one (a
            DataLoader of images and labels); they are moved to the model's device.
        seed: seed of the random lesions, as in `lesioned`.
        calibration: for lesions that are relative to a site's activations.
        ids: image numbers that key the lesions' randomness; None counts the images from 0.
        batch_size: images at a time where `batches` is one tensor; None: as `options` say, which is 16.
        progress: a bar with lesions × images per second and time left; only where a person looks at it.
        reduce: from a lesion's name to what takes its outputs in as they come (a metric); its `compute()` is then
            the result for that lesion, and no output is kept.
        readout: from the network's output to the tensor wanted, where that is not the output itself.
        options: budget, precision, layout; see `Options`.
        changes: an empty dictionary, to be filled with name to site to how much the lesion changed the site's output:
            ‖damaged − healthy‖ / ‖healthy‖ over all images, measured in the same pass as `lesioned(changes=)` does.

    Returns:
        Name to outputs (N, ...) in main memory, rows in the images' order (or to what `reduce` computed), in the order
        of `lesions`.

    Raises:
        SweepError: an argument that makes no sense; a network that answers at random, changes itself, or mixes the
            rows of a batch; or memory that does not even hold one lesion.
        LesionError: a lesion does not fit the network.

    Example:
        >>> from facelesion.lesions import Ablate
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).eval()
        >>> images = torch.rand(5, 3, 8, 8)
        >>> healthy = network(images)
        >>> outputs = sweep(network, {"none": None, "unit 2": Ablate("1", units=[2])}, images)
        >>> {name: tuple(output.shape) for name, output in outputs.items()}
        {'none': (5, 2), 'unit 2': (5, 2)}
        >>> torch.allclose(outputs["none"], healthy, atol=1e-6)
        True
    """
    if changes is not None and (not isinstance(changes, dict) or changes):
        raise SweepError("changes is an empty dictionary, which the sweep fills")
    request = Request(
        model, lesions, batches, seed, calibration, ids, readout,
        arguments.options_of(options, batch_size), changes is not None,
    )  # fmt: skip
    return answered(request, progress=progress, reduce=reduce, changes=changes)


def answered(
    request: Request,
    *,
    progress: bool = False,
    reduce: Callable[[str], Reducer] | None = None,
    changes: dict[str, dict[str, float]] | None = None,
) -> dict[str, Any]:
    """What `sweep` returns."""
    reducers = None if reduce is None else {name: reduce(name) for name in request.lesions}
    sums: dict[str, dict[str, torch.Tensor]] = {name: {} for name in request.lesions}
    found = _Found(request.lesions)
    arriving = Arriving()
    for part in itertools.chain.from_iterable(chunks(request, progress=progress)):
        for name in part.names:
            sums[name] = together(sums[name], part.squares)
            if reducers is not None:
                reducers[name].update(part.outputs, part.rows)
        if reducers is None:
            arriving.take(part.outputs, partial(found.take, part.names, part.rows.start))
    arriving.land()
    if changes is not None:
        changes.update({name: relative_change(squares) for name, squares in sums.items()})
    if reducers is not None:
        return {name: reducer.compute() for name, reducer in reducers.items()}
    return found.joined()


class _Found:
    """Outputs by lesion and batch, those of a batch in one tensor.

    Kept one by one they would lie strewn between a chunk's large tensors, whose place could then not be used again.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.parts: dict[str, list[tuple[int, torch.Tensor]]] = {name: [] for name in names}
        self.places = {name: place for place, name in enumerate(self.parts)}
        self.batches: dict[int, torch.Tensor] = {}

    def take(self, names: Sequence[str], start: int, outputs: torch.Tensor) -> None:
        """Outputs of the batch that begins with image `start`, in main memory."""
        if start not in self.batches:
            self.batches[start] = torch.empty(len(self.parts), *outputs.shape, dtype=outputs.dtype)
        batch = self.batches[start]
        fits = outputs.layout is torch.strided and (outputs.shape, outputs.dtype) == (batch.shape[1:], batch.dtype)
        for name in names:
            self.parts[name].append((start, batch[self.places[name]].copy_(outputs) if fits else outputs))

    def joined(self) -> dict[str, torch.Tensor]:
        """Every lesion's outputs of all images."""
        return {name: _joined(parts) for name, parts in self.parts.items()}


def _joined(parts: list[tuple[int, torch.Tensor]]) -> torch.Tensor:
    outputs = [output for _, output in sorted(parts, key=lambda part: part[0])]
    if len({(output.shape[1:], output.dtype) for output in outputs}) > 1:
        raise SweepError(
            "the network (or the readout) answers some images in another shape or type than others: use stream()"
        )
    return torch.cat(outputs)


def stream(
    model: nn.Module,
    lesions: Mapping[str, Lesion | None],
    batches: Batches,
    *,
    seed: int = 0,
    calibration: Calibration | None = None,
    ids: Sequence[int] | torch.Tensor | None = None,
    progress: bool = False,
    readout: Callable[[Any], torch.Tensor] | None = None,
    options: Options | None = None,
    changes: bool = False,
) -> Iterator[Part]:
    """As `sweep`, handing outputs out as they come: nothing is kept. Arguments as there; `changes` asks for sums.

    Example:
        >>> from facelesion.lesions import Ablate
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> [part.rows for part in stream(network, {"a": Ablate("1", units=[2])}, [torch.rand(2, 3)] * 3)]
        [range(0, 2), range(2, 4), range(4, 6)]
    """
    request = Request(
        model, lesions, batches, seed, calibration, ids, readout, arguments.options_of(options), changes
    )
    yield from itertools.chain.from_iterable(chunks(request, progress=progress))


def make_plan(
    model: nn.Module,
    lesions: Mapping[str, Lesion | None],
    example: torch.Tensor,
    options: Options | None = None,
) -> Plan:
    """What `sweep` would run for batches like `example`: print its `explain()`.

    Example:
        >>> from facelesion.lesions import Ablate
        >>> network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> plan = make_plan(network, {"unit 0": Ablate("1", units=[0]), "none": None}, torch.zeros(1, 4))
        >>> print(plan.explain().splitlines()[-1])
        planned 32 multiply-adds per image, naive 48: 1.5 times fewer
    """
    request = Request(
        model, lesions, arguments.one_tensor(example, "example"), options=arguments.options_of(options)
    )
    # Whatever the network answers with: nothing is read.
    trial = tried(request.model, example, lambda output: output, rows=request.options.trace)
    return Ready.of(request, example, trial).plan
