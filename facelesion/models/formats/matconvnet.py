"""MatConvNet's `vgg_face.mat`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from facelesion.errors import Error, one_line
from facelesion.models.formats.layers import FULLY_CONNECTED, NAMES, Found, Layers, Layout, rows_first

_IMAGENET_MEAN = (123.68, 116.779, 103.939)  # RGB, as MatConvNet's ImageNet networks have it


def read_matconvnet(source: Path, layout: Layout, top: bool) -> Found:
    """Read a MATLAB file with `layers`, alone or in `net`; the mean that it carries tells the order of its colours."""
    from scipy.io import loadmat

    try:
        content = loadmat(source, squeeze_me=True, struct_as_record=False)
    except Exception as error:  # scipy raises many kinds on damaged files
        reason = one_line(error)
        hint = "save it again with -v7" if isinstance(error, NotImplementedError) else "get it again"
        raise Error(f"{source}: not a MATLAB file that can be read ({reason}): {hint}") from None
    net = content.get("net")
    found = content.get("layers", getattr(net, "layers", None))
    if found is None:
        raise Error(f"{source}: holds no `layers`: take MatConvNet's vgg_face.mat")

    def note(name: str) -> Any:
        for holder in (content.get("meta"), getattr(net, "meta", None), net):
            if getattr(holder, name, None) is not None:
                return getattr(holder, name)
        return content.get(name)

    colours = _colours(note("normalization"), source)
    shapes = layout.shapes(top)
    layers: Layers = {}
    outputs = None
    for layer in np.atleast_1d(found):
        name = str(getattr(layer, "name", ""))
        if name not in (*NAMES, *FULLY_CONNECTED):
            continue
        kernel, bias = _pair(layer, name, source)
        if name == "fc8":
            outputs = int(bias.size)
        if name in shapes:
            layers[name] = rows_first(name, kernel, bias, shapes[name], source)
    classes = getattr(note("classes"), "description", ())
    people = tuple(str(person) for person in np.atleast_1d(classes))
    return Found(layers, "MatConvNet", colours, True, outputs, people)


def _pair(layer: Any, name: str, source: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    both = getattr(layer, "weights", None)
    if both is None:  # files older than 2015
        both = (getattr(layer, "filters", None), getattr(layer, "biases", None))
    several = isinstance(both, tuple) or (isinstance(both, np.ndarray) and both.ndim > 0)
    pair = list(both) if several else [both]
    if len(pair) != 2 or any(part is None for part in pair):
        raise Error(f"{source}: {name} is not one kernel and one bias: take MatConvNet's vgg_face.mat")
    kernel, bias = (np.asarray(part) for part in pair)
    return kernel, np.atleast_1d(bias)


def _colours(normalisation: Any, source: Path) -> str:
    """RGB, unless the mean picture has more blue than red: faces are reddish."""
    mean = getattr(normalisation, "averageImage", None)
    if mean is None:
        return "RGB"
    mean = np.asarray(mean)
    if mean.dtype.kind not in "fiu" or not np.isfinite(mean).all():
        raise Error(
            f"{source}: its mean picture holds {mean.dtype}, or what is no number: take MatConvNet's vgg_face.mat"
        )
    mean = mean.astype(np.float64)
    if mean.shape[-1:] != (3,):
        return "RGB"
    mean = mean.reshape(-1, 3).mean(0)
    for order in (mean, mean[::-1]):
        if np.abs(order - _IMAGENET_MEAN).max() < 2:
            raise Error(
                f"{source}: its mean picture is ImageNet's ({', '.join(f'{value:.1f}' for value in mean)}), not "
                "VGG-Face's: take vgg_face.mat"
            )
    return "BGR" if mean[2] > mean[0] + 5 else "RGB"
