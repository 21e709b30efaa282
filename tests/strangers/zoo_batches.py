"""Strangers that do something to the batch: fold other axes into it, cut it, double it, mix its rows."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import at, pictures, stranger

# Whoever mixes images has no answer of one image to compare, and a sweep would mix the lesions of its rows.
MIXES = {
    "sweep": "the images of a batch are not independent",
    "each unit": "the images of a batch are not independent",
}
ROWS = "its rows are not those of the batch, so nobody can tell which image or lesion a row belongs to"


def _windows(x: Tensor, size: int) -> Tensor:
    n, h, w, c = x.shape
    x = x.view(n, h // size, size, w // size, size, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, size * size, c)


@stranger(
    pictures(3, 3, 8, 8),
    at("patch"),
    at("norm", 3),
    at("qkv", 2, random=ROWS, together=ROWS, sweep_random=ROWS),
    at("proj", 2, random=ROWS, together=ROWS, sweep_random=ROWS),
    at("head"),
    prune=("patch", "qkv", "head"),
)
class Windows(nn.Module):
    """Swin: windows of the map are folded into the batch and out again."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.norm = nn.Conv2d(3, 6, 2, 2), nn.LayerNorm(6)
        self.qkv, self.proj, self.head = nn.Linear(6, 18), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.patch(x).permute(0, 2, 3, 1))
        q, k, v = self.qkv(_windows(x, 2)).chunk(3, -1)
        y = self.proj(F.scaled_dot_product_attention(q, k, v))
        return self.head(x.mean((1, 2)) + y.view(len(x), -1, 6).amax(1))


@stranger(
    pictures(3, 4, 3, 5, 5),
    at("conv", random=ROWS, together=ROWS, sweep_random=ROWS),
    at("norm", random=ROWS, together=ROWS, sweep_random=ROWS),
    at("over_time", 2),
    at("out"),
    prune=("conv", "out"),
)
class Frames(nn.Module):
    """A film's frames go through a picture network as one large batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.over_time, self.out = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.conv(x.flatten(0, 1)))).mean((2, 3))
        return self.out(self.over_time(y.unflatten(0, x.shape[:2]))[1][-1])


@stranger(
    pictures(3, 3, 5, 5),
    at("conv", random=ROWS, together=ROWS, sweep_random=ROWS),
    at("relu", random=ROWS, together=ROWS, sweep_random=ROWS),
    at("out"),
    prune=("conv", "out"),
)
class Mirrored(nn.Module):
    """Every image and its mirror image in one batch: first all images, then all mirrored ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.out = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.conv(torch.cat([x, x.flip(-1)]))).amax((2, 3))
        one, two = y.chunk(2)
        return self.out(one) - self.out(two.square())


@stranger(
    pictures(4, 3, 5, 5),
    at("conv"),
    at("head", random=ROWS, together=ROWS, sweep_random=ROWS),
    at("norm", 1),
    prune=("head",),
)
class InChunks(nn.Module):
    """A costly part sees the batch in pieces of two."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head, self.norm = nn.Conv2d(3, 6, 3), nn.Linear(6, 4), nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mean((2, 3))
        return self.norm(torch.cat([self.head(piece) for piece in x.split(2)]))


@stranger(
    pictures(3, 3, 5, 5),
    at("conv@0", 0, rows=None, random=ROWS, together=ROWS, sweep_random=ROWS),
    at("out"),
    prune=("conv", "out"),
)
class OneByOne(nn.Module):
    """A loop over images, each without a batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.stack([self.conv(image).amax((1, 2)) for image in x]))


@stranger(
    pictures(3, 3, 5, 5),
    at("conv", 0, rows=None, alone=ROWS, together=ROWS, sweep=ROWS, each_unit=ROWS),
    at("out"),
    prune=(),
)
class OneByOneUnsaid(OneByOne):
    """A loop over images without a batch axis, and nobody says that channels come first then."""


@stranger(
    pictures(3, 3, 5, 5),
    at("conv", random=ROWS, together=ROWS, sweep_random=ROWS),
    at("out"),
    prune=("conv",),
)
class BatchesOfOne(OneByOne):
    """A loop over images, each a batch of one."""

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.conv(image[None]).amax((2, 3)) for image in x]))


def _both(model: nn.Module, x: Tensor) -> Any:
    return model(x[:, 0], x[:, 1])


@stranger(
    pictures(3, 2, 6),
    at("tower.0"),
    at("tower.1[1]"),
    at("tower"),
    at("out"),
    prune=("tower.0", "out"),
    run=_both,
    refused={"sweep": "a sweep gives a network one batch", "each unit": "a sweep gives a network one batch"},
)
class Siamese(nn.Module):
    """Two inputs through one tower."""

    def __init__(self) -> None:
        super().__init__()
        self.tower, self.out = nn.Sequential(nn.Linear(6, 5), nn.Tanh()), nn.Linear(5, 3)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        return self.out((self.tower(one) - self.tower(two)).abs())


@stranger(
    pictures(3, 4, 6),
    at("net.0", alone=ROWS, together=ROWS, sweep=ROWS, each_unit=ROWS),
    at("out"),
    prune=("out",),
)
class Vmapped(nn.Module):
    """`torch.func.vmap` inside forward: the network inside sees one image without an axis of images."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.out = nn.Sequential(nn.Linear(6, 5), nn.Tanh()), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.func.vmap(self.net)(x).mean(1))


@stranger(
    pictures(3, 3, 6, 6),
    at("0"),
    at("1"),
    at("2"),
    prune=("0", "3"),
    alone=False,
    refused=MIXES,
)
def WithoutRunningStatistics() -> nn.Module:
    """Batch norm without running statistics: the batch's own, in evaluation too."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, track_running_stats=False), nn.ReLU(), nn.Conv2d(5, 3, 3), nn.Flatten(),
    )  # fmt: skip


@stranger(pictures(3, 6), at("first"), at("out"), prune=("first",), alone=False, refused=MIXES)
class Centred(nn.Module):
    """The batch's mean is taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.out(x - x.mean(0, keepdim=True))


@stranger(pictures(4, 3, 6, 6), at("conv"), at("out"), prune=("out",), alone=False, refused=MIXES)
class BatchDeviation(nn.Module):
    """A discriminator that appends the batch's deviation to every image (StyleGAN)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 5, 3), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        spread = x.std(0, unbiased=False).mean().expand(len(x), 1, *x.shape[2:])
        return self.out(torch.cat([x, spread], 1)).flatten(1)


@stranger(pictures(3, 6), at("first"), prune=("first",), alone=False, refused=MIXES)
class Likeness(nn.Module):
    """Every image is compared with every other of the batch: (images, images)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.normalize(self.first(x), dim=-1)
        return x @ x.T


@stranger(
    pictures(3, 5, 8),
    at("encoder.linear1", 2),
    at("encoder", 2),
    at("out"),
    prune=("out",),
    alone=False,
    refused=MIXES,
)
class AttendsAcrossImages(nn.Module):
    """A common mistake: `batch_first` forgotten, so that attention runs over images."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.out = nn.TransformerEncoderLayer(8, 2, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(x).mean(1))


@stranger(pictures(4, 6), at("first"), at("out"), prune=("first",), alone=False, refused=MIXES)
class Shifted(nn.Module):
    """Every image is answered with its neighbour's features too (a temporal shift along the batch)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.out(torch.cat([x[:, :3], x[:, 3:].roll(1, 0)], 1))


@stranger(pictures(3, 6), at("first"), at("out"), prune=("first",), alone=False, refused=MIXES)
class LoudestImage(nn.Module):
    """The batch's largest activation is its unit of measure."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.out(x / x.abs().amax())


@stranger(pictures(3, 6), at("norm"), at("out"), prune=("out",), mode="train", alone=False, refused=MIXES)
class StillTraining(nn.Module):
    """Batch norm in training mode: a batch's own statistics, and buffers that change."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(x))


@stranger(
    pictures(3, 3, 6, 6),
    at("0"),
    at("1"),
    at("2"),
    at("4"),
    prune=("0", "3"),
)
def GroupNorms() -> nn.Module:
    """Group and instance norms: units hang together within an image."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.GroupNorm(3, 6), nn.ELU(), nn.Conv2d(6, 4, 3),
        nn.InstanceNorm2d(4, affine=True), nn.Flatten(),
    )  # fmt: skip
