"""A study of photographs of your own: a folder of people, from photographs to the report.

    python examples/own_photographs.py PHOTOGRAPHS --landmarker face_landmarker.task

PHOTOGRAPHS holds a folder for each person with their photographs. Faces are cropped once; crops and landmarks are kept
in your cache folder (the study says where; `FACELESION_CACHE` or `PeoplePictures(prepared=...)` names another). Who
trains the readouts, who is enrolled and who is new is drawn by name, and stands in the run's `pictures.csv`.
Six people will do, three of them with four photographs; for numbers that mean something take forty or more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from facelesion import Ablate, Noise, Study, run_study
from facelesion.data import PeoplePictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("photographs", type=Path, help="a folder of people, a table, or a prepared folder")
    parser.add_argument("--landmarker", help="MediaPipe's face_landmarker.task; a prepared folder needs none")
    parser.add_argument("--people", type=int, default=0, help="people to identify; 0 takes half of those there are")
    parser.add_argument("--output", default="runs", help="the folder of run folders")
    given = parser.parse_args()
    study = Study(
        name="own-photographs",
        participants=["builtin", "untrained"],
        pictures=PeoplePictures(
            root=str(given.photographs), landmarker=given.landmarker, enrolled_people=given.people, enrolment_pictures=2
        ),
        lesions={
            "ablation": [Ablate("conv5_*", fraction=share) for share in (0.1, 0.2, 0.4)],
            "noise": [Noise("conv5_*", std=std, relative=True) for std in (0.5, 1.0)],
        },
        stimuli=["intact", "mask eyes"],
        draws=3,
        output=given.output,
    )
    print(run_study(study))


if __name__ == "__main__":
    main()
