"""What is made of each photograph, kept in parts as it is done, so that a run that was killed goes on from there."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from facelesion.data.images import read_image
from facelesion.data.listing import Listing
from facelesion.data.preparation.folder import FORMAT, JOURNAL, MESH_POINTS, manifest_of
from facelesion.errors import Error
from facelesion.faces.alignment import align, five_points, similarity, template
from facelesion.faces.landmarks import Backend, choose
from facelesion.files import write_bytes


@dataclass(frozen=True)
class Options:
    """What a photograph's result depends on, beside the photograph."""

    landmarks: str
    version: str
    size: int
    margin: int
    format: int = FORMAT

    @property
    def side(self) -> int:
        return self.size + 2 * self.margin


@dataclass(frozen=True)
class Found:
    """Where a finished photograph's result lies: a row of a journal part or of the earlier result, or a reason."""

    sha256: str
    source: Path | None = None
    row: int = -1
    reason: str = ""


@dataclass(frozen=True)
class Job:
    """Some photographs for one worker."""

    root: Path
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    out: Path
    options: Options


def hashes_of(listing: Listing, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of every photograph; empty where there is nothing that can be read."""

    def digest(name: str) -> str:
        try:
            if not listing.path(name).is_file():
                return ""
            with open(listing.path(name), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""

    with ThreadPoolExecutor(4) as threads:
        return dict(zip(names, threads.map(digest, names), strict=True))


def done_of(out: Path, hashes: dict[str, str]) -> dict[str, Found]:
    """The photographs that are done and have not changed: in the finished result or in an unfinished run's journal."""
    found: list[tuple[str, Found]] = []
    if manifest_of(out) is not None:
        import pandas as pd
        import pyarrow.parquet as parquet

        table = parquet.read_table(out / "faces.parquet", columns=["name", "sha256"]).to_pydict()
        for row, (name, sha) in enumerate(zip(table["name"], table["sha256"], strict=True)):
            found.append((name, Found(sha, out / "faces.parquet", row)))
        left = pd.read_csv(out / "left_out.csv", dtype=str, keep_default_na=False)
        for name, sha, reason in zip(left["name"], left["sha256"], left["reason"], strict=True):
            found.append((name, Found(sha, reason=reason)))
    for part in sorted((out / JOURNAL).glob("*.npz")):
        try:
            with np.load(part, allow_pickle=False) as file:
                records = json.loads(bytes(file["records"]))
        except (OSError, ValueError, EOFError, KeyError, BadZipFile):
            continue  # what a failing disk left: its photographs are done again
        row = 0
        for record in records:
            reason = record.get("reason", "")
            where = Found(record["sha256"], reason=reason) if reason else Found(record["sha256"], part, row)
            found.append((record["name"], where))
            row += not reason
    return {name: where for name, where in found if hashes.get(name) == where.sha256}


def work(job: Job, backend: Backend) -> None:
    """Do a job's photographs and add them to the journal, all or none."""
    records: list[dict[str, Any]] = []
    crops, meshes = [], []
    for name, sha in zip(job.names, job.hashes, strict=True):
        record: dict[str, Any] = {"name": name, "sha256": sha}
        try:
            crop, mesh, facts = one(job, name, backend)
        except Error as error:
            # The reason is kept with the name, so it need not say the path again; nor may it depend on where that is.
            reason = str(error).replace(str(job.root / name), "").lstrip(": ").removeprefix("is ").strip("' ")
            record["reason"] = reason
        else:
            record |= facts
            crops.append(crop)
            meshes.append(mesh)
        records.append(record)
    side = job.options.side
    content = BytesIO()
    np.savez(
        content,
        records=np.frombuffer(json.dumps(records).encode(), np.uint8),
        crops=np.array(crops, np.uint8).reshape(-1, 3, side, side),
        landmarks=np.array(meshes, np.float32).reshape(-1, MESH_POINTS, 2),
    )
    key = hashlib.sha256("\0".join(job.names + job.hashes).encode("utf-8", "surrogateescape")).hexdigest()[
        :24
    ]
    write_bytes(job.out / JOURNAL / f"{key}.npz", content.getvalue())


def one(
    job: Job, name: str, backend: Backend
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], dict[str, Any]]:
    """One photograph: crop (3, side, side), landmarks in the crop's pixels, and what is said of them."""
    import cv2

    path = job.root / name
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Error("the file's name is not valid Unicode: rename it") from None
    # Not `Path.resolve`, which has an error of its own for links that lead in a circle.
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(job.root)):
        raise Error("a link that leads out of the folder of photographs")
    photograph = read_image(path)
    height, width = photograph.shape[:2]
    found = backend.find(photograph)
    face = choose(found, height, width)
    if face is None:
        raise Error("no face found")
    size, margin = job.options.size, job.options.margin
    matrix = similarity(five_points(face.mesh), template(size) + margin)
    if not np.isfinite(matrix).all():
        raise Error("the landmarks do not make a face")
    crop, mesh = align(photograph, face.mesh, size, margin)
    side = job.options.side
    covered = cv2.warpAffine(
        np.ones((height, width), np.uint8), matrix, (side, side), flags=cv2.INTER_NEAREST
    )
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    facts = {
        "width": width,
        "height": height,
        "faces": len(found),
        "size": face.size,
        "roll": face.roll,
        "yaw": None if math.isnan(face.yaw) else face.yaw,
        "pitch": None if math.isnan(face.pitch) else face.pitch,
        "sharpness": float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        "inside": float(covered.mean()),
        "matrix": [float(value) for value in matrix.ravel()],
    }
    return np.ascontiguousarray(crop.transpose(2, 0, 1)), mesh, facts


def read_source(
    out: Path, source: Path
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], list[dict[str, Any]]]:
    """Crops, landmarks and facts of a journal part, or of the result that is about to be replaced."""
    if source.suffix == ".npz":
        with np.load(source, allow_pickle=False) as file:
            records = [record for record in json.loads(bytes(file["records"])) if "reason" not in record]
            return file["crops"], file["landmarks"], records
    import pyarrow.parquet as parquet

    table = parquet.read_table(source)
    landmarks = table["landmarks"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    facts = table.drop_columns(["landmarks"]).to_pylist()
    return np.load(out / "crops.npy", mmap_mode="r"), landmarks.reshape(-1, MESH_POINTS, 2), facts
