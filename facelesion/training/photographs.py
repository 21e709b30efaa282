"""LFW's photographs as aligned crops, prepared once and kept."""

from __future__ import annotations

from facelesion.data import LFW, FaceSet
from facelesion.data.preparation import load_prepared, prepare_once


def aligned_photographs(lfw: LFW, size: int, prepared: str | None, landmarker: str | None) -> FaceSet:
    """Every photograph in which a face was found, `size` pixels, with landmarks.

    Args:
        lfw: where the photographs are.
        size: side of the crops in pixels.
        prepared: the folder where crops and landmarks are kept; one in the user's cache folder when left out.
        landmarker: MediaPipe's model file, needed where something is still to be prepared.
    """
    return load_prepared(prepare_once(lfw.root, size, prepared, landmarker).folder)
