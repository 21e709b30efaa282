"""Damage a PyTorch network on purpose. Needs torch, and nothing else of this project."""

from . import functional
from .calibration import Calibration, calibrate
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

__all__ = [
    "Ablate", "Calibration", "Clamp", "Compound", "Dropout", "IgnoredByCompile", "Keep", "Lesion", "LesionDidNotAct",
    "LesionError", "NoCalibration", "NoSuchSite", "NoSuchUnit", "Noise", "Prune", "RowsDoNotDivide", "Scale", "Shift",
    "aliases", "calibrate", "functional", "lesion_sites", "lesioned", "sites", "slots",
]  # fmt: skip
