"""Which units a task needs most: the published greedy ranking, and a first-order estimate as a fast screen.

The greedy ranking is that of Dobs, Martinez, Kell & Kanwisher (2022, Science Advances): try every remaining unit,
remove the share that hurts most, and go on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from facelesion.lesions.locate import find, unit_axis
from facelesion.sweep import engine
from facelesion.sweep.engine import Options
from facelesion.sweep.errors import SweepError
from facelesion.sweep.units import unit_sweep

# Outputs (images, ...) and the images' numbers to one loss per image.
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Ranking:
    """Units of one site in the order in which a task needs them.

    Attributes:
        site: the module path.
        units: the most needed first.
        losses: the mean loss without each of them, at the time it was chosen (and without those before its round).
        rounds: how many units each round removed.
    """

    site: str
    units: tuple[int, ...]
    losses: tuple[float, ...]
    rounds: tuple[int, ...]


def greedy_ranking(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    fraction: float = 0.2,
    step: float = 0.016,
    batch_size: int = engine.BATCH_SIZE,
    progress: bool = False,
    options: Options | None = None,
) -> Ranking:
    """Ranks a site's units by what their removal does to a task, in rounds (Dobs et al. 2022).

    Each round removes every remaining unit on its own, on top of those already chosen, and chooses those whose removal
    raises the loss most. Every trial is exact: it is a `unit_sweep`.

    Args:
        model: in evaluation mode.
        site: one site.
        images: preprocessed images (N, ...) of the task; not those that the ranking is tested on.
        loss: from outputs (n, ...) and image numbers (n,) to a loss per image (n,), higher is worse.
        fraction: stop when this share of the units is chosen (0.2 in the paper).
        step: share of the units chosen per round (0.016 in the paper, 8 of 512), at least one.
        batch_size, progress, options: as in `sweep`.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).eval()
        >>> images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 0, 1, 0, 1])
        >>> _ = network(images)
        >>> def loss(outputs, numbers):
        ...     return nn.functional.cross_entropy(outputs, labels[numbers], reduction="none")
        >>> ranking = greedy_ranking(network, "1", images, loss, fraction=0.5, step=0.25)
        >>> len(ranking.units), ranking.rounds
        (4, (2, 2))
    """
    path = _one_site(model, site)
    if not 0 < fraction <= 1 or not 0 < step <= 1:
        raise SweepError(f"fraction and step must lie in 0 to 1, got {fraction} and {step}")
    options = options or Options(batch_size=batch_size)
    count = _count(model, path, images)
    wanted, each = max(1, round(fraction * count)), max(1, math.floor(step * count + 0.5))
    chosen: list[int] = []
    losses: list[float] = []
    rounds: list[int] = []
    while len(chosen) < wanted:
        left = sorted(set(range(count)) - set(chosen))
        found = unit_sweep(
            model, path, images, units=left, removed={path: chosen}, progress=progress, options=options,
            reduce=lambda outputs, rows: _summed(loss, outputs, rows),
        )[path] / len(images)  # fmt: skip
        # Equal losses: the lower unit first, so that a ranking can be repeated.
        worst = sorted(range(len(left)), key=lambda place: (-float(found[place]), left[place]))
        worst = worst[: min(each, wanted - len(chosen))]
        chosen += [left[place] for place in worst]
        losses += [float(found[place]) for place in worst]
        rounds.append(len(worst))
    return Ranking(path, tuple(chosen), tuple(losses), tuple(rounds))


def effects(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int = engine.BATCH_SIZE,
    options: Options | None = None,
) -> torch.Tensor:
    """By how much the mean loss rises when each unit alone is removed, exactly: float64 (units,)."""
    path = _one_site(model, site)
    options = options or Options(batch_size=batch_size)
    without = unit_sweep(
        model, path, images, options=options, reduce=lambda outputs, rows: _summed(loss, outputs, rows)
    )[path]
    healthy = torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        for number, batch in enumerate(images.split(options.batch_size)):
            first = number * options.batch_size
            output = model(engine.placed(batch, engine.device_of(model), options).clone())
            healthy += _summed(loss, output[None], range(first, first + len(batch)))[0].double().cpu()
    return (without - healthy) / len(images)


def first_order(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int = engine.BATCH_SIZE,
) -> torch.Tensor:
    """What `effects` comes to in first order: minus gradient times activation, one backward pass for all units.

    A fast screen (Molchanov et al. 2017; attribution patching): exact where the loss is linear in the unit, wrong where
    it saturates. Say beside it how well it agrees with `effects` on some of the sites (`agreement`).

    Returns:
        float64 (units,).
    """
    path = _one_site(model, site)
    device = engine.device_of(model)
    module = model.get_submodule(path)
    held: list[torch.Tensor] = []

    def hold(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        # A leaf of its own: no gradient has to reach parameters. Cloned, as a next step in place would overwrite it.
        leaf = output.detach().clone().requires_grad_()
        held.append(leaf)
        return leaf.clone()

    total: torch.Tensor | None = None
    handle = module.register_forward_hook(hold)
    try:
        for number, batch in enumerate(images.split(batch_size)):
            held.clear()
            numbers = torch.arange(number * batch_size, number * batch_size + len(batch))
            with torch.enable_grad():
                value = loss(model(batch.to(device).clone()), numbers).sum()
                gradients = torch.autograd.grad(value, held)
            for leaf, gradient in zip(held, gradients, strict=True):
                axis = unit_axis(module, leaf, find(model, path)[0])
                part = -(leaf.detach() * gradient).movedim(axis, 0).flatten(1).double().sum(1).cpu()
                total = part if total is None else total + part
    finally:
        handle.remove()
    assert total is not None
    return total / len(images)


def agreement(estimate: torch.Tensor, exact: torch.Tensor) -> float:
    """Spearman's rank correlation of two rankings of the same units: 1 where they agree, 0 where they do not.

    Example:
        >>> agreement(torch.tensor([0.1, 0.5, 0.3]), torch.tensor([1.0, 9.0, 4.0]))
        1.0
    """
    ranks = torch.stack([_ranks(estimate), _ranks(exact)])
    return round(float(torch.corrcoef(ranks)[0, 1]), 6)


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Ranks from 0; equal values share their mean rank."""
    _, place, many = values.double().unique(return_inverse=True, return_counts=True)
    last = many.cumsum(0).double() - 1
    return (last - (many - 1) / 2)[place]


def _summed(loss: Loss, outputs: torch.Tensor, rows: range) -> torch.Tensor:
    """Losses of (units, images, ...) outputs, summed over the images: (units,)."""
    numbers = torch.arange(rows.start, rows.stop)
    return torch.stack([loss(output, numbers).double().sum() for output in outputs])


def _one_site(model: nn.Module, site: str) -> str:
    found = find(model, site)
    if len(found) != 1:
        raise SweepError(
            f"{site!r} names {len(found)} sites, a ranking is of one: rank them one after another"
        )
    return found[0].path


def _count(model: nn.Module, path: str, images: torch.Tensor) -> int:
    """How many units a site has."""
    seen: list[int] = []
    module = model.get_submodule(path)
    site = find(model, path)[0]

    def look(_: nn.Module, __: object, output: torch.Tensor) -> None:
        seen.append(output.shape[unit_axis(module, output, site)])

    handle = module.register_forward_hook(look)
    try:
        with torch.no_grad():
            model(images[:1].to(engine.device_of(model)).clone())
    finally:
        handle.remove()
    if not seen:
        raise SweepError(f"{path!r} never runs in a forward of {type(model).__name__}: name a site in use")
    return seen[0]
