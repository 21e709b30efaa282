"""A study's pictures from the built-in face space: people that never were, nothing to download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.materials import Materials, all_pairs
from facelesion.data.source import Source
from facelesion.data.splits import gallery
from facelesion.ranges import Range

_FAMILIAR_PEOPLE, _FAMILIAR_PICTURES = 12, 12
_RANKED_PEOPLE, _RANKED_PICTURES, _RANKED_OBJECTS = 40, 4, 10


@dataclass(frozen=True, kw_only=True)
class FaceSpacePictures(Source):
    """People drawn from the face space, other people for every role.

    Attributes:
        new_people: people for verification, in no other role.
        new_pictures: pictures of each of them.
        variability: how much pictures of one person differ (1: as photographs in LFW do).
    """

    new_people: Annotated[int, Range(2, 2000)] = 20
    new_pictures: Annotated[int, Range(2, 1000)] = 4
    variability: Annotated[float, Range(0, 5)] = 0.6
    name: ClassVar[str] = "facespace"

    def gather(self, seed: int, size: int) -> Materials:
        """Draw everybody. Pictures are of 112 pixels whatever is asked for: a larger network's are enlarged."""
        from facelesion.data.facespace import CROP, FaceSpace

        space = FaceSpace.load()

        def draw(role: int, people: int, pictures: int, variability: float = self.variability) -> FaceSet:
            # Another seed per role: people of different seeds are different people.
            return space.draw(people, pictures, seed * 10 + role, variability)

        training = draw(1, self.training_people, self.training_pictures)
        known = draw(2, self.enrolled_people, self.enrolment_pictures + self.probe_pictures)
        chosen = gallery(known, self.enrolled_people, self.enrolment_pictures, self.probe_pictures, seed)
        strangers = draw(3, self.new_people, self.new_pictures)
        remarks = (
            (f"The face space draws faces of {CROP} pixels; they are enlarged to {size} for the networks.",)
            if size > CROP
            else ()
        )
        return Materials(
            training=training,
            training_pairs=all_pairs(training.labels),
            enrolment=known[chosen.enrolment],
            probes=known[chosen.probes],
            strangers=strangers,
            pairs=all_pairs(strangers.labels),
            familiar=draw(5, _FAMILIAR_PEOPLE, _FAMILIAR_PICTURES, variability=1.0),  # as photographs differ
            remarks=remarks,
            **self.without_faces(seed, CROP, training, strangers),
        )

    def for_ranking(self, seed: int, size: int, materials: Materials) -> tuple[dict[str, ImageSet], str]:
        """People and objects that have no other role."""
        from facelesion.data.facespace import CROP, FaceSpace
        from facelesion.data.objects import builtin_objects

        faces = FaceSpace.load().draw(_RANKED_PEOPLE, _RANKED_PICTURES, seed * 10 + 7, self.variability)
        if self.objects is None:
            objects = builtin_objects(_RANKED_OBJECTS, seed=seed * 10 + 7, size=CROP)
            things = "objects"
        else:
            objects, things = materials.training_objects, "the objects that the readouts were trained with"
        return (
            {"faces": faces, "objects": objects},
            f"Units were ranked on {_RANKED_PEOPLE} people who have no other role, and on {things}"
            + (" that have none." if self.objects is None else "."),
        )
