"""Did a lesion move the evidence? Changes of each part's share, over people and draws, beside control lesions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from facelesion.analysis.crossed import Estimate, PersonScores, Term, contrast, holm
from facelesion.analysis.statistics import null_test
from facelesion.errors import Error

if TYPE_CHECKING:
    import pandas as pd

INTACT = "none"


@dataclass(frozen=True)
class Moved:
    """How much more of the evidence lies on a part under a lesion than in the intact network.

    Attributes:
        part: of the picture.
        lesion, dose: the series, and how much.
        found: damaged share less intact share, mean over people and draws, with its error over both; over people alone
            where the lesion has one draw.
        p: of a t test against no change, adjusted over all parts, lesions and doses (Holm); not a number if it cannot
            be tested.
        control: which sets of other units it is compared with, such as `random`; empty where there are none.
        null_low, null_high: what 95 % of these sets change the share by; not a number without them.
        null_p: of the change among theirs, two-sided (Phipson & Smyth 2010).
        sets: how many there are.
    """

    part: str
    lesion: str
    dose: float
    found: Estimate
    p: float
    control: str = ""
    null_low: float = math.nan
    null_high: float = math.nan
    null_p: float = math.nan
    sets: int = 0


def moved_evidence(trials: pd.DataFrame) -> list[Moved]:
    """Changes of every part's share of the evidence under every lesion of one participant and stimulus.

    Args:
        trials: rows of task `attention` of a study's trials, of one participant and one stimulus: a trial is a part of
            a picture, and its value the part's share less its size, for or against `more`. Where a column `control`
            is not empty, other units were damaged than the lesion's: these rows are its null.

    Returns:
        For every part, lesion and dose one change, once beside each kind of control there is.

    Raises:
        Error: trials of several participants or stimuli, or none of the intact network.

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
            raise Error(f"give the trials of one {column} at a time, and of one at least")
    excess = np.where(trials["target"].astype(str) == "more", 1.0, -1.0) * trials["value"].to_numpy(float)
    kind = trials["control"].astype(str) if "control" in trials else ""
    frame = trials.assign(excess=excess, control=kind)
    columns = ["section", "lesion", "dose", "control", "draw", "person"]
    means = frame.groupby(columns, observed=True, sort=False)["excess"].mean().unstack("person")
    people = tuple(map(str, means.columns))
    scores: dict[tuple[str, str], PersonScores] = {}
    nulls: dict[tuple[str, str, float], dict[str, list[float]]] = {}
    for (part, lesion, dose, control), rows in means.groupby(level=[0, 1, 2, 3], sort=False):
        if control:
            nulls.setdefault((part, lesion, dose), {})[control] = rows.to_numpy(float).mean(1).tolist()
        else:
            scores[part, _cell(lesion, dose)] = PersonScores(people, rows.to_numpy(float))
    intact = _cell(INTACT, 0.0)
    parts = list(dict.fromkeys(part for part, _ in scores))
    if not parts or any((part, intact) not in scores for part in parts):
        raise Error("there are no trials of the intact network to compare with")
    damaged = dict.fromkeys((lesion, dose) for lesion, dose in zip(frame["lesion"], frame["dose"], strict=True))
    cells = [(part, *each) for part in parts for each in damaged if each[0] != INTACT]
    changes = []
    for part, lesion, dose in cells:
        name = _cell(lesion, dose)
        once = len(scores[part, name].values) == 1  # units that were chosen could not have come out otherwise
        changes.append(contrast(scores, [Term(1, part, name, fixed=once), Term(-1, part, intact, fixed=True)]))
    found = []
    for cell, change, p in zip(cells, changes, holm([change.p for change in changes]), strict=True):
        one = Moved(str(cell[0]), str(cell[1]), float(cell[2]), change, float(p))
        healthy = float(scores[cell[0], intact].values.mean())
        null = {kind: [value - healthy for value in values] for kind, values in nulls.get(cell, {}).items()}
        found += [_beside(one, kind, values) for kind, values in null.items()] or [one]
    return found


def _cell(lesion: object, dose: float) -> str:
    return f"{lesion} {float(dose)!r}"


def _beside(one: Moved, control: str, null: Sequence[float]) -> Moved:
    """A change beside those of one kind of control sets."""
    low, high = np.quantile(null, [0.025, 0.975])
    p = null_test(one.found.estimate, null, "two-sided").p
    return replace(
        one, control=control, null_low=float(low), null_high=float(high), null_p=p, sets=len(null)
    )
