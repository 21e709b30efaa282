"""The device that a training runs on, where what comes before and after it is asked too."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import nn

from facelesion.products import float32_products
from facelesion.sweep.arguments import device_of
from facelesion.training.run import RunConfig


def device_of_run(config: RunConfig) -> torch.device:
    """The device that a run trains on; of several, this process's own.

    Example:
        >>> device_of_run(RunConfig("runs/mine", accelerator="cpu"))
        device(type='cpu')
    """
    if config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        if any(way in config.strategy for way in ("fork", "spawn")):
            return torch.device("cpu")  # a process that holds a GPU cannot be split
        turn = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
        return torch.device("cuda", int(turn) % torch.cuda.device_count())
    if config.accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@contextlib.contextmanager
def placed(config: RunConfig, *modules: nn.Module) -> Iterator[None]:
    """Networks on the device of a run, in full precision, and where they were before afterwards.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> with placed(RunConfig("runs/mine", accelerator="cpu"), network):
        ...     device_of(network)
        device(type='cpu')
    """
    before = [device_of(module) for module in modules]
    try:
        for module in modules:
            module.to(device_of_run(config))
        with float32_products():
            yield
    finally:
        for module, device in zip(modules, before, strict=True):
            module.to(device)
