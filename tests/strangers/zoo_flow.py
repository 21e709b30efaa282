"""Strangers that run in odd ways: again and again, not at all, interrupted, compiled, hooked, changed by running."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from zoo import at, pictures, stranger


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(width, width), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.act(self.linear(x))


@stranger(
    pictures(3, 6),
    at("blocks.0"),
    at("blocks.0.linear"),
    at("blocks.1.act"),
    at("out"),
    prune=("blocks.0.linear",),
)
class Checkpointed(nn.Module):
    """Activation checkpointing, without reentrance: blocks run again in the backward pass."""

    reentrant = False

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.out = nn.ModuleList([Block(6), Block(6)]), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.out(x)


@stranger(
    pictures(3, 6),
    at("blocks.0"),
    at("blocks.0.linear"),
    at("blocks.1.act"),
    at("out"),
    prune=("blocks.1.linear",),
)
class CheckpointedReentrant(Checkpointed):
    """Activation checkpointing of the old kind, reentrant."""

    reentrant = True


@stranger(
    pictures(3, 3, 6, 6), at("relu"), at("relu[1]"), at("second"), at("relu[2]"), prune=("first", "second")
)
class SharedReLU(nn.Module):
    """One in-place ReLU everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.first, self.second, self.third = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.third(self.relu(self.second(self.relu(self.first(x)))))).flatten(1)


@stranger(pictures(3, 6), at("again"), at("block"), at("block.linear[2]"), at("out"), prune=("block.linear",))
class SharedBlock(nn.Module):
    """One block under two names, run again and again (ALBERT)."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block(6)
        self.again, self.out = self.block, nn.Linear(6, 3)

    def forward(self, x: Tensor, times: int = 2) -> Tensor:
        for _ in range(times):
            x = self.block(x)
        return self.out(self.again(x))


@stranger(pictures(3, 6), at("block.linear"), at("block"), at("out"), prune=("block.linear",))
class UntilQuiet(nn.Module):
    """A loop that ends by the values of a batch (here always after two rounds, but no tracer can know)."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.out = Block(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        rounds = 0
        while rounds < 2 and float(x.abs().sum()) >= 0:
            x, rounds = self.block(x), rounds + 1
        return self.out(x)


@stranger(
    pictures(3, 6).abs(),
    at("bright"),
    at(
        "dark",
        alone="it does not run for these images",
        together="it does not run",
        sweep="it does not run",
        each_unit="",
    ),
    at("out"),
    prune=("bright", "out"),
)
class Branches(nn.Module):
    """A branch on the values of the batch: one way is never taken for these images."""

    def __init__(self) -> None:
        super().__init__()
        self.bright, self.dark, self.out = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0:
            return self.out(self.bright(x))
        return self.out(self.dark(x))


@stranger(pictures(3, 3, 6, 6), at("first"), at("relu"), at("second"), prune=("first", "second"))
class Flags(nn.Module):
    """Flags, optional arguments, `*args` and `**kwargs` of forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *extra: Any, features: bool = False, **options: Any
    ) -> Any:
        y = self.relu(self.first(x))
        if mask is not None:
            y = y * mask
        if features or options.get("features"):
            return y
        return self.second(y).flatten(1)


@stranger(pictures(3, 3, 6, 6), at("first"), at("relu"), at("second"), prune=("first", "second"))
class ByKeyword(nn.Module):
    """Every module is called by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(input=self.first(input=x))
        return self.second(input=y.amax((2, 3)))


def _twice(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return 2 * output


def _shifted(module: nn.Module, inputs: Any) -> Any:
    return (inputs[0] + 1, *inputs[1:])


@stranger(pictures(3, 6), at("0"), at("1"), at("2"), prune=("0", "2"))
def Hooked() -> nn.Module:
    """Hooks of the user's own that change inputs and outputs."""
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    model[0].register_forward_hook(_twice)
    model[2].register_forward_pre_hook(_shifted)
    model[2].register_forward_hook(_twice)
    return model


class Enough(Exception):
    pass


def _until_second(model: nn.Module, x: Tensor) -> Tensor:
    kept: list[Tensor] = []

    def stop(module: nn.Module, inputs: Any, output: Tensor) -> None:
        kept.append(output)
        raise Enough

    handle = model.second.register_forward_hook(stop)
    try:
        model(x)
    except Enough:
        pass
    finally:
        handle.remove()
    return kept[0]


@stranger(
    pictures(4, 6),
    at("first"),
    at("relu"),
    at("second"),
    prune=("first", "second"),
    run=_until_second,
    refused={"sweep": "a sweep calls the network itself", "each unit": "a sweep calls the network itself"},
)
class Interrupted(nn.Module):
    """Features taken by a hook that ends the forward with an exception."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second, self.third = (
            nn.Linear(6, 5),
            nn.ReLU(),
            nn.Linear(5, 4),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(self.relu(self.first(x))))


@stranger(pictures(4, 6), at("net.first"), at("net.second"), prune=("net.first", "net.second"))
class StopsItself(nn.Module):
    """A wrapper that ends its network's forward with an exception, and catches it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Interrupted()

    def forward(self, x: Tensor) -> Tensor:
        return _until_second(self.net, x)


@stranger(pictures(3, 6), at("0"), at("1"), at("2"), prune=("0", "2"))
def Parallel() -> nn.Module:
    """A network in `nn.DataParallel` (on a machine without GPUs)."""
    return nn.DataParallel(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)))


class Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.inner, self.out = nn.Linear(6, 6), inner, nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.inner(self.first(x)))


@stranger(
    pictures(3, 6),
    at("first"),
    at(
        "inner.0",
        alone="TorchScript runs no hooks",
        together="TorchScript",
        sweep="TorchScript",
        each_unit="TorchScript",
    ),
    at("out"),
    prune=("first", "out"),
)
def Scripted() -> nn.Module:
    """A part that is TorchScript."""
    return Outer(torch.jit.trace(nn.Sequential(nn.Linear(6, 6), nn.ReLU()), torch.randn(2, 6)))


@stranger(
    pictures(3, 6),
    at("first"),
    at(
        "inner._orig_mod.linear",
        alone="compiled",
        together="compiled",
        sweep="compiled",
        each_unit="compiled",
    ),
    at("out"),
    prune=("first", "out"),
)
def CompiledInside() -> nn.Module:
    """A part that is compiled."""
    return Outer(torch.compile(Block(6), backend="eager"))


@stranger(pictures(3, 6), at("first"), at("drop"), at("out"), prune=("out",))
class FunctionalDropout(nn.Module):
    """Dropout as a function that asks for the mode; nothing is dropped in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.out = nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(F.dropout(self.first(x), 0.5, training=self.training)))


BY_CHANCE = {"sweep": "it answers by chance", "each unit": "it answers by chance"}


@stranger(pictures(3, 6), at("first"), refused=BY_CHANCE, mode="train", alone=False)
class DroppingOut(FunctionalDropout):
    """The same in training mode: two runs differ."""


@stranger(pictures(3, 4, 6), at("lstm", 2, output=0), refused=BY_CHANCE, mode="train", alone=False)
class DroppingBetweenLayers(nn.Module):
    """An LSTM with dropout between its layers, in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(6, 5, num_layers=2, dropout=0.5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0][:, -1])


@stranger(pictures(3, 6), at("first"), refused=BY_CHANCE, alone=False)
class AlwaysNoisy(nn.Module):
    """Noise in evaluation too (Monte Carlo dropout, a sampled latent)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.out(y + torch.randn_like(y))


@stranger(pictures(3, 6), at("first"), at("out"), prune=("first",))
class Counting(nn.Module):
    """A buffer that counts forwards and changes no answer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 5), nn.Linear(5, 3)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.out(torch.tanh(self.first(x)))


@stranger(
    pictures(3, 6),
    at("first"),
    at("out"),
    prune=("first",),
    alone=False,
    refused={
        "sweep": "its answer changes with every forward",
        "each unit": "its answer changes with every forward",
    },
)
class Remembering(nn.Module):
    """A running mean that is updated in evaluation too: the answer changes with every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 5), nn.Linear(5, 3)
        self.register_buffer("usual", torch.zeros(5), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        self.usual = 0.5 * self.usual + 0.5 * x.mean(0).detach()
        return self.out(x - self.usual)


@stranger(pictures(3, 3, 6, 6), at("first"), at("out"), prune=("first",))
class HiddenConstants(nn.Module):
    """Buffers that are not in the state dict, plain tensors as attributes, constants made in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.register_buffer("mean", torch.rand(1, 3, 1, 1), persistent=False)
        self.gain = torch.rand(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first((x - self.mean) / torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1))
        ramp = torch.linspace(0, 1, y.shape[-1], device=y.device, dtype=y.dtype)
        return self.out((y * ramp).mean((2, 3)) * self.gain)


@stranger(pictures(3, 3, 6, 6), at("first"), at("norm"), at("out"), prune=("first",), tolerance=4e-2)
class CastsInside(nn.Module):
    """Autocast inside forward, and a norm that insists on float32."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.out = nn.Conv2d(3, 4, 3), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            y = self.first(x).mean((2, 3))
            return self.out(self.norm(y.float())).float()


@stranger(pictures(3, 6), at("."), at("first"), at("out"), prune=("first",))
class OwnOutput(nn.Module):
    """The network itself as the site."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.first(x).relu())


@stranger(pictures(3, 6), at("experts.0"), at("experts.1"), at("gate"), at("out"), prune=("experts.1",))
class Experts(nn.Module):
    """A mixture of experts, all of which run and are weighed by a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(6, 2), nn.ModuleList([Block(6), Block(6)])
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(x).softmax(-1)
        mixed: Any = 0
        for place, expert in enumerate(self.experts):
            mixed = mixed + weights[:, place, None] * expert(x)
        return self.out(mixed)


ROUTED = "an expert sees only the images that are sent to it"


@stranger(
    pictures(4, 6),
    at("gate"),
    at("experts.0.linear", random=ROUTED, together=ROUTED, sweep=ROUTED),
    at("out"),
    prune=("out",),
)
class RoutedExperts(nn.Module):
    """Experts that see only the images that a gate sends to them."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(6, 2), nn.ModuleList([Block(6), Block(6)])
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        chosen = self.gate(x).argmax(-1)
        y = torch.zeros_like(x)
        for place, expert in enumerate(self.experts):
            y[chosen == place] = expert(x[chosen == place])
        return self.out(y)
