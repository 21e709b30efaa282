"""How the pieces of a network are run: quietly, and with a bar where a person looks on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TypeVar

import torch

from facelesion.products import float32_products
from facelesion.sweep.arguments import device_of
from facelesion.sweep.options import Options
from facelesion.sweep.trace import Trace
from facelesion.sweep.untouched import untouched

Item = TypeVar("Item")


def quietly(trace: Trace, items: Iterator[Item], options: Options) -> Iterator[Item]:
    """The items, made of a network without gradients and in the precision asked for; who takes them is spared both.

    The network is left as it was, where its forwards leave counts on it.
    """
    device, dtype = device_of(trace.model), options.autocast
    while True:
        kept = contextlib.nullcontext() if trace.left is None else untouched(trace.left)
        lower = contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)
        with torch.no_grad(), float32_products(options.tf32), lower, kept:
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def bar_of(wanted: bool, lesions: int) -> Any:
    """A progress bar; silent unless wanted and looked at by a person."""
    from tqdm import tqdm

    return tqdm(desc=f"{lesions} lesions", unit=" images", disable=not (wanted and sys.stderr.isatty()))
