"""A network that cannot be swept exactly is refused, and one that looks as if it could not is swept all the same."""

from __future__ import annotations

import random

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from facelesion.lesions import Ablate, Noise, Scale, Shift, lesioned
from facelesion.sweep import (
    Options,
    SweepError,
    effects,
    first_order,
    greedy_ranking,
    make_plan,
    sweep,
    unit_sweep,
)


class Between(nn.Module):
    """Two layers, and a function of the whole batch between them."""

    def __init__(self, mix) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.mix = nn.Linear(6, 6), nn.Linear(6, 3), mix

    def forward(self, x):
        return self.second(self.mix(self.first(x)))


def attention(x):
    return torch.softmax(x @ x.T, 1) @ x


MIXING = {
    "batch statistics": nn.BatchNorm1d(6, track_running_stats=False),
    "mean subtraction": lambda x: x - x.mean(),
    "mean of the batch": lambda x: x - x.mean(0, keepdim=True),
    "attention over the batch": attention,
    "cumsum": lambda x: x.cumsum(0),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1, 0),
    "sort": lambda x: x.sort(0).values,
    "softmax over the batch": lambda x: x.softmax(0),
    "largest of the batch": lambda x: x / x.abs().max(),
    "size of the batch": lambda x: x / x.shape[0],
    "pairs": lambda x: x.unflatten(0, (-1, 2)).flip(1).flatten(0, 1),
    "norm over the batch": lambda x: functional.normalize(x, dim=0),
    "one row for all": lambda x: x[:1].expand_as(x),
    "outer product": lambda x: x + (x @ x.T).sum(1, keepdim=True),
}
LESIONS = {
    "none": None,
    "a": Ablate("first", units=[1]),
    "b": Scale("first", by=3.0),
    "c": Shift("second", by=1.0),
}


@pytest.mark.parametrize("name", MIXING)
def test_a_network_that_mixes_the_rows_of_a_batch_is_refused(name, close):
    network, images = Between(MIXING[name]).eval(), torch.rand(6, 6)
    for run in (
        lambda: sweep(network, LESIONS, images),
        lambda: unit_sweep(network, "first", images),
        lambda: effects(network, "first", images, lambda outputs, numbers: outputs.sum(1)),
        lambda: first_order(network, "first", images, lambda outputs, numbers: outputs.sum(1)),
        lambda: make_plan(network, LESIONS, images),
    ):
        with pytest.raises(SweepError, match="mixes the rows"):
            run()
    # Whole, on the user's own batches, it gives what plain hooks give.
    outputs = sweep(network, LESIONS, images, options=Options(trace=False))
    for name, lesion in LESIONS.items():
        with torch.no_grad(), lesioned(network, lesion):
            close(outputs[name], network(images))


def test_the_case_of_the_batch_norm_without_running_statistics_is_refused():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.Flatten()
    ).eval()
    for images in (torch.rand(4, 3, 8, 8), torch.rand(1, 3, 8, 8), torch.zeros(3, 3, 8, 8)):
        with pytest.raises(SweepError, match="mixes the rows"):
            sweep(network, {"none": None, "a": Ablate("0", units=[1])}, images)


def test_answers_that_are_no_row_per_image_are_refused():
    images = torch.rand(4, 6)
    for mix in (lambda x: x.mean(0), lambda x: x.T, lambda x: x.sum()):
        with pytest.raises(SweepError, match="one row per image|mixes the rows"):
            sweep(nn.Sequential(nn.Linear(6, 6), Call(mix)).eval(), {"a": Ablate("0", units=[1])}, images)
    with pytest.raises(SweepError, match="mixes the rows"):
        sweep(nn.Linear(6, 6).eval(), {"none": None}, images, readout=lambda output: output - output.mean(0))


class Call(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("norm", [nn.InstanceNorm1d(6), nn.GroupNorm(2, 6), nn.LayerNorm(6), nn.Softmax(1)])
def test_norms_of_one_image_are_swept(norm, swept_as_naive):
    network = nn.Sequential(nn.Linear(5, 4), nn.Conv1d(6, 6, 1), Call(lambda x: x.mean(2)), norm).eval()
    if isinstance(norm, nn.InstanceNorm1d):
        network = nn.Sequential(nn.Linear(5, 4), nn.Conv1d(6, 6, 1), norm).eval()
    images = torch.rand(5, 6, 5)
    lesions = {"none": None, "a": Ablate("1", units=[1, 2]), "n": Noise("0", std=0.3)}
    swept_as_naive(network, lesions, images)


class Capped(nn.Module):
    """Mixes rows only where one of them is far out, as a damaged one may be."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.first(x)
        return self.second(x / torch.clamp(x.abs().max() / 50, min=1.0))


def test_rows_that_meet_only_under_damage_are_run_apart(swept_as_naive):
    network, images = Capped().eval(), torch.rand(4, 6)
    lesions = {"none": None, "a": Ablate("first", units=[1]), "b": Scale("first", by=1e4)}
    assert "damaged" in make_plan(network, lesions, images).why_whole
    swept_as_naive(network, lesions, images)


def test_units_whose_removal_would_let_rows_meet_are_run_apart_too(close):
    network, images = Capped().eval(), torch.rand(4, 6)
    with torch.no_grad():
        network.first.weight *= 10  # what is left without a unit may lie beyond the cap
    units = unit_sweep(network, "first", images)["first"]
    for unit in range(6):
        with torch.no_grad(), lesioned(network, Ablate("first", units=[unit])):
            close(units[unit], network(images))


def test_rows_that_would_meet_only_ahead_of_all_damage_need_not_be_run_apart(swept_as_naive):
    network, images = Capped().eval(), torch.rand(6, 6)
    images[4] *= 1e4  # so that rows of the user's own batch meet, as they do in a loop of hooks
    lesions = {"none": None, "a": Ablate("second", units=[1]), "b": Scale("second", by=1e4)}
    assert not make_plan(network, lesions, images).why_whole
    swept_as_naive(network, lesions, images)


class LargeFirst(nn.Module):
    """Rows meet under damage in a first map so large that few images at a time walk through it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 600, 1), nn.Conv2d(600, 3, 1)

    def forward(self, x):
        x = self.first(x)
        x = x / torch.clamp(x.abs().max() / 50, min=1.0)
        return self.second(x[:, :, ::8, ::8]).mean((2, 3))


def test_rows_that_would_meet_in_large_maps_ahead_of_all_damage_are_run_apart(swept_as_naive):
    network, images = LargeFirst().eval(), torch.rand(12, 1, 64, 64)
    images[9] *= 1e4
    lesions = {"none": None, "a": Ablate("second", units=[1])}
    assert "damaged" in make_plan(network, lesions, images).why_whole
    swept_as_naive(network, lesions, images)


class TimeMajor(nn.Module):
    """Folds time and images into one axis, time first: were that repeated like a batch, it would be read wrongly."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.fold, self.second = nn.Linear(5, 5), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x):
        n, t, d = x.shape
        x = self.first(x)
        folded = torch.relu(self.fold(x.transpose(0, 1).reshape(t * n, d)))
        return self.second(x.mean(1)) * folded.view(t, n, 3).mean(0)


def test_a_cut_that_changes_the_answer_is_not_made(naive, close, swept_as_naive):
    network, images = TimeMajor().eval(), torch.rand(4, 3, 5)
    lesions = {
        "none": None,
        "a": Shift("second", by=1.0),
        "b": Scale("first", by=2.0),
        "c": Ablate("second", units=[0]),
    }
    assert not make_plan(network, lesions, images).why_whole
    swept_as_naive(network, lesions, images)
    units = unit_sweep(network, "second", images)["second"]
    for unit in range(3):
        close(units[unit], naive(network, Ablate("second", units=[unit]), images))


class Functional(nn.Module):
    """Dropout as a function."""

    def __init__(self, inner=None) -> None:
        super().__init__()
        self.first, self.second, self.inner = nn.Linear(6, 6), nn.Linear(6, 3), inner

    def forward(self, x):
        x = functional.dropout(self.first(x), 0.3, training=self.training)
        return self.second(x)


class Always(nn.Module):
    def __init__(self, draw) -> None:
        super().__init__()
        self.first, self.draw = nn.Linear(6, 6), draw

    def forward(self, x):
        return self.first(x) * self.draw(x)


class Rarely(nn.Module):
    """Leaves a layer out once in a hundred times, by Python's own random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        x = self.first(x)
        return x if self.training and random.random() < 0.01 else self.second(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(6, 6, num_layers=2, dropout=0.5, batch_first=True)

    def forward(self, x):
        return self.first(x[:, None])[0][:, 0]


def convnext():
    block = torchvision.models.convnext.CNBlock(4, 1.0, 0.5)
    return nn.Sequential(nn.Conv2d(3, 4, 1), block, nn.AdaptiveAvgPool2d(1), nn.Flatten())


CHANCE = {
    "functional dropout": (lambda: Functional().train(), (6,), "first"),
    "the dropout of an LSTM": (lambda: Recurrent().train(), (6,), "first"),
    "ConvNeXt's stochastic depth": (lambda: convnext().train(), (3, 5, 5), "0"),
    "layers left out rarely": (lambda: Rarely().train(), (6,), "first"),
    "attention's own dropout": (
        lambda: nn.TransformerEncoderLayer(6, 2, 8, 0.2, batch_first=True).eval().train(),
        (4, 6),
        "linear1",
    ),
    "noise in evaluation mode": (lambda: Always(torch.rand_like).eval(), (6,), "first"),
    "one number a forward": (lambda: Always(lambda x: torch.rand(())).eval(), (6,), "first"),
    "Python's random numbers": (lambda: Always(lambda x: random.random()).eval(), (6,), "first"),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout()), (6,), "0"),
    "batch statistics": (lambda: nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), (6,), "0"),
}


@pytest.mark.parametrize("name", CHANCE)
def test_a_network_that_answers_at_random_is_refused_everywhere(name):
    make, shape, site = CHANCE[name]
    network, images = make(), torch.rand(4, *shape)
    before = {key: value.clone() for key, value in network.state_dict().items()}

    def loss(outputs, numbers):
        return outputs.flatten(1).sum(1)

    for run in (
        lambda: sweep(network, {"none": None}, images),
        lambda: sweep(network, {"none": None}, images, options=Options(trace=False)),
        lambda: unit_sweep(network, site, images),
        lambda: effects(network, site, images, loss),
        lambda: first_order(network, site, images, loss),
        lambda: greedy_ranking(network, site, images, loss),
    ):
        with pytest.raises(SweepError, match=r"model\.eval\(\)"):
            run()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_that_draws_numbers_and_does_not_use_them_is_swept():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(6, 3)

        def forward(self, x):
            chance = random.random()
            return self.first(x) if not self.training or chance > 0.5 else x

    network, images = Idle().eval(), torch.rand(3, 6)
    torch.testing.assert_close(sweep(network, {"none": None}, images)["none"], network(images).detach())


class Counting(nn.Module):
    """Answers by how often it was asked: in a buffer, or in a number or a list of its own."""

    def __init__(self, kind) -> None:
        super().__init__()
        self.first, self.kind = nn.Linear(6, 3), kind
        self.register_buffer("calls", torch.zeros(()))
        self.number, self.numbers = 0, [0]

    def forward(self, x):
        if self.kind == "buffer":
            self.calls += 1
        if self.kind == "number":
            self.number += 1
        if self.kind == "list":
            self.numbers[0] += 1
        scale = int(self.calls) + self.number + self.numbers[0]
        return self.first(x) * (2.0 if scale % 10 == 0 else 1.0)


@pytest.mark.parametrize("kind", ["buffer", "number", "list"])
def test_a_network_that_changes_itself_is_refused_and_left_as_it_was(kind):
    network, images = Counting(kind).eval(), torch.rand(4, 6)
    with pytest.raises(SweepError, match="changes the network's own"):
        sweep(network, {"none": None, "a": Ablate("first", units=[0])}, images)
    assert (int(network.calls), network.number, network.numbers) == (0, 0, [0])


class Numbering(nn.Module):
    """Counts its forwards, and takes no notice of the count."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.number = nn.Linear(6, 5), nn.Linear(5, 3), 0
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.seen += len(x)
        self.number += 1
        return self.second(torch.relu(self.first(x)))


def test_a_count_that_no_answer_hangs_on_is_no_harm_and_is_left_as_it_was(naive, close):
    network, images = Numbering().eval(), torch.rand(4, 6)
    lesions = {"none": None, "a": Ablate("first", units=[0]), "b": Noise("second", std=0.2)}
    outputs = sweep(network, lesions, images)
    units = unit_sweep(network, "first", images)["first"]
    assert (int(network.seen), network.number) == (0, 0)
    for name, lesion in lesions.items():
        close(outputs[name], naive(network, lesion, images))
    close(units[0], outputs["a"])


def test_a_network_without_weights_yet_is_given_them_by_a_first_forward(swept_as_naive):
    network, images = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(3)).eval(), torch.rand(4, 6)
    lesions = {"none": None, "a": Ablate("0", units=[0])}
    swept_as_naive(network, lesions, images)


class Noting(nn.Module):
    """Keeps what it last saw, and makes a table when it first runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)
        self.last, self.table, self.seen = None, None, []

    def forward(self, x):
        if self.table is None:
            self.table = torch.linspace(0, 1, 6)
        x = self.first(x) + self.table
        self.last = x
        self.seen.append(x.shape)
        return self.second(x)


def test_notes_that_a_forward_leaves_are_no_harm(naive, close):
    network, images = Noting().eval(), torch.rand(5, 6)
    lesions = {"none": None, "a": Ablate("first", units=[0]), "b": Ablate("first", units=[1])}
    plan = make_plan(network, lesions, images)
    assert not plan.why_whole
    assert network.last is None and network.table is None and network.seen == []
    outputs = sweep(network, lesions, images)
    assert not any(isinstance(value, torch.fx.Proxy) for value in vars(network).values())
    assert not [name for name in vars(network) if name.startswith("_tensor_constant")]
    for name, lesion in lesions.items():
        close(outputs[name], naive(network, lesion, images))


class Layout(nn.Module):
    def __init__(self, read) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.read, self.second = nn.Conv2d(3, 4, 3), read, nn.LazyLinear(3)

    def forward(self, x):
        return self.second(self.read(torch.relu(self.first(x))))


def raw(x):
    return torch.as_strided(x, (x.shape[0], x[0].numel()), (x[0].numel(), 1))


def branching(x):
    return x.flatten(1) if x.is_contiguous() else x.flatten(1).flip(1)


LAYOUTS = {
    "view": lambda x: x.view(x.shape[0], -1),
    "reshape": lambda x: x.reshape(x.shape[0], -1),
    "as_strided": raw,
    "a branch on the layout": branching,
    "a branch on the layout of a part": Call(branching),
    "strides": lambda x: x.flatten(1) * (1.0 if x.stride(1) > x.stride(3) else -1.0),
    "memory order": lambda x: x.flatten(1) * x.stride(3),
    "view after a permutation": lambda x: x.permute(0, 2, 3, 1).contiguous().view(x.shape[0], -1),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("chosen", [None, True])
def test_a_network_that_reads_memory_keeps_its_own_layout(name, chosen, naive, close):
    network, images = Layout(LAYOUTS[name]).eval(), torch.rand(4, 3, 7, 6)
    network(images)
    lesions = {
        "none": None,
        "a": Ablate("first", units=[1]),
        "b": Scale("first", by=2.0),
        "c": Noise("first", std=0.2),
    }
    outputs = sweep(network, lesions, images, options=Options(channels_last=chosen))
    for name, lesion in lesions.items():
        close(outputs[name], naive(network, lesion, images))
    units = unit_sweep(network, "first", images, options=Options(channels_last=chosen))["first"]
    for unit in range(4):
        close(units[unit], naive(network, Ablate("first", units=[unit]), images))


def test_images_that_come_in_another_layout_are_swept_in_it(swept_as_naive):
    images = torch.rand(4, 7, 6, 3).permute(0, 3, 1, 2)
    network = Layout(branching).eval()
    network(images)
    lesions = {"none": None, "a": Ablate("first", units=[1]), "b": Scale("first", by=2.0)}
    swept_as_naive(network, lesions, images)


def test_whoever_takes_outputs_in_keeps_gradients_and_precision():
    from facelesion.sweep import stream, stream_units

    network, images = nn.Sequential(nn.Linear(6, 3)).eval(), torch.rand(4, 6)
    options = Options(batch_size=2, autocast=torch.bfloat16)
    for part in [
        stream(network, {"none": None}, images, options=options),
        stream_units(network, "0", images),
    ]:
        for _ in part:
            assert torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.float16])
def test_networks_of_other_precision_are_swept(kind):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 3))
    network, images = network.to(kind).eval(), torch.rand(4, 3, 6, 6, dtype=kind)
    lesions = {"none": None, "a": Ablate("1", units=[1]), "b": Scale("0", by=2.0)}
    outputs = sweep(network, lesions, images) | {"c": unit_sweep(network, "1", images)["1"][1]}
    for name, lesion in (lesions | {"c": lesions["a"]}).items():
        with torch.no_grad(), lesioned(network, lesion):
            wanted = network(images)
        assert outputs[name].dtype == kind
        share = 1e-9 if kind == torch.float64 else 0.05
        assert float((outputs[name] - wanted).abs().max()) <= share * float(wanted.abs().max())
