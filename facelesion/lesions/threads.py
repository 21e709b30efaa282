"""Large work shared out once: every thread does whole pieces, and no operation waits for the slower thread.

PyTorch shares each operation out between threads and waits at its end. A hundred short operations in a row wait a
hundred times; on a machine with a neighbour that computes, each wait can last a time slice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Done = TypeVar("Done")

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}  # by process, for a forked one has none of its parent's threads
_making = threading.Lock()


def in_pieces(work: Callable[[Piece], Done], pieces: Sequence[Piece]) -> list[Done]:
    """`work` on every piece, in order of the pieces, by as many threads as PyTorch would use, each on its own.

    Example:
        >>> in_pieces(lambda number: number + 1, [1, 2, 3])
        [2, 3, 4]
    """
    count = min(torch.get_num_threads(), len(pieces))
    if count < 2:
        return [work(piece) for piece in pieces]
    return list(_pool(torch.get_num_threads()).map(work, pieces))


def _pool(count: int) -> ThreadPoolExecutor:
    """A pool of threads in which every operation of PyTorch runs on one thread."""
    key = (os.getpid(), count)
    with _making:
        if key not in _pools:
            pool = ThreadPoolExecutor(count, thread_name_prefix="facelesion")
            started = threading.Barrier(count)

            def settle(_: int) -> None:
                torch.get_num_threads()  # a thread's first question sets its number; only then can it be another
                torch.set_num_threads(1)
                started.wait()  # so that each of the threads gets one of these

            list(pool.map(settle, range(count)))
            # The number is the calling thread's own, but what threads to come begin with is not.
            torch.set_num_threads(count)
            _pools[key] = pool
        return _pools[key]
