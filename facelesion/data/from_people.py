"""A study's pictures from one's own photographs: any folder of people, table, or prepared folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch

from facelesion.data.imagesets import FaceSet
from facelesion.data.materials import Materials, all_pairs, balanced_pairs, some_of_each
from facelesion.data.photographs import Photographs
from facelesion.data.source import Source
from facelesion.data.splits import gallery
from facelesion.errors import Error
from facelesion.files import LeftOut
from facelesion.ranges import PathText, Range

_LEAST = 2  # people in each role
_MOST_ENROLLED = 40


@dataclass(frozen=True, kw_only=True)
class PeoplePictures(Photographs, Source):
    """Photographs of people, shared out by person: to train readouts, to be enrolled, to be new.

    Who gets which role depends on the people's names and the seed alone; the run's `pictures.csv` lists it.

    Attributes:
        root: a folder of people with their photographs (`<root>/<person>/<photograph>`), a CSV or parquet table with
            the columns `path` and `person`, or a folder that `facelesion prepare` wrote.
        training_people: 0 takes half of those who are not enrolled, fewer where the other roles need them.
        enrolled_people: 0 takes half of those with enough pictures, 40 at the most, fewer likewise.
        new_people: people for verification; 0 takes all that are left.
        pairs: pairs of new people's pictures to ask about, half of them the same person (fewer where
            there are not so many); 0 takes all pairs.
        faces_needed: share of the photographs in which a face must have been found.

    Example:
        >>> PeoplePictures(root="nowhere").look()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.settings.SettingError: pictures.root is 'nowhere': no such file or folder at /...: check ...
    """

    root: PathText
    training_people: Annotated[int, Range(0, 100_000)] = 0
    enrolled_people: Annotated[int, Range(0, 100_000)] = 0
    new_people: Annotated[int, Range(0, 100_000)] = 0
    pairs: Annotated[int, Range(0, 1_000_000)] = 400
    faces_needed: Annotated[float, Range(0, 1)] = 0.5
    name: ClassVar[str] = "people"
    places: ClassVar[tuple[str, ...]] = (*Source.places, *Photographs.places, "root")

    def gather(self, seed: int, size: int) -> Materials:
        """Prepare the photographs once, then share the people out."""
        faces, left_out = self.faces(self.root, size)
        self._check_found(faces, left_out)
        roles = self.share_out(faces.labels, seed)
        trained = roles["training"]
        training = some_of_each(faces, trained, len(trained), self.training_pictures, seed)
        known = _of(faces, roles["enrolled"])
        chosen = gallery(
            known, len(roles["enrolled"]), self.enrolment_pictures, self.probe_pictures, seed
        )
        strangers = _of(faces, roles["new"])
        first, second, same = all_pairs(strangers.labels)
        most = 2 * min(int(same.sum()), int((~same).sum()))
        asked = balanced_pairs(same, min(self.pairs, most), seed)
        return Materials(
            training=training,
            training_pairs=all_pairs(training.labels),
            enrolment=known[chosen.enrolment],
            probes=known[chosen.probes],
            strangers=strangers,
            pairs=(first[asked], second[asked], same[asked]),
            familiar=_of(faces, roles["enrolled"] + roles["new"]),
            left_out=left_out,
            remarks=(
                f"{len(set(faces.labels))} people were shared out by name and seed: {len(roles['training'])} train the "
                f"readouts, {len(roles['enrolled'])} are enrolled, {len(roles['new'])} are new. Whether a network was "
                "trained on some of them, this project cannot know.",
            ),
            **self.without_faces(seed, size, training, strangers),
        )

    def share_out(self, labels: Sequence[str], seed: int) -> dict[str, list[str]]:
        """Who trains, who is enrolled, who is new: names, sorted.

        Raises:
            Error: too few people for a role, with what would fit.
        """
        counts = dict(zip(*np.unique(np.asarray(labels), return_counts=True), strict=True))
        needed = self.enrolment_pictures + self.probe_pictures
        order = [str(name) for name in np.random.default_rng((seed, 0x9E0)).permutation(sorted(counts))]
        able = [name for name in order if counts[name] >= needed]
        pairs = [name for name in order if counts[name] >= 2]
        asked = {"training_people": self.training_people, "new_people": self.new_people}
        room = len(pairs) - 2 * _LEAST  # at least two people in each of the other roles
        enough = f"have {needed} photographs or more with a face"
        self._check_role("enrolled_people", self.enrolled_people or _LEAST, min(len(able), room), enough)
        for role, people in asked.items():
            self._check_role(role, people or _LEAST, room, "have two photographs or more")
        # Who is asked for is there: the roles that are not asked for take what that leaves them, half each.
        most = min(len(able), len(pairs) - sum(people or _LEAST for people in asked.values()))
        enrolled = self.enrolled_people or max(min(len(able) // 2, most, _MOST_ENROLLED), _LEAST)
        self._check_role("enrolled_people", enrolled, most, enough)
        names = able[:enrolled]
        rest = [name for name in pairs if name not in set(names)]
        most = len(rest) - (self.new_people or _LEAST)
        training = self.training_people or min(len(rest) // 2, most)
        self._check_role("training_people", training, most, "have two photographs or more and are not enrolled")
        most = len(rest) - training
        new = self.new_people or most
        self._check_role("new_people", new, most, "have two photographs or more and no other role")
        return {
            "training": sorted(rest[:training]),
            "enrolled": sorted(names),
            "new": sorted(rest[training : training + new]),
        }

    def _check_role(self, role: str, asked: int, most: int, who: str) -> None:
        if asked < _LEAST or most < _LEAST or asked > most:
            would = f"ask for {_LEAST} to {most}" if most >= _LEAST else "add people or photographs"
            raise Error(
                f"pictures.{role}: {asked} people are needed, {max(most, 0)} {who} (or are left for it): {would}, or "
                "ask for fewer with pictures.enrolment_pictures and pictures.probe_pictures"
            )

    def _check_found(self, faces: FaceSet, left_out: Sequence[LeftOut]) -> None:
        seen = len(faces) + len(left_out)
        if len(faces) < self.faces_needed * seen:
            raise Error(
                f"{self.root}: a face was found in only {len(faces)} of {seen} photographs, which is no folder of "
                "faces: give photographs of faces, or set pictures.faces_needed lower if it is one all the same"
            )


def _of(faces: FaceSet, people: Sequence[str]) -> FaceSet:
    chosen = set(people)
    return faces[torch.tensor([row for row, person in enumerate(faces.labels) if person in chosen])]
