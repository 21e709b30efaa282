"""The published greedy ranking of a site's units, exhaustive or raced.

Dobs, Martinez, Kell & Kanwisher (2022, Science Advances): try every remaining unit, remove the share that hurts most,
and go on from there. A round wants its few worst units and nobody else's mean, so with a risk allowed it is a race
(`racing`): which units cannot be among them is seen on some of the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from facelesion.sweep.errors import SweepError
from facelesion.sweep.options import Options
from facelesion.sweep.racing import looks, race
from facelesion.sweep.task import Loss, Task


@dataclass(frozen=True)
class Certificate:
    """How sure it is that trying every unit on every image would have given the same ranking.

    Attributes:
        risk: the largest probability that it would not, over the random order of the images.
        assumes: what that holds under: "nothing", or "normal": that the mean of a sample of losses, less what is
            expected of them to first order, is about normal once it is corrected for skewness.
        evaluations: how often the loss of an image was computed without a unit.
        exhaustive: how often it would have been.
        screened: images that were sent forward and backward beside, for first-order estimates of all units.

    Example:
        >>> found = Certificate(risk=0.01, assumes="normal", evaluations=4_000, exhaustive=40_000, screened=600)
        >>> found.evaluations / found.exhaustive
        0.1
    """

    risk: float
    assumes: str
    evaluations: int
    exhaustive: int
    screened: int

    def __str__(self) -> str:
        fewer = f"{self.evaluations} of {self.exhaustive} losses computed"
        if not self.risk:
            return f"exhaustive: {fewer}"
        under = "" if self.assumes == "nothing" else ", if means of samples are about normal"
        return f"exhaustive search gives the same with probability {1 - self.risk:g} or more{under}: {fewer}"


@dataclass(frozen=True)
class Ranking:
    """Units of one site in the order in which a task needs them.

    Attributes:
        site: the module path.
        units: the most needed first.
        losses: the mean loss without each of them, at the time it was chosen (and without those before its round).
        rounds: how many units each round removed.
        certificate: how sure it is, and what it cost.
    """

    site: str
    units: tuple[int, ...]
    losses: tuple[float, ...]
    rounds: tuple[int, ...]
    certificate: Certificate


def greedy_ranking(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    fraction: float = 0.2,
    step: float = 0.016,
    risk: float = 0.0,
    within: tuple[float, float] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
    options: Options | None = None,
) -> Ranking:
    """Ranks a site's units by what their removal does to a task, in rounds (Dobs et al. 2022).

    Each round removes every remaining unit on its own, on top of those already chosen, and chooses those whose removal
    raises the loss most. Every trial is exact: it is a `unit_sweep`. With a `risk` units leave a round as soon as
    it is all but certain that they are not among the worst; the worst are tried on every image all the same.

    Args:
        model: in evaluation mode.
        site: one site.
        images: preprocessed images (N, ...) of the task; not those that the ranking is tested on.
        loss: from outputs (n, ...) and image numbers (n,) to a loss per image (n,), higher is worse.
        fraction: stop when this share of the units is chosen (0.2 in the paper).
        step: share of the units chosen per round (0.016 in the paper, 8 of 512), at least one.
        risk: the largest probability that exhaustive search would have given another ranking; 0 is exhaustive search.
        within: the smallest and the largest loss that there can be. With them the risk holds whatever the losses
            are, at a far higher cost; without them means of samples are taken to be about normal.
        seed: of the order in which a race looks at the images.
        batch_size, progress, options: as in `sweep`.

    Raises:
        SweepError: as `unit_sweep`; with a risk a loss without a gradient, or one outside `within`.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).eval()
        >>> images, labels = torch.rand(80, 3, 8, 8), torch.arange(80) % 2
        >>> _ = network(images)
        >>> def loss(outputs, numbers):
        ...     return nn.functional.cross_entropy(outputs, labels[numbers], reduction="none")
        >>> ranking = greedy_ranking(network, "1", images, loss, fraction=0.5, step=0.25)
        >>> len(ranking.units), ranking.rounds
        (4, (2, 2))
        >>> greedy_ranking(network, "1", images, loss, fraction=0.5, step=0.25, risk=0.01).units == ranking.units
        True
    """
    for name, share in (("fraction", fraction), ("step", step)):
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise SweepError(f"{name} lies above 0 and is at most 1, not {share!r}")
    if isinstance(risk, bool) or not isinstance(risk, int | float) or not 0 <= risk < 0.5:
        raise SweepError(f"risk is at least 0 and less than 0.5, not {risk!r}")
    task = Task(model, site, images, loss, options, batch_size)
    # With few images there is nothing to leave early for.
    race_on = _Race(task, within, seed, progress) if risk and looks(len(images)) else None
    count = task.units()
    task.keep()
    wanted, each = max(1, round(fraction * count)), max(1, math.floor(step * count + 0.5))
    chosen: list[int] = []
    losses: list[float] = []
    rounds: list[int] = []
    evaluations = exhaustive = 0
    while len(chosen) < wanted:
        left = sorted(set(range(count)) - set(chosen))
        many = min(each, wanted - len(chosen))
        exhaustive += len(left) * len(images)
        if race_on is not None:
            worst, measured = race_on.round(left, chosen, many, risk / wanted)
            evaluations += measured
        else:
            found = task.summed(units=left, removed=chosen, progress=progress) / len(images)
            # Equal losses: the lower unit first, so that a ranking can be repeated.
            places = sorted(range(len(left)), key=lambda place: (-float(found[place]), left[place]))[:many]
            worst = [(left[place], float(found[place])) for place in places]
            evaluations += len(left) * len(images)
        chosen += [unit for unit, _ in worst]
        losses += [mean for _, mean in worst]
        rounds.append(many)
    raced = race_on is not None
    assumes = "normal" if raced and within is None else "nothing"
    screened = len(rounds) * len(images) if raced else 0
    certificate = Certificate(risk if raced else 0.0, assumes, evaluations, exhaustive, screened)
    return Ranking(task.name, tuple(chosen), tuple(losses), tuple(rounds), certificate)


class _Race:
    """Rounds that are raced, all with one order of the images."""

    def __init__(
        self, task: Task, within: tuple[float, float] | None, seed: int, progress: bool
    ) -> None:
        self.task, self.within, self.progress = task, within, progress
        self.order = torch.randperm(len(task.images), generator=torch.Generator().manual_seed(seed))

    def round(
        self, left: list[int], chosen: list[int], many: int, chance: float
    ) -> tuple[list[tuple[int, float]], int]:
        """The units of a round with their mean losses, and how many losses were computed."""
        without, rises = self.task.estimated(chosen)
        expected = rises[:, left].T.contiguous()

        _inside(self.within, without)

        def measure(who: Sequence[int], rows: torch.Tensor) -> torch.Tensor:
            units = [left[place] for place in who]
            losses = self.task.apart(rows, units=units, removed=chosen, progress=self.progress)
            _inside(self.within, losses)
            return losses - without[rows]

        span = span_of(self.within, without, expected) if self.within is not None else None
        found = race(measure, expected, many, chance=chance, order=self.order, span=span)
        healthy = float(without.mean())
        return [
            (left[place], mean + healthy) for place, mean in zip(found.winners, found.means, strict=True)
        ], found.measured


def _inside(within: tuple[float, float] | None, losses: torch.Tensor) -> None:
    """Refuse losses outside the range that they are said to have."""
    if within is not None and len(losses) and (losses.min() < within[0] or losses.max() > within[1]):
        wrong = losses.max() if losses.max() > within[1] else losses.min()
        raise SweepError(f"within is {within!r}, and there is a loss of {float(wrong):g}: give the loss's whole range")


def span_of(within: tuple[float, float], without: torch.Tensor, expected: torch.Tensor) -> float:
    """How far apart two differences between a loss and what is expected of it can lie."""
    level = without + expected
    return within[1] - within[0] + float((level.max(1).values - level.min(1).values).max())
