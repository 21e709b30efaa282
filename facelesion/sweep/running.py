"""How the pieces of a network are run: quietly, and with a bar where a person looks on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TypeVar

import torch

from facelesion.sweep.arguments import device_of
from facelesion.sweep.trace import Trace
from facelesion.sweep.untouched import untouched

Item = TypeVar("Item")


def quietly(trace: Trace, items: Iterator[Item], dtype: torch.dtype | None) -> Iterator[Item]:
    """The items, made of a network without gradients and in this precision; who takes them is left in peace by both.

    The network is left as it was, where its forwards leave counts on it.
    """
    device = device_of(trace.model)
    while True:
        kept = contextlib.nullcontext() if trace.left is None else untouched(trace.left)
        lower = contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)
        with torch.no_grad(), lower, kept:
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def bar_of(wanted: bool, lesions: int) -> Any:
    """A progress bar; silent unless wanted and looked at by a person."""
    from tqdm import tqdm

    return tqdm(desc=f"{lesions} lesions", unit=" images", disable=not (wanted and sys.stderr.isatty()))
