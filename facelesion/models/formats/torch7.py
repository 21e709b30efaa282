"""Torch7's `VGG_FACE.t7`: a container of modules, convolutions and linear layers in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from facelesion.errors import Error
from facelesion.models.formats.layers import FULLY_CONNECTED, NAMES, Found, Layers, Layout, channels_first
from facelesion.models.formats.t7 import Object, Table, Value, read_t7


def read_torch7(source: Path, layout: Layout, top: bool) -> Found:
    """Read the layers that have a weight and a bias, in the order in which the modules stand in their containers."""
    found = list(_modules(read_t7(source)))
    if len(found) not in (len(NAMES), len(NAMES) + len(FULLY_CONNECTED)):
        raise Error(
            f"{source}: {len(found)} layers with weights, where VGG-Face has 13 convolutions and 3 fully connected "
            "layers: take VGG_FACE.t7"
        )
    names = (*NAMES, *FULLY_CONNECTED)
    for name, (kind, _, _) in zip(names, found, strict=False):
        convolution, linear = "Convolution" in kind, kind.endswith(".Linear")
        if not (convolution if name in NAMES else convolution or linear):
            raise Error(f"{source}: {name} is {kind}, out of VGG-Face's order: take VGG_FACE.t7")
    shapes = layout.shapes(top)
    layers: Layers = {}
    for name, (_, kernel, bias) in zip(names, found, strict=False):
        if name in shapes:
            layers[name] = channels_first(name, kernel, bias, shapes[name], source)
    outputs = len(found[-1][2]) if len(found) > len(NAMES) else None
    # Its authors' example turns the picture into BGR first.
    return Found(layers, "Torch7", "BGR", True, outputs)


def _modules(root: Value) -> Iterator[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Modules with weights, depth first in order; each once, though a file may hold one twice or in itself."""
    seen: set[int] = set()
    waiting: list[Value] = [root]
    while waiting:
        here = waiting.pop()
        if not isinstance(here, Object | Table) or id(here) in seen:
            continue
        seen.add(id(here))
        fields = here.fields if isinstance(here, Object) else here
        kernel, bias = fields.get("weight"), fields.get("bias")
        if isinstance(here, Object) and isinstance(kernel, np.ndarray) and isinstance(bias, np.ndarray):
            if kernel.size:
                yield here.kind, kernel, bias
        inner = fields.get("modules", fields if isinstance(here, Table) else None)
        if isinstance(inner, Table):
            numbered = sorted(key for key in inner if isinstance(key, int) and not isinstance(key, bool))
            named = [key for key in ("model", "net", "network") if key in inner]
            waiting.extend(inner[key] for key in reversed([*numbered, *named]))
