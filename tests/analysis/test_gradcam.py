"""Grad-CAM agrees with the formula written out by hand, intact and damaged, and leaves the network alone."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from facelesion.analysis import class_score, grad_cam, likeness_score
from facelesion.errors import FacelesionError


class Small(nn.Module):
    """Two convolutions with in-place activations, as torchvision has them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.site_aliases = {"conv1": "features.1", "conv2": "features.4"}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # Squares make the gradient depend on the activation, as later layers of a real network would.
        return torch.flatten(self.pool(self.features(images) ** 2), 1)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture
def images():
    return 10 * torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def readout(network):
    readout = nn.Linear(8, 3)
    nn.init.uniform_(readout.weight, -0.3, 1)  # mostly evidence for, so that the maps are not empty
    return readout


def by_hand(network, images, cut, score, change=lambda y: y):
    """Selvaraju et al. 2017, equations 1 and 2, with the network cut in two after module `cut`."""
    activation = images
    for part in network.features[: cut + 1]:
        activation = part(activation)
    activation = change(activation.clone()).detach().requires_grad_(True)
    rest = activation.clone()
    for part in network.features[cut + 1 :]:
        rest = part(rest)
    value = score(torch.flatten(network.pool(rest**2), 1))
    slope = torch.autograd.grad(value.sum(), activation)[0]
    heat = (slope.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True).relu()
    heat = nn.functional.interpolate(heat.detach(), images.shape[-2:], mode="bilinear")[:, 0]
    return heat


@contextmanager
def damaged(network, path, change):
    handle = network.get_submodule(path).register_forward_hook(lambda module, inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()


def without_units(y):
    keep = torch.ones(y.shape[1])
    keep[:3] = 0
    return y * keep[:, None, None]


@pytest.mark.parametrize(("site", "cut"), [("conv1", 1), ("conv2", 4), ("features.2", 2)])
def test_it_is_the_formula(network, images, readout, site, cut):
    score = class_score(readout, torch.tensor([0, 1, 2, 1]))
    heat = grad_cam(network, images, [site], score, normalise=False)[site]
    assert heat.max() > 0.01
    assert torch.allclose(heat, by_hand(network, images, cut, score), rtol=1e-4, atol=1e-5)


def test_the_output_of_a_convolution_is_its_own_although_the_activation_works_in_place(
    network, images, readout
):
    score = class_score(readout, 0)
    heat = grad_cam(network, images, ["features.3"], score, normalise=False)["features.3"]
    expected = by_hand(network, images, 3, score)
    assert torch.allclose(heat, expected, rtol=1e-4, atol=1e-5)
    assert all(part.inplace for part in network.features if isinstance(part, nn.ReLU))


def test_normalised_maps_fill_zero_to_one(network, images, readout):
    score = class_score(readout, 1)
    heat = grad_cam(network, images, ["conv2"], score)["conv2"]
    raw = grad_cam(network, images, ["conv2"], score, normalise=False)["conv2"]
    assert heat.shape == (4, 16, 16) and heat.dtype == torch.float32
    for shown, own in zip(heat, raw, strict=True):
        assert shown.max() == 1 if own.max() > 0 else not shown.any()
        assert torch.allclose(shown * own.max(), own, rtol=1e-4, atol=1e-5)


def test_under_a_lesion_it_is_the_damaged_networks_map(network, images, readout):
    score = class_score(readout, 0)
    lesion = lambda: damaged(network, "features.4", without_units)  # noqa: E731
    heat = grad_cam(network, images, ["conv2"], score, damage=lesion, normalise=False)["conv2"]
    expected = by_hand(network, images, 4, score, without_units)
    assert torch.allclose(heat, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(heat, by_hand(network, images, 4, score), atol=1e-3)


def test_an_open_context_and_one_per_site_agree(network, images, readout):
    score = class_score(readout, 0)
    inside = grad_cam(
        network,
        images,
        ["conv1", "conv2"],
        score,
        damage=lambda: damaged(network, "features.1", without_units),
    )
    with damaged(network, "features.1", without_units):
        around = grad_cam(network, images, ["conv1", "conv2"], score)
    for site in inside:
        assert torch.equal(inside[site], around[site])


def test_a_dead_layer_gives_a_map_of_zeros(network, images, readout):
    heat = grad_cam(
        network,
        images,
        ["conv1"],
        class_score(readout, 0),
        damage=lambda: damaged(network, "features.1", torch.zeros_like),
    )["conv1"]
    assert not heat.any() and torch.isfinite(heat).all()


def test_a_frozen_network_without_gradients_can_be_explained(network, images, readout):
    score = class_score(readout, 0)
    expected = grad_cam(network, images, ["conv2"], score)["conv2"]
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(grad_cam(network, images, ["conv2"], score)["conv2"], expected)


def test_nothing_is_left_behind(network, images, readout):
    before = network(images)
    grad_cam(network, images, ["conv1", "features.0"], class_score(readout, 0))
    assert torch.equal(network(images), before)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert images.grad is None and not images.requires_grad
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def test_likeness_is_the_cosine_with_the_persons_prototype():
    prototypes = nn.functional.normalize(torch.randn(5, 8), dim=1)
    embedding = torch.randn(3, 8)
    who = torch.tensor([4, 0, 2])
    found = likeness_score(prototypes, who, identity=nn.Identity())(embedding)
    assert torch.allclose(
        found, nn.functional.cosine_similarity(embedding, prototypes[who]), rtol=1e-4, atol=1e-5
    )


def test_a_site_that_does_not_exist_names_its_neighbours(network, images, readout):
    with pytest.raises(FacelesionError, match="no site 'conv3'; did you mean .*conv"):
        grad_cam(network, images, ["conv3"], class_score(readout, 0))


def test_a_site_without_a_map_and_a_score_of_many_numbers_are_refused(network, images, readout):
    network.head = nn.Flatten()
    with pytest.raises(FacelesionError, match="one number per image"):
        grad_cam(network, images, ["conv2"], readout)

    class Vectors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.dense = Small(), nn.Linear(8, 8)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.dense(self.inner(images))

    with pytest.raises(FacelesionError, match="dense has no map"):
        grad_cam(Vectors(), images, ["dense"], class_score(readout, 0))
    with pytest.raises(FacelesionError, match="preprocessed float"):
        grad_cam(network, images.byte(), ["conv2"], class_score(readout, 0))
