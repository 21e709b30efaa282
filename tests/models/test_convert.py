"""Every format of VGG-Face's weights gives the answer that the format's own conventions give."""

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facelesion.errors import Error
from facelesion.models import get
from facelesion.models.convert import NAMES, VGG_FACE_MEAN, Layout, convert
from facelesion.models.formats.refusals import balance
from facelesion.weights.store import save_weights

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


@pytest.fixture(scope="module")
def weights() -> Weights:
    return drawn(SMALL)


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


@pytest.mark.parametrize("colours", ["fold", "keep"])
@pytest.mark.parametrize("format_", FORMATS)
def test_the_converted_convolutions_answer_as_the_source_would(
    format_: str, colours: str, weights: Weights, tmp_path: Path
) -> None:
    name, order, write = FORMATS[format_]
    write(weights, tmp_path / name)
    about = convert(tmp_path / name, tmp_path / "face.safetensors", colours=colours, layout=SMALL)
    assert about["source_colour_order"] == order
    assert about["colour_order"] == ("RGB" if colours == "fold" else order)
    subject = get(str(tmp_path / "face.safetensors"))
    answer = subject.module(subject.preprocess(as_batch(photograph())))
    agrees(answer[0], reference(weights, photograph(), order).pooled)
    assert not subject.extra


@pytest.mark.parametrize("format_", FORMATS)
def test_with_its_top_the_network_answers_fc7_and_reads_fc8(
    format_: str, weights: Weights, tmp_path: Path
) -> None:
    name, order, write = FORMATS[format_]
    write(weights, tmp_path / name)
    convert(tmp_path / name, tmp_path / "face.safetensors", top=True, layout=SMALL)
    subject = get(str(tmp_path / "face.safetensors"))
    expected = reference(weights, photograph(), order)
    answer = subject.module(subject.preprocess(as_batch(photograph())))
    agrees(answer[0], expected.fc7)
    scores = torch.nn.functional.linear(answer, subject.extra["head.weight"], subject.extra["head.bias"])
    agrees(scores[0], expected.fc8)


def test_the_published_shapes_are_asked_for_unless_others_are_named(weights: Weights, tmp_path: Path) -> None:
    torch.save(torch_layers(weights, str), tmp_path / "narrow.pth")
    with pytest.raises(Error, match=r"conv1_1's kernel is \(4, 3, 3, 3\), not \(64, 3, 3, 3\)"):
        convert(tmp_path / "narrow.pth", tmp_path / "out.safetensors")


def test_at_full_width_the_file_is_the_notebooks_network(tmp_path: Path) -> None:
    full = drawn(Layout(hidden=1, people=1))
    torch.save(torch_layers({name: full[name] for name in NAMES}, str), tmp_path / "vgg_face_dag.pth")
    convert(tmp_path / "vgg_face_dag.pth", tmp_path / "face.safetensors")
    subject = get(str(tmp_path / "face.safetensors"))
    assert subject.size == 224
    assert sum(value.numel() for value in subject.module.parameters()) == 14_715_201 - 513


def test_swapping_colours_rows_or_channels_would_be_seen(weights: Weights) -> None:
    right = reference(weights, photograph(), "RGB")
    assert np.abs(right.pooled - reference(weights, photograph(), "BGR").pooled).max() > 0.01
    kernel, bias = weights["fc6"]
    for wrong in (kernel.transpose(1, 0, 2, 3), kernel.reshape(-1, kernel.shape[3])):
        if wrong.ndim == 2:  # channels first where rows come first
            wrong = wrong.reshape(kernel.shape[2], *kernel.shape[:2], -1).transpose(1, 2, 0, 3)
        answer = reference({**weights, "fc6": (wrong, bias)}, photograph(), "RGB")
        assert np.abs(answer.fc7 - right.fc7).max() > 0.01 * np.abs(right.fc7).max()


def test_the_order_of_colours_can_be_said_where_it_is_known_better(weights: Weights, tmp_path: Path) -> None:
    torch.save(torch_layers(weights, str), tmp_path / "face.pth")
    convert(tmp_path / "face.pth", tmp_path / "out.safetensors", source_colours="BGR", layout=SMALL)
    subject = get(str(tmp_path / "out.safetensors"))
    agrees(
        subject.module(subject.preprocess(as_batch(photograph())))[0],
        reference(weights, photograph(), "BGR").pooled,
    )


def test_a_matlab_files_mean_picture_tells_its_colours(weights: Weights, tmp_path: Path) -> None:
    write_matconvnet(weights, tmp_path / "face.mat", VGG_FACE_MEAN[::-1])
    about = convert(tmp_path / "face.mat", tmp_path / "out.safetensors", layout=SMALL)
    assert about["source_colour_order"] == "BGR"


def test_names_come_from_the_matlab_file_or_from_a_list(weights: Weights, tmp_path: Path) -> None:
    write_matconvnet(weights, tmp_path / "face.mat")
    about = convert(tmp_path / "face.mat", tmp_path / "a.safetensors", top=True, layout=SMALL)
    assert about["names"][19] == "Person 19" and len(about["names"]) == 20
    people = [f"Somebody {i}" for i in range(20)]
    (tmp_path / "names.txt").write_text("\n".join(people) + "\n")
    torch.save(torch_layers(weights, str), tmp_path / "face.pth")

    def named(file: str) -> None:
        convert(tmp_path / "face.pth", tmp_path / file, top=True, names=tmp_path / "names.txt", layout=SMALL)

    named("b.safetensors")
    assert get(str(tmp_path / "b.safetensors")).about["names"] == people
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    with pytest.raises(Error, match="2 names, not 20"):
        named("c.safetensors")
    with pytest.raises(Error, match="--top"):
        convert(tmp_path / "face.pth", tmp_path / "c.safetensors", names=tmp_path / "names.txt", layout=SMALL)


Tensors = dict[str, torch.Tensor]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("conv3_2.weight"), "conv3_2 first"),
        (lambda t: t.update({"conv2_1.weight": t["conv1_2.weight"]}), r"conv2_1's kernel is \(4, 4, 3, 3\)"),
        (lambda t: t.update({"conv2_1.bias": t["conv1_2.bias"]}), "conv2_1 has 4 biases, not 8"),
        (lambda t: t.update({"conv2_1.bias": t["conv2_1.bias"].long()}), "int64"),
        (lambda t: t["conv5_3.bias"].fill_(float("inf")), "conv5_3 holds values that are no numbers"),
        (lambda t: t.pop("fc7.weight"), "fc7 is missing"),
        (lambda t: t.clear(), "none of the known names"),
    ],
)
def test_weights_that_are_not_vgg_faces_are_refused(
    spoil: Callable[[Tensors], object], message: str, weights: Weights, tmp_path: Path
) -> None:
    tensors = {name: value.clone() for name, value in torch_layers(weights, str).items()}
    spoil(tensors)
    torch.save(tensors, tmp_path / "spoilt.pth")
    with pytest.raises(Error, match=message):
        convert(tmp_path / "spoilt.pth", tmp_path / "out.safetensors", top=True, layout=SMALL)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", ["cut.pth", "cut.mat", "cut.h5", "cut.keras", "cut.t7", "cut.xyz"])
def test_damaged_and_unknown_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    if name.endswith(("h5", "keras")):
        pytest.importorskip("h5py", reason="HDF5 files need h5py")
    (tmp_path / name).write_bytes(b"not weights at all" * 20)
    with pytest.raises(Error) as told:
        convert(tmp_path / name, tmp_path / "out.safetensors")
    assert name in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("format_", FORMATS)
def test_files_cut_short_are_refused(format_: str, share: float, weights: Weights, tmp_path: Path) -> None:
    name, _, write = FORMATS[format_]
    write(weights, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(Error, match="get it again|not a whole"):
        convert(tmp_path / name, tmp_path / "out.safetensors", top=True, layout=SMALL)
    assert not (tmp_path / "out.safetensors").exists()


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"conv1_1.weight": Trap()}))
    with pytest.raises(Error, match="not a plain state dict"):
        convert(tmp_path / "trap.pth", tmp_path / "out.safetensors")
    torch.save({"conv1_1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(Error, match="not a plain state dict"):
        convert(tmp_path / "trap.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "ran").exists()


def test_imagenets_keras_layers_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 files need h5py")
    with h5py.File(tmp_path / "vgg16.h5", "w") as file:
        file["block1_conv1/block1_conv1/kernel:0"] = np.zeros((3, 3, 3, 64))
    with pytest.raises(Error, match="ImageNet"):
        convert(tmp_path / "vgg16.h5", tmp_path / "out.safetensors")


@pytest.mark.parametrize("format_", FORMATS)
def test_a_thousand_outputs_are_imagenets(format_: str, weights: Weights, tmp_path: Path) -> None:
    name, _, write = FORMATS[format_]
    kernel = np.zeros((1, 1, SMALL.hidden, 1000), np.float32)
    write({**weights, "fc8": (kernel, np.zeros(1000, np.float32))}, tmp_path / name)
    with pytest.raises(Error, match="1000 outputs"):
        convert(tmp_path / name, tmp_path / "out.safetensors", layout=SMALL)


@pytest.mark.parametrize("bias", [(0.4034, 0.3778, 0.4644, -0.3228, 0.3940, -0.3953, 0.3951, -0.5496)])
def test_imagenets_first_layer_is_known_whatever_the_file_calls_it(
    bias: tuple[float, ...], tmp_path: Path
) -> None:
    layout = Layout(width=0.125, hidden=4, people=4, size=32)
    weights = drawn(layout)
    weights["conv1_1"] = weights["conv1_1"][0], np.float32(bias)
    torch.save(torch_layers(weights, torchvision_name), tmp_path / "vgg16.pth")
    with pytest.raises(Error, match="biases of torchvision's VGG16"):
        convert(tmp_path / "vgg16.pth", tmp_path / "out.safetensors", known_as="vgg-face", layout=layout)


def test_a_matlab_files_mean_picture_tells_imagenet(weights: Weights, tmp_path: Path) -> None:
    write_matconvnet(weights, tmp_path / "face.mat", (123.68, 116.78, 103.94))
    with pytest.raises(Error, match="mean picture is ImageNet's"):
        convert(tmp_path / "face.mat", tmp_path / "out.safetensors", layout=SMALL)


@pytest.mark.parametrize(
    ("to", "told"), [("folder", "that is a folder"), ("note.txt/x.safetensors", "note.txt is no folder")]
)
def test_a_target_that_is_no_place_for_a_file_is_refused_before_any_work(
    to: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from facelesion.cli import run

    (tmp_path / "folder").mkdir()
    (tmp_path / "note.txt").touch()
    (tmp_path / "face.pth").write_bytes(b"not looked at")
    before = sorted(tmp_path.rglob("*"))
    assert run(["weights", "convert", str(tmp_path / "face.pth"), "--to", str(tmp_path / to)]) == 2
    said = capsys.readouterr().err.strip()
    assert told in said and "\n" not in said and sorted(tmp_path.rglob("*")) == before
    with pytest.raises(Error, match=told):
        save_weights(tmp_path / to, {"a": torch.zeros(1)}, {})
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_does_not_show_what_it_is_needs_a_word(weights: Weights, tmp_path: Path) -> None:
    convolutions = {name: weights[name] for name in NAMES}
    torch.save(torch_layers(convolutions, torchvision_name), tmp_path / "vgg16.pth")
    with pytest.raises(Error, match="--known_as vgg-face"):
        convert(tmp_path / "vgg16.pth", tmp_path / "out.safetensors", layout=SMALL)
    assert not (tmp_path / "out.safetensors").exists()
    convert(tmp_path / "vgg16.pth", tmp_path / "out.safetensors", known_as="vgg-face", layout=SMALL)
    assert (tmp_path / "out.safetensors").exists()


def trained(layout: Layout) -> Weights:
    """Weights as decay leaves them: what goes into a unit and what goes out of it have norms alike."""
    random = np.random.default_rng(2)
    weights = drawn(layout)
    gain = np.ones(3)
    for name in NAMES:
        kernel, bias = weights[name]
        after = np.exp(0.5 * random.standard_normal(kernel.shape[3]))
        weights[name] = (kernel * gain[:, None] * after).astype(np.float32), bias
        gain = after
    return weights


@pytest.mark.parametrize(
    ("one", "other"), [("conv4_2", "conv4_3"), ("conv4_3", "conv5_2"), ("conv5_1", "conv5_3")]
)
def test_exchanged_layers_of_trained_weights_are_refused(one: str, other: str, tmp_path: Path) -> None:
    layout = Layout(width=0.25, hidden=4, people=4, size=32)
    weights = trained(layout)
    torch.save(torch_layers(weights, str), tmp_path / "face.pth")
    convert(tmp_path / "face.pth", tmp_path / "out.safetensors", layout=layout)
    weights[one], weights[other] = weights[other], weights[one]
    torch.save(torch_layers(weights, str), tmp_path / "face.pth")
    with pytest.raises(Error, match="wrong order: behind conv"):
        convert(tmp_path / "face.pth", tmp_path / "other.safetensors", layout=layout)


def test_random_weights_say_nothing_about_their_order() -> None:
    weights = drawn(Layout(width=0.25, hidden=4, people=4, size=32))
    kernels = {name: torch.from_numpy(weights[name][0].transpose(3, 2, 0, 1).copy()) for name in NAMES}
    fits = balance(kernels)
    assert len(fits) > 10 and max(map(abs, fits.values())) < 0.4


def test_deepfaces_layers_are_told_by_their_number(weights: Weights, tmp_path: Path) -> None:
    write_deepface({name: weights[name] for name in [*NAMES, "fc6"]}, tmp_path / "face.h5")
    with pytest.raises(Error, match="fc6 is missing"):
        convert(tmp_path / "face.h5", tmp_path / "out.safetensors", top=True, layout=SMALL)
    write_deepface({name: weights[name] for name in NAMES[:12]}, tmp_path / "face.h5")
    with pytest.raises(Error, match="12 layers with kernels"):
        convert(tmp_path / "face.h5", tmp_path / "out.safetensors", layout=SMALL)
    order = [*NAMES[:4], NAMES[5], NAMES[4], *NAMES[6:], *FC]
    write_deepface({name: weights[name] for name in order}, tmp_path / "face.h5")
    with pytest.raises(Error, match="conv3_1 is"):
        convert(tmp_path / "face.h5", tmp_path / "out.safetensors", layout=SMALL)


def test_the_command_converts_and_says_what_the_network_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from facelesion.cli import run

    full = drawn(Layout(hidden=1, people=1))
    source, target = tmp_path / "vgg16.pth", tmp_path / "face.safetensors"
    torch.save(torch_layers({name: full[name] for name in NAMES}, torchvision_name), source)
    words = ["weights", "convert", str(source), "--to", str(target)]
    assert run(words) == 2
    assert "--known_as vgg-face" in capsys.readouterr().err and not target.exists()
    assert run([*words, "--known_as", "vgg-face", "--source_colours", "BGR", "--colours", "keep"]) == 0
    assert "takes BGR, convolutions only" in capsys.readouterr().out
    assert get(str(target)).preprocess.colour_order == "BGR"  # type: ignore[attr-defined]
    assert run([*words, "--known_as", "vgg-face", "--top"]) == 2
    assert "fc6 is missing" in capsys.readouterr().err
