"""Batch normalisation disappears into the convolutions and changes no answer."""

import pytest
import torch

from facelesion.models.normalised import NormalisedVGG, folded_readout, normalised_readout, unfold_readout
from facelesion.models.vgg import VGGFace


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


@pytest.mark.parametrize("training", [True, False])
def test_a_plain_network_learns_on_with_the_same_answers(training: bool) -> None:
    torch.manual_seed(0)
    plain, identity = VGGFace(width=0.125, outputs=None).eval(), torch.nn.Linear(64, 16)
    with torch.no_grad():
        for value in plain.parameters():
            value.mul_(0.7).add_(0.01 * torch.randn_like(value))
    images, others = torch.randn(6, 3, 64, 64), torch.randn(5, 3, 64, 64) + 1
    network = NormalisedVGG(width=0.125, embedding=16).train(training)
    sizes = [layer.weight.norm() for layer in network.features if isinstance(layer, torch.nn.Conv2d)]
    with torch.no_grad():
        features = network.unfold(plain, images)
        unfold_readout(network.identity, identity, features)
        assert all(layer.training == training for layer in network.modules())
        torch.testing.assert_close(features, plain(images), rtol=1e-3, atol=1e-5)
        network.eval()
        for shown in (images, others):  # whatever the pictures were whose statistics it took
            torch.testing.assert_close(network(shown), plain(shown), rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(network.embed(network(shown)), identity(plain(shown)), rtol=1e-3, atol=1e-5)
        again, readout = network.folded()
        torch.testing.assert_close(readout(again(others)), identity(plain(others)), rtol=1e-3, atol=1e-5)
    # Kernels are of the size that a new network has, so that a rate of learning means what it meant.
    for layer, size in zip(
        (layer for layer in network.features if isinstance(layer, torch.nn.Conv2d)), sizes, strict=True
    ):
        assert layer.weight.norm().item() == pytest.approx(size.item(), rel=0.05)


def test_in_training_its_first_answers_are_those_of_the_batch_whose_statistics_it_took() -> None:
    torch.manual_seed(1)
    plain, images = VGGFace(width=0.125, outputs=None).eval(), torch.randn(16, 3, 64, 64)
    network = NormalisedVGG(width=0.125, embedding=16)
    with torch.no_grad():
        network.unfold(plain, images)
        torch.testing.assert_close(network.train()(images), plain(images), rtol=0.05, atol=1e-3)


def test_the_first_blocks_end_at_their_poolings() -> None:
    network = NormalisedVGG(width=0.0625, embedding=4)
    images = torch.zeros(1, 3, 64, 64)
    assert [network.first_blocks(count)(images).shape[-1] for count in range(6)] == [64, 32, 16, 8, 4, 2]
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.first_blocks(2)) == 4


def test_an_unfolded_readout_is_normalised_anew() -> None:
    torch.manual_seed(0)
    features = 5 * torch.randn(40, 8) + 2
    readout, plain = normalised_readout(8, 3), torch.nn.Linear(8, 3)
    unfold_readout(readout, plain, features)
    assert torch.equal(readout[0].weight, torch.ones(8))
    torch.testing.assert_close(readout.eval()(features), plain(features))
    torch.testing.assert_close(readout[0](features).std(0), torch.ones(8), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("deviation", [0.0, 1e-6, 0.02])
def test_a_readout_gives_no_weight_to_a_feature_that_is_silent_on_its_own_pictures(deviation: float) -> None:
    """A unit that a lesson on other pictures made its own: damage that wakes it may not drown what the others say."""
    torch.manual_seed(0)
    features = torch.randn(400, 8) + 3
    features[:, 2] = deviation * torch.randn(400)
    readout = normalised_readout(8, 3)
    unfold_readout(readout, torch.nn.Linear(8, 3), features)
    with torch.no_grad():
        readout[0].bias.add_(0.1 * torch.randn(8))
        readout[1].weight.copy_(torch.randn(3, 8))
        plain = folded_readout(readout.eval())
        sizes = plain.weight.norm(dim=0)
        assert sizes[2] == 0 and (sizes > 0).sum() == 7
        # In health it says what the feature's mean says, which is nearly what the feature does.
        features[:, 2] = features[:, 2].mean()
        torch.testing.assert_close(plain(features), readout(features), rtol=1e-3, atol=1e-4)


def test_a_feature_that_varies_little_keeps_its_say() -> None:
    torch.manual_seed(0)
    features = torch.randn(400, 8) * torch.tensor([1, 1, 1, 1, 1, 1, 0.2, 0.05])
    readout = normalised_readout(8, 3)
    unfold_readout(readout, torch.nn.Linear(8, 3), features)
    torch.testing.assert_close(folded_readout(readout.eval())(features), readout(features), rtol=1e-3, atol=1e-5)
