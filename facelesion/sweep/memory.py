"""How much fits: a budget in bytes, chunks cut to it, and smaller chunks where it was too hopeful."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from facelesion.sweep.errors import SweepError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Of what is free, since other programs want some too and no estimate is exact.
SHARE = 0.5
# Convolutions of a processor gain nothing from longer batches once the weights are shared by this many rows.
ROWS_ON_CPU = 64
ROWS_ON_GPU = 2048
# Beyond this, a processor's rows no longer stay in its caches, and every step asks the system for fresh memory.
BYTES_ON_CPU = 128 << 20
# The doses of one draw run side by side, so what is kept is asked for at once.
DRAWS_ON_CPU = 64 << 20


def free_bytes(device: torch.device) -> int:
    """Memory that a process may still take on this device, in bytes: measured, and within the container's limit.

    Example:
        >>> free_bytes(torch.device("cpu")) > 0
        True
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds but does not use is ours as well.
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    found = [_meminfo(), _container("memory.max", "memory.current")]
    return min((value for value in found if value is not None), default=4 << 30)


def _meminfo() -> int | None:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return None


def _container(limit: str, used: str) -> int | None:
    """What a control group (version 2) leaves."""
    try:
        with open(f"/sys/fs/cgroup/{limit}") as upper, open(f"/sys/fs/cgroup/{used}") as current:
            text = upper.read().strip()
            return None if text == "max" else max(int(text) - int(current.read()), 0)
    except (OSError, ValueError):
        return None


def rows_that_fit(bytes_per_row: int, budget: int, device: torch.device) -> int:
    """Rows of a batch to run at once: as many as the budget holds, no more than the device gains from, at least one.

    Example:
        >>> rows_that_fit(1_000_000, 10_000_000, torch.device("cpu"))
        5
        >>> rows_that_fit(26_000_000, 10_000_000_000, torch.device("cpu"))
        5
    """
    most = ROWS_ON_CPU if device.type == "cpu" else ROWS_ON_GPU
    if device.type == "cpu":
        budget = min(budget, 2 * BYTES_ON_CPU)
    # Twice: a step's input and output, a library's own workspace.
    return max(1, min(most, budget // max(1, 2 * bytes_per_row)))


def bytes_for_draws(budget: int) -> int:
    """Bytes for random numbers that several lesions share: a small part of the budget."""
    return min(DRAWS_ON_CPU, budget // 8)


def out_of_memory(problem: BaseException) -> bool:
    """Whether an error says that memory ran out, on whichever device."""
    if isinstance(problem, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(problem, RuntimeError) and any(word in str(problem) for word in words)


def in_chunks(
    items: Sequence[Item],
    size: int,
    run: Callable[[Sequence[Item]], Result],
    alone: type[Exception] | tuple[type[Exception], ...] = (),
) -> Iterator[tuple[Sequence[Item], Result]]:
    """Runs all items, `size` at a time; where memory runs out, half as many at a time from there on.

    Args:
        items: what is to be run.
        size: how many at a time, at first.
        run: what runs some of them.
        alone: errors of several that one by one may not have: from there on they are run one by one.

    Raises:
        SweepError: not even one item fits.

    Example:
        >>> [list(chunk) for chunk, _ in in_chunks(range(5), 2, len)]
        [[0, 1], [2, 3], [4]]
    """
    begin, size = 0, max(1, size)
    while begin < len(items):
        chunk = items[begin : begin + size]
        try:
            result, smaller = run(chunk), 0
        except Exception as problem:
            scarce = out_of_memory(problem)
            if not scarce and (len(chunk) == 1 or not isinstance(problem, alone)):
                raise
            if len(chunk) == 1:
                raise SweepError(
                    "memory ran out with one lesion at a time: use a smaller batch_size, or free some memory"
                ) from problem
            smaller = max(1, len(chunk) // 2) if scarce else 1
        if smaller:
            # Outside the handler, so that the failed attempt's tensors are let go first.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            size = smaller
            continue
        yield chunk, result
        begin += len(chunk)
