"""How often does a backend find a face where there is none? In made-up non-faces, and in photographs of objects.

    python scripts/count_false_faces.py --objects objects.tgz --landmarker face_landmarker.task

Photographs may show a face after all, on a poster or of a passer-by: the names of those with one are printed, to be
looked at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facelesion import Error
from facelesion.data import ImageSet, nonfaces, object_folder
from facelesion.faces import BACKENDS, Backend, landmark_backend

SIZE = 224


def with_a_face(backend: Backend, pictures: ImageSet) -> list[str]:
    """Names of the pictures in which the backend finds one."""
    return [
        name
        for name, picture in zip(tqdm(pictures.names), pictures.images, strict=True)
        if backend.find(picture.permute(1, 2, 0).contiguous().numpy())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Count faces found where there is none.")
    parser.add_argument("--objects", type=Path, help="a folder of categories with photographs, or its archive")
    parser.add_argument("--landmarker", type=Path, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--backend", default="mediapipe", choices=list(BACKENDS))
    parser.add_argument("--count", type=int, default=300, help="pictures of each sort")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    backend = landmark_backend(given.backend, given.landmarker if given.backend == "mediapipe" else None)
    sorts = {"made-up non-faces": nonfaces(given.count, seed=given.seed)}
    if given.objects:
        photographs = object_folder(given.objects, size=SIZE)
        chosen = np.random.default_rng(given.seed).permutation(len(photographs))[: given.count]
        sorts["photographs of objects"] = photographs[sorted(chosen.tolist())]
    for sort, pictures in sorts.items():
        found = with_a_face(backend, pictures)
        print(f"{given.backend}, {sort}: a face in {len(found)} of {len(pictures)} {' '.join(found)}")


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(f"error: {error}")
