"""Damage inside a module: its forward is done otherwise while a context lasts. No parameter is edited.

What a module computes anew must pass through every hook that acts on its output, whoever set it and when. So it is the
forward itself that is exchanged, on the instance: hooks run behind it, as ever.
"""

from __future__ import annotations

import itertools
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .errors import LesionError

# Forwards that are known to read `self.weight`.
_READERS = {
    kind.forward
    for kind in (
        nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
        nn.Embedding, nn.Bilinear,
    )
}  # fmt: skip
# Others that were tried: the module, and its class then.
_TRIED: weakref.WeakKeyDictionary[nn.Module, type] = weakref.WeakKeyDictionary()


def twin(module: nn.Module, tensors: Mapping[str, Tensor], **children: nn.Module) -> nn.Module:
    """A shallow second self that reads other tensors. The module itself is not touched, and its hooks do not run.

    Whatever a weight is made by (a parametrization, an older `weight_norm`, a property), the twin reads these.
    """
    kind = type(module)
    hidden = {name: None for name in tensors if isinstance(getattr(kind, name, None), property)}
    if hidden:
        kind = type(kind.__name__, (kind,), hidden)
    second = kind.__new__(kind)
    second.__dict__.update(module.__dict__)
    second.__dict__.pop("forward", None)
    second.__dict__["_parameters"] = {k: v for k, v in module._parameters.items() if k not in tensors}
    second.__dict__["_modules"] = {**module._modules, **children}
    second.__dict__.update(tensors)
    return second


class Plan(Protocol):
    """What one context does inside one module."""

    blocks: int

    def acts(self) -> bool: ...
    def heads(self, heads: Tensor) -> Tensor: ...
    def masks(self, block: int, weight: Tensor) -> tuple[Tensor, ...]: ...
    def axis(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int: ...
    def unpruned(self, make: Callable[[], Any], output: Any) -> None: ...


class Inside:
    """Stands in for one module's forward, for all contexts that act inside it; the first to come is the outermost."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.plans, self.checked = module, list[Plan](), False
        self.own = module.__dict__.get("forward")
        # A function that was put in the forward's place reads the module itself, never a twin.
        self.foreign = self.own is not None and not (
            isinstance(self.own, types.MethodType) and self.own.__self__ is module
        )

    def run(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """The module's own forward, for a twin."""
        own: Any = type(self.module).forward if self.own is None else self.own.__func__
        return own(module, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plans = [plan for plan in self.plans if plan.acts()]
        if plans:
            return self.damaged(plans, args, kwargs)
        own: Any = self.own or types.MethodType(type(self.module).forward, self.module)
        return own(*args, **kwargs)

    def damaged(self, plans: list[Plan], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _own_forward(memo.get(id(self.module), self.module))

    def __reduce__(self) -> tuple[Any, ...]:
        return _own_forward, (self.module,)


def _own_forward(module: nn.Module) -> Callable[..., Any]:
    """What stands in a copy or a pickle of a damaged module: the forward of its class."""
    return types.MethodType(type(module).forward, module)


class Handle:
    """Takes a plan out of a module again."""

    def __init__(self, kind: type[Inside], module: nn.Module, plan: Plan) -> None:
        there = module.__dict__.get("forward")
        self.inside = there if isinstance(there, Inside) else kind(module)
        self.plan = plan
        self.inside.plans.append(plan)
        module.__dict__["forward"] = self.inside

    def remove(self) -> None:
        inside = self.inside
        if self.plan in inside.plans:
            inside.plans.remove(self.plan)
        if not inside.plans and inside.module.__dict__.get("forward") is inside:
            del inside.module.__dict__["forward"]
            if inside.own is not None:
                inside.module.__dict__["forward"] = inside.own


class Pruned(Inside):
    """A layer's forward with some of its weights at zero, for all rows or for the rows of each lesion."""

    def damaged(self, plans: list[Plan], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Read once: some weights are made anew whenever they are read.
        weight = self.module.weight
        if not isinstance(weight, Tensor) or not weight.is_floating_point():
            raise LesionError(f"{type(self.module).__name__}: only floating point weights can be pruned")
        output = self._computed(plans, weight, args, kwargs)
        self._check(output, weight, args, kwargs)
        for plan in plans:
            others = [each for each in plans if each is not plan]
            plan.unpruned(partial(self._computed, others, weight, args, kwargs, aside=True), output)
        return output

    def _computed(
        self,
        plans: list[Plan],
        weight: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        aside: bool = False,
    ) -> Any:
        several = [plan for plan in plans if plan.blocks > 1]
        if not several:
            return self._run(plans, (0,) * len(plans), weight, args, kwargs, aside)
        axis = several[0].axis(args, kwargs)
        rows = _rows((*args, *kwargs.values()), axis)
        cuts = sorted({rows * place // plan.blocks for plan in plans for place in range(plan.blocks + 1)})
        pieces: list[Tensor] = []
        for begin, end in _joined(cuts, plans, rows, weight):
            blocks = tuple(begin * plan.blocks // rows for plan in plans)
            given = [_narrowed(each, axis, rows, begin, end) for each in args]
            named = {key: _narrowed(each, axis, rows, begin, end) for key, each in kwargs.items()}
            piece = self._run(plans, blocks, weight, tuple(given), named, aside)
            if not isinstance(piece, Tensor) or piece.ndim <= axis or piece.shape[axis] != end - begin:
                raise LesionError(
                    f"a {type(self.module).__name__} does not answer row by row, so a list of lesions cannot prune it: "
                    "run its lesions one at a time"
                )
            pieces.append(piece)
        return torch.cat(pieces, axis)

    def _run(
        self, plans: list[Plan], blocks: tuple[int, ...], weight: Tensor, args: tuple[Any, ...],
        kwargs: dict[str, Any], aside: bool,
    ) -> Any:  # fmt: skip
        for plan, block in zip(plans, blocks, strict=True):
            for mask in plan.masks(block, weight):
                weight = weight.masked_fill(~mask, 0.0)
        return self._run_with(weight, args, kwargs, aside)

    def _run_with(self, weight: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], aside: bool) -> Any:
        if self.foreign:
            with _swapped(self.module, weight), torch.set_grad_enabled(torch.is_grad_enabled() and not aside):
                assert self.own is not None
                return self.own(*args, **kwargs)
        second = twin(self.module, {"weight": weight})
        if aside:
            second.__dict__["_buffers"] = {
                name: None if each is None else each.clone() for name, each in self.module._buffers.items()
            }
            with torch.no_grad():
                return self.run(second, *args, **kwargs)
        before = dict(second.__dict__)
        output = self.run(second, *args, **kwargs)
        for name, value in second.__dict__.items():
            # What a forward leaves on its module, it leaves there.
            if before.get(name, before) is not value:
                self.module.__dict__[name] = value
        return output

    def _check(self, output: Any, weight: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuses a module whose forward reads another weight than the one that was exchanged."""
        forward = type(self.module).forward if self.own is None else getattr(self.own, "__func__", None)
        if forward in _READERS or _TRIED.get(self.module) is type(self.module):
            return
        healthy = self._run_with(weight, args, kwargs, aside=True)
        if all(
            torch.equal(plain(a), plain(b)) for a, b in zip(_tensors(output), _tensors(healthy), strict=True)
        ):
            # Silent inputs, or another weight? Not a number shows.
            nothing = self._run_with(torch.full_like(weight, torch.nan), args, kwargs, aside=True)
            if not any(bool(plain(each).isnan().any()) for each in _tensors(nothing)):
                raise LesionError(
                    f"Prune: the forward of this {type(self.module).__name__} does not read its `weight`, so nothing "
                    "would be pruned: name the layer inside it whose weights count"
                )
        _TRIED[self.module] = type(self.module)


@contextmanager
def _swapped(module: nn.Module, weight: Tensor) -> Iterator[None]:
    """The module itself reads another weight while this lasts; its parameter stays where it is."""
    if isinstance(getattr(type(module), "weight", None), property):
        raise LesionError(
            f"the forward of this {type(module).__name__} was replaced by a function and its weight is made anew "
            "whenever it is read, so that no pruning reaches it: damage its output instead"
        )
    before = module.__dict__.get("weight", module)
    module.__dict__["weight"] = weight
    try:
        yield
    finally:
        if before is module:
            del module.__dict__["weight"]
        else:
            module.__dict__["weight"] = before


def plain(tensor: Tensor) -> Tensor:
    """A tensor out of the wrappers of `torch.func`."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor.detach()


def stands_for_many(y: Tensor) -> bool:
    """Whether a tensor stands for many at once, in `torch.vmap`."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(y):
        if functorch.is_batchedtensor(y):
            return True
        y = functorch.get_unwrapped(y)
    return False


def _joined(cuts: list[int], plans: list[Plan], rows: int, weight: Tensor) -> Iterator[tuple[int, int]]:
    """Stretches of rows with the same weights."""

    def masks(begin: int) -> tuple[int, ...]:
        return tuple(id(mask) for plan in plans for mask in plan.masks(begin * plan.blocks // rows, weight))

    for _, group in itertools.groupby(itertools.pairwise(cuts), key=lambda cut: masks(cut[0])):
        stretch = list(group)
        yield stretch[0][0], stretch[-1][1]


def _rows(values: tuple[Any, ...], axis: int) -> int:
    return next(each.shape[axis] for each in values if isinstance(each, Tensor) and each.ndim > axis)


def _narrowed(value: Any, axis: int, rows: int, begin: int, end: int) -> Any:
    if isinstance(value, Tensor) and value.ndim > axis and value.shape[axis] == rows:
        return value.narrow(axis, begin, end - begin)
    return value


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for each in value for tensor in _tensors(each)] if isinstance(value, list | tuple) else []
