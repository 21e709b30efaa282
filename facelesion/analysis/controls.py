"""Control lesions: alike in everything but the thing under test.

A lesion of chosen units must do more than a lesion of the same number of other units of the same site; and since a
busy unit's loss hurts more than a silent one's, more than a lesion of units that were as active.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from facelesion.errors import FacelesionError


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
        FacelesionError: more units than there are to draw from.

    Example:
        >>> random_units(total=8, count=3, draws=2, exclude=[0, 1]).shape
        torch.Size([2, 3])
    """
    free = torch.tensor(sorted(set(range(total)) - set(torch.as_tensor(exclude).tolist())))
    if not 1 <= count <= len(free):
        raise FacelesionError(
            f"{count} units cannot be drawn from {len(free)} (of {total}, without the excluded)"
        )
    generator = torch.Generator().manual_seed(seed)
    rows = [free[torch.randperm(len(free), generator=generator)[:count]] for _ in range(draws)]
    return torch.stack(rows).sort(dim=1).values


@dataclass(frozen=True, eq=False)
class MatchedUnits:
    """Random sets of units that were as active as the lesioned ones.

    Attributes:
        units: int64 (draws, count), rising within a row.
        mismatch: float64 (draws,): mean activation of the set less that of the lesioned units, in standard
            deviations over all units of the site. Report it: it says how good the match is.
    """

    units: torch.Tensor
    mismatch: torch.Tensor


def matched_units(
    activation: torch.Tensor,
    units: Sequence[int] | torch.Tensor,
    draws: int,
    *,
    seed: int = 0,
    tolerance: float | None = 0.1,
    tries: int = 100,
) -> MatchedUnits:
    """Random control sets matched to `units` in number and in mean activation, none of them in `units`.

    Every lesioned unit is replaced by a random one of those nearest to it in activation; the first set whose mean is
    within `tolerance` is taken, else the neighbourhood is made narrower, down to the nearest free unit.

    Args:
        activation: (C,) mean activation of every unit of the site over images (of the healthy network).
        units: the units of the lesion under test.
        draws: how many control sets.
        tolerance: largest mismatch allowed, in standard deviations of `activation` over units; None allows any.
        tries: sets tried per draw.

    Raises:
        FacelesionError: too few other units, or no set within the tolerance: the most active units of a site
            have no equals. Then widen `tolerance`, and say so.

    Example:
        >>> activation = torch.arange(100.0)
        >>> controls = matched_units(activation, [20, 50, 80], draws=5)
        >>> controls.units.shape, bool((controls.mismatch.abs() <= 0.1).all())
        (torch.Size([5, 3]), True)
    """
    level = activation.double().cpu()
    chosen = torch.as_tensor(units, dtype=torch.int64)
    count, total = len(chosen), len(level)
    if level.ndim != 1 or not torch.isfinite(level).all():
        raise FacelesionError(f"activation must be one finite number per unit (C,), not {tuple(level.shape)}")
    if count == 0 or len(set(chosen.tolist())) != count or chosen.min() < 0 or chosen.max() >= total:
        raise FacelesionError(f"units must be different numbers from 0 to {total - 1}, one at least")
    if total - count < count:
        raise FacelesionError(
            f"{count} of {total} units are lesioned: {total - count} others are too few for a control"
        )
    spread = float(level.std()) or 1.0
    target = float(level[chosen].mean())
    free = torch.ones(total, dtype=torch.bool)
    free[chosen] = False
    candidates = torch.nonzero(free).flatten()
    # Nearest candidates first, for each lesioned unit.
    nearest = candidates[(level[chosen, None] - level[None, candidates]).abs().argsort(dim=1, stable=True)]

    generator = torch.Generator().manual_seed(seed)
    widest = min(len(candidates), 4 * count + 16)
    found, gaps = [], []
    for _ in range(draws):
        best: tuple[float, list[int]] | None = None
        for attempt in range(tries):
            window = max(1, round(widest * 0.7 ** (attempt // 4)))
            taken = _one_of_the_nearest(nearest, window, generator)
            gap = (float(level[taken].mean()) - target) / spread
            if best is None or abs(gap) < abs(best[0]):
                best = gap, taken
            if tolerance is not None and abs(gap) <= tolerance:
                break
            if tolerance is None and attempt >= 9:
                break
        assert best is not None
        if tolerance is not None and abs(best[0]) > tolerance:
            raise FacelesionError(
                f"no control set comes nearer than {abs(best[0]):.2f} deviations to the activation of these "
                f"{count} units (tolerance {tolerance:g}): they are too extreme; widen the tolerance and say so"
            )
        found.append(sorted(best[1]))
        gaps.append(best[0])
    return MatchedUnits(torch.tensor(found), torch.tensor(gaps, dtype=torch.float64))


def _one_of_the_nearest(nearest: torch.Tensor, window: int, generator: torch.Generator) -> list[int]:
    """For each row, in random order, one of its first `window` entries that no other row has taken."""
    taken: dict[int, int] = {}
    used: set[int] = set()
    for row in torch.randperm(len(nearest), generator=generator).tolist():
        open_ones = []
        for unit in nearest[row].tolist():
            if unit not in used:
                open_ones.append(unit)
                if len(open_ones) == window:
                    break
        pick = open_ones[int(torch.randint(len(open_ones), (1,), generator=generator))]
        taken[row] = pick
        used.add(pick)
    return [taken[row] for row in range(len(nearest))]
