"""Every test here prepares painted photographs, a few at a time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from painted import Painted, paint

from facelesion.faces import landmarks


@pytest.fixture(autouse=True)
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(landmarks.BACKENDS, "painted", Painted)
    monkeypatch.setattr("facelesion.data.preparation.run.CHUNK", 3)
    Painted.calls = 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten photographs of four people, one of them without a face and one with three."""
    folder = tmp_path / "photographs"
    for i in range(10):
        paint(folder / f"person {i % 4}" / f"{i}.png", i, faces={3: 0, 6: 3}.get(i, 1))
    return folder
