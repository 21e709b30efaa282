"""Every network of the list passes the checks of all networks, and what is not there is told in one line."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from testers import PHOTOGRAPHS, Network, NetworkTester
from torch import Tensor

from facelesion.cli import run
from facelesion.errors import Error
from facelesion.models import MobileFaceNet, Subject, VGGFace, get, names, zoo
from facelesion.weights import registry, store

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resized(side: int) -> Tensor:
    """The pictures at a network's size, of 0 to 255."""
    values = torch.nn.functional.interpolate(PHOTOGRAPHS.float(), (side, side), mode="bilinear", antialias=True)
    return values.clamp(0, 255)


def imagenet() -> Tensor:
    mean, deviation = (torch.tensor(value).view(3, 1, 1) for value in IMAGENET)
    return (resized(112) / 255 - mean) / deviation


def vgg_face() -> Tensor:
    return resized(224) - torch.tensor([129.1863, 104.7624, 93.5940]).view(3, 1, 1)


def facenet() -> Tensor:
    from facenet_pytorch import fixed_image_standardization

    return fixed_image_standardization(resized(160))


def torchvision(architecture: str) -> Callable[[], Tensor]:
    from torchvision.models import get_model_weights

    return lambda: get_model_weights(architecture).DEFAULT.transforms()(PHOTOGRAPHS / 255)


def timm(architecture: str) -> Callable[[], Tensor]:
    def published() -> Tensor:
        from PIL import Image
        from timm import create_model
        from timm.data import create_transform, resolve_model_data_config

        transform = create_transform(**resolve_model_data_config(create_model(architecture)))
        return torch.stack([transform(Image.fromarray(each.permute(1, 2, 0).numpy())) for each in PHOTOGRAPHS])

    return published


def network(
    name: str, site: str, width: int, published: Callable[[], Tensor], alias: str = "", path: str = ""
) -> tuple[str, Network]:
    # timm's own preprocessing works on bytes, and rounds to them.
    tolerance = 0.01 if name.startswith("timm/") else None
    return name, Network(functools.partial(get, name), site, width, published, alias, path, tolerance)


BUILTIN = [each.network for each in registry.entries().values() if each.carried and each.network]
NETWORKS = dict(
    [
        *(network(name, "conv4_2", 128, imagenet, "conv4_2", "features.20") for name in BUILTIN),
        network("untrained", "conv4_2", 128, imagenet, "pool5", "features.30"),
        network("vgg_face", "conv4_2", 32, vgg_face, "conv5_3", "features.29"),
        network("inceptionresnet_vggface2", "block17_3", 512, facenet, "block17_3", "repeat_2.2"),
        network("inceptionresnet_casia", "mixed_6a.branch0.relu", 512, facenet, "block8_6", "block8"),
        network("mobilefacenet", "bottleneck4", 128, imagenet, "bottleneck4", "features.3"),
        network("torchvision/resnet18", "conv3_2", 512, torchvision("resnet18"), "conv3_2", "layer2.1"),
        network("torchvision/squeezenet1_1", "features.6", 512, torchvision("squeezenet1_1")),
        network("torchvision/mobilenet_v3_small", "features.6", 1024, torchvision("mobilenet_v3_small")),
        network("timm/test_resnet", "conv3_1", 96, timm("test_resnet"), "conv3_1", "layer2.0"),
        network("timm/vit_tiny_patch16_224", "block6", 192, timm("vit_tiny_patch16_224"), "block6", "network.blocks.5"),
    ]
)
LARGE = dict(
    [
        network("torchvision/alexnet", "conv3", 4096, torchvision("alexnet"), "fc7", "classifier.5"),
        network("torchvision/vgg11", "conv3_2", 4096, torchvision("vgg11"), "fc7", "classifier.4"),
        network(
            "torchvision/vit_b_32", "block6", 768, torchvision("vit_b_32"), "block6", "encoder.layers.encoder_layer_5"
        ),
        network("torchvision/inception_v3", "Mixed_6b", 2048, torchvision("inception_v3")),
        network("timm/resnet18", "conv3_2", 512, timm("resnet18"), "conv3_2", "layer2.1"),
    ]
)


def keep_weights_in(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    patch.setenv("FACELESION_WEIGHTS", str(folder))
    patch.setenv("FACELESION_CACHE", str(folder / "cache"))
    patch.setenv("TORCH_HOME", str(folder / "torch"))
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights."""
    return keep_weights_in(tmp_path, monkeypatch)


def put_weights(folder: Path, name: str) -> None:
    """A made-up file of a network's published form."""
    torch.manual_seed(3)
    if name == "vgg_face":
        about = {
            "architecture": "VGGFace",
            "width": 0.0625,
            "size": 224,
            "mean": [value / 255 for value in (129.1863, 104.7624, 93.5940)],
            "std": [1 / 255] * 3,
        }
        tensors = VGGFace(0.0625, outputs=None).state_dict()
        store.save_weights(folder / "vgg_face.safetensors", tensors, about)
    elif name == "mobilefacenet":
        network = MobileFaceNet()
        network(torch.randn(4, 3, 112, 112))  # statistics that are not the ones of the beginning
        torch.save(network.state_dict(), folder / "mobilefacenet.pt")
    elif name.startswith("inceptionresnet"):
        file, people = {
            "inceptionresnet_vggface2": ("20180402-114759-vggface2.pt", 8631),
            "inceptionresnet_casia": ("20180408-102900-casia-webface.pt", 10575),
        }[name]
        readout = {"logits.weight": torch.zeros(people, 512), "logits.bias": torch.zeros(people)}
        torch.save(zoo.inceptionresnet(seed=3).state_dict() | readout, folder / file)


class TestZoo(NetworkTester):
    rows = NETWORKS | LARGE
    slow = (*LARGE, "inceptionresnet_vggface2", "inceptionresnet_casia")

    @pytest.fixture(scope="class")
    def subject(self, name: str, row: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
        if name.startswith("timm/"):
            pytest.importorskip("timm")
        with pytest.MonkeyPatch.context() as patch:
            put_weights(keep_weights_in(tmp_path_factory.mktemp("weights"), patch), name)
            yield row.get()

    def test_has_its_name_and_its_sites_are_listed(
        self, name: str, row: Network, subject: Subject, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert subject.name == name
        assert not any(value.requires_grad for value in subject.module.parameters())
        assert run(["sites", name]) == 0
        assert row.site in capsys.readouterr().out


def test_every_network_of_the_list_is_tested() -> None:
    """A new network is one more line in `NETWORKS`, and one of a new family too."""
    assert set(names()) == {name for name in TestZoo.rows if "/" not in name}
    assert set(zoo.FAMILIES) == {f"{name.partition('/')[0]}/" for name in TestZoo.rows if "/" in name}


@pytest.mark.parametrize("name", ["torchvision/squeezenet1_1", "timm/test_resnet"])
def test_random_weights_are_of_their_seed_and_leave_chance_alone(name: str) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, again, other = get(name), get(name, seed=0), get(name, seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert (one.weights, other.weights) == ("untrained-seed0", "untrained-seed1")
    digests = [store.digest(each.module.state_dict()) for each in (one, again, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vgg_face", ("facelesion weights fetch", "facelesion weights convert", "vgg_face.safetensors")),
        ("mobilefacenet", ("facelesion weights fetch mobilefacenet", "mobilefacenet.pt")),
        ("inceptionresnet_casia", ("facelesion weights fetch inceptionresnet_casia", "casia-webface.pt")),
    ],
)
def test_weights_that_are_not_here_are_one_line_that_says_how_to_get_them(
    folder: Path, name: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(Error) as told:
        get(name)
    assert all(word in str(told.value) for word in (*words, str(folder))) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "no network is called 'resnet'"),
        ("resnet18", "no network is called 'resnet18': did you mean torchvision/resnet18"),
        ("vgg16:IMAGENET1K_V1", "did you mean torchvision/vgg16:IMAGENET1K_V1"),
        ("mobilefacnet", "nearest is mobilefacenet, torchvision/NAME"),
        ("torchvision/resnet81", "torchvision has no classifier 'resnet81': nearest are resnet18"),
        ("torchvision/resnet18:V7", "no weights 'V7': take one of IMAGENET1K_V1"),
        ("timm/test_resnit", "timm has no 'test_resnit': nearest are test_resnet"),
        ("timm/resnet18.a1_in1k", "write timm/resnet18:a1_in1k for trained weights"),
        ("timm/resnet18:V7", "no weights 'V7': take one of"),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest(name: str, message: str) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    with pytest.raises(Error) as told:
        get(name)
    assert message in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["torchvision/squeezenet1_1:IMAGENET1K_V1", "timm/test_resnet:r160_in1k"])
def test_trained_weights_without_a_network_are_one_line(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every address goes to a proxy that is not there."""
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(Error, match="cannot be fetched .*refused.*put the file at") as told:
        get(name)
    assert "\n" not in str(told.value)


def test_trained_weights_of_torchvision_are_read_from_its_own_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    torch.manual_seed(5)
    trained = squeezenet1_1()
    cache = folder / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(trained.state_dict(), cache / "made-up.pth")
    # A file without a hash in its name stands for the published one.
    weights = SqueezeNet1_1_Weights.IMAGENET1K_V1
    made_up = type(weights.value)("http://127.0.0.1:9/made-up.pth", weights.transforms, weights.meta)
    monkeypatch.setattr(weights, "_value_", made_up)
    subject = get("torchvision/squeezenet1_1:IMAGENET1K_V1")
    assert len(subject.weights) == 12 and subject.name.endswith(":IMAGENET1K_V1")
    kept = subject.module.state_dict()
    assert all(torch.equal(value, trained.state_dict()[key]) for key, value in kept.items())


def test_trained_weights_of_timm_are_read_from_the_folder_of_weights(folder: Path) -> None:
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    torch.manual_seed(5)
    trained = timm.create_model("test_resnet")
    (folder / "timm").mkdir()
    save_file(trained.state_dict(), folder / "timm" / "test_resnet.r160_in1k.safetensors")
    subject = get("timm/test_resnet:r160_in1k")
    assert len(subject.weights) == 12
    kept = subject.module.state_dict()
    assert kept and all(torch.equal(value, trained.state_dict()[key]) for key, value in kept.items())


def test_another_networks_weights_under_a_known_name_are_refused(folder: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, folder / "20180402-114759-vggface2.pt")
    with pytest.raises(Error, match="do not fit"):
        get("inceptionresnet_vggface2")


@pytest.mark.shared
def test_mobilefacenet_s_published_weights_are_a_subject(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACELESION_WEIGHTS", str(shared / "data"))
    subject = get("mobilefacenet")
    answer = subject.module(subject.preprocess(PHOTOGRAPHS))
    assert answer.shape == (2, 128) and math.isfinite(float(answer.sum())) and len(subject.weights) == 12
