"""What a healthy network can do, on people and objects that no training saw: the figures of weights/README.md.

    python scripts/measure_network.py builtin untrained

Identification of 100 people of the face space (3 pictures of each remembered, 2 asked about), 16 kinds of built-in
objects (30 pictures of each, by a linear readout fitted on 40 others), 40 individual things, and the memory test. The
training command asks about LFW itself.
"""

from __future__ import annotations

import argparse
import sys

from facelesion.errors import Error
from facelesion.models import get
from facelesion.training.reached import tasks_reached

WORDS = {
    "identification": "identification of 100 people", "objects": "16 kinds of objects",
    "exemplars": "40 individual things", "memory": "72 items of memory",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", help="names or files of weights, of 112 pixels")
    parser.add_argument("--seed", type=int, default=0, help="of the people and objects")
    given = parser.parse_args()
    for name in given.networks:
        subject = get(name)
        for what, value in tasks_reached(subject, given.seed).items():
            print(f"{subject.name} ({subject.weights}): {WORDS[what]} {value:.1%}")


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(f"error: {error}")
