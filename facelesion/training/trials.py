"""Which pictures a training recipe learns from, and which it is tested on: nobody who trains a network is tested.

LFW's View 1 says who may train and who may be tested, and is kept to. Pictures lie in memory once; under a stimulus
they are made batch by batch, when they are asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from facelesion.data import LFW, FaceSet, ImageSet, builtin_objects, nonfaces, object_folder, open_lfw
from facelesion.data.lfw import Part
from facelesion.data.modules import IdentificationData, Trials
from facelesion.data.splits import SHARES, balanced, split
from facelesion.errors import Error
from facelesion.faces.stimuli import Intact, Stimulus
from facelesion.training.photographs import aligned_photographs

if TYPE_CHECKING:
    from facelesion.training.classify import ClassifyConfig, ClassifyData

# Seeds of the face space: people of different seeds are different people.
_TESTED, _PRACTICE = 1_000, 500_000
# Photographs of each category, in the order of their names, that taught the networks which the project brings.
_TAUGHT_OBJECTS = 40


@dataclass(frozen=True)
class Roles:
    """Trials by what they are for.

    Attributes:
        parts: "train", "validation" and "test"; practice has no test.
        classes: what the trials' targets mean.
        source: what `trained_on` calls the pictures.
        lfw: LFW, where the pictures are from there.
    """

    parts: Mapping[str, Trials]
    classes: tuple[str, ...]
    source: str
    lfw: LFW | None = None

    def people(self, *parts: str) -> tuple[str, ...]:
        """Who is shown in these parts, sorted; what is no face is nobody."""
        there = [self.parts[part] for part in parts if part in self.parts]
        return tuple(sorted(set().union(*(shown_people(trials, self.classes) for trials in there))))


def shown_people(trials: Trials, classes: Sequence[str]) -> set[str]:
    """Whose faces are among the trials."""
    faces = trials.targets.bool().tolist() if tuple(classes) == ("no face", "face") else [True] * len(trials)
    return {name for name, face in zip(trials.pictures.labels, faces, strict=True) if face}


@dataclass(frozen=True)
class Shown:
    """Trials under stimuli. A picture is made when it is asked for, by its own number: the same one every time.

    Attributes:
        trials: the pictures as they are.
        stimuli: short names.
        chosen: int64 (M,): trial `chosen % len(trials)` under stimulus `chosen // len(trials)`.
    """

    trials: Trials
    stimuli: tuple[str, ...]
    chosen: torch.Tensor

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def targets(self) -> torch.Tensor:
        """Class numbers (M,)."""
        return self.trials.targets[self.chosen % len(self.trials)]

    @property
    def ids(self) -> torch.Tensor:
        """The pictures' numbers (M,): the same for a picture under every stimulus."""
        return self.trials.pictures.ids[self.chosen % len(self.trials)]

    @property
    def people(self) -> tuple[str, ...]:
        """Who or what is on each (M)."""
        return tuple(self.trials.pictures.labels[row] for row in (self.chosen % len(self.trials)).tolist())

    @property
    def names(self) -> tuple[str, ...]:
        """Each picture's name with its stimulus (M)."""
        rows, kinds = (self.chosen % len(self.trials)).tolist(), (self.chosen // len(self.trials)).tolist()
        names = self.trials.pictures.names
        return tuple(f"{names[row]} ({self.stimuli[kind]})" for row, kind in zip(rows, kinds, strict=True))

    def images(self, places: torch.Tensor) -> torch.Tensor:
        """The pictures at these places, uint8 (n, 3, H, W)."""
        faces = self.trials.pictures
        assert isinstance(faces, FaceSet)
        chosen = self.chosen[places]
        made = faces.images.new_empty(len(chosen), *faces.images.shape[1:])
        for number, name in enumerate(self.stimuli):
            here = torch.nonzero(chosen // len(self.trials) == number)[:, 0]
            if len(here):
                rows = chosen[here] % len(self.trials)
                stimulus = Stimulus.from_dict(name)
                made[here] = (
                    faces.images[rows] if stimulus == Intact() else faces[rows].shown(stimulus).images
                )
        return made


def shown_as(trials: Trials, stimuli: Sequence[str], keep: int = 0, seed: int = 0) -> Shown:
    """Every trial once per stimulus, or `keep` of all these, drawn by the seed."""
    chosen = torch.arange(len(trials) * len(stimuli))
    if 0 < keep < len(chosen):
        order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))
        chosen = order[:keep].sort().values
    return Shown(trials, tuple(stimuli), chosen)


def trials_of(config: ClassifyConfig, size: int, about: Mapping[str, Any] | None = None) -> Roles:
    """Who trains, who validates, who is tested.

    Args:
        config: the recipe's.
        size: of the pictures, in pixels.
        about: the network's note: photographs of objects that taught it are not tested.

    Raises:
        Error: photographs that are not there, too few people or pictures.
    """
    data, seed = config.data, config.seed
    faces, lfw = _faces(data, size, seed, _TESTED)
    source = "the face space" if lfw is None else "LFW"
    if config.task == "detection":
        parts = _detection(_people_apart(faces, lfw, data, seed), data, seed, about or {})
        return Roles(parts, ("no face", "face"), source, lfw)
    each = data.pictures
    if each < 4:
        raise Error(f"data.pictures is {each}: identification needs 4 or more (train, validate, test)")
    faces = _most_photographed(faces, lfw, "test", data.people, each)
    made = IdentificationData(
        faces, len(set(faces.labels)), enrolment=each - 2, probes=1, validation=1, seed=seed
    )
    return Roles(_trials(made), made.classes, source, lfw)


def practice_of(config: ClassifyConfig, size: int, people: int) -> Roles:
    """Other people to learn identification from, in "train" and "validation": nobody of them is tested.

    Raises:
        Error: not so many people have enough pictures; LFW without its lists.
    """
    data, each = config.data, config.data.pictures
    if data.source == "facespace":
        faces, lfw = _faces(replace(data, people=people), size, config.seed, _PRACTICE)
    else:
        faces, lfw = _faces(data, size, config.seed, _PRACTICE)
        assert lfw is not None
        lfw.people("train")  # its list has to be there: without it nobody is known to be no test person
        faces = _most_photographed(faces, lfw, "train", people, each)
    made = IdentificationData(
        faces, len(set(faces.labels)), enrolment=each - 1, probes=1, validation=0, seed=config.seed
    )
    parts = _trials(made)
    return Roles(
        {"train": parts["train"], "validation": parts["test"]}, made.classes,
        "the face space" if lfw is None else "LFW", lfw,
    )  # fmt: skip


def _trials(made: IdentificationData) -> dict[str, Trials]:
    return {name: trials for name, trials in made.parts.items() if isinstance(trials, Trials)}


def faces_of(data: ClassifyData, size: int, seed: int) -> tuple[FaceSet, LFW | None]:
    """The faces that a config names, all people together, and LFW where they are from there.

    Of LFW these are View 1's test people, whom no network of this project saw in training.

    Raises:
        Error: a size that the face space does not draw, or photographs that are not there.
    """
    faces, lfw = _faces(data, size, seed, _TESTED)
    return _most_photographed(faces, lfw, "test", data.people, data.pictures), lfw


def _faces(data: ClassifyData, size: int, seed: int, role: int) -> tuple[FaceSet, LFW | None]:
    """Drawn people, or every photograph in which a face was found."""
    if data.source == "facespace":
        from facelesion.data.facespace import CROP, FaceSpace

        if size != CROP:
            raise Error(f"the face space draws {CROP} pixels, the network wants {size}: use data.source lfw")
        return FaceSpace.load().draw(data.people, data.pictures, seed=role + seed), None
    if data.root is None:
        raise Error("data.root is missing: give LFW's folder of people or its archive with --data.root PATH")
    lfw = open_lfw(data.root, data.protocols)
    return aligned_photographs(lfw, size, data.prepared, data.landmarker), lfw


def _most_photographed(
    faces: FaceSet, lfw: LFW | None, part: Part | None, people: int, pictures: int
) -> FaceSet:
    """So many people, those with most photographs, and so many pictures of each at the most.

    Of LFW only View 1's training or test people, as `part` says; photographs without its lists have no such parts.
    """
    listed = None if lfw is None or lfw.protocols is None or part is None else set(lfw.people(part))
    rows: dict[str, list[int]] = {}
    for row, person in enumerate(faces.labels):
        if listed is None or person in listed:
            rows.setdefault(person, []).append(row)
    able = sorted(rows, key=lambda person: (-len(rows[person]), person))
    if len(able) < people:
        raise Error(f"{people} people are asked for, but there are only {len(able)} who may be in this role")
    return faces[[row for person in able[:people] for row in rows[person][:pictures]]]


def _people_apart(faces: FaceSet, lfw: LFW | None, data: ClassifyData, seed: int) -> dict[str, FaceSet]:
    """Nobody in two parts; of LFW, training and validation from View 1's training list, test from its test list."""
    if lfw is None or lfw.protocols is None:
        some = _most_photographed(faces, lfw, None, data.people, data.pictures)
        return {name: some[rows] for name, rows in split(some, by="person", seed=seed).parts.items()}
    tested = max(1, round(SHARES["test"] * data.people))
    taught = _most_photographed(faces, lfw, "train", data.people - tested, data.pictures)
    shares = {name: SHARES[name] / (1 - SHARES["test"]) for name in ("train", "validation")}
    parts = {name: taught[rows] for name, rows in split(taught, shares, by="person", seed=seed).parts.items()}
    return parts | {"test": _most_photographed(faces, lfw, "test", tested, data.pictures)}


def _detection(
    people: Mapping[str, FaceSet], data: ClassifyData, seed: int, about: Mapping[str, Any]
) -> dict[str, Trials]:
    """Face or not, half and half; nobody is in two parts, not even scrambled, and no object either.

    Pictures without a face borrow the landmarks of one, so that they are masked like the others.
    """
    size = next(iter(people.values())).size
    objects = objects_apart(object_folder(data.objects, size=size), seed, about) if data.objects else None
    parts = {}
    for number, (name, faces) in enumerate(people.items()):
        others = objects[name] if objects is not None else _made_up(faces, seed * 10 + number)
        own, others = balanced(faces, others, seed=seed)
        assert isinstance(own, FaceSet)
        together = FaceSet(
            torch.cat([own.images, others.images]), own.labels + others.labels, own.names + others.names,
            torch.cat([own.landmarks, own.landmarks]), ids=torch.cat([own.ids, others.ids]),
        )  # fmt: skip
        parts[name] = Trials(together, torch.arange(len(together)).lt(len(own)).long())
    return parts


def objects_apart(photographs: ImageSet, seed: int, about: Mapping[str, Any]) -> dict[str, ImageSet]:
    """Photographs of objects by part; what taught the network before is not tested."""
    said = str(about.get("trained_on", ""))
    taught = int(about.get("object_photographs", _TAUGHT_OBJECTS if "objects" in said else 0))
    rank, seen = Counter[str](), []
    for row in sorted(range(len(photographs)), key=lambda row: photographs.names[row]):
        rank[photographs.labels[row]] += 1
        if rank[photographs.labels[row]] <= taught:
            seen.append(row)
    apart = split(photographs, by="photograph", seed=seed)
    if not seen:
        return {name: photographs[apart[name]] for name in apart.parts}
    unseen = sorted(set(range(len(photographs))) - set(seen))
    if not unseen:
        raise Error(
            f"data.objects: the network was taught by {taught} photographs of each category, and there are no others "
            "to test it on: give more, or leave data.objects out"
        )
    shares = {name: SHARES[name] / (1 - SHARES["test"]) for name in ("train", "validation")}
    others = photographs[seen]
    parts = {
        name: others[rows] for name, rows in split(others, shares, by="photograph", seed=seed).parts.items()
    }
    return parts | {"test": photographs[unseen]}


def _made_up(faces: FaceSet, seed: int) -> ImageSet:
    """Pictures without a face, at least as many as there are faces: objects, textures, these faces scrambled."""
    wanted = len(faces)
    objects = builtin_objects(wanted // 32 + 1, seed=seed, size=faces.size)
    rest = nonfaces(wanted - wanted // 2, seed=seed, size=faces.size, faces=faces)
    names = tuple(f"object/{name}" for name in objects.names) + rest.names
    return ImageSet(torch.cat([objects.images, rest.images]), objects.labels + rest.labels, names)
