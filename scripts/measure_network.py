"""What a healthy network can do, on people and objects that no training saw: the figures of weights/README.md.

    python scripts/measure_network.py builtin untrained

Identification of 100 people of the face space (3 pictures of each remembered, 2 asked about), and 16 kinds of built-in
objects, 30 pictures of each, by a linear readout fitted on 40 others. The training command asks about LFW itself.
"""

from __future__ import annotations

import argparse
import sys

import torch

from facelesion import Error
from facelesion.data import FaceSpacePictures, refuse_seen
from facelesion.models import Subject, get
from facelesion.tasks import Healthy, Identification, Objects
from facelesion.training.distil import represent


def measured(subject: Subject, seed: int) -> dict[str, float]:
    """Shares of right answers of one network."""
    source = FaceSpacePictures(enrolled_people=100, enrolment_pictures=3, probe_pictures=2, object_pictures=30)
    materials = source.gather(seed, subject.size)
    refuse_seen(subject.name, subject.about, materials.probes.labels)
    shown = {"probes": materials.probes, "objects": materials.objects}

    def rows(role: str) -> torch.Tensor:
        start = 0 if role == "probes" else len(materials.probes)
        return torch.arange(start, start + len(shown[role]))

    healthy = Healthy(
        materials, subject.identity, lambda pictures: represent(subject, pictures.images), rows, seed
    )
    representation = torch.cat([represent(subject, pictures.images) for pictures in shown.values()])
    found = {}
    for what, task in (("identification of 100 people", Identification), ("16 kinds of objects", Objects)):
        fitted = task.fit(healthy)
        found[what] = fitted.measure(fitted.answer(representation))["accuracy"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", help="names or files of weights, of 112 pixels")
    parser.add_argument("--seed", type=int, default=0, help="of the people and objects")
    given = parser.parse_args()
    for name in given.networks:
        subject = get(name)
        for what, value in measured(subject, given.seed).items():
            print(f"{subject.name} ({subject.weights}): {what} {value:.1%}")


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(f"error: {error}")
