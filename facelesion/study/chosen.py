"""Units that a study chooses: each healthy participant's units are ranked, and control sets drawn beside them.

Units are ranked on pictures that nothing is tested with. A participant's rankings are kept in the run.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from facelesion.analysis.activations import picture_activations
from facelesion.analysis.controls import matched_units, random_units
from facelesion.analysis.ranked import Loss, rank
from facelesion.analysis.ways import LOSSES
from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.errors import Error
from facelesion.faces.stimuli import Isolate
from facelesion.files import digest_of, write_whole
from facelesion.lesions import Lesion
from facelesion.lesions.functional import how_many
from facelesion.models import Subject
from facelesion.study.choice import DOMAINS, FEATURES, Choice, Controls
from facelesion.study.design import Set, Study
from facelesion.study.look import HEALTHY_BATCH

if TYPE_CHECKING:
    import pandas as pd

_SHARPNESS = 16.0  # of the softmax over likenesses in a causal ranking's loss


@dataclass(frozen=True, eq=False)
class Chosen:
    """One participant's rankings, by which units of its sites come first.

    Attributes:
        table: rows of `facelesion.analysis.rank`, with the columns `series`, `part` and `activation` (the unit's mean
            over all pictures that were looked at) beside.
    """

    table: pd.DataFrame

    @cached_property
    def order(self) -> dict[tuple[str, int], dict[str, tuple[int, ...]]]:
        """By series and part, then site: units, the first first."""
        ranked = self.table[self.table["rank"].notna()].sort_values("rank")
        found: dict[tuple[str, int], dict[str, tuple[int, ...]]] = {}
        for (series, part, site), rows in ranked.groupby(["series", "part", "site"], sort=False):
            found.setdefault((series, int(part)), {})[site] = tuple(int(unit) for unit in rows["unit"])
        return found

    @cached_property
    def activation(self) -> dict[str, torch.Tensor]:
        """By site the mean activation (C,) of its units."""
        each = self.table.drop_duplicates(["site", "unit"]).sort_values("unit")
        return {site: torch.tensor(rows["activation"].to_numpy()) for site, rows in each.groupby("site", sort=False)}

    def sets(self, series: str, lesion: Lesion, controls: Controls, seed: int) -> Iterator[Set]:
        """A step of a series with the units that were chosen, then with each of their control sets.

        Where a site has no equal set of other units left, there are no controls.

        Raises:
            Error: a dose that comes to no unit, or to more units than are ranked.
        """
        first: dict[tuple[int, str], tuple[int, ...]] = {}
        for number, part in enumerate(lesion.parts):
            for site, order in self.order.get((series, number), {}).items():
                first[number, site] = order[: self._count(part, site, len(order), series)]
        yield "", self._with(lesion, first), None
        if any(2 * len(units) > len(self.activation[site]) for (_, site), units in first.items()):
            return
        for control in ("random", "matched"):
            count = getattr(controls, control)
            if not count:
                continue
            found = {key: self._others(control, key, units, count, seed) for key, units in first.items()}
            for draw in range(count):
                units = {key: tuple(sets[draw].tolist()) for key, (sets, _) in found.items()}
                misses = [float(miss[draw]) for _, miss in found.values() if miss is not None]
                mismatch = sum(misses) / len(misses) if misses else None
                yield control, self._with(lesion, units), mismatch

    def _others(
        self, control: str, key: tuple[int, str], units: Sequence[int], draws: int, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Sets (draws, count) of other units of a site, and a matched set's mismatch (draws,)."""
        number, site = key
        own = int(digest_of([str(seed), str(number), site], 8), 16)  # sites must not lose units of the same numbers
        if control == "random":
            return random_units(len(self.activation[site]), len(units), draws, seed=own, exclude=units), None
        found = matched_units(self.activation[site], units, draws, seed=own, tolerance=None)
        return found.units, found.mismatch

    def _count(self, part: Any, site: str, ranked: int, series: str) -> int:
        total = len(self.activation[site])
        count = part.count if part.fraction is None else how_many(part.fraction, total)
        if not 0 < count <= ranked:
            few = "less than half a unit" if not count else f"more than the {ranked} that are ranked"
            raise Error(f"lesions.{series}: {count} of {site}'s {total} units is {few}: take another dose")
        return int(count)

    def _with(self, lesion: Lesion, units: Mapping[tuple[int, str], tuple[int, ...]]) -> Lesion:
        """The lesion with these units at every site of its ranked parts."""
        found: list[Lesion] = []
        for number, part in enumerate(lesion.parts):
            sites = [site for other, site in units if other == number]
            found += [
                dataclasses.replace(part, site=site, units=units[number, site], fraction=None, count=None)  # type: ignore[call-arg]
                for site in sites
            ] or [part]
        return functools.reduce(operator.add, found)


def choose(
    study: Study,
    name: str,
    subject: Subject,
    pictures: Mapping[str, ImageSet],
    key: str,
    parts: Path,
    device: torch.device,
) -> Chosen:
    """Rank one participant's units for every lesion that asks for it; rankings that are kept already are read.

    Args:
        name: of the participant.
        pictures: faces and objects that nothing is tested with.
        key: of the whole study.
        parts: where what is done is kept.

    Raises:
        Error: a site or a file that there is not.
    """
    import pandas

    tables = []
    level: dict[str, torch.Tensor] = {}
    for series in study.lesions:
        sites = study.series(series, name).steps[0].parts
        for number, choice in study.choices(series).items():
            kept = parts / f"{digest_of([key, name, series, str(number)], 24)}.ranking"
            if not kept.is_file():
                table = _ranked(subject, sites[number].site, choice, pictures, study.seed, device)
                # Series are for the same sites as often as not: what a site does in health is measured once.
                level |= _levels(subject, sorted(set(table["site"]) - set(level)), pictures, device)
                units = zip(table["site"], table["unit"], strict=True)
                table["activation"] = [float(level[site][unit]) for site, unit in units]
                table.insert(0, "participant", name)
                table.insert(1, "series", series)
                table.insert(2, "part", number)
                write_whole(kept, functools.partial(table.to_parquet, index=False))
            tables.append(pandas.read_parquet(kept))
    return Chosen(pandas.concat(tables, ignore_index=True))


def _levels(
    subject: Subject, sites: Sequence[str], pictures: Mapping[str, ImageSet], device: torch.device
) -> dict[str, torch.Tensor]:
    """By site the mean activation (C,) of its units, faces and objects counting alike."""
    if not sites:
        return {}
    module = subject.module.to(device).eval()
    shown = (subject.preprocess(pictures[name].images.to(device)) for name in DOMAINS)
    means = [picture_activations(module, sites, images, batch_size=HEALTHY_BATCH) for images in shown]
    return {site: torch.stack([found[site].mean.mean(0) for found in means]).mean(0) for site in sites}


def _ranked(
    subject: Subject, site: str, choice: Choice, pictures: Mapping[str, ImageSet], seed: int, device: torch.device
) -> pd.DataFrame:
    module = subject.module.to(device).eval()
    groups = {name: subject.preprocess(_shown(pictures, name).to(device)) for name in choice.groups}
    who = {name: _of(pictures, name).labels for name in choice.groups}
    return rank(
        module,
        site,
        groups,
        choice.way,
        of=choice.of,
        against=[name for name in choice.groups if name != choice.of] or None,
        people=who,
        loss={choice.of: loss_of(module, groups[choice.of], who[choice.of])} if choice.way.needs == LOSSES else None,
        seed=seed,
        batch_size=HEALTHY_BATCH,
    )


def _of(pictures: Mapping[str, ImageSet], group: str) -> ImageSet:
    return pictures["faces" if group in FEATURES else group]


def _shown(pictures: Mapping[str, ImageSet], group: str) -> torch.Tensor:
    """A group's pictures, uint8; a feature's show that feature of the faces alone."""
    found = _of(pictures, group)
    if group not in FEATURES:
        return found.images
    assert isinstance(found, FaceSet)
    alone = Isolate(group)(found.images.float() / 255, found.landmarks, ids=found.ids)
    return (alone * 255).round().clamp(0, 255).to(torch.uint8)


def loss_of(module: torch.nn.Module, images: torch.Tensor, labels: Sequence[str]) -> Loss:
    """How far a network is from telling whose picture each is: a loss for causal rankings.

    The healthy network remembers the mean of each label's pictures, for a picture itself that of the label's others;
    its loss is the cross entropy of its likeness (cosine) to what is remembered.
    """
    names = sorted(set(labels))
    target = torch.tensor([names.index(label) for label in labels])
    with torch.no_grad():
        healthy = functional.normalize(
            torch.cat([module(batch).flatten(1).float() for batch in images.split(HEALTHY_BATCH)]), dim=1
        )
    counts = torch.bincount(target)
    total = torch.zeros(len(names), healthy.shape[1], device=healthy.device)
    total.index_add_(0, target.to(healthy.device), healthy)

    def loss(outputs: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        given = functional.normalize(outputs.flatten(1).float(), dim=1)
        own = target[numbers.cpu()].to(given.device)
        memory = functional.normalize(total, dim=1).to(given.device)
        likeness = given @ memory.T
        # Without the picture itself, if others of its label are there.
        rest = total[own].to(given.device) - healthy[numbers].to(given.device)
        alone = (counts[own.cpu()] < 2).to(given.device)
        without = torch.where(alone[:, None], total[own].to(given.device), rest)
        likeness[torch.arange(len(given), device=given.device), own] = (
            given * functional.normalize(without, dim=1)
        ).sum(1)
        return functional.cross_entropy(_SHARPNESS * likeness, own, reduction="none")

    return loss
