from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from facelesion.lesions import Calibration, Lesion, lesioned
from facelesion.sweep import sweep


class Toy(nn.Module):
    """A module that runs twice, functional steps, a count of images, a second argument, an in-place step."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.twice = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.late = nn.Conv2d(8, 6, 3, stride=2)
        self.head = nn.Linear(6, 4)

    def forward(self, images: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        count = images.shape[0]
        x = self.twice(self.stem(images * 2 - 1))
        x = self.twice(self.block(x) + x)
        x = torch.relu(self.late(x)).mean((2, 3))
        if scale is not None:
            x = x * scale
        return self.head(x.reshape(count, -1))


def toy_vgg() -> nn.Module:
    from facelesion.models.vgg import VGGFace

    return VGGFace(width=0.125, outputs=5)


def toy_vit() -> nn.Module:
    network = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    nn.init.normal_(network.heads[0].weight)  # type: ignore[arg-type, index]
    return network


def facenet() -> nn.Module:
    from facenet_pytorch import InceptionResnetV1

    return InceptionResnetV1()


# Name to: how to make it, size of its images, sites to damage.
ZOO: dict[str, tuple[Callable[[], nn.Module], int, tuple[str, ...]]] = {
    "toy": (Toy, 12, ("stem", "block.0", "block", "twice", "late")),
    "vgg": (toy_vgg, 32, ("conv1_1", "conv2_2", "features.14", "conv4_3", "pool4", "conv5_3", "conv5_*")),
    "resnet": (
        torchvision.models.resnet18,
        32,
        ("relu", "layer1.0", "layer2.0.conv1", "layer3", "layer4.1.bn2"),
    ),
    "mobilenet": (
        torchvision.models.mobilenet_v3_small,
        32,
        ("features.0", "features.3.block.1", "features.11.block.1"),
    ),
    "vit": (
        toy_vit,
        32,
        ("conv_proj", "encoder.layers.*.mlp.0", "encoder.layers.encoder_layer_1", "encoder.ln"),
    ),
    "facenet": (facenet, 80, ("conv2d_4b.relu", "repeat_2.4", "mixed_7a.branch0", "last_bn")),
}


def settled(network: nn.Module, size: int) -> nn.Module:
    """A network whose activations neither vanish nor explode, so that a wrong answer shows."""
    torch.manual_seed(0)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(8, 3, size, size))
    return network.eval()


@pytest.fixture(scope="session", params=list(ZOO))
def zoo(request: pytest.FixtureRequest) -> tuple[nn.Module, torch.Tensor, tuple[str, ...]]:
    make, size, sites = ZOO[request.param]
    torch.manual_seed(0)
    network = settled(make(), size)
    return network, torch.rand(5, 3, size, size), sites


@pytest.fixture(scope="session")
def vgg() -> nn.Module:
    torch.manual_seed(0)
    return settled(toy_vgg(), 32)


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(5, 3, 32, 32)


@pytest.fixture
def loss() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """What a task loses on each of `images`: which of five classes is it?"""
    labels = torch.tensor([0, 3, 1, 4, 2])

    def cross_entropy(outputs: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs.float(), labels[numbers], reduction="none")

    return cross_entropy


@pytest.fixture(scope="session")
def naive() -> Callable[..., torch.Tensor]:
    """The oracle: the whole network, one lesion, plain hooks."""

    def run(
        network: nn.Module,
        lesion: Lesion | None,
        images: torch.Tensor,
        *,
        seed: int = 0,
        calibration: Calibration | None = None,
        ids: torch.Tensor | None = None,
        batch_size: int = 16,
    ) -> torch.Tensor:
        with torch.no_grad(), lesioned(network, lesion, seed=seed, calibration=calibration, ids=ids):
            return torch.cat([network(batch) for batch in images.split(batch_size)])

    return run


@pytest.fixture(scope="session")
def close() -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Equal to 1e-5 of the largest value."""

    def check(found: torch.Tensor, wanted: torch.Tensor) -> None:
        assert found.shape == wanted.shape
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()) + 1e-12)

    return check


@pytest.fixture(scope="session")
def swept_as_naive(naive, close) -> Callable[..., dict[str, torch.Tensor]]:
    """A sweep's outputs, which must be the oracle's under every lesion."""

    def check(
        network: nn.Module, lesions: Mapping[str, Lesion | None], images: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        outputs = sweep(network, lesions, images)
        for name, lesion in lesions.items():
            close(outputs[name], naive(network, lesion, images))
        return outputs

    return check


@pytest.fixture(scope="session")
def multiply_adds() -> Callable[[], Iterator[Callable[[], int]]]:
    """Counts the multiply-adds that are really done inside a `with` block."""

    @contextmanager
    def counting() -> Iterator[Callable[[], int]]:
        with FlopCounterMode(display=False) as counter:
            yield lambda: counter.get_total_flops() // 2

    return counting  # type: ignore[return-value]
