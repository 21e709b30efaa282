"""A network under study: what goes in, what comes out, and how identity is read from it."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facelesion.errors import Error
from facelesion.models.vgg import VGGFace, channels, network_of, noted
from facelesion.weights import store

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BUILTIN_SIZE = 112
BUILTIN_WIDTH = 0.25
_EMBEDDING = 128
READOUTS = ("head", "things", "categories")  # kept beside a network; see Subject.extra
_BEYOND = 0.25  # of full brightness: what resampling and noise may leave outside, and nothing else would be


def brightness(images: torch.Tensor) -> torch.Tensor:
    """Pictures as float32 brightness of 0 to 1, or an error where that is not what they hold.

    Args:
        images: uint8 (0 to 255), or floating point (0 to 1; a little beyond, as resampling leaves it, is let pass).

    Raises:
        Error: whole numbers that are not uint8, floats of another range (0 to 255, or standardised), or
            values that are no numbers.

    Example:
        >>> brightness(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([0., 1.])
        >>> brightness(torch.tensor([0.0, 255.0]))
        Traceback (most recent call last):
        ...
        facelesion.errors.Error: pictures with values of 0 to 255: give uint8, or divide by 255
    """
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise Error(f"pictures of {kind}: give uint8 (0 to 255), or floats of 0 to 1")
    if images.numel() and not images.is_meta:
        low, high = (float(value) for value in images.detach().aminmax())
        if not (-_BEYOND <= low and high <= 1 + _BEYOND):  # so written that nan is outside
            raise Error(f"pictures with values of {low:g} to {high:g}: give uint8, or divide by 255")
    return images.float()


@dataclass(frozen=True)
class Preprocessing:
    """Pictures to what a network wants: resized to `size` pixels, less the mean, over the deviation.

    Attributes:
        size: side in pixels.
        mean, std: per RGB channel, of values in [0, 1].
        colour_order: what the network wants, "RGB" or "BGR".

    Call it with uint8 or float in [0, 1] (N, 3, H, W), RGB. It answers float32 (N, 3, size, size) in the network's
    colour order.

    Raises:
        Error: another order of colours, a size that is none, or pictures of another shape or range.

    Example:
        >>> grey = torch.full((1, 3, 224, 224), 128, dtype=torch.uint8)
        >>> Preprocessing(112)(grey).shape
        torch.Size([1, 3, 112, 112])
    """

    size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    colour_order: str = "RGB"

    def __post_init__(self) -> None:
        if self.colour_order not in ("RGB", "BGR"):
            raise Error(f"colour order {self.colour_order!r} is unknown: take RGB or BGR")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise Error(f"size {self.size!r}: give the side of the network's pictures in pixels, such as 224")

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        if images.ndim != 4 or images.shape[1] != 3:
            raise Error(f"images must be (N, 3, H, W), RGB, not {tuple(images.shape)}")
        values = brightness(images)
        if values.shape[-2:] != (self.size, self.size):
            values = nn.functional.interpolate(
                values, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        # Without waiting for what a GPU has still to do.
        known = torch.tensor([self.mean, self.std], dtype=values.dtype)
        mean, std = known.to(values.device, non_blocking=True)
        values = (values - mean[:, None, None]) / std[:, None, None]
        return values.flip(1) if self.colour_order == "BGR" else values


@dataclass(frozen=True)
class Subject:
    """A network under study.

    Attributes:
        name: what it is called in tables.
        module: preprocessed float32 (N, 3, size, size) -> representation (N, D); plain and traceable, in `eval` mode,
            with `site_aliases` (names of the literature to module paths).
        size: side of its pictures in pixels.
        preprocess: uint8 or float in [0, 1] (N, 3, H, W), RGB -> what `module` wants.
        identity: representation -> identity embedding (N, E), fixed.
        weights: SHA-256 of the weights (12 hex digits), or how an untrained network was drawn.
        about: what the weights' file says of itself.
        extra: tensors of the file beside network and identity: linear readouts of the representation that were trained
            (`head.weight`, `head.bias`; of individual things, `things.…`; of kinds of things, `categories.…`).

    Example:
        >>> from facelesion.models import Preprocessing
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        >>> mine = Subject("mine", network, 64, Preprocessing(64), nn.Linear(8, 4), weights="drawn by hand")
        >>> photographs = torch.randint(256, (2, 3, 250, 250), dtype=torch.uint8)
        >>> tuple(mine.identity(mine.module(mine.preprocess(photographs))).shape)
        (2, 4)
    """

    name: str
    module: nn.Module
    size: int
    preprocess: Callable[[torch.Tensor], torch.Tensor]
    identity: nn.Module
    weights: str
    about: dict[str, Any] = field(default_factory=dict, repr=False)
    extra: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)


def ready(module: nn.Module) -> nn.Module:
    """The module in `eval` mode, its weights fixed."""
    return module.eval().requires_grad_(False)


def untrained(seed: int) -> Subject:
    """The built-in network's twin with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VGGFace(BUILTIN_WIDTH, outputs=None)
        identity = nn.Linear(channels(BUILTIN_WIDTH)[-1], _EMBEDDING)
    return Subject(
        "untrained", ready(network), BUILTIN_SIZE, Preprocessing(BUILTIN_SIZE), ready(identity),
        f"untrained-seed{seed}", {"width": BUILTIN_WIDTH},
    )  # fmt: skip


def from_file(path: Path, name: str) -> Subject:
    """A network from a file of weights that training or conversion wrote.

    Raises:
        Error: no such file, or weights that do not fit; nothing is half-loaded.
    """
    tensors, about = store.read_weights(path)
    network = network_of(about, str(path))
    parts: dict[str, dict[str, torch.Tensor]] = {
        name: {} for name in ("features", "classifier", "identity", *READOUTS)
    }
    for key, value in tensors.items():
        part, _, rest = key.partition(".")
        if part not in parts or not rest:
            raise Error(f"{path}: weights do not fit: {key} is unknown: take weights made for this network")
        parts[part][rest if part == "identity" else key] = value
    store.fit(network, parts["features"] | parts["classifier"], str(path))
    answers = int(about["hidden"]) if parts["classifier"] else channels(float(about["width"]))[-1]
    identity: nn.Module = nn.Identity()
    if parts["identity"]:
        identity = _readout(parts["identity"], "identity", answers, path)
    extra: dict[str, torch.Tensor] = {}
    for readout in READOUTS:
        if kept := parts[readout]:
            own = {key.removeprefix(f"{readout}."): value for key, value in kept.items()}
            _readout(own, readout, answers, path)
            extra |= kept
    preprocessing = _preprocessing(about, path)
    return Subject(
        name,
        ready(network),
        preprocessing.size,
        preprocessing,
        ready(identity),
        store.digest(tensors),
        about,
        extra,
    )


def _readout(tensors: dict[str, torch.Tensor], name: str, answers: int, path: Path) -> nn.Linear:
    """A linear readout of the network's answer, from its weight and bias."""
    weight = tensors.get("weight", torch.empty(0, answers))
    if weight.ndim != 2 or weight.shape[1] != answers or not len(weight):
        raise Error(
            f"{path}: weights do not fit: {name}.weight is {tuple(weight.shape)}, not (units, {answers}): "
            "take weights made for this network"
        )
    with torch.device("meta"):
        readout = nn.Linear(answers, len(weight))
    store.fit(readout, tensors, f"{path}: {name}")
    return readout


def _preprocessing(about: Mapping[str, Any], path: Path) -> Preprocessing:
    """What the file's note says of the pictures that the network wants."""
    values: dict[str, tuple[float, ...]] = {}
    for key, usual in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        value = about.get(key, usual)
        numbers = isinstance(value, list | tuple) and all(
            isinstance(each, int | float) and not isinstance(each, bool) and abs(each) <= 1e6
            for each in value
        )
        if not numbers or len(value) != 3 or (key == "std" and min(value) <= 0):
            raise Error(
                f"{path}: its note's {key!r} is {reprlib.repr(value)}, not three numbers, red, green and blue"
                f"{', above 0' if key == 'std' else ''}: convert or train the weights with facelesion"
            )
        values[key] = tuple(value)
    order = about.get("colour_order", "RGB")
    if order not in ("RGB", "BGR"):
        raise Error(
            f"{path}: its note's 'colour_order' is {reprlib.repr(order)}, not RGB or BGR: "
            "convert or train the weights with facelesion"
        )
    mean, std = ((v[0], v[1], v[2]) for v in (values["mean"], values["std"]))
    return Preprocessing(int(noted(about, "size", 16, 4096, str(path))), mean, std, order)
