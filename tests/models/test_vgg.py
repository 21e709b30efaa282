"""VGG-Face is torchvision's VGG16, module for module, and its sites are where the literature says."""

import pytest
import torch
from torch import nn

from facelesion.models.vgg import PublishedVGGFace, VGGFace, channels, site_aliases, vgg_face


def test_full_width_has_the_notebooks_number_of_parameters() -> None:
    assert sum(value.numel() for value in vgg_face().parameters()) == 14_715_201


def test_convolutions_are_torchvisions_and_answer_the_same() -> None:
    from torchvision.models import vgg16

    theirs = vgg16(weights=None).eval()
    ours = VGGFace(outputs=None).eval()
    ours.features.load_state_dict(theirs.features.state_dict())
    images = torch.randn(2, 3, 64, 64)
    expected = theirs.features(images).mean((2, 3))
    torch.testing.assert_close(ours(images), expected)


def test_an_alias_is_the_relu_after_the_convolution_and_pools_are_pools() -> None:
    network = VGGFace(width=0.0625)
    modules = dict(network.named_modules())
    aliases = site_aliases()
    assert aliases == network.site_aliases
    convolutions = [name for name in aliases if name.startswith("conv")]
    assert len(convolutions) == 13 and len(aliases) == 18
    for name, path in aliases.items():
        assert isinstance(modules[path], nn.ReLU if name in convolutions else nn.MaxPool2d), name
    for name in convolutions:
        number = int(aliases[name].split(".")[1])
        before = modules[f"features.{number - 1}"]
        assert isinstance(before, nn.Conv2d)
        assert before.out_channels == channels(0.0625)[int(name[4]) - 1]


def test_the_networks_graph_can_be_traced() -> None:
    network = VGGFace(width=0.0625, outputs=3).eval()
    images = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(torch.fx.symbolic_trace(network)(images), network(images))


@pytest.mark.parametrize(("outputs", "width"), [(None, 32), (1, 1), (7, 7)])
def test_the_head_gives_as_many_outputs_as_asked(outputs: int | None, width: int) -> None:
    assert VGGFace(width=0.0625, outputs=outputs)(torch.zeros(1, 3, 32, 32)).shape == (1, width)


def test_the_published_network_is_torchvisions_up_to_the_second_hidden_layer() -> None:
    from torchvision.models import VGG

    ours = PublishedVGGFace(width=0.0625, hidden=12, size=64).eval()
    theirs = VGG(ours.features, init_weights=False).eval()
    theirs.avgpool = nn.AdaptiveAvgPool2d(2)
    for place in (0, 3):
        theirs.classifier[place] = ours.classifier[place]
    images = torch.randn(2, 3, 64, 64)
    expected = theirs.classifier[:5](torch.flatten(theirs.avgpool(theirs.features(images)), 1))
    torch.testing.assert_close(ours(images), expected)


def test_fc6_and_fc7_are_sites_after_their_relu_and_the_graph_can_be_traced() -> None:
    network = PublishedVGGFace(width=0.0625, hidden=12, size=64).eval()
    seen = {}
    for name in ("fc6", "fc7"):
        module = network.get_submodule(network.site_aliases[name])
        assert isinstance(module, nn.ReLU)
        module.register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output}))
    images = torch.randn(2, 3, 64, 64)
    answer = network(images)
    assert answer.shape == (2, 12) and bool((answer >= 0).all())
    torch.testing.assert_close(seen["fc7"], answer)
    assert seen["fc6"].shape == (2, 12) and not torch.equal(seen["fc6"], answer)
    torch.testing.assert_close(torch.fx.symbolic_trace(network)(images), answer)
    assert len(network.site_aliases) == 20


def test_a_lesion_at_fc6_acts() -> None:
    from facelesion.lesions import Ablate, lesioned

    network = PublishedVGGFace(width=0.0625, hidden=12, size=64).eval()
    images = torch.randn(2, 3, 64, 64)
    healthy = network(images)
    lesion = Ablate("fc6", units=range(6))
    with lesioned(network, lesion):
        damaged = network(images)
    assert not torch.allclose(damaged, healthy)


def test_the_published_network_has_the_papers_number_of_parameters() -> None:
    with torch.device("meta"):
        network = PublishedVGGFace()
    assert sum(value.numel() for value in network.parameters()) + 2622 * 4097 == 145_002_878
