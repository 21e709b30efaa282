"""What the lesions of configs/features.yaml leave of every network that is carried: the table of weights/README.md.

    facelesion study configs/features.yaml --name networks --stimuli "[intact]" \
        --participants "[builtin, builtin_seed1, builtin_seed2, taught things too, untrained]"
    python scripts/damaged_participants.py runs/networks

It writes the table between its two marks in weights/README.md anew from the run. Networks of `taught things too` stand
in one column, least to most.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from page_tables import table_of, write_table

from facelesion.errors import Error
from facelesion.report import read_run

PAGE = Path(__file__).resolve().parents[1] / "weights" / "README.md"
GROUP, BASELINE = "taught things too", "untrained"
TASKS = ("detection", "identification", "objects")
DAMAGE = (("none", 0.0), ("ablation", 0.1), ("ablation", 0.2), ("dropout", 0.2), ("dropout", 0.4), ("noise", 1.0))


def shares(table: pd.DataFrame, lesion: str, dose: float, task: str, metric: str = "accuracy") -> pd.Series:
    """Per cent by participant, mean over draws, of intact pictures."""
    chosen = (table["lesion"] == lesion) & (table["task"] == task) & (table["metric"] == metric)
    if lesion != "none":
        chosen &= (table["dose"] - dose).abs() < 1e-9
    found = table[chosen & (table["stimulus"] == "intact")].groupby("participant", observed=True)["value"].mean()
    if found.empty:
        raise Error(f"the run holds no {metric} of {task} under {lesion} of {dose:g}: run configs/features.yaml")
    return 100 * found


def least_to_most(values: Sequence[float]) -> str:
    """
    >>> least_to_most([99.7, 66.2]), least_to_most([100.0, 99.9])
    ('66 to 100', '100')
    """
    least, most = (f"{each:.0f}" for each in (min(values), max(values)))
    return least if least == most else f"{least} to {most}"


def damaged(table: pd.DataFrame, group: Sequence[str]) -> str:
    """The table, a line for each damage."""
    names = list(map(str, table["participant"].unique()))
    alone = [name for name in names if name not in group and name != BASELINE]
    seeds = [name.removeprefix("participant_seed") for name in group]
    together = f"`{group[0]}` to `{seeds[-1]}`"
    headings = ["damage", *(f"`{name}`" for name in alone), together, f"`{BASELINE}`",
                f"area of detection: the least of the trained, `{BASELINE}`"]  # fmt: skip
    rows = []
    for lesion, dose in DAMAGE:
        found = [shares(table, lesion, dose, task) for task in TASKS]
        area = shares(table, lesion, dose, "detection", "auc")
        cells = ["none" if lesion == "none" else f"{lesion} of {dose:g}"]
        cells += [" / ".join(f"{each[name]:.0f}" for each in found) for name in alone]
        cells += [" / ".join(least_to_most(each[list(group)].tolist()) for each in found)]
        cells += [" / ".join(f"{each[BASELINE]:.0f}" for each in found)]
        cells += [f"{area.drop(BASELINE).min():.0f}, {area[BASELINE]:.0f}"]
        rows.append(cells)
    return table_of(headings, rows)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="the study's folder")
    given = options.parse_args()
    try:
        run = read_run(given.run)
        if GROUP not in run.manifest.groups:
            raise Error(f"{given.run} has no networks {GROUP!r}: run the study of this script's first lines")
        made = damaged(run.table, run.manifest.groups[GROUP])
        write_table(PAGE, "damaged", made)
    except Error as error:
        sys.exit(f"error: {error}")
    print(made)


if __name__ == "__main__":
    main()
