"""From a folder of photographs to aligned faces with landmarks, once: everything later reads the result.

    prepared = prepare("photographs", "prepared")
    faces = load_prepared("prepared")

The result is a folder:

    faces.parquet   one row per face, sorted by name: person, landmarks, pose, sharpness, ... (`COLUMNS`)
    crops.npy       uint8 (N, 3, side, side), RGB, in the rows' order, made to be memory-mapped
    left_out.csv    every photograph that gave no face, and why
    manifest.json   options, versions, counts, hashes

It depends on the photographs, the options and the libraries' versions alone: a run that was killed and run again gives
the same bytes, however many workers there were. Photographs that have not changed are not done again.
"""

from facelesion.data.preparation.folder import (
    COLUMNS,
    is_prepared,
    left_out_of,
    load_prepared,
    prepared_place,
)
from facelesion.data.preparation.result import Prepared
from facelesion.data.preparation.run import prepare

__all__ = [
    "COLUMNS",
    "Prepared",
    "is_prepared",
    "left_out_of",
    "load_prepared",
    "prepare",
    "prepared_place",
]
