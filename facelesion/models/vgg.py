"""VGG16 as a face network: thirteen convolutions, one average, one readout, with the names of the literature.

The convolutional part is torchvision's VGG16 (Simonyan & Zisserman 2015; VGG-Face: Parkhi et al. 2015), module for
module. A width factor makes narrower siblings of the same shape.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from facelesion.errors import Error

# Convolutions per block and channels at full width; a pool closes each block.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def channels(width: float = 1.0) -> tuple[int, ...]:
    """Channels of the five blocks at this width, at least one each.

    Example:
        >>> channels(0.25)
        (16, 32, 64, 128, 128)
    """
    return tuple(max(1, round(full * width)) for _, full in BLOCKS)


def site_aliases() -> dict[str, str]:
    """Names of the literature to module paths of `VGGFace`: a convolution's name means its output after the ReLU.

    Example:
        >>> aliases = site_aliases()
        >>> len(aliases), aliases["conv4_3"], aliases["pool5"]
        (18, 'features.22', 'features.30')
    """
    aliases, position = {}, 0
    for block, (convolutions, _) in enumerate(BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            aliases[f"conv{block}_{number}"] = f"features.{position + 1}"
            position += 2
        aliases[f"pool{block}"] = f"features.{position}"
        position += 1
    return aliases


def convolutions(width: float = 1.0) -> tuple[nn.Sequential, int]:
    """VGG16's thirteen convolutions with their ReLUs and pools, and how many channels come out of them.

    Example:
        >>> layers, out = convolutions(0.25)
        >>> len(layers), out
        (31, 128)
    """
    layers: list[nn.Module] = []
    before = 3
    for (count, _), here in zip(BLOCKS, channels(width), strict=True):
        for _ in range(count):
            # In place as in torchvision: half the memory, and lesions must cope with it in any case.
            layers += [nn.Conv2d(before, here, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
            before = here
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers), before


class VGGFace(nn.Module):
    """VGG16's convolutions, global average pooling and a linear head.

    Args:
        width: factor on the number of channels; 1 is VGG16.
        outputs: units of the head; None leaves the head out, and the pooled features are the answer.

    Call it with float32 (N, 3, H, W), already preprocessed, H and W at least 32. It answers (N, outputs), or
    (N, round(512 · width)) without a head.

    Attributes:
        site_aliases: `conv1_1` ... `conv5_3` (after the ReLU) and `pool1` ... `pool5` to module paths.

    Example:
        >>> network = VGGFace(width=0.25, outputs=None)
        >>> network(torch.zeros(2, 3, 112, 112)).shape
        torch.Size([2, 128])
    """

    def __init__(self, width: float = 1.0, outputs: int | None = 1) -> None:
        super().__init__()
        self.width = width
        self.features, before = convolutions(width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head: nn.Module = nn.Identity() if outputs is None else nn.Linear(before, outputs)
        self.site_aliases = site_aliases()
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(self.pool(self.features(images)), 1))


class PublishedVGGFace(nn.Module):
    """VGG-Face as it was published (Parkhi et al. 2015), up to its descriptor: the answer is fc7 after the ReLU.

    Convolutions, then fc6 and fc7 with torchvision's names (`classifier.0`, `classifier.3`) and its order of
    flattening (channels, rows, columns). The last layer, fc8, is a readout of the descriptor and not part of
    this module: `Subject.extra` keeps it.

    Args:
        width: factor on the number of channels; 1 is VGG16.
        hidden: units of fc6 and of fc7.
        size: side of its pictures in pixels, a multiple of 32: fc6 looks at every place of the last map.

    Call it with float32 (N, 3, size, size), already preprocessed. It answers (N, hidden), none of it negative. Dropout
    acts in training alone.

    Attributes:
        site_aliases: as `VGGFace`'s, and `fc6`, `fc7` (after the ReLU).

    Example:
        >>> network = PublishedVGGFace(width=0.0625, hidden=16, size=64).eval()
        >>> network(torch.zeros(2, 3, 64, 64)).shape, network.site_aliases["fc7"]
        (torch.Size([2, 16]), 'classifier.4')
    """

    def __init__(self, width: float = 1.0, hidden: int = 4096, size: int = 224) -> None:
        super().__init__()
        self.width = width
        self.features, before = convolutions(width)
        self.classifier = nn.Sequential(
            nn.Linear(before * (size // 32) ** 2, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
        )
        self.site_aliases = site_aliases() | {"fc6": "classifier.1", "fc7": "classifier.4"}
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.features(images), 1))


def network_of(about: Mapping[str, Any], source: str) -> nn.Module:
    """The network that a file of weights says it holds, on the meta device: no memory until weights are loaded.

    Args:
        about: the file's note: `architecture`, `width`, and for the published network `hidden` and `size`.
        source: the file's name, for the error.

    Raises:
        Error: the note names neither `VGGFace` nor `PublishedVGGFace`, or lacks one of its numbers.

    Example:
        >>> type(network_of({"architecture": "VGGFace", "width": 0.25}, "x.safetensors")).__name__
        'VGGFace'
    """
    kind = about.get("architecture")
    if kind not in ("VGGFace", "PublishedVGGFace"):
        raise Error(
            f"{source}: the file does not say that it is a VGGFace network: convert or train the weights with"
            " facelesion"
        )
    width = noted(about, "width", 1 / 64, 16, source)
    with torch.device("meta"):
        if kind == "VGGFace":
            return VGGFace(width, outputs=None)
        hidden, size = (noted(about, key, least, most, source) for key, least, most in _OF_THE_TOP)
        return PublishedVGGFace(width, int(hidden), int(size))


_OF_THE_TOP = (("hidden", 1, 2**20), ("size", 32, 4096))


def noted(about: Mapping[str, Any], key: str, least: float, most: float, source: str) -> float:
    """A number of a file's note, which must lie in a range; a whole one where the range begins with a whole number.

    Raises:
        Error: it is missing, no number or outside.
    """
    value = about.get(key)
    number = isinstance(value, int if isinstance(least, int) else int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:  # type: ignore[operator]
        what = "missing" if key not in about else reprlib.repr(value)
        raise Error(
            f"{source}: its note's {key!r} is {what}, not a {'whole ' if isinstance(least, int) else ''}number "
            f"from {least:g} to {most:g}: convert or train the weights with facelesion"
        )
    return value  # type: ignore[return-value]


def initialise(module: nn.Module) -> None:
    """He et al. (2015) for convolutions (fan out, as torchvision does for VGG), small normal for linear layers."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def vgg_face(width: float = 1.0, outputs: int | None = 1) -> VGGFace:
    """The network of the study; at full width with one output it has VGG-Face's 14,715,201 parameters.

    Example:
        >>> sum(p.numel() for p in vgg_face().parameters())
        14715201
    """
    return VGGFace(width=width, outputs=outputs)
