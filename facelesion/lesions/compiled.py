"""Lesions under `torch.compile`: slots that are in the network before it is compiled, and take their damage later.

A compiled network need not notice a new hook. A slot is a hook that was there from the start: a fixed formula over
tensors that are written in place. A healthy slot changes nothing; another lesion is other numbers, and nothing is
compiled again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from . import philox
from .calibration import Calibration
from .errors import IgnoredByCompile, LesionDidNotAct, LesionError
from .kinds import Ablate, Clamp, Dropout, Lesion, Noise, Scale, Shift, UnitLesion
from .locate import Site, find_all, pick, unit_axis, unwrap
from .rows import batch_axis, came_in, said_axis, time_first, time_first_at
from .units import Entry
from .watch import Call, run_healthy

# The numbers of one step, and what they are in a healthy network.
_HEALTHY = {
    "gain": 1.0, "bias": 0.0, "low": -math.inf, "high": math.inf, "std": 0.0, "own_std": 0.0, "p": 0.0,
    "rescale": 1.0, "value": 0.0,
}  # fmt: skip


class Stage:
    """One step of damage at a slot: the formula that every kind fits into, with its numbers.

    All are (blocks, 1, units, 1 ...) tensors: the damaged value is
    `hold ? value : drop(clamp(gain·z + bias, low, high) + (std + own_std·z)·ε)`, and only where `select` says so.
    """

    def __init__(self, blocks: int, units: int, axes: int, random: bool, device: torch.device) -> None:
        shape = (blocks, 1, units, *[1] * axes)
        self.random, self.axes = random, axes
        self.numbers = {name: torch.full(shape, value, device=device) for name, value in _HEALTHY.items()}
        self.flags = {
            name: torch.zeros(shape, dtype=torch.bool, device=device)
            for name in ("select", "hold", "per_unit")
        }
        self.keys = torch.zeros(blocks, 2, dtype=torch.int64, device=device)

    def clear(self) -> None:
        for name, value in _HEALTHY.items():
            self.numbers[name].fill_(value)
        for flag in self.flags.values():
            flag.zero_()

    def fill(
        self, block: int, units: Tensor, numbers: Mapping[str, float | Tensor], flags: Iterable[str]
    ) -> None:
        for name, value in numbers.items():
            flat = self.numbers[name][block].flatten()
            flat[units] = value[units].to(flat) if isinstance(value, Tensor) else float(value)
        for name in flags:
            self.flags[name][block].flatten()[units] = True

    def __call__(self, z: Tensor, ids: Tensor) -> Tensor:
        have, flags = self.numbers, self.flags
        damaged = torch.clamp(z * have["gain"] + have["bias"], min=have["low"], max=have["high"])
        if self.random:
            units, places = torch.arange(z.shape[2], device=z.device), z.shape[3:]
            shape = (z.shape[0], len(ids), len(units), *places)
            normal = philox.normal(self.keys, ids, units, places.numel()).view(shape)
            uniform = philox.uniform(self.keys, ids, units, places.numel()).view(shape)
            first = uniform.flatten(3)[..., :1].view(*shape[:3], *[1] * self.axes) if self.axes else uniform
            damaged = damaged + (have["std"] + have["own_std"] * z) * normal
            dropped = torch.where(flags["per_unit"], first, uniform) < have["p"]
            damaged = (damaged * have["rescale"]).masked_fill(dropped, 0.0)
        damaged = torch.where(flags["hold"], have["value"], damaged)
        return torch.where(flags["select"], damaged.to(z.dtype), z)


class Slot:
    """The hook of one site. It counts its calls and images in tensors, which compiled code keeps as well."""

    def __init__(
        self, site: Site, y: Tensor, axis: int, batch: int, blocks: int, steps: int, random: bool
    ) -> None:
        self.site, self.blocks, self.axis, self.batch = site, blocks, axis, batch
        self.units = y.shape[self.axis]
        self.stages = [Stage(blocks, self.units, y.ndim - 2, random, y.device) for _ in range(steps)]
        self.images = torch.zeros((), dtype=torch.int64, device=y.device)
        self.calls = torch.zeros((), dtype=torch.int64, device=y.device)
        self.busy = False

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        y, rebuild = pick(output, self.site.output, self.site)
        z = y.movedim((self.batch, self.axis), (0, 1)).unflatten(0, (self.blocks, -1))
        ids = self.images + torch.arange(z.shape[1], device=z.device)
        for stage in self.stages:
            z = stage(z, ids)
        self.images.add_(z.shape[1])
        self.calls.add_(1)
        return rebuild(z.flatten(0, 1).movedim((0, 1), (self.batch, self.axis)))

    def clear(self) -> None:
        for stage in self.stages:
            stage.clear()
        self.images.zero_()
        self.calls.zero_()


class Slots:
    """The slots of one model; `remove()` takes them out again."""

    def __init__(self, handles: list[RemovableHandle], sites: tuple[str, ...]) -> None:
        self.handles, self.sites = handles, sites

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []


def slots(
    model: nn.Module,
    sites: str | Lesion | Iterable[str | Lesion],
    example: Tensor,
    *,
    steps: int = 1,
    random: bool = False,
    blocks: int = 1,
) -> Slots:
    """Makes places for lesions in a network that is going to be compiled.

    Call it before `torch.compile`; then `lesioned` works on the compiled network for lesions at these sites, with
    every kind but `Prune`, `to="resample"`, `where=` and attention heads, on modules called once per forward.

    Args:
        model: the network, not yet compiled.
        sites: patterns, or lesions whose sites are meant.
        example: a batch; one forward in evaluation mode shows how large each site is.
        steps: how many lesions may follow each other at one site (`a + b` there needs 2).
        random: room for `Noise` and `Dropout`; their numbers are then drawn in every forward.
        blocks: how many lesions may share a batch, row by row.

    Example:
        >>> from facelesion.lesions import Shift, lesioned
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> images = torch.rand(3, 4)
        >>> places = slots(network, "1", images)
        >>> compiled = torch.compile(network, backend="eager")
        >>> healthy = compiled(images)
        >>> with lesioned(compiled, Shift("1", units=[0, 5], by=1.0)):
        ...     damaged = compiled(images)
        >>> torch.equal(compiled(images), healthy), torch.equal(damaged, healthy)
        (True, False)
    """
    found = {site.path: site for site in find_all(model, sites)}
    made: dict[str, Slot] = {}

    inner = unwrap(model)
    batch = torch.cat([example] * blocks)
    came = came_in(inner, (batch,), {})
    kinds = {time_first(module) for module in inner.modules()} - {None}

    def visit(call: Call) -> None:
        site, module = found[call.path], call.module
        if site.heads or site.call is not None or call.number > 0:
            raise LesionError(f"{site}: slots are for modules called once, and not for attention heads")
        y, _ = pick(call.output, site.output, site)
        axis, along = unit_axis(module, y, site), 0
        if blocks > 1 or random:
            said = said_axis(module, time_first_at(inner, call.path), site, y.ndim)
            rows = None if came is None else came.count
            along = batch_axis(y.shape, axis, site, rows, said, (True in kinds) if kinds else None)
        if along == axis:
            raise LesionError(f"{site}: axis {axis} counts images and cannot hold the units as well")
        made[call.path] = Slot(site, y, axis, along, blocks, steps, random)

    run_healthy(model, [batch], found, visit)
    unused = [path for path in found if path not in made]
    if unused:
        raise LesionDidNotAct(f"{unused[0]!r} did not run in a forward of {type(model).__name__}")
    handles = [
        inner.get_submodule(path).register_forward_hook(slot, with_kwargs=True) for path, slot in made.items()
    ]
    return Slots(handles, tuple(made))


def slots_of(model: nn.Module) -> dict[str, Slot]:
    """The slots in a network, by module path."""
    return {
        path: hook
        for path, module in unwrap(model).named_modules()
        for hook in module._forward_hooks.values()
        if isinstance(hook, Slot)
    }


@contextmanager
def filled(
    there: Mapping[str, Slot], plan: Iterable[tuple[int, Entry, Tensor, tuple[int, int]]], blocks: int,
    calibration: Calibration | None, first: int,
) -> Iterator[None]:  # fmt: skip
    """Puts a plan (place in the order, lesion, units, key) into slots, and takes it out again."""
    used: dict[str, Slot] = {}
    try:
        for place, entry, units, key in plan:
            slot = there.get(entry.site.path)
            if slot is None:
                raise IgnoredByCompile(f"{entry.site} has no slot: name it in slots(model, sites, example)")
            if entry.site.path not in used:
                if slot.busy:
                    raise LesionError(
                        f"{entry.site}: its slot holds another lesion; contexts on slots do not nest"
                    )
                slot.clear()
                slot.busy, used[entry.site.path] = True, slot
                slot.images.fill_(first)
            _fill(slot, place, entry, units, key, blocks, calibration)
        yield
        for slot in used.values():
            if int(slot.calls) == 0:
                raise LesionDidNotAct(f"{slot.site} did not run in the context, so its lesion did not act")
    finally:
        for slot in used.values():
            slot.clear()
            slot.busy = False


def _fill(
    slot: Slot, place: int, entry: Entry, units: Tensor, key: tuple[int, int], blocks: int,
    calibration: Calibration | None,
) -> None:  # fmt: skip
    if blocks != slot.blocks:
        raise LesionError(
            f"{slot.site}: its slot is for {slot.blocks} lesions a batch, got {blocks}: slots(..., blocks=)"
        )
    if place >= len(slot.stages):
        raise LesionError(
            f"{slot.site}: its slot has room for {len(slot.stages)} lesions in a row: slots(..., steps=)"
        )
    stage = slot.stages[place]
    if isinstance(entry.part, Noise | Dropout) and not stage.random:
        raise LesionError(f"{slot.site}: its slot makes no random numbers: slots(..., random=True)")
    numbers, flags = _settings(entry.part, entry.site, calibration)
    stage.fill(entry.block, units, numbers, ["select", *flags])
    stage.keys[entry.block] = torch.tensor(key, device=stage.keys.device)


def _settings(
    part: UnitLesion, site: Site, calibration: Calibration | None
) -> tuple[dict[str, float | Tensor], list[str]]:
    mean, deviation = (
        (None, None) if calibration is None or site.path not in calibration else calibration.of(site, 0)
    )
    if part.where is not None or (isinstance(part, Ablate) and part.to == "resample"):
        raise LesionError(f"{part}: slots hold no masks and cannot resample; lesion the model uncompiled")
    match part:
        case Ablate():
            return {"value": 0.0 if part.to == "zero" or mean is None else mean}, ["hold"]
        case Noise():
            scale = deviation if part.relative and deviation is not None else 1.0
            return {"own_std" if part.multiplicative else "std": part.std * scale}, []
        case Dropout():
            rescale = 1 / (1 - part.p) if part.rescale else 1.0
            return {"p": part.p, "rescale": rescale}, ["per_unit"] if part.per == "channel" else []
        case Clamp():
            numbers = part.numbers()
            if part.value is not None:
                return {"value": numbers["value"]}, ["hold"]
            return {"low": numbers["min"], "high": numbers["max"]}, []
        case Shift():
            return {"bias": part.by * deviation if part.relative and deviation is not None else part.by}, []
        case Scale():
            return {"gain": part.by}, []
    raise LesionError(f"{part}: not for slots; lesion the model uncompiled")
