"""Landmarks and pictures for tests of faces: the mean face, moved and deformed; no photograph."""

from __future__ import annotations

import pytest
import torch

from facelesion.faces.regions import mean_face


def _faces(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Mean faces, turned by up to 30 degrees, scaled, stretched, shifted and a little deformed: (count, 478, 2)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=generator) * 2 - 1

    middle = (size - 1) / 2
    mesh = (mean_face(size) - middle) * 0.75
    stretch = 1 + 0.1 * draw(1, 2)
    angle = draw(1, 1) * 0.5
    turn = torch.cat([torch.cat([angle.cos(), angle.sin()], 2), torch.cat([-angle.sin(), angle.cos()], 2)], 1)
    return (mesh * stretch) @ turn + middle + draw(1, 2) * size * 0.04 + draw(478, 2) * size * 0.004


@pytest.fixture(scope="session")
def faces() -> torch.Tensor:
    """Landmarks (8, 478, 2) of eight different faces in pictures of 224 pixels."""
    return _faces(8, 224)


@pytest.fixture(scope="session")
def large_faces() -> torch.Tensor:
    """The same in pictures of 896 pixels, for comparisons in which a border pixel must not count."""
    return _faces(8, 896)


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """Eight smooth colour pictures (8, 3, 224, 224) in [0, 1], on the 255 grey levels."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(8, 3, 28, 28, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, 224, mode="bilinear")
    return (fine * 255).round() / 255
