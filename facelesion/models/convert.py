"""VGG-Face's published weights, in the formats they went round in, as one safetensors file that `load` reads.

What differs between the formats is settled by their readers (`models/formats`): the order of a kernel's axes, how the
last map was flattened for fc6, and which order of colours the first layer wants. The last is folded into the first
convolution, so that the converted network takes RGB, or kept and left to the preprocessing. Files are read as numbers;
no code in them is run.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any, Literal

import torch

from facelesion.errors import Error
from facelesion.models.formats import (
    NAMES,
    PUBLISHED,
    Found,
    Layout,
    read_keras,
    read_matconvnet,
    read_pytorch,
    read_torch7,
)
from facelesion.models.formats.pytorch import TORCHVISION
from facelesion.models.formats.refusals import exchanged, imagenet
from facelesion.outputs import writable_file
from facelesion.weights import store

__all__ = ["NAMES", "VGG_FACE_MEAN", "Layout", "convert"]

# Mean of VGG-Face's training pictures, RGB, 0 to 255 (Parkhi et al. 2015).
VGG_FACE_MEAN = (129.1863, 104.7624, 93.5940)

_READERS = {
    ".h5": read_keras,
    ".hdf5": read_keras,
    ".keras": read_keras,
    ".mat": read_matconvnet,
    ".t7": read_torch7,
    ".pth": read_pytorch,
    ".pt": read_pytorch,
}


def convert(
    source: str | Path,
    target: str | Path,
    top: bool = False,
    names: str | Path | None = None,
    colours: Literal["fold", "keep"] = "fold",
    known_as: Literal["vgg-face"] | None = None,
    source_colours: Literal["RGB", "BGR"] | None = None,
    layout: Layout = PUBLISHED,
) -> dict[str, Any]:
    """Convert a file of VGG-Face weights.

    Args:
        source: one of

            - Keras' HDF5 or `.keras`: keras-vggface's, with top or without, the notebook's trained model, deepface's,
            - MatConvNet's `vgg_face.mat`,
            - Torch7's `VGG_FACE.t7`,
            - the PyTorch state dict ported from MatConvNet (`vgg_face_dag.pth`: `conv1_1.weight`),
            - deepface's PyTorch state dict (`vgg_face_weights.pth`: the same names, `fc6.weight` a convolution's),
            - the PyTorch state dict ported from Torch7 (`conv_1_1.weight`),
            - a state dict with torchvision's names (`features.0.weight`).
        target: the safetensors file to write; `facelesion.models.get` reads it.
        top: take fc6, fc7 and fc8 as well: the published network, whose representation is fc7 (4,096 numbers). Without
            it the convolutions alone, and the representation is the average of the last map (512), as in the notebook.
        names: with `top`, a text file with one person's name a line, in the order of fc8's units. A MATLAB file brings
            its own.
        colours: where the source wants BGR, "fold" turns the first kernel round, so that the network takes RGB; "keep"
            leaves it as it is, and the preprocessing turns the picture round.
        known_as: "vgg-face" says whose weights they are where the file cannot show it: without VGG-Face's layer names
            and without its 2,622 outputs.
        source_colours: the order that the source wants, where it is known better than from the format.
        layout: shapes to ask for; anything but the published network's is for narrower siblings.

    Returns:
        The note that the file carries: format, colour order of source and result, mean, size, names of the people.

    Raises:
        Error: an unknown format; a file cut short; a layer that is missing, of another shape, no number or
            out of order; ImageNet's weights, or such as cannot be told from them; a target that is a folder. Nothing is
            written then.
    """
    source = Path(source)
    if not os.path.isfile(source):
        raise Error(f"{source}: no such file: give VGG-Face's weights")
    target = writable_file(target)
    if os.path.realpath(target) == os.path.realpath(source):
        raise Error(f"{target}: the converted file would replace the original: name another")
    reader = _READERS.get(source.suffix.lower())
    if reader is None:
        raise Error(f"{source}: unknown kind of weights {source.suffix!r}: give {', '.join(_READERS)}")
    if names is not None and not top:
        raise Error(f"{names}: names belong to the last layer: say --top too")
    people = _people(Path(names), layout.people) if names is not None else ()
    found = reader(source, layout, top)
    _refuse(found, source, layout, top, known_as)
    wanted = source_colours or found.colours
    tensors = _state_dict(found, turn=wanted == "BGR" and colours == "fold")
    about: dict[str, Any] = {
        "architecture": "PublishedVGGFace" if top else "VGGFace", "width": layout.width, "size": layout.size,
        "colour_order": "RGB" if colours == "fold" else wanted,
        "mean": [value / 255 for value in VGG_FACE_MEAN], "std": [1 / 255] * 3,
        "converted_from": found.format, "source_colour_order": wanted,
        "trained_on": "VGG Face data set, 2,622 people (Parkhi et al. 2015); non-commercial use",
    }  # fmt: skip
    if top:
        about["hidden"] = layout.hidden
        own = found.people if len(found.people) == layout.people else ()
        if people or own:
            about["names"] = list(people or own)
    store.save_weights(target, tensors, about)
    return about


def _refuse(found: Found, source: Path, layout: Layout, top: bool, known_as: str | None) -> None:
    wanted = layout.shapes(top)
    missing = [name for name in wanted if name not in found.layers]
    if missing and missing[0] in NAMES:
        raise Error(
            f"{source}: {len(missing)} of 13 convolutions are missing, {missing[0]} first: take a whole VGG-Face file"
        )
    reason = imagenet(found.layers["conv1_1"][1], found.outputs)
    if reason:
        raise Error(f"{source}: these are ImageNet's weights, not VGG-Face's: {reason}")
    if missing:
        raise Error(f"{source}: {missing[0]} is missing: take a file with its top, or convert without --top")
    for name, parts in found.layers.items():
        if not all(bool(torch.isfinite(part).all()) for part in parts):
            raise Error(f"{source}: {name} holds values that are no numbers: get the file again")
    reason = exchanged({name: found.layers[name][0] for name in NAMES})
    if reason:
        raise Error(f"{source}: its layers are in the wrong order: {reason}: take the original file")
    if not found.named and found.outputs != layout.people and known_as is None:
        raise Error(
            f"{source}: neither the layers' names nor {layout.people} outputs show that this is VGG-Face and not "
            "another VGG16: where you know that it is, say --known_as vgg-face"
        )


def _state_dict(found: Found, turn: bool) -> dict[str, torch.Tensor]:
    """Tensors with the names of `VGGFace` or `PublishedVGGFace`; fc8 becomes the trained readout, `head`."""
    tensors = {}
    for name in list(found.layers):
        kernel, bias = found.layers.pop(name)
        if name == "conv1_1" and turn:
            kernel = kernel.flip(1)
        module = "head" if name == "fc8" else TORCHVISION[name]
        tensors[f"{module}.weight"] = (kernel if name in NAMES else kernel.flatten(1)).contiguous()
        tensors[f"{module}.bias"] = bias
    return tensors


def _people(path: Path, count: int) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise Error(f"{path}: names that cannot be read ({error}): give a text file") from None
    people = tuple(unicodedata.normalize("NFC", line.strip()) for line in lines if line.strip())
    if len(people) != count:
        raise Error(f"{path}: {len(people)} names, not {count}: one name a line, in the order of fc8's units")
    return people
