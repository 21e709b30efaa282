"""A unit's receptive field, computed from the network's geometry, is where its gradient can reach."""

import copy

import pytest
import torch
from torch import nn

from facelesion.analysis.receptive import WHOLE, ReceptiveField, receptive_fields
from facelesion.errors import Error
from facelesion.models import get


class Toy(nn.Module):
    """Dilation, stride, uneven kernels and padding, and two ways that meet."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 4, (3, 5), stride=(2, 1), padding=(0, 2))
        self.two = nn.Conv2d(4, 4, 3, dilation=(3, 2), padding=(3, 2))
        self.short = nn.Conv2d(4, 4, 1)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.last = nn.Conv2d(8, 5, 2, padding="same")
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        x = torch.relu(self.one(x))
        x = torch.relu(self.two(x)) + self.short(x)
        x = torch.cat([self.pool(x), nn.functional.avg_pool2d(x, 3, 2, 1)], 1)
        return self.out(self.last(x).mean((2, 3)))


def support(module, site, place, size):
    """Rows and columns that the gradient of one place reaches, with every weight positive and every pool a mean.

    So nothing cancels, no ReLU is shut, and no maximum hides a place: what can matter does.
    """
    network = copy.deepcopy(module).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.requires_grad_(True).abs_().add_(0.01)
        for each in network.modules():
            if isinstance(each, nn.BatchNorm2d):
                each.running_mean.zero_()
                each.running_var.fill_(1)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    kept = []
    network.get_submodule(site).register_forward_hook(lambda *given: kept.append(given[2].clone()))
    image = torch.rand(1, 3, *size, dtype=torch.float64).requires_grad_(True)
    network(image * 1.0)
    (slope,) = torch.autograd.grad(kept[0][0, :, place[0], place[1]].sum() / kept[0].detach().abs().max(), image)
    seen = slope[0].abs().sum(0) > 0
    rows, columns = (torch.nonzero(seen.any(axis)).flatten() for axis in (1, 0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def vgg():
    from torchvision.models import vgg16

    return vgg16(weights=None).eval().features


def resnet():
    from torchvision.models import resnet18

    return resnet18(weights=None).eval()


@pytest.mark.parametrize(
    ("make", "site", "places", "size"),
    [
        (vgg, "3", [(0, 0), (20, 7), (63, 63)], (64, 64)),
        (vgg, "15", [(0, 0), (7, 8), (15, 15)], (64, 64)),
        pytest.param(vgg, "29", [(0, 1), (7, 6), (12, 13)], (224, 224), marks=pytest.mark.slow),
        (resnet, "relu", [(0, 0), (9, 30)], (64, 64)),
        (resnet, "layer1", [(0, 0), (8, 9), (15, 3)], (64, 64)),
        (resnet, "layer2.0.conv1", [(3, 4)], (64, 64)),
        (resnet, "layer3.1.bn2", [(5, 6)], (160, 192)),
        (Toy, "one", [(0, 0), (10, 12), (22, 30)], (47, 31)),
        (Toy, "two", [(0, 0), (10, 12)], (47, 31)),
        (Toy, "pool", [(0, 0), (6, 7), (11, 15)], (47, 31)),
        (Toy, "last", [(0, 0), (5, 7), (11, 15)], (47, 31)),
    ],
)
def test_a_place_sees_what_its_gradient_reaches_and_nothing_else(make, site, places, size):
    torch.manual_seed(0)
    network = make().eval()
    field = receptive_fields(network, site)[site]
    for place in places:
        assert field.window(place, size) == support(network, site, place, size)


def test_a_block_that_downsamples_reaches_no_further_than_its_field():
    """A stride of two behind a pool of two leaves holes, so the gradient may fall short of the field's edge."""
    network = resnet()
    field = receptive_fields(network, "layer4")["layer4"]
    assert field.size == (435, 435) and field.stride == (32, 32)


def test_the_built_in_network_s_sites_have_their_published_sizes():
    fields = receptive_fields(get("untrained").module, "conv*")
    sizes = {site: field.size[0] for site, field in fields.items()}
    wanted = {"conv1_1": 3, "conv2_2": 14, "conv3_3": 40, "conv4_3": 92, "conv5_3": 196}
    assert {site: sizes[site] for site in wanted} == wanted


def test_what_is_not_known_sees_the_whole_picture():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3), nn.Flatten())
    assert receptive_fields(network, "2")["2"] == WHOLE
    assert WHOLE.window((3, 4), (20, 30)) == ((0, 20), (0, 30))
    assert ReceptiveField().window((), (20, 30)) == ((0, 20), (0, 30)), "a unit without places"


def test_a_network_that_cannot_be_followed_is_one_line():
    class Turns(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(Error, match="cannot be followed"):
        receptive_fields(Turns(), ".")
    with pytest.raises(Error, match="sites: "):
        receptive_fields(nn.Sequential(nn.ReLU()), "conv9")
