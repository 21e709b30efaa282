"""Strangers whose weights are not what `forward` reads, or not where one would look."""

from __future__ import annotations

import types
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from zoo import at, pictures, stranger


@stranger(pictures(3, 3, 6, 6), at("0"), at("1"), at("2"), prune=("0", "2", "4"))
def OldWeightNorm() -> nn.Module:
    """`torch.nn.utils.weight_norm`: a hook writes the weight before every forward."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = nn.utils.weight_norm(nn.Conv2d(3, 5, 3))
        second = nn.utils.weight_norm(nn.Conv2d(5, 4, 3), dim=None)
    return nn.Sequential(first, nn.LeakyReLU(), second, nn.Flatten(), nn.Linear(16, 3))


@stranger(pictures(3, 3, 6, 6), at("0"), at("1"), at("3"), prune=("0", "3"))
def NewWeightNorm() -> nn.Module:
    """`torch.nn.utils.parametrizations.weight_norm`."""
    return nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(3, 5, 3)), nn.SiLU(), nn.Flatten(),
        parametrizations.weight_norm(nn.Linear(80, 3)),
    )  # fmt: skip


@stranger(pictures(3, 3, 6, 6), at("0"), at("1"), at("3"), prune=("0", "3", "5"))
def SpectralNorms() -> nn.Module:
    """Spectral norm, old (a hook) and new (a parametrization), as in GAN discriminators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = nn.utils.spectral_norm(nn.Conv2d(3, 5, 3))
    return nn.Sequential(
        old, nn.LeakyReLU(0.2), nn.AdaptiveMaxPool2d(2), parametrizations.spectral_norm(nn.Conv2d(5, 4, 2)),
        nn.Flatten(),
        parametrizations.orthogonal(nn.Linear(4, 4)),
    )  # fmt: skip


@stranger(pictures(3, 6), at("0"), at("1"), at("2"), prune=("0", "2"))
def PrunedBefore() -> nn.Module:
    """`torch.nn.utils.prune`: the weight is a product of a parameter and a mask, made by a hook."""
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    prune.l1_unstructured(model[0], "weight", amount=0.3)
    prune.ln_structured(model[2], "weight", amount=0.4, n=2, dim=1)
    return model


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).transpose(-1, -2)


@stranger(pictures(3, 5), at("0"), at("1"), at("2"), prune=("0", "2"))
def OwnParametrization() -> nn.Module:
    """A parametrization of one's own: a symmetric weight."""
    model = nn.Sequential(nn.Linear(5, 5), nn.Softplus(), nn.Linear(5, 3))
    parametrize.register_parametrization(model[0], "weight", Symmetric())
    return model


class StandardisedConv2d(nn.Conv2d):
    """A convolution that standardises its weight on the way (BiT); what is pruned is what it holds."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight
        weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / (
            weight.std((1, 2, 3), keepdim=True) + 1e-5
        )
        return self._conv_forward(input, weight, self.bias)


class EqualisedLinear(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.randn(outputs, inputs)),
            nn.Parameter(torch.zeros(outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * (2 / self.weight.shape[1]) ** 0.5, self.bias)


@stranger(pictures(3, 3, 6, 6), at("0"), at("1"), at("3"), prune=("0", "3"))
def WeightsMadeOnTheWay() -> nn.Module:
    """Layers of one's own that standardise or scale their weights inside forward."""
    return nn.Sequential(
        StandardisedConv2d(3, 5, 3), nn.GroupNorm(1, 5), nn.Flatten(), EqualisedLinear(80, 4)
    )


@stranger(
    torch.tensor([[1, 4, 2, 0], [3, 3, 1, 2], [5, 0, 4, 4]]),
    at("words", 2),
    at("mix", 2),
    at("back", 2),
    prune=("words", "mix", "back"),
)
class Tied(nn.Module):
    """One weight in two modules, embedding and readout: a lesion of one is not one of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.mix, self.back = nn.Embedding(6, 5), nn.Linear(5, 5), nn.Linear(5, 6, bias=False)
        self.back.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.back(torch.tanh(self.mix(self.words(x))))


def _louder(self: Any, x: Tensor) -> Tensor:
    return 2 * F.linear(x, self.weight, self.bias)


@stranger(pictures(3, 6), at("0"), at("1"), at("2"), prune=("0", "2"))
def ReplacedForward() -> nn.Module:
    """Somebody replaced `forward` on the module itself (monkey patching)."""
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    model[0].forward = types.MethodType(_louder, model[0])
    old = model[2].forward
    model[2].forward = lambda x: old(x) + 1
    return model


@stranger(
    pictures(3, 6),
    at(
        "first",
        alone="its parent reads its weight and never calls it",
        together="never called",
        sweep="",
        each_unit="",
    ),
    at("out"),
    prune=("out",),
)
class WeightReadByParent(nn.Module):
    """A parent that reads a child's weight and never calls the child."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(F.linear(x, self.first.weight, self.first.bias)))


class Steady:
    """Weights that are the same whenever they are made."""

    def reset_parameters(self: Any) -> None:
        for parameter in () if self.has_uninitialized_params() else self.parameters():
            with torch.no_grad():
                parameter.copy_(torch.sin(torch.arange(parameter.numel()) * 1.7).view_as(parameter))


class SteadyLazyConv2d(Steady, nn.LazyConv2d):  # type: ignore[misc]
    cls_to_become = nn.Conv2d  # type: ignore[assignment]


class SteadyLazyLinear(Steady, nn.LazyLinear):  # type: ignore[misc]
    cls_to_become = nn.Linear  # type: ignore[assignment]


@stranger(pictures(3, 3, 6, 6), at("0"), at("1"), at("3"), prune=("0", "3"))
def Lazy() -> nn.Module:
    """Lazy layers, which have no weights before the first forward."""
    return nn.Sequential(SteadyLazyConv2d(5, 3), nn.ReLU(), nn.Flatten(), SteadyLazyLinear(3))


@stranger(
    pictures(3, 6),
    at("layers.0"),
    at("adapted", 1),
    at("adapted.base"),
    at("layers.1"),
    prune=("adapted.base",),
)
class Adapted(nn.Module):
    """LoRA: a frozen layer inside a wrapper, and small weights in a ParameterList."""

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(5, 5).requires_grad_(False)
            self.low = nn.ParameterList([torch.randn(5, 2), torch.randn(2, 5)])

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + x @ self.low[0] @ self.low[1]

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 5), nn.Linear(5, 3)])
        self.adapted = self.Wrapper()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[1](F.gelu(self.adapted(self.layers[0](x))))


class FrozenConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(5, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight)


@stranger(pictures(3, 3, 6, 6), at("0"), at("1"), at("3"), prune=("0", "3"))
def WeightInABuffer() -> nn.Module:
    """A fixed filter bank whose weights are a buffer."""
    return nn.Sequential(FrozenConv(), nn.Hardtanh(), nn.Flatten(), nn.Linear(80, 3))


@stranger(
    pictures(3, 6),
    at("code", rows=None, random="a weight has no image", together="a weight has no rows"),
    at("out"),
    prune=("out",),
)
class HyperNetwork(nn.Module):
    """A layer that makes the weights of another from a learned code: its output has no images."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds, self.code, self.out = nn.Parameter(torch.randn(4, 2)), nn.Linear(2, 6), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(F.linear(x, self.code(self.seeds))))


@stranger(pictures(3, 6).double(), at("0"), at("2"), prune=("0",))
def Double() -> nn.Module:
    """A network in double precision."""
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@stranger(pictures(3, 3, 6, 6).bfloat16(), at("0"), at("2"), at("4"), prune=("0", "4"), tolerance=4e-2)
def Half() -> nn.Module:
    """A network in bfloat16."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.GroupNorm(1, 5), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3)
    ).bfloat16()
