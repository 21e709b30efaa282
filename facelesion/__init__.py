"""Damage a face network on purpose, and measure what it can no longer do.

>>> from facelesion import Ablate, lesioned
>>> from facelesion.models import vgg_face
>>> import torch
>>> model = vgg_face(width=0.1).eval()
>>> with lesioned(model, Ablate("conv5_*", fraction=0.2, seed=3)):
...     damaged = model(torch.ones(1, 3, 64, 64))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
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
        Shift,
        calibrate,
        lesioned,
        sites,
    )

__all__ = [
    "Ablate", "Calibration", "Clamp", "Dropout", "Keep", "Lesion", "Noise", "Prune", "Scale", "Shift", "calibrate",
    "lesioned", "sites",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Fetch a name of the lesion library when it is first used: `import facelesion` stays quick."""
    if name in __all__:
        from facelesion import lesions

        return getattr(lesions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
