"""Which way of finding units finds those that matter? Asked of decisions whose evidence is known.

    python scripts/hold_units_to_truth.py --sites conv3_2 conv4_2 conv5_3 --out truth

Units for each feature are found on some people of the face space, removed, and asked about on others: which of two
faces is it that differ in that feature alone? Writes `truth.csv` and `truth.png`; `docs/units.md` shows what came out.
Each site is kept as it is done, in `parts/`: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas

from facelesion.data.facespace import FaceSpace
from facelesion.looking.questions import FEATURES, feature_decision
from facelesion.looking.truth import features_alone, find_units, hold_to_the_truth, ways_of
from facelesion.looking.unit_figures import draw_truth
from facelesion.models import get

WAYS = ("responsible", "corrected", "selectivity", "activation", "first_order", "causal", "greedy")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--network", default="builtin")
    reader.add_argument("--sites", nargs="+", default=["conv5_3"])
    reader.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    reader.add_argument("--people", type=int, default=30)
    reader.add_argument("--draws", type=int, default=200)
    reader.add_argument("--fraction", type=float, default=0.1)
    reader.add_argument("--seed", type=int, default=3_000_001)
    reader.add_argument("--out", type=Path, default=Path("truth"))
    asked = reader.parse_args()
    subject, space = get(asked.network), FaceSpace.load()
    finding, testing = (
        {name: feature_decision(subject, name, asked.people, seed=asked.seed + role, space=space) for name in FEATURES}
        for role in (0, 1)
    )
    faces = space.draw(40, 3, asked.seed + 2)
    alone = features_alone(faces)
    parts = asked.out / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    for site in asked.sites:
        # Rounds take long, and their reliability would take twice as long again: apart, and without it.
        for rounds in (False, True):
            names = [name for name in asked.ways if (name == "greedy") is rounds]
            label = "rounds" if rounds else "others"
            kept = parts / f"{site}-{label}-{asked.draws}-{asked.people}-{asked.fraction:g}-{asked.seed}.csv"
            if not names or kept.is_file():
                continue
            ways = ways_of(asked.fraction, names)
            splits = 0 if rounds else 100
            rankings = find_units(subject, [site], ways, alone, faces.labels, finding, splits=splits)
            table = hold_to_the_truth(subject, rankings, testing, fraction=asked.fraction, draws=asked.draws)
            reliability = rankings.groupby(["way", "of"])["reliability"].first().rename_axis(["way", "units_of"])
            table = table.join(reliability, on=["way", "units_of"])
            table = table.assign(weights=subject.weights, seed=asked.seed, draws=asked.draws)
            table.to_csv(kept.with_suffix(".part"), index=False)
            kept.with_suffix(".part").replace(kept)
            print(kept.name, flush=True)
    table = pandas.concat([pandas.read_csv(path) for path in sorted(parts.glob("*.csv"))], ignore_index=True)
    table.to_csv(asked.out / "truth.csv", index=False)
    shown = [name for name in WAYS if name in set(table["way"])]
    draw_truth(table, shown).savefig(asked.out / "truth.png", dpi=180)
    own = table[table["units_of"] == table["asked"]]
    columns = ["site", "way", "asked", "intact", "right", "margin", "random", "matched", "p_random", "p_matched"]
    print(pandas.DataFrame(own[columns]).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
