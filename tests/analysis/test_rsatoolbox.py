"""Representational similarity is what the field's own toolbox gives: the matrices, and how they compare."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("rsatoolbox", reason="needs the RSA toolbox: pip install rsatoolbox")

from rsatoolbox.data import Dataset
from rsatoolbox.rdm import RDMs, calc_rdm, compare

from facelesion import Ablate, Noise, lesioned
from facelesion.analysis import likeness_to_health, picture_distances
from facelesion.analysis.likeness import distance_likeness

PICTURES = 67  # so that one picture's distances to the others, 66, are as many as those of a matrix of 12


@pytest.fixture(scope="module")
def answers() -> dict[str, torch.Tensor]:
    """A network's representations of the same pictures, healthy and damaged."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 12, 3), torch.nn.ReLU(), torch.nn.Conv2d(12, 20, 3), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(),
    ).double().eval()  # fmt: skip
    pictures = torch.rand(PICTURES, 3, 16, 16, dtype=torch.float64)
    found = {}
    with torch.no_grad():
        found["healthy"] = network(pictures)
        for name, lesion in (("ablated", Ablate("2", fraction=0.5)), ("noisy", Noise("0", std=0.3))):
            with lesioned(network, lesion, seed=1):
                found[name] = network(pictures)
    return found


def theirs(representation: torch.Tensor) -> RDMs:
    return calc_rdm(Dataset(representation.numpy()), method="correlation")


@pytest.mark.parametrize("state", ["healthy", "ablated", "noisy"])
def test_the_matrix_of_distances_is_the_toolbox_s(answers, state):
    (matrix,) = theirs(answers[state]).get_matrices()
    assert np.allclose(picture_distances(answers[state]).numpy(), matrix, atol=1e-12)


@pytest.mark.parametrize("state", ["ablated", "noisy"])
def test_damaged_against_healthy_compares_as_in_the_toolbox_picture_by_picture(answers, state):
    """Each picture's distances to the others go to the toolbox as a matrix of their own."""
    rows = []
    for each in ("healthy", state):
        (matrix,) = theirs(answers[each]).get_matrices()
        rows.append(RDMs(np.stack([np.delete(row, place) for place, row in enumerate(matrix)])))
    expected = np.diag(compare(*rows, method="spearman"))
    found, _ = distance_likeness(answers["healthy"], answers[state])
    assert np.allclose(found.numpy(), expected, atol=1e-7)
    assert 0.05 < expected.mean() < 0.999
    whole = likeness_to_health(answers["healthy"], answers[state], [str(number) for number in range(PICTURES)])
    assert whole["rdm"] == pytest.approx(expected.mean(), abs=1e-7)


@pytest.mark.parametrize("state", ["ablated", "noisy"])
def test_over_all_pairs_at_once_the_toolbox_s_number_is_near(answers, state):
    """Over all pairs at once, as most papers do, the number is near: ours is the mean over pictures."""
    whole = float(compare(theirs(answers["healthy"]), theirs(answers[state]), method="spearman")[0, 0])
    ours = float(distance_likeness(answers["healthy"], answers[state])[0].mean())
    assert abs(whole - ours) < 0.15
