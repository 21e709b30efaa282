"""How a command's threads wait for one another: asleep, so that a busy neighbour takes its share of time and no more.

OpenMP's threads turn in circles while they wait for the slowest of them, for a millisecond or more. Where another
process computes on the same cores, the one that is waited for gets no turn meanwhile, and a second of work takes ten.
"""

from __future__ import annotations

import os
import sys

# GNU's OpenMP, which PyTorch brings along on Linux, looks around for some microseconds before it sleeps: alone, that
# catches most waits. Other OpenMPs read the policy. NumPy's products are small here: one thread does them at once, and
# their last digits do not hang on how many cores there are.
SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "OPENBLAS_NUM_THREADS": "1"}


def wait_asleep() -> None:
    """Make threads that wait give their core away, in this process and in those that it starts.

    For a command that has a process of its own; a library leaves these to whoever started Python. What is set already
    stays as it is. The libraries read the settings when they are loaded: where that has happened, nothing is done.

    Example:
        >>> import torch
        >>> before = dict(os.environ)
        >>> wait_asleep()  # too late: torch is here
        >>> dict(os.environ) == before
        True
    """
    if "torch" in sys.modules or "numpy" in sys.modules:
        return
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
