"""Activation checkpointing runs parts of a network once more in the backward pass: with the same damage.

`torch.utils.checkpoint` keeps, for each part, the function that it will run again. When a damaged module runs inside
such a part, that function is exchanged for one that first says which forward it repeats. So the numbers of the lesion
are those of the first time, also when the context has ended by then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .watch import Forward, Watch


class _Again:
    """What a part runs again, and whose forwards that repeats, in the order in which their hooks act."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self.run = run
        self.forwards: dict[Watch, list[tuple[object, Forward]]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as damage:
            for watch, forwards in self.forwards.items():
                damage.enter_context(watch.repeated([forward for _, forward in forwards]))
            return self.run(*args, **kwargs)


def keeps_gradients() -> bool:
    """Whether what runs now is part of a computation with gradients, also where they are off for a first run."""
    return torch.is_grad_enabled() or next(_parts(None), None) is not None


def carry(watch: Watch, forward: Forward) -> None:
    """If the part that runs now will run again, it will repeat this forward, from where it stands."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    # One way of checkpointing computes without gradients at first, the other sets hooks on what is saved.
    if hooks is None and (torch.is_grad_enabled() or not forward.grad):
        return
    for keeper, name in _parts(hooks):
        again = getattr(keeper, name)
        if not isinstance(again, _Again):
            again = _Again(again)
            setattr(keeper, name, again)
        known = again.forwards.setdefault(watch, [])
        if not known or known[-1][0] is not forward:
            known.append((forward, replace(forward, calls=dict(forward.calls))))


def _parts(hooks: Any) -> Iterator[tuple[Any, str]]:
    """The checkpointed parts that are running: what keeps their function, and under which name."""
    checkpoint = sys.modules.get("torch.utils.checkpoint")
    if checkpoint is None:
        return
    frame: FrameType | None = sys._getframe(1)
    found: list[Any] = []
    while frame is not None:
        if frame.f_code.co_filename == checkpoint.__file__:
            if frame.f_code.co_name == "forward" and hasattr(frame.f_locals.get("ctx"), "run_function"):
                found.append(frame.f_locals["ctx"])
                yield found[-1], "run_function"
            generator: Any = frame.f_locals.get("gen")
            while getattr(generator, "gi_yieldfrom", None) is not None:
                generator = generator.gi_yieldfrom
            if getattr(generator, "gi_frame", None) is not None:
                keeper = generator.gi_frame.f_locals.get("new_frame")
                if hasattr(keeper, "recompute_fn"):
                    found.append(keeper)
                    yield keeper, "recompute_fn"
        frame = frame.f_back
    # Where a module is checkpointed by its own hooks, its function is not on the stack.
    pack = hooks[0] if hooks else None
    for name, cell in zip(
        getattr(getattr(pack, "__code__", None), "co_freevars", ()),
        getattr(pack, "__closure__", None) or (),
        strict=False,
    ):
        keeper = cell.cell_contents if name == "frame" else None
        if hasattr(keeper, "recompute_fn") and not any(keeper is each for each in found):
            yield keeper, "recompute_fn"
