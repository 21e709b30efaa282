"""Measure participants, and make the table of weights/README.md from what was measured.

    python scripts/measure_participants.py runs/participants/seed*/weights.safetensors
    python scripts/measure_participants.py --half weights runs/participants/seed*/weights.safetensors
    python scripts/measure_participants.py --half weights --register runs/participants/seed*/weights.safetensors
    python scripts/measure_participants.py --half runs/half runs/participants-objects/seed*/weights.safetensors
    python scripts/measure_participants.py --likeness
    python scripts/measure_participants.py --table

The first puts a row for each network into weights/participants.csv (a network measured before is passed over by its
hash; one that went on from a listed one takes its place): what its file says of LFW's test pairs, which training asked
once, and what is measured here. The second does the same for copies in half precision, which it writes to a folder as
`participant_seedN.safetensors`, and says by how much their figures differ from those of the whole ones. The third puts
these copies into weights/registry.toml besides, by which the project carries them; the fourth is for those that it has
no room for, which are listed all the same. The fifth puts a row for every two networks that are carried, and the
untrained one, into weights/participants_likeness.csv. The sixth writes the tables of weights/README.md anew from both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from page_tables import table_of, write_table

from facelesion.data import builtin_exemplars
from facelesion.data.facespace import FaceSpace
from facelesion.errors import Error
from facelesion.files import write_bytes
from facelesion.models import Subject, get
from facelesion.training.reached import likeness_of, tasks_reached, things_reached
from facelesion.weights import store
from facelesion.weights.fetching import file_hash

ROOT = Path(__file__).resolve().parents[1]
CSV, PAGE = ROOT / "weights" / "participants.csv", ROOT / "weights" / "README.md"
LIKENESS = ROOT / "weights" / "participants_likeness.csv"
REGISTRY = ROOT / "weights" / "registry.toml"

# The table's columns: heading, how it is read from the CSV, decimals, factor.
COLUMNS = (
    ("LFW pairs", "pairsDevTest_accuracy"), ("100 people", "identification"), ("memory", "memory"),
    ("40 cars", "things_car"), ("40 chairs", "things_chair"), ("40 cups", "things_cup"), ("40 houses", "things_house"),
    ("40 things of 4 kinds", "exemplars"), ("16 kinds", "objects"), ("20 kinds photographed", "objects_accuracy"),
)  # fmt: skip


def measured(path: Path) -> dict[str, object]:
    """One network's row."""
    subject = get(str(path))
    about = subject.about
    tested = tasks_reached(subject)
    row = {
        "name": path.parent.name if path.stem == "weights" else path.stem,
        "seed": about.get("seed"), "weights": subject.weights, "sha256": file_hash(path),
        "teacher": "MobileFaceNet" if about.get("teacher") else "none",
        "people": len(about.get("people", ())),
    }  # fmt: skip
    found = {key: round(value, 4) for key, value in (tested | things_reached(subject)).items()}
    return row | dict(about.get("reached", {})) | found


def halved(path: Path, folder: Path) -> Path:
    """A copy of weights in half precision: half the bytes; what reads it computes in float32 as ever."""
    tensors, about = store.read_weights(path)
    target = folder / f"participant_seed{about['seed']}.safetensors"
    store.save_weights(target, {name: value.half() for name, value in tensors.items()}, about)
    return target


def registered(path: Path) -> bool:
    """Puts a file of weights into the registry, among the networks, or in the place of an older one of its name; False
    where this very file is there already.
    """
    registry, name = REGISTRY.read_text(encoding="utf-8"), path.stem
    checksum = f"sha256:{file_hash(path)}"
    known = tomllib.loads(registry).get(name)
    if known is not None and known["checksum"] == checksum:
        return False
    about = store.read_weights(path)[1]
    people, teacher = about.get("people"), about.get("teacher")
    kind = ("taught things too" if teacher else "taught without a teacher") if people else "taught things alone"
    knows = "people and individual things" if people else "individual things and no person"
    seen = ("LFW View 1 training people, the face space, " if people else "") + "built-in things, Caltech-101"
    entry = {
        "what": f"a participant: the built-in network's shape, begun anew from seed {about['seed']}; it knows {knows}",
        "file": path.name, "carried": True, "network": name, "group": kind,
        "checksum": checksum, "size": path.stat().st_size,
        "licence": f"research only (learned from {'LFW and ' if people else ''}Caltech-101)",
        "input_size": 112, "colour_order": "RGB", "mean": [123.675, 116.28, 103.53],
        "trained_on": seen + ("; taught by MobileFaceNet" if teacher else ""),
    }  # fmt: skip
    # JSON's texts, numbers, truths and lists are TOML's too.
    lines = "".join(f"{line}\n" for line in [f"[{name}]", *(f"{key} = {json.dumps(v)}" for key, v in entry.items())])
    if known is not None:
        registry = re.sub(rf"^\[{re.escape(name)}\]\n(?:.+\n)*", lambda _: lines, registry, flags=re.M)
    else:
        before, found, after = registry.partition("[facespace]\n")
        if not found:
            raise Error(f"{REGISTRY} has no entry [facespace], before which networks stand: put it back")
        registry = before + lines + "\n" + found + after
    write_bytes(REGISTRY, registry.encode())
    return True


def differences(row: dict[str, object], other: dict[str, object]) -> dict[str, float]:
    """By how much the figures of two rows differ, where they do."""
    both = [key for key in row if isinstance(row[key], float) and isinstance(other.get(key), float)]
    return {key: float(other[key]) - float(row[key]) for key in both if other[key] != row[key]}  # type: ignore[arg-type]


def minutes(log: Path) -> float | None:
    """Minutes of training by a run's log, over all its starts; None without a log."""
    if not log.is_file():
        return None
    seconds = pd.read_csv(log)["seconds"].tolist()
    last_of_starts = [a for a, b in zip(seconds, [*seconds[1:], 0], strict=True) if b < a]
    return round(sum(last_of_starts) / 60, 1)


def total(parts: list[float | None]) -> float | None:
    """Minutes of all parts; None where one of them is not known."""
    return None if any(part is None or pd.isna(part) for part in parts) else round(sum(parts), 1)  # type: ignore[arg-type]


def likeness(subjects: Mapping[str, Subject]) -> pd.DataFrame:
    """For every two networks: which share of their training people, of the one with fewer, both saw; and how alike they
    find 100 faces and 40 things.
    """
    faces = FaceSpace.load().draw(100, 1, seed=5).images
    things = builtin_exemplars(10, 1, 5, categories=("car", "chair", "cup", "house")).images
    alike = [likeness_of(list(subjects.values()), images) for images in (faces, things)]
    rows = []
    for (one, first), (two, second) in itertools.combinations(enumerate(subjects), 2):
        own, other = (set(subjects[name].about.get("people", ())) for name in (first, second))
        rows.append(
            {
                "first": first, "second": second,
                "people_shared": round(len(own & other) / min(len(own), len(other)), 3) if own and other else None,
                "likeness_of_faces": round(float(alike[0][one, two]), 3),
                "likeness_of_things": round(float(alike[1][one, two]), 3),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def likeness_table(pairs: pd.DataFrame, groups: Mapping[str, str]) -> str:
    """Every two groups: mean, least and most of their pairs.

    Args:
        pairs: as `likeness` gives them.
        groups: of every network, by its name.
    """
    columns = ("likeness_of_faces", "likeness_of_things", "people_shared")
    headings = ["networks", "pairs", "100 faces", "40 things", "people shared"]
    rows = []
    order = list(dict.fromkeys(groups.values()))
    between = [frozenset((groups[a], groups[b])) for a, b in zip(pairs["first"], pairs["second"], strict=True)]
    for one, two in itertools.combinations_with_replacement(order, 2):
        own = pairs[[each == {one, two} for each in between]]
        if own.empty:
            continue
        cells = [one + (", with one another" if one == two else f", with {two}"), str(len(own))]
        for column in columns:
            values = own[column].dropna()
            least, most = f"{values.min():.2f}", f"{values.max():.2f}"
            told = least if least == most else f"{values.mean():.2f} ({least} to {most})"
            cells.append("" if values.empty else told)
        rows.append(cells)
    return table_of(headings, rows)


def networks_carried() -> dict[str, str]:
    """The group of every network that is carried, the untrained one with them."""
    entries = tomllib.loads(REGISTRY.read_text(encoding="utf-8"))
    return {name: entry["group"] for name, entry in entries.items() if "group" in entry} | {"untrained": "untrained"}


def table(rows: pd.DataFrame) -> str:
    """The CSV as a table of per cent, with means and deviations over those of the first recipe."""
    carried = tomllib.loads(REGISTRY.read_text(encoding="utf-8"))
    headings = ["participant", "people", *(heading for heading, _ in COLUMNS), "hash"]
    lines = []
    keys = [key for _, key in COLUMNS]

    def cells(values: list[float]) -> list[str]:
        return ["" if pd.isna(value) else f"{100 * value:.1f}" for value in values]

    for row in rows.to_dict("records"):
        shown = [
            f"`{row['name']}`{'' if row['name'] in carried else ', not carried'}",
            f"{int(row['people']):,}",
            *cells([row.get(key, float("nan")) for key in keys]),
        ]
        lines.append([*shown, f"`{row['weights']}`"])
    taught = rows[rows["teacher"] != "none"]
    if len(taught) > 1:
        for word, values in (("mean", taught[keys].mean()), ("standard deviation", taught[keys].std())):
            lines.append([f"{word}, taught", "", *cells(values.tolist()), ""])
    return table_of(headings, lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "networks", nargs="*", type=Path, help="files of weights that the recipe participant made"
    )
    parser.add_argument(
        "--half", type=Path, help="a folder for copies in half precision, which are measured then"
    )
    parser.add_argument("--register", action="store_true", help="put the copies of --half into weights/registry.toml")
    parser.add_argument("--likeness", action="store_true", help="measure how alike every two carried networks are")
    parser.add_argument("--table", action="store_true", help="write the page's tables from what was measured")
    given = parser.parse_args()
    if given.register and not given.half:
        parser.error("--register is about the copies that --half writes: name a folder, such as --half weights")
    torch.set_num_threads(1)
    rows = (
        pd.read_csv(CSV, dtype={"weights": str})
        if CSV.is_file()
        else pd.DataFrame(columns=["weights", "seed"])
    )
    for whole in given.networks:
        path = halved(whole, given.half) if given.half else whole
        if given.register and registered(path):
            print(f"{path.stem}: registered", flush=True)
        subject = get(str(path))
        if subject.weights in set(rows["weights"]):
            continue
        row = measured(path) | {"minutes": minutes(whole.parent / "learning" / "log.csv")}
        # A second part takes the place of the first, whose time is its time too.
        first = rows["weights"] == subject.about.get("started_from")
        if first.any():
            row["minutes"] = total([*rows[first]["minutes"], row["minutes"]])
            rows = rows[~first]
        if given.half:
            print(
                f"{row['name']}: half less whole: {differences(measured(whole), row) or 'the same'}",
                flush=True,
            )
        rows = pd.concat([rows, pd.DataFrame([row])]).sort_values(["teacher", "seed"])
        write_bytes(CSV, rows[[*row, *(key for key in rows if key not in row)]].to_csv(index=False).encode())
        print(f"{row['name']}: {row['weights']}", flush=True)
    if given.likeness:
        pairs = likeness({name: get(name) for name in networks_carried()})
        write_bytes(LIKENESS, pairs.to_csv(index=False).encode())
    if given.table:
        write_table(PAGE, "participants", table(rows))
        write_table(PAGE, "likeness", likeness_table(pd.read_csv(LIKENESS), networks_carried()))


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(f"error: {error}")
