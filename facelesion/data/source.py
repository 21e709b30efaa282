"""What every source of a study's pictures is. One more is one class in one file, and one line in `sources.py`."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.materials import Materials, ranking_pictures, split_by_label
from facelesion.data.practice import practice_from_training
from facelesion.errors import Error
from facelesion.ranges import PathText, Range
from facelesion.settings import SettingError, check

PRACTICE = 1_000_003  # what is added to a seed for people and things to practise on
People = Range(2, 100_000, bytes_each=4 * 3 * 112 * 112)  # four pictures of each


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Which pictures a study shows; what all sources share.

    Attributes:
        training_people: people whose pictures train the readouts.
        training_pictures: pictures of each at the most.
        enrolled_people: people to be identified.
        enrolment_pictures: pictures of each that the network remembers.
        probe_pictures: pictures of each that it is asked about.
        objects: a folder of categories with photographs, or its archive; the built-in objects when left out.
        object_pictures: test pictures of each category of objects.
        object_training_pictures: training pictures of each category.
        objects_passed_over: photographs of each category of `objects`, the first by name, that are not shown: those
            that trained a network (40 of each of the built-in networks').
        other_pictures: further test pictures without a face (textures, scrambled faces).
        lookalike_pictures: further test pictures that are no faces and can be taken for some (face-like objects;
            jumbled, featureless and half faces). No readout is trained on any.

    Example:
        >>> from facelesion.data import SOURCES, FaceSpacePictures
        >>> list(SOURCES), issubclass(FaceSpacePictures, Source)
        (['facespace', 'lfw', 'people'], True)
        >>> FaceSpacePictures(enrolled_people=1)
        Traceback (most recent call last):
        facelesion.settings.SettingError: enrolled_people is 1: it must be 2 to 100,000 (people to be identified)
    """

    training_people: Annotated[int, People] = 150
    training_pictures: Annotated[int, Range(2, 1000)] = 4
    enrolled_people: Annotated[int, People] = 40
    enrolment_pictures: Annotated[int, Range(1, 1000)] = 3
    probe_pictures: Annotated[int, Range(1, 1000)] = 2
    objects: PathText | None = None
    object_pictures: Annotated[int, Range(1, 1000)] = 4
    object_training_pictures: Annotated[int, Range(1, 1000)] = 40
    objects_passed_over: Annotated[int, Range(0, 10_000)] = 0
    other_pictures: Annotated[int, Range(0, 10_000)] = 24
    lookalike_pictures: Annotated[int, Range(0, 10_000)] = 0

    name: ClassVar[str]
    # Settings that make the people of a role harder to tell apart (see `made_harder`).
    knobs: ClassVar[tuple[str, ...]] = ()
    # Settings that say where things lie and not what they are: another place with the same pictures is the same study.
    places: ClassVar[tuple[str, ...]] = ("objects",)

    def __post_init__(self) -> None:
        check(self)
        if self.objects is None and self.objects_passed_over:
            raise SettingError("objects_passed_over", "does nothing: it is of photographs, and no `objects` are named")

    def look(self) -> None:
        """Whether what the settings name is there, before any work.

        Raises:
            SettingError: a file or folder is missing; by its key.
        """
        for key in self.places:
            place = getattr(self, key)
            if place is not None and key != "prepared" and not os.path.exists(place):
                or_else = ", or leave it out: MediaPipe's is fetched once" if key == "landmarker" else ""
                at = "" if os.path.isabs(place) else f" at {os.path.abspath(place)}"
                raise SettingError(
                    f"pictures.{key}", f"is {place!r}: no such file or folder{at}: check the path{or_else}"
                )

    @abstractmethod
    def gather(self, seed: int, size: int) -> Materials:
        """All pictures by role, best at `size` pixels; the same arguments give the same pictures.

        Raises:
            Error: a folder or file is missing, or there are too few people or pictures for what is asked.
        """

    def practice(self, materials: Materials, seed: int) -> Materials:
        """Pictures to find out on how hard a task or a lesion is: as those of the study, and nobody of them is tested.

        Half of the people who train the readouts go on to train them; the others are enrolled and new here.

        Raises:
            Error: too few people train the readouts.
        """
        return practice_from_training(self, materials, seed)

    def made_harder(self, materials: Materials, seed: int, role: str, **knobs: float) -> Materials:
        """The materials with people of a role who are harder to tell apart; `knobs` are some of the source's own."""
        raise Error(f"pictures from {self.name} cannot be made harder by {', '.join(knobs)}")

    def for_ranking(self, seed: int, size: int, materials: Materials) -> tuple[dict[str, ImageSet], str]:
        """Faces and objects to rank units on, none of which is tested; and what a reader has to know of them.

        A source that has pictures left which no role needs gives those; here the readouts' own are taken.
        """
        return ranking_pictures(materials)

    def without_faces(
        self, seed: int, size: int, trained: FaceSet, tested: FaceSet, *, training: bool = True
    ) -> dict[str, Any]:
        """Pictures without a face, apart in training and test; scrambled faces come from the same split's people.

        Without `training` those of the tested roles alone.
        """
        from facelesion.data.lookalikes import lookalikes
        from facelesion.data.objects import builtin_objects, nonfaces, object_folder

        found: dict[str, Any] = {}
        if self.objects is None:
            found["objects"] = builtin_objects(self.object_pictures, seed=seed * 10 + 2, size=size)
            if training:
                found["training_objects"] = builtin_objects(
                    self.object_training_pictures, seed=seed * 10 + 1, size=size
                )
        elif training:
            per_category = self.objects_passed_over + self.object_training_pictures + self.object_pictures
            photographs = object_folder(self.objects, size=size, per_category=per_category)
            photographs = _without_first(photographs, self.objects_passed_over)
            found["training_objects"], found["objects"] = split_by_label(photographs, self.object_pictures, seed)
        others = self.other_pictures
        shown = [nonfaces(others, seed=seed * 10 + 2, size=size, faces=tested)] if others else []
        if self.lookalike_pictures:
            shown.append(lookalikes(self.lookalike_pictures, seed * 10 + 2, tested))
        found["others"] = _joined(shown)
        if training:
            found["training_others"] = nonfaces(max(4 * others, 80), seed=seed * 10 + 1, size=size, faces=trained)
        return found


def _without_first(pictures: ImageSet, count: int) -> ImageSet:
    """Pictures without the first `count` of each label.

    Raises:
        Error: a label with no more than that.
    """
    if not count:
        return pictures
    seen: Counter[str] = Counter()
    rows = []
    for row, label in enumerate(pictures.labels):
        seen[label] += 1
        if seen[label] > count:
            rows.append(row)
    for label, there in seen.items():
        if there <= count:
            raise Error(f"pictures.objects_passed_over is {count}, and {label!r} has {there} pictures: pass over fewer")
    return pictures[rows]


def _joined(sets: Sequence[ImageSet]) -> ImageSet | None:
    if len(sets) < 2:
        return sets[0] if sets else None
    return ImageSet(
        torch.cat([each.images for each in sets]),
        tuple(label for each in sets for label in each.labels),
        tuple(name for each in sets for name in each.names),
    )


@dataclass(frozen=True, kw_only=True)
class GivenPictures(Source):
    """Pictures that somebody gave by role: nothing of them can be drawn anew."""

    name: ClassVar[str] = "given"

    def gather(self, seed: int, size: int) -> Materials:
        """There is nothing to gather."""
        raise Error("pictures that were given are not gathered: hand them over as they are")
