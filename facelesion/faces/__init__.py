"""Faces: landmarks, named regions, alignment, and stimuli made of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.faces.alignment import align
    from facelesion.faces.landmarks import BACKENDS, Backend, Face, choose, landmark_backend
    from facelesion.faces.regions import (
        FEATURES,
        REGIONS,
        Boxes,
        Region,
        boxes,
        complete,
        eye_centres,
        mean_face,
        outlines,
        region,
        region_mask,
    )
    from facelesion.faces.stimuli import (
        Blur,
        Chain,
        Composite,
        Contrast,
        ControlMask,
        GaussianNoise,
        Greyscale,
        Intact,
        Invert,
        Isolate,
        Mask,
        Painted,
        PartSwap,
        PhaseScramble,
        Stimulus,
        TileScramble,
    )

__all__ = [
    "BACKENDS", "FEATURES", "REGIONS", "Backend", "Blur", "Boxes", "Chain", "Composite", "Contrast", "ControlMask",
    "Face", "GaussianNoise", "Greyscale", "Intact", "Invert", "Isolate", "Mask", "Painted", "PartSwap",
    "PhaseScramble", "Region", "Stimulus", "TileScramble", "align", "boxes", "choose", "complete", "eye_centres",
    "landmark_backend", "mean_face", "outlines", "region", "region_mask",
]  # fmt: skip

__getattr__, __dir__ = lazily(
    __name__,
    {
        "alignment": ("align",),
        "landmarks": ("BACKENDS", "Backend", "Face", "choose", "landmark_backend"),
        "regions": (
            "FEATURES", "REGIONS", "Boxes", "Region", "boxes", "complete", "eye_centres", "mean_face", "outlines",
            "region", "region_mask",
        ),
        "stimuli": (
            "Blur", "Chain", "Composite", "Contrast", "ControlMask", "GaussianNoise", "Greyscale", "Intact",
            "Invert", "Isolate", "Mask", "Painted", "PartSwap", "PhaseScramble", "Stimulus", "TileScramble",
        ),
    },
)  # fmt: skip
