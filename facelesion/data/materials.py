"""The pictures of a study, by role: who trains readouts, who is enrolled, who is tested; nobody does both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.errors import Error
from facelesion.files import LeftOut

PairRows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # first, second (positions), same (bool)


@dataclass(frozen=True, eq=False)
class Materials:
    """All pictures of a study, by role.

    Attributes:
        training: faces that train the readouts; nobody among them is tested.
        training_pairs: positions in `training` of pairs that set verification's threshold.
        enrolment: pictures of the enrolled people that are remembered.
        probes: other pictures of the enrolled people.
        strangers: pictures for verification.
        pairs: positions in `strangers` of the tested pairs.
        training_objects, objects: the control task's pictures.
        training_others, others: further pictures without a face.
        familiar: people with eight pictures or more each, for tests that let faces be learned; None where none are.
        left_out: photographs that could not be used.
        remarks: what a reader of the results has to know of these pictures, in sentences.

    Raises:
        Error: somebody who trains the readouts is also tested, pictures of unlike sizes, a role without a picture, or
            pairs that are none of its pictures.
    """

    training: FaceSet
    training_pairs: PairRows
    enrolment: FaceSet
    probes: FaceSet
    strangers: FaceSet
    pairs: PairRows
    training_objects: ImageSet
    objects: ImageSet
    training_others: ImageSet
    others: ImageSet | None = None
    familiar: FaceSet | None = None
    left_out: tuple[LeftOut, ...] = field(default=())
    remarks: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        sets = self.sets()
        for role, pictures in sets.items():
            if not len(pictures):
                raise Error(f"{role} has no picture: give it some, or leave it out where it may be None")
            sides = {name: tuple(each.images.shape[-2:]) for name, each in (("probes", self.probes), (role, pictures))}
            if sides[role] != sides["probes"]:
                told = " and ".join(f"{name} of {width} × {height}" for name, (height, width) in sides.items())
                raise Error(f"pictures of one size are needed, but there are {told} pixels: resize one of them")
            points = {each.landmarks.shape[1] for each in (self.probes, pictures) if isinstance(each, FaceSet)}
            if len(points) > 1:
                told = " and ".join(map(str, sorted(points)))
                raise Error(f"{role} and probes have {told} landmarks: give both alike")
        for name, pairs, faces in (
            ("training_pairs", self.training_pairs, self.training), ("pairs", self.pairs, self.strangers),
        ):  # fmt: skip
            _check_pairs(name, pairs, len(faces))
        unknown = set(self.probes.labels) - set(self.enrolment.labels)
        if unknown:
            raise Error(f"{sorted(unknown)[0]!r} is in probes and not in enrolment: nobody could name them")
        tested = [self.enrolment, self.probes, self.strangers, *([self.familiar] if self.familiar else [])]
        both = set(self.training.labels) & {name for each in tested for name in each.labels}
        if both:
            raise Error(
                f"{sorted(both)[0]!r} both trains the readouts and is tested: give each person one of these roles"
            )

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return self.probes.size

    def sets(self) -> dict[str, ImageSet]:
        """Every set of pictures by its role."""
        return {name: value for name, value in vars(self).items() if isinstance(value, ImageSet)}


def ranking_pictures(materials: Materials) -> tuple[dict[str, ImageSet], str]:
    """The pictures that trained the readouts, where there are no others to rank units on; and a sentence on that."""
    return (
        {"faces": materials.training, "objects": materials.training_objects},
        "Units were ranked on the people and objects that the readouts were trained with, none of whom is tested.",
    )


def _check_pairs(name: str, pairs: PairRows, count: int) -> None:
    """Refuse pairs that are none of these pictures', or all of one kind."""
    first, second, same = pairs
    if not len(first) == len(second) == len(same):
        raise Error(f"{name} has {len(first)}, {len(second)} and {len(same)} entries: give as many of each")
    rows = torch.cat([first, second])
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise Error(f"{name} names picture {int(rows.max())}, and there are {count}, numbered from 0")
    if not (same.any() and (~same).any()):
        raise Error(f"{name} must be of both kinds, pictures of one person and of two")


def all_pairs(labels: Sequence[str]) -> PairRows:
    """Every pair of pictures, and whether both show the same person.

    Example:
        >>> first, second, same = all_pairs(["Ada", "Ada", "Bo"])
        >>> list(zip(first.tolist(), second.tolist(), same.tolist()))
        [(0, 1, True), (0, 2, False), (1, 2, False)]
    """
    _, who = np.unique(np.asarray(labels), return_inverse=True)
    first, second = torch.combinations(torch.arange(len(who))).T
    people = torch.from_numpy(who)
    return first, second, people[first] == people[second]


def some_of_each(
    faces: FaceSet, among: Sequence[str] | set[str], people: int, pictures: int, seed: int
) -> FaceSet:
    """Up to `pictures` pictures of each of `people` people drawn from those among whom there are two pictures or more.

    Raises:
        Error: there are not so many.
    """
    rows: dict[str, list[int]] = {}
    for row, person in enumerate(faces.labels):
        if person in among:
            rows.setdefault(person, []).append(row)
    able = sorted(person for person, found in rows.items() if len(found) >= 2)
    if len(able) < people:
        raise Error(
            f"pictures.training_people is {people}, but only {len(able)} training people have two photographs or "
            f"more: ask for {len(able)} or fewer"
        )
    drawn = np.random.default_rng((seed, 0x7A)).permutation(able)[:people]
    return faces[[row for person in sorted(drawn) for row in rows[person][:pictures]]]


def balanced_pairs(same: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Positions of `count` pairs drawn at random, half of them of the same person; all of them where `count` is 0.

    Raises:
        Error: there are not so many of one kind.
    """
    if not count:
        return torch.arange(len(same))
    rng = np.random.default_rng((seed, 0xBA))
    kinds = [np.flatnonzero(same.numpy()), np.flatnonzero(~same.numpy())]
    half = count // 2
    if min(map(len, kinds)) < half or half < 1:
        raise Error(
            f"pictures.pairs is {count}: there are {len(kinds[0])} and {len(kinds[1])} pairs to halve it from"
        )
    return torch.from_numpy(np.sort(np.concatenate([rng.permutation(kind)[:half] for kind in kinds])))


def split_by_label(pictures: ImageSet, held_out: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """Hold out `held_out` pictures of every label at random: (the rest, the held out).

    Raises:
        Error: a label with too few pictures.
    """
    rng = np.random.default_rng((seed, 0x5B))
    labels = np.asarray(pictures.labels)
    apart: list[int] = []
    for label in sorted(set(pictures.labels)):
        rows = np.flatnonzero(labels == label)
        if len(rows) <= held_out:
            raise Error(
                f"{label!r} has {len(rows)} pictures; {held_out + 1} or more are needed to train and test on it"
            )
        apart.extend(int(i) for i in rng.permutation(rows)[:held_out])
    held = np.zeros(len(pictures), bool)
    held[apart] = True
    return pictures[np.flatnonzero(~held).tolist()], pictures[np.flatnonzero(held).tolist()]
