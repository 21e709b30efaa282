"""MobileFaceNet (Chen et al. 2018): a small face recogniser, used as the teacher and as an outside judge of faces."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from facelesion.weights import store

# Inverted residual stages: expansion, channels, how many, stride of the first (Sandler et al. 2018 notation).
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def _convolution(before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU6(inplace=True),
    )


class _Bottleneck(nn.Module):
    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = before * expansion
        self.residual = stride == 1 and before == after
        self.conv = nn.Sequential(
            _convolution(before, hidden),
            _convolution(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class _Separable(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.pointwise(self.bn1(self.depthwise(x)).relu())).relu()


class _GlobalDepthwise(nn.Module):
    """One weight per channel and place of the last 7×7 map: the network knows where in the face a feature was."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.depthwise(x))


class MobileFaceNet(nn.Module):
    """Aligned 112-pixel RGB faces, ImageNet's mean and deviation, to a 128-d identity embedding (not normalised).

    `site_aliases` names the rows of the paper's table: `bottleneck1` ... `bottleneck15`, `embedding`.

    The layout fits the published state dict of foamliu/MobileFaceNet (Apache-2.0): about 99 % on LFW's pairs.

    Example:
        >>> MobileFaceNet().eval()(torch.zeros(1, 3, 112, 112)).shape
        torch.Size([1, 128])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 64, kernel=3, stride=2)
        self.dw_conv = _Separable(64)
        blocks, before = [], 64
        for expansion, after, count, stride in _STAGES:
            for number in range(count):
                blocks.append(_Bottleneck(before, after, stride if number == 0 else 1, expansion))
                before = after
        self.features = nn.Sequential(*blocks)
        self.conv2 = _convolution(before, 512)
        self.gdconv = _GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, 128, 1)
        self.bn = nn.BatchNorm2d(128)
        # The rows of the paper's table 1, block by block.
        self.site_aliases = {
            "conv1_relu": "conv1.2",
            "depthwise": "dw_conv",
            **{f"bottleneck{number + 1}": f"features.{number}" for number in range(len(blocks))},
            "embedding": "bn",
        }

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv2(self.features(self.dw_conv(self.conv1(images))))
        return torch.flatten(self.bn(self.conv3(self.gdconv(maps))), 1)


def read_mobilefacenet(path: str | Path) -> MobileFaceNet:
    """MobileFaceNet with the weights of a PyTorch state dict; code in the file is never run.

    Raises:
        Error: no such file, not a state dict, or not of this network.
    """
    tensors = store.read_state_dict(path)
    network = MobileFaceNet()
    store.fit(network, tensors, str(path))
    return network.eval()


def for_speed(network: MobileFaceNet) -> nn.Module:
    """The same answers sooner: normalisation folded into the convolutions, channels last."""
    from torch.fx.experimental.optimization import fuse

    return fuse(network).to(memory_format=torch.channels_last)
