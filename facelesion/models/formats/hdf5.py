"""Keras' HDF5: keras-vggface's named layers, deepface's unnamed ones, a whole model or its weights alone."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facelesion.errors import Error, one_line
from facelesion.models.formats.layers import FULLY_CONNECTED, NAMES, Found, Layers, Layout, rows_first

_LARGEST_MEMBER = 2**31  # bytes of weights in a .keras archive
_LARGEST_CONFIG = 2**24


@dataclass
class _Layer:
    """One layer of the file: its name, and its arrays, not read yet."""

    name: str
    arrays: list[Any] = field(default_factory=list)

    def kernel(self) -> Any:
        return next((array for array in self.arrays if array.ndim in (2, 4)), None)


def read_keras(source: Path, layout: Layout, top: bool) -> Found:
    """Read what Keras saved: legacy weights, a whole model (.h5), Keras 3's `.weights.h5`, or a `.keras` archive.

    Layers named as VGG-Face's (`conv1_1`) are taken by name; where none is, thirteen convolutions in order, and up to
    three more layers behind them, are taken by order and shape: deepface keeps fc6 to fc8 as convolutions.
    """
    with _opened(source) as file:
        layers = _layers(file, source)
        wanted = layout.shapes(top)
        by_path = any(layer.name in NAMES for layer in layers)
        by_name = {layer.name: layer for layer in layers} if by_path else _in_order(layers, source)
        named = by_path or _names_in_archive(source) == NAMES
        last = by_name["fc8"].kernel() if "fc8" in by_name else None
        outputs = None if last is None else int(last.shape[-1])
        as_convolution = last is not None and last.ndim == 4
        read: Layers = {}
        for name, shape in wanted.items():
            if name in by_name:
                kernel, bias = _pair(by_name[name], source)
                # By shape first: a file may claim arrays larger than any memory.
                if kernel.size != np.prod(shape) or bias.size != shape[0]:
                    expected = (shape[2], shape[3], shape[1], shape[0])
                    raise Error(
                        f"{source}: weights do not fit: {name} is {kernel.shape} with {bias.size} biases, "
                        f"not {expected}: take VGG-Face's own file, in TensorFlow's order of axes"
                    )
                read[name] = rows_first(name, _array(kernel, source), _array(bias, source), shape, source)
    kind = (
        "keras-vggface HDF5"
        if named
        else "deepface HDF5"
        if as_convolution
        else "Keras HDF5, layers in order"
    )
    # keras-vggface and deepface both turn RGB into BGR before the first layer.
    return Found(read, kind, "BGR", named, outputs)


def _names_in_archive(source: Path) -> tuple[str, ...]:
    """The convolutions' names in a `.keras` archive, which keeps them beside the numbers and not with them."""
    if not zipfile.is_zipfile(source):
        return ()
    with zipfile.ZipFile(source) as archive:
        if archive.getinfo("config.json").file_size > _LARGEST_CONFIG:
            return ()
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    return tuple(layer["config"]["name"] for layer in layers if layer["class_name"] == "Conv2D")


@contextmanager
def _opened(source: Path) -> Iterator[Any]:
    import h5py

    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                member = archive.getinfo("model.weights.h5")
                if member.file_size > _LARGEST_MEMBER:
                    raise Error(f"{source}: holds {member.file_size} bytes of weights: that is no VGG-Face")
                content: Any = io.BytesIO(archive.read(member))
        else:
            content = source
        with h5py.File(content, "r") as file:
            yield file
    except Error:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        reason = one_line(error)
        raise Error(f"{source}: not a whole HDF5 file ({reason}): get it again") from None


def _layers(file: Any, source: Path) -> list[_Layer]:
    """Layers with arrays, in the model's order as far as the file tells it."""
    import h5py

    layers: dict[str, _Layer] = {}

    def visit(path: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or path.split("/")[0].startswith("optimizer"):
            return
        if re.search(r"block\d_conv\d", path):
            raise Error(
                f"{source}: these are ImageNet's layers (block1_conv1 ...), not VGG-Face's (conv1_1 ...): "
                "take keras-vggface's file"
            )
        above = path.split("/")[:-1]
        if above and above[-1] == "vars":
            above = above[:-1]
        known = [part for part in above if part in (*NAMES, *FULLY_CONNECTED)]
        key = known[0] if known else "/".join(above)
        layers.setdefault(key, _Layer(key.split("/")[-1])).arrays.append(item)

    file.visititems(visit)
    holder = file["model_weights"] if "model_weights" in file else file
    order = [
        name.decode() if isinstance(name, bytes) else str(name)
        for name in holder.attrs.get("layer_names", ())
    ]

    def place(layer: _Layer) -> tuple[int, str, int]:
        # Keras 3 keeps no list of layers; its own names count upwards: conv2d, conv2d_1, ..., then dense, dense_1.
        stem, number = re.fullmatch(r"(.*?)(?:_(\d+))?", layer.name, re.DOTALL).groups()  # type: ignore[union-attr]
        return order.index(layer.name) if layer.name in order else len(order), stem, int(number or 0)

    return sorted(layers.values(), key=place)


def _in_order(layers: list[_Layer], source: Path) -> dict[str, _Layer]:
    found = [layer for layer in layers if layer.kernel() is not None]
    names = (*NAMES, *FULLY_CONNECTED)
    if len(found) < len(NAMES) or len(found) > len(names):
        raise Error(
            f"{source}: {len(found)} layers with kernels, none with VGG-Face's names: VGG-Face has 13 convolutions, "
            "and 3 fully connected layers behind them: take keras-vggface's or deepface's file"
        )
    return dict(zip(names if len(found) == len(names) else NAMES, found, strict=False))


def _pair(layer: _Layer, source: Path) -> tuple[Any, Any]:
    kernels = [array for array in layer.arrays if array.ndim in (2, 4)]
    biases = [array for array in layer.arrays if array.ndim == 1]
    if len(kernels) != 1 or len(biases) != 1 or len(layer.arrays) != 2:
        raise Error(
            f"{source}: {layer.name} is not one kernel and one bias: take keras-vggface's or deepface's file"
        )
    return kernels[0], biases[0]


def _array(dataset: Any, source: Path) -> np.ndarray[Any, np.dtype[Any]]:
    if dataset.external or dataset.is_virtual:
        raise Error(f"{source}: {dataset.name} lies in another file: get a whole file")
    return np.asarray(dataset)
