"""Landmarks and pictures for tests of faces: the mean face, moved and deformed; no photograph."""

from __future__ import annotations

import pytest
import torch
from testers import made_up_faces, smooth_pictures


@pytest.fixture(scope="session")
def faces() -> torch.Tensor:
    """Landmarks (8, 478, 2) of eight different faces in pictures of 224 pixels."""
    return made_up_faces(8, 224)


@pytest.fixture(scope="session")
def large_faces() -> torch.Tensor:
    """The same in pictures of 896 pixels, for comparisons in which a border pixel must not count."""
    return made_up_faces(8, 896)


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """Eight smooth colour pictures (8, 3, 224, 224) in [0, 1], on the 255 grey levels."""
    return smooth_pictures()
