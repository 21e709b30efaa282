"""A converted file is checked: what is wrong with it is said, and a fingerprint is told from chance."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from facelesion.cli import run
from facelesion.data.alone import features_alone
from facelesion.errors import Error
from facelesion.models import VGGFace, get
from facelesion.models.formats.pytorch import TORCHVISION
from facelesion.models.subject import Preprocessing, Subject
from facelesion.models.verify import FEATURES, PRINTED, Overlap, fingerprint, verify
from facelesion.weights import places, store

Tensors = dict[str, torch.Tensor]
ABOUT = {
    "architecture": "VGGFace", "width": 1.0, "size": 224, "colour_order": "RGB",
    "converted_from": "Torch7", "source_colour_order": "BGR",
}  # fmt: skip


def planted() -> VGGFace:
    """A random network whose most active units are those that the notebook printed, and in RGB only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VGGFace(outputs=None)
    with torch.no_grad():
        for layer, printed in PRINTED.items():
            convolution = network.get_submodule(TORCHVISION[layer])
            assert isinstance(convolution, torch.nn.Conv2d) and convolution.bias is not None
            convolution.weight.mul_(0.1)
            for rank, unit in enumerate(reversed(printed["eyes"])):
                convolution.bias[unit] = 50.0 + rank
            for unit in set(printed["eyebrows"]) - set(printed["eyes"]):
                convolution.bias[unit] = 45.0
    return network


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Tensors]]:
    path = tmp_path_factory.mktemp("verify") / "vgg_face.safetensors"
    tensors = {name: value for name, value in planted().state_dict().items()}
    store.save_weights(path, tensors, ABOUT)
    yield path, tensors


def failed(path: Path, features: torch.Tensor | None = None) -> list[str]:
    return [check.what for check in verify(path, features).checks if not check.holds]


def test_a_sound_file_passes_and_says_what_was_not_checked(good: tuple[Path, Tensors]) -> None:
    result = verify(good[0])
    result.demand()
    assert "FAILED" not in str(result) and "--photograph" in str(result)
    assert len(result.checks) == 7


def copy_filter(tensors: Tensors) -> None:
    tensors["features.24.weight"][7] = 2 * tensors["features.24.weight"][100]


def kill_filters(tensors: Tensors) -> None:
    tensors["features.24.weight"][:300] = 0


def shrink(tensors: Tensors) -> None:
    tensors["features.10.weight"] *= 1e-4


def imagenets_bias(tensors: Tensors) -> None:
    tensors["features.0.bias"][:8] = torch.tensor([0.73, 0.065, 0.034, 0.826, 0.258, 0.549, -0.012, 0.348])


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (copy_filter, "repeated filters"),
        (kill_filters, "dead filters"),
        (shrink, "scales"),
        (imagenets_bias, "not ImageNet's"),
    ],
)
def test_what_is_wrong_with_the_numbers_is_said(
    spoil: Callable[[Tensors], None], what: str, good: tuple[Path, Tensors], tmp_path: Path
) -> None:
    tensors = {name: value.clone() for name, value in good[1].items()}
    spoil(tensors)
    store.save_weights(tmp_path / "x.safetensors", tensors, ABOUT)
    assert failed(tmp_path / "x.safetensors") == [what]
    with pytest.raises(Error, match=what):
        verify(tmp_path / "x.safetensors").demand()


def test_the_built_in_network_is_not_vgg_face() -> None:
    builtin = places.weights_path("builtin.safetensors")
    assert failed(builtin) == ["layout", "origin"]


def overlaps(network: VGGFace, about: dict[str, Any]) -> dict[str, Overlap]:
    from facelesion.faces.regions import mean_face
    from facelesion.faces.stimuli import Isolate

    subject = Subject("x", network.eval(), 64, Preprocessing(64), torch.nn.Identity(), "x", about)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    features = torch.cat([Isolate(feature, fill="blur")(image, mean_face(64)[None]) for feature in FEATURES])
    return {overlap.layer: overlap for overlap in fingerprint(subject, features)}


def test_the_notebooks_units_are_recognised_and_others_are_chance() -> None:
    right = overlaps(planted(), ABOUT)
    assert [*right] == ["conv5_3", "conv4_2", "conv3_2"]
    for overlap in right.values():
        assert overlap.hits > 0.9 and overlap.probability < 1e-3 and overlap.check().holds
    assert right["conv4_2"].expected == pytest.approx(7 / 512)
    assert set(right["conv4_2"].responsible["nose"]) == set(PRINTED["conv4_2"]["nose"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        wrong = overlaps(VGGFace(outputs=None), ABOUT)
    assert not any(overlap.check().holds for overlap in wrong.values())
    assert max(overlap.hits for overlap in wrong.values()) < 0.4


def test_the_fingerprint_looks_in_the_networks_own_order_of_colours() -> None:
    network = planted()
    folded = overlaps(network, ABOUT)
    with torch.no_grad():
        first = network.features[0]
        assert isinstance(first, torch.nn.Conv2d)
        first.weight.copy_(first.weight.flip(1))
    kept = overlaps(network, ABOUT | {"colour_order": "BGR"})
    for layer, overlap in folded.items():
        assert kept[layer].responsible == overlap.responsible


def test_the_command_prints_a_table_and_fails_with_status_2(
    good: tuple[Path, Tensors], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["weights", "verify", str(good[0])]) == 0
    assert capsys.readouterr().out.count("\nok ") == 7
    assert run(["weights", "verify", str(places.weights_path("builtin.safetensors"))]) == 2
    told = capsys.readouterr()
    assert (
        "FAILED" in told.out
        and "2 of 7 checks failed, layout first" in told.err
        and told.err.count("\n") == 1
    )


@pytest.mark.slow
@pytest.mark.shared
def test_a_photograph_is_read_and_its_features_found(
    good: tuple[Path, Tensors], shared: Path, lfw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shared / "data" / "face_landmarker.task"
    photograph = sorted(lfw.glob("George_W_Bush/*.jpg"))[0]
    words = ["--photograph", str(photograph), "--model", str(model)]
    assert run(["weights", "verify", str(good[0]), *words]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\nok ") == 10 and "one photograph" in printed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        store.save_weights(tmp_path / "x.safetensors", VGGFace(outputs=None).state_dict(), ABOUT)
    shown = features_alone(photograph, FEATURES, model=model)
    assert shown.shape == (4, 3, 224, 224) and not torch.equal(shown[0], shown[1])
    assert failed(tmp_path / "x.safetensors", shown) == [
        "fingerprint conv5_3", "fingerprint conv4_2", "fingerprint conv3_2",
    ]  # fmt: skip


def test_a_photograph_without_a_face_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    from facelesion.data import alone

    class Blind:
        def find(self, photograph: object) -> list[object]:
            return []

        def close(self) -> None:
            pass

    monkeypatch.setattr(alone, "landmark_backend", lambda name, model: Blind())
    Image.new("RGB", (250, 250), "grey").save(tmp_path / "grey.png")
    with pytest.raises(Error, match="no face found"):
        features_alone(tmp_path / "grey.png", FEATURES)


def test_a_file_that_is_no_converted_network_is_refused(tmp_path: Path) -> None:
    store.save_weights(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(Error, match="does not say"):
        verify(tmp_path / "x.safetensors")
    with pytest.raises(Error, match="no network"):
        get("nothing")
