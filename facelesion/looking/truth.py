"""Do ways of finding units find those that matter? Each is held to decisions whose evidence is known.

Two faces that differ in one feature alone (`feature_decision`): does removing the units that a way names for that
feature change that decision, more than removing as many other units, at random or as active? And that decision more
than those on the other features? A selective unit need not be a causal one (Morcos et al. 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from facelesion.analysis.activations import by_person, picture_activations
from facelesion.analysis.controls import matched_units, random_units
from facelesion.analysis.ranked import rank, top_units
from facelesion.analysis.statistics import null_test
from facelesion.analysis.ways import LOSSES, WAYS, Greedy, Responsible, Way
from facelesion.data.imagesets import FaceSet
from facelesion.faces.stimuli import Isolate
from facelesion.lesions import Ablate, Lesion
from facelesion.looking.questions import FEATURES, Question
from facelesion.models import Subject
from facelesion.sweep import sweep

if TYPE_CHECKING:
    import pandas as pd

INTACT, FOUND, RANDOM, MATCHED = "intact", "found", "random", "matched"


def features_alone(faces: FaceSet, fill: str = "blur", features: Sequence[str] = FEATURES) -> dict[str, torch.Tensor]:
    """Each feature of every face alone, uint8 (N, 3, H, W) by feature: the rest blurred, or covered with `fill`."""
    return {feature: faces.shown(Isolate(feature, fill=fill)).images for feature in features}


def ways_of(fraction: float, names: Sequence[str] = ("responsible", "corrected", "selectivity", "activation",
                                                    "first_order", "causal", "greedy")) -> dict[str, Way]:  # fmt: skip
    """Ways of ranking by what they are called in results; the greedy one ranks a share of the units alone."""
    made: dict[str, Way] = {"corrected": Responsible(corrected=True), "greedy": Greedy(fraction, min(fraction, 0.016))}
    return {name: made[name] if name in made else WAYS[name]() for name in names}


def find_units(
    subject: Subject,
    sites: Sequence[str],
    ways: Mapping[str, Way],
    alone: Mapping[str, torch.Tensor],
    people: Sequence[str],
    questions: Mapping[str, Question],
    *,
    resamples: int = 1000,
    splits: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Rankings of the units for each feature, by each way; `way` says which.

    Args:
        subject: the network.
        sites: where.
        ways: by name.
        alone: each feature alone, uint8 (N, 3, H, W), as `features_alone` makes them.
        people: who is on each of these pictures.
        questions: for ways that need a decision: by feature.
        resamples, splits, seed: as for `rank`.
    """
    import pandas

    shown = {name: subject.preprocess(images) for name, images in alone.items()}
    who = dict.fromkeys(shown, tuple(people))
    asked = {name: subject.preprocess(each.images) for name, each in questions.items()}
    tables = []
    for name, way in ways.items():
        if way.needs == LOSSES:
            table = rank(
                subject.module, sites, asked, way, people={key: each.people for key, each in questions.items()},
                loss={key: each.loss for key, each in questions.items()}, resamples=resamples, splits=splits, seed=seed,
            )  # fmt: skip
        else:
            table = rank(subject.module, sites, shown, way, people=who, resamples=resamples, splits=splits, seed=seed)
        tables.append(table.assign(way=name))
    return pandas.concat(tables, ignore_index=True)


def hold_to_the_truth(
    subject: Subject,
    rankings: pd.DataFrame,
    questions: Mapping[str, Question],
    *,
    fraction: float = 0.1,
    draws: int = 200,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Remove what each way found for each feature, and ask about every feature; beside sets of as many other units.

    Args:
        subject: the network.
        rankings: as `find_units` makes them.
        questions: decisions about *other* people than units were found on, by feature.
        fraction: share of a site's units that is removed.
        draws: control sets of either kind.
        seed: of the controls.
        progress: a bar.

    Returns:
        One row per site, way, `units_of` and `asked` feature: `intact` and `right` (share of right answers, mean over
        people), `margin` (share of the healthy margin that is left), `random` (the mean margin left by control sets)
        and `p_random` (how often one takes as much of the margin), `count` and `units`. Where the units' own feature is
        asked also `matched` and `p_matched`, `mismatch` of these sets in activation, and how many are `distinct`.
    """
    import pandas

    answers = {name: _Asked(subject, question, progress) for name, question in questions.items()}
    activation = {
        site: found.mean.mean(0)
        for site, found in picture_activations(
            subject.module,
            list(dict.fromkeys(rankings["site"])),
            subject.preprocess(torch.cat([question.images[:64] for question in questions.values()])),
        ).items()
    }
    rows: list[dict[str, Any]] = []
    for site, part in rankings.groupby("site", sort=False):
        total = len(activation[site])
        count = max(1, int(fraction * total + 0.5))
        chance = random_units(total, count, draws, seed=seed).tolist()
        null = {name: each(site, chance) for name, each in answers.items()}
        for (way, feature), table in part.groupby(["way", "of"], sort=False):
            units = top_units(table, site, count)
            matched = matched_units(activation[site], units, draws, seed=seed, tolerance=None)
            for name, each in answers.items():
                own = name == feature
                found = each(site, [list(units), *(matched.units.tolist() if own else ())])
                left, others = float(found[0, 0]), null[name][:, 0]
                row = {
                    "site": site, "way": way, "units_of": feature, "asked": name, "intact": each.intact[1],
                    "right": float(found[0, 1]), "margin": left, "random": float(others.mean()),
                    "p_random": null_test(left, others).p, "count": count, "units": " ".join(map(str, units)),
                }  # fmt: skip
                if own:
                    controls = found[1:, 0]
                    row |= {
                        "matched": float(controls.mean()), "p_matched": null_test(left, controls).p,
                        "mismatch": matched.bias, "distinct": matched.distinct,
                    }  # fmt: skip
                rows.append(row)
    return pandas.DataFrame(rows)


class _Asked:
    """A question, put to the network without sets of units: share of the healthy margin left, and of right answers."""

    def __init__(self, subject: Subject, question: Question, progress: bool) -> None:
        self.subject, self.question, self.progress = subject, question, progress
        self.images = subject.preprocess(question.images)
        self.healthy = 1.0
        intact = self._asked({INTACT: None})[0]
        self.healthy, self.intact = float(intact[0]), (1.0, float(intact[1]))

    def __call__(self, site: str, sets: Sequence[Sequence[int]]) -> np.ndarray:
        """(sets, 2): margin left, share right."""
        return self._asked({str(place): Ablate(site, units=tuple(units)) for place, units in enumerate(sets)})

    def _asked(self, lesions: Mapping[str, Lesion | None]) -> np.ndarray:
        numbers = torch.arange(len(self.images))
        found = sweep(self.subject.module, lesions, self.images, batch_size=64, progress=self.progress)
        rows = []
        for output in found.values():
            margins = by_person(self.question.margin(output, numbers), self.question.people)[1].mean()
            right = by_person(self.question.right(output, numbers), self.question.people)[1].mean()
            rows.append((float(margins) / self.healthy, float(right)))
        return np.array(rows)
