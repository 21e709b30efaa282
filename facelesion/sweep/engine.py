"""Runs a plan: images outside, lesions inside, so that one batch's healthy activations are all that is ever held."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from facelesion.lesions import Changes, Lesion, LesionError, lesioned
from facelesion.lesions.drawn import Kept, keeping
from facelesion.products import float32_products
from facelesion.sweep import memory
from facelesion.sweep.facts import State
from facelesion.sweep.measures import Squares, together
from facelesion.sweep.planner import (
    Branch,
    Leaf,
    Plan,
    Stop,
    Walk,
    lesion_of,
    names_of,
    plan_walk,
    planned,
    stops_of,
)
from facelesion.sweep.preparing import prepared
from facelesion.sweep.request import Request
from facelesion.sweep.running import bar_of, quietly
from facelesion.sweep.trace import Trace
from facelesion.sweep.trial import Trial, check_embeddings, check_rows, tried

# What was run together: lesions that are one and the same, their outputs, and what they changed.
Found = list[tuple[tuple[str, ...], torch.Tensor, Squares]]


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
        >>> from torch import nn
        >>> from facelesion.lesions import Ablate
        >>> from facelesion.sweep import stream
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


@dataclass(frozen=True)
class Ready:
    """A network that was tried out: its steps, and what will be run of them."""

    trace: Trace
    plan: Plan

    @staticmethod
    def of(request: Request, first: torch.Tensor, trial: Trial | None = None) -> Ready:
        """Makes a network ready for what is asked of it, on batches like the first."""
        model, options, sites = request.model, request.options, request.sites

        def cuts(trace: Trace) -> Iterator[int]:
            return (stop.position for stop in stops_of(plan_walk(trace, request.lesions)))

        with float32_products(options.tf32):
            if trial is None:
                trial = tried(model, first, request.reader, rows=options.trace)
            trace = prepared(model, sites, options, trial, cuts)
        return Ready(trace, planned(request, trace))


def chunks(
    request: Request,
    *,
    progress: bool = False,
    skip: Callable[[str, range], bool] | None = None,
    ready: Ready | None = None,
) -> Iterator[list[Part]]:
    """Every output that is asked for, in lots that were run together.

    Which lesions run together hangs on the plan alone, not on what is skipped: so a sweep that goes on where another
    was stopped does the very same arithmetic.

    Args:
        request: what is asked.
        progress: a bar, where a person looks at it.
        skip: which lesions are done already for which images, and are not run again.
        ready: what was made ready before, for batches like these.
    """
    images = request.images()
    first = next(images)
    *_, batch = first
    ready = ready or Ready.of(request, batch)
    check_embeddings(request, batch[:1])
    draws = Kept(memory.bytes_for_draws(request.options.budget_on(request.device)))
    with bar_of(progress, len(request.lesions)) as bar:
        for rows, ids, batch in itertools.chain([first], images):
            done = {name for name in request.lesions if skip is not None and skip(name, rows)}
            if len(done) == len(request.lesions):
                continue
            for found in quietly(ready.trace, _Job(request, ready, ids, done, draws).run(batch), request.options):
                yield [Part(names, rows, outputs, squares) for names, outputs, squares in found]
                bar.update(sum(len(names) for names, *_ in found) * len(rows))


class _Job:
    """One batch's way through a plan."""

    def __init__(self, request: Request, ready: Ready, ids: torch.Tensor, done: set[str], draws: Kept) -> None:
        self.request, self.ids, self.done, self.draws = request, ids, done, draws
        self.trace, self.plan, self.read = ready.trace, ready.plan, request.reader

    def run(self, batch: torch.Tensor) -> Iterator[Found]:
        """Every lesion that is not done, for these images."""
        yield from self.walk(self.plan.walk, self.trace.start(batch.to(self.request.device, non_blocking=True)), 0)

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
            outputs = self.read(trace.run(state, begin, trace.length))
            check_rows(outputs, len(self.ids))
            yield [(walk.finish, outputs, before)]

    def leaves(self, stop: Stop, state: State, before: Squares) -> Iterator[Found]:
        """Every lesion that runs to the end from here, several at a time."""
        images = len(self.ids)

        def run(leaves: Sequence[Leaf]) -> tuple[torch.Tensor, list[Squares]]:
            whole = self.request.lesions
            lesions = [whole[leaf.names[0]] if leaf.acts is None else lesion_of(leaf.acts) for leaf in leaves]
            result, squares = self.damaged(
                lesions, self.trace.repeated(state, len(leaves)), stop.position, self.trace.length
            )
            return self.read(result), squares

        size = 1 if self.trace.why_whole else max(1, self.plan.rows[stop.position] // images)
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
        request, changes = self.request, Changes() if self.request.changes else None
        with keeping(self.draws), lesioned(
            self.trace.piece(begin, end),
            list(lesions),
            seed=request.seed,
            calibration=request.calibration,
            ids=self.ids,
            changes=changes,
        ):
            result = self.trace.run(state, begin, end)
        return result, [{} for _ in lesions] if changes is None else list(changes.squares)
