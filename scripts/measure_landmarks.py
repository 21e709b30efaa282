"""Find the face of random LFW photographs with every backend and keep the landmarks, for the other scripts to compare.

    python scripts/measure_landmarks.py --lfw lfw-deepfunneled.tgz --landmarker face_landmarker.task --out landmarks.npz

The file holds a row per photograph: its name, whether it shows one of View 1's training people, and the landmarks of
mediapipe (478), dlib (68) and mtcnn (5) in the photograph's pixels, nan where a backend finds no face.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facelesion import Error
from facelesion.data import LFW, open_lfw, read_image
from facelesion.faces import choose, landmark_backend

POINTS = {"mediapipe": 478, "dlib": 68, "mtcnn": 5}


def draw(lfw: LFW, each: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Names of `each` random photographs of training people and as many of test people; which are the former."""
    rng = np.random.default_rng(seed)
    parts = [sorted(lfw.part(part).names) for part in ("train", "test")]
    names = [sorted(rng.permutation(part)[:each].tolist()) for part in parts]
    return [*names[0], *names[1]], np.arange(len(names[0]) + len(names[1])) < len(names[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="Find landmarks in LFW with every backend.")
    parser.add_argument("--lfw", type=Path, required=True, help="LFW's folder of people, or its archive")
    parser.add_argument("--protocols", type=Path, help="folder of peopleDevTrain.txt (default: beside --lfw)")
    parser.add_argument("--landmarker", type=Path, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--each", type=int, default=1200, help="photographs of training and of test people")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backends", nargs="+", default=list(POINTS), choices=list(POINTS))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()

    lfw = open_lfw(given.lfw, given.protocols)
    names, training = draw(lfw, given.each, given.seed)
    found = {name: np.full((len(names), POINTS[name], 2), np.nan, np.float32) for name in given.backends}
    for backend_name, points in found.items():
        backend = landmark_backend(backend_name, given.landmarker if backend_name == "mediapipe" else None)
        for row, name in enumerate(tqdm(names, backend_name)):
            photograph = read_image(lfw.root / name)
            face = choose(backend.find(photograph), *photograph.shape[:2])
            if face is not None:
                points[row] = face.points
        backend.close()
    np.savez_compressed(given.out, names=np.array(names), training=training, **found)  # type: ignore[arg-type]


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(f"error: {error}")
