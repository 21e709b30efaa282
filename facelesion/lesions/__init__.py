"""Damage a PyTorch network on purpose. Needs torch; of this project, the root of errors and no other room."""

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

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
from .kinds import (
    KINDS,
    Ablate,
    Clamp,
    Compound,
    Dropout,
    Keep,
    Lesion,
    Material,
    Noise,
    Prune,
    Scale,
    Shift,
    UnitLesion,
)
from .locate import aliases, sites
from .rows import EitherAxis
from .series import Series
from .words import lesion_of_words

if TYPE_CHECKING:
    from .callback import LesionCallback

__all__ = [
    "KINDS", "Ablate", "Calibration", "Changes", "Clamp", "Compound", "Dropout", "EitherAxis", "IgnoredByCompile",
    "Keep", "Lesion", "LesionCallback", "LesionDidNotAct", "LesionError", "Material", "NoCalibration", "NoSuchSite",
    "NoSuchUnit", "Noise", "Prune", "RowsDoNotDivide", "Scale", "Series", "Shift", "UnitLesion", "aliases",
    "calibrate", "functional", "lesion_of_words", "lesion_sites", "lesioned", "relative_change", "sites", "slots",
]  # fmt: skip

# Lightning is imported by those who train, not by everyone.
__getattr__, __dir__ = lazily(__name__, {"callback": ("LesionCallback",)})
