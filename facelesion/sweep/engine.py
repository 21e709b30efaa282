"""Runs a plan: images outside, lesions inside, so that one batch's healthy activations are all that is ever held."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from facelesion.lesions import Calibration, Changes, Lesion, LesionError, Prune, lesioned, relative_change
from facelesion.lesions.locate import find, incoming
from facelesion.sweep import arguments, memory
from facelesion.sweep.arguments import Batches
from facelesion.sweep.errors import SweepError
from facelesion.sweep.facts import State
from facelesion.sweep.measures import Squares, together
from facelesion.sweep.options import BATCH_SIZE, Options
from facelesion.sweep.planner import Branch, Leaf, Plan, Stop, Walk, lesion_of, names_of, plan_walk, steps_of
from facelesion.sweep.preparing import laid_out, prepared
from facelesion.sweep.tracing import Trace
from facelesion.sweep.trial import Readout, Trial, check_embeddings, check_rows, tried
from facelesion.sweep.untouched import untouched
from facelesion.sweep.whole import Whole

# What was run together: lesions that are one and the same, their outputs, and what they changed.
Found = list[tuple[tuple[str, ...], torch.Tensor, Squares]]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Part:
    """Some lesions' outputs for some images, as a sweep streams them.

    Attributes:
        names: the lesions; those that are one and the same share a place.
        rows: which images, counted over the whole sweep.
        outputs: (len(rows), ...) the network's outputs for these images, on the network's device.
        squares: where changes were asked for, site to two sums of squares over these images (2,): of what the lesion
            changed, and of the site's output without it; `facelesion.lesions.relative_change` makes one number of them.

    Example:
        >>> from facelesion.lesions import Ablate
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> for part in stream(network, {"none": None, "unit 2": Ablate("1", units=[2])}, torch.rand(5, 3)):
        ...     print(part.names, part.rows, tuple(part.outputs.shape))
        ('unit 2',) range(0, 5) (5, 2)
        ('none',) range(0, 5) (5, 2)
    """

    names: tuple[str, ...]
    rows: range
    outputs: torch.Tensor
    squares: Squares = field(default_factory=dict)


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
    batch_size: int = BATCH_SIZE,
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
        batch_size: images at a time where `batches` is one tensor.
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
    options = arguments.options_of(options, batch_size)
    lesions = arguments.named_lesions(lesions)
    if changes is not None and (not isinstance(changes, dict) or changes):
        raise SweepError("changes is an empty dictionary, which the sweep fills")
    reducers = None if reduce is None else {name: reduce(name) for name in lesions}
    sums: dict[str, dict[str, torch.Tensor]] = {name: {} for name in lesions}
    found: dict[str, list[tuple[int, torch.Tensor]]] = {name: [] for name in lesions}
    for part in stream(
        model, lesions, batches, seed=seed, calibration=calibration, ids=ids, progress=progress,
        readout=readout, options=options, changes=changes is not None,
    ):  # fmt: skip
        for name in part.names:
            sums[name] = together(sums[name], part.squares)
            if reducers is None:
                found[name].append((part.rows.start, part.outputs.cpu()))
            else:
                reducers[name].update(part.outputs, part.rows)
    if changes is not None:
        changes.update({name: relative_change(squares) for name, squares in sums.items()})
    if reducers is not None:
        return {name: reducer.compute() for name, reducer in reducers.items()}
    return {name: _joined(parts) for name, parts in found.items()}


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
    for found in chunks(
        model, lesions, batches, seed=seed, calibration=calibration, ids=ids, progress=progress, readout=readout,
        options=options, changes=changes,
    ):  # fmt: skip
        yield from found


def chunks(
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
    skip: Callable[[str, range], bool] | None = None,
    ready: Ready | None = None,
) -> Iterator[list[Part]]:
    """As `stream`, but everything that was run together comes together; what `skip` says is done is not run again.

    `ready` is what was made ready before, for batches like these.

    Which lesions run together hangs on the plan alone, not on what is skipped: so a sweep that goes on where another
    was stopped does the very same arithmetic.
    """
    options = arguments.options_of(options, BATCH_SIZE)
    model, lesions = arguments.network(model), arguments.named_lesions(lesions)
    arguments.drawn_by(seed, calibration)
    numbers = arguments.image_numbers(ids)
    if numbers is not None and isinstance(batches, torch.Tensor) and len(numbers) != len(batches):
        raise SweepError(f"ids names {len(numbers)} images; there are {len(batches)}")
    device = device_of(model)
    iterator = arguments.in_batches(batches, options.batch_size)
    first = next(iterator, None)
    if first is None:
        raise SweepError("nothing to sweep: give at least one image and one lesion; batches holds none")
    if ready is None:
        ready = Ready.of(model, first, lesions, options, readout_of(readout))
    trace, plan = ready.trace, ready.plan
    check_embeddings(model, lesions, first[:1].to(device), calibration)
    begin = 0
    with bar_of(progress, len(lesions)) as bar:
        for batch in itertools.chain([first], iterator):
            rows = range(begin, begin + len(batch))
            here = torch.tensor(rows) if numbers is None else numbers[begin : rows.stop]
            if len(here) != len(rows):
                raise SweepError(f"ids names {len(here) + begin} images; there are more")
            begin = rows.stop
            done = {name for name in lesions if skip is not None and skip(name, rows)}
            if len(done) == len(lesions):
                continue
            job = _Job(trace, lesions, plan.rows, here, seed, calibration, ready.trial.readout, changes, done)
            # A copy: an in-place first step must not write into the caller's images.
            start = trace.repeated(trace.start(laid_out(batch.to(device, non_blocking=True), trace)), 1)
            for found in quietly(job.walk(plan.walk, start, 0), device, options.autocast, ready.left):
                yield [Part(names, rows, outputs, squares) for names, outputs, squares in found]
                bar.update(sum(len(names) for names, *_ in found) * len(rows))
    if numbers is not None and begin != len(numbers):
        raise SweepError(f"ids names {len(numbers)} images; there are {begin}")


def quietly(
    items: Iterator[Item], device: torch.device, dtype: torch.dtype | None, left: nn.Module | None = None
) -> Iterator[Item]:
    """The items, made without gradients and in this precision; whoever takes them is left in peace by both.

    `left` is a network that is to be left as it was.
    """
    while True:
        kept = contextlib.nullcontext() if left is None else untouched(left)
        with torch.no_grad(), precision(device, dtype), kept:
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


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
    options = arguments.options_of(options, BATCH_SIZE)
    example = arguments.one_tensor(example, "example")
    model, lesions = arguments.network(model), arguments.named_lesions(lesions)
    return Ready.of(model, example, lesions, options, lambda output: output).plan


@dataclass(frozen=True)
class Ready:
    """A network that was tried out, its steps, and what will be run of them."""

    trial: Trial
    trace: Trace | Whole
    plan: Plan

    @property
    def left(self) -> nn.Module | None:
        """The network, where its forwards would leave counts on it."""
        return self.trace.model if self.trial.counting else None

    @staticmethod
    def of(
        model: nn.Module,
        first: torch.Tensor,
        lesions: Mapping[str, Lesion | None],
        options: Options,
        readout: Readout,
        trial: Trial | None = None,
    ) -> Ready:
        """Makes a network ready for these lesions and for batches like the first."""
        sites = _paths(model, lesions)
        if trial is None:
            trial = tried(model, first, readout, device_of(model), rows=options.trace)

        def cuts(trace: Trace | Whole) -> Iterator[int]:
            return (stop.position for stop in _all_stops(plan_walk(trace, lesions)))

        trace = prepared(model, sites, options, trial, cuts)
        return Ready(trial, trace, _plan(model, trace, lesions, options))


def _plan(
    model: nn.Module, trace: Trace | Whole, lesions: Mapping[str, Lesion | None], options: Options
) -> Plan:
    walk = plan_walk(trace, lesions)
    device = device_of(model)
    budget = options.budget if options.budget is not None else int(memory.free_bytes(device) * memory.SHARE)
    rows: dict[int, int] = {}
    most = 0
    for position in sorted({stop.position for stop in _all_stops(walk)}):
        peak = trace.peak_bytes(position, trace.length)
        rows[position] = options.rows or memory.rows_that_fit(peak, budget, device)
        most = max(most, peak * rows[position])
    costs = tuple(fact.multiply_adds for fact in trace.facts)
    return Plan(walk, tuple(lesions), steps_of(model, trace), costs, trace.why_whole, rows, most)


def _all_stops(walk: Walk) -> Iterator[Stop]:
    for stop in walk.stops:
        yield stop
        for branch in stop.branches:
            yield from _all_stops(branch.walk)


def _paths(model: nn.Module, lesions: Mapping[str, Lesion | None]) -> set[str]:
    """Module paths of everything that these lesions touch."""
    parts = {part for lesion in lesions.values() if lesion is not None for part in lesion.parts}
    sites: set[str] = set()
    for part in parts:
        for site in find(model, part.site):
            sites |= {site.path, incoming(model, site.path)} if isinstance(part, Prune) else {site.path}
    return sites


class _Job:
    """One batch's way through a plan."""

    def __init__(
        self,
        trace: Trace | Whole,
        lesions: Mapping[str, Lesion | None],
        rows: Mapping[int, int],
        ids: torch.Tensor,
        seed: int,
        calibration: Calibration | None,
        readout: Readout,
        changes: bool,
        done: set[str],
    ) -> None:
        self.trace, self.lesions, self.rows, self.ids, self.done = trace, lesions, rows, ids, done
        self.seed, self.calibration, self.readout, self.changes = seed, calibration, readout, changes

    def walk(self, walk: Walk, state: State, begin: int, before: Squares | None = None) -> Iterator[Found]:
        """Walks from a state that it may use up; `before` is what was changed on the way there."""
        before = before or {}
        trace = self.trace
        for stop in walk.stops:
            if stop.position > begin:
                state = trace.run(state, begin, stop.position)
                begin = stop.position
            yield from self.leaves(stop, state, before)
            for branch in stop.branches:
                if not self.done.issuperset(names_of(branch.walk)):
                    yield from self.branch(branch, stop.position, state, before)
        if not self.done.issuperset(walk.finish):
            outputs = self.readout(trace.run(state, begin, trace.length))
            check_rows(outputs, len(self.ids))
            yield [(walk.finish, outputs, before)]

    def leaves(self, stop: Stop, state: State, before: Squares) -> Iterator[Found]:
        """Every lesion that runs to the end from here, several at a time."""
        images = len(self.ids)

        def run(leaves: Sequence[Leaf]) -> tuple[torch.Tensor, list[Squares]]:
            lesions = [
                self.lesions[leaf.names[0]] if leaf.acts is None else lesion_of(leaf.acts) for leaf in leaves
            ]
            result, squares = self.damaged(
                lesions, self.trace.repeated(state, len(leaves)), stop.position, self.trace.length
            )
            return self.readout(result), squares

        size = 1 if self.trace.why_whole else max(1, self.rows[stop.position] // images)
        for begin in range(0, len(stop.leaves), size):
            chunk = stop.leaves[begin : begin + size]
            if self.done.issuperset(name for leaf in chunk for name in leaf.names):
                continue
            for leaves, (outputs, squares) in memory.in_chunks(chunk, size, run, alone=LesionError):
                check_rows(outputs, images * len(leaves))
                parts = outputs.split(images)
                yield [
                    (leaf.names, output, together(before, changed))
                    for leaf, output, changed in zip(leaves, parts, squares, strict=True)
                ]

    def branch(self, branch: Branch, position: int, state: State, before: Squares) -> Iterator[Found]:
        """Shared damage once, then everybody who shares it."""
        stops = branch.walk.stops
        end = stops[0].position if stops else self.trace.length
        copy = self.trace.repeated(state, 1)
        walked, squares = self.damaged([lesion_of(branch.acts)], copy, position, end)
        yield from self.walk(branch.walk, walked, end, together(before, squares[0]))

    def damaged(
        self, lesions: Sequence[Lesion | None], state: State, begin: int, end: int
    ) -> tuple[Any, list[Squares]]:
        """Steps `begin` to `end` with the first share of the rows damaged by the first lesion, and so on.

        Returns:
            what these steps give, and what each lesion changed (nothing where that was not asked for).
        """
        changes = Changes() if self.changes else None
        piece = self.trace.piece(begin, end)
        arguments = self.trace.arguments(state, begin)
        state.clear()
        with (
            lesioned(
                piece,
                list(lesions),
                seed=self.seed,
                calibration=self.calibration,
                ids=self.ids,
                changes=changes,
            ),
            self.trace.arithmetic,
        ):
            # As a module is called; a recorded one would print its code on every error.
            result = nn.Module.__call__(piece, *arguments)
        squares: list[Squares] = [{} for _ in lesions] if changes is None else list(changes.squares)
        return self.trace.named(result, end), squares


def readout_of(readout: object) -> Readout:
    """From the network's output to a tensor, whatever was asked for."""
    if readout is None:
        return _itself
    if not callable(readout):
        raise SweepError(
            f"readout is a function from the network's output to a tensor, not a {type(readout).__name__}"
        )

    def read(output: Any) -> torch.Tensor:
        answer = readout(output)
        if not isinstance(answer, torch.Tensor):
            raise SweepError(
                f"readout gives a {type(answer).__name__}: it must give a tensor with a row per image"
            )
        return answer

    return read


def _itself(output: Any) -> torch.Tensor:
    if not isinstance(output, torch.Tensor):
        raise SweepError(f"the network answers with a {type(output).__name__}: say which tensor by readout=")
    return output


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters live."""
    tensor = next(itertools.chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def precision(device: torch.device, dtype: torch.dtype | None) -> contextlib.AbstractContextManager[Any]:
    """Autocast to `dtype`, or nothing."""
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def bar_of(wanted: bool, lesions: int) -> Any:
    """A progress bar; silent unless wanted and looked at by a person."""
    from tqdm import tqdm

    return tqdm(desc=f"{lesions} lesions", unit=" images", disable=not (wanted and sys.stderr.isatty()))
