"""Counts multiply-adds while a network runs. It only counts: what it cannot count costs nothing and stops nobody."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Costs(TorchDispatchMode):
    """A context that adds up the multiply-adds of everything that runs in it.

    torch's own counter follows modules by hooks on gradients, and stops where a learned parameter is handed on by
    `expand`; this one sees operators only.

    Example:
        >>> with torch.no_grad(), Costs() as costs:
        ...     _ = torch.rand(4, 3) @ torch.rand(3, 5)
        >>> costs.multiply_adds
        60
    """

    def __init__(self) -> None:
        super().__init__()
        self.multiply_adds = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        count = flop_registry.get(getattr(func, "_overloadpacket", None))
        if (
            count is None
            and isinstance(func, torch._ops.OpOverload)
            and func is not torch.ops.prim.device.default
        ):
            # What is made of smaller operators is counted by these.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if count is not None:
            self.multiply_adds += _count(count, args, kwargs, result)
        return result


def _count(count: Any, args: Any, kwargs: Any, result: Any) -> int:
    try:
        return int(count(*args, **kwargs, out_val=result)) // 2
    except Exception:
        # A formula that does not know this kind of tensor: a cost is told, never needed.
        return 0
