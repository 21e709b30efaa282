"""Are these units necessary, are they sufficient? What is lost without them, and what is left with them alone.

Bau et al. 2020 (PNAS): removing 20 units abolishes one class, and keeping only those 20 of 512 leaves it mostly intact.
What it means that so many units are removed or kept is said by other sets of as many: at random, and as active.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from facelesion.analysis.activations import by_person, picture_activations
from facelesion.analysis.controls import matched_units, random_units
from facelesion.analysis.statistics import null_test
from facelesion.errors import Error
from facelesion.lesions import Ablate, Keep, Lesion
from facelesion.sweep import sweep

if TYPE_CHECKING:
    import pandas as pd

# Outputs (n, ...) and the pictures' numbers (n,) to one score per picture (n,): 1 for a right answer, say.
Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

COUNTS = (1, 2, 5, 10, 20, 50, 100)
REMOVED, KEPT = "removed", "kept alone"
RANKED, RANDOM, MATCHED, INTACT = "ranked", "random", "matched", "intact"


def necessity_and_sufficiency(
    module: nn.Module,
    site: str,
    units: Sequence[int],
    images: torch.Tensor,
    score: Score,
    *,
    people: Sequence[str] | None = None,
    counts: Sequence[int] = COUNTS,
    draws: int = 100,
    reference: torch.Tensor | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = False,
) -> pd.DataFrame:
    """Remove the first 1, 2, 5, ... units of a ranking; keep them alone; and do the same with sets that mean nothing.

    Args:
        module: the healthy network.
        site: one site.
        units: ranked, the first the most important: ranked on other pictures than `images`.
        images: preprocessed (N, ...), what is asked about.
        score: of each picture, larger is better.
        people: who is on each picture; people weigh alike, and intervals are over them.
        counts: how many units; those that the ranking does not have are left out, as is a whole site.
        draws: sets of either kind of control, for each count: at random from all units, and matched to the ranked
            units in mean and spread of activation (`matched_units`), without any of them. The second are fewer where
            the ranked units have few equals, and none where fewer units are left than are needed.
        reference: pictures (M, ...) that activation is measured on; `images` when left out.
        seed: of the controls and intervals.
        batch_size, progress: as in `sweep`.

    Returns:
        One row per set, with `site`, `kind` (removed, kept alone), `set` (ranked, random, matched; intact once),
        `count`, `draw`, `score`; for ranked sets `low`, `high` (95 %, over people) and `p_random`, `p_matched`: how
        often a set of that kind does at least as much harm when removed, or leaves at least as much when kept; for
        matched sets `mismatch` in standard deviations over units, and `distinct`, how many there are.

    Raises:
        Error: no units, none of the counts, or people that do not fit.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        >>> images = torch.rand(6, 3, 8, 8)
        >>> def score(outputs, numbers):
        ...     return outputs.argmax(1).eq(0).float()
        >>> table = necessity_and_sufficiency(network, "1", [3, 1, 0], images, score, counts=[1, 2], draws=3)
        >>> table.groupby(["kind", "set"]).size().to_dict()["removed", "random"]
        6
    """
    import pandas

    if draws < 1:
        raise Error(f"draws is {draws}: the null needs one set or more")
    names = [str(row) for row in range(len(images))] if people is None else [str(name) for name in people]
    if len(names) != len(images):
        raise Error(f"{len(images)} pictures and {len(names)} people: give as many")
    found = picture_activations(module, site, images if reference is None else reference, batch_size=batch_size)
    if len(found) != 1:
        raise Error(f"{site} means {len(found)} sites: take one at a time")
    activation = next(iter(found.values())).mean.mean(0)
    total = len(activation)
    order = [int(unit) for unit in units]
    if len(set(order)) < len(order) or any(not 0 <= unit < total for unit in order):
        raise Error(f"units must be different numbers from 0 to {total - 1}")
    asked = [count for count in counts if 1 <= count <= len(order) and count < total]
    if not asked:
        raise Error(
            f"counts: none of {', '.join(map(str, counts))} fits {len(order)} ranked units of {total} at {site}"
        )
    score_by_person = _Scores(score, names, seed)
    sets = {count: _sets(activation, order[:count], draws, seed) for count in asked}
    kinds: dict[str, type[Ablate]] = {REMOVED: Ablate, KEPT: Keep}
    # All of them in one sweep: what comes before the site is computed once.
    lesions: dict[str, Lesion | None] = {INTACT: None} | {
        f"{kind} {count} {place}": make(site, units=tuple(each["units"]))
        for kind, make in kinds.items()
        for count in asked
        for place, each in enumerate(sets[count])
    }
    answers = sweep(
        module, lesions, images, batch_size=batch_size, progress=progress, reduce=score_by_person.reducer
    )
    intact = {"kind": INTACT, "set": INTACT, "count": 0, "draw": 0}
    rows: list[dict[str, Any]] = [intact | score_by_person.told(answers[INTACT])]
    for kind in kinds:
        for count in asked:
            part: list[dict[str, Any]] = [
                {key: value for key, value in each.items() if key != "units"}
                | {"kind": kind, "count": count}
                | score_by_person.told(answers[f"{kind} {count} {place}"], interval=each["set"] == RANKED)
                for place, each in enumerate(sets[count])
            ]
            for null in (RANDOM, MATCHED):
                values = [row["score"] for row in part if row["set"] == null]
                if values:
                    side: Literal["less", "greater"] = "less" if kind == REMOVED else "greater"
                    part[0][f"p_{null}"] = null_test(part[0]["score"], values, side).p
            rows += part
    columns = [
        "site", "kind", "set", "count", "draw", "score", "low", "high", "p_random", "p_matched", "mismatch", "distinct",
    ]  # fmt: skip
    return pandas.DataFrame(rows).assign(site=site).reindex(columns=columns)


def _sets(activation: torch.Tensor, chosen: Sequence[int], draws: int, seed: int) -> list[dict[str, Any]]:
    """The ranked units first, then their controls."""
    sets: list[dict[str, Any]] = [{"set": RANKED, "draw": 0, "units": list(chosen)}]
    drawn = random_units(len(activation), len(chosen), draws, seed=seed)
    sets += [{"set": RANDOM, "draw": number, "units": row} for number, row in enumerate(drawn.tolist())]
    if 2 * len(chosen) <= len(activation):
        # Any mismatch is let pass, and told: the most active units of a site have no equals.
        matched = matched_units(activation, chosen, draws, seed=seed, tolerance=None)
        # And a set that is drawn again is no further control.
        gaps = dict(zip(map(tuple, matched.units.tolist()), matched.mismatch.tolist(), strict=True))
        sets += [
            {"set": MATCHED, "draw": number, "units": row, "mismatch": gap, "distinct": len(gaps)}
            for number, (row, gap) in enumerate(gaps.items())
        ]
    return sets


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of pictures as means over people."""

    score: Score
    names: Sequence[str]
    seed: int

    def reducer(self, _: str) -> _Kept:
        return _Kept(self.score, torch.zeros(len(self.names), dtype=torch.float64))

    def told(self, scores: torch.Tensor, interval: bool = True) -> dict[str, float]:
        """Mean over people, with its interval."""
        means = by_person(scores, self.names)[1].numpy()
        found = {"score": float(means.mean())}
        if interval and len(means) > 1:
            again = np.random.default_rng(self.seed).integers(len(means), size=(2000, len(means)))
            low, high = np.quantile(means[again].mean(1), [0.025, 0.975])
            found |= {"low": float(low), "high": float(high)}
        return found


@dataclass(frozen=True, eq=False)
class _Kept:
    """One lesion's scores, as outputs come in."""

    score: Score
    values: torch.Tensor

    def update(self, outputs: torch.Tensor, rows: range) -> None:
        found = self.score(outputs, torch.arange(rows.start, rows.stop))
        if found.shape != (len(rows),):
            raise Error(f"score gives one number per picture, ({len(rows)},) here, not {tuple(found.shape)}")
        self.values[rows.start : rows.stop] = found.double().cpu()

    def compute(self) -> torch.Tensor:
        return self.values
