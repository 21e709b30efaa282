"""How long a batch of 64 faces at 224 pixels takes as stimuli, against OpenCV one picture at a time.

    python benchmarks/stimuli.py [--device cpu] [--threads 2]

OpenCV gets what the notebook gave it: the landmarks' rectangle found and drawn for each picture, and the whole picture
blurred by its optimised 8-bit code. The pictures are random and the landmarks the mean face's, moved a little; what is
in a picture changes no time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

from facelesion.faces import (
    Blur,
    ControlMask,
    GaussianNoise,
    Isolate,
    Mask,
    PhaseScramble,
    Stimulus,
    TileScramble,
    mean_face,
    region,
)

COUNT, SIZE = 64, 224


def rectangle(points: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """The notebook's box of some landmarks as polygon corners."""
    centre, size, angle = cv2.minAreaRect(cv2.convexHull(points))
    return np.int32(cv2.boxPoints((centre, (size[0] * scale[0], size[1] * scale[1]), angle)))  # type: ignore[arg-type]


def by_opencv(pictures: list[np.ndarray], landmarks: np.ndarray, name: str, kind: str) -> list[np.ndarray]:
    """The notebook's mask, blur or isolation of a region, one picture after the other."""
    chosen = region(name)
    made = []
    for picture, mesh in zip(pictures, landmarks, strict=True):
        points = mesh[list(chosen.points)]
        inside = np.zeros(picture.shape[:2], np.uint8)
        if kind == "isolate":
            low, high = points.min(0), points.max(0)
            middle, half = (low + high) / 2, (high - low) * 0.75
            corners = np.int32([middle - half, middle + half])
            cv2.rectangle(inside, corners[0].tolist(), corners[1].tolist(), 255, -1)
            made.append(np.where(inside[..., None] > 0, picture, cv2.GaussianBlur(picture, (21, 21), 0)))
            continue
        cv2.drawContours(inside, [rectangle(points, chosen.scale)], 0, 255, -1)
        if kind == "mask":
            picture = picture.copy()
            picture[inside == 255] = 0
            made.append(picture)
        else:
            made.append(np.where(inside[..., None] > 0, cv2.GaussianBlur(picture, (51, 51), 0), picture))
    return made


def median_time(work: Callable[[], object], device: torch.device, repeats: int = 7) -> float:
    """Median wall time of some runs in milliseconds, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (COUNT, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    shift = torch.rand(COUNT, 1, 2, generator=generator) * 10
    landmarks = mean_face(SIZE) + shift + torch.rand(COUNT, 478, 2, generator=generator)
    images, marks = (pixels.float() / 255).to(device), landmarks.to(device)
    pictures = [np.ascontiguousarray(p) for p in pixels.permute(0, 2, 3, 1).numpy()]

    print(f"{COUNT} faces at {SIZE} px on {device}, {given.threads} threads; milliseconds, median of 7")
    print(f"{'stimulus':<26}{'batched':>10}{'OpenCV':>10}{'times as fast':>15}")
    pairs: list[Stimulus] = [kind(name) for kind in (Mask, Blur) for name in ("eyes", "nose")]
    pairs += [Isolate(name, fill="blur") for name in ("eyes", "nose")]
    for stimulus in pairs:
        ours = median_time(lambda s=stimulus: s(images, marks), device)  # type: ignore[misc]
        name, kind = stimulus.region, stimulus.kind  # type: ignore[attr-defined]
        theirs = median_time(lambda n=name, k=kind: by_opencv(pictures, landmarks.numpy(), n, k), device)  # type: ignore[misc]
        print(f"{stimulus!s:<26}{ours:>10.1f}{theirs:>10.1f}{theirs / ours:>15.1f}")
    for stimulus in (
        ControlMask("eyes"),
        Mask("eyes", fill="noise"),
        GaussianNoise(),
        PhaseScramble(),
        TileScramble(),
    ):
        print(f"{stimulus!s:<28}{median_time(lambda s=stimulus: s(images, marks), device):>10.1f}")  # type: ignore[misc]


if __name__ == "__main__":
    main()
