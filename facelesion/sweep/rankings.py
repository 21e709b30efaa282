"""Which units a task needs most: the published greedy ranking, and a first-order estimate as a fast screen.

The greedy ranking is that of Dobs, Martinez, Kell & Kanwisher (2022, Science Advances): try every remaining unit,
remove the share that hurts most, and go on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from facelesion.lesions.locate import unit_axis
from facelesion.sweep import arguments, engine
from facelesion.sweep.arguments import name_of
from facelesion.sweep.errors import SweepError
from facelesion.sweep.options import BATCH_SIZE, Options
from facelesion.sweep.trial import Trial, tried
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
    batch_size: int = BATCH_SIZE,
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
    for name, share in (("fraction", fraction), ("step", step)):
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise SweepError(f"{name} lies above 0 and is at most 1, not {share!r}")
    options = arguments.options_of(options, batch_size)
    task = _Task(model, site, images, loss)
    count = task.units()
    wanted, each = max(1, round(fraction * count)), max(1, math.floor(step * count + 0.5))
    chosen: list[int] = []
    losses: list[float] = []
    rounds: list[int] = []
    while len(chosen) < wanted:
        left = sorted(set(range(count)) - set(chosen))
        found = task.summed(options, units=left, removed={task.name: chosen}, progress=progress) / len(images)
        # Equal losses: the lower unit first, so that a ranking can be repeated.
        worst = sorted(range(len(left)), key=lambda place: (-float(found[place]), left[place]))
        worst = worst[: min(each, wanted - len(chosen))]
        chosen += [left[place] for place in worst]
        losses += [float(found[place]) for place in worst]
        rounds.append(len(worst))
    return Ranking(task.name, tuple(chosen), tuple(losses), tuple(rounds))


def effects(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int = BATCH_SIZE,
    options: Options | None = None,
) -> torch.Tensor:
    """By how much the mean loss rises when each unit alone is removed, exactly: float64 (units,)."""
    options = arguments.options_of(options, batch_size)
    task = _Task(model, site, images, loss)
    return (task.summed(options) - task.healthy(options.batch_size).sum()) / len(images)


def effects_by_image(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    options: Options | None = None,
) -> torch.Tensor:
    """As `effects`, image by image, for intervals over people and split halves: float64 (images, units).

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
        >>> images, loss = torch.rand(5, 3, 8, 8), lambda outputs, numbers: outputs[:, 0]
        >>> found = effects_by_image(network, "1", images, loss)
        >>> found.shape, bool(torch.allclose(found.mean(0), effects(network, "1", images, loss)))
        (torch.Size([5, 4]), True)
    """
    options = arguments.options_of(options, batch_size)
    task = _Task(model, site, images, loss)

    def apart(outputs: torch.Tensor, rows: range) -> torch.Tensor:
        losses = torch.zeros(len(outputs), len(images), dtype=torch.float64)
        losses[:, rows.start : rows.stop] = torch.stack(
            [task.per_image(output, rows).double().cpu() for output in outputs]
        )
        return losses

    without = task.swept(apart, options, progress=progress)
    return (without - task.healthy(options.batch_size)).T.contiguous()


def first_order(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int = BATCH_SIZE,
) -> torch.Tensor:
    """What `effects` comes to in first order: minus gradient times activation, one backward pass for all units.

    A fast screen (Molchanov et al. 2017; attribution patching): exact where the loss is linear in the unit, wrong where
    it saturates. Say beside it how well it agrees with `effects` on some of the sites (`agreement`).

    Returns:
        float64 (units,).
    """
    total: torch.Tensor | None = None
    for _, parts in _products(model, site, images, loss, batch_size):
        for part in parts:
            summed = part.flatten(1).double().sum(1).cpu()
            total = summed if total is None else total + summed
    assert total is not None
    return total / len(images)


def first_order_by_image(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int = BATCH_SIZE,
) -> torch.Tensor:
    """As `first_order`, image by image: float64 (images, units).

    Raises:
        SweepError: as `first_order`, or a site whose output has no row per image.
    """
    rows_of = []
    for rows, parts in _products(model, site, images, loss, batch_size):
        total = torch.zeros(())
        for part in parts:
            if part.ndim < 2 or part.shape[1] != len(rows):
                raise SweepError(f"{site}: its output has no row per image: use first_order")
            total = total + part.flatten(2).double().sum(2).cpu() if part.ndim > 2 else total + part.double().cpu()
        rows_of.append(total.T)
    return torch.cat(rows_of)


def _products(
    model: nn.Module, site: str, images: torch.Tensor, loss: Loss, batch_size: int
) -> Iterator[tuple[range, list[torch.Tensor]]]:
    """Batch by batch, minus gradient times activation of every call of the site, its units first."""
    options = arguments.options_of(None, batch_size)
    task = _Task(model, site, images, loss)
    held: list[torch.Tensor] = []

    def hold(_: nn.Module, __: object, output: object) -> torch.Tensor:
        # A leaf of its own: no gradient has to reach parameters. Cloned, as a next step in place would overwrite it.
        leaf = task.one_tensor(output).detach().clone().requires_grad_()
        held.append(leaf)
        return leaf.clone()

    handle = task.module.register_forward_hook(hold)
    try:
        for rows, batch in task.batches(options.batch_size):
            held.clear()
            with torch.inference_mode(False), torch.enable_grad():
                value = task.per_image(task.model(batch.clone()), rows).sum()
                if not held:
                    raise SweepError(f"{task.name} never runs in a forward: name a site in use")
                if not value.requires_grad:
                    raise SweepError("loss: no gradient leads from it to the site; first_order needs one")
                gradients = torch.autograd.grad(value, held, allow_unused=True)
            parts = []
            for leaf, gradient in zip(held, gradients, strict=True):
                # A call whose output nobody reads changes nothing.
                slope = torch.zeros_like(leaf) if gradient is None else gradient
                parts.append(-(leaf.detach() * slope).movedim(unit_axis(task.module, leaf, task.site), 0))
            yield rows, parts
    finally:
        handle.remove()


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


class _Task:
    """One site of a network, the images of a task and its loss, looked at once."""

    def __init__(self, model: nn.Module, site: object, images: object, loss: object) -> None:
        self.model = arguments.network(model)
        found = arguments.sites_of(self.model, site, "site")
        if len(found) != 1:
            raise SweepError(
                f"{site!r} names {len(found)} sites, a ranking is of one: rank them one after another"
            )
        self.site = found[0]
        if self.site.call is not None or self.site.output or self.site.heads:
            raise SweepError(f"{self.site}: a ranking takes a whole module")
        self.name = name_of(self.site)
        self.module = self.model.get_submodule(self.site.path)
        self.images = arguments.one_tensor(images)
        if not callable(loss):
            raise SweepError(f"loss is a function of outputs and image numbers, not a {type(loss).__name__}")
        self.loss = loss
        self.device = engine.device_of(self.model)
        self.trial: Trial = tried(self.model, self.images, engine.readout_of(None), self.device)

    def batches(self, size: int) -> Iterator[tuple[range, torch.Tensor]]:
        """Image numbers and images on the network's device, copied: a first step may write into them."""
        for begin in range(0, len(self.images), size):
            batch = self.images[begin : begin + size].to(self.device)
            yield range(begin, begin + len(batch)), batch.clone()

    def per_image(self, output: torch.Tensor, rows: range) -> torch.Tensor:
        """The loss of each of some images."""
        value = self.loss(output, torch.arange(rows.start, rows.stop))
        if not isinstance(value, torch.Tensor) or value.shape != (len(rows),):
            told = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise SweepError(
                f"loss gives one number per image, ({len(rows)},) here, and not {told}: use reduction='none'"
            )
        return value

    def losses(self, outputs: torch.Tensor, rows: range) -> torch.Tensor:
        """Losses of (units, images, ...) outputs, summed over the images: float64 (units,)."""
        return torch.stack([self.per_image(output, rows).double().sum() for output in outputs])

    def summed(self, options: Options, **chosen: Any) -> torch.Tensor:
        """The loss without each unit, summed over all images."""
        return self.swept(self.losses, options, **chosen)

    def swept(
        self, reduce: Callable[[torch.Tensor, range], torch.Tensor], options: Options, **chosen: Any
    ) -> torch.Tensor:
        """What `reduce` makes of the outputs without each unit, added up over batches."""
        found = unit_sweep(
            self.model,
            self.name,
            self.images,
            reduce=reduce,
            trial=self.trial,
            options=options,
            **chosen,
        )
        return next(iter(found.values()))

    def healthy(self, size: int) -> torch.Tensor:
        """The intact network's loss of each image: float64 (images,)."""
        with torch.no_grad():
            parts = [
                self.per_image(self.model(batch), rows).double().cpu() for rows, batch in self.batches(size)
            ]
        return torch.cat(parts)

    def one_tensor(self, output: object) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            raise SweepError(
                f"{self.name} answers with a {type(output).__name__}: a ranking needs one tensor"
            )
        return output

    def units(self) -> int:
        """How many units the site has."""
        seen: list[int] = []

        def look(_: nn.Module, __: object, output: object) -> None:
            seen.append(
                self.one_tensor(output).shape[unit_axis(self.module, self.one_tensor(output), self.site)]
            )

        handle = self.module.register_forward_hook(look)
        try:
            with torch.no_grad():
                self.model(self.images[:1].to(self.device).clone())
        finally:
            handle.remove()
        if not seen:
            raise SweepError(
                f"{self.name} never runs in a forward of {type(self.model).__name__}: name a site in use"
            )
        return seen[0]
