"""A folder of prepared faces: what is in it, whether it is whole, and how it is read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from facelesion.data.imagesets import FaceSet
from facelesion.errors import Error, one_line
from facelesion.faces.landmarks import SEARCH
from facelesion.files import LeftOut, cache_folder, file_hash

FORMAT = 1
MESH_POINTS = 478
JOURNAL = ".journal"  # what an unfinished run has done so far
# Who writes here now. Inside, since what lies around the folder may be another's; it is no part of the result.
LOCK = ".lock"

# What faces.parquet says of each face. Pixels are the photograph's unless said otherwise.
COLUMNS = {
    "name": "the photograph's path below the root",
    "person": "who it shows",
    "sha256": "of the photograph's file",
    "width": "of the photograph in pixels",
    "height": "of the photograph in pixels",
    "faces": "how many were found in the photograph",
    "size": "distance between the eyes' middles in pixels",
    "roll": "degrees that the eye line is turned clockwise",
    "yaw": "degrees that the face is turned to the viewer's right; nan where the backend does not say",
    "pitch": "degrees that the face is turned up; nan where the backend does not say",
    "sharpness": "variance of the Laplacian of the crop's grey levels",
    "inside": "fraction of the crop that lies inside the photograph",
    "matrix": "2 x 3, row by row: from the photograph's pixels to the crop's",
    "landmarks": "478 x 2, point by point: x and y in the crop's pixels",
}


def prepared_place(root: str | Path, size: int, landmarks: str = "mediapipe") -> Path:
    """Where photographs are prepared for good when no folder is named: in the user's cache, by their place."""
    place = hashlib.sha256(str(Path(root).resolve()).encode()).hexdigest()[:12]
    return cache_folder() / f"prepared-{place}-{size}-{SEARCH}{'' if landmarks == 'mediapipe' else '-' + landmarks}"


def is_prepared(folder: str | Path) -> bool:
    """Whether a folder holds a finished result of `prepare`."""
    folder = Path(folder)
    return os.path.isfile(folder / "faces.parquet") and manifest_of(folder) is not None


def left_out_of(folder: str | Path) -> tuple[LeftOut, ...]:
    """Name and reason of every photograph that a finished result left out."""
    import pandas as pd

    table = pd.read_csv(Path(folder) / "left_out.csv", dtype=str, keep_default_na=False)
    return tuple(map(LeftOut, table["name"], table["reason"]))


def load_prepared(folder: str | Path) -> FaceSet:
    """Read what `prepare` wrote; the crops stay on disk until they are used (memory-mapped).

    Args:
        folder: as given to `prepare` as `out`.

    Returns:
        The faces in the table's order; labels are the people, names the photographs' paths.

    Raises:
        Error: it is no such folder, or a run that is not finished, or its files do not fit together.

    Example:
        >>> load_prepared("nowhere")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.errors.Error: nowhere: no finished result of `facelesion prepare`: run it, or ...
    """
    import pyarrow.parquet as parquet
    import torch

    folder = Path(folder)
    manifest = manifest_of(folder)
    if manifest is None:
        raise Error(
            f"{folder}: no finished result of `facelesion prepare`: run it, or run it again"
        )
    check_unchanged(folder, manifest)
    try:
        table = parquet.read_table(folder / "faces.parquet", columns=["name", "person", "landmarks"])
        # Copy on write: the file stays as it is whatever is done to the tensor.
        crops = np.load(folder / "crops.npy", mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Error(
            f"{folder}: {one_line(error)}: run `facelesion prepare` again"
        ) from None
    pictures = crops.dtype == np.uint8 and crops.ndim == 4 and crops.shape[1] == 3
    if not (pictures and len(table) == len(crops) == manifest["faces"]):
        raise Error(
            f"{folder}: table and crops do not fit together: delete the folder and prepare again"
        )
    points = table["landmarks"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return FaceSet(
        images=torch.from_numpy(crops),
        labels=tuple(table["person"].to_pylist()),
        names=tuple(table["name"].to_pylist()),
        landmarks=torch.from_numpy(points.reshape(-1, MESH_POINTS, 2).copy()),
    )


def manifest_of(out: Path) -> dict[str, Any] | None:
    """The finished result's manifest; None while there is none, or while a swap is under way."""
    # `os.path`, which has no error of its own for a name that none can be.
    if not os.path.isdir(out) or os.path.isfile(out / JOURNAL / "new" / "manifest.json"):
        return None
    try:
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise Error(
            f"{out / 'manifest.json'} cannot be read ({error}): delete the folder"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or "options" not in manifest:
        raise Error(
            f"{out} holds a result of another version: name another folder, or delete that one"
        )
    kinds = {"options": dict, "faces": int, "several_faces": int, "sha256": dict}
    wrong = next((key for key, kind in kinds.items() if not isinstance(manifest.get(key), kind)), None)
    if wrong is not None:
        raise Error(
            f"{out / 'manifest.json'}: {wrong!r} is not as it was written: delete the folder"
        )
    return manifest


def check_unchanged(out: Path, manifest: dict[str, Any]) -> None:
    """What was edited since cannot be gone on from, nor be believed."""
    for name in ("faces.parquet", "left_out.csv"):
        if not (out / name).is_file() or file_hash(out / name) != manifest["sha256"].get(name):
            raise Error(
                f"{out / name} is missing or was changed since it was prepared: delete the folder and prepare again"
            )
