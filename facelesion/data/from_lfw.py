"""A study's pictures from Labeled Faces in the Wild, by its own protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch

from facelesion.data.materials import Materials, all_pairs, balanced_pairs, some_of_each
from facelesion.data.photographs import LfwPlace
from facelesion.data.source import Source
from facelesion.data.splits import gallery
from facelesion.ranges import Range


@dataclass(frozen=True, kw_only=True)
class LfwPictures(LfwPlace, Source):
    """LFW's photographs: its training people train, its test people are enrolled, its test pairs are asked about.

    A test person may be both enrolled and in a pair: verification looks at no memory, so that gives nothing away.

    Attributes:
        view: 1, the lists for development (its test people never trained the built-in network); 2, the ten folds of
            pairs for the last report, whose people may have.
        pairs: test pairs to use, half of them the same person; 0 means all.
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
            familiar=test,
            left_out=left_out,
            remarks=remarks,
            **self.without_faces(seed, size, training, strangers),
        )

