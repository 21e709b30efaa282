"""What needs a CUDA device's driver, on a GPU that is not there: in a process of its own.

PyTorch asks the driver before it goes backward, samples grids or runs cuDNN's recurrent layers. A backend whose device
is told by Python has no driver: there fake tensors do all of it. It is registered for a whole process and for good,
hence a process of its own, in which `made_up_gpu.GPU` is that backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

NAME = "made_up"


@contextmanager
def process() -> Iterator[Callable[..., Any]]:
    """Gives `there(function, *arguments)`, whose answer or exception is the function's in that process."""
    with ProcessPoolExecutor(1, get_context("spawn"), _begin) as pool:
        yield lambda function, *given: pool.submit(_told, function, *given).result()


def available() -> bool:
    """Whether this PyTorch lets Python tell a device (2.9 or later)."""
    try:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend  # noqa: F401
    except ImportError:
        return False
    return True


def _told(function: Callable[..., Any], *given: Any) -> Any:
    try:
        return function(*given)
    except RuntimeError as error:  # PyTorch's own hold what cannot be sent
        raise RuntimeError(str(error)) from None


class _Absent:
    """What PyTorch asks a backend's module: one device, which is not there to be computed on."""

    def is_available(self) -> bool:
        return False

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_rng_state(self, device: object = None) -> Any:
        import torch

        return torch.zeros(16, dtype=torch.uint8)

    def set_rng_state(self, state: object, device: object = None) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[Any]:
        import torch

        return [torch.bfloat16]


def _begin() -> None:
    import made_up_gpu
    import torch
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    torch.set_num_threads(1)
    _setup_privateuseone_for_python_backend(NAME, _Absent())
    made_up_gpu.GPU = NAME
