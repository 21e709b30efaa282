"""Files of weights that hold something else than weights: one line that names the file, never a traceback."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import torch
from published import SMALL, T7, Weights, drawn, torch_layers, write_matconvnet

from facelesion.errors import Error
from facelesion.models import VGGFace, get
from facelesion.models.convert import convert
from facelesion.models.mobilefacenet import MobileFaceNet, read_mobilefacenet
from facelesion.models.subject import Preprocessing, brightness
from facelesion.models.zoo import CroppedPreprocessing
from facelesion.weights import places, store

Tensors = dict[str, Any]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return drawn(SMALL)


def line(work: Callable[[], object], file: str) -> str:
    with pytest.raises(Error) as told:
        work()
    message = str(told.value)
    assert file in message and "\n" not in message and len(message) < 1000
    return message


ODD_TENSORS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "sparse": (lambda t: t.to_sparse(), "sparse"),
    "compressed": (lambda t: t.flatten(1).to_sparse_csr(), "sparse"),
    "meta": (lambda t: t.to("meta"), "no content"),
    "quantised": (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "quantised"),
    "float8": (lambda t: t.to(torch.float8_e4m3fn), "float8_e4m3fn"),
    "float8 of the other kind": (lambda t: t.to(torch.float8_e5m2), "float8_e5m2"),
    "complex": (lambda t: t.to(torch.complex64), "complex64"),
    "whole numbers": (lambda t: t.to(torch.int32), "int32"),
    "truth values": (lambda t: t > 0, "bool"),
    "a scalar": (lambda t: torch.tensor(1.0), r"()"),
    "of other axes": (lambda t: t.flatten(), "not ("),
    "empty": (lambda t: t[:0], "not ("),
    "more than any memory": (lambda t: torch.zeros(1).expand(2**40), "not ("),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["conv3_2.weight", "fc8.weight"])
@pytest.mark.parametrize("odd", ODD_TENSORS)
def test_a_layer_that_is_no_plain_tensor_is_refused(
    odd: str, name: str, weights: Weights, tmp_path: Path
) -> None:
    change, word = ODD_TENSORS[odd]
    tensors = torch_layers(weights, str)
    tensors[name] = change(tensors[name])
    torch.save(tensors, tmp_path / "odd.pth")
    target = tmp_path / "out.safetensors"
    assert word in line(lambda: convert(tmp_path / "odd.pth", target, top=True, layout=SMALL), "odd.pth")
    assert not target.exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("odd", [odd for odd in ODD_TENSORS if odd not in ("whole numbers", "truth values")])
def test_a_state_dict_of_odd_tensors_is_refused(odd: str, tmp_path: Path) -> None:
    change, word = ODD_TENSORS[odd]
    tensors: Tensors = dict(MobileFaceNet().state_dict())
    tensors["conv3.weight"] = change(tensors["conv3.weight"])
    torch.save(tensors, tmp_path / "odd.pt")
    assert word in line(lambda: read_mobilefacenet(tmp_path / "odd.pt"), "odd.pt")


@pytest.mark.parametrize(
    "content", [3, "text", None, [1, 2], {"a": 3}, {"state_dict": 3}, torch.zeros(2), {1: 2}, {}]
)
def test_a_file_of_torch_that_is_no_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pth")
    line(lambda: convert(tmp_path / "odd.pth", tmp_path / "out.safetensors", layout=SMALL), "odd.pth")
    line(lambda: read_mobilefacenet(tmp_path / "odd.pth"), "odd.pth")


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_cut_or_changed_anywhere_is_refused_or_read(legacy: bool, tmp_path: Path) -> None:
    file = tmp_path / "cut.pth"
    torch.save({"conv1_1.weight": torch.ones(2, 2)}, file, _use_new_zipfile_serialization=not legacy)
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        line(lambda: convert(file, tmp_path / "out.safetensors"), "cut.pth")
        line(lambda: read_mobilefacenet(file), "cut.pth")
    for place in range(0, len(whole), 5):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        line(lambda: convert(file, tmp_path / "out.safetensors"), "cut.pth")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02.",
        b"\x80\x02)R.",
        b"\x80\x02K\x01b.",
        b"\x80\x02h\x63.",
        b"\x80\x02]q\x00h\x07.",
        pickle.dumps(range(3)),
    ],
)
def test_pickles_that_make_no_sense_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.pth").write_bytes(content)
    line(lambda: convert(tmp_path / "odd.pth", tmp_path / "out.safetensors"), "odd.pth")
    line(lambda: read_mobilefacenet(tmp_path / "odd.pth"), "odd.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_wrappers_prefix_is_taken_off_and_said(prefix: str, weights: Weights, tmp_path: Path) -> None:
    plain = torch_layers(weights, str)
    torch.save(plain, tmp_path / "plain.pth")
    torch.save({f"{prefix}{name}": value for name, value in plain.items()}, tmp_path / "wrapped.pth")
    about = convert(tmp_path / "wrapped.pth", tmp_path / "wrapped.safetensors", layout=SMALL)
    convert(tmp_path / "plain.pth", tmp_path / "plain.safetensors", layout=SMALL)
    assert prefix in about["converted_from"]
    one, two = (get(str(tmp_path / f"{name}.safetensors")).weights for name in ("plain", "wrapped"))
    assert one == two
    network = MobileFaceNet()
    torch.save({f"{prefix}{name}": value for name, value in network.state_dict().items()}, tmp_path / "m.pt")
    assert torch.equal(read_mobilefacenet(tmp_path / "m.pt").conv3.weight, network.conv3.weight)


def test_names_that_are_nobodys_are_shown(tmp_path: Path) -> None:
    torch.save({"backbone.layer.weight": torch.zeros(1)}, tmp_path / "other.pth")
    told = line(lambda: convert(tmp_path / "other.pth", tmp_path / "out.safetensors"), "other.pth")
    assert "backbone.layer.weight" in told


def matlab(weights: Weights, path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from scipy.io import loadmat, savemat

    write_matconvnet(weights, path)
    content = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    change(content)
    savemat(path, content)


@pytest.mark.parametrize(
    "both",
    [
        3.0,
        "text",
        np.zeros(5),
        np.zeros((2, 3)),
        np.array(["a", "b"], object),
        np.array([[1, "b"]], object),
        {"a": 1.0},
    ],
)
def test_a_matlab_layer_whose_weights_are_something_else_is_refused(
    both: object, weights: Weights, tmp_path: Path
) -> None:
    def change(content: dict[str, Any]) -> None:
        layers = content["layers"]
        layers[0, 4] = {"type": "conv", "name": "conv3_1", "weights": both}

    matlab(weights, tmp_path / "odd.mat", change)
    line(lambda: convert(tmp_path / "odd.mat", tmp_path / "out.safetensors", layout=SMALL), "odd.mat")


@pytest.mark.parametrize(
    "mean", ["the mean", np.array([np.nan, 1, 2]).reshape(1, 1, 3), np.array(["a", "b"], object), 1j]
)
def test_a_matlab_mean_picture_that_is_no_numbers_is_refused(
    mean: object, weights: Weights, tmp_path: Path
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["meta"] = {"normalization": {"averageImage": mean}}

    matlab(weights, tmp_path / "odd.mat", change)
    told = line(lambda: convert(tmp_path / "odd.mat", tmp_path / "out.safetensors", layout=SMALL), "odd.mat")
    assert "mean picture" in told


@pytest.mark.parametrize(
    "content", [{"layers": 3.0}, {"layers": "text"}, {"net": 3.0}, {"net": {"layers": 3.0}}, {"x": 1.0}]
)
def test_a_matlab_file_without_layers_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    from scipy.io import savemat

    savemat(tmp_path / "odd.mat", content)
    line(lambda: convert(tmp_path / "odd.mat", tmp_path / "out.safetensors", layout=SMALL), "odd.mat")


def hdf5(weights: Weights, path: Path, change: Callable[[Any], object]) -> None:
    h5py = pytest.importorskip("h5py", reason="HDF5 files need h5py")
    published.write_keras(weights, path)
    with h5py.File(path, "a") as file:
        change(file)


KERNEL, BIAS = "conv3_1/conv3_1/kernel:0", "conv3_1/conv3_1/bias:0"


def instead(name: str, value: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[name]
        if value is not None:
            file[name] = value

    return change


def virtual(file: Any) -> None:
    import h5py

    source = h5py.VirtualSource("elsewhere.h5", "x", shape=file[KERNEL].shape, dtype="f4")
    layout = h5py.VirtualLayout(shape=file[KERNEL].shape, dtype="f4")
    layout[...] = source
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def without_content(file: Any) -> None:
    import h5py

    del file[KERNEL]
    file[KERNEL] = h5py.Empty("f4")


@pytest.mark.parametrize(
    "change",
    [
        instead(KERNEL, 3.0), instead(KERNEL, "text"), instead(KERNEL, np.zeros(3)), instead(KERNEL, None),
        instead(KERNEL, np.zeros((3, 3, 8, 16), np.int64)), instead(BIAS, 3.0), instead(BIAS, np.zeros((16, 1))),
        instead(BIAS, np.zeros(16, "S3")), instead(BIAS, np.full(16, np.nan)),
        instead(BIAS, np.zeros(16, np.complex64)), virtual, without_content,
    ],
)  # fmt: skip
def test_an_hdf5_layer_that_is_something_else_is_refused(
    change: Callable[[Any], object], weights: Weights, tmp_path: Path
) -> None:
    hdf5(weights, tmp_path / "odd.h5", change)
    line(lambda: convert(tmp_path / "odd.h5", tmp_path / "out.safetensors", layout=SMALL), "odd.h5")


@pytest.mark.parametrize("names", [3, "conv1_1", np.zeros(3), [b"\xff\xfe"]])
def test_an_hdf5_list_of_layers_that_is_none_is_refused_or_passed_over(
    names: object, weights: Weights, tmp_path: Path
) -> None:
    def change(file: Any) -> None:
        file.attrs["layer_names"] = names

    hdf5(weights, tmp_path / "odd.h5", change)
    try:
        convert(tmp_path / "odd.h5", tmp_path / "out.safetensors", layout=SMALL)
    except Error as error:
        assert "odd.h5" in str(error)
    else:
        assert (tmp_path / "out.safetensors").exists()


class ShortT7(T7):
    """As a machine with longs of 32 bits writes it."""

    def longs(self, *values: int) -> None:
        self.integers(*values)


def test_a_torch7_file_with_short_longs_converts_to_the_same(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.write_t7(weights, tmp_path / "long.t7")
    monkeypatch.setattr(published, "T7", ShortT7)
    published.write_t7(weights, tmp_path / "short.t7")
    assert (tmp_path / "short.t7").stat().st_size < (tmp_path / "long.t7").stat().st_size
    for name in ("long", "short"):
        convert(tmp_path / f"{name}.t7", tmp_path / f"{name}.safetensors", top=True, layout=SMALL)
    one, two = (get(str(tmp_path / f"{name}.safetensors")).weights for name in ("long", "short"))
    assert one == two


ABOUT = {"architecture": "VGGFace", "width": 0.0625, "size": 64}


def saved(path: Path, about: object, more: Tensors | None = None) -> str:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    tensors = dict(VGGFace(0.0625, outputs=None).state_dict()) | (more or {})
    note = about if isinstance(about, bytes) else json.dumps(about).encode()
    save_file(
        {key: value.contiguous() for key, value in tensors.items()}, path, metadata={"about": note.decode()}
    )
    return str(path)


@pytest.mark.parametrize(
    "about",
    [[], [1, 2], "VGGFace", None, 3, True, b"not json", b"", b"[" * 100_000, b'{"a": ' * 100_000, {}, b"nan"],
)
def test_a_note_that_is_no_mapping_is_refused(about: object, tmp_path: Path) -> None:
    file = saved(tmp_path / "odd.safetensors", about)
    line(lambda: get(file), "odd.safetensors")


@pytest.mark.parametrize("key", ["width", "size", "architecture"])
def test_a_note_that_lacks_what_is_needed_is_refused(key: str, tmp_path: Path) -> None:
    file = saved(tmp_path / "odd.safetensors", {name: value for name, value in ABOUT.items() if name != key})
    line(lambda: get(file), "odd.safetensors")


WRONG_NUMBERS = [None, "0.0625", [0.0625], {}, True, -1, 0, 1e9, float("nan"), float("inf"), 10**400]


@pytest.mark.parametrize("value", WRONG_NUMBERS)
@pytest.mark.parametrize("key", ["width", "size"])
def test_numbers_of_a_note_that_are_none_or_beyond_reason_are_refused(
    key: str, value: object, tmp_path: Path
) -> None:
    file = saved(tmp_path / "odd.safetensors", {**ABOUT, key: value})
    assert key in line(lambda: get(file), "odd.safetensors")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[(key, value) for key in ("mean", "std") for value in (None, 0.5, "grey", [1, 2], [1, 2, "3"], [1, 2, None],
          [1, 2, float("nan")], [1, 2, float("inf")], [True, 1, 1], {"r": 1})],
        ("std", [0, 1, 1]), ("std", [-1, 1, 1]),
        *[("colour_order", value) for value in (None, 3, "GBR", ["RGB"], "")],
        *[("architecture", value) for value in (None, 3, ["VGGFace"], "vggface", "ResNet")],
    ],
)  # fmt: skip
def test_settings_of_a_note_that_are_none_are_refused(key: str, value: object, tmp_path: Path) -> None:
    file = saved(tmp_path / "odd.safetensors", {**ABOUT, key: value})
    line(lambda: get(file), "odd.safetensors")


def test_a_width_that_the_tensors_have_not_takes_no_memory(tmp_path: Path) -> None:
    file = saved(tmp_path / "odd.safetensors", {**ABOUT, "width": 16})
    assert "do not fit" in line(lambda: get(file), "odd.safetensors")


@pytest.mark.parametrize(
    "more",
    [
        {"identity.weight": torch.tensor(1.0), "identity.bias": torch.zeros(5)},
        {"identity.weight": torch.zeros(5), "identity.bias": torch.zeros(5)},
        {"identity.weight": torch.zeros(5, 31), "identity.bias": torch.zeros(5)},
        {"identity.weight": torch.zeros(0, 32), "identity.bias": torch.zeros(0)},
        {"identity.weight": torch.zeros(5, 32)},
        {"identity.bias": torch.zeros(5)},
        {"identity.weight": torch.zeros(5, 32), "identity.bias": torch.tensor(0.0)},
        {"head.weight": torch.tensor(1.0), "head.bias": torch.zeros(5)},
        {"head.weight": torch.zeros(5, 7), "head.bias": torch.zeros(5)},
        {"head.weight": torch.zeros(5, 32), "head.bias": torch.zeros(4)},
        {"head.weight": torch.full((5, 32), torch.nan), "head.bias": torch.zeros(5)},
        {"head.bias": torch.zeros(5)},
        {"features.0.bias": torch.tensor(0.0)},
        {"features.0.bias": torch.zeros(4, dtype=torch.int64)},
        {"features.0.bias": torch.zeros(4, dtype=torch.complex64)},
        {"features.0.bias": torch.zeros(4, dtype=torch.float8_e4m3fn)},
    ],
)
def test_readouts_and_layers_of_another_shape_or_kind_are_refused(more: Tensors, tmp_path: Path) -> None:
    file = saved(tmp_path / "odd.safetensors", ABOUT, more)
    line(lambda: get(file), "odd.safetensors")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_kept_as_other_floats_are_read(kind: torch.dtype, tmp_path: Path) -> None:
    file = saved(tmp_path / "fine.safetensors", ABOUT, {"features.0.bias": torch.ones(4, dtype=kind)})
    assert get(file).module.features[0].bias.dtype == torch.float32  # type: ignore[index,union-attr,operator]


PLACES = [
    "a" * 300,
    "ë" * 200,
    "new/" + "a" * 300,
    "a file/x.safetensors",
    "/proc/x.safetensors",
    "/proc/new/x.safetensors",
    "",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_place_where_no_file_can_be_is_told_before_any_work(place: str, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "face.pth").write_bytes(b"not looked at")
    before = sorted(tmp_path.rglob("*"))
    target = tmp_path / place if place else ""
    with pytest.raises(Error) as told:
        convert(tmp_path / "face.pth", target)
    assert "face.pth" not in str(told.value) and "\n" not in str(told.value)
    with pytest.raises(Error):
        store.save_weights(target, {"a": torch.zeros(1)}, {})
    assert sorted(tmp_path.rglob("*")) == before


def test_a_converted_file_does_not_replace_its_original(weights: Weights, tmp_path: Path) -> None:
    torch.save(torch_layers(weights, str), tmp_path / "face.pth")
    before = (tmp_path / "face.pth").read_bytes()
    (tmp_path / "link.pth").symlink_to("face.pth")
    for target in ("face.pth", "link.pth"):
        with pytest.raises(Error, match="would replace the original"):
            convert(tmp_path / "face.pth", tmp_path / target, layout=SMALL)
    assert (tmp_path / "face.pth").read_bytes() == before


def test_names_too_long_for_any_file_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "a" * 300
    for work in (
        lambda: convert(long, tmp_path / "x.safetensors"),
        lambda: get(f"{long}.safetensors"),
        lambda: read_mobilefacenet(long),
        lambda: places.weights_path(long),
    ):
        with pytest.raises(Error):
            work()
    monkeypatch.setenv("FACELESION_WEIGHTS", str(tmp_path / long))
    assert places.find_weights("builtin.safetensors") is not None
    from facelesion.faces.landmarks import mediapipe_model
    from facelesion.weights import registry

    with pytest.raises(Error, match="no model at"):
        mediapipe_model(long)
    with pytest.raises(Error):
        registry.fetch("mobilefacenet", tmp_path / long)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\t \r\n", b"\n\n"])
def test_marks_and_blanks_are_in_nobodys_name(
    mark: bytes, end: bytes, weights: Weights, tmp_path: Path
) -> None:
    torch.save(torch_layers(weights, str), tmp_path / "face.pth")
    people = [f"Zoë {number}" for number in range(SMALL.people)]
    (tmp_path / "names.txt").write_bytes(mark + end.join(name.encode() for name in people) + end)
    options: dict[str, Any] = {"top": True, "names": tmp_path / "names.txt", "layout": SMALL}
    assert convert(tmp_path / "face.pth", tmp_path / "out.safetensors", **options)["names"] == people


@pytest.mark.parametrize("names", ["a" * 300, "a\0b", "/proc", "/dev"])
def test_names_that_cannot_be_read_are_told(names: str, weights: Weights, tmp_path: Path) -> None:
    torch.save(torch_layers(weights, str), tmp_path / "face.pth")
    with pytest.raises(Error, match="cannot be read"):
        convert(tmp_path / "face.pth", tmp_path / "out.safetensors", top=True, names=names, layout=SMALL)


PICTURES = torch.arange(3 * 16 * 16).remainder(256).reshape(1, 3, 16, 16)


@pytest.mark.parametrize("prepare", [Preprocessing(16), CroppedPreprocessing(16, 16)])
@pytest.mark.parametrize(
    "pictures",
    [
        PICTURES, PICTURES.int(), PICTURES.short(), PICTURES > 100, PICTURES.float(), PICTURES.double(),
        PICTURES.half(), (PICTURES / 255 - 0.5) / 0.25, torch.full((1, 3, 16, 16), torch.nan),
        torch.full((1, 3, 16, 16), torch.inf), PICTURES.to(torch.uint16) * 256,
    ],
)  # fmt: skip
def test_pixels_of_another_kind_or_range_are_not_taken_for_fractions(
    prepare: Any, pictures: torch.Tensor
) -> None:
    with pytest.raises(Error, match="give uint8"):
        prepare(pictures)


def test_pixels_that_resampling_left_a_little_outside_are_let_pass() -> None:
    pictures = torch.linspace(-0.1, 1.1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    assert torch.equal(brightness(pictures), pictures)
    assert torch.equal(brightness(PICTURES.byte()), PICTURES / 255)
    assert brightness(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)
    assert brightness(torch.ones(1, 3, 8, 8, dtype=torch.bfloat16)).dtype == torch.float32
