"""Photographs: from an upload's bytes to the square that a network is shown. Nothing of them is kept or written."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from facelesion.data.images import centre_crop
from facelesion.data.imagesets import FaceSet
from facelesion.errors import Error
from facelesion.faces.alignment import align
from facelesion.faces.landmarks import Backend, Face, choose, landmark_backend
from facelesion.lab.drawing import QUICK
from facelesion.lab.pictures import photograph_of, photographed
from facelesion.lab.state import PHOTOGRAPH, Picture
from facelesion.report.style import png

SIZE = 112
_LARGEST = 1000  # longer side of what a face is looked for in, pixels
NO_FACE = (
    "no face was found in the photograph: click both eyes, the nose and the corners of the mouth, or show it as a thing"
)


def cut_out(upload: bytes, points: Sequence[float] | None = None, thing: bool = False) -> Picture:
    """What the page shows of a photograph: its face, aligned, with landmarks; or its middle, for a thing.

    Args:
        upload: the file's bytes.
        points: both eyes, the nose and the corners of the mouth, left to right as seen: x and y in turn, each as a
            share of the photograph's width and height; looked for when left out.
        thing: there is no face to look for.

    Raises:
        Error: no picture, one that is too large, or no face in it; one line.
    """
    image = _smaller(photograph_of(upload))
    if thing:
        return Picture(source=PHOTOGRAPH, pixels=_text(centre_crop(image, SIZE)))
    face = _face(image, points)
    crop, landmarks = align(image, face.mesh, SIZE)
    flat = tuple(round(float(each), 3) for each in landmarks.flatten())
    return Picture(source=PHOTOGRAPH, pixels=_text(crop), points=flat, marked=tuple(points or ()))


def photograph_in(path: str | Path, points: Sequence[float] | None = None, thing: bool = False) -> FaceSet:
    """A photograph of one's own, as the page shows it; arguments and errors as for `cut_out`.

    Example:
        >>> import tempfile, PIL.Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     PIL.Image.new("RGB", (300, 200)).save(f"{folder}/cup.png")
        ...     photograph_in(f"{folder}/cup.png", thing=True).images.shape
        torch.Size([1, 3, 112, 112])
    """
    found = cut_out(Path(path).read_bytes(), points, thing)
    return photographed(found.pixels, found.points)


def _face(image: np.ndarray, points: Sequence[float] | None) -> Face:
    height, width = image.shape[:2]
    if points is None:
        found = choose(_backend().find(image), height, width)
        if found is None:
            raise Error(NO_FACE)
        return found
    if len(points) != 10 or not all(0 <= each <= 1 for each in points):
        raise Error("points: give five, x and y in turn, each from 0 to 1")
    placed = np.asarray(points, np.float32).reshape(5, 2) * [width, height] - 0.5
    if np.linalg.norm(placed[1] - placed[0]) < 4:
        raise Error("the eyes lie on one point: click the five points again")
    return Face(placed.astype(np.float32))


@lru_cache(maxsize=1)
def _backend() -> Backend:
    """MediaPipe where its model is here, else MTCNN, whose package brings its own."""
    try:
        return landmark_backend("mediapipe")
    except Error:
        return landmark_backend("mtcnn")


def _smaller(image: np.ndarray) -> np.ndarray:
    import cv2

    shrink = min(1.0, _LARGEST / max(image.shape[:2]))
    if shrink == 1:
        return image
    size = (max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _text(pixels: np.ndarray) -> str:
    return base64.b64encode(png(np.ascontiguousarray(pixels), QUICK)).decode()
