"""Many lesions of many images, each computed from the first damaged step on only; equal to naive hooks to rounding."""

from .engine import Options, Part, Reducer, make_plan, stream, sweep
from .errors import SweepError
from .planner import Plan
from .units import UnitPart, stream_units, unit_sweep

__all__ = [
    "Options",
    "Part",
    "Plan",
    "Reducer",
    "SweepError",
    "UnitPart",
    "make_plan",
    "stream",
    "stream_units",
    "sweep",
    "unit_sweep",
]
