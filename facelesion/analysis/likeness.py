"""How alike two representations of the same pictures are, such as a damaged network's and a healthy one's."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from facelesion.errors import Error

_DRAWS = 1000  # of people, for intervals
_TAIL = 0.025


def likeness_to_health(
    healthy: torch.Tensor, seen: torch.Tensor, people: Sequence[str], seed: int = 0
) -> dict[str, float]:
    """Likeness of two representations, with 95 % intervals over people.

    `rdm` is the rank correlation of the distances between pictures (representational similarity: Kriegeskorte, Mur &
    Bandettini 2008), `cka` linear centred kernel alignment (Kornblith, Norouzi, Lee & Hinton 2019); of each also
    `_low` and `_high`, the ends of its interval.

    Args:
        healthy, seen: (M, units) of the same pictures; the numbers of units may differ.
        people: who is on each picture; people are drawn with all of theirs.
        seed: of the intervals.

    Raises:
        Error: other numbers of pictures, or fewer than three.

    Example:
        >>> x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
        >>> found = likeness_to_health(x, 3 * x, "aabbcc")
        >>> round(found["rdm"], 6), round(found["cka"], 6)
        (1.0, 1.0)
    """
    if not len(healthy) == len(seen) == len(people) >= 3:
        counts = f"{len(healthy)} and {len(seen)} pictures, with {len(people)} people"
        raise Error(f"{counts}: give as many of each, three or more")
    pair, draws = (healthy.double(), seen.double()), people_drawn(people, seed)
    rdm = with_interval("rdm", *distance_likeness(*pair), draws)
    return rdm | with_interval("cka", *kernel_alignment(*pair), draws)


def picture_distances(units: torch.Tensor) -> torch.Tensor:
    """One less Pearson's correlation over units, of every two pictures: a representational dissimilarity matrix (M, M).

    Pictures without any differences between units are as far from all others as uncorrelated ones.

    Args:
        units: (M, units) of M pictures.

    Example:
        >>> picture_distances(torch.tensor([[0.0, 1, 3], [0, 2, 6], [3, 2, 0]]))[0].round(decimals=2).tolist()
        [0.0, 0.0, 2.0]
    """
    centred = units - units.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    # What rounding leaves of equal numbers is no difference.
    flat = length <= 1e-9 * units.norm(dim=1, keepdim=True)
    unit = torch.where(flat, 0.0, centred / length.clamp_min(1e-300))
    return 1 - unit @ unit.T


def distance_likeness(healthy: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rank correlation of each picture's distances to the others, in health and now; its mean is the likeness.

    Distance is one less Pearson's correlation over units. Ties share their mean rank; where all distances are equal
    there is no likeness.

    Args:
        healthy, seen: (M, units) of the same pictures; the numbers of units may differ.

    Returns:
        Of every picture its correlation (M,), and ones (M,): the mean's numerator and denominator.

    Example:
        >>> x = torch.tensor([[0.0, 1, 3], [1, 0, 5], [4, 2, 1], [0, 7, 2]], dtype=torch.float64)
        >>> distance_likeness(x, 2 * x + 1)[0].round(decimals=6).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    one, two = (_ranks(_others_of(picture_distances(each))) for each in (healthy, seen))
    return _correlations(one, two), torch.ones(len(healthy), dtype=torch.float64)


def kernel_alignment(healthy: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear centred kernel alignment, as shares of the pictures: sum of the first over sum of the second.

    Args:
        healthy, seen: (M, units) of the same pictures; the numbers of units may differ.

    Returns:
        Of every picture its share (M,) of the numerator ⟨K, L⟩ and of the denominator ‖K‖ ‖L‖, where K and L are the
        centred Gram matrices; the second is the geometric mean of its shares of both norms, rescaled to the whole.

    Example:
        >>> x = torch.tensor([[0.0, 1], [1, 0], [4, 2]], dtype=torch.float64)
        >>> above, below = kernel_alignment(x, 3 * x + 2)
        >>> round(float(above.sum() / below.sum()), 6)
        1.0
    """
    one, two = ((each - each.mean(0)) @ (each - each.mean(0)).T for each in (healthy, seen))
    above, first, second = (one * two).sum(1), one.square().sum(1), two.square().sum(1)
    whole = (first.sum() * second.sum()).sqrt()
    below = (first * second).sqrt()
    return above, below * (whole / below.sum()) if below.sum() > 0 else below


def order_kept(healthy: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Of every picture, in how many pairs of others the one that was nearer in health is nearer now (M,).

    Distances are those of `distance_likeness`; what is equally near now counts half, and pairs that were equally near
    in health do not count. 0.5 is chance, and what a network gives that makes no difference between pictures.

    Args:
        healthy, seen: (M, units) of the same pictures, three or more; the numbers of units may differ.

    Example:
        >>> x = torch.tensor([[0.0, 1, 3], [1, 0, 5], [4, 2, 1], [0, 7, 2]], dtype=torch.float64)
        >>> order_kept(x, 2 * x + 1).tolist(), order_kept(x, torch.zeros(4, 3, dtype=torch.float64)).tolist()
        ([1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5])
    """
    then, now = (_others_of(picture_distances(each)) for each in (healthy, seen))
    found = []
    for one, two in zip(then, now, strict=True):  # picture by picture, for memory
        order, kept = (torch.sign(row[:, None] - row) for row in (one, two))
        counted = order != 0
        found.append(((order * kept)[counted].mean() + 1) / 2 if counted.any() else torch.tensor(0.5))
    return torch.stack(found).to(torch.float64)


def with_interval(name: str, above: torch.Tensor, below: torch.Tensor, draws: torch.Tensor) -> dict[str, float]:
    """A ratio of sums, and the interval of it when people are drawn anew."""
    value = _ratio(above.sum(), below.sum())
    drawn = _ratio(draws @ above, draws @ below).sort().values
    ends = [drawn[int(round(share * (len(drawn) - 1)))] for share in (_TAIL, 1 - _TAIL)]
    return {name: float(value), f"{name}_low": float(ends[0]), f"{name}_high": float(ends[1])}


def _ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """0 where there is nothing to be alike."""
    return torch.where(below > 0, above / below.clamp_min(1e-300), torch.zeros_like(above))


def people_drawn(people: Sequence[str], seed: int) -> torch.Tensor:
    """How often each picture counts (draws, M) when as many people are drawn, each with all pictures."""
    names = sorted(set(people))
    who = torch.tensor([names.index(person) for person in people])
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(names), (_DRAWS, len(names)), generator=generator)
    counts = torch.zeros(_DRAWS, len(names), dtype=torch.float64)
    counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=torch.float64))
    return counts[:, who]


def _others_of(distances: torch.Tensor) -> torch.Tensor:
    """Every picture's distances to the others (M, M - 1), rounded so that rounding orders nothing."""
    count = len(distances)
    other = ~torch.eye(count, dtype=torch.bool)
    return distances[other].reshape(count, count - 1).mul(1e9).round()


def _ranks(rows: torch.Tensor) -> torch.Tensor:
    """Ranks within each row (M, N), ties at their mean."""
    ordered = rows.sort(dim=1).values
    below = torch.searchsorted(ordered, rows.contiguous(), side="left")
    upto = torch.searchsorted(ordered, rows.contiguous(), side="right")
    return (below + upto).double() / 2


def _correlations(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation of each row with its like (M,); 0 where one does not vary."""
    one, two = (each - each.mean(1, keepdim=True) for each in (one, two))
    length = one.norm(dim=1) * two.norm(dim=1)
    return torch.where(length > 0, (one * two).sum(1) / length.clamp_min(1e-300), torch.zeros_like(length))
