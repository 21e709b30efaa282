"""Every format of VGG-Face's weights gives the answer that the format's own conventions give."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from facelesion.errors import FacelesionError
from facelesion.models import get
from facelesion.models.convert import NAMES, VGG_FACE_MEAN, convert

Weights = dict[str, tuple[np.ndarray, np.ndarray]]  # kernels as (rows, columns, in, out), biases


@pytest.fixture(scope="module")
def weights() -> Weights:
    random = np.random.default_rng(0)
    made, before = {}, 3
    for name in NAMES:
        after = (64, 128, 256, 512, 512)[int(name[4]) - 1]
        kernel = random.standard_normal((3, 3, before, after), np.float32) * np.sqrt(2 / (9 * before))
        made[name] = kernel.astype(np.float32), (0.1 * random.standard_normal(after)).astype(np.float32)
        before = after
    return made


def reference(weights: Weights, picture: np.ndarray, colours: str) -> np.ndarray:
    """The pooled features of one RGB picture (rows, columns, 3), 0 to 255, in plain numpy."""
    maps = picture.astype(np.float64) - VGG_FACE_MEAN
    if colours == "BGR":
        maps = maps[..., ::-1]
    for name in NAMES:
        if name.endswith("_1") and name != "conv1_1":
            rows, columns, depth = maps.shape
            maps = maps[: rows // 2 * 2, : columns // 2 * 2]
            maps = maps.reshape(rows // 2, 2, columns // 2, 2, depth).max((1, 3))
        kernel, bias = weights[name]
        padded = np.pad(maps, ((1, 1), (1, 1), (0, 0)))
        rows, columns = maps.shape[:2]
        total = np.zeros((rows, columns, kernel.shape[3])) + bias
        for r in range(3):
            for c in range(3):
                total += padded[r : r + rows, c : c + columns] @ kernel[r, c].astype(np.float64)
        maps = np.maximum(total, 0)
    rows, columns, depth = maps.shape
    maps = maps.reshape(rows // 2, 2, columns // 2, 2, depth).max((1, 3))
    return maps.mean((0, 1))


def torch_layers(weights: Weights, key: Callable[[str], str]) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, (kernel, bias) in weights.items():
        tensors[f"{key(name)}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        tensors[f"{key(name)}.bias"] = torch.from_numpy(bias)
    return tensors


def write_matconvnet(weights: Weights, path: Path) -> None:
    from scipy.io import savemat

    kinds = np.empty((1, len(weights)), object)
    for i, (name, (kernel, bias)) in enumerate(weights.items()):
        both = np.empty((1, 2), object)
        both[0, 0], both[0, 1] = kernel, bias[:, None]
        kinds[0, i] = {"type": "conv", "name": name, "weights": both}
    savemat(path, {"layers": kinds})


def write_keras(weights: Weights, path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 files need h5py")
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in weights.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            group[f"{name}/kernel:0"], group[f"{name}/bias:0"] = kernel, bias
        file.create_group("pool1")


TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
FORMATS: dict[str, tuple[str, str, Callable[[Weights, Path], None]]] = {
    "dag": ("vgg_face_dag.pth", "RGB", lambda w, p: torch.save(torch_layers(w, str), p)),
    "torch7": (
        "vgg_face_weights.pth",
        "BGR",
        lambda w, p: torch.save(torch_layers(w, lambda name: f"conv_{name[4:]}"), p),
    ),
    "torchvision": (
        "vgg16.pt",
        "RGB",
        lambda w, p: torch.save(
            torch_layers(w, lambda name: f"features.{TORCHVISION[NAMES.index(name)]}"), p
        ),
    ),
    "matconvnet": ("vgg_face.mat", "RGB", write_matconvnet),
    "keras": ("rcmalli_vggface_tf_notop_vgg16.h5", "BGR", write_keras),
}


@pytest.mark.parametrize("format_", FORMATS)
def test_the_converted_network_answers_as_the_source_would(
    format_: str, weights: Weights, tmp_path: Path
) -> None:
    name, colours, write = FORMATS[format_]
    write(weights, tmp_path / name)
    about = convert(tmp_path / name, tmp_path / "vgg_face.safetensors")
    assert about["source_colour_order"] == colours and about["colour_order"] == "RGB"
    subject = get(str(tmp_path / "vgg_face.safetensors"))
    assert subject.size == 224
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    # The study's own preprocessing, but at 32 pixels, which plain numpy can do.
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(about[key])[None, :, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        answer = subject.module((values - mean) / std)[0].numpy()
    expected = reference(weights, picture, colours)
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_swapping_colours_would_be_seen(weights: Weights) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    one, other = (reference(weights, picture, colours) for colours in ("RGB", "BGR"))
    assert np.abs(one - other).max() > 0.01 * np.abs(one).max()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("conv3_2.weight"), "conv3_2 first"),
        (
            lambda t: t.update({"conv2_1.weight": t["conv1_2.weight"]}),
            r"features.5.weight is \(64, 64, 3, 3\)",
        ),
        (lambda t: t["conv5_3.bias"].fill_(float("inf")), "no numbers"),
        (lambda t: t.clear(), "none of the known names"),
    ],
)
def test_weights_that_are_not_vgg_faces_are_refused(
    spoil: Callable[[dict[str, torch.Tensor]], object], message: str, weights: Weights, tmp_path: Path
) -> None:
    tensors = {name: value.clone() for name, value in torch_layers(weights, str).items()}
    spoil(tensors)
    torch.save(tensors, tmp_path / "spoilt.pth")
    with pytest.raises(FacelesionError, match=message):
        convert(tmp_path / "spoilt.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", ["cut.pth", "cut.mat", "cut.h5", "cut.xyz"])
def test_damaged_and_unknown_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    if name.endswith("h5"):
        pytest.importorskip("h5py", reason="HDF5 files need h5py")
    (tmp_path / name).write_bytes(b"not weights at all" * 20)
    with pytest.raises(FacelesionError) as told:
        convert(tmp_path / name, tmp_path / "out.safetensors")
    assert name in str(told.value) and "\n" not in str(told.value)


def test_imagenets_keras_layers_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 files need h5py")
    with h5py.File(tmp_path / "vgg16.h5", "w") as file:
        file["block1_conv1/block1_conv1/kernel:0"] = np.zeros((3, 3, 3, 64))
    with pytest.raises(FacelesionError, match="ImageNet"):
        convert(tmp_path / "vgg16.h5", tmp_path / "out.safetensors")
