"""A tensor that lies on another device than everything else, which is not there: all it can be is brought here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_STAYS = {"clone", "detach", "alias", "view"}


class Elsewhere(Tensor):
    """Says that it lies on a GPU, and refuses to be computed with, as a GPU's tensor does beside main memory's.

    Example:
        >>> there = Elsewhere(torch.ones(2))
        >>> there.device.type, there.cpu().tolist()
        ('cuda', [1.0, 1.0])
        >>> there + torch.ones(2)
        Traceback (most recent call last):
            ...
        RuntimeError: add: tensors on two devices
    """

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device="cuda:0"
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(
        cls,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name, words = function.overloadpacket.__name__, dict(kwargs or {})
        if name == "_to_copy" and torch.device(words.get("device", "cuda")).type == "cpu":
            return function(args[0].inner, **words)
        if name in _STAYS:
            return cls(function(args[0].inner, *args[1:], **words))
        raise RuntimeError(f"{name}: tensors on two devices")
