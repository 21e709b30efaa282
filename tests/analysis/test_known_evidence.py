"""A network whose evidence lies in a known place: maps lie there, and not once the units that see it are gone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.analysis.attribution import guided_grad_cam, integrated_gradients, occlusion
from facelesion.analysis.evidence import evidence_shares
from facelesion.analysis.gradcam import grad_cam, resized
from facelesion.analysis.randomised import randomised_from_the_top, rank_likeness
from facelesion.errors import Error
from facelesion.lesions import Ablate, Noise, lesioned

SIDE = 28
LEFT, RIGHT = slice(0, SIDE // 2), slice(SIDE // 2, SIDE)


class RedAndGreen(nn.Module):
    """Unit 0 sees red, unit 1 green, unit 2 blue; red counts for the answer, green half as much, blue against it."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        self.eyes = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.seen = nn.ReLU(inplace)
        self.pool = nn.AvgPool2d(2)
        self.more = nn.Conv2d(3, 3, 1, bias=False)
        self.there = nn.ReLU(inplace)
        with torch.no_grad():
            self.eyes.weight.zero_()
            self.more.weight.zero_()
            for unit in range(3):
                self.eyes.weight[unit, unit] = 1 / 9
                self.more.weight[unit, unit] = 1.0
        self.head = torch.tensor([1.0, 0.5, -1.0])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.there(self.more(self.pool(self.seen(self.eyes(images))))).mean((2, 3))


def answer(representation: torch.Tensor) -> torch.Tensor:
    return representation @ torch.tensor([1.0, 0.5, -1.0])


def scores(_rows: torch.Tensor):
    return answer


@pytest.fixture
def network() -> RedAndGreen:
    return RedAndGreen().eval()


@pytest.fixture
def picture() -> torch.Tensor:
    """Red in the left half, green in the right half, blue along the top of both."""
    picture = torch.zeros(1, 3, SIDE, SIDE)
    picture[0, 0, 8:20, 4:10] = 1
    picture[0, 1, 8:20, 18:24] = 1
    picture[0, 2, 0:4, :] = 1
    return picture


def halves(heat: torch.Tensor) -> tuple[float, float]:
    """The shares of a map on the left and the right half."""
    parts = torch.zeros(1, 2, SIDE, SIDE)
    parts[:, 0, :, LEFT], parts[:, 1, :, RIGHT] = 1, 1
    share = evidence_shares(resized(heat, SIDE, SIDE), parts).share[0]
    return float(share[0]), float(share[1])


@pytest.mark.parametrize("site", ["eyes", "seen", "pool", "more", "there"])
def test_the_map_lies_where_the_evidence_is(network, picture, site):
    heat = grad_cam(network, picture, [site], answer)[site]
    left, right = halves(heat)
    assert left == pytest.approx(2 / 3, abs=0.02) and right == pytest.approx(1 / 3, abs=0.02)
    assert heat[0, :2].max() < 1e-6  # blue speaks against
    assert 8 <= int(heat[0].sum(1).argmax()) < 20


@pytest.mark.parametrize("site", ["seen", "there"])
def test_after_ablating_the_units_that_see_a_place_the_map_lies_there_no_more(network, picture, site):
    sites = ["eyes", "seen", "pool", "more", "there"]
    lesion = Ablate(site, units=[0])
    heat = grad_cam(network, picture, sites, answer, damage=lambda: lesioned(network, lesion))
    assert all(halves(heat[name]) == (0.0, 1.0) for name in sites[sites.index(site) :])
    both = Ablate(site, units=[0, 1])
    gone = grad_cam(network, picture, sites, answer, damage=lambda: lesioned(network, both))
    assert not any(gone[name].any() for name in sites)


def test_activations_that_work_in_place_falsify_nothing(picture):
    sites = ["eyes", "seen", "pool", "more", "there"]
    inplace, apart = RedAndGreen(True).eval(), RedAndGreen(False).eval()
    with torch.no_grad():
        for each in (inplace, apart):  # negative values, which a ReLU in place would wipe out of its input
            each.eyes.weight[0, 2] = -1.0
    together = grad_cam(inplace, picture, sites, answer, normalise=False)
    for name in sites:
        alone = grad_cam(apart, picture, [name], answer, normalise=False)[name]
        assert torch.equal(together[name], alone), name


@pytest.mark.parametrize("method", ["guided", "integrated", "occlusion"])
def test_other_methods_find_the_same_place_and_that_it_is_gone(network, picture, method):
    def heat(damage):
        if method == "guided":
            return guided_grad_cam(network, picture, ["there"], scores, damage=damage)["there"]
        made = integrated_gradients if method == "integrated" else occlusion
        return made(network, picture, scores, damage=damage)

    left, right = halves(heat(lambda module, rows: lesioned(module, None)))
    assert left > 0.6 and right > 0.15
    left, right = halves(heat(lambda module, rows: lesioned(module, Ablate("seen", units=[0]))))
    assert left < 0.01 and right > 0.99


def test_guided_grad_cam_is_captum_s(network, picture):
    from captum.attr import GuidedGradCam

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    ).eval()  # fmt: skip
    images = torch.randn(3, 3, SIDE, SIDE)
    target = torch.tensor([1, 0, 1])
    found = guided_grad_cam(
        network, images, ["4"], lambda rows: lambda x: x.gather(1, target[rows][:, None])[:, 0]
    )["4"]
    theirs = GuidedGradCam(network, network[4]).attribute(
        images.clone().requires_grad_(True), target, interpolate_mode="bilinear"
    )
    assert found.max() > 0
    assert torch.allclose(found, theirs.detach().sum(1).relu(), rtol=1e-4, atol=1e-7)


def test_methods_with_many_passes_show_every_variant_of_a_picture_the_same_noise(network, picture):
    images, ids = torch.cat([picture, picture.flip(-1)]), torch.tensor([7, 3])
    lesion = Noise("seen", std=0.5)
    seen: list[torch.Tensor] = []

    class Recorded(RedAndGreen):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images.detach())
            return super().forward(images)

    recorded = Recorded().eval()
    runs: list[torch.Tensor] = []

    def damage(module, rows):
        runs.append(ids[rows])
        return lesioned(module, lesion, ids=ids[rows])

    for made in (integrated_gradients, occlusion):
        runs.clear()
        together = made(recorded, images, scores, damage=damage)
        assert len(runs) > 1 or len(runs[0]) > 2
        assert all(torch.equal(each, ids.repeat(len(each) // 2)) for each in runs)
        alone = made(
            recorded, images[1:], scores, damage=lambda module, rows: lesioned(module, lesion, ids=ids[1:][rows])
        )
        assert torch.allclose(together[1:], alone, atol=1e-5)


def test_a_network_without_relus_has_no_guided_map():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(Error, match="this network has none"):
        guided_grad_cam(network, torch.rand(1, 3, 8, 8), ["1"], lambda rows: lambda x: x[:, 0])


def test_layers_are_drawn_anew_from_the_top_and_the_network_itself_stays():
    from facelesion.models import VGGFace

    network = VGGFace(0.05, outputs=4).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seen = []
    for name, other in randomised_from_the_top(network, torch.zeros(1, 3, 32, 32), seed=1):
        seen.append(name)
        changed = (key for key, value in other.state_dict().items() if not torch.equal(value, before[key]))
        assert {key.rsplit(".", 1)[0] for key in changed} == set(seen)
    weights = [name for name, layer in network.named_modules() if any(True for _ in layer.parameters(recurse=False))]
    assert seen == weights[::-1] and len(seen) == 14
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_with_weights_that_nobody_trained_the_built_in_network_s_maps_are_others():
    """The sanity check of Adebayo et al. 2018, on the network that the project carries."""
    from facelesion.data.facespace import FaceSpace
    from facelesion.models import get

    subject = get("builtin")
    faces = FaceSpace.load().draw(6, 1, seed=3)
    images = subject.preprocess(faces.images)
    with torch.no_grad():
        own = nn.functional.normalize(subject.identity(subject.module(images)), dim=1)

    def maps(module: nn.Module) -> torch.Tensor:
        def score(x: torch.Tensor) -> torch.Tensor:
            return (subject.identity(x) * own).sum(1)

        return grad_cam(module, images, ["conv4_3"], score, resize=False)["conv4_3"]

    learned = maps(subject.module)
    assert torch.allclose(rank_likeness(learned, learned), torch.ones(6))
    likeness = [
        float(rank_likeness(learned, maps(other)).nan_to_num().mean())
        for _, other in randomised_from_the_top(subject.module, images[:1])
    ]
    assert max(likeness[3:]) < 0.4 and abs(likeness[-1]) < 0.3
