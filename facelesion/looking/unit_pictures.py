"""The pictures that units are ranked on, by group, with the decisions that go with them; nobody is in two roles.

From the face space come other people than any study, training or test has; of photographs the people are shared out
by name and seed: on some units are found, on the others what they are good for is tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from facelesion.data.facespace import FaceSpace
from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.objects import PHASE, TEXTURE, builtin_objects, nonfaces
from facelesion.data.photographs import Photographs
from facelesion.data.seen import people_seen
from facelesion.errors import Error
from facelesion.faces.stimuli import Isolate
from facelesion.looking.questions import (
    FEATURES,
    Question,
    detection,
    feature_decision,
    identification,
    objects,
)
from facelesion.models import Subject

FACESPACE = "facespace"
# Seeds of the face space that no study, training or test uses: to find units, and to test them.
_FIND, _TEST = 3_000_000, 3_500_000
_LEAST = 8  # people

Of = Literal["features", "domains"]
# Which decision a domain stands for, where a way of ranking goes by a loss.
DOMAINS = {"faces": "identification", "objects": "objects", "textures": "detection"}


@dataclass(frozen=True, eq=False)
class UnitPictures:
    """What units are found on.

    Attributes:
        groups: uint8 pictures by group.
        people: who or what is on each, by group.
        faces: the faces themselves.
        source: where they are from, in words.
        seen: how many of the people the network was trained on, as far as its file tells.
    """

    groups: Mapping[str, torch.Tensor]
    people: Mapping[str, tuple[str, ...]]
    faces: FaceSet
    source: str
    seen: str


@dataclass(frozen=True)
class Asked:
    """Which pictures.

    Attributes:
        place: `facespace`, or a folder of people with their photographs, a table of them, or a prepared folder.
        of: `features` (each feature alone) or `domains` (faces, objects, textures).
        people: how many people at the most.
        pictures: of each, at the most.
        fill: what isolated features are surrounded by: `blur`, as the notebook has it, or a covering.
        landmarker: the model file of what finds landmarks.
        seed: another seed, other people.
    """

    place: str = FACESPACE
    of: Of = "features"
    people: int = 60
    pictures: int = 4
    fill: str = "blur"
    landmarker: str | None = None
    seed: int = 0

    @property
    def is_facespace(self) -> bool:
        """Whether people are made up, so that any number of them is there."""
        return self.place == FACESPACE

    def faces(self, size: int, test: bool = False) -> FaceSet:
        """Faces that units are found on, or others to test them on.

        Raises:
            Error: no photographs there, or too few people.
        """
        if self.is_facespace:
            base = _TEST if test else _FIND
            return FaceSpace.load().draw(self.people, self.pictures, base + self.seed)
        faces, _ = Photographs(landmarker=self.landmarker).faces(self.place, size)
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(faces.labels):
            rows.setdefault(name, []).append(row)
        order = [str(name) for name in np.random.default_rng((self.seed, 0x0F)).permutation(sorted(rows))]
        if len(order) < 2 * _LEAST:
            raise Error(
                f"{self.place}: {len(order)} people: {2 * _LEAST} or more are needed, half to find units and half to "
                "test them: add people, or use facespace"
            )
        # Those with most pictures first, so that people can be remembered by some and asked about by others.
        order.sort(key=lambda name: -min(len(rows[name]), self.pictures))
        chosen = order[1::2] if test else order[0::2]
        return faces[[row for name in sorted(chosen[: self.people]) for row in rows[name][: self.pictures]]]

    def gather(self, subject: Subject) -> UnitPictures:
        """The pictures by group."""
        faces = self.faces(subject.size)
        groups: dict[str, torch.Tensor]
        if self.of == "features":
            groups = {name: faces.shown(Isolate(name, fill=self.fill)).images for name in FEATURES}
            people = dict.fromkeys(groups, faces.labels)
        else:
            things, textures = self._things(faces, _FIND)
            groups = {"faces": faces.images, "objects": things.images, "textures": textures.images}
            people = {"faces": faces.labels, "objects": things.names, "textures": textures.names}
        where = "the built-in face space" if self.is_facespace else str(self.place)
        return UnitPictures(groups, people, faces, where, str(people_seen(subject.about, set(faces.labels))))

    def questions(self, subject: Subject, test: bool = False) -> dict[str, Question]:
        """The decision that belongs to each group, about people whom units are found on, or others.

        Raises:
            Error: features of photographs, for which no decision is known to hang on a feature alone.
        """
        if self.of == "features":
            if not self.is_facespace:
                raise Error(
                    "of photographs it is not known which decisions hang on a feature alone: rank features by a loss "
                    "(or test them) on facespace, or take --of domains"
                )
            # Apart from `faces`, which are drawn by the seed itself.
            seed = (_TEST if test else _FIND) + 100_000 + self.seed
            return {
                name: feature_decision(subject, name, max(2, 2 * self.people // 3), seed=seed) for name in FEATURES
            }
        faces = self.faces(subject.size, test)
        things, textures = self._things(faces, _TEST if test else _FIND)
        named = [name for name in dict.fromkeys(faces.labels) if faces.labels.count(name) > 3]
        known = faces[[row for row, name in enumerate(faces.labels) if name in set(named)]]
        if len(named) < 2:
            raise Error(
                f"{self.place}, {self.pictures} pictures of each at the most: who it is can be asked of people with "
                "four or more, two people at least: add pictures, or set each to 4 or more"
            )
        return {
            "faces": identification(subject, known),
            "objects": objects(subject, things),
            "textures": detection(subject, faces, textures),
        }

    def _things(self, faces: FaceSet, base: int) -> tuple[ImageSet, ImageSet]:
        """Objects of every kind; textures and phase-scrambled faces; about as many of either as there are faces."""
        count = max(4, len(faces) // 16)
        others = nonfaces(max(20, 2 * len(faces)), seed=base + self.seed, size=faces.size, faces=faces)
        textures = others[[row for row, kind in enumerate(others.labels) if kind in (TEXTURE, PHASE)]]
        return builtin_objects(count, seed=base + self.seed, size=faces.size), textures
