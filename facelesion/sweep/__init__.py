"""Many lesions of many images, each computed from the first damaged step on only; equal to naive hooks to rounding.

The room and its main function have one name, so the room can be called: `facelesion.sweep(...)` and
`facelesion.sweep.sweep(...)` are the same.
"""

import sys
from types import ModuleType

from .answers import Reducer, make_plan, stream, sweep
from .engine import Part
from .errors import SweepError
from .greedy import Certificate, Ranking, greedy_ranking
from .options import Options
from .planner import Plan
from .precision import Rounding, rounding
from .rankings import (
    agreement,
    effects,
    effects_by_image,
    first_order,
    first_order_by_image,
)
from .store import read_changes, read_rounding, read_sweep, read_table, sweep_to_folder
from .units import UnitPart, stream_units, unit_sweep

__all__ = [
    "Certificate",
    "Options",
    "Part",
    "Plan",
    "Ranking",
    "Reducer",
    "Rounding",
    "SweepError",
    "UnitPart",
    "agreement",
    "effects",
    "effects_by_image",
    "first_order",
    "first_order_by_image",
    "greedy_ranking",
    "make_plan",
    "read_changes",
    "read_rounding",
    "read_sweep",
    "read_table",
    "rounding",
    "stream",
    "stream_units",
    "sweep",
    "sweep_to_folder",
    "unit_sweep",
]


class _Callable(ModuleType):
    """This module. Whatever was imported first, `from facelesion import sweep` gives what sweeps."""

    __call__ = staticmethod(sweep)


sys.modules[__name__].__class__ = _Callable
