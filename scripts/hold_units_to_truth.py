"""Which way of finding units finds those that matter? Asked of decisions whose evidence is known.

    python scripts/hold_units_to_truth.py --site conv5_3 --out truth

Units for each feature are found on some people of the face space, removed, and asked about on others: which of two
faces is it that differ in that feature alone? Writes `truth.csv` and `truth.png`; `docs/units.md` shows what came out.
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

WAYS = ("responsible", "corrected", "selectivity", "activation", "first_order", "causal")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--network", default="builtin")
    reader.add_argument("--site", default="conv5_3")
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
    rankings = find_units(
        subject, [asked.site], ways_of(asked.fraction, WAYS), features_alone(faces), faces.labels, finding
    )
    table = hold_to_the_truth(subject, rankings, testing, fraction=asked.fraction, draws=asked.draws)
    asked.out.mkdir(parents=True, exist_ok=True)
    reliability = rankings.groupby(["way", "of"])["reliability"].first().rename_axis(["way", "units_of"])
    table = table.join(reliability, on=["way", "units_of"]).assign(weights=subject.weights, seed=asked.seed)
    table.to_csv(asked.out / "truth.csv", index=False)
    draw_truth(table, WAYS).savefig(asked.out / "truth.png", dpi=180)
    own = table[table["units_of"] == table["asked"]]
    columns = ["way", "asked", "intact", "right", "margin", "random", "matched", "p_random", "p_matched"]
    print(pandas.DataFrame(own[columns]).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
