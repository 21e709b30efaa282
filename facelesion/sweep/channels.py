"""How far the removal of one channel stays the removal of one channel, and which linear map ends that stretch.

Between a site and the next channel-mixing map lie activations, pools, normalisations with fixed statistics: each acts
on every channel by itself. All channels can therefore be followed together, in one pass. The map that mixes them is
linear, so one channel changes its result by that channel's own contribution (`kernels`).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from facelesion.sweep.facts import ROWS
from facelesion.sweep.recorded import Recorded, has_hooks
from facelesion.sweep.trace import Trace

ELEMENTWISE_MODULES = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus,
    nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
)  # fmt: skip
MAP_MODULES = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.BatchNorm2d)
ELEMENTWISE_FUNCTIONS = (
    torch.relu, torch.sigmoid, torch.tanh, functional.relu, functional.relu6, functional.gelu, functional.silu,
    functional.hardswish, functional.hardsigmoid, functional.leaky_relu,
)  # fmt: skip
ELEMENTWISE_METHODS = ("relu", "relu_", "sigmoid", "tanh", "clone", "contiguous")
MAP_FUNCTIONS = (
    functional.max_pool2d, torch.max_pool2d, functional.avg_pool2d, functional.adaptive_avg_pool2d,
    functional.adaptive_max_pool2d,
)  # fmt: skip
ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")


@dataclass(frozen=True)
class Channels:
    """Where the units of a value lie: unit `c` owns positions `c·block` to `(c + 1)·block` of `axis`."""

    axis: int
    block: int = 1


@dataclass
class Stretch:
    """What happens to a site's units after the site.

    Attributes:
        begin: the step after the site.
        stop: the first step that mixes units; up to it they can be followed together.
        end: the step from which every unit needs a run of its own: `stop`, or one later where `linear` is known.
        linear: the module of step `stop` where it is a linear map of the units' value alone.
        source: name of the value that the linear map reads.
        result: name of the linear map's value.
        follow: where the units lie in each value that depends on the site.
    """

    begin: int
    stop: int
    end: int
    linear: nn.Conv2d | nn.Linear | None = None
    source: str = ""
    result: str = ""
    follow: dict[str, Channels] = field(default_factory=dict)

    @property
    def before_linear(self) -> Stretch:
        """The same, where each unit runs through the linear map by itself."""
        return replace(self, end=self.stop, linear=None)


def stretch(trace: Trace, site_step: int, axis: int, *, ahead: bool = True) -> Stretch | None:
    """Follows the units of the value that step `site_step` makes, as far as they stay apart; None: nothing is recorded.

    Args:
        trace: the network's steps.
        site_step: the step whose result is damaged.
        axis: where that result's units lie.
        ahead: whether to go through the linear map that ends the stretch.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU())
        >>> found = stretch(Recorded(network.eval(), torch.zeros(1, 3, 16, 16)), 0, axis=1)
        >>> found.stop, found.end, found.linear is network[3]
        (3, 4, True)
    """
    if not isinstance(trace, Recorded):
        return None
    site = trace.steps[site_step]
    follow = {site: Channels(axis)}
    found = Stretch(begin=site_step + 1, stop=trace.length, end=trace.length)
    for number in range(site_step + 1, trace.length):
        step = trace.steps[number]
        touched = [n for n in step.all_input_nodes if n in follow]
        if not touched:
            continue
        channels = _kept_apart(trace, step, number, follow)
        if channels is not None:
            follow[step] = channels
            continue
        found.stop = found.end = number
        linear = _linear(trace, step, follow) if ahead else None
        if linear is not None and (number + 1 == trace.length or trace.can_cut(number + 1)):
            found.end, found.linear = number + 1, linear
            found.source, found.result = touched[0].name, step.name
        break
    # A cut that cannot be repeated: give up the stretch and run everything after the site once per unit.
    if found.stop < trace.length and not trace.can_cut(found.stop):
        found = Stretch(begin=site_step + 1, stop=site_step + 1, end=site_step + 1)
        follow = {site: Channels(axis)}
    if found.end == trace.length and not trace.ends_with_last_step:
        found = Stretch(begin=site_step + 1, stop=site_step + 1, end=site_step + 1)
        follow = {site: Channels(axis)}
    found.follow = {node.name: channels for node, channels in follow.items()}
    return found


def _shape(trace: Recorded, node: fx.Node) -> torch.Size | None:
    return trace.shape(node)


def _kept_apart(trace: Recorded, step: fx.Node, number: int, follow: dict[fx.Node, Channels]) -> Channels | None:
    """Where the units lie in a step's result, or None where it mixes them (or where we cannot tell)."""
    if trace.facts[number].growth != ROWS or not step.args or not isinstance(step.args[0], fx.Node):
        return None
    source = step.args[0]
    before = follow.get(source)
    old, new = trace.shape(source), trace.shape(step)
    if old is None or new is None:
        return None
    if step.op == "call_module":
        module = trace.model.get_submodule(str(step.target))
        if has_hooks(module) or before is None or len(step.args) > 1 or step.kwargs:
            return None
        if type(module) in ELEMENTWISE_MODULES and not _random(module):
            return before
        if before.axis != 1 or len(old) != 4:
            return _flattened(old, new, before) if type(module) is nn.Flatten else None
        if type(module) in MAP_MODULES and not (
            isinstance(module, nn.BatchNorm2d) and _batch_statistics(module)
        ):
            return before if len(new) == 4 and before.block == 1 else None
        if type(module) is nn.Conv2d and module.groups == module.in_channels == module.out_channels:
            return before
        return _flattened(old, new, before) if type(module) is nn.Flatten else None
    if step.target in ADDITIONS:
        others = [a for a in step.args if isinstance(a, fx.Node)]
        kept = {follow[n] for n in others if n in follow}
        alike = (
            len(step.args) == 2 == len(others)
            and all(trace.shape(n) == new for n in others)
            and not step.kwargs
        )
        return kept.pop() if alike and len(kept) == 1 else None
    others = [n for n in step.all_input_nodes if n is not source]
    if before is None or others:
        return None
    if step.target in ELEMENTWISE_FUNCTIONS or (
        step.op == "call_method" and step.target in ELEMENTWISE_METHODS
    ):
        return before
    if step.target in MAP_FUNCTIONS and before == Channels(1) and len(old) == len(new) == 4:
        return before
    if step.target in (functional.dropout, torch.dropout) and step.kwargs.get("training") is False:
        return before
    if step.target is torch.flatten or (step.op == "call_method" and step.target == "flatten"):
        return _flattened(old, new, before)
    mean = step.target is torch.mean or (step.op == "call_method" and step.target == "mean")
    if mean and before == Channels(1) and _axes(step) in ((2, 3), (-2, -1), (-1, -2), (3, 2)):
        return before
    return None


def _flattened(old: torch.Size, new: torch.Size, before: Channels) -> Channels | None:
    """Units of (N, C, ...) after `flatten(1)`: each owns a block."""
    if before.axis != 1 or len(new) != 2 or old[0] != new[0]:
        return None
    units = old[1] // before.block
    return Channels(1, new[1] // units)


def _axes(step: fx.Node) -> tuple[Any, ...]:
    axes = step.kwargs.get("dim", step.args[1] if len(step.args) > 1 else ())
    return tuple(axes) if isinstance(axes, list | tuple) else (axes,)


def _random(module: nn.Module) -> bool:
    return module.training and "Dropout" in type(module).__name__


def _batch_statistics(module: nn.BatchNorm2d) -> bool:
    return module.training or module.running_mean is None


def _linear(trace: Recorded, step: fx.Node, follow: dict[fx.Node, Channels]) -> nn.Conv2d | nn.Linear | None:
    """The step's module where it is a plain linear map of one followed value."""
    if (
        step.op != "call_module"
        or len(step.args) != 1
        or step.kwargs
        or not isinstance(step.args[0], fx.Node)
    ):
        return None
    module = trace.model.get_submodule(str(step.target))
    channels, shape = follow[step.args[0]], trace.shape(step.args[0])
    if has_hooks(module) or shape is None:
        return None
    if type(module) is nn.Conv2d:
        plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return module if plain and channels == Channels(1) and len(shape) == 4 else None
    if type(module) is nn.Linear:
        return module if channels.axis == len(shape) - 1 else None
    return None
