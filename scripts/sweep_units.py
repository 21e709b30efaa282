"""Which single units of a layer a face network needs most to know its people apart, and which a fast screen would name.

python scripts/sweep_units.py                      # conv5_1 of the packaged network, made-up faces
python scripts/sweep_units.py --site conv4_3 --people 20
"""

from __future__ import annotations

import argparse

import torch

from facelesion.data import FaceSpace
from facelesion.models import get
from facelesion.sweep import agreement, effects, first_order


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--site", default="conv5_1")
    parser.add_argument("--people", type=int, default=10)
    given = parser.parse_args()

    subject = get(given.model)
    faces = FaceSpace.load().draw(given.people, 4, 0)
    images = subject.preprocess(faces.images)
    people = sorted(set(faces.labels))
    labels = torch.tensor([people.index(label) for label in faces.labels])
    with torch.no_grad():
        healthy = torch.nn.functional.normalize(subject.module(images), dim=1)
    # Each person's mean picture in the healthy network is what damaged pictures are held against.
    prototypes = torch.stack([healthy[labels == person].mean(0) for person in range(len(people))])

    def loss(outputs: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        cosines = torch.nn.functional.normalize(outputs, dim=1) @ prototypes.T
        return torch.nn.functional.cross_entropy(10 * cosines, labels[numbers], reduction="none")

    exact = effects(subject.module, given.site, images, loss)
    screen = first_order(subject.module, given.site, images, loss)
    alike = agreement(screen, exact)
    print(f"{given.site}: rank correlation of the first-order screen with the exact effects {alike:.2f}")
    print("unit   loss rises by   the screen says")
    for unit in exact.argsort(descending=True)[:10].tolist():
        print(f"{unit:4d}   {exact[unit]:13.5f}   {screen[unit]:15.5f}")


if __name__ == "__main__":
    main()
