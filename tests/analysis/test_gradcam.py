"""Grad-CAM agrees with the formula written out by hand, intact and damaged, and leaves the network alone."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from facelesion.analysis import class_score, grad_cam, likeness_score
from facelesion.errors import Error


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
    with pytest.raises(Error, match="no site 'conv3'; did you mean .*conv"):
        grad_cam(network, images, ["conv3"], class_score(readout, 0))


def test_a_site_without_a_map_and_a_score_of_many_numbers_are_refused(network, images, readout):
    network.head = nn.Flatten()
    with pytest.raises(Error, match="one number per image"):
        grad_cam(network, images, ["conv2"], readout)

    class Vectors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.dense = Small(), nn.Linear(8, 8)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.dense(self.inner(images))

    with pytest.raises(Error, match="dense has no map"):
        grad_cam(Vectors(), images, ["dense"], class_score(readout, 0))
    with pytest.raises(Error, match="preprocessed float"):
        grad_cam(network, images.byte(), ["conv2"], class_score(readout, 0))


class Shared(nn.Module):
    """One ReLU that runs after each of three convolutions, and one of the convolutions twice, under two names."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.again = self.between = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.first(images))
        y = self.relu(self.between(y))
        y = self.relu(self.again(nn.functional.max_pool2d(y, 2)))
        return (y**2).mean((2, 3))


class Unshared(nn.Module):
    """The same with a module for every call."""

    def __init__(self, like: Shared) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([like.first, *(nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))])
        for convolution in self.convolutions[1:]:
            convolution.load_state_dict(like.again.state_dict())
        self.relus = nn.ModuleList([nn.ReLU() for _ in range(3)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        y = self.relus[0](self.convolutions[0](images))
        y = self.relus[1](self.convolutions[1](y))
        y = self.relus[2](self.convolutions[2](nn.functional.max_pool2d(y, 2)))
        return (y**2).mean((2, 3))


def by_captum(network, images, path, score):
    from captum.attr import LayerAttribution, LayerGradCam

    method = LayerGradCam(lambda x: score(network(x)), network.get_submodule(path))
    small = method.attribute(images.clone().requires_grad_(True), relu_attributions=True)
    return LayerAttribution.interpolate(small.detach(), images.shape[-2:], interpolate_mode="bilinear")[:, 0]


@pytest.fixture
def shared():
    torch.manual_seed(3)
    network = Shared().eval()
    return network, Unshared(network).eval()


@pytest.fixture
def six():
    readout = nn.Linear(6, 3)
    nn.init.uniform_(readout.weight, -0.3, 1)
    return class_score(readout, 1)


@pytest.mark.parametrize(
    ("site", "path"),
    [
        ("relu[0]", "relus.0"),
        ("relu[1]", "relus.1"),
        ("relu[2]", "relus.2"),
        ("relu", "relus.2"),
        ("again[0]", "convolutions.1"),
        ("between[1]", "convolutions.2"),
        ("between", "convolutions.2"),
        ("again", "convolutions.2"),
        ("first", "convolutions.0"),
    ],
)
def test_one_call_of_a_shared_module_has_the_map_of_a_module_of_its_own(shared, six, images, site, path):
    network, twin = shared
    heat = grad_cam(network, images, [site], six, normalise=False)[site]
    assert heat.max() > 0
    torch.testing.assert_close(heat, by_captum(twin, images, path, six))


def test_a_call_that_there_is_not_and_a_module_that_never_runs_are_told(shared, six, images):
    network, _ = shared
    network.idle = nn.Conv2d(3, 3, 1)
    with pytest.raises(Error, match="runs 3 times"):
        grad_cam(network, images, ["relu[3]"], six)
    with pytest.raises(Error, match="idle never runs"):
        grad_cam(network, images, ["idle"], six)
    for site in ("", "  ", "re:(", 3, None):
        with pytest.raises(Error):
            grad_cam(network, images, [site], six)


class Plain(nn.Module):
    """Laid out as torchvision's VGG16, which names none of its sites."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for count in (2, 2):
            for _ in range(count):
                layers += [nn.Conv2d(before, 6, 3, padding=1), nn.ReLU(inplace=True)]
                before = 6
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (self.features(images) ** 2).mean((2, 3))


def test_names_of_the_literature_and_patterns_are_understood_as_lesions_do(six, images):
    torch.manual_seed(0)
    network = Plain().eval()
    heat = grad_cam(network, images, ["conv2_2", "features.8", "re:features\\.8"], six, normalise=False)
    torch.testing.assert_close(heat["conv2_2"], by_captum(network, images, "features.8", six))
    assert torch.equal(heat["conv2_2"], heat["features.8"]) and len(heat) == 3
    several = grad_cam(network, images, ["conv1_*"], six, normalise=False)
    assert list(several) == ["features.1", "features.3"]


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_it_works_where_gradients_are_switched_off(network, images, readout, mode):
    from facelesion.lesions import Noise, calibrate, lesioned

    score = class_score(readout, torch.tensor([0, 1, 2, 1]))
    expected = grad_cam(network, images, ["conv2"], score)["conv2"]
    prototypes = nn.functional.normalize(torch.ones(2, 8), dim=1)
    like = grad_cam(network, images, ["conv2"], likeness_score(prototypes, 1, nn.Identity()))["conv2"]
    lesion = Noise("conv2", std=0.5)
    calibration = calibrate(network, [images], "conv2")
    damaged_there = lambda known: lambda: lesioned(network, lesion, seed=0, calibration=known)  # noqa: E731
    noisy = grad_cam(network, images, ["conv2"], score, damage=damaged_there(calibration))["conv2"]
    with mode():
        inside = images * 1
        score = class_score(readout, torch.tensor([0, 1, 2, 1]))
        assert torch.equal(grad_cam(network, inside, ["conv2"], score)["conv2"], expected)
        made_inside = likeness_score(prototypes * 1, torch.tensor([1, 1, 1, 1]), nn.Identity())
        assert torch.equal(grad_cam(network, inside, ["conv2"], made_inside)["conv2"], like)
        known = calibrate(network, [inside], "conv2")
        again = grad_cam(network, inside, ["conv2"], score, damage=damaged_there(known))["conv2"]
        assert torch.equal(again, noisy)


def test_what_was_made_inside_inference_mode_and_cannot_be_followed_is_told(network, images, readout):
    with torch.inference_mode():
        made, asked = Small().eval(), nn.Linear(8, 3)
        with pytest.raises(Error, match="was made inside torch.inference_mode"):
            grad_cam(made, images, ["conv2"], class_score(readout, 0))
        with pytest.raises(Error, match=r"inside torch.inference_mode.*clone"):
            grad_cam(network, images, ["conv2"], class_score(asked, 0))


def test_a_score_may_take_whatever_the_network_answers(network, images, readout):
    class Told(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, images: torch.Tensor) -> dict[str, object]:
            return {"seen": (self.inner(images), None), "name": "told"}

    told, score = Told().eval(), class_score(readout, 1)
    heat = grad_cam(told, images, ["inner.conv2"], lambda answer: score(answer["seen"][0]))
    assert torch.equal(heat["inner.conv2"], grad_cam(network, images, ["conv2"], score)["conv2"])
    with pytest.raises(Error, match="must not detach"):
        grad_cam(told, images, ["inner.conv2"], lambda answer: answer["seen"][0].detach()[:, 0])
    with pytest.raises(Error, match="one number per image.*not dict"):
        grad_cam(told, images, ["inner.conv2"], lambda answer: answer)


def test_a_network_that_writes_over_what_its_way_back_needs_is_told(images, readout):
    class Overwrites(Small):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            values = super().forward(images).sigmoid()
            return values.add_(1)

    with pytest.raises(Error, match="changes in place what its own backward pass needs"):
        grad_cam(Overwrites().eval(), images, ["conv2"], class_score(readout, 0))


def test_networks_and_scores_that_let_no_gradient_pass_are_told(network, images, readout):
    with pytest.raises(Error, match="no gradient flows through the score"):
        grad_cam(network, images, ["conv2"], lambda x: readout(x.detach())[:, 0].detach())

    class Closed(Small):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return super().forward(images)

    with pytest.raises(Error, match="without gradients"):
        grad_cam(Closed(), images, ["conv2"], class_score(readout, 0))


def test_what_a_lesion_has_put_in_a_layers_place_is_what_is_shown(network, images, readout):
    from facelesion.lesions import Ablate, calibrate, lesioned

    against = class_score(readout, 0)
    score = lambda x: -against(x)  # noqa: E731
    calibration = calibrate(network, [images], "conv1")
    means = calibration.means.values() if hasattr(calibration.means, "values") else [calibration.means]
    (mean,) = list(means)
    lesion = Ablate("conv1", to="mean", fraction=1.0)
    damage = lambda: lesioned(network, lesion, calibration=calibration)  # noqa: E731
    heat = grad_cam(network, images, ["conv1"], score, damage=damage, normalise=False)["conv1"]
    change = lambda y: torch.zeros_like(y) + mean.view(1, -1, 1, 1)  # noqa: E731
    expected = by_hand(network, images, 1, score, change)
    assert expected.max() > 0
    torch.testing.assert_close(heat, expected, rtol=1e-4, atol=1e-5)


def test_a_way_that_a_lesion_has_cut_leaves_no_evidence(network, images, readout):
    damage = lambda: damaged(network, "features.4", lambda y: torch.zeros_like(y).detach())  # noqa: E731
    heat = grad_cam(network, images, ["conv1"], class_score(readout, 0), damage=damage)["conv1"]
    assert heat.shape == (4, 16, 16) and not heat.any()


class Odd(nn.Module):
    """Maps with channels last, in a pair, changed in place by a function behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3, padding=1)
        self.last = Last()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu_(self.convolution(images))
        _, maps = self.last(y)
        maps = maps.mul_(0.5)
        return (maps**2).mean((1, 2))


class Last(nn.Module):
    def forward(self, y: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, y.permute(0, 2, 3, 1).contiguous()


def test_outputs_in_tuples_channels_last_and_functions_in_place_are_followed(six, images):
    torch.manual_seed(0)
    network = Odd().eval()
    sites = ["last->1@-1", "last@-1", "last@3", "convolution"]
    heat = grad_cam(network, images, sites, six, normalise=False)
    with torch.no_grad():
        raw = network.convolution(images)
    y = raw.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(six(((y.relu() * 0.5) ** 2).mean((2, 3))).sum(), y)

    def large(y, slope):
        small = (slope.mean((2, 3), keepdim=True) * y).sum(1, keepdim=True).relu().detach()
        return nn.functional.interpolate(small, images.shape[-2:], mode="bilinear")[:, 0]

    torch.testing.assert_close(heat["convolution"], large(raw, slope))
    y = raw.relu().requires_grad_(True)
    (slope,) = torch.autograd.grad(six(((y * 0.5) ** 2).mean((2, 3))).sum(), y)
    for site in sites[:3]:
        torch.testing.assert_close(heat[site], large(y.detach(), slope))


@pytest.mark.parametrize("site", [".", "last@0", "last->0", "last->7", "convolution->x", "convolution@9"])
def test_what_has_no_map_is_refused_in_one_line(six, images, site):
    with pytest.raises(Error) as told:
        grad_cam(Odd().eval(), images, [site], six)
    assert "\n" not in str(told.value)
