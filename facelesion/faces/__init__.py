"""Faces: landmarks, named regions, alignment, and stimuli made of pictures."""

from __future__ import annotations

import importlib
from typing import Any

# What is public, by the module it lives in; imported when first asked for, so that importing the package is quick.
_PUBLIC = {
    "regions": (
        "FEATURES",
        "REGIONS",
        "Boxes",
        "Region",
        "boxes",
        "complete",
        "mean_face",
        "outlines",
        "region_mask",
    ),
    "stimuli": (
        "Blur",
        "Chain",
        "Composite",
        "Contrast",
        "ControlMask",
        "GaussianNoise",
        "Greyscale",
        "Intact",
        "Invert",
        "Isolate",
        "Mask",
        "PartSwap",
        "PhaseScramble",
        "Stimulus",
        "TileScramble",
    ),
    "landmarks": ("BACKENDS", "Backend", "Face", "choose", "landmark_backend"),
    "preparation": ("Prepared", "load_prepared", "prepare"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
