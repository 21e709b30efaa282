"""Every network that can be studied, by name: one list, and `get`, the one way to a `Subject`.

Each adapter says the network's own preprocessing, its sites with the names of the literature, and its embedding.
Nothing is fetched unless the name asks for trained weights.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facelesion.errors import Error, one_line
from facelesion.models import subject
from facelesion.models.mobilefacenet import read_mobilefacenet
from facelesion.models.subject import Preprocessing, Subject
from facelesion.weights import fetching, places, registry, store

FACENET_SIZE = 160
TORCHVISION, TIMM = "torchvision/", "timm/"


def get(name: str | Path = "builtin", seed: int = 0) -> Subject:
    """A network under study, by name or from a file of weights.

    Args:
        name: one of `names()`; `torchvision/NAME` or `timm/NAME` for a classifier's network with random weights, with
            `:WEIGHTS` after it for trained ones (`torchvision/resnet50:IMAGENET1K_V2`); or a path that ends in
            `.safetensors`, as training and conversion write it.
        seed: of random weights.

    Raises:
        Error: no such name or file, weights that are not here or do not fit; one line says what to do.

    Example:
        >>> subject = get("untrained")
        >>> pictures = torch.zeros(2, 3, 112, 112, dtype=torch.uint8)
        >>> subject.identity(subject.module(subject.preprocess(pictures))).shape, subject.weights
        (torch.Size([2, 128]), 'untrained-seed0')
    """
    if not isinstance(name, str | Path):
        raise Error(f"{name!r} is no network's name: give one of {', '.join(names())}, or a file's path")
    name = str(name)
    if name in _by_name():
        return _by_name()[name](seed)
    if name.endswith(".safetensors"):
        return subject.from_file(Path(name), Path(name).stem)
    for family, make in FAMILIES.items():
        if name.startswith(family):
            architecture, _, weights = name.removeprefix(family).partition(":")
            return make(architecture, weights, seed)
    raise _unknown(name)


def look_for(name: str) -> None:
    """Whether there is such a network, as far as that can be told without loading it.

    Raises:
        Error: no network has that name, or no file is there.

    Example:
        >>> look_for("builtin")
        >>> look_for("bulitin")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.errors.Error: no network is called 'bulitin': nearest are builtin, ...
    """
    if name in _by_name() or name.startswith(tuple(FAMILIES)):
        return
    if not name.endswith(".safetensors"):
        raise _unknown(name)
    if not Path(name).is_file():
        raise Error(f"{name}: no such weights file: check the path")


def _unknown(name: str) -> Error:
    if there := _in_libraries(name):
        return Error(f"no network is called {name!r}: did you mean {' or '.join(there)}?")
    return Error(
        f"no network is called {name!r}: {registry.nearest(name, names())}, "
        f"{', '.join(f'{family}NAME' for family in FAMILIES)}, or the path of a .safetensors file"
    )


def _in_libraries(name: str) -> list[str]:
    """What a library's network of this name is called here."""
    found, bare = [], name.partition(":")[0]
    with contextlib.suppress(ImportError):
        from torchvision import models

        found += [f"{TORCHVISION}{name}"] * (bare in models.list_models(module=models))
    with contextlib.suppress(ImportError):
        import timm

        found += [f"{TIMM}{name}"] * timm.is_model(bare)
    return found


def names() -> tuple[str, ...]:
    """The networks that have a name of their own; beside them there are `torchvision/NAME` and `timm/NAME`.

    Example:
        >>> names()[:4]
        ('builtin', 'builtin_seed1', 'builtin_seed2', 'participant_seed3')
    """
    return tuple(_by_name())


@dataclass(frozen=True)
class CroppedPreprocessing:
    """Pictures to what a classifier of natural images wants: resized, the middle cut out, less mean, over deviation.

    Attributes:
        size: side in pixels of what is cut out.
        resize: the shorter side before that, in pixels.
        mean, std: per RGB channel, of values in [0, 1].
        interpolation: "bilinear" or "bicubic".
        squash: whether pictures are brought to `resize` on both sides, whatever their shape.

    Call it with uint8 or float in [0, 1] (N, 3, H, W), RGB. It answers float32 (N, 3, size, size), RGB.

    Example:
        >>> grey = torch.full((1, 3, 112, 112), 128, dtype=torch.uint8)
        >>> CroppedPreprocessing(224, 256)(grey).shape
        torch.Size([1, 3, 224, 224])
    """

    size: int
    resize: int
    mean: tuple[float, float, float] = subject.IMAGENET_MEAN
    std: tuple[float, float, float] = subject.IMAGENET_STD
    interpolation: str = "bilinear"
    squash: bool = False

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms.v2 import InterpolationMode, functional

        if images.ndim != 4 or images.shape[1] != 3:
            raise Error(f"images must be (N, 3, H, W), RGB, not {tuple(images.shape)}")
        values = subject.brightness(images)
        sides = [self.resize, self.resize] if self.squash else [self.resize]
        values = functional.resize(values, sides, InterpolationMode(self.interpolation), antialias=True)
        values = functional.center_crop(values, [self.size, self.size])
        return functional.normalize(values, list(self.mean), list(self.std))


@functools.cache
def _by_name() -> dict[str, Callable[[int], Subject]]:
    """How each network that has a name of its own is made."""
    carried = [each for each in registry.entries().values() if each.carried and each.network]
    return {each.network: _carried(each) for each in carried} | _OTHERS


def _carried(entry: registry.Entry) -> Callable[[int], Subject]:
    return lambda seed: subject.from_file(places.weights_path(entry.file), entry.network)


def _vgg_face(seed: int) -> Subject:
    return subject.from_file(registry.path("vgg_face"), "vgg_face")


def _mobilefacenet(seed: int) -> Subject:
    network = read_mobilefacenet(registry.path("mobilefacenet"))
    return _subject(
        "mobilefacenet", network, Preprocessing(subject.BUILTIN_SIZE), about=_about("mobilefacenet")
    )


def _facenet(name: str) -> Callable[[int], Subject]:
    def make(seed: int) -> Subject:
        path = registry.path(name)
        tensors = store.read_state_dict(path)
        network = inceptionresnet()
        # The published files bring the readout of the training's people, which is no part of the embedding.
        store.fit(network, {key: v for key, v in tensors.items() if not key.startswith("logits.")}, str(path))
        return _subject(name, network, facenet_preprocessing(), about=_about(name))

    return make


def inceptionresnet(seed: int = 0) -> nn.Module:
    """facenet-pytorch's InceptionResnetV1 with random weights: float32 (N, 3, 160, 160) to (N, 512) of length 1.

    `site_aliases`: `block35_1` ... `block35_5`, `block17_1` ... `block17_10`, `block8_1` ... `block8_6`, `reduction_a`
    and `reduction_b` (Szegedy et al. 2017), `pooled` (1,792 numbers) and `embedding` (512, before their length is
    made 1).
    """
    from facenet_pytorch import InceptionResnetV1

    with _drawn(seed):
        network = InceptionResnetV1(pretrained=None, classify=False)
    network.site_aliases = {
        "stem": "conv2d_4b",
        **{f"block35_{number + 1}": f"repeat_1.{number}" for number in range(5)},
        "reduction_a": "mixed_6a",
        **{f"block17_{number + 1}": f"repeat_2.{number}" for number in range(10)},
        "reduction_b": "mixed_7a",
        **{f"block8_{number + 1}": f"repeat_3.{number}" for number in range(5)},
        "block8_6": "block8",
        "pooled": "avgpool_1a",
        "embedding": "last_bn",
    }
    return network.eval()


def facenet_preprocessing() -> Preprocessing:
    """What facenet-pytorch's networks were trained on: 160 pixels, (x - 127.5) / 128 of values of 0 to 255."""
    return Preprocessing(FACENET_SIZE, (127.5 / 255,) * 3, (128 / 255,) * 3)


def _torchvision(architecture: str, weights: str, seed: int) -> Subject:
    from torchvision import models

    known = models.list_models(module=models)
    if architecture not in known:
        raise Error(
            f"torchvision has no classifier {architecture!r}: {registry.nearest(architecture, known)}"
        )
    published = models.get_model_weights(architecture)
    if weights and weights not in published.__members__:
        raise Error(
            f"torchvision/{architecture} has no weights {weights!r}: take one of {', '.join(published.__members__)}"
        )
    chosen = published[weights] if weights else None
    if chosen is not None:
        _hub_file(chosen.url)
    with _drawn(seed):
        network = models.get_model(architecture, weights=chosen, **_quick_start(architecture, chosen))
    _leave_out_classifier(network, architecture)
    transforms = (chosen or published.DEFAULT).transforms()
    preprocessing = CroppedPreprocessing(
        transforms.crop_size[0],
        transforms.resize_size[0],
        tuple(transforms.mean),
        tuple(transforms.std),
        transforms.interpolation.value,
    )
    name = f"{TORCHVISION}{architecture}" + (f":{weights}" if weights else "")
    return _subject(name, network, preprocessing, seed=None if weights else seed)


def _quick_start(architecture: str, weights: Any) -> dict[str, Any]:
    """Two old networks are slow to draw and warn unless told how; their auxiliary readouts run in training only."""
    if architecture in ("googlenet", "inception_v3") and weights is None:
        return {"init_weights": False, "aux_logits": False}
    return {}


def _hub_file(address: str) -> Path:
    """torchvision's own cache of weights, filled by this project's way of fetching; a file with code is refused."""
    file = address.rsplit("/", 1)[-1]
    target = Path(torch.hub.get_dir()) / "checkpoints" / file
    digits = re.search(r"-([0-9a-f]{8,})\.", file)
    fetching.fetch(address, target, checksum=f"sha256:{digits[1]}" if digits else None)
    store.read_state_dict(target)
    return target


def _leave_out_classifier(network: nn.Module, architecture: str) -> None:
    """Put nothing in the place of the last layer, so that the answer is what it would read: (N, D)."""
    last = [path for path, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    layer = network.get_submodule(last)
    if getattr(layer, "out_features", getattr(layer, "out_channels", None)) != 1000:
        raise Error(
            f"torchvision/{architecture}: its readout is not its last layer: make a Subject of the network yourself"
        )
    parent, _, child = last.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())


def _timm(architecture: str, weights: str, seed: int) -> Subject:
    import timm

    base, _, tag = architecture.partition(".")
    if tag:
        raise Error(
            f"timm/{architecture}: write timm/{base}:{tag} for trained weights, timm/{base} for random ones"
        )
    if not timm.is_model(architecture):
        raise Error(f"timm has no {architecture!r}: {registry.nearest(architecture, timm.list_models())}")
    given: dict[str, Any] = {"pretrained": False}
    if weights:
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
        if weights not in tags:
            raise Error(
                f"timm/{architecture} has no weights {weights!r}: take one of {', '.join(tags) or 'none'}"
            )
        file = _timm_file(architecture, weights)
        given = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file), "custom_load": False}}
    with _drawn(seed):
        try:
            network = timm.create_model(f"{architecture}.{weights}".rstrip("."), num_classes=0, **given)
        except (RuntimeError, ValueError, OSError) as error:
            reason = one_line(error)[:200]
            raise Error(f"timm/{architecture} cannot be made ({reason}): take another") from None
    preprocessing = timm_preprocessing(timm.data.resolve_model_data_config(network), architecture)
    name = f"{TIMM}{architecture}" + (f":{weights}" if weights else "")
    return _subject(name, network, preprocessing, seed=None if weights else seed)


def _timm_file(architecture: str, tag: str) -> Path:
    """The file of timm's weights among ours, fetched if need be; safetensors only, which hold no code."""
    import timm

    full = f"{architecture}.{tag}"
    known = timm.get_pretrained_cfg(full)
    hub = known.hf_hub_id if known is not None else None
    target = places.weights_folder() / "timm" / f"{full}.safetensors"
    addresses = [f"https://huggingface.co/{hub}/resolve/main/model.safetensors"] if hub else []
    return fetching.fetch(addresses, target)


def timm_preprocessing(config: Mapping[str, Any], architecture: str) -> CroppedPreprocessing:
    """timm's preprocessing for testing, from a network's data configuration."""
    _, height, width = config["input_size"]
    if height != width or config["crop_mode"] not in ("center", "squash"):
        raise Error(f"timm/{architecture}: its pictures are not square: take another network")
    return CroppedPreprocessing(
        height,
        math.floor(height / config["crop_pct"]),
        tuple(config["mean"]),
        tuple(config["std"]),
        config["interpolation"],
        config["crop_mode"] == "squash",
    )


@contextlib.contextmanager
def _drawn(seed: int) -> Iterator[None]:
    """Random weights of a seed, which leave everybody else's chance alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class OneInput(nn.Module):
    """A network that takes more than pictures, with everything else at its default; its paths begin with `network.`"""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)


def _subject(
    name: str,
    network: nn.Module,
    preprocessing: Preprocessing | CroppedPreprocessing,
    seed: int | None = None,
    about: dict[str, Any] | None = None,
) -> Subject:
    """A subject whose representation is its identity embedding."""
    if not isinstance(getattr(network, "site_aliases", None), Mapping):
        sites = dict(literature(network))
        if len(inspect.signature(network.forward).parameters) > 1:
            network = OneInput(network)
            sites = {alias: f"network.{path}" for alias, path in sites.items()}
        # A module's own path goes before an alias, so an alias must not look like one.
        here = dict(network.named_modules())
        network.site_aliases = {a: path for a, path in sites.items() if path in here and a not in here}  # type: ignore[assignment]
    return Subject(
        name,
        subject.ready(network),
        preprocessing.size,
        preprocessing,
        nn.Identity(),
        store.digest(network.state_dict()) if seed is None else f"untrained-seed{seed}",
        about or {},
    )


def _about(name: str) -> dict[str, Any]:
    one = registry.entry(name)
    return {"trained_on": one.trained_on, "licence": one.licence, "size": one.input_size}


def literature(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of the literature and the paths that they mean, for the families of torchvision and timm.

    AlexNet (`conv1` ... `conv5`, `fc6`, `fc7`), VGG (`conv1_1` ... `pool5`, `fc6`, `fc7`), ResNet and its kin
    (`conv1_relu`, `pool1`, and the blocks `conv2_1` ... as in He et al. 2016, table 1) and vision transformers
    (`block1` ...). A convolution's name means its output after the activation. Of other networks, nothing.
    """
    layers = dict(network.named_modules())
    if "layer4" in layers:
        yield "conv1_relu", "relu" if "relu" in layers else "act1"
        yield "pool1", "maxpool"
        for stage in range(1, 5):
            for number, _ in enumerate(layers[f"layer{stage}"].children(), start=1):
                yield f"conv{stage + 1}_{number}", f"layer{stage}.{number - 1}"
    elif type(network).__name__ == "AlexNet":
        sites = {
            "conv1": 1,
            "pool1": 2,
            "conv2": 4,
            "pool2": 5,
            "conv3": 7,
            "conv4": 9,
            "conv5": 11,
            "pool5": 12,
        }
        yield from ((name, f"features.{position}") for name, position in sites.items())
        yield from (("fc6", "classifier.2"), ("fc7", "classifier.5"))
    elif type(network).__name__ == "VGG":
        yield from _vgg_sites(layers)
    else:
        parent = next((each for each in ("encoder.layers", "blocks") if each in layers), "")
        is_transformer = any("attn" in path or "self_attention" in path for path in layers)
        if parent and is_transformer:
            for number, (child, _) in enumerate(layers[parent].named_children(), start=1):
                yield f"block{number}", f"{parent}.{child}"


def _vgg_sites(layers: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    block, number = 1, 0
    for child, layer in layers["features"].named_children():
        if isinstance(layer, nn.Conv2d):
            number += 1
        elif isinstance(layer, nn.ReLU):
            yield f"conv{block}_{number}", f"features.{child}"
        elif isinstance(layer, nn.MaxPool2d):
            yield f"pool{block}", f"features.{child}"
            block, number = block + 1, 0
    if "classifier.4" in layers:
        yield from (("fc6", "classifier.1"), ("fc7", "classifier.4"))
    elif "pre_logits.act2" in layers:
        yield from (("fc6", "pre_logits.act1"), ("fc7", "pre_logits.act2"))


# Those that the project carries are the registry's; one more of others is one line; of one's own: docs/extending.md.
_OTHERS: dict[str, Callable[[int], Subject]] = {
    "untrained": subject.untrained,
    "vgg_face": _vgg_face,
    "inceptionresnet_vggface2": _facenet("inceptionresnet_vggface2"),
    "inceptionresnet_casia": _facenet("inceptionresnet_casia"),
    "mobilefacenet": _mobilefacenet,
}
# Beside them: every network of a library, by its name there.
FAMILIES: dict[str, Callable[[str, str, int], Subject]] = {TORCHVISION: _torchvision, TIMM: _timm}
