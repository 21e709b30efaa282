"""What tests of engines share."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study's pictures, pickled."""
    from facelesion.data.from_facespace import FaceSpacePictures

    small = FaceSpacePictures(
        training_people=6, training_pictures=2, enrolled_people=5, enrolment_pictures=1, probe_pictures=2,
        new_people=3, new_pictures=2, object_pictures=1, object_training_pictures=2, other_pictures=4,
    )  # fmt: skip
    file = tmp_path_factory.mktemp("pictures") / "materials.pickle"
    file.write_bytes(pickle.dumps(small.gather(seed=0, size=112)))
    return file


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """The run folder of the tiny study done by one process: what every other must equal."""
    from facelesion.engines import Here

    from .toys import study

    return study(tmp_path_factory.mktemp("alone"), pictures, Here(), shard=1)


def same_tables(one: Path, other: Path) -> None:
    """Both tables are the same, bit for bit."""
    for name in ("trials", "table"):
        frames = [pd.read_parquet(folder / f"{name}.parquet") for folder in (one, other)]
        pd.testing.assert_frame_equal(*frames, check_exact=True)


@pytest.fixture(autouse=True)
def found_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are processes of their own, and import these very files."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
