"""Contact sheets: 50 faces with one region drawn on each, to see whether it sits where the feature is.

    python scripts/draw_region_sheets.py --out docs/pictures/regions             # made-up faces
    python scripts/draw_region_sheets.py --prepared prepared --out sheets        # photographs: facelesion prepare

The box is yellow, the outline cyan. One JPEG a region.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from facelesion import Error
from facelesion.data import FaceSet, load_prepared
from facelesion.faces import REGIONS, boxes, outlines

COLUMNS, ROWS, SIDE = 10, 5, 112
YELLOW, CYAN = (0, 220, 255), (255, 200, 0)  # blue, green, red, as OpenCV draws


def sheet(faces: FaceSet, region: str) -> np.ndarray:
    """The faces with this region drawn: uint8 (5 · 112, 10 · 112, 3), blue, green, red."""
    corners = boxes(faces.landmarks, region).corners
    rings = outlines(faces.landmarks, region)
    scale = SIDE / faces.images.shape[-1]
    drawn = []
    for row, image in enumerate(faces.images):
        picture = cv2.resize(image.permute(1, 2, 0).numpy()[..., ::-1].copy(), (SIDE, SIDE))
        for points, colour in [(corners[row], YELLOW), *((ring[row], CYAN) for ring in rings)]:
            # OpenCV takes sixteenths of a pixel, and pixel centres at whole numbers, as ours are.
            places = (((points + 0.5) * scale - 0.5) * 16).round().int().numpy()
            cv2.polylines(picture, [places], True, colour, 1, cv2.LINE_AA, 4)
        drawn.append(picture)
    grid = np.stack(drawn).reshape(ROWS, COLUMNS, SIDE, SIDE, 3)
    return grid.transpose(0, 2, 1, 3, 4).reshape(ROWS * SIDE, COLUMNS * SIDE, 3)


def fifty(prepared: Path | None, seed: int) -> FaceSet:
    """Fifty faces at random: fifty people of the face space, or prepared photographs."""
    if prepared is None:
        from facelesion.data import FaceSpace

        return FaceSpace.load().draw(COLUMNS * ROWS, 1, seed, variability=1.0)
    faces = load_prepared(prepared)
    if len(faces) < COLUMNS * ROWS:
        raise Error(f"{prepared}: holds {len(faces)} faces, a sheet needs {COLUMNS * ROWS}: prepare more")
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(seed))
    return faces[sorted(order[: COLUMNS * ROWS].tolist())]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepared", type=Path, help="a folder that `facelesion prepare` wrote")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sheets"))
    given = parser.parse_args()
    faces = fifty(given.prepared, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    for region in REGIONS:
        path = given.out / f"{region}.jpg"
        cv2.imwrite(str(path), sheet(faces, region), [cv2.IMWRITE_JPEG_QUALITY, 60])
        print(path)


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(f"error: {error}")
