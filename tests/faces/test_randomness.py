"""Numbers that belong to a picture: the same values as ever, made by operations that one thread does."""

from __future__ import annotations

import pytest
import torch
from sizes import Sizes

from facelesion.faces.randomness import normal, uniform


@pytest.mark.parametrize("law", [uniform, normal])
@pytest.mark.parametrize(("pictures", "count"), [(16, 37_632), (64, 4_097), (1, 70_001)])
def test_no_operation_is_so_long_that_threads_would_share_it(law, pictures, count):
    with Sizes() as sizes:
        law(3, "mask", torch.arange(pictures), count)
    assert max(sizes.largest.values()) < 2**15
    for name in ("log1p_", "sqrt_", "cos_", "sin_"):
        assert sizes.largest[name] <= 2048


@pytest.mark.parametrize("law", [uniform, normal])
def test_pieces_are_seen_by_nobody(law, monkeypatch):
    ids = torch.tensor([7, 2**40, -3])
    whole = law(5, "fill", ids, 1001)
    monkeypatch.setattr("facelesion.faces.randomness.PIECE", 50)
    assert torch.equal(law(5, "fill", ids, 1001), whole)
    assert torch.equal(law(5, "fill", ids[1:2], 1001)[0], whole[1])


def test_the_values_are_those_of_earlier_versions():
    ids = torch.tensor([0, 9])
    assert (uniform(3, "mask", ids, 3) * 2**24).long().tolist() == [
        [16427054, 8482736, 14057670],
        [11420462, 4823163, 11756692],
    ]
    assert torch.allclose(
        normal(3, "mask", ids, 3),
        torch.tensor([[1.4595133, 0.88159764, -2.3682449], [-0.46013668, 0.66200072, -1.4393059]]),
        rtol=1e-6,
        atol=0,
    )


def test_nothing_asked_is_nothing_given():
    assert (
        normal(0, "mask", torch.arange(4), 0).shape == uniform(0, "mask", torch.arange(4), 0).shape == (4, 0)
    )
