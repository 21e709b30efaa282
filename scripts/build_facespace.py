"""Learn the built-in face space from photographs: how weights/facespace.npz was made.

    python scripts/build_facespace.py --lfw lfw-deepfunneled.tgz --landmarker face_landmarker.task

It takes LFW's View 1 training people only, so that no test person is in the face space. Heads turned far to a side are
left out: their outline folds over in two dimensions.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from facelesion import Error
from facelesion.data import load_prepared, open_lfw, prepare
from facelesion.data.facespace import CANVAS, CROP, MARGIN
from facelesion.data.facespace_learning import learn_face_space

NOSE, LEFT_EYE, RIGHT_EYE = 1, 33, 263  # mesh points: the nose's tip, the eyes' outer corners


def turned(landmarks: np.ndarray) -> np.ndarray:
    """How far the nose's tip is off the middle between the eyes (N,), in distances between their outer corners."""
    left, right = landmarks[:, LEFT_EYE, 0], landmarks[:, RIGHT_EYE, 0]
    return (landmarks[:, NOSE, 0] - (left + right) / 2) / (right - left)


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn the built-in face space from LFW's training people.")
    parser.add_argument("--lfw", type=Path, required=True, help="LFW's folder of people, or its archive")
    parser.add_argument("--protocols", type=Path, help="folder of peopleDevTrain.txt (default: beside --lfw)")
    parser.add_argument("--landmarker", type=Path, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--prepared", type=Path, help="keep aligned crops here (default: nowhere)")
    parser.add_argument("--out", type=Path, default=Path("weights/facespace.npz"))
    arguments = parser.parse_args()

    lfw = open_lfw(arguments.lfw, arguments.protocols)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.prepared or Path(scratch) / "prepared"
        print(prepare(lfw.root, folder, model=arguments.landmarker, size=CROP, margin=MARGIN), file=sys.stderr)
        faces = load_prepared(folder)
        landmarks = faces.landmarks.numpy() - MARGIN
        training = np.isin(faces.labels, lfw.people("train"))
        rows = np.flatnonzero(training & (np.abs(turned(landmarks)) < 0.25)).tolist()
        print(f"learning from {len(rows)} photographs of training people", file=sys.stderr)
        canvases = faces.images[rows].permute(0, 2, 3, 1).numpy()
    assert canvases.shape[1:3] == (CANVAS, CANVAS)
    learn_face_space(canvases, landmarks[rows], [faces.labels[row] for row in rows]).save(arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
