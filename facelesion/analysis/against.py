"""Chosen units against other units: what their loss does, beside what the loss of as many others does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facelesion.analysis.answers import answers_of, plain
from facelesion.analysis.statistics import false_discovery_rate, null_test
from facelesion.errors import Error

if TYPE_CHECKING:
    import pandas as pd

_CONDITION = ["participant", "lesion", "step", "dose", "stimulus", "task"]

AGAINST = {
    "participant": "network, by its name in the study",
    "lesion": "name of the series of damage",
    "step": "number of the dose",
    "dose": "how much",
    "stimulus": "what was done to the picture",
    "task": "what was asked",
    "metric": "choice, the share of right choices between two, which is one scale for all tasks; or the task's main "
    "measure, where it has no place on that scale",
    "control": "what it is compared with: random or matched sets of as many other units",
    "intact": "the measure of the intact network on the same pictures",
    "value": "the measure with the chosen units damaged, mean over draws",
    "mean": "its mean over the different control sets",
    "low": "2.5 % of them lie below",
    "high": "2.5 % of them lie above",
    "p": "share of the different control sets that lose at least as much, the lesion itself counted among them",
    "floor": "the smallest p that so many different sets allow",
    "adjusted": "p adjusted over all rows of one kind of control (Benjamini & Hochberg 1995)",
    "sets": "control sets that were damaged",
    "distinct": "how many of them differ",
    "mismatch": "mean of the different sets' mismatch in activation; not a number for random sets",
}


def on_common_scale(table: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """A study's main measures as right choices between two, the scale that contrasts are measured on.

    Tasks differ in how many answers there are, so that their own measures cannot be compared: a share right of thirty
    people is not that of sixteen kinds of things, and one of them may be at its floor where the other has room. A task
    that has no place on the scale, and one in sections, whose main measure is of some of its trials, keeps its own.

    Args:
        table: a study's `table.parquet`.
        trials: its `trials.parquet`, or those of the rows that are asked about.

    Returns:
        The main rows of the table that have trials; `metric` is `choice`, `better` is `higher` where the value is on
        the common scale.
    """
    import pandas as pd

    key = ["participant", "stimulus", "task", "control", "lesion", "dose", "draw"]
    rows = []
    groups = trials.groupby(["participant", "stimulus", "task", "control"], sort=False, observed=True)
    for (participant, stimulus, task, control), part in groups:
        answers = answers_of(plain(part))[str(task)]
        if not answers.comparable or set(part["section"]) != {""}:
            continue
        draws = answers.draws()
        rows += [
            (participant, stimulus, task, control, *lesion, draw, value)
            for lesion, values in answers.levels("choice").items()
            for draw, value in zip(draws[lesion], values, strict=True)
        ]
    found = pd.DataFrame(rows, columns=[*key, "choice"])
    main = table[table["main"]].merge(found, on=key, how="left")
    there = main["choice"].notna()
    return main.assign(
        metric=main["metric"].where(~there, "choice"),
        better=main["better"].where(~there, "higher"),
        value=main["value"].where(~there, main["choice"]),
    ).drop(columns="choice")


def against_controls(table: pd.DataFrame) -> pd.DataFrame:
    """Compare every lesion of chosen units with its control sets, on each task's main measure.

    The null hypothesis: any other set of as many units of these sites does as much. p is one-sided, towards a loss
    (Phipson & Smyth 2010: the lesion is counted among the sets, and a set that was found twice counts once), and
    adjusted over all that was looked at (Benjamini & Hochberg 1995: where nothing is beyond other units, anything is
    called in 5 % of studies).

    Args:
        table: a study's `table.parquet`, with its controls; through `on_common_scale` to compare tasks.

    Returns:
        One row per participant, lesion, dose, stimulus, task and kind of control. The columns are `AGAINST`.

    Raises:
        Error: the table has no controls.

    Example:
        >>> import pandas as pd
        >>> row = {"participant": "a", "lesion": "chosen", "step": 1, "dose": 0.1, "stimulus": "intact", "task": "who",
        ...        "metric": "accuracy", "main": True, "better": "higher", "damage_hash": "x", "mismatch": 0.0}
        >>> rows = [row | {"control": "", "value": 0.2}, row | {"lesion": "none", "control": "", "value": 1.0}]
        >>> rows += [row | {"control": "random", "value": 0.8, "damage_hash": str(n)} for n in range(19)]
        >>> found = against_controls(pd.DataFrame(rows))
        >>> [round(float(found[name][0]), 2) for name in ("value", "mean", "p", "floor")]
        [0.2, 0.8, 0.05, 0.05]
    """
    import pandas as pd

    if "control" not in table or not (table["control"] != "").any():
        raise Error("the table has no controls: no lesion of the study takes units by a ranking")
    main = table[table["main"]]
    intact = main[main["lesion"] == "none"].groupby(["participant", "stimulus", "task"])["value"].mean()
    rows = []
    for keys, part in main[main["lesion"] != "none"].groupby(_CONDITION, sort=False):
        chosen = part[part["control"] == ""]
        for control, sets in part[part["control"] != ""].groupby("control", sort=False):
            other = sets.drop_duplicates("damage_hash")
            values = other["value"].to_numpy(dtype=float)
            lower_is_better = chosen["better"].iloc[0] == "lower"
            value = float(chosen["value"].mean())
            tested = null_test(value, values, "greater" if lower_is_better else "less")
            condition = dict(zip(_CONDITION, keys, strict=True))
            low, high = np.quantile(values, [0.025, 0.975])
            rows.append(
                {
                    **condition,
                    "metric": chosen["metric"].iloc[0],
                    "control": control,
                    "intact": float(intact[condition["participant"], condition["stimulus"], condition["task"]]),
                    "value": value,
                    "mean": float(values.mean()),
                    "low": float(low),
                    "high": float(high),
                    "p": tested.p,
                    "floor": 1 / (len(values) + 1),
                    "sets": len(sets),
                    "distinct": len(other),
                    "mismatch": float(other["mismatch"].mean()),
                }
            )
    found = pd.DataFrame(rows)
    found["adjusted"] = found.groupby("control")["p"].transform(lambda p: false_discovery_rate(p.to_numpy()))
    return found[list(AGAINST)]
