"""How large the tensors are that a computation makes on its way: what decides over threads and over memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Sizes(TorchDispatchMode):
    """Notes how many elements the largest result of each operation that computes holds, by the operation's name."""

    def __init__(self) -> None:
        super().__init__()
        self.largest: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if isinstance(made, torch.Tensor) and not function.is_view and name not in ("empty", "new_empty"):
            self.largest[name] = max(self.largest[name], made.numel())
        return made


def largest(run: Callable[[], object]) -> int:
    """Elements of the largest result of any operation."""
    with Sizes() as sizes:
        run()
    return max(sizes.largest.values())
