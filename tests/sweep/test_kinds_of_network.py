"""Networks of unusual build are swept like any other: wrapped, with learned queries, damaged at their own output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.lesions import Ablate, Noise, Scale, Shift, calibrate
from facelesion.sweep import (
    Options,
    SweepError,
    effects,
    first_order,
    greedy_ranking,
    make_plan,
    read_sweep,
    sweep,
    sweep_to_folder,
    unit_sweep,
)


class Queries(nn.Module):
    """Learned queries handed on by `expand`, as DETR's and the Perceiver's."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.queries = nn.Parameter(torch.randn(1, 3, 8))
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        tokens = self.first(x)
        queries = {
            "expand": lambda: self.queries.expand(x.shape[0], -1, -1),
            "expand_as": lambda: self.queries.expand_as(tokens[:, :3]),
            "repeat": lambda: self.queries.repeat(x.shape[0], 1, 1),
            "broadcast": lambda: torch.broadcast_to(self.queries, (x.shape[0], 3, 8)),
            "normed": lambda: self.norm(self.queries.expand(x.shape[0], -1, -1)),
            "class token": lambda: torch.cat([self.queries[:, :1].expand(x.shape[0], -1, -1), tokens], 1),
        }[self.how]()
        answer, _ = self.attention(queries, tokens, tokens)
        return self.head(answer.mean(1))


@pytest.mark.parametrize("how", ["expand", "expand_as", "repeat", "broadcast", "normed", "class token"])
def test_learned_queries_that_are_handed_on_are_swept(how, close, swept_as_naive):
    network, images = Queries(how).eval(), torch.rand(4, 5, 6)
    lesions = {
        "none": None,
        "a": Ablate("first", units=[1]),
        "b": Scale("head", by=2.0),
        "n": Noise("first", std=0.3),
    }
    outputs = swept_as_naive(network, lesions, images)
    units = unit_sweep(network, "first", images)["first"]
    close(units[1], outputs["a"])


def test_what_cannot_be_counted_costs_nothing_and_is_swept(naive, close, monkeypatch):
    from facelesion.sweep import costs

    def broken(*args, **kwargs):
        raise AssertionError("this kind of tensor is not known")

    monkeypatch.setattr(costs, "flop_registry", dict.fromkeys(costs.flop_registry, broken))
    network, images = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).eval(), torch.rand(4, 6)
    lesions = {"none": None, "a": Ablate("0", units=[1])}
    for options in (Options(), Options(trace=False)):
        plan = make_plan(network, lesions, images, options)
        assert plan.multiply_adds == 0 and "planned 0" in plan.explain()
        close(sweep(network, lesions, images, options=options)["a"], naive(network, lesions["a"], images))


class Adding(nn.Module):
    """Its last step is no module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x):
        return torch.relu(self.first(x)) + self.second(x)


class Early(nn.Module):
    """Answers with what an earlier step made."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 4)

    def forward(self, x):
        x = self.first(x)
        self.second(x)
        return x


def straight() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 4))


@pytest.mark.parametrize("make", [straight, Adding, Early, lambda: nn.Linear(6, 4), nn.Identity])
@pytest.mark.parametrize("trace", [True, False])
def test_the_network_itself_is_a_site(make, trace, naive, close, tmp_path):
    network, images = make().eval(), torch.rand(5, 6)
    part = "first" if hasattr(network, "first") else "0" if isinstance(network, nn.Sequential) else "."
    calibration = calibrate(network, images, ".")
    lesions = {
        "none": None,
        "unit": Ablate(".", units=[1]),
        "noise": Noise(".", std=0.4),
        "noise and more": Noise(".", std=0.4) + Scale(".", by=2.0),
        "both": Scale(part, by=3.0) + Shift(".", by=1.0),
        "both, otherwise": Scale(part, by=3.0) + Shift(".", by=2.0),
        "last first": Shift(".", by=1.0) + Noise(part, std=0.2),
        "mean": Ablate(".", to="mean", fraction=0.5),
        "listed": Noise(f"., {part}", std=0.3),
    }
    options = Options(trace=trace, batch_size=2)
    outputs = sweep(network, lesions, images, calibration=calibration, options=options)
    for name, lesion in lesions.items():
        close(outputs[name], naive(network, lesion, images, calibration=calibration, batch_size=2))
    units = unit_sweep(network, ".", images, options=options)
    assert list(units) == ["."]
    for unit, output in enumerate(units["."]):
        close(output, naive(network, Ablate(".", units=[unit]), images))
    means = unit_sweep(network, ".", images, options=options, to="mean", calibration=calibration, units=[2])[
        "."
    ]
    close(means[0], naive(network, Ablate(".", units=[2], to="mean"), images, calibration=calibration))
    sweep_to_folder(tmp_path, network, lesions, images, calibration=calibration, options=options)
    for name, output in read_sweep(tmp_path).items():
        close(output, outputs[name])


def test_the_network_itself_is_ranked():
    network, images = straight().eval(), torch.rand(5, 6)

    def loss(outputs, numbers):
        return -(outputs * torch.tensor([1.0, 3.0, 2.0, 4.0])).sum(1)

    exact = effects(network, ".", images, loss)
    torch.testing.assert_close(first_order(network, ".", images, loss), exact, rtol=1e-4, atol=1e-5)
    ranking = greedy_ranking(network, ".", images, loss, fraction=1.0, step=0.25)
    assert ranking.site == "." and ranking.units[0] == int(exact.argmax())


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda network: nn.DataParallel(nn.DataParallel(network))])
def test_a_wrapped_network_is_swept_as_what_it_wraps(wrap, vgg, images, close, tmp_path):
    wrapped = wrap(vgg)
    lesions = {"none": None, "a": Ablate("conv4_1", fraction=0.3), "path": Shift("features.22", by=0.1)}
    outputs, wanted = sweep(wrapped, lesions, images), sweep(vgg, lesions, images)
    for name in lesions:
        close(outputs[name], wanted[name])
    assert not make_plan(wrapped, lesions, images).why_whole
    units, alone = unit_sweep(wrapped, "conv5_3", images), unit_sweep(vgg, "conv5_3", images)
    close(units["features.29"], alone["features.29"])

    def loss(outputs, numbers):
        return outputs.sum(1)

    for run in (effects, first_order):
        torch.testing.assert_close(run(wrapped, "conv5_3", images, loss), run(vgg, "conv5_3", images, loss))
    sweep_to_folder(tmp_path, wrapped, lesions, images)
    sweep_to_folder(tmp_path, vgg, lesions, images)
    close(read_sweep(tmp_path)["a"], wanted["a"])


def test_a_part_that_is_wrapped_is_swept(swept_as_naive):
    network = nn.Sequential(
        nn.DataParallel(nn.Sequential(nn.Linear(6, 4), nn.ReLU())), nn.Linear(4, 2)
    ).eval()
    images = torch.rand(4, 6)
    lesions = {"none": None, "a": Ablate("0.module.0", units=[1]), "b": Shift("0", by=1.0)}
    swept_as_naive(network, lesions, images)


class Answer(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.kind = nn.Linear(6, 5), nn.Linear(5, 3), kind

    def forward(self, x):
        hidden = self.first(x)
        logits = self.second(torch.relu(hidden))
        if self.kind == "dictionary":
            return {"logits": logits, "hidden": hidden, "loss": logits.new_zeros(())}
        if self.kind == "tuple":
            return logits, hidden
        return [logits, (hidden, None)]


READOUTS = {
    "dictionary": lambda output: output["logits"],
    "tuple": lambda output: output[0],
    "nested": lambda output: output[1][0],
}


@pytest.mark.parametrize("kind", READOUTS)
def test_several_outputs_are_read_by_a_readout_and_refused_without(kind, naive, close):
    network, images = Answer(kind).eval(), torch.rand(4, 6)
    lesions = {"none": None, "a": Ablate("first", units=[1]), "b": Scale("second", by=2.0)}
    assert not make_plan(network, lesions, images).why_whole
    outputs = sweep(network, lesions, images, readout=READOUTS[kind])

    class Read(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return READOUTS[kind](self.network(x))

    for name in lesions:
        inner = {"a": Ablate("network.first", units=[1]), "b": Scale("network.second", by=2.0)}.get(name)
        close(outputs[name], naive(Read(), inner, images))
    for run in (lambda: sweep(network, lesions, images), lambda: unit_sweep(network, "first", images)):
        with pytest.raises(SweepError, match="readout"):
            run()
