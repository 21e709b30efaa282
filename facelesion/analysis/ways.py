"""Ways of ranking the units of a site: what makes a unit come first. One more is one class and one line in `WAYS`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from facelesion.analysis.rankings import responsible_units, selectivity
from facelesion.analysis.statistics import false_discovery_rate
from facelesion.errors import Error
from facelesion.sweep.rankings import effects_by_image, first_order_by_image
from facelesion.sweep.task import Loss

ACTIVATIONS, LOSSES, NOTHING = "activations", "losses", "nothing"


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of each unit over people, for each of B weightings of the people: float64 (B, C) both."""

    mean: torch.Tensor
    variance: torch.Tensor

    @classmethod
    def of(cls, values: torch.Tensor, weights: torch.Tensor) -> Moments:
        """Of values (P, C) under weights (B, P): how often each person is counted."""
        centre = values.mean(0)
        apart = values - centre
        total = weights.sum(1, keepdim=True)
        mean = weights @ apart / total
        square = weights @ apart.square() / total
        variance = (square - mean.square()).clamp_min(0) * total / (total - 1).clamp_min(1)
        return cls(mean + centre, variance)


@dataclass(frozen=True)
class Way(ABC):
    """A way of ranking.

    Attributes:
        name: what it is called in tables and files.
        needs: what it is computed from: activations of every group of pictures, or losses with each unit removed.
        score: what its score is, in words.
    """

    name: ClassVar[str]
    needs: ClassVar[str] = ACTIVATIONS
    score_is: ClassVar[str]

    @abstractmethod
    def scores(self, groups: Mapping[str, Moments], of: str, against: Sequence[str]) -> torch.Tensor:
        """The units' scores (B, C) for group `of`, under B weightings of the people."""

    def test(
        self, values: Mapping[str, torch.Tensor], of: str, against: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Adjusted p and which units pass (C,), of values (P, C) by group; None where nothing is tested."""
        return None

    def fits(self, groups: Sequence[str], of: str) -> None:  # noqa: B027 - most take any groups
        """Refuse groups that it cannot rank by.

        Raises:
            Error: too few.
        """


@dataclass(frozen=True)
class Active(Way):
    """Mean activation: what every other ranking has to be compared with."""

    name: ClassVar[str] = "activation"
    score_is: ClassVar[str] = "mean activation"

    def scores(self, groups: Mapping[str, Moments], of: str, against: Sequence[str]) -> torch.Tensor:
        return groups[of].mean


@dataclass(frozen=True)
class Responsible(Way):
    """The notebook's rule: mean activation over pictures that show one feature alone, as a share of the largest unit's.

    A unit that is always busy is responsible for everything by this rule. `corrected` asks for what a unit does for
    this feature *more* than for the features on average, in units of its own average.

    Attributes:
        share: a unit passes that reaches this share of the largest score.
        corrected: score by the excess over the unit's own mean over all groups.

    Example:
        >>> import torch
        >>> from facelesion.analysis import rank
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()).eval()
        >>> pictures = {"eyes": torch.rand(8, 3), "nose": torch.rand(8, 3)}
        >>> table = rank(network, "1", pictures, Responsible(corrected=True))
        >>> len(table)
        8
    """

    share: float = 0.75
    corrected: bool = False
    name: ClassVar[str] = "responsible"
    score_is: ClassVar[str] = "mean activation over the largest unit's"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise Error(f"the share of the largest mean lies above 0 and up to 1, not at {self.share}")

    def fits(self, groups: Sequence[str], of: str) -> None:
        if self.corrected and len(groups) < 2:
            raise Error("corrected compares a unit's groups of pictures: give two or more")

    def scores(self, groups: Mapping[str, Moments], of: str, against: Sequence[str]) -> torch.Tensor:
        mean = groups[of].mean
        if self.corrected:
            overall = torch.stack([each.mean for each in groups.values()]).mean(0)
            mean = torch.where(overall != 0, (mean - overall) / overall, 0.0)
        largest = mean.amax(1, keepdim=True)
        return torch.where(largest > 0, mean / largest, 0.0)

    def test(
        self, values: Mapping[str, torch.Tensor], of: str, against: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        one = {name: torch.ones(1, len(each), dtype=torch.float64) for name, each in values.items()}
        score = self.scores({name: Moments.of(values[name], one[name]) for name in values}, of, against)
        passed = torch.zeros(score.shape[1], dtype=torch.bool)
        passed[responsible_units(score.clamp_min(0), self.share)] = True
        return torch.full((score.shape[1],), torch.nan), passed


@dataclass(frozen=True)
class Selective(Way):
    """How far a unit's answers to one group lie from those to every other: the smallest d′.

    d′ is the difference of means over people's mean activations in their pooled standard deviation; being scaled by the
    unit's own spread, it does not grow with a unit's overall activity. A unit passes if it answers more to this group
    than to each other one, by tests adjusted over the site's units (Prince, Alvarez & Konkle 2024).

    Attributes:
        alpha: the false discovery rate.
        test_made: Welch's or Student's.
    """

    alpha: float = 0.05
    test_made: Literal["welch", "student"] = "welch"
    name: ClassVar[str] = "selectivity"
    score_is: ClassVar[str] = "smallest d' against any other group"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise Error(f"alpha lies between 0 and 1, not at {self.alpha}")

    def fits(self, groups: Sequence[str], of: str) -> None:
        if len(groups) < 2:
            raise Error("selectivity is for one group of pictures against others: give two or more")

    def scores(self, groups: Mapping[str, Moments], of: str, against: Sequence[str]) -> torch.Tensor:
        own = groups[of]
        found = []
        for other in (groups[name] for name in against):
            spread = ((own.variance + other.variance) / 2).sqrt()
            gap = own.mean - other.mean
            # A unit without any spread has no d'; its gap stands in spreads of a millionth of its level.
            least = 1e-6 * (own.mean.abs() + other.mean.abs())
            found.append(torch.where(gap == 0, 0.0, gap / torch.maximum(spread, least).clamp_min(1e-300)))
        return torch.stack(found).amin(0)

    def test(
        self, values: Mapping[str, torch.Tensor], of: str, against: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        wanted = {name: values[name] for name in (of, *against)}
        if min(map(len, wanted.values())) < 2:
            return None
        found = selectivity(wanted, of, self.alpha, test=self.test_made)
        return found.p, found.selective


@dataclass(frozen=True)
class Causal(Way):
    """By how much a task's loss rises when the unit alone is removed, exactly (`unit_sweep`).

    A unit passes if the rise lies above 0 over people (one-sided t, adjusted over the site's units by Benjamini &
    Yekutieli).

    Attributes:
        alpha: the false discovery rate.
    """

    alpha: float = 0.05
    name: ClassVar[str] = "causal"
    needs: ClassVar[str] = LOSSES
    score_is: ClassVar[str] = "rise of the loss without the unit"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise Error(f"alpha lies between 0 and 1, not at {self.alpha}")

    def effects(
        self, module: nn.Module, site: str, images: torch.Tensor, loss: Loss, batch_size: int
    ) -> torch.Tensor:
        """The rise of the loss of every picture without every unit: (N, C)."""
        return effects_by_image(module, site, images, loss, batch_size=batch_size)

    def scores(self, groups: Mapping[str, Moments], of: str, against: Sequence[str]) -> torch.Tensor:
        return groups[of].mean

    def test(
        self, values: Mapping[str, torch.Tensor], of: str, against: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        import numpy as np
        from scipy import stats

        rises = values[of].numpy()
        if len(rises) < 2:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            p = stats.ttest_1samp(rises, 0, axis=0, alternative="greater").pvalue
        # Without any spread there is nothing to test: a unit that changes nothing, say.
        p = np.where(np.isnan(p), 1.0, p)
        adjusted = torch.from_numpy(false_discovery_rate(p, "benjamini-yekutieli"))
        return adjusted, adjusted < self.alpha


@dataclass(frozen=True)
class FirstOrder(Causal):
    """What `causal` comes to in first order: minus gradient times activation (Molchanov et al. 2017). A fast screen."""

    name: ClassVar[str] = "first_order"
    score_is: ClassVar[str] = "rise of the loss without the unit, to first order"

    def effects(
        self, module: nn.Module, site: str, images: torch.Tensor, loss: Loss, batch_size: int
    ) -> torch.Tensor:
        return first_order_by_image(module, site, images, loss, batch_size=batch_size)


@dataclass(frozen=True)
class Greedy(Way):
    """The published causal ranking, in rounds: who hurts most beside those gone goes first (Dobs et al. 2022).

    The rounds rank a share of the units and no more; the others have no rank.

    Attributes:
        fraction: share of the units that is ranked (0.2 in the paper).
        step: share ranked per round (0.016 in the paper, 8 of 512).
        risk: the largest probability that exhaustive search would have ranked otherwise. 0 is exhaustive search; with a
            risk units leave a round once they are all but certain not to be among its worst (`greedy_ranking`).

    Example:
        >>> Greedy(fraction=0.1, risk=0.01)
        Greedy(fraction=0.1, step=0.016, risk=0.01)
    """

    fraction: float = 0.2
    step: float = 0.016
    risk: float = 0.0
    name: ClassVar[str] = "greedy"
    needs: ClassVar[str] = LOSSES
    score_is: ClassVar[str] = "rise of the loss without the unit and those before its round"

    def __post_init__(self) -> None:
        for name, share in (("fraction", self.fraction), ("step", self.step)):
            if not _number(share) or not 0 < share <= 1:
                raise Error(f"{name} of a greedy ranking lies above 0 and is at most 1, not {share!r}")
        if not _number(self.risk) or not 0 <= self.risk < 0.5:
            raise Error(f"risk of a greedy ranking is at least 0 and less than 0.5, not {self.risk!r}")

    def scores(self, groups: Mapping[str, Moments], of: str, against: Sequence[str]) -> torch.Tensor:
        raise Error("a greedy ranking is made in rounds")  # `rank` makes it by itself


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class FromFile(Way):
    """A ranking that stands in a file: CSV or parquet with the columns `site`, `unit` and, where there is one, `score`.

    Without `score` the rows' order is the ranking.

    Attributes:
        path: the file.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> from facelesion.analysis import rank, top_units
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()).eval()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "units.csv"
        ...     pd.DataFrame({"site": "1", "unit": [2, 0], "score": [0.9, 0.4]}).to_csv(path, index=False)
        ...     table = rank(network, "1", {"faces": torch.rand(4, 3)}, FromFile(str(path)))
        >>> top_units(table, "1", count=1)
        (2,)
    """

    path: str = ""
    name: ClassVar[str] = "file"
    needs: ClassVar[str] = NOTHING
    score_is: ClassVar[str] = "score in the file"

    def __post_init__(self) -> None:
        if not self.path:
            raise Error("by file: say which: FromFile('units.csv')")

    def scores(self, groups: Mapping[str, Moments], of: str, against: Sequence[str]) -> torch.Tensor:
        raise Error("a ranking from a file is read, not computed")  # `rank` reads it by itself


#: One more way is one line.
WAYS: dict[str, type[Way]] = {
    way.name: way for way in (Responsible, Selective, Causal, Greedy, FirstOrder, Active, FromFile)
}
