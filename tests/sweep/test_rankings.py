"""What removing a unit does to a loss: exactly, and to first order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.lesions import Ablate
from facelesion.sweep import SweepError, agreement, effects, first_order


def test_effects_are_the_rise_of_the_loss(vgg, images, loss, naive):
    found = effects(vgg, "conv5_1", images, loss, batch_size=2)
    healthy = loss(naive(vgg, None, images), torch.arange(5)).mean()
    for unit in (0, 20):
        without = loss(naive(vgg, Ablate("conv5_1", units=[unit]), images), torch.arange(5)).mean()
        assert float(found[unit]) == pytest.approx(float(without - healthy), abs=1e-5)


def test_the_first_order_screen_is_exact_where_the_loss_is_linear(images):
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten()).eval()
    exact = effects(network, "1", images, lambda outputs, numbers: outputs.sum(1))
    screen = first_order(network, "1", images, lambda outputs, numbers: outputs.sum(1), batch_size=2)
    torch.testing.assert_close(screen, exact, rtol=1e-4, atol=1e-4)
    assert agreement(screen, exact) == 1.0


def test_the_first_order_screen_agrees_roughly_elsewhere(vgg, images, loss):
    screen = first_order(vgg, "conv5_2", images, loss)
    exact = effects(vgg, "conv5_2", images, loss)
    assert agreement(screen, exact) > 0.5
    assert not any(module._forward_hooks for module in vgg.modules())


def test_a_network_that_writes_over_what_its_way_back_needs_is_told(images):
    class Overwrites(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).sigmoid().add_(1).mean((2, 3))

    with pytest.raises(SweepError, match="changes in place what its own backward pass needs"):
        first_order(Overwrites().eval(), "conv", images, lambda outputs, numbers: outputs.sum(1))
