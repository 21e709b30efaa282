"""VGG-Face's weights, small and random, written as each project publishes them; and what they must answer."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facelesion.models.convert import NAMES, VGG_FACE_MEAN, Layout

Weights = dict[str, tuple[np.ndarray, np.ndarray]]  # kernels as (rows, columns, in, out), biases
FC = ("fc6", "fc7", "fc8")
SMALL = Layout(width=0.0625, hidden=24, people=20, size=64)


def drawn(layout: Layout) -> Weights:
    random = np.random.default_rng(0)
    made, before = {}, 3
    shapes: list[tuple[str, int, int]] = [
        (name, 3, round((64, 128, 256, 512, 512)[int(name[4]) - 1] * layout.width)) for name in NAMES
    ]
    shapes += [
        ("fc6", layout.size // 32, layout.hidden),
        ("fc7", 1, layout.hidden),
        ("fc8", 1, layout.people),
    ]
    for name, side, after in shapes:
        kernel = random.standard_normal((side, side, before, after), np.float32)
        kernel *= np.sqrt(2 / (side * side * before))
        made[name] = kernel, (0.1 * random.standard_normal(after)).astype(np.float32)
        before = after
    return made


@dataclass
class Answer:
    """What the format's own network answers to one picture."""

    pooled: np.ndarray
    fc7: np.ndarray
    fc8: np.ndarray


def reference(weights: Weights, picture: np.ndarray, colours: str) -> Answer:
    """One RGB picture (rows, columns, 3), 0 to 255, in plain numpy; rows, columns, channels throughout."""
    maps = picture.astype(np.float64) - VGG_FACE_MEAN
    if colours == "BGR":
        maps = maps[..., ::-1]
    for name in NAMES:
        if name.endswith("_1") and name != "conv1_1":
            maps = halved(maps)
        kernel, bias = weights[name]
        padded = np.pad(maps, ((1, 1), (1, 1), (0, 0)))
        rows, columns = maps.shape[:2]
        total = np.zeros((rows, columns, kernel.shape[3])) + bias
        for r in range(3):
            for c in range(3):
                total += padded[r : r + rows, c : c + columns] @ kernel[r, c].astype(np.float64)
        maps = np.maximum(total, 0)
    maps = halved(maps)
    fc6 = np.maximum(np.einsum("rci,rcio->o", maps, weights["fc6"][0]) + weights["fc6"][1], 0)
    fc7 = np.maximum(fc6 @ weights["fc7"][0][0, 0] + weights["fc7"][1], 0)
    return Answer(maps.mean((0, 1)), fc7, fc7 @ weights["fc8"][0][0, 0] + weights["fc8"][1])


def halved(maps: np.ndarray) -> np.ndarray:
    rows, columns, depth = maps.shape
    return maps.reshape(rows // 2, 2, columns // 2, 2, depth).max((1, 3))


def torch_layers(
    weights: Weights, key: Callable[[str], str], convolutions_only: bool = False
) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, (kernel, bias) in weights.items():
        values = kernel.transpose(3, 2, 0, 1).copy()
        tensors[f"{key(name)}.weight"] = torch.from_numpy(
            values.reshape(len(values), -1) if name in FC and not convolutions_only else values
        )
        tensors[f"{key(name)}.bias"] = torch.from_numpy(bias)
    return tensors


def write_matconvnet(weights: Weights, path: Path, mean: tuple[float, ...] = VGG_FACE_MEAN) -> None:
    from scipy.io import savemat

    kinds = np.empty((1, len(weights)), object)
    for i, (name, (kernel, bias)) in enumerate(weights.items()):
        both = np.empty((1, 2), object)
        both[0, 0], both[0, 1] = kernel, bias[:, None]
        kinds[0, i] = {"type": "conv", "name": name, "weights": both}
    people = np.array([f"Person {i}" for i in range(len(weights["fc8"][1]))], object)
    meta = {
        "normalization": {"averageImage": np.array(mean).reshape(1, 1, 3)},
        "classes": {"description": people},
    }
    savemat(path, {"layers": kinds, "meta": meta})


def write_keras(weights: Weights, path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 files need h5py")
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in weights.items():
            if name in FC:
                kernel = kernel.reshape(-1, kernel.shape[3])
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            group[f"{name}/kernel:0"], group[f"{name}/bias:0"] = kernel, bias
        file.create_group("pool1")


def write_deepface(weights: Weights, path: Path) -> None:
    """Unnamed convolutions, sixteen of them, counted on from whatever was made before in that program."""
    h5py = pytest.importorskip("h5py", reason="HDF5 files need h5py")
    with h5py.File(path, "w") as file:
        names = [f"conv2d_{number}" for number in range(4, 4 + len(weights))]
        file.attrs["layer_names"] = [name.encode() for name in ["zero_padding2d_4", *names, "flatten_1"]]
        for name, (kernel, bias) in zip(names, weights.values(), strict=True):
            file[f"{name}/{name}/kernel:0"], file[f"{name}/{name}/bias:0"] = kernel, bias


class T7:
    """Writes what Torch7's binary serialisation would, value by value."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.objects = 0

    def integers(self, *values: int) -> None:
        self.content += struct.pack(f"<{len(values)}i", *values)

    def longs(self, *values: int) -> None:
        self.content += struct.pack(f"<{len(values)}q", *values)

    def begin(self, kind: str) -> None:
        self.objects += 1
        self.integers(4, self.objects)
        for text in ("V 1", kind):
            self.integers(len(text))
            self.content += text.encode()

    def value(self, value: Any) -> None:
        if value is None:
            self.integers(0)
        elif isinstance(value, bool):
            self.integers(5, int(value))
        elif isinstance(value, int | float):
            self.integers(1)
            self.content += struct.pack("<d", value)
        elif isinstance(value, str):
            self.integers(2, len(value))
            self.content += value.encode()
        elif isinstance(value, bytes):  # a function: compiled code, and what it closes over
            self.objects += 1
            self.integers(8, self.objects, len(value))
            self.content += value
            self.value({})
        elif isinstance(value, np.ndarray):
            self.begin("torch.FloatTensor")
            self.integers(value.ndim)
            self.longs(*value.shape)
            self.longs(*(stride // value.itemsize for stride in value.strides))
            self.longs(4)  # the numbers begin behind three others
            self.begin("torch.FloatStorage")
            self.longs(value.size + 3)
            self.content += np.float32([9, 9, 9]).tobytes() + value.tobytes()
        elif isinstance(value, dict):
            self.objects += 1
            self.integers(3, self.objects, len(value))
            for key, inner in value.items():
                self.value(key)
                self.value(inner)
        else:
            kind, fields = value
            self.begin(kind)
            self.value(fields)


def write_t7(weights: Weights, path: Path) -> None:
    modules: dict[int, Any] = {}
    for name, (kernel, bias) in weights.items():
        values = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        kind = "nn.Linear" if name in FC else "nn.SpatialConvolutionMM"
        flat = values.reshape(len(values), -1)
        fields = {"weight": flat, "bias": bias, "train": False, "gradInput": np.float32([]), "padW": 1}
        modules[len(modules) + 1] = (kind, fields)
        modules[len(modules) + 1] = ("nn.ReLU", {"inplace": True, "hook": b"\x1bLua is not run"})
    writer = T7()
    writer.value(("nn.Sequential", {"modules": modules, "_type": "torch.FloatTensor", "output": None}))
    path.write_bytes(writer.content)


TORCHVISION = dict(zip(NAMES, (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), strict=True))


def torchvision_name(name: str) -> str:
    return f"classifier.{FC.index(name) * 3}" if name in FC else f"features.{TORCHVISION[name]}"


Writer = Callable[[Weights, Path], None]
FORMATS: dict[str, tuple[str, str, Writer]] = {
    "dag": ("vgg_face_dag.pth", "RGB", lambda w, p: torch.save(torch_layers(w, str), p)),
    "torch7 port": (
        "vgg_face.pth",
        "BGR",
        lambda w, p: torch.save(torch_layers(w, lambda name: name.replace("conv", "conv_")), p),
    ),
    "torchvision": ("vgg16.pt", "RGB", lambda w, p: torch.save(torch_layers(w, torchvision_name), p)),
    "matconvnet": ("vgg_face.mat", "RGB", write_matconvnet),
    "keras": ("rcmalli_vggface_tf_vgg16.h5", "BGR", write_keras),
    "deepface": ("vgg_face_weights.h5", "BGR", write_deepface),
    "deepface torch": (
        "vgg_face_weights.pth",
        "BGR",
        lambda w, p: torch.save(torch_layers(w, str, convolutions_only=True), p),
    ),
    "torch7": ("VGG_FACE.t7", "BGR", write_t7),
}


def agrees(answer: torch.Tensor, expected: np.ndarray) -> None:
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(answer.numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def photograph(size: int = 64) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (size, size, 3), dtype=np.uint8)


def as_batch(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None]
