"""Find faces and their landmarks in photographs: one small interface, three backends.

    backend = landmark_backend("mediapipe")
    faces = backend.find(photograph)
    face = choose(faces, *photograph.shape[:2])

Whatever the backend, `face.mesh` has the 478 points that the regions, the alignment and the stimuli work with:
MediaPipe finds them all, and dlib's 68 or MTCNN's five points are completed to them (`regions.complete`).
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.util
import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from facelesion.errors import Error

Picture = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
Window = tuple[int, int, int, int]  # top, left, bottom, right in pixels

MODEL_NAME = "face_landmarker.task"

_MOST_FACES = 10
_SMALL = 0.25  # of a picture's longer side: a mesh of less extent is looked at again from nearer
_SURE, _HARDER = 0.5, 0.3  # MediaPipe's own bar for detector and mesh, and that of a harder search
_APART = 0.15  # distances between the eyes that two finds of one face are apart on average, at the most
SEARCH = 2  # what was prepared by another search is not mixed with this one's
_DLIB_SIDE = 1200  # larger photographs are shrunk for dlib's detector, which else takes minutes


@dataclass(frozen=True, eq=False)
class Face:
    """One face found in a photograph.

    Attributes:
        points: float32 (478, 2), (68, 2) or (5, 2): the backend's own landmarks in pixels of the photograph, x to the
            right and y down, pixel centres at whole numbers.
        yaw: degrees that the face is turned to the viewer's right; nan where the backend does not say.
        pitch: degrees that the face is turned up; nan where the backend does not say.
    """

    points: Points
    yaw: float = math.nan
    pitch: float = math.nan

    @cached_property
    def mesh(self) -> Points:
        """All 478 points (478, 2), in pixels of the photograph."""
        import torch

        from facelesion.faces.regions import complete

        return complete(torch.from_numpy(self.points)[None])[0].numpy()

    @cached_property
    def eyes(self) -> Points:
        """The middles of the left and the right eye (2, 2), in pixels."""
        import torch

        from facelesion.faces.regions import eye_centres

        return torch.cat(eye_centres(torch.from_numpy(self.points)[None])).numpy()

    @property
    def size(self) -> float:
        """The distance between the eyes' middles, in pixels; for a face in profile, its height by proportion."""
        across = float(np.linalg.norm(self.eyes[1] - self.eyes[0]))
        # On the mean face the eyes are as far apart as two fifths of the extent of the mesh's features.
        return max(across, 0.25 * self.extent)

    @property
    def extent(self) -> float:
        """The longer side of the landmarks' upright bounding box, in pixels."""
        return float(np.ptp(self.points, axis=0).max())

    @property
    def roll(self) -> float:
        """Degrees that the eye line is turned clockwise, as seen, from the horizontal."""
        across = self.eyes[1] - self.eyes[0]
        return math.degrees(math.atan2(across[1], across[0]))

    @property
    def centre(self) -> Points:
        """The middle of the landmarks (2,), in pixels."""
        return self.points.mean(0)


class Backend(Protocol):
    """What finds landmarks.

    Attributes:
        name: as in `BACKENDS`.
        version: what the results depend on: the library's version and the model's hash.

    Example:
        >>> import numpy as np
        >>> from facelesion.faces import landmark_backend
        >>> finder: Backend = landmark_backend("mtcnn")
        >>> finder.find(np.zeros((60, 60, 3), np.uint8))
        []
    """

    name: str
    version: str

    def find(self, photograph: Picture) -> list[Face]:
        """All faces in a photograph, uint8 (H, W, 3) RGB, or an error for anything else; none is an empty list."""
        ...

    def close(self) -> None:
        """Give back what the backend holds."""
        ...


def landmark_backend(name: str = "mediapipe", model: str | Path | None = None) -> Backend:
    """Make a backend ready.

    Args:
        name: "mediapipe" (478 points), "dlib" (68 points, the extra `facelesion[dlib]`) or "mtcnn" (5 points).
        model: the model's file, for mediapipe (`face_landmarker.task`) and dlib
            (`shape_predictor_68_face_landmarks.dat`); looked for when left out.

    Raises:
        Error: an unknown name; a library or a model's file that is not there.

    Example:
        >>> landmark_backend("mtcnn").name, list(BACKENDS)
        ('mtcnn', ['mediapipe', 'dlib', 'mtcnn'])
        >>> landmark_backend("mediapip")
        Traceback (most recent call last):
        facelesion.errors.Error: no landmarks 'mediapip': choose mediapipe, dlib, mtcnn
    """
    if not isinstance(name, str) or name not in BACKENDS:
        raise Error(f"no landmarks {name!r}: choose {', '.join(BACKENDS)}")
    return BACKENDS[name](model)


def choose(faces: Sequence[Face], height: int, width: int) -> Face | None:
    """The face a photograph is of: the most central of the large ones; None when there is no face.

    A face is large when it is at least half the size of the largest.

    Args:
        faces: what a backend found.
        height, width: the photograph's size in pixels.

    Example:
        >>> import numpy as np
        >>> points = np.array([[0, 0], [10, 0], [5, 5], [0, 10], [10, 10]], np.float32)
        >>> left, middle = Face(points), Face(points + 50)
        >>> choose([left, middle], 110, 110) is middle
        True
    """
    if not faces:
        return None
    largest = max(face.size for face in faces)
    middle = np.array([width - 1, height - 1]) / 2
    large = [face for face in faces if face.size >= largest / 2]
    return min(large, key=lambda face: float(np.linalg.norm(face.centre - middle)))


class MediaPipe:
    """MediaPipe's face mesh: 478 points, yaw and pitch (Kartynnik et al. 2019; Grishchenko et al. 2020).

    Its detector is made for faces that fill a good part of the picture and not all of it. So where it is sure of none
    in the whole photograph, it looks harder, with a lower bar: at the whole, at the photograph with a border, then at
    overlapping parts of it. Whoever looks so hard sees faces in the clouds. So what is found there counts only where it
    is sure of it in a window of the face's own as well, and finds the features at the same places.
    """

    name = "mediapipe"

    def __init__(self, model: str | Path | None = None) -> None:
        import mediapipe
        from mediapipe.tasks import python as tasks
        from mediapipe.tasks.python import vision

        path = mediapipe_model(model)
        content = path.read_bytes()
        self.version = (
            f"mediapipe {mediapipe.__version__}, model {hashlib.sha256(content).hexdigest()[:12]}, search {SEARCH}"
        )
        self._landmarkers: dict[float, Any] = {}
        _ignore_profiling_signal()
        self._image = mediapipe.Image
        self._format = mediapipe.ImageFormat.SRGB
        try:
            with _quiet():
                for bar in (_SURE, _HARDER):
                    self._landmarkers[bar] = vision.FaceLandmarker.create_from_options(
                        vision.FaceLandmarkerOptions(
                            base_options=tasks.BaseOptions(model_asset_buffer=content),
                            num_faces=_MOST_FACES,
                            min_face_detection_confidence=bar,
                            min_face_presence_confidence=bar,
                            output_facial_transformation_matrixes=True,
                        )
                    )
                    # The first call announces what it runs on.
                    self._detect(np.zeros((64, 64, 3), np.uint8), bar)
            atexit.register(self._forget)
        except (RuntimeError, ValueError) as error:
            raise Error(
                f"{path} is no model for MediaPipe's face landmarker ({str(error).splitlines()[0]}): replace it"
            ) from None

    def find(self, photograph: Picture) -> list[Face]:
        _check_photograph(photograph)
        height, width = photograph.shape[:2]
        whole = (0, 0, height, width)
        if sure := list(self._nearer(photograph, self._in_window(photograph, whole, _SURE))):
            return sure
        for windows in windows_in_turn(height, width):
            found: list[Face] = []
            for window in windows:
                for face in self._in_window(photograph, window, _HARDER):
                    near = self._own_window(photograph, face)
                    if near is not None and _agree(face, near) and not any(_same(near, it) for it in found):
                        found.append(near)
            if found:
                return found
        return []

    def _nearer(self, photograph: Picture, faces: list[Face]) -> Iterator[Face]:
        """Small faces as they are seen in windows of their own: where the whole was shrunk, landmarks are coarse."""
        side = max(photograph.shape[:2])
        for face in faces:
            nearer = face if face.extent >= _SMALL * side else self._own_window(photograph, face)
            if nearer is not None:
                yield nearer

    def _own_window(self, photograph: Picture, face: Face) -> Face | None:
        """A face as it is seen in the middle of a window twice its size; None where there is surely no such face."""
        reach = max(16, round(1.2 * face.extent))
        x, y = (round(float(v)) for v in face.centre)
        there = self._in_window(photograph, (y - reach, x - reach, y + reach, x + reach), _SURE)
        return next((near for near in there if _same(near, face)), None)

    def _in_window(self, photograph: Picture, window: Window, bar: float) -> list[Face]:
        offset = np.array([window[1], window[0]], np.float32)
        faces = self._detect(cut_out(photograph, window), bar)
        return [Face(face.points + offset, face.yaw, face.pitch) for face in faces]

    def _detect(self, picture: Picture, bar: float) -> list[Face]:
        image = self._image(image_format=self._format, data=np.ascontiguousarray(picture))
        result = self._landmarkers[bar].detect(image)
        height, width = picture.shape[:2]
        faces = []
        for marks, matrix in zip(result.face_landmarks, result.facial_transformation_matrixes, strict=True):
            # MediaPipe's 0 ... 1 spans the picture from edge to edge, and the first pixel's centre is at zero here.
            points = np.array([(mark.x * width - 0.5, mark.y * height - 0.5) for mark in marks], np.float32)
            yaw, pitch = _yaw_pitch(matrix)
            faces.append(Face(points, yaw, pitch))
        return faces

    def close(self) -> None:
        atexit.unregister(self._forget)
        while self._landmarkers:
            self._landmarkers.popitem()[1].close()

    def _forget(self) -> None:
        # At the program's end MediaPipe's threads are gone, and closing would fail with a traceback.
        for landmarker in self._landmarkers.values():
            landmarker._handle = None


def _check_photograph(photograph: Picture) -> None:
    """Fractions or wider numbers would be taken for nearly black or be cut off, and a face in them for none."""
    shape: tuple[int, ...] = getattr(photograph, "shape", ())
    kind = getattr(photograph, "dtype", type(photograph).__name__)
    if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise Error(
            f"a photograph of {kind} {tuple(shape)}: faces are looked for in uint8 (height, width, 3), RGB"
        )


def _same(face: Face, other: Face) -> bool:
    """Whether two finds are of one face."""
    return float(np.linalg.norm(face.centre - other.centre)) <= 0.5 * other.size


def _agree(face: Face, other: Face) -> bool:
    """Whether two finds have their features at the same places: what is no face looks another way in another window."""
    return float(np.linalg.norm(face.points - other.points, axis=1).mean()) <= _APART * other.size


class Dlib:
    """dlib's frontal detector and 68 points (King 2009; Kazemi and Sullivan 2014), as the notebook used them."""

    name = "dlib"

    def __init__(self, model: str | Path | None = None) -> None:
        import dlib

        path = _dlib_model(model)
        version = getattr(dlib, "__version__", "?")
        self.version = f"dlib {version}, model {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        self._rectangle = dlib.rectangle
        self._detector = dlib.get_frontal_face_detector()
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError:
            raise Error(f"{path} is no model of dlib's 68 points: replace it") from None

    def find(self, photograph: Picture) -> list[Face]:
        import cv2

        _check_photograph(photograph)
        height, width = photograph.shape[:2]
        shrink = min(1.0, _DLIB_SIDE / max(height, width))
        small = photograph
        if shrink < 1:
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            small = np.asarray(cv2.resize(photograph, size, interpolation=cv2.INTER_AREA), np.uint8)
        # Once enlarged, as in the notebook, small faces are found too; large photographs show them large enough.
        enlarge = 1 if max(small.shape) <= _DLIB_SIDE / 2 else 0
        faces = []
        for box in self._detector(np.ascontiguousarray(small), enlarge):
            edges = (box.left(), box.top(), box.right(), box.bottom())
            shape = self._predictor(photograph, self._rectangle(*(round(edge / shrink) for edge in edges)))
            faces.append(Face(np.array([(part.x, part.y) for part in shape.parts()], np.float32)))
        return faces

    def close(self) -> None:
        pass


class MTCNN:
    """MTCNN's five points (Zhang et al. 2016), from facenet-pytorch, whose package carries the weights.

    Everything beyond the eyes, the nose's tip and the mouth's corners is the mean face's, bent to these five.
    """

    name = "mtcnn"

    def __init__(self, model: str | Path | None = None) -> None:
        from importlib.metadata import version

        if model is not None:
            raise Error("mtcnn carries its own weights: leave the model's file out")
        from facenet_pytorch import MTCNN as Network

        self.version = f"facenet-pytorch {version('facenet-pytorch')}"
        self._network = Network(keep_all=True, device="cpu")

    def find(self, photograph: Picture) -> list[Face]:
        import torch

        _check_photograph(photograph)
        if min(photograph.shape[:2]) < 20:  # smaller than the smallest face it looks for
            return []
        with torch.no_grad():
            _, chances, marks = self._network.detect(photograph, landmarks=True)
        if marks is None:
            return []
        return [
            Face(points.astype(np.float32))
            for points, chance in zip(marks, chances, strict=True)
            if chance >= 0.9
        ]

    def close(self) -> None:
        pass


BACKENDS: dict[str, Any] = {"mediapipe": MediaPipe, "dlib": Dlib, "mtcnn": MTCNN}


def mediapipe_model(path: str | Path | None = None) -> Path:
    """Find MediaPipe's model, or fetch it once.

    Looked for: the given path (the file, or a folder that holds it); then among the weights (the folder that
    FACELESION_WEIGHTS names, the user's cache folder). Else it is fetched there, and its hash is checked.
    """
    if path is not None:
        given = Path(path)
        given = given / MODEL_NAME if os.path.isdir(given) else given
        if not os.path.isfile(given):
            raise Error(f"no model at {given}: give the path of {MODEL_NAME}")
        return given
    from facelesion.weights import registry

    return registry.path_or_fetch("face_landmarker", "or name the file (--model)")


def _dlib_model(path: str | Path | None) -> Path:
    """dlib's 68-point model: the given file, or the one in the package face_recognition_models.

    That package cannot be imported where setuptools is new (it wants pkg_resources), so only its place is asked for.
    """
    name = "shape_predictor_68_face_landmarks.dat"
    if path is not None:
        if not os.path.isfile(path):
            raise Error(f"no model at {path}: give the path of {name}")
        return Path(path)
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / "models" / name).is_file():
            return Path(folder) / "models" / name
    raise Error(
        f"dlib's model {name} is not here: pip install 'facelesion[dlib]', or name the file (--model)"
    )


def _yaw_pitch(matrix: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Yaw and pitch in degrees from MediaPipe's pose matrix, whose third column points out of the face."""
    out = np.asarray(matrix)[:3, 2]
    out = out / max(float(np.linalg.norm(out)), 1e-9)
    yaw = math.degrees(math.atan2(out[0], out[2]))
    pitch = math.degrees(math.asin(float(np.clip(out[1], -1, 1))))
    return yaw, pitch


def windows_in_turn(height: int, width: int) -> Iterator[list[Window]]:
    """Where to look, in turn, as lists of windows (top, left, bottom, right) that may reach beyond the photograph."""
    yield [(0, 0, height, width)]
    border = round(0.35 * max(height, width))
    yield [(-border, -border, height + border, width + border)]
    for share in (0.6, 0.35):
        side = max(64, round(share * max(height, width)))
        if side < max(height, width):
            yield [(y, x, y + side, x + side) for y in _starts(height, side) for x in _starts(width, side)]


def _starts(length: int, side: int) -> list[int]:
    """Where windows of a side begin, so that they overlap by about half and cover the whole length."""
    if length <= side:
        return [(length - side) // 2]
    count = math.ceil((length - side) / (side / 2)) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def cut_out(photograph: Picture, window: Window) -> Picture:
    """A window of the photograph, grey where it reaches beyond."""
    top, left, bottom, right = window
    height, width = photograph.shape[:2]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return photograph[top:bottom, left:right]
    part = np.full((bottom - top, right - left, 3), 127, np.uint8)
    y0, y1, x0, x1 = max(top, 0), min(bottom, height), max(left, 0), min(right, width)
    part[y0 - top : y1 - top, x0 - left : x1 - left] = photograph[y0:y1, x0:x1]
    return part


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that a library writes to standard error from outside Python is shown."""
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _ignore_profiling_signal() -> None:
    """Ignore the profiling signal, which MediaPipe's library sends and which would end the program.

    The library ignores it too, but later, and behind Python's back: Lightning restores the handlers Python knows of.
    """
    if not hasattr(signal, "SIGPROF") or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGPROF) == signal.SIG_DFL:
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
