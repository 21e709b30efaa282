"""What every reader of a format hands over: named layers with their axes in one order, and what the file says."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from facelesion.errors import Error
from facelesion.models.vgg import BLOCKS, channels

NAMES = tuple(f"conv{block}_{n}" for block, (count, _) in enumerate(BLOCKS, 1) for n in range(1, count + 1))
FULLY_CONNECTED = ("fc6", "fc7", "fc8")

Shape = tuple[int, int, int, int]  # out, in, rows, columns
Array = npt.NDArray[np.generic]
# Kernel (out, in, rows, columns) and bias (out,), float32; a fully connected layer is a kernel as large as the map.
Layers = dict[str, tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Layout:
    """The shapes that a file must have; left as it is, the published network's.

    Attributes:
        width: factor on the number of channels.
        hidden: units of fc6 and fc7.
        people: units of fc8.
        size: side of the pictures that fc6 was made for, in pixels.

    Example:
        >>> Layout().shapes(top=True)["fc6"]
        (4096, 512, 7, 7)
    """

    width: float = 1.0
    hidden: int = 4096
    people: int = 2622
    size: int = 224

    def shapes(self, top: bool) -> dict[str, Shape]:
        """Layer by layer, in order: (out, in, rows, columns)."""
        blocks = channels(self.width)
        shapes: dict[str, Shape] = {}
        before = 3
        for name in NAMES:
            here = blocks[int(name[4]) - 1]
            shapes[name] = (here, before, 3, 3)
            before = here
        if top:
            side = self.size // 32
            shapes["fc6"] = (self.hidden, before, side, side)
            shapes["fc7"] = (self.hidden, self.hidden, 1, 1)
            shapes["fc8"] = (self.people, self.hidden, 1, 1)
        return shapes


PUBLISHED = Layout()


@dataclass
class Found:
    """What was read from a file.

    Attributes:
        layers: by VGG-Face's names.
        format: what it is called in the converted file's note.
        colours: the order of colours that the first layer wants.
        named: the layers bear VGG-Face's own names, so that the file says what it is.
        outputs: units of the last fully connected layer, whether it was wanted or not; None where there is none.
        people: names of those units, where the file has them.
    """

    layers: Layers
    format: str
    colours: str
    named: bool
    outputs: int | None = None
    people: tuple[str, ...] = field(default=(), repr=False)


def rows_first(
    name: str, kernel: Array, bias: Array, shape: Shape, source: Path
) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer kept as (rows, columns, in, out), or fully connected as (rows · columns · in, out): Keras, MatConvNet."""
    out, inner, rows, columns = shape
    allowed = [(rows, columns, inner, out), (rows * columns * inner, out)]
    _check(name, kernel.shape, bias.size, allowed if name in FULLY_CONNECTED else allowed[:1], out, source)
    values = _numbers(name, kernel, source).reshape(rows, columns, inner, out)
    # The copy is the one that stays; `ascontiguousarray` of the float32 view makes no second one.
    return torch.from_numpy(np.ascontiguousarray(values.transpose(3, 2, 0, 1))), _bias(name, bias, source)


def channels_first(
    name: str, kernel: Array, bias: Array, shape: Shape, source: Path
) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer kept as (out, in, rows, columns) or (out, in · rows · columns): PyTorch, Torch7."""
    allowed = [shape, (shape[0], prod(shape[1:]))]
    _check(name, kernel.shape, bias.size, allowed, shape[0], source)
    values = _numbers(name, kernel, source).reshape(shape)
    return torch.from_numpy(np.array(values, order="C")), _bias(name, bias, source)


def _check(
    name: str, kernel: tuple[int, ...], biases: int, allowed: list[tuple[int, ...]], out: int, source: Path
) -> None:
    if tuple(kernel) not in allowed:
        raise Error(
            f"{source}: weights do not fit: {name}'s kernel is {tuple(kernel)}, not {allowed[0]}: "
            "take VGG-Face's own file (VGG16's shape)"
        )
    if biases != out:
        raise Error(
            f"{source}: weights do not fit: {name} has {biases} biases, not {out}: take VGG-Face's own file"
        )


def _numbers(name: str, values: Array, source: Path) -> npt.NDArray[np.float32]:
    if values.dtype.kind != "f":
        raise Error(f"{source}: {name} holds {values.dtype}, not floating-point numbers: get the file again")
    return values.astype(np.float32, copy=False)


def _bias(name: str, bias: Array, source: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(_numbers(name, bias, source).reshape(-1), order="C"))
