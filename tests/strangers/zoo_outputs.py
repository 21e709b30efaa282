"""Strangers that answer with something else than one tensor, or whose units meet each other in odd ways."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import at, pictures, stranger


@stranger(
    pictures(3, 6),
    at("body", output="features"),
    at("body->logits", output="logits"),
    at("out"),
    prune=("body.first", "out"),
    answer=lambda output: output["logits"],
)
class Named(nn.Module):
    """Dictionaries inside and as the answer."""

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 5), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"name": "body", "features": self.first(x), "logits": self.second(x)}

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = self.Body(), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x)
        return {"logits": self.out(torch.cat([y["features"], y["logits"]], 1)), "features": y["features"]}


@stranger(
    pictures(3, 3, 6, 6),
    at("stem"),
    at("two", output=0),
    at("two->1.0", output=(1, 0)),
    at("out"),
    prune=("stem", "out"),
    answer=lambda output: torch.cat([output[0], output[2][0]], 1),
)
class TuplesAndNone(nn.Module):
    """Tuples with None and lists in them."""

    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], None]:
            return x.mean((2, 3)), [x.amax((2, 3))], None

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.two, self.out = nn.Conv2d(3, 5, 3), self.Two(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, None, list[Tensor]]:
        mean, (largest,), nothing = self.two(self.stem(x))
        return self.out(mean), nothing, [self.out(largest).square()]


class Pair(NamedTuple):
    mean: Tensor
    spread: Tensor


@stranger(
    pictures(3, 6),
    at("encoder", output=0),
    at("encoder->1", output=1),
    at("encoder.spread"),
    at("out"),
    prune=("encoder.mean",),
    answer=lambda output: output.mean + output.spread,
)
class NamedTuples(nn.Module):
    """A variational encoder that answers with a named tuple."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.spread = nn.Linear(6, 4), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Pair:
            return Pair(self.mean(x), F.softplus(self.spread(x)))

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.out = self.Encoder(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Pair:
        mean, spread = self.encoder(x)
        return Pair(self.out(mean), self.out(spread).exp())


@dataclass
class Output:
    logits: Tensor
    hidden: tuple[Tensor, ...] | None = None


@stranger(
    pictures(3, 4, 6),
    at("model", 2, output="logits"),
    at("model->hidden.0", 2, output=("hidden", 0)),
    at("model.first", 2),
    at("head"),
    prune=("model.first", "head"),
    answer=lambda output: output.logits,
)
class Dataclasses(nn.Module):
    """Dataclasses as outputs, inside and outside, as in libraries of language models."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Output:
            hidden = self.first(x)
            return Output(self.second(torch.tanh(hidden)), (hidden,))

    def __init__(self) -> None:
        super().__init__()
        self.model, self.head = self.Model(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Output:
        y = self.model(x)
        assert y.hidden is not None
        return Output(self.head((y.logits + y.hidden[0]).mean(1)))


@stranger(
    pictures(3, 3, 8, 8),
    at("layers.0"),
    at("layers.1"),
    at("pyramid", output="1"),
    at("pyramid->0", output="0"),
    prune=("layers.1",),
)
class Pyramid(nn.Module):
    """Ordered dictionaries of maps of several sizes, in containers of containers."""

    class Merge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lateral = nn.ModuleDict(
                {"a": nn.ModuleList([nn.Conv2d(4, 3, 1)]), "b": nn.ModuleList([nn.Conv2d(6, 3, 1)])}
            )

        def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
            small = self.lateral["b"][0](x["1"])
            large = self.lateral["a"][0](x["0"]) + F.interpolate(small, scale_factor=2.0)
            return OrderedDict([("1", small), ("0", large)])

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)])
        self.pyramid = self.Merge()

    def forward(self, x: Tensor) -> Tensor:
        maps: dict[str, Tensor] = OrderedDict()
        for number, layer in enumerate(self.layers):
            x = layer(x)
            maps[str(number)] = x
        merged = self.pyramid(maps)
        return torch.cat([merged["0"].mean((2, 3)), merged["1"].amax((2, 3))], 1)


@stranger(
    pictures(3, 6),
    at("first"),
    at("out"),
    at(
        "spy",
        alone="its output is None",
        together="its output is None",
        sweep="its output is None",
        each_unit="its output is None",
    ),
    prune=("first",),
)
class WritesInPlace(nn.Module):
    """A module that answers with nothing, and works by writing on what it is given."""

    class Spy(nn.Module):
        def forward(self, x: Tensor) -> None:
            x.clamp_(min=-0.2).mul_(2)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.spy, self.out = nn.Linear(6, 5), self.Spy(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        self.spy(y)
        return self.out(y)


@stranger(
    pictures(3, 2, 8),
    at("lift", 1),
    at(
        "fourier",
        alone="complex numbers",
        together="complex numbers",
        sweep="complex numbers",
        each_unit="complex numbers",
    ),
    at("back@1"),
    at("out", units=2),
    prune=("lift", "out"),
)
class Fourier(nn.Module):
    """A Fourier layer: complex numbers inside."""

    class Transform(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x)

    class Inverse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 3, 5, dtype=torch.complex64))

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft(torch.einsum("ncf,cdf->ndf", x, self.weight), n=8)

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.fourier, self.back, self.out = (
            nn.Conv1d(2, 3, 1),
            self.Transform(),
            self.Inverse(),
            nn.Linear(8, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x)
        return self.out(F.gelu(x + self.back(self.fourier(x)))).flatten(1)


@stranger(pictures(3, 3, 5, 5), at("one"), at("two"), at("relu"), at("out"), prune=("one", "two"))
class Shuffled(nn.Module):
    """ShuffleNet: channels change their places, half of them go another way."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.relu = nn.Conv2d(3, 8, 1), nn.ReLU(inplace=True)
        self.two, self.out = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.one(x))
        stay, go = x.chunk(2, dim=1)
        x = torch.cat((stay, self.two(go)), dim=1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return self.out(x).mean([2, 3])


@stranger(
    pictures(3, 3, 5, 5),
    at("first"),
    at("blocks.0"),
    at("blocks.1.conv"),
    at("out"),
    prune=("blocks.1.conv",),
)
class Dense(nn.Module):
    """DenseNet: every block appends its channels to all before."""

    class Block(nn.Module):
        def __init__(self, inputs: int) -> None:
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, self.conv(F.relu(self.norm(x), inplace=True))], 1)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.blocks, self.out = nn.Sequential(self.Block(4), self.Block(7)), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.flatten(F.adaptive_avg_pool2d(self.blocks(self.first(x)), 1), 1))


@stranger(pictures(3, 3, 5, 5), at("first"), at("norm"), at("second"), prune=("first", "second"))
class UnitsTogether(nn.Module):
    """Units that meet: across-channel normalisation, softmax over channels, both signs, maxout, order turned round."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(3, 6, 3), nn.LocalResponseNorm(3), nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        x = torch.cat([x, -x], 1).relu().flip(1)
        x = self.second(x * x.softmax(1))
        return x.view(x.shape[0], 2, 2, 3, 3).max(2)[0].flatten(1)


@stranger(
    pictures(3, 3, 6, 6), at("first"), at("relu"), at("pool"), at("deep"), at("out"), prune=("first", "deep")
)
class UNet(nn.Module):
    """A path down and up with a shortcut across, transposed convolution, unpooling by indices."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.deep, self.up, self.out = (
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ConvTranspose2d(4, 4, 2, 2),
            nn.Conv2d(12, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        y, places = self.pool(x)
        y = self.deep(y)
        return self.out(torch.cat([x, self.unpool(y, places), self.up(y)], 1))


@stranger(pictures(3, 3, 5, 5), at("first"), at("act"), at("flat"), at("out"), prune=("first", "out"))
class Views(nn.Module):
    """`.view`, `.as_strided`, slices and in-place steps on them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.flat, self.out = (
            nn.Conv2d(3, 4, 2),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(64, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x).view(x.shape[0], 4, 4, 4))
        x = x.contiguous().as_strided((x.shape[0], 4, 4, 4), (64, 16, 1, 4))
        x = x.clone()
        x[:, 0] += 1
        x[:, 1].mul_(2)
        y = self.flat(x)
        return self.out(y.view(-1, 64))


@stranger(pictures(3, 3, 6, 6), at("first"), at("act"), at("out"), prune=("first", "out"))
class ViewOfAMap(nn.Module):
    """`.view` straight behind a convolution, which holds only while maps are laid out channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.out = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.first(x)).view(x.size(0), -1))


@stranger(pictures(3, 3, 6, 6), at("first"), at("act"), at("second"), prune=("second",))
class InPlaceResidual(nn.Module):
    """In-place steps on values that are read again: `+=`, ReLU in place, a shortcut into the changed one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(True),
            nn.Conv2d(4, 4, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        shortcut = y
        y = self.act(y)
        z = self.second(y)
        z += shortcut
        torch.sigmoid_(z)
        return z.add_(y.mean((2, 3), keepdim=True)).amax((2, 3))


@stranger(pictures(3, 3, 6, 6), at("0"), at("1"), at("2"), at("3"), at("5"), prune=("0", "5"))
def InPlaceAfterEverything() -> nn.Module:
    """In-place ReLUs behind everything that may be damaged, as torchvision has them."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Hardswish(inplace=True), nn.Dropout(0.5, inplace=True),
        nn.Flatten(),
        nn.Linear(64, 5), nn.ReLU(inplace=True), nn.Linear(5, 3),
    )  # fmt: skip


@stranger(
    pictures(3, 6),
    at("heads.2"),
    at("stem"),
    at("heads.0"),
    prune=("stem", "heads.1"),
    answer=lambda output: torch.stack(output, 1),
)
class ManyHeads(nn.Module):
    """A list of answers, one from each depth."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.heads = nn.Linear(6, 5), nn.ModuleList(nn.Linear(5, 3) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.stem(x)
        return [head(y * (depth + 1)) for depth, head in enumerate(self.heads)]
