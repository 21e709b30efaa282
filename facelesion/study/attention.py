"""Whether lesions moved the evidence, as a table of its own in the run folder of a study with the task `attention`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from facelesion.analysis.moved import moved_evidence
from facelesion.files import write_bytes
from facelesion.report.columns import TRIAL_COLUMNS
from facelesion.study.table import read_some
from facelesion.tasks.attention import Attention

FILE = "attention.csv"

#: Columns of `attention.csv`, in order, and what they mean.
ATTENTION_COLUMNS: Mapping[str, str] = {
    "participant": "network, by its name in the study",
    "stimulus": "what was done to the picture",
    "lesion": "name of the series of damage",
    "dose": "how much",
    "part": "part of the picture",
    "change": "its share of the evidence under the lesion less that in the intact network, mean over people and draws",
    "low": "lower end of the change's 95 % interval over people and draws; over people alone where there is one draw",
    "high": "upper end",
    "p": "of no change: crossed t test, adjusted over parts, lesions and doses (Holm)",
    "control": "which sets of other units it is compared with, random or matched; empty where there are none",
    "null_low": "lower end of what 95 % of these sets change it by",
    "null_high": "upper end",
    "null_p": "of the change among theirs, two-sided",
    "sets": "how many there are",
}


def write_attention(folder: Path) -> Path | None:
    """Write the table from a run's trials; None where the task was not asked or nothing was damaged."""
    import pandas as pd

    trials = read_some(folder / "trials.parquet", tuple(TRIAL_COLUMNS), {"task": [Attention.name]})
    rows = []
    for (participant, stimulus), part in trials.groupby(["participant", "stimulus"], observed=True, sort=False):
        for one in moved_evidence(part):
            interval = one.found.interval()
            rows.append(
                [participant, stimulus, one.lesion, one.dose, one.part, one.found.estimate, interval.low, interval.high,
                 one.p, one.control, one.null_low, one.null_high, one.null_p, one.sets]
            )  # fmt: skip
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=list(ATTENTION_COLUMNS))
    return write_bytes(folder / FILE, table.to_csv(index=False, float_format="%.6g").encode("utf-8", "replace"))
