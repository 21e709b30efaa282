"""A network that is not cut: what `Trace` is, for networks whose steps cannot be recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from facelesion.sweep.costs import Costs
from facelesion.sweep.facts import OTHER, ROWS, State, Step, repeated
from facelesion.sweep.untouched import untouched


class Whole:
    """A network that is not cut: one step, run whole for every lesion. It answers to what `Trace` answers to."""

    length = 1
    ends_with_last_step = True
    uncuttable: frozenset[int] = frozenset()

    def __init__(self, model: nn.Module, example: torch.Tensor, why: str) -> None:
        self.model, self.example, self.why_whole = model, example, why
        self.arithmetic: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        self.channels_last = False
        self.facts = [Step(type(model).__name__, _cost(model, example), 0, OTHER, None, ())]

    def position(self, path: str) -> int | None:
        return 0

    def calls_of(self, path: str) -> int:
        return 1

    def output_shape(self, path: str) -> torch.Size | None:
        """The shape of what the module at `path` answers in a forward of the example; None if not one tensor."""
        return seen_shape(self.model, path, self.example)

    def cut_before(self, position: int) -> int:
        return 0

    def peak_bytes(self, begin: int, end: int) -> int:
        return 0

    def start(self, batch: torch.Tensor) -> State:
        return {"input": batch}

    def piece(self, begin: int, end: int) -> nn.Module:
        return self.model

    def arguments(self, state: Mapping[str, Any], position: int) -> list[Any]:
        return [state["input"]]

    def named(self, result: Any, end: int) -> Any:
        return result

    def run(self, state: Mapping[str, Any], begin: int, end: int) -> Any:
        return self.model(state["input"])

    def repeated(self, state: Mapping[str, Any], times: int) -> State:
        return {"input": repeated(state["input"], ROWS, times)}


def _cost(model: nn.Module, example: torch.Tensor) -> int:
    """Multiply-adds for one image; 0 where they cannot be counted, as for what refuses to be watched."""
    try:
        with torch.no_grad(), Costs() as costs:
            model(example.clone())
    except Exception:
        return 0
    return costs.multiply_adds // max(1, len(example))


def seen_shape(model: nn.Module, path: str, example: torch.Tensor) -> torch.Size | None:
    """The shape of what the module at `path` answers in a forward of the example; None if not one tensor."""
    shapes: list[torch.Size | None] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        whole = isinstance(output, torch.Tensor) and output.is_floating_point()
        shapes.append(output.shape if whole else None)

    handle = model.get_submodule(path).register_forward_hook(note)
    try:
        with torch.no_grad(), untouched(model):
            model(example.clone())
    finally:
        handle.remove()
    return shapes[0] if shapes else None
