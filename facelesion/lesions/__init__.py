"""Damage a PyTorch network on purpose. Needs torch, and nothing else of this project."""

from typing import Any

from . import functional
from .calibration import Calibration, calibrate
from .changes import Changes, relative_change
from .compiled import slots
from .context import lesion_sites, lesioned
from .errors import (
    IgnoredByCompile,
    LesionDidNotAct,
    LesionError,
    NoCalibration,
    NoSuchSite,
    NoSuchUnit,
    RowsDoNotDivide,
)
from .kinds import Ablate, Clamp, Compound, Dropout, Keep, Lesion, Noise, Prune, Scale, Shift
from .locate import aliases, sites
from .series import Series
from .words import lesion_of_words


def __getattr__(name: str) -> Any:
    # Lightning is imported by those who train, not by everyone.
    if name == "LesionCallback":
        from .callback import LesionCallback

        return LesionCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Ablate", "Calibration", "Changes", "Clamp", "Compound", "Dropout", "IgnoredByCompile", "Keep", "Lesion",
    "LesionCallback", "LesionDidNotAct", "LesionError", "NoCalibration", "NoSuchSite", "NoSuchUnit", "Noise", "Prune",
    "RowsDoNotDivide", "Scale", "Series", "Shift", "aliases", "calibrate", "functional", "lesion_of_words",
    "lesion_sites", "lesioned", "relative_change", "sites", "slots",
]  # fmt: skip
