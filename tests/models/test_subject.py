"""Networks load by name or file, whole or not at all, and say in one line what does not fit."""

from pathlib import Path

import pytest
import torch

from facelesion.errors import Error
from facelesion.models import VGGFace, get
from facelesion.models.subject import Preprocessing
from facelesion.weights import store, weights_path

ABOUT = {"architecture": "VGGFace", "width": 0.0625, "size": 64}


def tensors(identity: bool = True) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    made = dict(VGGFace(0.0625, outputs=None).state_dict())
    if identity:
        made |= {"identity.weight": torch.randn(5, 32), "identity.bias": torch.zeros(5)}
    return made


def test_a_file_gives_back_the_network_that_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    store.save_weights(path, tensors(), ABOUT)
    subject = get(str(path))
    network = VGGFace(0.0625, outputs=None)
    network.load_state_dict({key: value for key, value in tensors().items() if key.startswith("features")})
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(
        subject.module(subject.preprocess(images)), network(subject.preprocess(images))
    )
    assert subject.name == "mine" and subject.size == 64 and len(subject.weights) == 12
    assert subject.identity(torch.zeros(2, 32)).shape == (2, 5)
    assert not any(value.requires_grad for value in subject.module.parameters())


def test_without_an_identity_readout_the_representation_is_the_embedding(tmp_path: Path) -> None:
    store.save_weights(tmp_path / "a.safetensors", tensors(identity=False), ABOUT)
    assert get(str(tmp_path / "a.safetensors")).identity(torch.ones(1, 32)).shape == (1, 32)


def test_the_hash_names_the_values_and_not_the_file(tmp_path: Path) -> None:
    changed = tensors() | {"identity.bias": torch.ones(5)}
    for name, values, about in [
        ("a", tensors(), ABOUT),
        ("b", tensors(), ABOUT | {"seed": 3}),
        ("c", changed, ABOUT),
    ]:
        store.save_weights(tmp_path / f"{name}.safetensors", values, about)
    a, b, c = (get(str(tmp_path / f"{name}.safetensors")).weights for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("features.0.weight"), "1 missing (features.0.weight"),
        (
            lambda values: values.update({"features.99.weight": torch.zeros(1)}),
            "1 too many (features.99.weight",
        ),
        (
            lambda values: values.update({"features.0.weight": torch.zeros(4, 1, 3, 3)}),
            "features.0.weight is (4, 1, 3",
        ),
        (lambda values: values.update({"features.0.bias": torch.full((4,), torch.nan)}), "no numbers"),
        (lambda values: values.update({"stray": torch.zeros(1)}), "stray is unknown"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_reason(
    tmp_path: Path, change: object, message: str
) -> None:
    values = tensors()
    change(values)  # type: ignore[operator]
    path = tmp_path / "wrong.safetensors"
    store.save_weights(path, values, ABOUT)
    with pytest.raises(Error) as told:
        get(str(path))
    assert message in str(told.value) and str(path) in str(told.value) and "\n" not in str(told.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    store.save_weights(path, tensors(), ABOUT)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Error, match="not a whole safetensors file"):
        get(str(path))


def test_names_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="no network is called 'resnet'"):
        get("resnet")
    with pytest.raises(Error, match="no such weights file"):
        get(str(tmp_path / "none.safetensors"))


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.safetensors"
    store.save_weights(path, tensors(), ABOUT)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.save_weights(path, {"other": torch.zeros(1)}, {})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_the_chosen_folder_of_weights_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "builtin.safetensors").write_bytes(b"")
    monkeypatch.setenv("FACELESION_WEIGHTS", str(tmp_path))
    assert weights_path("builtin.safetensors") == tmp_path / "builtin.safetensors"
    with pytest.raises(Error, match="nowhere.bin"):
        weights_path("nowhere.bin")


def test_untrained_twins_differ_by_seed_alone_and_leave_chance_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, again, other = get("untrained"), get("untrained"), get("untrained", seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one.module.features[0].weight, again.module.features[0].weight)  # type: ignore
    assert not torch.equal(one.module.features[0].weight, other.module.features[0].weight)  # type: ignore
    assert (one.weights, other.weights) == ("untrained-seed0", "untrained-seed1")


def test_preprocessing_takes_bytes_and_fractions_alike_and_resizes() -> None:
    images = torch.randint(0, 256, (2, 3, 50, 50), dtype=torch.uint8)
    prepare = Preprocessing(32)
    assert prepare(images).shape == (2, 3, 32, 32)
    torch.testing.assert_close(prepare(images), prepare(images.float() / 255))
    white = Preprocessing(4, mean=(0.5, 0.25, 0), std=(0.5, 0.5, 0.25))(torch.ones(1, 3, 4, 4))
    assert white[0, :, 0, 0].tolist() == [1.0, 1.5, 4.0]
    with pytest.raises(Error, match="RGB"):
        prepare(torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize("size", [0, -4, 112.0, True, None])
def test_a_side_that_no_picture_has_is_refused(size) -> None:
    with pytest.raises(Error, match="side of the network's pictures"):
        Preprocessing(size)


def test_a_network_is_got_by_a_path_as_by_its_text_and_by_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    store.save_weights(path, tensors(), ABOUT)
    assert get(path).weights == get(str(path)).weights
    for wrong in (5, None, ["builtin"]):
        with pytest.raises(Error, match="is no network's name: give one of"):
            get(wrong)


def test_a_network_that_wants_bgr_gets_the_rgb_means_taken_off_and_then_bgr() -> None:
    images = torch.rand(2, 3, 8, 8)
    settings = {"mean": (0.5, 0.25, 0.125), "std": (0.5, 0.25, 1.0)}
    rgb = Preprocessing(8, **settings)(images)
    torch.testing.assert_close(Preprocessing(8, colour_order="BGR", **settings)(images), rgb[:, [2, 1, 0]])
    with pytest.raises(Error, match="colour order"):
        Preprocessing(8, colour_order="GBR")
