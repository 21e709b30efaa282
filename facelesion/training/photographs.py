"""LFW's photographs as aligned crops, prepared once and kept."""

from __future__ import annotations

from typing import Protocol

from facelesion.data import LFW, FaceSet
from facelesion.data.photographs import Photographs


class WherePhotographsLie(Protocol):
    """Settings that say where LFW's photographs are; see `DistilData`."""

    @property
    def root(self) -> str | None: ...
    @property
    def protocols(self) -> str | None: ...
    @property
    def prepared(self) -> str | None: ...
    @property
    def landmarker(self) -> str | None: ...


def aligned_photographs(lfw: LFW, size: int, prepared: str | None, landmarker: str | None) -> FaceSet:
    """Every photograph in which a face was found, `size` pixels, with landmarks.

    Args:
        lfw: where the photographs are.
        size: side of the crops in pixels.
        prepared: the folder where crops and landmarks are kept; one in the user's cache folder when left out.
        landmarker: MediaPipe's model file, needed where something is still to be prepared.
    """
    return Photographs(prepared=prepared, landmarker=landmarker).faces(lfw.root, size)[0]
