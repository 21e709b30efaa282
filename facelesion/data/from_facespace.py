"""A study's pictures from the built-in face space: people that never were, nothing to download."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, cast

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.materials import Materials, all_pairs
from facelesion.data.practice import things_to_practise_on
from facelesion.data.source import PRACTICE, Source
from facelesion.data.splits import gallery
from facelesion.ranges import Range

FAMILIAR_PEOPLE, FAMILIAR_PICTURES = 12, 12
_RANKED_PEOPLE, _RANKED_PICTURES, _RANKED_OBJECTS = 40, 4, 10


@dataclass(frozen=True, kw_only=True)
class FaceSpacePictures(Source):
    """People drawn from the face space, other people for every role.

    Attributes:
        new_people: people for verification, in no other role.
        new_pictures: pictures of each of them.
        variability: how much pictures of one person differ (1: as photographs in LFW do).
        likeness: how alike the enrolled people are, and the new ones (0: as people are; 1: one person).

    Example:
        >>> from facelesion.data import Materials
        >>> few = FaceSpacePictures(training_people=6, enrolled_people=4, new_people=3, object_training_pictures=2)
        >>> pictures: Materials = few.gather(seed=0, size=112)
        >>> len(pictures.probes), sorted(set(pictures.enrolment.labels)) == sorted(set(pictures.probes.labels))
        (8, True)
        >>> set(pictures.training.labels) & set(pictures.probes.labels)
        set()
    """

    new_people: Annotated[int, Range(2, 2000)] = 20
    new_pictures: Annotated[int, Range(2, 1000)] = 4
    variability: Annotated[float, Range(0, 5)] = 0.6
    likeness: Annotated[float, Range(0, 0.99)] = 0.0
    name: ClassVar[str] = "facespace"
    knobs: ClassVar[tuple[str, ...]] = ("likeness", "variability")

    def gather(self, seed: int, size: int) -> Materials:
        """Draw everybody. Pictures are of 112 pixels whatever is asked for: a larger network's are enlarged."""
        from facelesion.data.facespace import CROP, FaceSpace

        training = FaceSpace.load().draw(
            self.training_people, self.training_pictures, seed * 10 + 1, self.variability
        )
        tested = self._known(seed) | self._new(seed)
        remarks = (
            (f"The face space draws faces of {CROP} pixels; they are enlarged to {size} for the networks.",)
            if size > CROP
            else ()
        )
        return Materials(
            training=training,
            training_pairs=all_pairs(training.labels),
            familiar=self._familiar(seed),
            remarks=remarks,
            **tested,
            **self.without_faces(seed, CROP, training, tested["strangers"]),
        )

    def practice(self, materials: Materials, seed: int) -> Materials:
        """Other people in the tested roles, drawn by another seed; those who train the readouts stay."""
        other = seed + PRACTICE
        tested = self._known(other) | self._new(other)
        things = things_to_practise_on(self, materials, seed, materials.training, tested["strangers"])
        return replace(materials, familiar=self._familiar(other), **tested, **things)

    def made_harder(self, materials: Materials, seed: int, role: str, **knobs: float) -> Materials:
        """The same people's roles with likeness or variability as given: `known` (enrolled and probed) or `new`."""
        harder = replace(self, **cast(Any, knobs))
        return replace(materials, **(harder._known(seed) if role == "known" else harder._new(seed)))

    def _known(self, seed: int) -> dict[str, Any]:
        each = self.enrolment_pictures + self.probe_pictures
        known = self._drawn(2, self.enrolled_people, each, seed)
        chosen = gallery(known, self.enrolled_people, self.enrolment_pictures, self.probe_pictures, seed)
        return {"enrolment": known[chosen.enrolment], "probes": known[chosen.probes]}

    def _new(self, seed: int) -> dict[str, Any]:
        strangers = self._drawn(3, self.new_people, self.new_pictures, seed)
        return {"strangers": strangers, "pairs": all_pairs(strangers.labels)}

    def _familiar(self, seed: int) -> FaceSet:
        """As different as photographs of one person are, and as people are, whatever is asked of the others."""
        from facelesion.data.facespace import FaceSpace

        return FaceSpace.load().draw(FAMILIAR_PEOPLE, FAMILIAR_PICTURES, seed * 10 + 5, 1.0)

    def _drawn(self, role: int, people: int, pictures: int, seed: int) -> FaceSet:
        """People of a role; another seed per role, for people of different seeds are different people."""
        from facelesion.data.facespace import FaceSpace

        return FaceSpace.load().draw(people, pictures, seed * 10 + role, self.variability, self.likeness)

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
