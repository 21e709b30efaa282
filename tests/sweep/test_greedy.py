"""The greedy ranking finds the units that a task needs, as trying them by hand would; raced it finds the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.lesions import Ablate
from facelesion.sweep import Options, SweepError, greedy_ranking, kept
from facelesion.sweep.task import Task


def test_the_ranking_is_that_of_trying_every_unit_by_hand(vgg, images, loss, naive):
    numbers = torch.arange(5)
    chosen: list[int] = []
    for _ in range(2):
        trials = {
            unit: float(loss(naive(vgg, Ablate("conv3_1", units=[*chosen, unit]), images), numbers).mean())
            for unit in range(32)
            if unit not in chosen
        }
        chosen += sorted(trials, key=lambda unit: -trials[unit])[:3]
    ranking = greedy_ranking(vgg, "conv3_1", images, loss, fraction=6 / 32, step=3 / 32, batch_size=2)
    assert ranking.site == "features.11" and ranking.rounds == (3, 3)
    assert list(ranking.units) == chosen
    last = naive(vgg, Ablate("conv3_1", units=[*chosen[:3], chosen[3]]), images)
    assert ranking.losses[3] == pytest.approx(float(loss(last, numbers).mean()), rel=1e-4)


def test_a_pattern_of_several_sites_is_refused(vgg, images, loss):
    with pytest.raises(SweepError, match="names 3 sites"):
        greedy_ranking(vgg, "conv5_*", images, loss)


PICTURES = torch.rand(160, 3, 12, 12, generator=torch.Generator().manual_seed(4))
LABELS = torch.arange(160) % 4


def small(kind: str) -> nn.Module:
    """A network whose site is its third step, in place or not, straight on or beside another path."""
    torch.manual_seed(1)

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act = nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(inplace=True)
            self.inner, self.last = nn.Conv2d(24, 24, 3, padding=1), nn.Linear(24, 4)

        def forward(self, x):
            x = self.act(self.first(x))
            return self.last((x + self.inner(x).relu()).mean((2, 3)))

    straight = nn.Sequential(
        nn.Conv2d(3, 24, 3), nn.ReLU(inplace=True), nn.Conv2d(24, 8, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip
    return (Beside() if kind == "beside" else straight).eval()


SITES = {"straight": "1", "beside": "inner"}


def told(outputs, numbers):
    return nn.functional.cross_entropy(4 * outputs, LABELS[numbers], reduction="none")


@pytest.fixture(params=SITES)
def case(request):
    return small(request.param), SITES[request.param]


def test_raced_it_is_the_exhaustive_ranking_for_ten_orders_of_the_images(case):
    network, site = case
    whole = greedy_ranking(network, site, PICTURES, told, fraction=0.25, step=0.1)
    assert whole.certificate.risk == 0 and whole.certificate.evaluations == whole.certificate.exhaustive
    for seed in range(10):
        raced = greedy_ranking(network, site, PICTURES, told, fraction=0.25, step=0.1, risk=0.01, seed=seed)
        assert (raced.units, raced.rounds) == (whole.units, whole.rounds)
        assert raced.losses == pytest.approx(whole.losses, rel=1e-5)
        assert raced.certificate.risk == 0.01 and raced.certificate.assumes == "normal"
        assert raced.certificate.exhaustive == whole.certificate.exhaustive
        assert raced.certificate.evaluations < 0.6 * whole.certificate.evaluations
        assert raced.certificate.screened == 3 * 160


def test_a_race_repeats_itself(case):
    network, site = case
    one, two = (greedy_ranking(network, site, PICTURES, told, risk=0.05, seed=3) for _ in range(2))
    assert one == two


def test_what_is_walked_once_answers_as_what_is_walked_every_round(case, monkeypatch):
    network, site = case
    options = Options(batch_size=48)
    task, plain = (Task(network, site, PICTURES, told, options) for _ in range(2))
    task.keep()
    assert task.kept is not None and plain.kept is None
    some = torch.tensor([7, 3, 99, 150, 4])
    for gone in ((), (2, 5)):
        left = [unit for unit in range(24) if unit not in gone]
        found = [each.apart(some, units=left, removed=gone) for each in (task, plain)]
        torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)
        # And bit for bit where the same images go together.
        assert torch.equal(*(each.summed(units=left, removed=gone) for each in (task, plain)))
        for one, two in zip(*(each.estimated(gone) for each in (task, plain)), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    before = greedy_ranking(network, site, PICTURES, told)
    monkeypatch.setattr(kept, "SHARE", 0.0)  # no memory for it
    assert greedy_ranking(network, site, PICTURES, told).units == before.units


def test_the_first_order_estimate_without_units_is_that_of_a_network_that_lost_them(case):
    network, site = case
    gone = (0, 3)
    damaged, known = Task(network, site, PICTURES, told, batch_size=32).estimated(gone)
    module = network.get_submodule(site)

    def cut(_, __, output):
        output = output.clone()
        output[:, list(gone)] = 0
        return output

    handle = module.register_forward_hook(cut)
    losses, expected = Task(network, site, PICTURES, told, batch_size=32).estimated()
    handle.remove()
    torch.testing.assert_close(damaged, losses)
    torch.testing.assert_close(known, expected)
    assert (known[:, list(gone)] == 0).all() and known[:, 1].abs().sum() > 0


def test_few_images_are_ranked_exhaustively_and_the_certificate_says_so(case):
    network, site = case
    ranking = greedy_ranking(network, site, PICTURES[:20], told, risk=0.01)
    assert ranking.units == greedy_ranking(network, site, PICTURES[:20], told).units
    assert ranking.certificate.risk == 0 and str(ranking.certificate).startswith("exhaustive")


def test_bounds_by_the_range_of_the_loss_assume_nothing(case):
    network, site = case
    images = PICTURES.repeat(4, 1, 1, 1)

    def bounded(outputs, numbers):
        return 1 - torch.softmax(outputs, 1)[torch.arange(len(outputs)), LABELS[numbers % 160]]

    whole = greedy_ranking(network, site, images, bounded, fraction=0.1)
    raced = greedy_ranking(network, site, images, bounded, fraction=0.1, risk=0.05, within=(0, 1))
    assert raced.units == whole.units and raced.certificate.assumes == "nothing"
    assert "normal" not in str(raced.certificate)
    with pytest.raises(SweepError, match="there is a loss of"):
        greedy_ranking(network, site, images, bounded, risk=0.05, within=(0, 0.2))


def test_a_loss_without_a_gradient_is_ranked_exhaustively_or_refused(case):
    network, site = case

    def wrong(outputs, numbers):
        return (outputs.argmax(1) != LABELS[numbers]).double()

    assert greedy_ranking(network, site, PICTURES, wrong).units
    with pytest.raises(SweepError, match="no gradient leads from it"):
        greedy_ranking(network, site, PICTURES, wrong, risk=0.01)


@pytest.mark.parametrize("risk", [-0.1, 0.5, 1, True, "little", float("nan")])
def test_a_risk_that_is_none_is_refused(case, risk):
    network, site = case
    with pytest.raises(SweepError, match="risk is at least 0"):
        greedy_ranking(network, site, PICTURES, told, risk=risk)
