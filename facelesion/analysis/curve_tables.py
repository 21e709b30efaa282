"""Dose–response of a whole study: a psychometric curve for every lesion and task, and comparisons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facelesion.analysis.answers import Answers
from facelesion.analysis.crossed import PersonScores, holm
from facelesion.analysis.psychometric import Curve, compare_curves, fit_curve, scores_by_dose
from facelesion.errors import Error

if TYPE_CHECKING:
    import pandas as pd

CHANCE = 0.5  # of right choices between two
#: A healthy network that is nearer to chance than this has no fall that a curve could be fitted to.
LEAST_ROOM = 0.1

#: Columns of a table of curves, in order, and what they mean.
CURVES: Mapping[str, str] = {
    "participant": "network, by its name in the study",
    "lesion": "name of the series of damage",
    "task": "what was asked",
    "meaning": "what the dose means",
    "half": "dose that takes half of what the healthy network has above chance; empty without a curve",
    "low": "lower end of its 95 % interval; empty where half of the loss lies beyond the doses",
    "high": "upper end",
    "over": "what the interval is over",
    "steepness": "of the logistic curve over the natural logarithm of the dose (Hill's coefficient)",
    "healthy": "where the curve begins, fixed: right choices between two, undamaged",
    "chance": "where it ends, fixed",
    "inside": "whether half of the loss lies within the doses",
    "why": "why there is no curve, or no interval",
}
#: Columns of a table of comparisons between two curves, in order, and what they mean.
CURVES_COMPARED: Mapping[str, str] = {
    "participant": "network, by its name in the study",
    "lesion": "series of damage of the first curve",
    "task": "task of the first curve",
    "than_lesion": "series of damage of the second curve",
    "than_task": "task of the second curve",
    "ratio": "the first curve's dose at half loss as a multiple of the second's",
    "low": "lower end of its 95 % interval",
    "high": "upper end",
    "over": "what the interval is over",
    "p": "two-sided, of a ratio of 1",
    "adjusted": "p over all comparisons in this network (Holm)",
}


@dataclass(frozen=True, eq=False)
class Fits:
    """The curves of one network.

    Attributes:
        curves: one row per lesion and task; the columns are `CURVES`.
        compared: every two tasks under a lesion, and every two lesions whose doses mean the same in a task, where both
            lose half within their doses; the columns are `CURVES_COMPARED`.
        fitted: the curves there are, by lesion and task.
    """

    curves: pd.DataFrame
    compared: pd.DataFrame
    fitted: Mapping[tuple[str, str], Curve]


def fit_curves(
    participant: str,
    answers: Mapping[str, Answers],
    doses: Mapping[str, Sequence[float]],
    meanings: Mapping[str, str],
    resamples: int = 200,
) -> Fits:
    """Fit a curve to what is left of every task under every series of damage, as right choices between two.

    Both ends are fixed: at the healthy network's level, so that its lapses do not bend the curve, and at chance. That
    half of one task is lost at a lower dose than half of another may be the task's difficulty: no claim is made of it.

    Args:
        participant: the network's name.
        answers: of one network on unchanged pictures, by task (`answers_of`).
        doses: of every series of damage, in the order in which they do more and more.
        meanings: of these doses, in words.
        resamples: for each interval.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> doses, levels = (0.1, 0.2, 0.4, 0.8), (0.95, 0.9, 0.8, 0.6, 0.52)
        >>> cells = (("none", 0.0, 0), *(("noise", dose, 0) for dose in doses))
        >>> people = tuple((f"person {trial // 4}",) for trial in range(80))
        >>> right = rng.random((5, 80)) < np.array(levels)[:, None]
        >>> names = np.array([each[0] for each in people], object)
        >>> who = Answers("who", cells, right * 2.0 - 1, right, names, people, "", 2)
        >>> found = fit_curves("net", {"who": who}, {"noise": doses}, {"noise": "standard deviation"}, resamples=20)
        >>> found.curves[["lesion", "task", "inside"]].to_dict("records")
        [{'lesion': 'noise', 'task': 'who', 'inside': True}]
    """
    import pandas as pd

    scores: dict[tuple[str, str], dict[float, PersonScores]] = {}
    fitted: dict[tuple[str, str], Curve] = {}
    rows: list[dict[str, object]] = []
    for lesion, task in itertools.product(doses, answers):
        told: dict[str, object] = {"participant": participant, "lesion": lesion, "task": task}
        told["meaning"] = meanings[lesion]
        why = _not_fit(answers[task], lesion, doses[lesion])
        if not why:
            here = scores_by_dose(answers[task], lesion)
            try:
                curve = fit_curve(here, chance=CHANCE, resamples=resamples)
            except Error as error:
                why = str(error)
        if why:
            rows.append(told | {"why": why})
            continue
        scores[lesion, task], fitted[lesion, task] = here, curve
        rows.append(
            told
            | {
                "half": curve.half.estimate, "low": curve.half.low, "high": curve.half.high,
                "over": curve.over if curve.inside else "", "steepness": curve.steepness, "healthy": curve.healthy,
                "chance": curve.chance, "inside": curve.inside,
                "why": "" if curve.inside else "half of the loss lies beyond the doses: extrapolated, without interval",
            }
        )  # fmt: skip
    compared = []
    inside = [key for key, curve in fitted.items() if curve.inside]
    for one, two in itertools.combinations(inside, 2):
        same_lesion = one[0] == two[0]
        if not same_lesion and (one[1] != two[1] or meanings[one[0]] != meanings[two[0]]):
            continue
        found = compare_curves(scores[one], scores[two], same_draws=same_lesion, resamples=resamples)
        compared.append(
            {
                "participant": participant, "lesion": one[0], "task": one[1], "than_lesion": two[0],
                "than_task": two[1], "ratio": found.ratio.estimate, "low": found.ratio.low, "high": found.ratio.high,
                "over": found.over, "p": found.p,
            }
        )  # fmt: skip
    table = pd.DataFrame(compared, columns=list(CURVES_COMPARED))
    tested = table["p"].notna()
    if tested.any():
        table.loc[tested, "adjusted"] = [float(p) for p in holm(table.loc[tested, "p"].tolist())]
    return Fits(pd.DataFrame(rows, columns=list(CURVES)), table, fitted)


def _not_fit(answers: Answers, lesion: str, doses: Sequence[float]) -> str:
    """Why no curve can be fitted; empty where one can."""
    if not answers.comparable:
        return "the task has no place on the scale of choices between two"
    if not answers.separable:
        return "people cannot be told from trials"
    if len(doses) < 3:
        return f"a curve needs three doses, and there {'is one' if len(doses) == 1 else f'are {len(doses)}'}"
    if list(doses) != sorted(doses):
        return "a larger dose is less damage"
    if (lesion, doses[0]) not in {cell[:2] for cell in answers.cells}:
        return "the task was not asked under it"
    healthy = float(scores_by_dose(answers, lesion)[0.0].values.mean())
    if healthy < CHANCE + LEAST_ROOM or math.isnan(healthy):
        return f"the healthy network is too near to chance ({healthy:.2f} of choices between two)"
    return ""
