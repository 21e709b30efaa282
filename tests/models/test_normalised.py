"""Batch normalisation disappears into the convolutions and changes no answer."""

import torch

from facelesion.models.normalised import NormalisedVGG


def test_the_folded_network_answers_as_the_trained_one() -> None:
    torch.manual_seed(0)
    network = NormalisedVGG(width=0.125, embedding=16)
    for _ in range(5):  # statistics and weights that are not the ones of the beginning
        network.embed(network(torch.randn(8, 3, 64, 64) * 2 + 1))
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.05 * torch.randn_like(value))
    network.eval()
    plain, identity = network.folded()
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(plain(images), network(images), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            identity(plain(images)), network.embed(network(images)), rtol=1e-3, atol=1e-4
        )
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in plain.modules())
