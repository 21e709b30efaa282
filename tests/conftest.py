"""What tests share: research data beside the project (absent for most users), and small made-up pictures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of research data (LFW, objects, MediaPipe's model, MobileFaceNet); skips where there is none."""
    folder = Path(os.environ.get("FACELESION_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("no research data: set FACELESION_SHARED to a folder with data/lfw-deepfunneled.tgz")
    return folder


@pytest.fixture(scope="session")
def lfw(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LFW unpacked: `<root>/<name>/<name>_0001.jpg`, kept between runs in the user's cache folder."""
    from facelesion.data.archives import unpack

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "facelesion" / "tests" / "lfw"
    cache.parent.mkdir(parents=True, exist_ok=True)
    return unpack(shared / "data" / "lfw-deepfunneled.tgz", cache) / "lfw-deepfunneled"
