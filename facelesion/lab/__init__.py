"""The lab: damage a face network by hand and see what it no longer knows.

    facelesion lab                       opens the page
    answer(State(stimulus="mask eyes"))  the same numbers from Python

The page holds no science: it shows what the functions here say of a `State`, which call the library's other rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.lab.answers import answer
    from facelesion.lab.damage import calibration_for, lesion_written, ranking
    from facelesion.lab.dose_curve import curve
    from facelesion.lab.known import readouts
    from facelesion.lab.photographs import photograph_in
    from facelesion.lab.pictures import built_in_face, built_in_thing
    from facelesion.lab.state import Damage, Picture, State

__all__ = [
    "Damage", "Picture", "State", "answer", "built_in_face", "built_in_thing", "calibration_for", "curve",
    "lesion_written", "photograph_in", "ranking", "readouts",
]  # fmt: skip

__getattr__, __dir__ = lazily(
    __name__,
    {
        "answers": ("answer",),
        "damage": ("calibration_for", "lesion_written", "ranking"),
        "dose_curve": ("curve",),
        "known": ("readouts",),
        "photographs": ("photograph_in",),
        "pictures": ("built_in_face", "built_in_thing"),
        "state": ("Damage", "Picture", "State"),
    },
)
