"""The lab: damage a face network by hand and see what it no longer knows.

    facelesion lab                       opens the page
    answer(State(stimulus="mask eyes"))  the same numbers from Python

The page holds no science: it shows what the functions here say of a `State`, which call the library's other rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.lab.answers import Answer, Seen, answer
    from facelesion.lab.case_card import Card, card
    from facelesion.lab.damage import calibration_for, lesion_of, lesion_written, ranking
    from facelesion.lab.dose_curve import Curve, curve
    from facelesion.lab.known import Readouts, readouts
    from facelesion.lab.photographs import photograph_in
    from facelesion.lab.pictures import built_in_face, built_in_thing
    from facelesion.lab.state import Damage, Picture, State

__all__ = [
    "Answer", "Card", "Curve", "Damage", "Picture", "Readouts", "Seen", "State", "answer", "built_in_face",
    "built_in_thing", "calibration_for", "card", "curve", "lesion_of", "lesion_written", "photograph_in", "ranking",
    "readouts",
]  # fmt: skip

__getattr__, __dir__ = lazily(
    __name__,
    {
        "answers": ("Answer", "Seen", "answer"),
        "case_card": ("Card", "card"),
        "dose_curve": ("Curve", "curve"),
        "damage": ("calibration_for", "lesion_of", "lesion_written", "ranking"),
        "photographs": ("photograph_in",),
        "pictures": ("built_in_face", "built_in_thing"),
        "known": ("Readouts", "readouts"),
        "state": ("Damage", "Picture", "State"),
    },
)
