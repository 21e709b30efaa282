"""PyTorch state dicts of VGG-Face, under the namings that went round."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from facelesion.errors import Error
from facelesion.models.formats.layers import FULLY_CONNECTED, NAMES, Found, Layers, Layout, channels_first
from facelesion.models.vgg import VGGFace
from facelesion.weights.store import checked, load_plain, unwrapped

# Module paths in torchvision's VGG16.
TORCHVISION = {
    **dict(
        zip(
            NAMES,
            (
                f"features.{i}"
                for i, m in enumerate(VGGFace(width=1 / 64).features)
                if isinstance(m, nn.Conv2d)
            ),
            strict=True,
        )
    ),
    **dict(zip(FULLY_CONNECTED, ("classifier.0", "classifier.3", "classifier.6"), strict=True)),
}
_NAMINGS: tuple[tuple[str, str, bool, Callable[[str], str]], ...] = (
    ("PyTorch state dict ported from MatConvNet", "RGB", True, lambda name: name),
    (
        "PyTorch state dict ported from Torch7",
        "BGR",
        True,
        lambda name: name.replace("conv", "conv_"),
    ),
    ("PyTorch state dict with torchvision's names", "RGB", False, lambda name: TORCHVISION[name]),
)


def read_pytorch(source: Path, layout: Layout, top: bool) -> Found:
    """Read a state dict; `weights_only` refuses everything but numbers and containers of them."""
    content = load_plain(source)
    for key_of_checkpoint in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key_of_checkpoint), dict):
            content = content[key_of_checkpoint]
    if not isinstance(content, dict):
        raise Error(f"{source}: holds no state dict: save the network's state_dict()")
    found = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    tensors, prefix = unwrapped(found)
    naming = next((naming for naming in _NAMINGS if f"{naming[3]('conv1_1')}.weight" in tensors), None)
    if naming is None:
        raise Error(
            f"{source}: none of the known names (conv1_1.weight, conv_1_1.weight, features.0.weight) is in it"
            f"{f', but {reprlib.repr(next(iter(found)))}' if found else ''}: take one of VGG-Face's PyTorch files"
        )
    format_, colours, named, key = naming
    if key("fc6") == "fc6" and getattr(tensors.get("fc6.weight"), "ndim", 0) == 4:
        # deepface's own port has the names of MatConvNet's, its fully connected layers as convolutions, and wants BGR.
        format_, colours = "PyTorch state dict of deepface", "BGR"
    last = tensors.get(f"{key('fc8')}.weight")
    layers: Layers = {}
    for name, shape in layout.shapes(top).items():
        kernel, bias = (tensors.pop(f"{key(name)}.{part}", None) for part in ("weight", "bias"))
        if kernel is not None and bias is not None:
            checked({f"{name}'s kernel": kernel, f"{name}'s bias": bias}, str(source))
            layers[name] = channels_first(name, _array(kernel), _array(bias), shape, source)
    if prefix:
        format_ += f", without the prefix {prefix!r}"
    return Found(layers, format_, colours, named, None if last is None or not last.ndim else len(last))


def _array(values: torch.Tensor):  # type: ignore[no-untyped-def]  # numpy's own type depends on the tensor's
    values = values.detach()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
