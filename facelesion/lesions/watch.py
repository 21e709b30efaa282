"""Hooks that look after themselves: on while the context lasts, own handles only, none left behind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .errors import IgnoredByCompile, LesionError
from .locate import unwrap
from .recompute import carry, keeps_gradients


@dataclass
class Forward:
    """One forward of a network, as far as it has come.

    Attributes:
        data: what whoever watches keeps for this forward.
        calls: how often each watched module has run in it.
        framed: it is a call of the network itself, which has a beginning and an end.
        grad: whether gradients are wanted of it.
        recomputed: it runs once more, in a backward pass.
        unmatched: as well, but nobody can say which forward it was.
    """

    data: Any = None
    calls: dict[str, int] = field(default_factory=dict)
    framed: bool = False
    grad: bool = False
    recomputed: bool = False
    unmatched: bool = False


@dataclass
class Call:
    """One call of a watched module."""

    path: str
    number: int
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    forward: Forward


Visit = Callable[[Call], Any]


class Removable(Protocol):
    """A hook's handle, or what is like one."""

    def remove(self) -> None: ...


def _nothing(*_: object) -> None:
    """What a hook becomes in a copy or a pickle of the model: the lesion belongs to the context, not to the model."""


def _inert() -> Callable[..., None]:
    return _nothing


class _Hook:
    def __init__(self, owner: Watch, act: Callable[..., Any]) -> None:
        self.owner, self.act = owner, act

    def __call__(self, *given: Any) -> Any:
        return self.act(*given)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return _nothing

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _inert, ()


class Watch:
    """Sees every call of some modules of a model, counted within each forward.

    A forward lasts from the model's own call to its end, however it ends; a module that runs again in a backward pass
    (activation checkpointing) is seen as a call of the forward that it repeats, also when the watch is over by then.

    Args:
        model: the network.
        paths: modules to watch.
        visit: called with each `Call`; what it returns replaces the output, None leaves it.
        begin: called with the arguments of a forward as it begins; gives its `Forward.data`. When a part of the model
            is called on its own there is no such frame and None is given; a module that runs again begins a new one.
        end: called with each forward, and the error that ended it, if any.
        inside: what acts inside of modules is put there by this, and taken out again with the hooks.
        also: further modules to watch that need not be fit for it.
    """

    def __init__(
        self,
        model: nn.Module,
        paths: Iterable[str],
        visit: Visit,
        begin: Callable[[tuple[Any, ...] | None, dict[str, Any]], Any] = _nothing,
        end: Callable[[Forward, BaseException | None], None] = _nothing,
        inside: Callable[[], Iterable[Removable]] = tuple,
        also: Iterable[str] = (),
    ) -> None:
        self.given, self.model = model, unwrap(model)
        self.paths, self.also = list(dict.fromkeys(paths)), list(also)
        self.visit, self.begin, self.end, self.inside = visit, begin, end, inside
        self.forward: Forward | None = None
        # The frames of the model's own calls that have begun, and the error that was being handled before the first.
        self.frames: list[FrameType] = []
        self.earlier: BaseException | None = None
        self.handles: list[Removable] = []
        # In a recomputation: the forwards that are still to be repeated, and whether the present one is under way.
        self.again: list[Forward] | None = None
        self.depth, self.under_way = 0, False
        self.lock = threading.RLock()
        # In a trial run: who is told of the outputs of watched modules. Nothing else happens then.
        self.looking: Callable[[str, Any], None] | None = None

    def __enter__(self) -> Watch:
        refuse_compiled(self.given, self.paths)
        if isinstance(self.given, nn.DataParallel) and len(self.given.device_ids) > 1:
            raise LesionError(
                "nn.DataParallel runs copies of the network in threads, whose images cannot be told apart: use "
                "DistributedDataParallel, or lesion model.module on one device"
            )
        try:
            self.attach()
        except BaseException:
            self.detach()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()
        self.frames, self.earlier = [], None

    def attach(self) -> None:
        for path in dict.fromkeys([*self.paths, *self.also]):
            module = self.model.get_submodule(path)
            hook = _Hook(self, lambda *given, path=path: self._ran(path, *given))
            self.handles.append(module.register_forward_hook(hook, with_kwargs=True))
        self.handles += self.inside()
        # The frame is added last, so that it closes after a watch on the network's own output.
        self.handles.append(self.model.register_forward_pre_hook(_Hook(self, self._enter), with_kwargs=True))
        self.handles.append(self.model.register_forward_hook(_Hook(self, self._leave), always_call=True))

    def detach(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.looking is not None:
            return
        if self.again is not None:
            self._repeat(self.depth == 0 and self.under_way)
            self.depth += 1
            return
        if self.frames:
            # Something that no hook is told of (a KeyboardInterrupt) may have ended an earlier forward.
            running = set(_stack())
            self.frames = [frame for frame in self.frames if frame in running]
        if not self.frames:
            self._finish()
            self.earlier = sys.exc_info()[1]
            self.forward = Forward(self.begin(args, kwargs), framed=True, grad=keeps_gradients())
        self.frames.append(sys._getframe(2))

    def _leave(self, *_: object) -> None:
        if self.looking is not None:
            return
        if self.again is not None:
            self.depth -= 1
        elif self.frames:
            self.frames.pop()
            if not self.frames:
                error = sys.exc_info()[1]
                self._finish(None if error is self.earlier else error)
                self.earlier = None

    def _finish(self, error: BaseException | None = None) -> None:
        forward, self.forward = self.forward, None
        if forward is not None:
            self.end(forward, error)

    def coming(self, path: str) -> Forward:
        """The forward to which the next call of a watched module belongs."""
        if self.again is not None:
            assert self.forward is not None
            return self._repeat(not self.forward.framed and path in self.forward.calls)
        if torch._C._current_graph_task_id() != -1:
            return Forward(recomputed=True, unmatched=True)
        if not self.frames and self.forward is not None and path in self.forward.calls:
            self._finish()
        if self.forward is None:
            self.forward = Forward(self.begin(None, {}), grad=keeps_gradients())
        return self.forward

    def _repeat(self, following: bool) -> Forward:
        if following and self.again:
            self.forward = self.again.pop(0)
        self.under_way = True
        assert self.forward is not None
        return self.forward

    def _ran(self, path: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        if self.looking is not None:
            self.looking(path, output)
            return None
        forward = self.coming(path)
        if not forward.unmatched:
            carry(self, forward)
        number = forward.calls.get(path, 0)
        forward.calls[path] = number + 1
        return self.visit(Call(path, number, module, args, kwargs, output, forward))

    def is_alone(self) -> bool:
        """Whether no other hooks see what the network does."""
        return all(
            isinstance(hook, _Hook) and hook.owner is self
            for module in self.model.modules()
            for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        )

    @contextmanager
    def looks(self, look: Callable[[str, Any], None]) -> Iterator[None]:
        """While it lasts, forwards are healthy and are not counted."""
        self.looking = look
        try:
            yield
        finally:
            self.looking = None

    def finish(self) -> None:
        """Closes a forward that has no end of its own."""
        self.frames = []
        self._finish()

    @contextmanager
    def repeated(self, forwards: list[Forward]) -> Iterator[None]:
        """While it lasts, calls of watched modules repeat those of these forwards, even when the watch is over."""
        with self.lock:
            kept, over = (self.forward, self.frames, self.again, self.depth, self.under_way), not self.handles
            first, *rest = (replace(each, calls=dict(each.calls), recomputed=True) for each in forwards)
            self.forward, self.frames, self.again, self.depth, self.under_way = first, [], rest, 0, False
            try:
                if over:
                    self.attach()
                yield
            finally:
                if over:
                    self.detach()
                self.forward, self.frames, self.again, self.depth, self.under_way = kept


def _stack() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def run_healthy(model: nn.Module, batches: Iterable[Tensor], paths: Iterable[str], visit: Visit) -> None:
    """Runs a network in evaluation mode, without gradients, under a watch; then leaves it in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), Watch(model, paths, visit) as watch:
            for batch in batches:
                watch.model(batch)
    finally:
        for module in training:
            module.training = True


def refuse_compiled(model: nn.Module, paths: Iterable[str]) -> None:
    """Raises where a hook could not act: compiled or scripted modules around or at these paths."""
    inner = unwrap(model)
    around = {"": [model, getattr(model, "module", model), inner]}
    for path in paths:
        names = path.split(".")
        for depth in range(1, len(names) + 1 if path else 1):
            name = ".".join(names[:depth])
            around[name] = [inner.get_submodule(name)]
    for name, modules in around.items():
        for module in modules:
            where = repr(name) if name else f"this {type(inner).__name__}"
            if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
                raise IgnoredByCompile(
                    f"{where} is compiled and may ignore a new hook: call slots(model, sites, example) before "
                    "torch.compile, or lesion the model that was compiled"
                )
            if isinstance(module, torch.jit.ScriptModule):
                raise LesionError(f"{where} is a TorchScript module: lesion the model it was made from")
