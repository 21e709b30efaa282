"""Sweeps on a GPU that is not there: values are looked at before the first batch, and then no more."""

from __future__ import annotations

import made_up_works as works
import pytest
import torch
from made_up_gpu import GPU, Answering, Held, Watch, on_a_gpu
from torch import nn

from facelesion.lesions import Ablate, Clamp, Dropout, Noise, Prune, Scale
from facelesion.products import rounds
from facelesion.sweep import Options, make_plan, stream, stream_units, sweep

BATCHES, SIZE = 3, 4
OPTIONS = Options(batch_size=SIZE, budget=1 << 24, rows=8)
LESIONS = {
    "none": None, "a": Ablate("conv2_1", fraction=0.3), "n": Noise("conv2_1", std=0.5), "d": Dropout("conv1_1", p=0.4),
    "c": Clamp("conv2_2", max=0.5), "p": Prune("conv2_2", fraction=0.5), "s": Scale("conv2_2", by=0.5),
    "b": Noise("conv1_1", std=0.2) + Ablate("conv2_2", units=[1]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_driver(monkeypatch):
    """The state of a GPU's own generator is a driver's to tell."""
    monkeypatch.setattr("facelesion.sweep.trial.generators_at", lambda device: [])


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1_1, self.conv2_1, self.conv2_2 = (nn.Conv2d(n, 8, 3, padding=1) for n in (3, 8, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.conv2_1(self.conv1_1(x).relu()).relu()
        return self.head(self.conv2_2(x).relu().mean((2, 3)))


def looked_at(parts) -> list[tuple[int, int]]:
    """What was fetched and brought before each batch was done, and at the end."""
    seen, begun = [], -1
    with Answering() as answering, Watch() as watch:
        for part in parts():
            assert part.outputs.device.type == GPU
            if part.rows.start != begun:
                begun = part.rows.start
                seen.append((answering.fetched, watch.brought.total()))
        seen.append((answering.fetched, watch.brought.total()))
    return seen


@torch.no_grad()
def test_a_sweep_fetches_and_brings_nothing_once_its_first_batch_is_on_its_way():
    with on_a_gpu(Network().eval(), torch.rand(BATCHES * SIZE, 3, 8, 8)) as (model, images):
        seen = looked_at(lambda: stream(model, LESIONS, images, options=OPTIONS))
    assert len(seen) == BATCHES + 1 and len({fetched for fetched, _ in seen}) == 1
    assert seen[1:-1] == seen[2:]


@torch.no_grad()
def test_answers_come_to_main_memory_together_whatever_the_number_of_lesions():
    def waits(run) -> int:
        with on_a_gpu(Network().eval(), torch.rand(BATCHES * SIZE, 3, 8, 8)) as (model, images):
            with Answering(), Watch() as watch:
                run(model, images)
        return watch.brought.total()

    def streamed(model, images):
        for _ in stream(model, LESIONS, images, options=OPTIONS):
            pass

    def swept(model, images):
        found = sweep(model, LESIONS, images, options=OPTIONS)
        assert {(output.device.type, tuple(output.shape)) for output in found.values()} == {("cpu", (12, 3))}

    assert waits(swept) == waits(streamed) + 1


@torch.no_grad()
def test_a_sweep_of_units_asks_one_question_a_batch_whatever_the_number_of_units():
    """Whether one unit outweighs all others, which decides how exact a difference is."""
    with on_a_gpu(Network().eval(), torch.rand(BATCHES * SIZE, 3, 8, 8)) as (model, images):
        seen = looked_at(lambda: stream_units(model, "conv2_1", images, options=OPTIONS))
        alone = looked_at(lambda: stream_units(model, "conv2_1", images, units=[1], options=OPTIONS))
    for found in (seen, alone):
        steps = [after[0] - before[0] for before, after in zip(found[:-1], found[1:], strict=True)]
        assert max(steps) <= 2 and sum(steps) <= 2 * (BATCHES - 1)  # its two numbers come together
        brought = [after[1] - before[1] for before, after in zip(found[:-1], found[1:], strict=True)]
        assert max(brought) <= 1  # that answer


@pytest.mark.parametrize("by_image", [False, True])
def test_a_first_order_ranking_waits_for_no_batch_before_the_last(in_made_up_process, by_image):
    seen = in_made_up_process(works.ranked, by_image)
    assert seen == {"steps": [(0, 0), (0, 0)], "shape": (12, 8) if by_image else (8,)}


class Wide(nn.Module):
    """Large maps before small ones, as networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.head(nn.functional.avg_pool2d(self.conv2(self.conv1(x).relu()).relu(), 4).mean((2, 3)))


@pytest.mark.parametrize("lesion", [Ablate, Noise, Dropout, Clamp], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("site", ["conv1", "conv2"])
@torch.no_grad()
def test_what_a_sweep_holds_at_one_time_fits_its_budget_draws_and_all(lesion, site):
    dose = {Ablate: "fraction", Noise: "std", Dropout: "p", Clamp: "max"}[lesion]
    lesions = {f"{number}": lesion(site, **{dose: 0.1 + 0.01 * number}) for number in range(64)}
    options = Options(batch_size=8, budget=1 << 30)
    with on_a_gpu(Wide().eval(), torch.rand(8, 3, 128, 128)) as (model, images):
        with Answering():
            plan = make_plan(model, lesions, images, options)
        with Answering(), Held() as held:
            for part in stream(model, lesions, images, options=options):
                del part
    assert max(plan.rows.values()) >= 32, "several lesions at once, or nothing is shown"
    assert options.budget / 4 < held.most <= options.budget
    assert held.most <= 2 * plan.peak_bytes


@torch.no_grad()
def test_lesions_that_draw_go_fewer_at_a_time():
    with on_a_gpu(Wide().eval(), torch.rand(8, 3, 128, 128)) as (model, images), Answering():
        plans = [
            make_plan(model, {"a": lesion}, images, Options(budget=1 << 30))
            for lesion in (Ablate("conv1", fraction=0.5), Noise("conv1", std=1.0))
        ]
    ablated, drawn = (max(plan.rows.values()) for plan in plans)
    assert ablated > drawn > ablated / 3


@pytest.mark.parametrize("tf32", [False, True])
@torch.no_grad()
def test_products_are_rounded_only_where_that_is_asked_for(tf32, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not tf32)
    seen = set()

    class Told(Network):
        def forward(self, x):
            return Noted.apply(super().forward(x))

    class Noted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen.add(rounds())
            return x.clone()

    options = Options(batch_size=SIZE, tf32=tf32, trace=False)
    for part in stream(Told().eval(), LESIONS, torch.rand(SIZE, 3, 8, 8), options=options):
        assert rounds() is not tf32, "who takes a part is left in peace"
        del part
    assert seen == {tf32}
