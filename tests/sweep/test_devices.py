"""Sweeps on a GPU that is not there: values are looked at before the first batch, and then no more."""

from __future__ import annotations

import pytest
import torch
from made_up_gpu import GPU, Answering, Watch, on_a_gpu
from torch import nn

from facelesion.lesions import Ablate, Clamp, Dropout, Noise, Prune, Scale
from facelesion.sweep import Options, stream, stream_units

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
