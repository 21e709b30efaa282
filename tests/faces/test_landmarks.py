"""The backends agree where features are, and the right face is picked."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facelesion.errors import Error
from facelesion.faces import landmarks
from facelesion.faces.landmarks import BACKENDS, Face, choose, landmark_backend, mediapipe_model
from facelesion.faces.regions import mean_face
from facelesion.weights import registry


def face(x: float, y: float, size: float) -> Face:
    """A mean face with its middle at (x, y), its eyes `size` pixels apart."""
    mesh = mean_face(112).numpy()
    mesh = (mesh - mesh.mean(0)) * (size / Face(mesh).size)
    return Face((mesh + np.array([x, y])).astype(np.float32))


def test_no_face_is_chosen_where_there_is_none() -> None:
    assert choose([], 100, 100) is None


def test_the_most_central_of_the_large_faces_is_chosen() -> None:
    small_central, large_left, larger_corner = face(100, 100, 10), face(60, 100, 40), face(180, 180, 50)
    assert choose([small_central, larger_corner, large_left], 200, 200) is large_left
    assert choose([small_central], 200, 200) is small_central


def test_a_face_knows_its_size_and_the_turn_of_its_eye_line() -> None:
    upright = face(50, 50, 30)
    assert upright.size == pytest.approx(30, rel=1e-5)
    assert abs(upright.roll) < 1
    turned = Face(upright.points[:, ::-1] * np.array([-1, 1], np.float32))
    assert turned.roll == pytest.approx(upright.roll + 90, abs=0.01)
    assert math.isnan(upright.yaw) and math.isnan(upright.pitch)


@pytest.mark.parametrize("count", [5, 68])
def test_a_face_of_few_points_has_a_whole_mesh(count: int) -> None:
    from facelesion.faces import regions

    few = Face(regions.mean_shapes()[f"points{count}"].astype(np.float32))
    assert few.mesh.shape == (478, 2)
    assert np.abs(few.mesh - mean_face(112).numpy()).max() < 0.1


def test_an_unknown_backend_or_a_missing_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(Error, match="choose mediapipe, dlib, mtcnn"):
        landmark_backend("openface")
    with pytest.raises(Error, match="give the path of face_landmarker.task"):
        mediapipe_model(tmp_path / "none.task")
    with pytest.raises(Error, match="carries its own weights"):
        landmark_backend("mtcnn", tmp_path)


def test_without_a_network_the_message_says_where_the_model_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FACELESION_WEIGHTS", raising=False)
    monkeypatch.delenv("FACELESION_CACHE", raising=False)
    known = registry.entries()["face_landmarker"]
    nowhere = dataclasses.replace(known, addresses=("http://127.0.0.1:9/face_landmarker.task",))
    monkeypatch.setitem(registry.entries(), "face_landmarker", nowhere)
    with pytest.raises(Error, match=r"put it at .*face_landmarker.task, or name the file \(--model\)"):
        mediapipe_model()


def test_the_model_is_found_in_the_folder_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "face_landmarker.task").touch()
    monkeypatch.setenv("FACELESION_WEIGHTS", str(tmp_path))
    assert mediapipe_model() == tmp_path / "face_landmarker.task"
    assert mediapipe_model(tmp_path) == tmp_path / "face_landmarker.task"


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "face_landmarker.task").write_bytes(b"no model")
    with pytest.raises(Error, match="is no model for MediaPipe"):
        landmark_backend("mediapipe", tmp_path)


def test_dlibs_absence_is_one_clear_line(absent: Callable[[str], None]) -> None:
    absent("dlib")
    with pytest.raises(Error, match=r"pip install 'facelesion\[dlib\]'"):
        landmark_backend("dlib")


@pytest.mark.parametrize("shape", [(100, 100), (400, 100), (90, 1000), (64, 64)])
def test_every_pixel_is_looked_at_on_each_turn(shape: tuple[int, int]) -> None:
    for windows in landmarks.windows_in_turn(*shape):
        seen = np.zeros(shape, bool)
        for top, left, bottom, right in windows:
            seen[max(top, 0) : bottom, max(left, 0) : right] = True
            part = landmarks.cut_out(np.zeros((*shape, 3), np.uint8), (top, left, bottom, right))
            assert part.shape == (bottom - top, right - left, 3)
        assert seen.all()


@pytest.fixture(scope="module")
def photographs(lfw: Path) -> list[np.ndarray]:
    """Twelve photographs of LFW."""
    from facelesion.data.images import read_image

    files = sorted(lfw.glob("*/*.jpg"))[:: 13233 // 12][:12]
    return [read_image(file) for file in files]


@pytest.fixture(scope="module")
def found(photographs: list[np.ndarray], shared: Path) -> list[Face]:
    """The face that MediaPipe finds in each."""
    backend = landmark_backend("mediapipe", shared / "data")
    faces = [choose(backend.find(photograph), *photograph.shape[:2]) for photograph in photographs]
    backend.close()
    assert all(face is not None for face in faces)
    return [face for face in faces if face is not None]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["dlib", "mtcnn"])
def test_the_other_backends_find_the_same_eyes(
    name: str, photographs: list[np.ndarray], found: list[Face]
) -> None:
    if name == "dlib" and importlib.util.find_spec("dlib") is None:
        pytest.skip("dlib is not installed")
    backend = landmark_backend(name)
    apart = []
    for photograph, face in zip(photographs, found, strict=True):
        other = choose(backend.find(photograph), *photograph.shape[:2])
        if other is not None:
            apart.append(float(np.linalg.norm(other.eyes - face.eyes, axis=1).mean()) / face.size)
    assert len(apart) >= 11 and np.median(apart) < 0.08


@pytest.mark.shared
def test_yaw_and_pitch_say_where_the_nose_points(found: list[Face]) -> None:
    nose = np.array([(face.points[1] - face.eyes.mean(0)) / face.size for face in found])
    assert np.corrcoef([face.yaw for face in found], nose[:, 0])[0, 1] > 0.8
    assert np.corrcoef([face.pitch for face in found], nose[:, 1])[0, 1] < -0.5


@pytest.mark.shared
def test_small_faces_and_tight_crops_are_found_at_the_same_place(
    photographs: list[np.ndarray], found: list[Face], shared: Path
) -> None:
    backend = landmark_backend("mediapipe", shared / "data")
    for photograph, face in list(zip(photographs, found, strict=True))[:3]:
        wide = np.pad(photograph, ((700, 100), (500, 1200), (0, 0)), constant_values=90)
        apart = [
            np.linalg.norm(small.eyes - face.eyes - [500, 700], axis=1).max() for small in backend.find(wide)
        ]
        assert min(apart) < 0.1 * face.size
        middle = face.eyes.mean(0).round().astype(int) + [0, round(face.size / 2)]
        left, top = np.maximum(middle - round(1.1 * face.size), 0)
        tight = photograph[top : top + round(2.2 * face.size), left : left + round(2.2 * face.size)]
        apart = [
            np.linalg.norm(near.eyes - face.eyes + [left, top], axis=1).max() for near in backend.find(tight)
        ]
        assert min(apart) < 0.1 * face.size
    assert backend.find(np.full((200, 300, 3), 128, np.uint8)) == []
    backend.close()


def test_every_backend_is_offered() -> None:
    assert list(BACKENDS) == ["mediapipe", "dlib", "mtcnn"]


@pytest.mark.parametrize(
    "photograph",
    [
        np.zeros((64, 64, 3)), np.zeros((64, 64, 3), np.float32), np.zeros((64, 64, 3), np.int64),
        np.zeros((64, 64, 3), np.uint16), np.zeros((64, 64), np.uint8), np.zeros((3, 64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8), np.zeros((0, 64, 3), np.uint8), [[0]], None,
    ],
)  # fmt: skip
@pytest.mark.parametrize("backend", [landmarks.MediaPipe, landmarks.Dlib, landmarks.MTCNN])
def test_what_is_no_photograph_is_not_searched_for_faces(photograph, backend):
    with pytest.raises(Error, match="uint8"):
        backend.find(object.__new__(backend), photograph)
