"""VGG-Face's published weights, in the formats they went round in, as one safetensors file of `VGGFace`.

Only the convolutions are taken: the study's network ends in an average over the last map (as the notebook's does), and
fully connected layers do not fit behind it. What differs between the formats is settled once, here: the order of a
kernel's axes, and the order of the colours, which is folded into the first convolution so that every converted network
takes RGB. Files are read as numbers; no code in them is run.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from facelesion.errors import FacelesionError
from facelesion.models import store
from facelesion.models.vgg import BLOCKS, VGGFace

# Mean of VGG-Face's training pictures, RGB, 0 to 255 (Parkhi et al. 2015).
VGG_FACE_MEAN = (129.1863, 104.7624, 93.5940)
SIZE = 224

# One convolution: its kernel (out, in, rows, columns) and bias (out,).
Layers = dict[str, tuple[torch.Tensor, torch.Tensor]]
NAMES = tuple(f"conv{block}_{n}" for block, (count, _) in enumerate(BLOCKS, 1) for n in range(1, count + 1))


def convert(source: str | Path, target: str | Path) -> dict[str, Any]:
    """Convert a file of VGG-Face weights.

    Args:
        source: one of

            - keras-vggface's HDF5, with top or without (`.h5`; needs h5py),
            - MatConvNet's `vgg_face.mat`,
            - the PyTorch state dict ported from it (`vgg_face_dag.pth`: `conv1_1.weight`),
            - the PyTorch state dict ported from Torch7 (`vgg_face_weights.pth`: `conv_1_1.weight`, takes BGR),
            - a state dict with torchvision's names (`features.0.weight`), taken as VGG-Face's in RGB.
        target: the safetensors file to write; `facelesion.models.get` reads it.

    Returns:
        The note that the file carries: format, colour order of the source, mean, size.

    Raises:
        FacelesionError: an unknown format, a layer that is missing, of another shape or no number, or an ImageNet
            network by its layers' names. Nothing is written then.
    """
    source = Path(source)
    if not source.is_file():
        raise FacelesionError(f"{source}: no such file: give VGG-Face's weights")
    reader = {".h5": _keras, ".hdf5": _keras, ".mat": _matconvnet, ".pth": _pytorch, ".pt": _pytorch}.get(
        source.suffix.lower()
    )
    if reader is None:
        raise FacelesionError(
            f"{source}: unknown kind of weights {source.suffix!r}: give .h5, .hdf5, .mat, .pth or .pt"
        )
    layers, format_, colours = reader(source)
    tensors = _as_state_dict(layers, colours, source)
    store.fit(VGGFace(outputs=None), tensors, str(source))
    about = {
        "architecture": "VGGFace", "width": 1.0, "size": SIZE, "colour_order": "RGB",
        "mean": [value / 255 for value in VGG_FACE_MEAN], "std": [1 / 255] * 3,
        "converted_from": format_, "source_colour_order": colours,
        "trained_on": "VGG Face data set, 2,622 people (Parkhi et al. 2015); non-commercial use",
    }  # fmt: skip
    store.save_weights(target, tensors, about)
    return about


def _as_state_dict(layers: Layers, colours: str, source: Path) -> dict[str, torch.Tensor]:
    missing = [name for name in NAMES if name not in layers]
    if missing:
        raise FacelesionError(
            f"{source}: {len(missing)} of 13 convolutions are missing, {missing[0]} first: take a whole VGG-Face file"
        )
    positions = [i for i, layer in enumerate(VGGFace(width=1 / 64).features) if isinstance(layer, nn.Conv2d)]
    tensors = {}
    for position, name in zip(positions, NAMES, strict=True):
        kernel, bias = layers[name]
        if name == "conv1_1" and colours == "BGR":
            kernel = kernel.flip(1)
        tensors[f"features.{position}.weight"] = kernel.float().contiguous()
        tensors[f"features.{position}.bias"] = bias.float().contiguous()
    return tensors


def _from_rows_first(kernel: np.ndarray, bias: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """A kernel as (rows, columns, in, out), as Keras and MatConvNet keep it."""
    return torch.from_numpy(np.ascontiguousarray(np.transpose(kernel, (3, 2, 0, 1)))), torch.from_numpy(
        np.ascontiguousarray(bias).reshape(-1)
    )


def _keras(source: Path) -> tuple[Layers, str, str]:
    try:
        import h5py
    except ModuleNotFoundError:
        raise FacelesionError(f"{source}: reading HDF5 needs h5py: pip install h5py") from None
    arrays: dict[str, list[np.ndarray]] = {}

    def visit(path: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if re.search(r"block\d_conv\d", path):
            raise FacelesionError(
                f"{source}: these are ImageNet's layers (block1_conv1 ...), not VGG-Face's (conv1_1 ...): "
                "take keras-vggface's file"
            )
        name = next((part for part in path.split("/") if part in NAMES), None)
        if name is not None:
            arrays.setdefault(name, []).append(np.asarray(item))

    try:
        with h5py.File(source) as file:
            file.visititems(visit)
    except OSError as error:
        raise FacelesionError(f"{source}: not a whole HDF5 file ({error}): get it again") from None
    layers: Layers = {}
    for name, found in arrays.items():
        by_axes = {array.ndim: array for array in found}
        if sorted(by_axes) != [1, 4] or len(found) != 2:
            raise FacelesionError(
                f"{source}: {name} is not one kernel and one bias: take keras-vggface's file"
            )
        layers[name] = _from_rows_first(by_axes[4], by_axes[1])
    # keras-vggface turns RGB into BGR before the first layer.
    return layers, "keras-vggface HDF5", "BGR"


def _matconvnet(source: Path) -> tuple[Layers, str, str]:
    from scipy.io import loadmat

    try:
        content = loadmat(source, squeeze_me=True, struct_as_record=False)
    except Exception as error:  # scipy raises many kinds on damaged files
        reason = " ".join(str(error).split())
        raise FacelesionError(
            f"{source}: not a MATLAB file that can be read ({reason}): get it again"
        ) from None
    holder = content.get("net", None)
    found = content.get("layers", getattr(holder, "layers", None))
    if found is None:
        raise FacelesionError(f"{source}: holds no `layers`: take MatConvNet's vgg_face.mat")
    layers: Layers = {}
    for layer in np.atleast_1d(found):
        name = getattr(layer, "name", None)
        if name in NAMES:
            kernel, bias = getattr(layer, "weights", None), None
            if kernel is not None:
                kernel, bias = kernel
            else:  # files older than 2015
                kernel, bias = layer.filters, layer.biases
            layers[str(name)] = _from_rows_first(np.asarray(kernel), np.asarray(bias))
    return layers, "MatConvNet", "RGB"


def _pytorch(source: Path) -> tuple[Layers, str, str]:
    try:
        tensors = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise FacelesionError(f"{source}: not a plain state dict ({reason}): get it again") from None
    if isinstance(tensors, dict) and isinstance(tensors.get("state_dict"), dict):
        tensors = tensors["state_dict"]
    if not isinstance(tensors, dict):
        raise FacelesionError(f"{source}: holds no state dict: save the network's state_dict()")
    positions = [i for i, layer in enumerate(VGGFace(width=1 / 64).features) if isinstance(layer, nn.Conv2d)]
    torchvision = dict(zip(NAMES, positions, strict=True))
    namings: tuple[tuple[str, str, Callable[[str], str]], ...] = (
        ("PyTorch state dict ported from MatConvNet", "RGB", lambda name: name),
        ("PyTorch state dict ported from Torch7", "BGR", lambda name: name.replace("conv", "conv_")),
        ("PyTorch state dict with torchvision's names", "RGB", lambda name: f"features.{torchvision[name]}"),
    )
    for format_, colours, key in namings:
        if f"{key('conv1_1')}.weight" in tensors:
            layers = {
                name: (tensors[f"{key(name)}.weight"], tensors[f"{key(name)}.bias"])
                for name in NAMES
                if f"{key(name)}.weight" in tensors and f"{key(name)}.bias" in tensors
            }
            return layers, format_, colours
    raise FacelesionError(
        f"{source}: none of the known names (conv1_1.weight, conv_1_1.weight, features.0.weight) is in it: "
        "take one of VGG-Face's PyTorch files"
    )
