"""The zoo: small instances of very different networks, each with a site to damage and images to see."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A network in evaluation mode, images for it, a site with many units, and one with incoming weights."""

    model: nn.Module
    images: Tensor
    site: str
    weights: str
    axis: int = 1
    batch: int = 0


class Toy(nn.Module):
    """One ReLU used three times, in place; a block with a tuple and one with a dict as output; a shared linear."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(12, 6), nn.Linear(12, 5)

        def forward(self, x: Tensor) -> tuple[str, Tensor, list[Tensor]]:
            return "not a tensor", self.one(x), [self.two(x)]

    class Named(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"same": x, "double": 2 * x}

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.deep = nn.Conv2d(8, 8, 3, padding=1)
        self.flat = nn.Linear(8, 12)
        self.pair, self.named = self.Pair(), self.Named()
        self.out = nn.Linear(11, 4)

    def forward(self, images: Tensor) -> Tensor:
        y = self.relu(self.conv(images))
        y = self.relu(self.deep(y)).mean((2, 3))
        _, one, (two,) = self.pair(self.relu(self.flat(y)))
        named = self.named(torch.cat([one, two], 1))
        return self.out(named["same"] + named["double"])


class Recurrent(nn.Module):
    """An LSTM that counts images along axis 1, read at its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 6)
        self.lstm = nn.LSTM(6, 7)
        self.out = nn.Linear(7, 3)

    def forward(self, images: Tensor) -> Tensor:
        y, (state, _) = self.lstm(self.embed(images).transpose(0, 1))
        return self.out(y.mean(0) + state[-1])


def _vgg() -> Case:
    from torchvision.models.vgg import cfgs, make_layers

    class VGG16(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [each if each == "M" else each // 4 for each in cfgs["D"]]
            self.features = make_layers(widths)
            self.head = nn.Linear(128, 5)
            for layer in self.features:
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.features(images).flatten(1))

    return Case(VGG16(), torch.randn(3, 3, 32, 32), "conv4_3", "conv4_3")


def _resnet() -> Case:
    from torchvision.models import resnet18

    return Case(
        resnet18(weights=None, num_classes=5), torch.randn(3, 3, 40, 40), "layer3.1.relu", "layer3.1.conv2"
    )


def _mobilenet() -> Case:
    from torchvision.models import mobilenet_v3_small

    model = mobilenet_v3_small(weights=None, num_classes=5)
    return Case(model, torch.randn(3, 3, 48, 48), "features.6", "features.6.block.0.0")


def _vit() -> Case:
    from torchvision.models import VisionTransformer

    # ViT-B/16 with two of its twelve layers.
    model = VisionTransformer(32, 16, num_layers=2, num_heads=12, hidden_dim=768, mlp_dim=3072, num_classes=5)
    nn.init.normal_(model.heads.head.weight, std=0.05)
    site = "encoder.layers.encoder_layer_0.mlp.1"
    return Case(model, torch.randn(3, 3, 32, 32), site, "encoder.layers.*.mlp.0", axis=2)


def _inception() -> Case:
    from facenet_pytorch import InceptionResnetV1

    model = InceptionResnetV1(pretrained=None, classify=False)
    return Case(model, torch.randn(3, 3, 80, 80), "repeat_2.4.relu", "repeat_2.4.conv2d")


ZOO = {
    "vgg16": _vgg,
    "resnet18": _resnet,
    "mobilenetv3": _mobilenet,
    "vit": _vit,
    "inceptionresnet": _inception,
    "lstm": lambda: Case(Recurrent(), torch.randn(3, 4, 5), "lstm", "embed", axis=2, batch=1),
    "toy": lambda: Case(Toy(), torch.randn(3, 3, 9, 9), "relu[1]", "deep"),
}


@pytest.fixture(scope="session")
def zoo():
    """How each network of the zoo is made."""
    return ZOO


@pytest.fixture(scope="session", params=ZOO)
def case(request: pytest.FixtureRequest) -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        case = ZOO[request.param]()
    case.model.eval()
    return case


@pytest.fixture
def toy() -> Toy:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Toy().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 9, 9, generator=torch.Generator().manual_seed(1))
