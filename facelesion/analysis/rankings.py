"""Which units matter? Rankings by activation and by selectivity, and how well two rankings agree.

A selective unit need not be a causal one (Morcos et al. 2018; Leavitt & Morcos 2020): rank by both, and report how
they agree. Units must be ranked on other images than those they are tested on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from facelesion.analysis.checks import one_of
from facelesion.analysis.statistics import false_discovery_rate
from facelesion.errors import Error
from facelesion.sweep.rankings import agreement


def unit_activation(activation: torch.Tensor) -> torch.Tensor:
    """One number per image and unit (N, C): the mean over positions of a feature map (N, C, ...).

    Raises:
        Error: activations of fewer than two axes.

    Example:
        >>> unit_activation(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 3])
    """
    if activation.ndim < 2:
        raise Error(f"activations must be (N, C) or (N, C, ...), not {tuple(activation.shape)}")
    return activation.flatten(2).mean(-1) if activation.ndim > 2 else activation


def responsible_units(activation: torch.Tensor, share: float = 0.75) -> torch.Tensor:
    """Units whose mean activation over images is at least `share` of the largest unit's, in rising order.

    The images should show one feature alone (an isolated mouth), so that the units respond to it.

    Args:
        activation: (N, C) or (N, C, H, W), after the activation function.

    Returns:
        int64 (units,). Empty if no unit is active at all.

    Raises:
        Error: a share that is not above 0 and up to 1.

    Example:
        >>> responsible_units(torch.tensor([[0.0, 4, 3, 1], [0, 4, 3, 1]])).tolist()
        [1, 2]
    """
    if not 0 < share <= 1:
        raise Error(f"the share of the largest mean lies above 0 and up to 1, not at {share}")
    mean = unit_activation(activation).double().mean(0)
    largest = mean.max()
    if largest <= 0:
        return torch.zeros(0, dtype=torch.int64)
    return torch.nonzero(mean >= share * largest).flatten()


@dataclass(frozen=True, eq=False)
class Selectivity:
    """How selective each unit of a site is for a domain.

    Attributes:
        t: float64 (C,), or (C, H, W) over positions: the smallest t against any other domain; the ranking to sort by.
        p: float64, of the same shape: the largest adjusted p against any other domain.
        selective: bool, of the same shape.
        test: 'welch' or 'student', the test that was made.
        over: 'channels' or 'positions', what was tested.
    """

    t: torch.Tensor
    p: torch.Tensor
    selective: torch.Tensor
    test: str = "welch"
    over: str = "channels"

    @property
    def units(self) -> torch.Tensor:
        """The selective channels, the most selective first.

        Over positions: those with a selective position, the ones with most of them first, then by their largest t.
        """
        shares = self.selective.reshape(len(self.selective), -1)
        best = self.t.reshape(len(self.t), -1).max(1).values
        chosen = torch.nonzero(shares.any(1)).flatten()
        chosen = chosen[torch.argsort(best[chosen], descending=True, stable=True)]
        return chosen[torch.argsort(shares.double().mean(1)[chosen], descending=True, stable=True)]


def selectivity(
    activation: Mapping[str, torch.Tensor],
    domain: str,
    alpha: float = 0.05,
    *,
    test: Literal["welch", "student"] = "welch",
    over: Literal["channels", "positions"] = "channels",
) -> Selectivity:
    """Units that respond more to `domain` than to every other domain, one by one.

    Prince, Alvarez & Konkle 2024 (*Sci Adv* adl1776): a unit is selective if against each other domain t > 0 and the
    p value, adjusted over the site's units by Benjamini & Yekutieli, is below `alpha`. The test is two-sided.

    As published a unit is one position of one channel, and the test is Student's: `test="student",
    over="positions"`. A lesion takes whole channels, and two domains rarely spread alike; so by default a channel's
    mean over positions is tested, and Welch's test allows unequal spread. Say which of them you used.

    Args:
        activation: for each domain its images' activations (N, C) or (N, C, H, W), N ≥ 2 each, finite.
        domain: the domain under test, a key of `activation`.
        test: 'welch' or 'student' (equal spread).
        over: 'channels', or 'positions': every position of a feature map is tested by itself.

    Raises:
        Error: no such domain, test or unit; fewer than two domains, or one with fewer than two images;
            activations that are not finite, or of different shape between domains.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> faces, cars = torch.randn(50, 4, generator=draw), torch.randn(50, 4, generator=draw)
        >>> faces[:, 2] += 3
        >>> selectivity({"faces": faces, "cars": cars}, "faces").units.tolist()
        [2]
    """
    from scipy import stats

    if domain not in activation:
        raise Error(f"no domain {domain!r}; there are {', '.join(activation)}")
    if len(activation) < 2:
        raise Error("selectivity is for one domain against others: give two domains or more")
    one_of("test", test, ("welch", "student"))
    one_of("unit of a test, over", over, ("channels", "positions"))
    means = {}
    for name, values in activation.items():
        means[name] = (unit_activation(values) if over == "channels" else values).double().cpu().numpy()
        if not np.isfinite(means[name]).all():
            raise Error(f"the activations of domain {name!r} are not finite")
        if means[name].ndim < 2 or means[name].shape[1:] != next(iter(means.values())).shape[1:]:
            raise Error(
                f"domain {name!r} has activations {tuple(values.shape)}: all must have the same channels and positions"
            )
    small = [name for name, values in means.items() if len(values) < 2]
    if small:
        raise Error(f"domain {small[0]!r} needs two images or more")
    t_of, p_of = [], []
    for name, other in means.items():
        if name == domain:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            t, p = stats.ttest_ind(means[domain], other, axis=0, equal_var=test == "student")
        # A unit without spread in either domain tells nothing, unless its two levels differ.
        gap = means[domain].mean(0) - other.mean(0)
        still = (means[domain].std(0) == 0) & (other.std(0) == 0)
        t = np.where(still, np.select([gap > 0, gap < 0], [np.inf, -np.inf], 0.0), t)
        p = np.where(still, np.where(gap == 0, 1.0, 0.0), p)
        t_of.append(t)
        p_of.append(false_discovery_rate(p, "benjamini-yekutieli"))
    t_least, p_most = np.min(t_of, axis=0), np.max(p_of, axis=0)
    chosen = (np.array(t_of) > 0).all(0) & (np.array(p_of) < alpha).all(0)
    return Selectivity(
        torch.from_numpy(t_least), torch.from_numpy(p_most), torch.from_numpy(chosen), test, over
    )


@dataclass(frozen=True)
class Agreement:
    """How well two rankings of the same units agree.

    Attributes:
        correlation: Spearman's rank correlation over all units.
        overlap: share of the first `top` units of one ranking that are among the first of the other.
        expected: that share if the rankings had nothing to do with each other: top / units.
        p: probability of so large an overlap by chance (hypergeometric).
        top: how many first units were compared.
    """

    correlation: float
    overlap: float
    expected: float
    p: float
    top: int


def ranking_agreement(a: torch.Tensor, b: torch.Tensor, top: float | int = 0.1) -> Agreement:
    """Compare two scores of the same units: do both call the same units important?

    Args:
        a, b: (C,) finite scores, high = important.
        top: how many first units to compare, or a share of them. Ties go to the lower unit number.

    Raises:
        Error: fewer than three units, not the same, scores that are not finite, or `top` out of range.

    Example:
        >>> ranking_agreement(torch.arange(10.0), torch.arange(10.0) ** 2, top=3).overlap
        1.0
    """
    from scipy import stats

    if a.ndim != 1 or a.shape != b.shape or len(a) < 3:
        raise Error(
            f"two rankings need scores of the same units, three or more: {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise Error("scores of a ranking must be finite")
    units = len(a)
    count = max(1, round(top * units)) if isinstance(top, float) else top
    if not 1 <= count <= units:
        raise Error(f"the first {count} of {units} units cannot be compared")
    first = [set(torch.argsort(score, descending=True, stable=True)[:count].tolist()) for score in (a, b)]
    shared = len(first[0] & first[1])
    if len(torch.unique(a)) == 1 or len(torch.unique(b)) == 1:
        correlation = float("nan")  # a ranking in which all are equal ranks nothing
    else:
        correlation = agreement(a.cpu(), b.cpu())
    p = float(stats.hypergeom.sf(shared - 1, units, count, count))
    return Agreement(correlation, shared / count, count / units, p, count)
