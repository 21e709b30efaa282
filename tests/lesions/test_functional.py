"""The damage itself, on bare tensors."""

from __future__ import annotations

import pytest
import torch

from facelesion.lesions import functional

STRANGE = torch.tensor([1.5, -2.0, 0.0, -0.0, torch.inf, -torch.inf, torch.nan, 3e38])


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.7, torch.tensor([[0.1], [0.6]])])
def test_what_is_dropped_is_zero_whatever_it_was_and_the_rest_stays_bit_by_bit(p, rescale):
    y, draws = STRANGE.repeat(4), torch.rand(32, generator=torch.Generator().manual_seed(0))
    draws[:8] = 0.3  # at the threshold: kept
    expected = torch.where(draws < p, torch.zeros(()), y / (1 - p) if rescale else y)
    found = functional.dropout(y, p, draws, rescale)
    assert torch.equal(found.view(torch.int32), expected.view(torch.int32))
    assert torch.equal(y.view(torch.int32), STRANGE.repeat(4).view(torch.int32))  # never written on
    doubled = functional.dropout(y.double(), p, draws, rescale)
    assert doubled.dtype == torch.float64 and torch.equal(doubled == 0, expected == 0)


@pytest.mark.parametrize("p", [0.0, 1e-45, 2.0**-24, 0.5, 1.0 - 2.0**-24, 1.0, torch.tensor(0.3)])
def test_what_is_drawn_at_the_threshold_is_kept_and_just_below_it_dropped(p):
    limit = torch.as_tensor(p, dtype=torch.float32)
    near = torch.stack([torch.nextafter(limit, torch.tensor(-1.0)), limit, torch.nextafter(limit, torch.tensor(2.0))])
    draws = torch.cat([near.clamp(0, 1 - 2.0**-24), torch.tensor([0.0, 2.0**-24, 1 - 2.0**-24])])
    found = functional.dropout(torch.ones(6), p, draws, rescale=False)
    assert found.tolist() == [float(draw >= limit) for draw in draws]


@pytest.mark.parametrize("std", [0.3, torch.tensor([[0.1], [2.0]])])
def test_noise_is_added_as_exactly_as_the_type_allows(std):
    generator = torch.Generator().manual_seed(0)
    y, draws = torch.randn(1003, generator=generator), torch.randn(1003, generator=generator)
    given = torch.as_tensor(std, dtype=torch.float32).double()
    exact = y.double() + given * draws.double()
    found = functional.noise(y, std, draws)
    assert found.dtype == torch.float32 and torch.allclose(found.double(), exact, rtol=2e-7, atol=1e-7)
    assert torch.allclose(functional.noise(y, std, draws, multiplicative=True), y * (1 + std * draws), atol=1e-5)


def test_gradients_go_through_what_is_not_dropped():
    y = torch.ones(4, requires_grad=True)
    functional.dropout(y, 0.5, torch.tensor([0.1, 0.4, 0.5, 0.9])).sum().backward()
    assert y.grad is not None and y.grad.tolist() == [0.0, 0.0, 2.0, 2.0]
