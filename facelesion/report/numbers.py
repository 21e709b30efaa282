"""The numbers of every figure, as tidy tables: a figure is drawn from them, and they lie beside it as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from facelesion.analysis.claims import Profile
from facelesion.report.summary import (
    INTACT,
    dose_response,
    heat_map,
    kept_shares,
    measure_of,
    tasks_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from facelesion.report.run_folder import Confusion


def response(
    tables: Mapping[str, pd.DataFrame],
    profiles: Mapping[str, Profile | None] | None = None,
    stimulus: str = INTACT,
) -> pd.DataFrame:
    """Performance by dose: a row per participant, task, lesion and dose, with its interval and what that is over."""
    import pandas as pd

    parts = []
    for name, table in tables.items():
        for task in tasks_of(table):
            measure = measure_of(table, task)
            curve = dose_response(table, task, measure.name, stimulus, (profiles or {}).get(name))
            curve.insert(0, "participant", name)
            curve.insert(1, "task", task)
            curve.insert(2, "measure", measure.name)
            parts.append(curve)
    return pd.concat(parts, ignore_index=True)


def kept(table: pd.DataFrame) -> pd.DataFrame:
    """Share of the performance above chance that is left: single draws, and below them their means (`draw` empty)."""
    import pandas as pd

    draws = kept_shares(table)
    keys = ["lesion", "dose", "step", "task"]
    means = draws.groupby(keys, sort=False)["kept"].mean().reset_index()
    return pd.concat([draws, means], ignore_index=True)[["task", "lesion", "step", "dose", "draw", "kept"]]


def heat(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Change against the intact network on unchanged images, by stimulus, lesion and dose; intervals over draws."""
    import pandas as pd

    found = heat_map(table, task)
    rows = []
    for stimulus, line in zip(found.stimuli, found.change, strict=True):
        curve = dose_response(table, task, found.measure.name, stimulus)
        known = {(row.lesion, row.dose): row for row in curve.itertuples()}
        for (lesion, dose), change in zip(found.columns, line, strict=True):
            row = known.get((lesion, dose))
            rows.append(
                {
                    "task": task, "measure": found.measure.name, "stimulus": stimulus, "lesion": lesion, "dose": dose,
                    "change": float(change), "low": np.nan if row is None else row.low - found.reference,
                    "high": np.nan if row is None else row.high - found.reference,
                    "over": "" if row is None else row.over, "draws": 0 if row is None else row.draws,
                    "reference": found.reference,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def confusion(group: list[Confusion]) -> pd.DataFrame:
    """Counts: what was shown and what was answered, every pair that occurred."""
    import pandas as pd

    rows = [
        {
            "task": each.task,
            "condition": each.condition,
            "shown": shown,
            "answered": answered,
            "count": int(count),
        }
        for each in group
        for shown, line in zip(each.labels, each.matrix, strict=True)
        for answered, count in zip(each.labels, line, strict=True)
        if count
    ]
    return pd.DataFrame(rows, columns=["task", "condition", "shown", "answered", "count"])
