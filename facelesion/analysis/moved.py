"""Did a lesion move the evidence? Changes of each part's share, over people and draws, beside control lesions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from facelesion.analysis.crossed import Contrast, PersonScores, Term, contrast, holm
from facelesion.analysis.statistics import null_test
from facelesion.errors import FacelesionError

if TYPE_CHECKING:
    import pandas as pd

INTACT = "none"


@dataclass(frozen=True)
class Moved:
    """How much more of the evidence lies on a part under a lesion than in the intact network.

    Attributes:
        part: of the picture.
        lesion, dose: the series, and how much.
        found: damaged share less intact share, mean over people and draws, with its error over both.
        p: of a t test against no change, adjusted over all parts, lesions and doses (Holm); not a number if it cannot
            be tested.
        null_low, null_high: what 95 % of the control lesions' draws change the share by; not a number without controls.
        null_p: of the change among those of the control lesions' draws, two-sided (Phipson & Smyth 2010).
        controls: how many draws of control lesions there are.
    """

    part: str
    lesion: str
    dose: float
    found: Contrast
    p: float
    null_low: float = math.nan
    null_high: float = math.nan
    null_p: float = math.nan
    controls: int = 0


def moved_evidence(trials: pd.DataFrame, controls: Mapping[str, str] | None = None) -> list[Moved]:
    """Changes of every part's share of the evidence under every lesion of one participant and stimulus.

    Args:
        trials: rows of task `attention` of a study's trials, of one participant and one stimulus: a trial is a part of
            a picture, and its value the part's share less its size, for or against `more`.
        controls: by the name of a series, that of the series it is compared with: the same number of doses, in the same
            order, and best many draws.

    Raises:
        FacelesionError: trials of several participants or stimuli, none of the intact network, or a series that there
            is not.

    Example:
        >>> import pandas as pd
        >>> rows = [("none", 0.0, 0, 0.1), ("cut", 1.0, 0, 0.3), ("cut", 1.0, 1, 0.25)]
        >>> trials = pd.DataFrame([
        ...     dict(participant="a", stimulus="intact", lesion=lesion, dose=dose, draw=draw, section="eyes",
        ...          person=person, target="more", value=value + 0.01 * number)
        ...     for lesion, dose, draw, value in rows for number, person in enumerate("xyz")])
        >>> moved, = moved_evidence(trials)
        >>> moved.part, moved.lesion, round(moved.found.estimate, 3)
        ('eyes', 'cut', 0.175)
    """
    for column in ("participant", "stimulus"):
        if trials[column].nunique() != 1:
            raise FacelesionError(f"give the trials of one {column} at a time, and of one at least")
    excess = np.where(trials["target"].astype(str) == "more", 1.0, -1.0) * trials["value"].to_numpy(float)
    frame = trials.assign(excess=excess)
    columns = ["section", "lesion", "dose", "draw", "person"]
    means = frame.groupby(columns, observed=True, sort=False)["excess"].mean().unstack("person")
    scores: dict[tuple[str, str], PersonScores] = {}
    doses: dict[str, list[float]] = {}
    for (part, lesion, dose), rows in means.groupby(level=[0, 1, 2], sort=False):
        people = tuple(map(str, rows.columns))
        scores[str(part), _cell(lesion, dose)] = PersonScores(people, rows.to_numpy(float))
        if dose not in doses.setdefault(str(lesion), []):
            doses[str(lesion)].append(float(dose))
    parts = list(dict.fromkeys(part for part, _ in scores))
    intact = _cell(INTACT, 0.0)
    if any((part, intact) not in scores for part in parts):
        raise FacelesionError("there are no trials of the intact network to compare with")
    against = dict(controls or {})
    for name in {*against, *against.values()}:
        if name not in doses:
            raise FacelesionError(f"no lesion is called {name!r}: there are {', '.join(doses)}")
    found = []
    for part in parts:
        for lesion in (name for name in doses if name != INTACT):
            for step, dose in enumerate(sorted(doses[lesion])):
                change = contrast(
                    scores, [Term(1, part, _cell(lesion, dose)), Term(-1, part, intact, fixed=True)]
                )
                null = _null(scores, part, against.get(lesion), doses, step)
                found.append(_beside(Moved(part, lesion, dose, change, math.nan), null))
    adjusted = holm([one.found.p for one in found])
    return [replace(one, p=float(p)) for one, p in zip(found, adjusted, strict=True)]


def _cell(lesion: object, dose: object) -> str:
    return f"{lesion} {float(dose)!r}"  # type: ignore[arg-type]


def _null(
    scores: Mapping[tuple[str, str], PersonScores],
    part: str,
    control: str | None,
    doses: Mapping[str, Sequence[float]],
    step: int,
) -> list[float]:
    """What each draw of the control of the same step changes a part's share by."""
    if control is None or step >= len(doses[control]):
        return []
    damaged = scores[part, _cell(control, sorted(doses[control])[step])].values.mean(1)
    return [float(value) for value in damaged - scores[part, _cell(INTACT, 0.0)].values.mean()]


def _beside(one: Moved, null: Sequence[float]) -> Moved:
    if not null:
        return one
    low, high = np.quantile(null, [0.025, 0.975])
    p = null_test(one.found.estimate, null, "two-sided").p
    return replace(one, null_low=float(low), null_high=float(high), null_p=p, controls=len(null))
