"""What a healthy network can do, on people and objects that no training saw: the figures of weights/README.md.

    python scripts/measure_network.py builtin untrained

Identification of 100 people of the face space (3 pictures of each remembered, 2 asked about), and 16 kinds of built-in
objects, 30 pictures of each, by a linear readout fitted on 40 others. The training command asks about LFW itself.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import torch
from facelesion.materials import DataConfig, gather

from facelesion.data.seen import refuse_seen
from facelesion.errors import FacelesionError
from facelesion.models import Subject, get
from facelesion.tasks import Identification, Objects
from facelesion.training.distil import represent


def measured(subject: Subject, seed: int) -> dict[str, float]:
    """Shares of right answers of one network."""
    data = DataConfig(enrolled_people=100, enrolment_pictures=3, probe_pictures=2, object_pictures=30)
    materials = gather(data, seed, subject.size)
    shown = partial(represent, subject)
    probes, objects = materials.probes, materials.objects
    refuse_seen(subject.name, subject.about, probes.labels)
    people = Identification.fit(
        shown(materials.enrolment.images),
        materials.enrolment.labels,
        subject.identity,
        torch.arange(len(probes)),
        probes.labels,
    )
    known = materials.training_objects
    kinds = Objects.fit(shown(known.images), known.labels, torch.arange(len(objects)), objects.labels)
    identified = {score.metric: score.value for score in people.score(shown(probes.images))}
    told = {score.metric: score.value for score in kinds.score(shown(objects.images))}
    return {"identification of 100 people": identified["accuracy"], "16 kinds of objects": told["accuracy"]}


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
    except FacelesionError as error:
        sys.exit(f"error: {error}")
