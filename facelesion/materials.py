"""The pictures of a study: who trains the readouts, who is enrolled, who is tested. Nobody who trains is tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from facelesion.data import FaceSet, ImageSet
from facelesion.errors import FacelesionError

PairRows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # first, second (positions), same (bool)


@dataclass(frozen=True)
class DataConfig:
    """Which pictures a study shows.

    Attributes:
        source: `facespace` (the built-in faces, nothing to download) or `lfw` (Labeled Faces in the Wild).
        root: LFW's folder of people, or its archive.
        protocols: the folder of LFW's protocol files; found beside `root` when left out.
        prepared: where aligned crops and landmarks are kept; the user's cache folder when left out.
        landmarker: MediaPipe's model file `face_landmarker.task`, needed to prepare photographs.
        objects: a folder of categories with photographs, or its archive; the built-in objects when left out.
        training_people: people whose pictures train the readouts.
        training_pictures: pictures of each at the most.
        enrolled_people: people to be identified.
        enrolment_pictures: pictures of each that the network remembers.
        probe_pictures: pictures of each that it is asked about.
        new_people: people for verification, in no other role (face space; LFW uses its own test pairs).
        new_pictures: pictures of each of them.
        pairs: test pairs of LFW to use, half of them the same person; 0 means all.
        object_pictures: test pictures of each category of objects.
        object_training_pictures: training pictures of each category.
        other_pictures: further test pictures without a face (textures, scrambled faces).
        variability: how much pictures of one person differ, in the face space (1: as photographs in LFW do).
    """

    source: Literal["facespace", "lfw"] = "facespace"
    root: str | None = None
    protocols: str | None = None
    prepared: str | None = None
    landmarker: str | None = None
    objects: str | None = None
    training_people: int = 150
    training_pictures: int = 4
    enrolled_people: int = 40
    enrolment_pictures: int = 3
    probe_pictures: int = 2
    new_people: int = 20
    new_pictures: int = 4
    pairs: int = 200
    object_pictures: int = 4
    object_training_pictures: int = 40
    other_pictures: int = 24
    variability: float = 0.6

    def __post_init__(self) -> None:
        least = {
            "training_people": 2, "training_pictures": 2, "enrolled_people": 2, "enrolment_pictures": 1,
            "probe_pictures": 1, "new_people": 2, "new_pictures": 2, "pairs": 0, "object_pictures": 1,
            "object_training_pictures": 1, "other_pictures": 0,
        }  # fmt: skip
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise FacelesionError(f"data.{name} is {getattr(self, name)}: it must be {smallest} or more")


@dataclass(frozen=True)
class LeftOutPicture:
    """A photograph that takes no part, and why."""

    name: str
    reason: str


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
        left_out: photographs that could not be used.
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
    others: ImageSet | None
    left_out: tuple[LeftOutPicture, ...] = field(default=())


def gather(config: DataConfig, seed: int, size: int) -> Materials:
    """Gather a study's pictures at `size` pixels; the same arguments give the same pictures.

    Raises:
        FacelesionError: a folder or file is missing, or there are too few people or pictures for what is asked.
    """
    return (
        _from_face_space(config, seed, size)
        if config.source == "facespace"
        else _from_lfw(config, seed, size)
    )


def all_pairs(labels: Sequence[str]) -> PairRows:
    """Every pair of pictures, and whether both show the same person."""
    _, who = np.unique(np.asarray(labels), return_inverse=True)
    first, second = torch.combinations(torch.arange(len(who))).T
    people = torch.from_numpy(who)
    return first, second, people[first] == people[second]


def _from_face_space(config: DataConfig, seed: int, size: int) -> Materials:
    from facelesion.data.facespace import CROP, FaceSpace
    from facelesion.data.splits import gallery

    if size != CROP:
        raise FacelesionError(
            f"the face space makes pictures of {CROP} pixels, the network wants {size}: use data.source lfw"
        )
    space = FaceSpace.load()

    def draw(role: int, people: int, pictures: int) -> FaceSet:
        # Another seed per role: people of different seeds are different people.
        return space.draw(people, pictures, seed * 10 + role, config.variability)

    training = draw(1, config.training_people, config.training_pictures)
    known = draw(2, config.enrolled_people, config.enrolment_pictures + config.probe_pictures)
    chosen = gallery(known, config.enrolled_people, config.enrolment_pictures, config.probe_pictures, seed)
    strangers = draw(3, config.new_people, config.new_pictures)
    return Materials(
        training=training,
        training_pairs=all_pairs(training.labels),
        enrolment=known[chosen.enrolment],
        probes=known[chosen.probes],
        strangers=strangers,
        pairs=all_pairs(strangers.labels),
        **_objects(config, seed, size, training, strangers),
    )


def _from_lfw(config: DataConfig, seed: int, size: int) -> Materials:
    """LFW's View 1: its training people train, its test people are enrolled and its test pairs asked about.

    A test person may be both enrolled and in a pair: verification looks at no memory, so that gives nothing away.
    """
    from facelesion.data.lfw import open_lfw
    from facelesion.data.pairs import find_pairs
    from facelesion.data.splits import gallery
    from facelesion.faces.preparation import load_prepared, prepare_once

    if config.root is None:
        raise FacelesionError(
            "data.root is missing: give LFW's folder of people or its archive with --data.root PATH"
        )
    lfw = open_lfw(config.root, config.protocols)
    done = prepare_once(lfw.root, size, config.prepared, config.landmarker)
    faces = load_prepared(done.folder)

    training_people, test_people = set(lfw.people("train")), set(lfw.people("test"))
    training = _some_of_each(faces, training_people, config.training_people, config.training_pictures, seed)
    test = faces[[row for row, person in enumerate(faces.labels) if person in test_people]]
    chosen = gallery(test, config.enrolled_people, config.enrolment_pictures, config.probe_pictures, seed)
    pairs, _ = find_pairs(test, lfw.pairs("test"))
    if config.pairs:
        pairs = pairs[_balanced(pairs.same, config.pairs, seed)]
    used = torch.unique(torch.cat([pairs.first, pairs.second]))
    strangers = test[used]
    asked = (torch.searchsorted(used, pairs.first), torch.searchsorted(used, pairs.second), pairs.same)
    return Materials(
        training=training,
        training_pairs=all_pairs(training.labels),
        enrolment=test[chosen.enrolment],
        probes=test[chosen.probes],
        strangers=strangers,
        pairs=asked,
        left_out=tuple(LeftOutPicture(left.name, left.reason) for left in done.left_out),
        **_objects(config, seed, size, training, strangers),
    )


def _some_of_each(faces: FaceSet, among: set[str], people: int, pictures: int, seed: int) -> FaceSet:
    """Up to `pictures` pictures of each of `people` people drawn from those with two or more."""
    rows: dict[str, list[int]] = {}
    for row, person in enumerate(faces.labels):
        if person in among:
            rows.setdefault(person, []).append(row)
    able = sorted(person for person, found in rows.items() if len(found) >= 2)
    if len(able) < people:
        raise FacelesionError(
            f"data.training_people is {people}, but only {len(able)} training people have two photographs or more"
        )
    drawn = np.random.default_rng((seed, 0x7A)).permutation(able)[:people]
    return faces[[row for person in sorted(drawn) for row in rows[person][:pictures]]]


def _balanced(same: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Positions of `count` pairs drawn at random, half of them of the same person."""
    rng = np.random.default_rng((seed, 0xBA))
    kinds = [np.flatnonzero(same.numpy()), np.flatnonzero(~same.numpy())]
    half = count // 2
    if min(map(len, kinds)) < half or half < 1:
        raise FacelesionError(
            f"data.pairs is {count}: there are {len(kinds[0])} and {len(kinds[1])} pairs to halve it from"
        )
    return torch.from_numpy(np.sort(np.concatenate([rng.permutation(kind)[:half] for kind in kinds])))


def _objects(config: DataConfig, seed: int, size: int, training: FaceSet, tested: FaceSet) -> dict:
    """Pictures without a face, apart in training and test; scrambled faces come from the same split's people."""
    from facelesion.data.objects import builtin_objects, nonfaces, object_folder

    if config.objects is None:
        training_objects = builtin_objects(config.object_training_pictures, seed=seed * 10 + 1, size=size)
        objects = builtin_objects(config.object_pictures, seed=seed * 10 + 2, size=size)
    else:
        per_category = config.object_training_pictures + config.object_pictures
        photographs = object_folder(config.objects, size=size, per_category=per_category)
        training_objects, objects = split_by_label(photographs, config.object_pictures, seed)
    others = config.other_pictures
    return {
        "training_objects": training_objects,
        "objects": objects,
        "training_others": nonfaces(max(4 * others, 80), seed=seed * 10 + 1, size=size, faces=training),
        "others": nonfaces(others, seed=seed * 10 + 2, size=size, faces=tested) if others else None,
    }


def split_by_label(pictures: ImageSet, held_out: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """Hold out `held_out` pictures of every label at random: (the rest, the held out).

    Raises:
        FacelesionError: a label with too few pictures.
    """
    rng = np.random.default_rng((seed, 0x5B))
    labels = np.asarray(pictures.labels)
    apart: list[int] = []
    for label in sorted(set(pictures.labels)):
        rows = np.flatnonzero(labels == label)
        if len(rows) <= held_out:
            raise FacelesionError(
                f"{label!r} has {len(rows)} pictures; {held_out + 1} or more are needed to train and test on it"
            )
        apart.extend(int(i) for i in rng.permutation(rows)[:held_out])
    held = np.zeros(len(pictures), bool)
    held[apart] = True
    return pictures[np.flatnonzero(~held).tolist()], pictures[np.flatnonzero(held).tolist()]
