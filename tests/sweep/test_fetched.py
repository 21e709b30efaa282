"""What is fetched from a device is what lay there, in its order, however much waits at a time."""

from __future__ import annotations

import pytest
import torch
from made_up_gpu import GPU, Watch, on_a_gpu
from torch import nn

from facelesion.sweep import fetched

SHAPES = [(3, 4), (), (0, 2), (5,), (2, 2, 2), (3, 4)]


@pytest.fixture
def elsewhere(monkeypatch):
    """Main memory taken for a device's: what comes from `.cpu()` is a copy, and counted."""

    class There(torch.Tensor):
        copies = 0

        @property
        def device(self):
            return torch.device(GPU)

        def cpu(self):
            There.copies += 1
            return self.as_subclass(torch.Tensor).clone()

    return There


def values(kind=torch.float32):
    torch.manual_seed(0)
    return [(torch.rand(shape) * 9).to(kind) for shape in SHAPES]


def test_tensors_come_back_as_they_were_one_copy_for_each_type(elsewhere):
    own = [*values(), *values(torch.int64), *values()]
    there = [each.as_subclass(elsewhere) for each in own]
    for expected, found in zip(own, fetched.fetched(there), strict=True):
        assert type(found) is torch.Tensor and found.dtype == expected.dtype and torch.equal(found, expected)
    assert elsewhere.copies == 2


def test_what_is_turned_comes_back_turned(elsewhere):
    own = torch.arange(24.0).view(2, 3, 4).transpose(0, 2)
    assert torch.equal(fetched.fetched([own.as_subclass(elsewhere)])[0], own)


def test_what_is_in_main_memory_is_not_copied():
    own = values()
    assert all(found is each for found, each in zip(fetched.fetched(own), own, strict=True))


@pytest.mark.parametrize(("room", "copies"), [(0, 6), (100, 2), (60, 2), (1 << 30, 1)])
def test_what_waits_lands_in_its_order_as_soon_as_there_is_no_room(elsewhere, room, copies, monkeypatch):
    monkeypatch.setattr(fetched, "ROOM", room)
    landed, arriving = [], fetched.Arriving()
    for each in values():
        arriving.take(each.as_subclass(elsewhere), landed.append)
    arriving.land()
    arriving.land()
    assert all(torch.equal(found, each) for found, each in zip(landed, values(), strict=True))
    assert elsewhere.copies == copies


def test_on_a_gpu_many_are_one_wait():
    with on_a_gpu(nn.Identity(), torch.rand(40, 3)) as (_, rows), Watch() as watch:
        found = fetched.fetched(list(rows.split(1)))
    assert len(found) == 40 and watch.brought.total() == 1
