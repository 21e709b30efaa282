"""A GPU that is not there, for tests: PyTorch's fake tensors have a device and a shape, and no values.

They raise where devices are mixed and where a value is fetched to the host (`.item`, `.tolist`, `nonzero`, boolean
indexing). `Watch` counts what is done, and what is brought from one device to another; `Answering` lets a value
be fetched, counts it, and makes one up: where values are looked at once, before the work begins. `Held` counts
memory. What asks for a driver has a process of its own (`made_up_process`).
"""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections import Counter
from collections.abc import Iterator

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = "cuda"
_NO_KERNEL = ("detach", "empty", "empty_like", "new_empty")


class _Asked(TorchFunctionMode):
    """Counts calls of functions that look, on a GPU, whether they went well; a fake tensor has no values to look at."""

    LOOK = (torch.linalg.inv, torch.linalg.solve, torch.linalg.cholesky, torch.linalg.eigh, torch.linalg.svd)

    def __init__(self, counted: Counter[str]) -> None:
        super().__init__()
        self.counted = counted

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if function in self.LOOK and any(each.device.type == GPU for each in tree_leaves(made)):
            self.counted[function.__name__] += 1
        return made


class Watch(TorchDispatchMode):
    """Counts operations, and those that bring something from one device to another and wait for it.

    `integers` is how many the largest tensor of them holds: what draws need on their way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.done: Counter[str] = Counter()
        self.brought: Counter[str] = Counter()
        self.integers = 0
        self._asked = _Asked(self.brought)

    def __enter__(self) -> Watch:
        self._asked.__enter__()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._asked.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        given = [each for each in tree_leaves(args) if isinstance(each, torch.Tensor)]  # lists of indices too
        if isinstance(made, torch.Tensor):
            waits = not (kwargs or {}).get("non_blocking", False)
            if made.dtype == torch.int64:
                self.integers = max(self.integers, made.numel())
            if not function.is_view and name not in _NO_KERNEL:
                self.done[name] += 1
            # A tensor that is made of numbers of the host's (torch.tensor) on a device is brought there too.
            if waits and any(each.device != made.device for each in given):
                self.brought[name] += 1
        return made


class Held(TorchDispatchMode):
    """The most bytes of a GPU's that results hold at one time: what is let go of no longer counts."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._holders: Counter[int] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else [made]:
            if isinstance(each, torch.Tensor) and each.device.type == GPU:
                memory = each.untyped_storage()
                self._hold(memory._cdata, memory.nbytes())
                weakref.finalize(each, self._let_go, memory._cdata, memory.nbytes())
        return made

    def _hold(self, memory: int, size: int) -> None:
        self._holders[memory] += 1
        if self._holders[memory] == 1:
            self.now += size
            self.most = max(self.most, self.now)

    def _let_go(self, memory: int, size: int) -> None:
        self._holders[memory] -= 1
        if not self._holders[memory]:
            self.now -= size


class Answering(TorchDispatchMode):
    """Where a value of the GPU's is fetched, says yes (or one), and counts it."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name not in ("_local_scalar_dense", "equal", "is_nonzero"):
            return function(*args, **(kwargs or {}))
        self.fetched += args[0].device.type == GPU
        if name != "_local_scalar_dense" or args[0].dtype == torch.bool:
            return True
        return 1.0 if args[0].dtype.is_floating_point else 1


@contextlib.contextmanager
def on_a_gpu(model: nn.Module, *tensors: torch.Tensor) -> Iterator[tuple[nn.Module, ...]]:
    """A copy of a network, and tensors, on a GPU that is not there.

    New tensors lie on the host unless they say otherwise, as on a real machine.
    """
    model = copy.deepcopy(model)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for module in model.modules():
            for name, value in list(module._parameters.items()):
                if value is not None:
                    there = mode.from_tensor(value.detach()).to(GPU)
                    module._parameters[name] = nn.Parameter(there, value.requires_grad)
            for name, value in list(module._buffers.items()):
                if value is not None:
                    module._buffers[name] = mode.from_tensor(value).to(GPU)
        yield model, *(mode.from_tensor(each).to(GPU) for each in tensors)
