"""A study's pictures from Labeled Faces in the Wild, by its own protocols."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.lfw import LFW
from facelesion.data.materials import Materials, all_pairs, balanced_pairs, some_of_each
from facelesion.data.photographs import LfwPlace
from facelesion.data.source import Source
from facelesion.data.splits import gallery
from facelesion.errors import Error
from facelesion.ranges import Range

_RANKED_PEOPLE, _RANKED_PICTURES, _RANKED_OBJECTS = 40, 4, 10
FAMILIAR = 8  # who has so many pictures may be wanted for tests that let faces be learned


@dataclass(frozen=True, kw_only=True)
class LfwPictures(LfwPlace, Source):
    """LFW's photographs: its training people train, its test people are enrolled, its test pairs are asked about.

    A test person may be both enrolled and in a pair: verification looks at no memory, so that gives nothing away.

    Attributes:
        view: 1, the lists for development (its test people never trained the built-in network); 2, the ten folds of
            pairs for the last report, whose people may have.
        pairs: test pairs to use, half of them the same person; 0 means all.

    Example:
        >>> LfwPictures(root="lfw-deepfunneled.tgz", view=1).name
        'lfw'
    """

    view: Literal[1, 2] = 1
    pairs: Annotated[int, Range(0, 6000)] = 200
    name: ClassVar[str] = "lfw"
    places: ClassVar[tuple[str, ...]] = (*Source.places, *LfwPlace.places)

    def gather(self, seed: int, size: int) -> Materials:
        """Prepare the photographs once, then share them out by LFW's lists."""
        from facelesion.data.pairs import find_pairs

        lfw = self.open()
        faces, left_out = self.faces(lfw.root, size)
        named = lfw.pairs("test") if self.view == 1 else lfw.pair_folds()
        if self.view == 1:
            test_people = set(lfw.people("test"))
        else:
            test_people = {name.split("/")[0] for pair in named for name in (pair.first, pair.second)}
        training_people = set(lfw.people("train")) - test_people
        training = some_of_each(faces, training_people, self.training_people, self.training_pictures, seed)
        test = faces[[row for row, person in enumerate(faces.labels) if person in test_people]]
        chosen = gallery(test, self.enrolled_people, self.enrolment_pictures, self.probe_pictures, seed)
        pairs, _ = find_pairs(test, named)
        pairs = pairs[balanced_pairs(pairs.same, self.pairs, seed)]
        used = torch.unique(torch.cat([pairs.first, pairs.second]))
        strangers = test[used]
        asked = (torch.searchsorted(used, pairs.first), torch.searchsorted(used, pairs.second), pairs.same)
        apart = set(_to_rank(lfw, faces, {*test[chosen.enrolment].labels, *strangers.labels}, seed))
        remarks = (
            ()
            if self.view == 1
            else (
                "View 2's people overlap with those of View 1 that trained the built-in networks: their levels here "
                "are those of people that may have been seen.",
            )
        )
        return Materials(
            training=training,
            training_pairs=all_pairs(training.labels),
            enrolment=test[chosen.enrolment],
            probes=test[chosen.probes],
            strangers=strangers,
            pairs=asked,
            familiar=test[[row for row, person in enumerate(test.labels) if person not in apart]],
            left_out=left_out,
            remarks=remarks,
            **self.without_faces(seed, size, training, strangers),
        )

    def for_ranking(self, seed: int, size: int, materials: Materials) -> tuple[dict[str, ImageSet], str]:
        """View 1 test people who have no other role: the built-in networks were trained on none of them.

        Raises:
            Error: fewer than two of them are left.
        """
        from facelesion.data.objects import builtin_objects

        lfw = self.open()
        faces, _ = self.faces(lfw.root, size)
        names = _to_rank(lfw, faces, {*materials.enrolment.labels, *materials.strangers.labels}, seed)
        if len(names) < 2:
            raise Error(
                f"pictures: {len(names)} of LFW's View 1 test people are in no role, and units are ranked on two or "
                "more of them: ask for fewer enrolled_people or pairs"
            )
        rows: dict[str, list[int]] = {name: [] for name in names}
        for row, person in enumerate(faces.labels):
            if person in rows and len(rows[person]) < _RANKED_PICTURES:
                rows[person].append(row)
        if self.objects is None:
            objects: ImageSet = builtin_objects(_RANKED_OBJECTS, seed=seed * 10 + 7, size=size)
            things = "objects that have none."
        else:
            objects, things = materials.training_objects, "the objects that the readouts were trained with."
        return (
            {"faces": faces[[row for found in rows.values() for row in found]], "objects": objects},
            f"Units were ranked on {len(names)} of LFW's View 1 test people who have no other role, and on {things}",
        )


def _to_rank(lfw: LFW, faces: FaceSet, used: Collection[str], seed: int) -> list[str]:
    """Up to 40 of View 1's test people to rank units on: in no other role, and with too few pictures to be learned.

    Those with two pictures or more come first.

    Args:
        used: who has another role.
    """
    never_trained = set(lfw.people("test")) - set(used)
    counts = Counter(name for name in faces.labels if name in never_trained)
    free = sorted(name for name, count in counts.items() if count < FAMILIAR)
    drawn = [str(name) for name in np.random.default_rng((seed, 0x4A)).permutation(free)]
    return sorted(sorted(drawn, key=lambda name: counts[name] < 2)[:_RANKED_PEOPLE])
