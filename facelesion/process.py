"""What a command sets for its process before PyTorch is loaded: how threads wait, and how memory is taken.

OpenMP's threads turn in circles while they wait for the slowest of them, for a millisecond or more. Where another
process computes on the same cores, the one that is waited for gets no turn meanwhile, and a second of work takes ten:
so they wait asleep, and a busy neighbour takes its share of time and no more.

The system hands fresh memory out in pages of 4 KB, each with an interruption, which for a large feature map costs more
than what is computed in it: so PyTorch is told to ask for pages of 2 MB.

What is freed is kept for what comes next. Maps of many sizes leave holes that the next ones do not fit, and a long run
would grow by them: now and then it hands them back.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import sys
from pathlib import Path

# GNU's OpenMP, which PyTorch brings along on Linux, looks around for some microseconds before it sleeps: alone, that
# catches most waits. Other OpenMPs read the policy. NumPy's products are small here: one thread does them at once, and
# their last digits do not hang on how many cores there are. Only Linux takes notice of the last.
SETTINGS = {
    "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "OPENBLAS_NUM_THREADS": "1", "THP_MEM_ALLOC_ENABLE": "1",
}  # fmt: skip


def set_process_up() -> None:
    """Let threads wait asleep and memory come in large pages, in this process and in those that it starts.

    For a command that has a process of its own; a library leaves these to whoever started Python. What is set already
    stays as it is. The libraries read the settings when they are loaded: where that has happened, nothing is done.

    Example:
        >>> import torch
        >>> before = dict(os.environ)
        >>> set_process_up()  # too late: torch is here
        >>> dict(os.environ) == before
        True
    """
    if "torch" in sys.modules or "numpy" in sys.modules:
        return
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def give_memory_back() -> None:
    """Hand memory that was freed in this process back to the system, where its C library can do that (GNU's).

    It takes milliseconds, and what comes next has to ask for its memory anew: once before a sweep, not within it.

    Example:
        >>> give_memory_back()
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def started_by() -> str:
    """What started this process, to be typed again; empty where that was no script (a notebook, a prompt).

    Example:
        >>> started_by().endswith(shlex.join(sys.argv[1:]))
        True
    """
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) is None:
        return ""
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        start = ["python", "-m", spec.name.removesuffix(".__main__")]
    else:
        start = ["python", sys.argv[0]] if sys.argv[0].endswith(".py") else [Path(sys.argv[0]).name]
    return shlex.join([*start, *sys.argv[1:]])
