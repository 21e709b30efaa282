"""Control lesions: alike in everything but the thing under test.

A lesion of chosen units must do more than a lesion of the same number of other units of the same site; and since a
busy unit's loss hurts more than a silent one's, more than a lesion of units that were as active.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from facelesion.errors import Error


def random_units(
    total: int, count: int, draws: int, *, seed: int = 0, exclude: Sequence[int] | torch.Tensor = ()
) -> torch.Tensor:
    """Random sets of units of one site: the same number, many times.

    Args:
        total: units of the site.
        count: units in a set.
        draws: how many sets. Sets may repeat where few are possible.
        exclude: units that may not be drawn, such as the lesion under test.

    Returns:
        int64 (draws, count), rising within a row. One more draw leaves the earlier ones as they were.

    Raises:
        Error: more units than there are to draw from, or no draw.

    Example:
        >>> random_units(total=8, count=3, draws=2, exclude=[0, 1]).shape
        torch.Size([2, 3])
    """
    if draws < 1:
        raise Error(f"draws is {draws}: it must be 1 or more")
    free = torch.tensor(sorted(set(range(total)) - set(torch.as_tensor(exclude).tolist())))
    if not 1 <= count <= len(free):
        raise Error(f"{count} units cannot be drawn from {len(free)} (of {total}, without the excluded)")
    generator = torch.Generator().manual_seed(seed)
    rows = [free[torch.randperm(len(free), generator=generator)[:count]] for _ in range(draws)]
    return torch.stack(rows).sort(dim=1).values


@dataclass(frozen=True, eq=False)
class MatchedUnits:
    """Random sets of units that were as active as the lesioned ones, and how good the match is. Report both.

    Attributes:
        units: int64 (draws, count), rising within a row.
        mismatch: float64 (draws,): mean activation of the set less that of the lesioned units, in standard
            deviations over all units of the site.
        spread: float64 (draws,): standard deviation of the set's activation less that of the lesioned units',
            in the same unit.
    """

    units: torch.Tensor
    mismatch: torch.Tensor
    spread: torch.Tensor

    @property
    def distinct(self) -> int:
        """How many different sets there are: so many controls, however many were drawn."""
        return len({tuple(row) for row in self.units.tolist()})

    @property
    def bias(self) -> float:
        """Mean mismatch over the sets. Where it is not near 0 the sets err the same way, and so does the comparison."""
        return float(self.mismatch.mean())

    @property
    def commonest(self) -> float:
        """Share of the sets that hold the unit used most often; 1 means that one unit is in all of them."""
        return float(torch.bincount(self.units.flatten()).max()) / len(self.units)


def matched_units(
    activation: torch.Tensor,
    units: Sequence[int] | torch.Tensor,
    draws: int,
    *,
    seed: int = 0,
    tolerance: float | None = 0.1,
    tries: int = 100,
) -> MatchedUnits:
    """Random control sets matched to `units` in number and in mean and spread of activation, none of them in `units`.

    Every lesioned unit is replaced by a random one of those near to it in activation; then single units are exchanged
    as long as that brings mean and spread nearer. Each set is drawn so that it balances those before it: if they were
    too silent on average, this one may be a little too busy. A set that was drawn before is drawn again, until `tries`
    are over; how many different ones there are stands in `distinct`.

    Args:
        activation: (C,) mean activation of every unit of the site over images (of the healthy network).
        units: the units of the lesion under test.
        draws: how many control sets. One more draw leaves the earlier ones as they were.
        tolerance: largest mismatch allowed, in standard deviations of `activation` over units; None allows any.
        tries: sets tried per draw.

    Raises:
        Error: too few other units, or no set within the tolerance: the most active units of a site
            have no equals. Then widen `tolerance`, and say so.

    Example:
        >>> activation = torch.arange(100.0)
        >>> controls = matched_units(activation, [20, 50, 80], draws=5)
        >>> controls.units.shape, bool((controls.mismatch.abs() <= 0.1).all()), controls.distinct
        (torch.Size([5, 3]), True, 5)
    """
    level = activation.double().cpu()
    chosen = torch.as_tensor(units, dtype=torch.int64)
    count, total = len(chosen), len(level) if level.ndim else 0
    if level.ndim != 1 or not torch.isfinite(level).all():
        raise Error(f"activation must be one finite number per unit (C,), not {tuple(level.shape)}")
    if count == 0 or len(set(chosen.tolist())) != count or chosen.min() < 0 or chosen.max() >= total:
        raise Error(f"units must be different numbers from 0 to {total - 1}, one at least")
    if total - count < count:
        raise Error(
            f"{count} of {total} units are lesioned: {total - count} others are too few for a control"
        )
    if draws < 1 or tries < 1:
        raise Error(f"draws and tries must be 1 or more, not {draws} and {tries}")
    if tolerance is not None and not tolerance >= 0:
        raise Error(f"tolerance is {tolerance}: it must be 0 or more, or None for any mismatch")
    # In standard deviations over the site's units, so that all below is in the unit of `mismatch`.
    level = (level - level.mean()) / (float(level.std()) or 1.0)
    free = torch.ones(total, dtype=torch.bool)
    free[chosen] = False
    candidates = torch.nonzero(free).flatten()
    near = candidates[(level[chosen, None] - level[None, candidates]).abs().argsort(dim=1, stable=True)]
    search = _Search(level, level[chosen], candidates, near.tolist(), torch.Generator().manual_seed(seed))

    found: list[tuple[int, ...]] = []
    seen: set[tuple[int, ...]] = set()
    owed = 0.0  # what the sets so far were too busy, in sum: the next one's mean should make up for it
    patience = tries
    for _ in range(draws):
        best: tuple[float, tuple[int, ...]] | None = None
        for attempt in range(patience):
            taken = search.one(-owed, width=round(8 * 1.2**attempt))
            gap = search.gap(taken)
            # New sets come first, then those nearest; among sets seen before the search must not end at once.
            rank = abs(gap) + (1e6 if taken in seen else 0.0)
            if tolerance is not None and abs(gap) > tolerance:
                rank += 2e6
            if best is None or rank < best[0]:
                best = rank, taken
            if rank < 1e6:
                break
        else:
            patience = max(3, patience // 2)  # there are hardly any more
        assert best is not None
        gap = search.gap(best[1])
        if tolerance is not None and abs(gap) > tolerance:
            raise Error(
                f"no control set comes nearer than {abs(gap):.2f} deviations to the activation of these "
                f"{count} units (tolerance {tolerance:g}): they are too extreme; widen the tolerance and say so"
            )
        found.append(best[1])
        seen.add(best[1])
        owed += gap
    rows = torch.tensor(found)
    mean, deviation = level[rows].mean(1), level[rows].std(1, correction=0)
    return MatchedUnits(rows, mean - level[chosen].mean(), deviation - level[chosen].std(correction=0))


@dataclass(frozen=True, eq=False)
class _Search:
    """Random sets as active as the lesioned units.

    Attributes:
        level: (C,) activation of all units, in standard deviations.
        wanted: (count,) activation of the lesioned units.
        candidates: units that may be taken.
        near: for each lesioned unit the candidates, the nearest first.
    """

    level: torch.Tensor
    wanted: torch.Tensor
    candidates: torch.Tensor
    near: list[list[int]]
    generator: torch.Generator

    def gap(self, taken: Sequence[int]) -> float:
        """Mean activation of a set less that of the lesioned units."""
        return float(self.level[list(taken)].mean() - self.wanted.mean())

    def one(self, owed: float, width: int) -> tuple[int, ...]:
        """A set of units taken from the `width` nearest of each lesioned one, then made better unit by unit.

        Its spread is to be the lesioned units' and its mean theirs plus what is `owed`, up to 0.02.
        """
        taken = torch.tensor(_one_of_the_nearest(self.near, width, self.generator))
        target, wide = float(self.wanted.mean()), float(self.wanted.std(correction=0))
        target += max(-0.02, min(0.02, owed))
        others = self.candidates[~torch.isin(self.candidates, taken)]
        misses = 0
        miss = self._miss(taken, target, wide)
        while len(others) and misses < 3 and miss > 1e-3:
            pairs = min(512, len(taken) * len(others))
            out = torch.randint(len(taken), (pairs,), generator=self.generator)
            into = torch.randint(len(others), (pairs,), generator=self.generator)
            old, new = self.level[taken[out]], self.level[others[into]]
            mean = self.level[taken].mean() + (new - old) / len(taken)
            square = (self.level[taken] ** 2).mean() + (new**2 - old**2) / len(taken)
            spread = (square - mean**2).clamp(min=0).sqrt()
            after = (mean - target).abs() + 0.25 * (spread - wide).abs()
            best = int(after.argmin())
            if float(after[best]) >= miss - 1e-9:
                misses += 1
                continue
            miss = float(after[best])
            taken[out[best]], others[into[best]] = others[into[best]].clone(), taken[out[best]].clone()
        return tuple(sorted(taken.tolist()))

    def _miss(self, taken: torch.Tensor, target: float, wide: float) -> float:
        """How far a set is off: first in its mean, then in its spread."""
        mean, spread = float(self.level[taken].mean()), float(self.level[taken].std(correction=0))
        return abs(mean - target) + 0.25 * abs(spread - wide)


def _one_of_the_nearest(nearest: list[list[int]], window: int, generator: torch.Generator) -> list[int]:
    """For each row, in random order, one of its first `window` entries that no other row has taken."""
    taken: dict[int, int] = {}
    used: set[int] = set()
    for row in torch.randperm(len(nearest), generator=generator).tolist():
        open_ones = []
        for unit in nearest[row]:
            if unit not in used:
                open_ones.append(unit)
                if len(open_ones) == window:
                    break
        pick = open_ones[int(torch.randint(len(open_ones), (1,), generator=generator))]
        taken[row] = pick
        used.add(pick)
    return [taken[row] for row in range(len(nearest))]
