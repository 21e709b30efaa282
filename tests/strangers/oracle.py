"""What damage does, written down with one plain hook and no knowledge of the library's own code.

The oracle shows a fresh network one image at a time, with one lesion, and writes on the units' numbers one by one.
It takes from the library what defines a lesion and cannot be guessed: which units a fraction takes, and the random
numbers (seed, lesion, site, call; image, unit, place).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import unittest.mock
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from zoo import Place, Stranger, seed, whole_zoo

from facelesion.lesions import (
    Ablate,
    Calibration,
    Clamp,
    Dropout,
    Keep,
    Lesion,
    Noise,
    Prune,
    Scale,
    Shift,
    philox,
)
from facelesion.lesions.functional import how_many

# Lesions of a place by name. Those that need a calibration have "relative" or "mean" in their names.
LESIONS = {
    "ablate": lambda s: Ablate(s, fraction=0.5, seed=2),
    "ablate one": lambda s: Ablate(s, units=[1]),
    "ablate all": lambda s: Ablate(s),
    "mean": lambda s: Ablate(s, units=[0, 2], to="mean"),
    "mean of all": lambda s: Ablate(s, to="mean"),
    "keep": lambda s: Keep(s, units=[1]),
    "noise": lambda s: Noise(s, std=0.7),
    "relative noise": lambda s: Noise(s, std=0.7, relative=True, units=[1, 2]),
    "multiplicative noise": lambda s: Noise(s, std=0.5, multiplicative=True, fraction=0.5),
    "dropout": lambda s: Dropout(s, p=0.6),
    "channel dropout": lambda s: Dropout(s, p=0.6, per="channel", rescale=False),
    "clamp": lambda s: Clamp(s, min=-0.1, max=0.2),
    "hold": lambda s: Clamp(s, value=0.4, units=[1]),
    "shift": lambda s: Shift(s, by=0.9, units=[0, 2]),
    "relative shift": lambda s: Shift(s, by=-1.0, relative=True),
    "scale": lambda s: Scale(s, by=0.3),
    "several": lambda s: Noise(s, std=0.5) + Ablate(s, fraction=0.3) + Noise(s, std=0.5),
}  # fmt: skip
RESAMPLE = "resample"
CALIBRATED = ("mean", "mean of all", "relative noise", "relative shift")


def cases(stranger: Stranger) -> dict[tuple[Place, str], Lesion]:
    """Every lesion that this network is held to: each kind at each place, two places at once, pruned layers."""
    found: dict[tuple[Place, str], Lesion] = {}
    for place in stranger.places:
        found |= {(place, kind): make(place.site) for kind, make in LESIONS.items()}
        found[place, RESAMPLE] = Ablate(place.site, units=[0, 1], to="resample")
    first, last = stranger.places[0], stranger.places[-1]
    if first != last:
        # At the place that has more to refuse.
        place = max(first, last, key=lambda each: len(each.refused))
        found[place, "two sites"] = Noise(first.site, std=0.4) + Ablate(last.site, units=[0])
    for path in stranger.prune:
        place = next((each for each in stranger.places if each.path == path), Place(path))
        found[place, "prune"] = Prune(path, fraction=0.5, seed=1)
        found[place, "prune and more"] = (
            Ablate(path, units=[0]) + Prune(path, fraction=0.3)
            if place in stranger.places
            else Prune(path, fraction=1.0)
        )
    return found


def tensor_at(output: Any, keys: Sequence[Any]) -> Tensor:
    for key in [*keys, *rest_of(output, keys)]:
        output = getattr(output, key) if dataclasses.is_dataclass(output) else output[key]
    return output


def rest_of(output: Any, keys: Sequence[Any]) -> list[Any]:
    """Keys from a place on to the first tensor there: of a tuple that is what a site without keys means."""
    for key in keys:
        output = getattr(output, key) if dataclasses.is_dataclass(output) else output[key]
    found: list[Any] = []
    while isinstance(output, tuple | list):
        number = next(i for i, each in enumerate(output) if isinstance(each, Tensor | tuple | list))
        found.append(number)
        output = output[number]
    return found


def put(output: Any, keys: Sequence[Any], new: Tensor) -> Any:
    if not keys:
        return new
    if dataclasses.is_dataclass(output):
        return dataclasses.replace(output, **{keys[0]: put(getattr(output, keys[0]), keys[1:], new)})
    if isinstance(output, Mapping):
        changed = copy.copy(output)
        changed[keys[0]] = put(output[keys[0]], keys[1:], new)
        return changed
    values = [put(value, keys[1:], new) if place == keys[0] else value for place, value in enumerate(output)]
    return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)


@dataclasses.dataclass
class Usual:
    """Means and standard deviations of a place, a list with one per call, and its healthy values (image, call)."""

    means: list[Tensor]
    deviations: list[Tensor]
    values: dict[tuple[int, int], Tensor]


@functools.cache
def usual(name: str, place: Place) -> Usual:
    stranger = whole_zoo()[name]
    model, calls, seen = stranger.build(), Counter[int](), dict[tuple[int, int], Tensor]()
    now = 0

    def see(module: nn.Module, inputs: Any, output: Any) -> None:
        y = tensor_at(output, place.output).detach().clone()
        seen[now, calls[now]] = y
        calls[now] += 1

    model.get_submodule(place.path).register_forward_hook(see)
    for now, batch in enumerate(  # noqa: B007 (the hook reads it)
        stranger.images.split(1) if stranger.alone else [stranger.images]
    ):
        once(stranger, model, batch)
    number = max(calls.values(), default=0)
    flat = [
        torch.cat(
            [
                seen[image, call].movedim(place.units, 0).flatten(1).double()
                for image in calls
                if (image, call) in seen
            ],
            1,
        )
        for call in range(number)
    ]
    return Usual([y.mean(1) for y in flat], [y.std(1, unbiased=False) for y in flat], seen)


def calibration(stranger: Stranger, place: Place) -> Calibration:
    """The usual values of a place as the library keeps them."""
    known = usual(stranger.name, place)
    name = place.site.split("@")[0].split("[")[0]
    if "->" in place.site and "[" in place.site:
        name = place.path + "->" + place.site.split("->")[1]
    calls = range(len(known.means))
    names = [f"{name}[{call}]" for call in calls] if len(calls) > 1 else [name]
    return Calibration(
        {key: mean.float() for key, mean in zip(names, known.means, strict=True)},
        {key: deviation.float() for key, deviation in zip(names, known.deviations, strict=True)},
        len(stranger.images),
    )


def once(stranger: Stranger, model: nn.Module, images: Tensor) -> Tensor:
    seed(11)  # for those who answer by chance
    return stranger.answered(model, images.clone())


def baked(model: nn.Module, path: str) -> nn.Module:
    """The layer at a path with a plain weight of its own, with the values that its forward reads."""
    layer = model.get_submodule(path)
    for remove in (nn.utils.remove_weight_norm, nn.utils.remove_spectral_norm):
        try:
            remove(layer)
        except ValueError:
            pass
    if parametrize.is_parametrized(layer, "weight"):
        parametrize.remove_parametrizations(layer, "weight")
    if prune.is_pruned(layer):
        prune.remove(layer, "weight")
    weight = layer.weight.detach().clone()
    if isinstance(layer._parameters.get("weight"), nn.Parameter):
        layer.weight = nn.Parameter(weight)
    else:
        layer.weight = weight
    return layer


def drawn(count: int, fraction: float, seed: int, purpose: str, name: str) -> list[int]:
    order = philox.ranks(count, purpose, seed, name).argsort()
    return order[: how_many(fraction, count)].tolist()


class ByHand:
    """A hook that damages one place. `rows` has a lesion's number and an image number for each row of the batch."""

    def __init__(self, stranger: Stranger, place: Place, part: Any, turn: int, batch: Sequence[int]) -> None:
        self.stranger, self.place, self.part, self.turn = stranger, place, part, turn
        self.batch = self.images = list(batch)
        self.calls = 0

    @property
    def known(self) -> Usual:
        return usual(self.stranger.name, self.place)

    def begin(self, images: Sequence[int]) -> None:
        """A new forward, which sees these images."""
        self.images, self.calls = list(images), 0

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        call, self.calls = self.calls, self.calls + 1
        if self.place.call not in (None, call):
            return None
        y = tensor_at(output, self.place.output).clone()
        units = y.movedim(self.place.units, 0)
        rows = self.place.rows
        for unit in self.chosen(len(units)):
            # What each row of the batch has of this unit: a number, or a map, or a number per token.
            each = (
                units[unit][None]
                if rows is None
                else units[unit].movedim(rows - (rows > self.place.units), 0)
            )
            for row in range(len(each)):
                image = self.images[row * len(self.images) // len(each)]
                each[row] = self.changed(each[row].clone(), unit, call, image)
        return put(output, [*self.place.output, *rest_of(output, self.place.output)], y)

    def chosen(self, count: int) -> list[int]:
        part = self.part
        every = list(range(count))
        keys = [str(key) for key in self.place.site.split("@")[0].split("->")[1:]]
        name = ".".join([first_name(self.stranger.name, self.place.path), *keys])
        chosen = list(part.units) if part.units is not None else (
            every if part.fraction is None else drawn(count, part.fraction, part.seed, "units", name))  # fmt: skip
        return [unit for unit in every if unit not in chosen] if isinstance(part, Keep) else chosen

    def changed(self, y: Tensor, unit: int, call: int, image: int) -> Tensor:
        part = self.part
        if isinstance(part, Ablate):
            mean = float(self.known.means[call][unit]) if part.to == "mean" else 0
            return 0 * y + mean
        if isinstance(part, Clamp):
            return 0 * y + part.value if part.value is not None else y.clamp(part.min, part.max)
        deviation = float(self.known.deviations[call][unit]) if getattr(part, "relative", False) else 1.0
        if isinstance(part, Shift):
            return (y.double() + part.by * deviation).to(y.dtype)
        if isinstance(part, Scale):
            return y * part.by
        law = philox.uniform if isinstance(part, Dropout) else philox.normal
        keys = self.place.site.split("@")[0].split("->")[1:]
        site = f"{first_name(self.stranger.name, self.place.path)}[{call}]" + "".join(f"->{key}" for key in keys)
        key = torch.tensor([philox.key_of(0, type(part).__name__, part.seed, self.turn, site)])
        draw = law(key, torch.tensor([image]), torch.tensor([unit]), max(1, y.numel()))[0, 0, 0].view(y.shape)
        if isinstance(part, Noise):
            return (y + part.std * draw * (y if part.multiplicative else deviation)).to(y.dtype)
        assert isinstance(part, Dropout)
        draw = draw if part.per == "activation" else draw.flatten()[0]
        return torch.where(draw < part.p, 0 * y, y / (1 - part.p if part.rescale else 1))


class Resampled(ByHand):
    """Each image's units take the values that the same units have, healthy, for another image of its batch."""

    def changed(self, y: Tensor, unit: int, call: int, image: int) -> Tensor:
        keys = self.place.site.split("@")[0].split("->")[1:]
        site = f"{first_name(self.stranger.name, self.place.path)}[{call}]" + "".join(f"->{key}" for key in keys)
        key = torch.tensor([philox.key_of(0, "Ablate", self.part.seed, self.turn, site)])
        draw = float(
            philox.uniform(key, torch.tensor([image]), torch.zeros(1, dtype=torch.int64), 1).flatten()[0]
        )
        others = len(self.batch) - 1
        place = self.batch.index(image)
        donor = self.batch[(place + 1 + int(draw * others)) % len(self.batch)]
        other = usual(self.stranger.name, self.place).values[donor, call].select(self.place.units, unit)
        rows = self.place.rows or 0
        return other.select(rows - (rows > self.place.units), 0)


def answers(stranger: Stranger, lesion: Lesion | None, images: Tensor | None = None) -> Tensor:
    """The network's answers under one lesion: for each image alone, or for the whole batch where they mix."""
    images = stranger.images if images is None else images
    ids = list(range(len(images)))
    model = stranger.build()
    if any(isinstance(each, nn.modules.lazy.LazyModuleMixin) for each in model.modules()):
        once(stranger, model, stranger.images)
    hooks: list[ByHand] = []
    turns: Counter[Any] = Counter()
    for part in () if lesion is None else lesion.parts:
        place = next((each for each in stranger.places if each.site == part.site), Place(part.site))
        if isinstance(part, Prune):
            weight = baked(model, place.path).weight.detach().view(-1)
            weight[drawn(weight.numel(), part.fraction, part.seed, "prune", canonical(model, place.path))] = 0
            continue
        resampled = isinstance(part, Ablate) and part.to == "resample"
        same = ("Ablate" if resampled else type(part).__name__, part.seed, place.path, part.site.partition("->")[2])
        hooks.append((Resampled if resampled else ByHand)(stranger, place, part, turns[same], ids))
        model.get_submodule(place.path).register_forward_hook(hooks[-1])
        turns[same] += 1
    found = []
    for group in [[number] for number in ids] if stranger.alone else [ids]:
        for hook in hooks:
            hook.begin(group)
        # Running a part again for its gradient is the network's own affair, and changes none.
        with unittest.mock.patch("zoo_flow.checkpoint", lambda run, *given, **_: run(*given)):
            found.append(once(stranger, model, images[group]))
    return torch.cat(found)


@functools.cache
def expected(name: str, lesion: Lesion | None) -> Tensor:
    """As `answers`, without gradients, made once for all tests."""
    with torch.no_grad():
        return answers(whole_zoo()[name], lesion)


@functools.cache
def first_name(name: str, path: str) -> str:
    """The first of a module's names, by which the library draws."""
    return canonical(whole_zoo()[name].build(), path)


def canonical(model: nn.Module, path: str) -> str:
    wanted = model.get_submodule(path)
    return next(name for name, module in model.named_modules() if module is wanted)
