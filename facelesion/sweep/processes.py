"""One switch for the processes or GPUs of a machine: they share a folder, and its locks share out the batches."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facelesion.sweep.errors import SweepError


def run_processes(count: int, folder: Path, model: nn.Module, *given: Any) -> None:
    """Runs `sweep_to_folder` in `count` fresh processes at once, and waits for all of them."""
    threads = max(1, torch.get_num_threads() // count)
    # Never forked: a forked copy of a process that has run torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_work, args=(number, threads, folder, model, *given), daemon=True)
        for number in range(count)
    ]
    for worker in workers:
        try:
            worker.start()
        except (pickle.PicklingError, AttributeError, TypeError) as problem:
            raise SweepError(
                f"processes: the network, its hooks or the readout cannot be handed to another process ({problem}): "
                "define functions by name at the top of a file, or use processes=1"
            ) from problem
    for worker in workers:
        worker.join()
    failed = [worker.exitcode for worker in workers if worker.exitcode]
    if failed:
        raise SweepError(
            f"{len(failed)} of {count} processes ended early (exit status {failed[0]}; their messages are above): "
            "run the sweep again to go on, with processes=1 to see the error here"
        )


def _work(
    number: int,
    threads: int,
    folder: Path,
    model: nn.Module,
    lesions: Any,
    images: torch.Tensor,
    seed: int,
    calibration: Any,
    ids: Any,
    progress: bool,
    readout: Any,
    options: Any,
    part_bytes: int,
    changes: bool,
) -> None:
    from facelesion.sweep.store import sweep_to_folder

    torch.set_num_threads(threads)
    if next(iter(model.parameters()), torch.empty(0)).is_cuda:
        model = model.to(f"cuda:{number % torch.cuda.device_count()}")
    sweep_to_folder(
        folder, model, lesions, images, seed=seed, calibration=calibration, ids=ids, progress=progress and number == 0,
        readout=readout, options=options, part_bytes=part_bytes, changes=changes,
    )  # fmt: skip
