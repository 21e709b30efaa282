"""Photographs that are painted, and a landmark backend that finds in them what was painted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from facelesion.data.preparation import prepare
from facelesion.faces.landmarks import Face
from facelesion.faces.regions import mean_face

FILES = ("crops.npy", "faces.parquet", "left_out.csv", "manifest.json")


class Painted:
    """A backend for painted photographs: a mean face for every 50 levels of red in the first pixel."""

    name = "painted"
    version = "1"
    calls = 0

    def __init__(self, model: object = None) -> None:
        pass

    def find(self, photograph: np.ndarray) -> list[Face]:
        Painted.calls += 1
        count = int(photograph[0, 0, 0]) // 50
        side = min(photograph.shape[:2])
        mesh = mean_face(side).numpy() * 0.8
        return [Face(mesh * (1 - 0.1 * i) + 0.05 * side, yaw=float(i)) for i in range(count)]

    def close(self) -> None:
        pass


def paint(path: Path, seed: int, faces: int = 1, side: int = 80) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((side, side + 10), Image.Resampling.BILINEAR)).copy()
    picture[0, 0] = 50 * faces + 20
    Image.fromarray(picture).save(path)


def run(root: Path, out: Path, **options: object):
    return prepare(root, out, landmarks="painted", workers=1, progress=False, **options)  # type: ignore[arg-type]


def content(out: Path) -> dict[str, bytes]:
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    return {name: (out / name).read_bytes() for name in FILES}
