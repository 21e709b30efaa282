"""Every format of VGG-Face's weights gives the answer that the format's own conventions give."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import (
    FC,
    FORMATS,
    SMALL,
    Weights,
    agrees,
    as_batch,
    drawn,
    photograph,
    reference,
    torch_layers,
    torchvision_name,
    write_deepface,
    write_matconvnet,
)

from facelesion.errors import Error
from facelesion.models import get
from facelesion.models.convert import NAMES, VGG_FACE_MEAN, Layout, convert
from facelesion.models.formats.refusals import balance
from facelesion.weights.store import save_weights


@pytest.fixture(scope="module")
def weights() -> Weights:
    return drawn(SMALL)


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
