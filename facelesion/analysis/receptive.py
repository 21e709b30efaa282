"""Which part of the picture a unit at one place can see at all: its theoretical receptive field.

It follows from the network's own geometry: every convolution and pool says how far its places look (Araujo, Norris &
Sim 2019, Distill). What a unit answers to lies inside it, mostly near its middle (Luo et al. 2016).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from facelesion.analysis.activations import sites_called
from facelesion.errors import Error
from facelesion.lesions.locate import unwrap

Pair = tuple[float, float]


@dataclass(frozen=True)
class ReceptiveField:
    """What every place of a feature map sees of the picture; rows first, columns second.

    The place (i, j) sees the rows `stride[0] * i + low[0]` to `stride[0] * i + high[0]`, both included, as far as the
    picture has them, and columns likewise.

    Attributes:
        stride: pixels from one place to the next.
        low, high: first and last pixel that place 0 sees; infinite where every place may see the whole picture.

    Example:
        >>> field = ReceptiveField((2, 2), (-1, -1), (3, 3))
        >>> field.size, field.window((4, 0), (16, 16))
        ((5, 5), ((7, 12), (0, 4)))
    """

    stride: Pair = (1, 1)
    low: Pair = (0, 0)
    high: Pair = (0, 0)

    @property
    def size(self) -> Pair:
        """Height and width in pixels."""
        return (self.high[0] - self.low[0] + 1, self.high[1] - self.low[1] + 1)

    def window(self, place: Sequence[int], picture: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns that a place sees, each from the first to the one after the last.

        Args:
            place: row and column of the feature map; empty for a unit without places.
            picture: the picture's height and width.
        """
        found = []
        for axis in (0, 1):
            if not len(place) or math.isinf(self.low[axis]):
                found.append((0, int(picture[axis])))
                continue
            start = self.stride[axis] * place[axis]
            first, last = max(0, start + self.low[axis]), min(picture[axis] - 1, start + self.high[axis])
            found.append((int(first), int(last) + 1))
        return found[0], found[1]

    def after(self, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> ReceptiveField:
        """The field of what a convolution or pool makes of this map."""
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        ends = [
            (self.low[a] - self.stride[a] * padding[a], self.high[a] + self.stride[a] * (reach[a] - padding[a]))
            for a in (0, 1)
        ]
        return ReceptiveField(
            (self.stride[0] * stride[0], self.stride[1] * stride[1]),
            (ends[0][0], ends[1][0]),
            (ends[0][1], ends[1][1]),
        )


WHOLE = ReceptiveField((1, 1), (-math.inf, -math.inf), (math.inf, math.inf))


def receptive_fields(module: nn.Module, sites: str | Sequence[str]) -> dict[str, ReceptiveField]:
    """The receptive field of some sites' units, by the site's name.

    Steps whose geometry is not known (attention, resizing, a flattened map) see the whole picture from there on: a
    field is never told too small.

    Args:
        module: a network (N, 3, H, W) -> ... that `torch.fx` can record; it is not run.
        sites: patterns, as lesions take them.

    Raises:
        Error: no such site, one that never runs, or a network that cannot be recorded.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 8, 3, dilation=2))
        >>> receptive_fields(network, "2")["2"].size
        (11, 11)
    """
    places = sites_called(module, sites)
    network = unwrap(module)
    try:
        graph = fx.Tracer().trace(network)
    except Exception as problem:
        told = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise Error(f"the network's receptive fields cannot be followed: torch.fx: {told}") from None
    fields: dict[fx.Node, ReceptiveField] = {}
    for node in graph.nodes:
        if node.op in ("placeholder", "get_attr"):
            fields[node] = ReceptiveField()
        elif node.op != "output":
            fields[node] = _of(node, network, fields)
    found = {}
    for name, site in places.items():
        last = None
        for node in graph.nodes:
            inside = [str(path) for path, _ in node.meta.get("nn_module_stack", {}).values()]
            if node.op == "call_module" and node.target == site.path or site.path in inside:
                last = node
        if not site.path:
            last = next(reversed(fields))
        if last is None:
            raise Error(f"{name} never runs in this network: name a site in use")
        found[name] = fields[last]
    return found


# Steps in which every place looks at its own place alone.
_PLACEWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Identity,
)  # fmt: skip
_PLACEWISE: set[Callable[..., Any] | str] = {
    operator.add, operator.iadd, operator.mul, operator.imul, operator.sub, operator.truediv, operator.neg,
    torch.add, torch.mul, torch.sub, torch.cat, torch.relu, torch.sigmoid, torch.tanh, F.relu, F.relu6, F.leaky_relu,
    F.gelu, F.silu, F.elu, F.hardswish, F.sigmoid, F.tanh, F.dropout, F.dropout2d, F.batch_norm, F.prelu,
    "relu", "relu_", "sigmoid", "tanh", "add", "add_", "mul", "mul_", "sub", "sub_", "clone", "contiguous", "float",
    "clamp", "clamp_", "detach", "to",
}  # fmt: skip
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)
_POOL_FUNCTIONS = (F.max_pool2d, F.avg_pool2d, torch.max_pool2d)


def _of(node: fx.Node, network: nn.Module, fields: Mapping[fx.Node, ReceptiveField]) -> ReceptiveField:
    """What one step's places see."""
    before = [fields[each] for each in node.all_input_nodes if each.op != "get_attr"]
    if not before:
        return ReceptiveField()
    field = _together(before)
    if math.isinf(field.low[0]):
        return WHOLE
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        if isinstance(module, _PLACEWISE_MODULES):
            return field
        if isinstance(module, nn.Conv2d) and module.padding_mode != "circular":
            reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
            padding: Any = module.padding
            if isinstance(padding, str):
                padding = (0, 0) if padding == "valid" else tuple(each // 2 for each in reach)
            return field.after(_pair(module.kernel_size), _pair(module.stride), _pair(padding), _pair(module.dilation))
        if isinstance(module, _POOLS):
            return _pooled(field, vars(module))
        return WHOLE
    if node.target in _PLACEWISE:
        return field
    if node.target in _POOL_FUNCTIONS:
        names = ("input", "kernel_size", "stride", "padding", *(("dilation",) if node.target != F.avg_pool2d else ()))
        return _pooled(field, dict(zip(names, node.args, strict=False)) | node.kwargs)
    return WHOLE


def _pooled(field: ReceptiveField, said: Mapping[str, Any]) -> ReceptiveField:
    kernel = _pair(said["kernel_size"])
    stride = said.get("stride")
    return field.after(
        kernel,
        kernel if stride in (None, (), []) else _pair(stride),
        _pair(said.get("padding", 0)),
        _pair(said.get("dilation", 1)),
    )


def _together(fields: Sequence[ReceptiveField]) -> ReceptiveField:
    """What is seen through any of several ways that meet."""
    if len({field.stride for field in fields}) > 1:
        return WHOLE
    ends = [
        (min(field.low[axis] for field in fields), max(field.high[axis] for field in fields)) for axis in (0, 1)
    ]
    return ReceptiveField(fields[0].stride, (ends[0][0], ends[1][0]), (ends[0][1], ends[1][1]))


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))
