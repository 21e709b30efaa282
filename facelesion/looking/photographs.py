"""One's own photographs, as what is looked at: the face found, cut out as the network takes it, with its landmarks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from facelesion.data.imagesets import FaceSet
from facelesion.errors import Error

Finder = Literal["mediapipe", "dlib", "mtcnn"]
BUILT_IN = "facespace"
_LARGEST = 480  # pixels of the longer side of a photograph that is kept to be shown


@dataclass(frozen=True, eq=False)
class Shot:
    """A photograph with the face in it.

    Attributes:
        picture: uint8 (H, W, 3), RGB: the photograph, made smaller to be shown.
        landmarks: float32 (points, 2), in its pixels.
    """

    picture: npt.NDArray[np.uint8]
    landmarks: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Photographed:
    """Faces of photographs.

    Attributes:
        faces: cut out and aligned, one size, each with its photograph's name.
        shots: the photographs they come from; of a prepared folder and of built-in faces, the cut-out faces themselves.
    """

    faces: FaceSet
    shots: tuple[Shot, ...]


def photographed(
    photographs: Sequence[str], size: int, finder: Finder = "mediapipe", model: str | None = None
) -> Photographed:
    """The faces of photographs.

    Args:
        photographs: files; folders that `facelesion prepare` wrote, of which all faces are taken; or `facespace:7`, the
            seventh person (counted from 0) of the built-in face space, who needs no landmarks to be found.
        size: side of the faces in pixels.
        finder: what finds the landmarks.
        model: its model file.

    Raises:
        Error: no picture, no face in it, no such person, or no model of what finds faces.

    Example:
        >>> seen = photographed(["facespace:1", "facespace:5"], 112)
        >>> len(seen.faces), tuple(seen.faces.images.shape)
        (2, (2, 3, 112, 112))
    """
    from facelesion.data.preparation import is_prepared

    if not photographs:
        raise Error("no photograph: give one or more, or facespace:0 for a built-in face")
    names = _names(photographs)
    sets: list[FaceSet] = []
    shots: list[Shot] = []
    backend = None
    try:
        for each, name in zip(photographs, names, strict=True):
            if each.partition(":")[0] == BUILT_IN:
                found = _built_in(each, size)
            elif Path(each).is_dir():
                if not is_prepared(each):
                    raise Error(
                        f"{each} is a folder: give photographs, or a folder that `facelesion prepare` wrote"
                    )
                found = _prepared(each, size)
            else:
                if backend is None:
                    _readable(photographs)  # before a model is loaded, which takes seconds
                    from facelesion.faces.landmarks import landmark_backend

                    backend = landmark_backend(finder, model)
                face, shot = _one(each, name, size, backend)
                sets.append(face)
                shots.append(shot)
                continue
            sets.append(found)
            shots += _shots(found)
    finally:
        if backend is not None:
            backend.close()
    return Photographed(_together(sets), tuple(shots))


def _readable(photographs: Sequence[str]) -> None:
    for each in photographs:
        if each.partition(":")[0] != BUILT_IN and not Path(each).exists():
            raise Error(f"{each}: no such file: give a photograph")


def _names(photographs: Sequence[str]) -> list[str]:
    """What each is called: its file's name without the ending, after as many of its folders as tell it from others."""
    whole = [Path(os.path.abspath(each)).with_suffix("").parts for each in photographs]
    names = [parts[-1] for parts in whole]
    for depth in range(2, max(map(len, whole)) + 1):
        alike = Counter(names)
        if max(alike.values()) == 1:
            break
        names = [
            "/".join(parts[-depth:]) if alike[name] > 1 else name for name, parts in zip(names, whole, strict=True)
        ]
    return names


def _one(path: str, name: str, size: int, backend: object) -> tuple[FaceSet, Shot]:
    import cv2

    from facelesion.data.images import read_image
    from facelesion.faces.alignment import align
    from facelesion.faces.landmarks import choose

    photograph = read_image(path)
    face = choose(backend.find(photograph), *photograph.shape[:2])  # type: ignore[attr-defined]
    if face is None:
        raise Error(f"{path}: no face found: give a photograph of a face that can be seen from the front")
    crop, landmarks = align(photograph, face.mesh, size)
    shrink = min(1.0, _LARGEST / max(photograph.shape[:2]))
    height, width = (max(1, round(side * shrink)) for side in photograph.shape[:2])
    small = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA)
    points = ((face.mesh + 0.5) * shrink - 0.5).astype(np.float32)
    faces = FaceSet(
        torch.from_numpy(crop).permute(2, 0, 1)[None].contiguous(), (name,), (name,),
        torch.from_numpy(landmarks)[None],
    )  # fmt: skip
    return faces, Shot(np.asarray(small, np.uint8), points)


def _built_in(word: str, size: int) -> FaceSet:
    from facelesion.data.facespace import FaceSpace

    number = word.partition(":")[2]
    if not number.isdecimal() or int(number) > 9999:
        raise Error(f"{word}: write {BUILT_IN}:NUMBER for a built-in face, such as {BUILT_IN}:0 (to 9999)")
    space = FaceSpace.load()
    images, landmarks = space.render(space.people(int(number) + 1)[-1:])
    return _resized(FaceSet(images, (word,), (word,), landmarks), size)


def _prepared(folder: str, size: int) -> FaceSet:
    from facelesion.data.preparation import load_prepared

    return _resized(load_prepared(folder), size)


def _resized(faces: FaceSet, size: int) -> FaceSet:
    """The faces at another size; those of this size as they are, on disk if that is where they lie."""
    if faces.size == size:
        return faces
    images = torch.nn.functional.interpolate(
        faces.images.float(), (size, size), mode="bilinear", antialias=True, align_corners=False
    )
    landmarks = (faces.landmarks + 0.5) * (size / faces.size) - 0.5
    return FaceSet(images.round().clamp(0, 255).to(torch.uint8), faces.labels, faces.names, landmarks, ids=faces.ids)


def _shots(faces: FaceSet) -> list[Shot]:
    return [
        Shot(image.permute(1, 2, 0).numpy(), points.numpy())
        for image, points in zip(faces.images, faces.landmarks, strict=True)
    ]


def _together(sets: Sequence[FaceSet]) -> FaceSet:
    if len(sets) == 1:
        return sets[0]
    names = tuple(name for each in sets for name in each.names)
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise Error(f"{twice.lstrip('/')} is given twice: give each photograph once")
    return FaceSet(
        torch.cat([each.images for each in sets]),
        tuple(label for each in sets for label in each.labels),
        names,
        torch.cat([each.landmarks for each in sets]),
    )
