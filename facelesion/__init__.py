"""Damage a face network on purpose, and measure what it can no longer do.

>>> import torch
>>> from facelesion import Ablate, get, lesioned
>>> subject = get("untrained")
>>> with lesioned(subject.module, Ablate("conv5_*", fraction=0.2, seed=3)):
...     damaged = subject.module(torch.ones(1, 3, 112, 112))

What is named here is what most programs need; each room (`facelesion.lesions`, `facelesion.sweep`, `facelesion.faces`,
`facelesion.data`, …) has more. `except facelesion.Error` catches whatever is the user's to mend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.extras import tell_what_is_missing
from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.errors import Error
    from facelesion.faces import Stimulus
    from facelesion.lesions import (
        Ablate,
        Calibration,
        Clamp,
        Dropout,
        Keep,
        Lesion,
        Noise,
        Prune,
        Scale,
        Series,
        Shift,
        calibrate,
        lesioned,
        sites,
    )
    from facelesion.models import Subject, get
    from facelesion.study import Study, run_study
    from facelesion.sweep import sweep, unit_sweep

__version__ = "0.1.0"

__all__ = [
    "Ablate", "Calibration", "Clamp", "Dropout", "Error", "Keep", "Lesion", "Noise", "Prune", "Scale", "Series",
    "Shift", "Stimulus", "Study", "Subject", "calibrate", "get", "lesioned", "run_study", "sites", "sweep",
    "unit_sweep",
]  # fmt: skip

tell_what_is_missing()

# Imported when first asked for: `import facelesion` takes milliseconds and not even torch.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "errors": ("Error",),
        "lesions": (
            "Ablate", "Calibration", "Clamp", "Dropout", "Keep", "Lesion", "Noise", "Prune", "Scale", "Series", "Shift",
            "calibrate", "lesioned", "sites",
        ),
        "models": ("Subject", "get"),
        "faces": ("Stimulus",),
        "sweep": ("sweep", "unit_sweep"),
        "study": ("Study", "run_study"),
    },
)  # fmt: skip
