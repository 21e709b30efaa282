"""Hooks that look after themselves: on while the context lasts, own handles only, none left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .errors import IgnoredByCompile, LesionError
from .locate import unwrap

Visit = Callable[[str, int, nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]


def _nothing(*_: object) -> None:
    """What a hook becomes in a copy or a pickle of the model: the lesion belongs to the context, not to the model."""


def _inert() -> Callable[..., None]:
    return _nothing


class _Hook:
    def __init__(self, act: Callable[..., Any]) -> None:
        self.act = act

    def __call__(self, *given: Any) -> Any:
        return self.act(*given)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return _nothing

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _inert, ()


class Watch:
    """Sees every call of some modules of a model, counted within each forward.

    Args:
        model: the network.
        paths: modules to watch.
        visit: called with (path, call number, module, args, kwargs, output); what it returns replaces the output,
            None leaves it.
        begin, end: called as a forward of the model begins and ends. When a part of the model is called on its own
            there is no such frame; then a module that runs again begins a new forward.
    """

    def __init__(
        self,
        model: nn.Module,
        paths: Iterable[str],
        visit: Visit,
        begin: Callable[[], None] = _nothing,
        end: Callable[[set[tuple[str, int]]], None] = _nothing,
    ) -> None:
        self.given, self.model = model, unwrap(model)
        self.paths = list(dict.fromkeys(paths))
        self.visit, self.begin, self.end = visit, begin, end
        self.inside = False
        self.calls: dict[str, int] = {}
        self.handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Watch:
        refuse_compiled(self.given, self.paths)
        try:
            for path in self.paths:
                module = self.model.get_submodule(path)
                hook = _Hook(lambda *given, path=path: self._ran(path, *given))
                self.handles.append(module.register_forward_hook(hook, with_kwargs=True))
            # The frame is added last, so that it closes after a watch on the network's own output.
            self.handles.append(self.model.register_forward_pre_hook(_Hook(self._enter)))
            self.handles.append(self.model.register_forward_hook(_Hook(self._leave)))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _enter(self, *_: object) -> None:
        if not self.inside:
            self._finish()
        self.inside, self.calls = True, {}
        self.begin()

    def _leave(self, *_: object) -> None:
        self._finish()
        self.inside = False

    def _finish(self) -> None:
        if self.calls or self.inside:
            self.end({(path, call) for path, count in self.calls.items() for call in range(count)})
        self.calls = {}

    def _ran(self, path: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        if not self.inside and path in self.calls:
            self._finish()
        if not self.inside and not self.calls:
            self.begin()
        call = self.calls.get(path, 0)
        self.calls[path] = call + 1
        return self.visit(path, call, module, args, kwargs, output)

    def finish(self) -> None:
        """Closes a forward that had no frame of its own."""
        if not self.inside:
            self._finish()


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
