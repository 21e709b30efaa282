"""Names of places: paths, aliases, patterns, calls, outputs, axes and heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.lesions import (
    Ablate,
    LesionError,
    NoSuchSite,
    Prune,
    Scale,
    aliases,
    lesion_sites,
    lesioned,
    sites,
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        conv = [nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(inplace=True)]
        last = [nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*conv, nn.Conv2d(2, 2, 1), nn.ReLU(), nn.MaxPool2d(2), *last)
        self.same = self.features[7]

    def forward(self, x):
        return self.same(self.features(x)).mean((2, 3))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("features.4", ["features.4"]),
        ("conv1_2", ["features.4"]),
        ("conv1_*", ["features.2", "features.4"]),
        ("conv?_1, pool1", ["features.2", "features.7", "features.5"]),
        ("conv1_2, features.4", ["features.4"]),
        ("featu*", ["features"]),
        ("*.1", ["features.1"]),
        (r"re:features\.[01]", ["features.0", "features.1"]),
        ("same", ["features.7"]),
        ("features.7[1]", ["features.7[1]"]),
    ],
)
def test_a_pattern_finds(pattern, found):
    assert sites(Net(), pattern) == tuple(found)


def test_all_sites_are_listed_once():
    assert sites(Net()) == ("features", *(f"features.{i}" for i in range(8)))


def test_aliases_come_from_an_attribute_first_and_also_from_a_part():
    outer, inner = nn.Module(), Net()
    inner.site_aliases = {"early": "features.2"}
    outer.body = inner
    assert aliases(outer) == {"body.early": "body.features.2"}
    assert sites(outer, "body.early") == ("body.features.2",)


def test_a_cut_graph_keeps_the_aliases_of_what_it_has():
    cut = torch.fx.GraphModule({"features.7": nn.ReLU()}, torch.fx.Graph())
    cut.site_aliases = {"conv1_1": "features.2", "conv2_1": "features.7"}
    assert "conv2_1" not in dict(cut.named_modules())
    with pytest.raises(NoSuchSite):
        sites(cut, "conv1_1")


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("conv1_9", "nearest are .*conv1_"),
        ("re:(", "regular expression"),
        ("zzzzzzzz", "lists all"),
        ("a, conv1_1", "'a'"),
    ],
)
def test_what_matches_nothing_is_an_error_that_helps(pattern, says):
    with pytest.raises(NoSuchSite, match=says), lesioned(Net(), Ablate(pattern)):
        pass


def test_incoming_weights_of_an_alias_are_those_of_its_convolution():
    assert lesion_sites(Net(), Prune("conv1_1, conv2_1", fraction=0.5)) == ("features.0", "features.6")
    with pytest.raises(LesionError, match="name the convolution"):
        lesion_sites(Net(), Prune("features", fraction=0.5))


def damaged(model, given, lesion, path, rows=None):
    """What a watched module put out, healthy and damaged."""
    seen = []
    for lesions in (None, lesion):
        with lesioned(model, lesions):
            handle = model.get_submodule(path).register_forward_hook(lambda m, i, o: seen.append(o))
            model(given)
            handle.remove()
    return seen


def test_calls_of_one_module_are_counted(toy, images):
    first, second, third, damaged_first, damaged_second, _ = damaged(toy, images, Ablate("relu[1]"), "relu")
    assert torch.equal(first, damaged_first)
    assert second.any() and not damaged_second.any()
    everywhere = damaged(toy, images, Ablate("relu"), "relu")
    assert not any(y.any() for y in everywhere[3:])


@pytest.mark.parametrize(
    ("site", "of"),
    [("pair", lambda o: o[1]), ("pair->2.0", lambda o: o[2][0]), ("named->double", lambda o: o["double"])],
)
def test_an_output_is_picked_out_of_tuples_and_dicts(toy, images, site, of):
    path = site.split("->")[0]
    healthy, after = damaged(toy, images, Scale(site, by=3), path)
    assert torch.equal(of(after), of(healthy) * 3)
    assert type(after) is type(healthy) and len(after) == len(healthy)


def test_an_output_that_is_not_there_is_an_error(toy, images):
    for site, says in (("pair->7", "'?7"), ("relu->a", "plain tensor"), ("relu@6", "no axis 6")):
        with pytest.raises(LesionError, match=says), lesioned(toy, Ablate(site)):
            toy(images)


@pytest.mark.parametrize(
    ("module", "shape", "axis"),
    [
        (nn.Conv2d(3, 4, 1), (2, 3, 5, 6), 1),
        (nn.Conv1d(3, 4, 1), (2, 3, 6), 1),
        (nn.BatchNorm1d(3), (2, 3, 6), 1),
        (nn.MaxPool2d(1), (2, 3, 5, 6), 1),
        (nn.ReLU(), (2, 3, 5, 6), 1),
        (nn.ReLU(), (2, 5, 3), 2),
        (nn.ReLU(), (2, 5), 1),
        (nn.Linear(3, 4), (2, 5, 6, 3), 3),
        (nn.LayerNorm(3), (2, 5, 6, 3), 3),
        (nn.Embedding(9, 4), (2, 5), 2),
        (nn.GRU(3, 4, batch_first=True), (2, 5, 3), 2),
        (nn.Conv3d(3, 4, 1), (2, 3, 5, 6, 7), 1),
    ],
)
def test_units_lie_along_the_axis_of_their_module(module, shape, axis):
    model = nn.Sequential(module).eval()
    given = torch.zeros(shape, dtype=torch.long) if isinstance(module, nn.Embedding) else torch.randn(shape)
    healthy, after = damaged(model, given, Ablate("0", units=[1]), "0")
    healthy, after = (o[0] if isinstance(o, tuple) else o for o in (healthy, after))
    expected = healthy.clone()
    expected.select(axis, 1).zero_()
    assert torch.equal(after, expected)


def test_the_axis_can_be_said():
    healthy, after = damaged(
        nn.Sequential(nn.GELU()), torch.randn(2, 4, 4, 3), Ablate("0@-1", units=[2]), "0"
    )
    assert torch.equal(after[..., 2], torch.zeros(2, 4, 4)) and torch.equal(after[..., :2], healthy[..., :2])


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_heads_are_units(batch_first):
    torch.manual_seed(0)

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(12, 3, batch_first=batch_first)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    model, x = Attend().eval(), torch.randn(2, 5, 12) if batch_first else torch.randn(5, 2, 12)
    healthy = model(x)
    with lesioned(model, Scale("attention.heads", by=1.000001)):
        assert torch.allclose(model(x), healthy, atol=1e-6)
    with lesioned(model, Ablate("attention.heads", units=[1])):
        damaged = model(x)
    # Without a head its columns of the output projection read zeros.
    with torch.no_grad():
        weight = model.attention.out_proj.weight.clone()
        model.attention.out_proj.weight[:, 4:8] = 0
        expected = model(x)
        model.attention.out_proj.weight.copy_(weight)
    assert torch.allclose(damaged, expected, atol=1e-6) and not torch.allclose(damaged, healthy)
    assert torch.equal(model(x), healthy)


def test_heads_of_a_vision_transformer(case):
    if not any(isinstance(each, nn.MultiheadAttention) for each in case.model.modules()):
        pytest.skip("no attention in this network")
    assert len(sites(case.model, "encoder.layers.*.self_attention.heads")) == 2
    healthy = case.model(case.images)
    with lesioned(case.model, [None, Ablate("encoder.layers.*.self_attention.heads", fraction=0.5)]):
        rows = case.model(torch.cat([case.images] * 2)).chunk(2)
    assert torch.allclose(rows[0], healthy, atol=1e-5) and not torch.allclose(rows[1], healthy, atol=1e-3)
