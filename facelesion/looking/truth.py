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
from facelesion.lesions.functional import how_many
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
        asked also `matched` and `p_matched`, over sets that differ; `mismatch` of these sets in activation, and how
        many are `distinct`: of ten, p cannot fall below 1 in 11.
    """
    import pandas

    sites = list(dict.fromkeys(rankings["site"]))
    some = torch.cat([question.images[:64] for question in questions.values()])
    found = picture_activations(subject.module, sites, subject.preprocess(some))
    rows: list[dict[str, Any]] = []
    for site, part in rankings.groupby("site", sort=False):
        activation = found[site].mean.mean(0)
        count = max(1, how_many(fraction, len(activation)))
        chance = random_units(len(activation), count, draws, seed=seed).tolist()
        chosen = {
            (str(way), str(feature)): top_units(table, str(site), count)
            for (way, feature), table in part.groupby(["way", "of"], sort=False)
        }
        matched = {
            key: matched_units(activation, units, draws, seed=seed, tolerance=None) for key, units in chosen.items()
        }
        # The most active units have few equals: a set that is drawn again is no further control.
        drawn = {key: list(dict.fromkeys(map(tuple, each.units.tolist()))) for key, each in matched.items()}
        for name, question in questions.items():
            # All sets in one sweep: what comes before the site is computed once.
            sets: dict[str, Sequence[int]] = {f"{RANDOM} {number}": row for number, row in enumerate(chance)}
            for (way, feature), units in chosen.items():
                sets[f"{way} {feature} {FOUND}"] = units
                if name == feature:
                    sets |= {f"{way} {feature} {number}": row for number, row in enumerate(drawn[way, feature])}
            left, right = _asked(subject, question, str(site), sets, progress)
            null = [left[f"{RANDOM} {number}"] for number in range(draws)]
            for (way, feature), units in chosen.items():
                key = f"{way} {feature} {FOUND}"
                row = {
                    "site": site, "way": way, "units_of": feature, "asked": name, "intact": right[INTACT],
                    "right": right[key], "margin": left[key], "random": float(np.mean(null)),
                    "p_random": null_test(left[key], null).p, "count": count, "units": " ".join(map(str, units)),
                }  # fmt: skip
                if name == feature:
                    controls = [left[f"{way} {feature} {number}"] for number in range(len(drawn[way, feature]))]
                    row |= {
                        "matched": float(np.mean(controls)), "p_matched": null_test(left[key], controls).p,
                        "mismatch": matched[way, feature].bias, "distinct": matched[way, feature].distinct,
                    }  # fmt: skip
                rows.append(row)
    return pandas.DataFrame(rows)


def _asked(
    subject: Subject, question: Question, site: str, sets: Mapping[str, Sequence[int]], progress: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Without each set of units: the share of the healthy margin that is left, and the share of right answers."""
    lesions: dict[str, Lesion | None] = {INTACT: None}
    lesions |= {name: Ablate(site, units=tuple(units)) for name, units in sets.items()}
    found = sweep(
        subject.module, lesions, subject.preprocess(question.images), batch_size=64, progress=progress,
        reduce=lambda _: _Margins(question),
    )  # fmt: skip
    means = {
        name: by_person(torch.stack([margins, _right(margins)], 1), question.people)[1].mean(0)
        for name, margins in found.items()
    }
    healthy = float(means[INTACT][0])
    return (
        {name: float(each[0]) / healthy for name, each in means.items()},
        {name: float(each[1]) for name, each in means.items()},
    )


def _right(margins: torch.Tensor) -> torch.Tensor:
    return (margins > 0).double() + 0.5 * (margins == 0).double()


class _Margins:
    """One lesion's margins, as outputs come in."""

    def __init__(self, question: Question) -> None:
        self.question, self.values = question, torch.zeros(len(question.images), dtype=torch.float64)

    def update(self, outputs: torch.Tensor, rows: range) -> None:
        found = self.question.margin(outputs, torch.arange(rows.start, rows.stop))
        self.values[rows.start : rows.stop] = found.double().cpu()

    def compute(self) -> torch.Tensor:
        return self.values
