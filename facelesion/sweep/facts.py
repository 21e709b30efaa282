"""What is known of a network's steps before a sweep: how their results grow with the batch, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode

from facelesion.sweep.costs import Costs

State = dict[str, Any]

# How a value grows with the batch: one row per image, a count of images, not at all, or in a way we cannot repeat.
ROWS, COUNT, FIXED, OTHER = "rows", "count", "fixed", "other"


@dataclass(frozen=True)
class Step:
    """What is known of one step before anything is run.

    Attributes:
        path: the module's path, or the function's name.
        multiply_adds: for one image.
        bytes: of the result, for one image.
        growth: how the result grows with the batch.
        shape: of the result for a batch of two; None where it is no tensor.
        dtype: of the result; None where it is no tensor.
        storage: which memory the result lives in; in-place steps and views share their source's.
        name: under which a state holds the result.
    """

    path: str
    multiply_adds: int
    bytes: int
    growth: Any
    shape: torch.Size | None
    storage: tuple[int, ...]
    dtype: torch.dtype | None = None
    name: str = ""


class CannotTrace(Exception):
    """The network's steps cannot be recorded, or the record does not give the network's own answer."""


def repeated(value: Any, growth: Any, times: int) -> Any:
    """A value of the state for `times` lesions, sharing no memory with it."""
    if isinstance(growth, tuple):
        return type(value)(repeated(v, g, times) for v, g in zip(value, growth, strict=True))
    if growth == COUNT:
        return value * times
    if not isinstance(value, torch.Tensor):
        return value
    if growth == FIXED:
        return value.clone()
    return stacked(value, times)


def stacked(value: torch.Tensor, times: int) -> torch.Tensor:
    """`times` copies one after another, laid out in memory as the value is: `repeat` knows the plain layout only."""
    order, back = _as_in_memory(value)
    return value.permute(order).repeat([times if axis == 0 else 1 for axis in order]).permute(back)


def joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rows one after another, laid out in memory as the first part is: `cat` knows some layouts only."""
    order, back = _as_in_memory(parts[0])
    return torch.cat([part.permute(order) for part in parts], dim=order.index(0)).permute(back)


def _as_in_memory(value: torch.Tensor) -> tuple[list[int], list[int]]:
    """The axes in the order in which they lie in memory, and the way back."""
    strides = value.stride()
    order = sorted(range(value.ndim), key=lambda axis: (-strides[axis], axis))
    return order, [order.index(axis) for axis in range(value.ndim)]


def leaves(growth: Any) -> list[str]:
    return [leaf for item in growth for leaf in leaves(item)] if isinstance(growth, tuple) else [growth]


def _growth(small: Any, large: Any, counts: tuple[int, int]) -> Any:
    """How a value grew between two batches of these counts of images."""
    few, many = counts
    if isinstance(small, torch.Tensor):
        if small.shape == large.shape:
            return FIXED
        grew = (
            small.ndim
            and small.shape[1:] == large.shape[1:]
            and small.shape[0] * many == large.shape[0] * few
        )
        return ROWS if grew else OTHER
    if isinstance(small, tuple | list):
        # torch.Size is a tuple that cannot be rebuilt from its parts by name, but can from a list of them.
        if len(small) != len(large) or type(small) not in (tuple, list, torch.Size):
            return OTHER
        return tuple(_growth(a, b, counts) for a, b in zip(small, large, strict=True))
    if isinstance(small, int | float) and not isinstance(small, bool):
        return FIXED if small == large else COUNT if small * many == large * few else OTHER
    return (
        FIXED
        if isinstance(small, bool | str | torch.dtype | torch.device | None) and small == large
        else OTHER
    )


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for item in value for t in _tensors(item)] if isinstance(value, tuple | list) else []


class _Recorder(fx.Interpreter):
    """Runs a graph step by step and notes each result's shape, memory and multiply-adds."""

    def __init__(self, module: fx.GraphModule, counter: Costs) -> None:
        super().__init__(module)
        self.counter = counter
        self.seen: dict[str, tuple[Any, int, tuple[int, ...]]] = {}

    def run_node(self, n: fx.Node) -> Any:
        before = self.counter.multiply_adds
        result = super().run_node(n)
        shapes = _shapes(result)
        storages = tuple(t.untyped_storage()._cdata for t in _tensors(result))
        self.seen[n.name] = (shapes, self.counter.multiply_adds - before, storages)
        return result


def _shapes(value: Any) -> Any:
    """The value with its tensors replaced by empty ones of the same shape, which hold no memory."""
    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    if isinstance(value, tuple | list):
        kind = type(value) if type(value) in (tuple, list, torch.Size) else _Other
        return kind(_shapes(item) for item in value)
    return value


class _Other(tuple[Any, ...]):
    """What stands for a kind of tuple that cannot be rebuilt from its parts."""


def dry_run(
    whole: fx.GraphModule, steps: Sequence[fx.Node], example: torch.Tensor
) -> tuple[list[Step], tuple[int, ...]]:
    """Runs a recorded network on tensors without content, for batches of two and of three images.

    Returns:
        what is known of each step, and the memory that the batch itself lives in.
    """
    counts = (2, 3)
    runs = []
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # The fused attention kernel hides its matrix products from the counter.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for count in counts:
            batch = example[:1].expand(count, *example.shape[1:])
            try:
                with FakeTensorMode(allow_non_fake_inputs=True) as mode:
                    runs.append(_record(whole, mode.from_tensor(batch.contiguous())))
            except Exception:
                # A module that looks at the numbers: run it on real ones.
                runs.append(_record(whole, batch.clone()))
    except Exception as problem:
        raise CannotTrace(f"the recorded steps do not run: {problem}") from problem
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    facts = []
    for step in steps:
        (small, _, storage), (large, operations, _) = runs[0][step.name], runs[1][step.name]
        size = sum(t.numel() * t.element_size() for t in _tensors(large)) // counts[1]
        path = (
            str(step.target)
            if step.op != "call_function"
            else getattr(step.target, "__name__", str(step.target))
        )
        shape, kind = (small.shape, small.dtype) if isinstance(small, torch.Tensor) else (None, None)
        growth = _growth(small, large, counts)
        facts.append(Step(path, operations // counts[1], size, growth, shape, storage, kind, step.name))
    (batch,) = (node for node in whole.graph.nodes if node.op == "placeholder")
    return facts, runs[0][batch.name][2]


def _record(whole: fx.GraphModule, batch: torch.Tensor) -> dict[str, tuple[Any, int, tuple[int, ...]]]:
    with torch.no_grad(), Costs() as counter:
        recorder = _Recorder(whole, counter)
        # Values are kept until the end: memory that is freed and used again would look like shared memory.
        recorder.garbage_collect_values = False
        recorder.run(batch)
    return recorder.seen
