"""Work shared out over threads: the same answers, in order, whatever the number of threads."""

from __future__ import annotations

import threading

import pytest
import torch

from facelesion.lesions import philox
from facelesion.lesions.threads import in_pieces


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_pieces_are_done_by_several_threads_and_come_back_in_order(two_threads):
    meet = threading.Barrier(2, timeout=20)

    def work(number: int) -> tuple[int, str]:
        meet.wait()
        return number, threading.current_thread().name

    done = in_pieces(work, [0, 1])
    assert [number for number, _ in done] == [0, 1]
    assert len({name for _, name in done}) == 2


def test_every_operation_within_a_piece_runs_on_one_thread_and_the_caller_keeps_its_own(two_threads):
    assert in_pieces(lambda _: torch.get_num_threads(), [0, 1]) == [1, 1]
    assert torch.get_num_threads() == 2


def test_an_error_in_a_piece_is_the_callers(two_threads):
    with pytest.raises(ZeroDivisionError):
        in_pieces(lambda number: 1 // number, [1, 0])


def test_random_numbers_are_the_same_on_one_thread_and_on_two():
    keys, images, units = torch.tensor([[1, 2], [3, 4]]), torch.arange(8), torch.arange(16)
    before = torch.get_num_threads()
    drawn = []
    for count in (1, 2):
        torch.set_num_threads(count)
        drawn.append(philox.normal(keys, images, units, 1000))
    torch.set_num_threads(before)
    assert torch.equal(*drawn)
