"""The finished folder: put together from what is done of each photograph, and moved into place in one go."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from facelesion.data.preparation.folder import COLUMNS, FORMAT, JOURNAL, MESH_POINTS, manifest_of
from facelesion.data.preparation.journal import Found, Options, read_source
from facelesion.files import LeftOut, file_hash, write_bytes

_NUMBERS = ("size", "roll", "yaw", "pitch", "sharpness", "inside")


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did.

    Attributes:
        folder: where the result is.
        faces: how many faces it holds.
        several: how many photographs showed more than one face, of which one was chosen.
        left_out: the photographs that gave none.
        done: how many photographs this run looked at; the others had not changed since an earlier one.
    """

    folder: Path
    faces: int
    several: int
    left_out: tuple[LeftOut, ...]
    done: int

    def __str__(self) -> str:
        lines = [
            f"{self.faces} faces in {self.folder} "
            f"({self.done} photographs looked at, {self.several} with several faces)"
        ]
        if self.left_out:
            lines.append(
                f"{len(self.left_out)} photographs left out (all in {self.folder / 'left_out.csv'}):"
            )
            width = max(len(printable(left.name)) for left in self.left_out[:20])
            lines += [f"  {printable(left.name):<{width}}  {left.reason}" for left in self.left_out[:20]]
            if len(self.left_out) > 20:
                lines.append(f"  ... and {len(self.left_out) - 20} more")
        return "\n".join(lines)


def assemble(
    out: Path,
    options: Options,
    names: Iterable[str],
    people: dict[str, str],
    known: dict[str, Found],
    done: int,
) -> Prepared:
    """Put the finished photographs together, in the names' order, and replace the result in one go."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    kept = [name for name in names if not known[name].reason]
    left = tuple(LeftOut(name, known[name].reason) for name in names if known[name].reason)
    left_csv = _csv(left, known)
    manifest = manifest_of(out)
    if manifest is not None and _stands(out, [(name, people[name]) for name in kept], left_csv):
        shutil.rmtree(out / JOURNAL)
        return Prepared(out, len(kept), manifest["several_faces"], left, done)
    side = options.side
    new = out / JOURNAL / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    crops = (
        np.lib.format.open_memmap(
            new / "crops.npy", mode="w+", dtype=np.uint8, shape=(len(kept), 3, side, side)
        )
        if kept
        else np.zeros((0, 3, side, side), np.uint8)
    )
    if not kept:
        np.save(new / "crops.npy", crops)
    landmarks = np.zeros((len(kept), MESH_POINTS * 2), np.float32)
    facts: list[dict[str, Any]] = [{}] * len(kept)
    by_source: dict[Path, list[int]] = {}
    for position, name in enumerate(kept):
        source = known[name].source
        assert source is not None
        by_source.setdefault(source, []).append(position)
    for source, positions in by_source.items():
        rows = [known[kept[position]].row for position in positions]
        read_crops, read_landmarks, read_facts = read_source(out, source)
        for position, row in zip(positions, rows, strict=True):
            crops[position] = read_crops[row]
            landmarks[position] = read_landmarks[row].ravel()
            facts[position] = read_facts[row]
    if isinstance(crops, np.memmap):
        crops.flush()
    several = sum(fact["faces"] > 1 for fact in facts)
    columns: dict[str, Any] = {
        "name": pa.array(kept, pa.string()),
        "person": pa.array([people[name] for name in kept], pa.string()),
        "sha256": pa.array([known[name].sha256 for name in kept], pa.string()),
    }
    for key in ("width", "height", "faces"):
        columns[key] = pa.array([fact[key] for fact in facts], pa.int32())
    for key in _NUMBERS:
        columns[key] = pa.array(
            [math.nan if fact[key] is None else fact[key] for fact in facts], pa.float32()
        )
    matrices = np.array([fact["matrix"] for fact in facts], np.float64).reshape(-1)
    columns["matrix"] = pa.FixedSizeListArray.from_arrays(pa.array(matrices), 6)
    columns["landmarks"] = pa.FixedSizeListArray.from_arrays(pa.array(landmarks.reshape(-1)), MESH_POINTS * 2)
    parquet.write_table(pa.table(columns), new / "faces.parquet", compression="zstd")
    write_bytes(new / "left_out.csv", left_csv)
    manifest = {
        "format": FORMAT,
        "options": asdict(options),
        "versions": _versions(),
        "faces": len(kept),
        "people": len({people[name] for name in kept}),
        "several_faces": several,
        "left_out": len(left),
        "columns": COLUMNS,
        "sha256": {name: file_hash(new / name) for name in ("crops.npy", "faces.parquet", "left_out.csv")},
    }
    # The manifest is written last, whole: once it is there, everything is, and the swap can only go forward.
    write_bytes(new / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
    finish_swap(out)
    return Prepared(out, len(kept), several, left, done)


def _versions() -> dict[str, str]:
    """What pictures are decoded and cut by; the backend's own version is among the options."""
    import cv2
    import PIL

    import facelesion

    return {
        "facelesion": facelesion.__version__, "numpy": np.__version__, "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }  # fmt: skip


def _stands(out: Path, kept: list[tuple[str, str]], left_csv: bytes) -> bool:
    """Whether the earlier result is already what would be written: nothing new, changed or gone."""
    import pyarrow.parquet as parquet

    if any((out / JOURNAL).glob("*.npz")):
        return False
    table = parquet.read_table(out / "faces.parquet", columns=["name", "person"]).to_pydict()
    same_faces = list(zip(table["name"], table["person"], strict=True)) == kept
    return same_faces and (out / "left_out.csv").read_bytes() == left_csv


def finish_swap(out: Path) -> None:
    """Move a complete new result into place; a run killed in the middle is finished by the next."""
    new = out / JOURNAL / "new"
    if not (new / "manifest.json").is_file():
        return
    for name in ("crops.npy", "faces.parquet", "left_out.csv"):
        if (new / name).is_file():
            os.replace(new / name, out / name)
    # A killed run may leave the manifest of the result before this one: it is replaced with the rest.
    os.replace(new / "manifest.json", out / "manifest.json")
    shutil.rmtree(out / JOURNAL)


def _csv(left: Iterable[LeftOut], known: dict[str, Found]) -> bytes:
    import csv

    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "reason", "sha256"])
    writer.writerows((*item, known[item.name].sha256) for item in left)
    return text.getvalue().encode("utf-8", "backslashreplace")


def printable(name: str) -> str:
    """A file's name fit for a terminal: control characters, which could rewrite it, are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in name)
