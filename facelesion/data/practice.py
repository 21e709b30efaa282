"""People to practise on, where there are none but those who train the readouts: half of them take the tested roles.

Levels and doses are found on them, so that nothing is chosen on anybody who is tested.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from facelesion.data.imagesets import FaceSet
from facelesion.data.materials import Materials, all_pairs, split_by_label
from facelesion.errors import Error

if TYPE_CHECKING:
    from facelesion.data.source import Source

_LEAST = 8  # people who train the readouts: two in each role, and as many again to train


def practice_from_training(source: Source, materials: Materials, seed: int) -> Materials:
    """Materials whose tested roles are filled by half of the people (and of the things) that train the readouts.

    Half of that half is enrolled and probed, in as many pictures as there are of each, the last one probed; the rest
    is new. Built-in things are drawn anew; photographs of things are shared out as the people are.

    Raises:
        Error: fewer than eight people train the readouts.
    """
    faces = materials.training
    counts = dict(zip(*np.unique(np.asarray(faces.labels), return_counts=True), strict=True))
    able = sorted(str(name) for name, count in counts.items() if count >= 2)
    if len(able) < _LEAST:
        raise Error(
            f"pictures.training_people: {len(able)} with two pictures or more; to find levels on people who are not "
            f"tested, {_LEAST} or more are needed"
        )
    order = [able[i] for i in np.random.default_rng((seed, 0x9AC)).permutation(len(able))]
    half, quarter = len(able) // 2, len(able) // 4
    known = _of(faces, order[:quarter])
    strangers = _of(faces, order[quarter:half])
    training = _of(faces, order[half:])
    last = [row for row, label in enumerate(known.labels) if label not in known.labels[row + 1 :]]
    first = [row for row in range(len(known)) if row not in set(last)]
    return replace(
        materials,
        training=training,
        training_pairs=all_pairs(training.labels),
        enrolment=known[first],
        probes=known[last],
        strangers=strangers,
        pairs=all_pairs(strangers.labels),
        familiar=None,
        **things_to_practise_on(source, materials, seed, training, strangers),
    )


def things_to_practise_on(
    source: Source, materials: Materials, seed: int, training: FaceSet, tested: FaceSet
) -> dict[str, Any]:
    """Other pictures without a face: built-in ones drawn anew; half of the training photographs of every category."""
    from facelesion.data.source import PRACTICE

    things = source.without_faces(seed + PRACTICE, materials.size, training, tested, training=False)
    if "objects" not in things:
        labels = materials.training_objects.labels
        least = min(labels.count(name) for name in set(labels))
        rest, held = split_by_label(materials.training_objects, max(1, least // 2), seed)
        things |= {"training_objects": rest, "objects": held}
    return things


def _of(faces: FaceSet, people: list[str]) -> FaceSet:
    chosen = set(people)
    return faces[[row for row, person in enumerate(faces.labels) if person in chosen]]
