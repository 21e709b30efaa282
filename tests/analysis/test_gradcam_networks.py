"""All sites of a network in one pass have the maps that Captum finds one by one; which sites have a map at all."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.analysis import class_score, grad_cam, likeness_score
from facelesion.analysis.mapped_sites import MapSite, map_sites, stages_of
from facelesion.errors import Error
from facelesion.lesions import Ablate, lesioned
from facelesion.lesions.locate import find
from facelesion.models import MobileFaceNet, VGGFace
from facelesion.models.zoo import inceptionresnet, literature


def vgg16() -> nn.Module:
    return VGGFace(1.0, outputs=None)


def resnet18() -> nn.Module:
    from torchvision.models import resnet18

    network = resnet18()
    network.site_aliases = dict(literature(network))
    return network


NETWORKS = {  # how to make it, the pictures' side, units of which site a lesion removes
    "VGG16": (vgg16, 48, "conv3_1"),
    "ResNet-18": (resnet18, 64, "conv3_1"),
    "MobileFaceNet": (MobileFaceNet, 112, "bottleneck3"),
    "InceptionResnetV1": (inceptionresnet, 96, "block35_2"),
}


@pytest.fixture(scope="module", params=NETWORKS)
def known(request):
    make, side, damaged = NETWORKS[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make().eval()
        for module in network.modules():  # a network that is drawn and not trained answers next to nothing
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
        images = torch.randn(2, 3, side, side)
        with torch.no_grad():
            answer = network(images)
        prototypes = nn.functional.normalize(torch.randn(3, answer.shape[1]) + answer.mean(0), dim=1)
    return network, images, likeness_score(prototypes, torch.tensor([2, 0]), nn.Identity()), damaged


def largest_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """As a share of the map's largest value."""
    assert expected.max() > 0 and torch.isfinite(found).all()
    return float((found - expected).abs().max() / expected.max())


def resized(small: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(small.detach(), images.shape[-2:], mode="bilinear")[:, 0]


def shown_sites(network: nn.Module, images: torch.Tensor) -> list[str]:
    names = [site.name for site in map_sites(network, images[:1])]
    return names if len(names) <= 13 else names[:: len(names) // 6]


def test_all_sites_in_one_pass_are_captum_s_one_by_one(known):
    from captum.attr import LayerGradCam

    network, images, score, _ = known
    sites = shown_sites(network, images)
    assert len(sites) >= 5
    seen = 0
    for sign in (1, -1):  # of networks that nobody trained, one or the other has evidence at a site
        heat = grad_cam(network, images, sites, lambda x: sign * score(x), normalise=False)  # noqa: B023
        assert list(heat) == sites
        for name in sites:
            (site,) = find(network, name)
            method = LayerGradCam(lambda x: sign * score(network(x)), network.get_submodule(site.path))  # noqa: B023
            small = method.attribute(images.clone().requires_grad_(True), relu_attributions=True)
            if small.max() == 0:
                assert not heat[name].any()
                continue
            seen += 1
            assert largest_difference(heat[name], resized(small, images)) < 1e-5, name
    assert seen >= 5


def test_under_a_lesion_all_sites_in_one_pass_are_what_is_computed_by_hand(known):
    network, images, score, damaged = known
    sites = shown_sites(network, images)
    lesion = Ablate(damaged, fraction=0.5, seed=1)
    healthy = grad_cam(network, images, sites, score, normalise=False)
    heat = grad_cam(network, images, sites, score, damage=lambda: lesioned(network, lesion), normalise=False)
    (there,) = find(network, damaged)
    silent = silenced_by(network, lesion, there.path, images)

    def silence(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output * (~silent)[:, None, None]

    changed = 0
    for name in sites:
        (site,) = find(network, name)
        kept: list[torch.Tensor] = []
        # The lesion's own hook comes first; where it is the site, what is looked at is damaged already.
        handles = [network.get_submodule(there.path).register_forward_hook(silence)]
        handles.append(network.get_submodule(site.path).register_forward_hook(keeper(kept)))
        try:
            value = score(network(images.clone().requires_grad_(True)))
        finally:
            for handle in handles:
                handle.remove()
        slope = torch.autograd.grad(value.sum(), kept[0])[0]
        small = (slope.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu()
        if small.max() > 0:
            assert largest_difference(heat[name], resized(small, images)) < 1e-5, name
        changed += not torch.equal(heat[name], healthy[name])
    assert changed >= 4


def keeper(kept: list[torch.Tensor]):
    """A hook that keeps the output, and lets what comes next work in place on a copy."""

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output)
        return output.clone()

    return keep


def silenced_by(network: nn.Module, lesion: Ablate, path: str, images: torch.Tensor) -> torch.Tensor:
    """Which units of a site a lesion leaves nothing of, seen in health and in damage."""
    kept: list[torch.Tensor] = []
    module = network.get_submodule(path)
    with torch.no_grad():
        for context in (None, lesion):
            with lesioned(network, context):
                handle = module.register_forward_hook(keeper(kept))
                network(images)
                handle.remove()
    healthy, damaged = (each.abs().sum((0, 2, 3)) for each in kept)
    return (damaged == 0) & (healthy > 0)


def test_however_many_sites_the_network_runs_once():
    network = VGGFace(0.05, outputs=None).eval()
    runs = []
    handle = network.register_forward_hook(lambda *_: runs.append(1))
    grad_cam(network, torch.randn(2, 3, 32, 32), ["conv*"], class_score(lambda x: x, 0))
    handle.remove()
    assert len(runs) == 1


def test_vgg_s_sites_are_early_middle_and_late_as_the_notebook_has_them():
    sites = map_sites(VGGFace(0.05, outputs=None).eval(), torch.zeros(1, 3, 112, 112))
    assert [site.name for site in sites if site.stage == "middle"] == ["conv4_1", "conv4_2", "conv4_3"]
    assert [site.name for site in sites if site.stage == "late"] == ["conv5_1", "conv5_2", "conv5_3"]
    assert [(site.name, site.height) for site in sites][0] == ("conv1_1", 112) and len(sites) == 13
    assert {stage: site.name for stage, site in stages_of(sites).items()} == {
        "early": "conv3_3", "middle": "conv4_3", "late": "conv5_3",
    }  # fmt: skip


def test_sites_come_in_the_order_in_which_they_run_whatever_order_they_are_asked_in():
    network, picture = VGGFace(0.05, outputs=None).eval(), torch.zeros(1, 3, 64, 64)
    found = map_sites(network, picture, ["conv5_3", "features.2", "conv1_*"])
    assert [site.name for site in found] == ["conv1_1", "features.2", "conv1_2", "conv5_3"]


def test_a_site_without_a_map_is_told_and_a_pattern_takes_those_with_one():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
            self.idle, self.head = nn.Conv2d(3, 3, 1), nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.features(images).flatten(1))

    network, picture = Two().eval(), torch.zeros(1, 3, 16, 16)
    assert [site.name for site in map_sites(network, picture)] == ["features.1"]
    assert [site.name for site in map_sites(network, picture, ["**"])] == ["features.0", "features.1"]
    for pattern, said in (
        ("head", "head has no map to show"),
        ("features.2", "its output is one place"),
        ("idle", "idle never runs"),
        ("heads", "no site 'heads'.*head"),
    ):
        with pytest.raises(Error, match=said):
            map_sites(network, picture, [pattern])
    with pytest.raises(Error, match="no place whose output is a map"):
        map_sites(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), picture)


def test_stages_that_a_network_has_not_are_left_out():
    assert list(stages_of([MapSite("a", 4, 4, "late")])) == ["late"]
