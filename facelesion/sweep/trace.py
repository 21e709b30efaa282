"""A network as steps: what comes before a cut runs once, what comes after often.

A `Trace` has one step, the whole network, and is nowhere cut; `recorded.Recorded` has the network's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from facelesion.sweep.costs import Costs
from facelesion.sweep.facts import OTHER, ROWS, State, Step, repeated
from facelesion.sweep.untouched import untouched


class Trace:
    """A network's steps, the places between them where it can be cut, and how its pieces are run.

    Attributes:
        model: the network.
        example: a batch like those to come.
        facts: what is known of each step.
        why_whole: why the network is not cut; empty where it is.
        input_name: under which name a state holds the batch.
        arithmetic: how pieces compute: a context that is on while one runs.
        kept_bytes: what that keeps, made of the network's weights, at the most.
        channels_last: whether images are laid out channels last.
        uncuttable: positions at which a cut was seen to change the answer.
        left: the network, where its forwards leave counts on it and it is to be left as it was.

    Example:
        >>> trace = whole(nn.Linear(3, 2), torch.ones(1, 3), "as asked")
        >>> trace.length, trace.multiply_adds(0, 1), trace.run(trace.start(torch.ones(4, 3)), 0, 1).shape
        (1, 6, torch.Size([4, 2]))
    """

    input_name = "input"

    def __init__(self, model: nn.Module, example: torch.Tensor, facts: Sequence[Step], why_whole: str = "") -> None:
        self.model, self.example, self.facts, self.why_whole = model, example, facts, why_whole
        # What trials show (`preparing`).
        self.arithmetic: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        self.kept_bytes = 0
        self.channels_last = False
        self.uncuttable: frozenset[int] = frozenset()
        self.left: nn.Module | None = None

    @property
    def length(self) -> int:
        """Number of steps; a cut at `length` has the network's output behind it."""
        return len(self.facts)

    @property
    def ends_with_last_step(self) -> bool:
        """Whether the network's output is simply what its last step made."""
        return True

    def position(self, path: str) -> int | None:
        """The step at which the module at `path` (or the step that contains it) first runs; None if it never does."""
        return 0

    def calls_of(self, path: str) -> int:
        """How many steps run the module at `path`, by itself or within another."""
        return 1

    def can_cut(self, position: int) -> bool:
        """Whether the state before a step can be kept and repeated for several lesions."""
        return position == 0

    def piece(self, begin: int, end: int) -> nn.Module:
        """Steps `begin` to `end` as a module that takes the `arguments` at `begin`."""
        return self.model

    def arguments(self, state: Mapping[str, Any], position: int) -> list[Any]:
        """The state in the order in which the piece that begins at `position` takes it."""
        return [state[self.input_name]]

    def named(self, result: Any, end: int) -> Any:
        """What a piece that ends at `end` gave, as a state (or the output itself at the last step)."""
        return result

    def repeated(self, state: Mapping[str, Any], times: int) -> State:
        """A copy of a state for `times` lesions: all images for the first, all images for the second, and so on.

        The result never shares memory with the state, so that in-place steps do no harm.
        """
        return {name: repeated(value, ROWS, times) for name, value in state.items()}

    def peak_bytes(self, begin: int, end: int, beside: Mapping[int, int] | None = None) -> int:
        """The most memory that steps `begin` to `end` hold at one time, for one image.

        That is their results, and at some steps (by number) what is held `beside` these.
        """
        return 0

    def row_bytes(self, position: int) -> int | None:
        """Memory of the state before a step, for one image; None where it holds more than rows of results."""
        return None

    def only_rows(self, position: int) -> bool:
        """Whether the state before a step is rows of images and nothing else."""
        return False

    def cut_before(self, position: int) -> int:
        """The last place at or before a step where the network can be cut."""
        while position and not self.can_cut(position):
            position -= 1
        return position

    def multiply_adds(self, begin: int, end: int) -> int:
        """Multiply-adds of steps `begin` to `end` for one image."""
        return sum(fact.multiply_adds for fact in self.facts[begin:end])

    def output_shape(self, path: str) -> torch.Size | None:
        """The shape of what the module at `path` answers in a forward of the example; None if not one tensor."""
        shapes: list[torch.Size | None] = []

        def note(module: nn.Module, args: Any, output: Any) -> None:
            whole = isinstance(output, torch.Tensor) and output.is_floating_point()
            shapes.append(output.shape if whole else None)

        handle = self.model.get_submodule(path).register_forward_hook(note)
        try:
            with torch.no_grad(), untouched(self.model):
                self.model(self.example.clone())
        finally:
            handle.remove()
        return shapes[0] if shapes else None

    def laid_out(self, batch: torch.Tensor) -> torch.Tensor:
        """A batch in the layout in which these steps are run."""
        last = torch.channels_last
        return batch.contiguous(memory_format=last) if self.channels_last and batch.ndim == 4 else batch

    def start(self, batch: torch.Tensor) -> State:
        """The state before the first step: a copy, since a step in place must not write into the caller's images."""
        return self.repeated({self.input_name: self.laid_out(batch)}, 1)

    def run(self, state: Mapping[str, Any], begin: int, end: int) -> Any:
        """Runs steps `begin` to `end`: the state there, or the network's output where `end` is the last.

        In-place steps write into the state that is handed in: hand in a copy (`repeated`) to keep it.
        """
        with self.arithmetic:
            return self.named(self.piece(begin, end)(*self.arguments(state, begin)), end)


def whole(model: nn.Module, example: torch.Tensor, why: str) -> Trace:
    """A network that is not cut, and why it is not."""
    return Trace(model, example, [Step(type(model).__name__, _cost(model, example), 0, OTHER, None, ())], why)


def _cost(model: nn.Module, example: torch.Tensor) -> int:
    """Multiply-adds for one image; 0 where they cannot be counted, as for what refuses to be watched."""
    try:
        with torch.no_grad(), Costs() as costs:
            model(example.clone())
    except Exception:
        return 0
    return costs.multiply_adds // max(1, len(example))
