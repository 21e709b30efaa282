"""A hash of everything that decides what a network or a function answers, the same in every process.

A network is more than its weights: buffers that are not saved, plain attributes, hooks, functions put in the place of
others, and the values that these functions reach for outside of themselves.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import io
import logging
import os
import sys
import sysconfig
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from facelesion.sweep.untouched import notes

# Where installed packages lie: their code is known by its name and not by its text.
_INSTALLED = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
# Things of a process, not of a network.
_IGNORED = (logging.Logger, logging.Handler, io.IOBase, weakref.ref, threading.Thread, types.GeneratorType)
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
)  # fmt: skip


def fingerprint(*values: Any, without: Iterable[tuple[str, str]] = ()) -> str:
    """Sixteen hexadecimal digits for some values: networks, functions, tensors, plain values.

    Args:
        values: what decides an answer.
        without: (module path, name) of attributes of a network that are left out, as notes that a forward leaves.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> before = fingerprint(network)
        >>> network.limit = 5.0
        >>> before == fingerprint(network), before == fingerprint(network, without=[("", "limit")])
        (False, True)
        >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 2)
        False
    """
    digest = _Digest(frozenset(without))
    for value in values:
        digest.add(value)
    return digest.hash.hexdigest()[:16]


def attributes(model: nn.Module) -> dict[tuple[str, str], str]:
    """A hash of each plain attribute of a network, by module path and name. Parts stand for themselves."""
    parts = [module for _, module in model.named_modules()]
    found = {}
    for path, module in model.named_modules():
        for name, value in notes(module).items():
            digest = _Digest(frozenset())
            digest.seen = {id(part): number for number, part in enumerate(parts)}
            digest.add(value)
            found[path, name] = digest.hash.hexdigest()[:16]
    return found


class _Digest:
    """Takes in values one after another. Each is told by its kind first, so that 1, 1.0 and "1" differ."""

    def __init__(self, without: frozenset[tuple[str, str]]) -> None:
        self.hash = hashlib.sha256()
        self.without = without
        # Values that are being looked at or were: what holds itself is not followed for ever.
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []

    def text(self, *words: object) -> None:
        for word in words:
            told = str(word).encode(errors="surrogatepass")
            self.hash.update(f"{len(told)}:".encode() + told)

    def add(self, value: Any) -> None:
        plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
        if plain and type(value).__module__ == "builtins":
            self.text(type(value).__name__, repr(value))
            return
        if id(value) in self.seen:
            self.text("again", self.seen[id(value)])
            return
        self.seen[id(value)] = len(self.seen)
        # Kept alive: a value made on the way would give its number to the next.
        self.kept.append(value)
        self._add(value)

    def _add(self, value: Any) -> None:
        match value:
            case Tensor():
                self.tensor(value)
            case nn.Module():
                self.network(value)
            case enum.Enum() | torch.dtype() | torch.device() | torch.Size() | slice() | range():
                self.text("value", _kind(type(value)), value)
            case types.ModuleType():
                self.text("module", value.__name__)
            case type():
                self.type(value)
            case functools.partial():
                self.text("partial")
                self.add([value.func, value.args, value.keywords])
            case types.MethodType():
                self.text("method")
                self.add(value.__func__)
                self.add(value.__self__)
            case types.FunctionType():
                self.function(value)
            case types.CodeType():
                self.code(value)
            case Mapping():
                self.text("mapping", _kind(type(value)), len(value))
                for key, each in value.items():
                    self.add(key)
                    self.add(each)
            case set() | frozenset():
                self.text("set", *sorted(fingerprint(each) for each in value))
            case list() | tuple():
                self.text("list", _kind(type(value)), len(value))
                for each in value:
                    self.add(each)
            case _ if type(value).__module__ == "numpy" and hasattr(value, "tobytes"):
                self.text("array", getattr(value, "shape", ()), value.dtype)
                self.hash.update(value.tobytes())
            case _ if isinstance(value, types.BuiltinFunctionType) or callable(
                getattr(value, "__wrapped__", None)
            ):
                self.text("builtin", getattr(value, "__qualname__", _kind(type(value))))
                self.add(getattr(value, "__wrapped__", None))
            case torch.Generator():
                self.text("generator", value.initial_seed())
            case torch.jit.ScriptFunction():
                self.text("scripted", value.code)
            case _ if isinstance(value, _IGNORED):
                self.text("ignored", _kind(type(value)))
            case _:
                self.object(value)

    def tensor(self, value: Tensor) -> None:
        self.text("tensor", tuple(value.shape), value.dtype, value.layout)
        if value.is_meta:
            return
        if value.is_quantized:
            value = value.dequantize()
        if value.layout != torch.strided:
            value = value.to_dense()
        numbers = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        self.hash.update(numbers.view(torch.uint8).numpy().data)

    def network(self, model: nn.Module) -> None:
        """All that a forward may read: parts, parameters, buffers (saved or not), attributes, hooks, code."""
        for path, module in model.named_modules(remove_duplicate=False):
            self.text("part", path, module.training)
            self.add(type(module))
            if id(module) in self.seen and module is not model:
                continue
            self.seen[id(module)] = len(self.seen)
            self.text(_extra(module))
            for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
                self.text(name)
                self.add(tensor)
            for name, value in sorted(notes(module).items()):
                if (path, name) not in self.without:
                    self.text(name)
                    self.add(value)
            for name in _HOOKS:
                for hook in getattr(module, name, {}).values():
                    self.text(name)
                    self.add(hook)
        if isinstance(model, torch.jit.ScriptModule):
            self.text(model.code)

    def function(self, value: Callable[..., Any]) -> None:
        assert isinstance(value, types.FunctionType)
        self.text("function", value.__name__)
        if _library(value.__module__):
            self.text(value.__module__, value.__qualname__)
            return
        self.code(value.__code__)
        self.add([value.__defaults__, value.__kwdefaults__])
        for cell in value.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:
                self.text("empty")
        names, parts = _names(value.__code__)
        for name in sorted(names & value.__globals__.keys()):
            found = value.__globals__[name]
            self.text(name)
            self.add(found)
            if isinstance(found, types.ModuleType) and not _library(found.__name__):
                # `settings.limit`, where settings is a file of the user's.
                self.add([vars(found)[part] for part in sorted(parts & vars(found).keys())])

    def code(self, value: types.CodeType) -> None:
        self.text("code", value.co_names, value.co_varnames, value.co_freevars, value.co_argcount)
        self.hash.update(value.co_code)
        for constant in value.co_consts:
            self.add(constant)

    def type(self, value: type) -> None:
        self.text("type", _kind(value))
        for base in value.__mro__[:-1]:
            installed = _library(base.__module__)
            for name, member in sorted(vars(base).items()):
                if isinstance(member, staticmethod | classmethod):
                    member = member.__func__
                elif isinstance(member, property):
                    member = member.fget
                # Of an installed class only what somebody else put into it.
                code = isinstance(member, types.FunctionType) and not (
                    installed and _library(member.__module__)
                )
                plain = isinstance(
                    member, bool | int | float | str | list | tuple | dict | Tensor | nn.Module
                )
                if code or (plain and not installed and not name.startswith("__")):
                    self.text(name)
                    self.add(member)

    def object(self, value: Any) -> None:
        """Any other thing: its kind and its attributes; never its address."""
        self.text("object")
        self.add(type(value))
        if dataclasses.is_dataclass(value):
            self.add({field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)})
            return
        slots = getattr(type(value), "__slots__", ())
        slots = [slots] if isinstance(slots, str) else slots
        self.add({name: getattr(value, name, None) for name in slots} | getattr(value, "__dict__", {}))


def _kind(value: type) -> str:
    # A process that was started afresh knows the user's script by another name.
    return f"{value.__module__.replace('__mp_main__', '__main__')}.{value.__qualname__}"


@functools.cache
def _library(name: str | None) -> bool:
    """Whether a module came with Python or was installed, other than this package."""
    top = (name or "builtins").partition(".")[0]
    if top in sys.stdlib_module_names or top == "facelesion":
        return top not in ("__main__", "facelesion")
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None:
        return False
    place = os.path.realpath(file)
    # A cluster's modules and `pip --user` install outside Python's own folders, in folders of these names.
    return place.startswith(_INSTALLED) or bool({"site-packages", "dist-packages"} & set(place.split(os.sep)))


def _names(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Global names that a function reads, and names of attributes."""
    found: tuple[set[str], set[str]] = (set(), set())
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found[0].add(str(step.argval))
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            found[1].add(str(step.argval))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            for names, more in zip(found, _names(constant), strict=True):
                names |= more
    return found


def _extra(module: nn.Module) -> str:
    try:
        return module.extra_repr()
    except Exception:
        return ""
