"""Looking inside before damage is done: stimuli and maps of one's own photographs."""

from __future__ import annotations

from facelesion.looking.lesions import lesion_of
from facelesion.looking.maps import EVIDENCE_COLUMNS, Maps, evidence_rows, maps_of
from facelesion.looking.photographs import Photographed, photographed
from facelesion.looking.reference import Reference
from facelesion.looking.targets import Target, target_of

__all__ = [
    "EVIDENCE_COLUMNS", "Maps", "Photographed", "Reference", "Target", "evidence_rows", "lesion_of", "maps_of",
    "photographed", "target_of",
]  # fmt: skip
