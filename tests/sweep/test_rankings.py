"""The greedy ranking finds the units that a task needs, as trying them by hand would."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.lesions import Ablate
from facelesion.sweep import SweepError, agreement, effects, first_order, greedy_ranking


@pytest.fixture
def loss():
    labels = torch.tensor([0, 3, 1, 4, 2])

    def cross_entropy(outputs, numbers):
        return nn.functional.cross_entropy(outputs.float(), labels[numbers], reduction="none")

    return cross_entropy


def test_the_ranking_is_that_of_trying_every_unit_by_hand(vgg, images, loss, naive):
    numbers = torch.arange(5)
    chosen: list[int] = []
    for _ in range(2):
        trials = {
            unit: float(loss(naive(vgg, Ablate("conv3_1", units=[*chosen, unit]), images), numbers).mean())
            for unit in range(32)
            if unit not in chosen
        }
        chosen += sorted(trials, key=lambda unit: -trials[unit])[:3]
    ranking = greedy_ranking(vgg, "conv3_1", images, loss, fraction=6 / 32, step=3 / 32, batch_size=2)
    assert ranking.site == "features.11" and ranking.rounds == (3, 3)
    assert list(ranking.units) == chosen
    last = naive(vgg, Ablate("conv3_1", units=[*chosen[:3], chosen[3]]), images)
    assert ranking.losses[3] == pytest.approx(float(loss(last, numbers).mean()), rel=1e-4)


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


def test_a_pattern_of_several_sites_is_refused(vgg, images, loss):
    with pytest.raises(SweepError, match="names 3 sites"):
        greedy_ranking(vgg, "conv5_*", images, loss)
