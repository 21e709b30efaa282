"""The recipe of participants: networks that know people and things, each begun anew from its own seed.

A claim about "the network" needs the same damage in networks that learned apart. Each seed learns from its own random
part of LFW's View 1 training people, its own made-up people and its own things, and begins from its own weights.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import nn

from facelesion.data import (
    FaceSet,
    ImageSet,
    builtin_exemplars,
    builtin_objects,
    nonfaces,
    object_folder,
    open_lfw,
)
from facelesion.data.objects import CATEGORIES as KINDS
from facelesion.data.seen import NAMED_TRAINING, TEACHING_SEEDS
from facelesion.errors import Error
from facelesion.files import cache_folder, write_bytes
from facelesion.models.mobilefacenet import MobileFaceNet, for_speed, read_mobilefacenet
from facelesion.models.subject import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Subject, ready
from facelesion.models.vgg import VGGFace
from facelesion.ranges import PICTURE_BYTES, Label, OnlyWhen, PathText, Range, Seed, Size, refuse_endless
from facelesion.settings import SettingError, check
from facelesion.tasks.exemplars import CATEGORIES
from facelesion.training.device import placed
from facelesion.training.distil import EMBEDDING, SIZE, taught_once, training_faces
from facelesion.training.distillation import Schedule
from facelesion.training.individuals import Individuals, Pictures, photograph_views
from facelesion.training.participant_learner import ENROLLED, Learner, ParticipantLearning
from facelesion.training.participant_lessons import Contrast, Material, ParticipantData, Taught, Watched
from facelesion.training.pool import Pool, drawn_part, open_pool
from facelesion.training.reached import objects_reached, pairs_reached, things_reached
from facelesion.training.run import RunConfig, claim_for_stages, fit, stage_of
from facelesion.training.views import Shares, Views
from facelesion.weights import store

# Things by which it is seen how far a network is: nobody's lessons, and nothing that is asked about at the end.
_WATCHED_THINGS = 4_000_001
_VIEWS_SEED = 17  # of the views that all participants share
PHOTOGRAPHED, MADE_UP = "photographed person", "made-up person"
_VALIDATED = 4  # photographs of each person that is watched


@dataclass(frozen=True)
class ParticipantSources:
    """What participants are made from, and how much of it each of them sees.

    Attributes:
        people: `photographs` and the face space, or `none`: it never sees a face.
        root: LFW's folder of people, or its archive. Only View 1's training people are used.
        protocols: the folder of LFW's protocol files; looked for beside `root` when left out.
        prepared: where aligned crops and landmarks are kept; the user's cache folder when left out.
        landmarker: MediaPipe's `face_landmarker.task`, to prepare photographs that are not yet prepared.
        pool: where views of photographs and the teacher's answers are kept for all seeds; a folder in the user's cache
            when left out.
        share: of View 1's training people and of each category's photographs, from which a participant learns; its
            seed says which.
        held_out_people: of those whom it does not learn from, by how many it is seen how far it is.
        shares: how many views are made of each photograph.
        facespace_people: people drawn from the built-in face space.
        facespace_pictures: pictures of each.
        kinds: of built-in objects, whose individuals it learns to tell apart.
        harder_kinds: of these, those that are shown twice as often as the others.
        things: individuals of each kind.
        thing_pictures: pictures of each.
        objects: a folder of categories with photographs, or its archive: each photographed thing is an individual too.
        object_photographs: photographs of each category that may train; the rest are for tests.
        builtin_objects: pictures of each of the kinds of built-in objects, each of another object.
        nonfaces: textures, objects and (where people are seen) scrambled faces.
    """

    people: Literal["photographs", "none"] = "photographs"
    root: PathText | None = None
    protocols: Annotated[PathText | None, OnlyWhen("root")] = None
    prepared: Annotated[PathText | None, OnlyWhen("root")] = None
    landmarker: Annotated[PathText | None, OnlyWhen("root")] = None
    pool: Annotated[PathText | None, OnlyWhen("people", "photographs")] = None
    share: Annotated[float, Range(0, 1, above=True)] = 0.8
    held_out_people: Annotated[int, Range(2, 5_000), OnlyWhen("people", "photographs")] = 150
    shares: Annotated[Shares, OnlyWhen("people", "photographs")] = field(default_factory=Shares)
    facespace_people: Annotated[
        int, Range(0, 1_000_000, bytes_each=PICTURE_BYTES), OnlyWhen("people", "photographs")
    ] = 3500
    facespace_pictures: Annotated[int, Range(1, 1_000), OnlyWhen("people", "photographs")] = 2
    kinds: Annotated[tuple[Label, ...], Size(1, len(KINDS), twice=False)] = CATEGORIES
    harder_kinds: Annotated[tuple[Label, ...], Size(0, len(KINDS), twice=False)] = ()
    things: Annotated[int, Range(2, 1_000_000, bytes_each=PICTURE_BYTES)] = 300
    thing_pictures: Annotated[int, Range(2, 1_000)] = 8
    objects: PathText | None = None
    object_photographs: Annotated[int, Range(3, 100_000), OnlyWhen("objects")] = 40
    builtin_objects: Annotated[int, Range(2, 100_000)] = 100
    nonfaces: Annotated[int, Range(1, 1_000_000, bytes_each=PICTURE_BYTES)] = 800

    def __post_init__(self) -> None:
        check(self)
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise SettingError("kinds", f"name {unknown[0]!r}: there are {', '.join(KINDS)}")
        if other := [kind for kind in self.harder_kinds if kind not in self.kinds]:
            raise SettingError("harder_kinds", f"name {other[0]!r}, and kinds are {', '.join(self.kinds)}")
        if self.people == "photographs" and self.root is None:
            raise SettingError("root", "is left out: say where LFW's photographs are, or set people to none")
        refuse_endless({"things": self.things, "thing_pictures": self.thing_pictures}, PICTURE_BYTES)


@dataclass(frozen=True)
class ParticipantConfig:
    """Everything that decides what comes out.

    Attributes:
        data: what it is made from.
        teacher: MobileFaceNet's state dict; without one, people are learned by name.
        width: factor on VGG16's channels.
        schedule: how long, how fast, at what sizes; `batch_size` are faces, `nonfaces` others beside things.
        people: how people are told apart without a teacher.
        things: how things are told apart.
        start: weights of this seed's participant to go on from; `{seed}` in it is the seed. From new weights
            when left out.
        fixed_blocks: of convolutions, the first ones, which stay as they were at the start; it is quicker so.
        run: where runs are kept; each seed has a folder of its own there, and goes on where it was stopped.
        seed: of everything drawn at random.
        weights: the file that is made; in the run's folder when left out.
        measure: afterwards, ask about LFW's test pairs and things that nobody learned.
        recipe: names this kind of training.

    Example:
        $ python -m facelesion.train --config configs/train/participant.yaml --data.root lfw-deepfunneled --seed 3
    """

    data: ParticipantSources
    teacher: PathText | None = None
    width: Annotated[float, Range(0.01, 4)] = 0.25
    schedule: Schedule = field(default_factory=Schedule)
    people: Annotated[Contrast, OnlyWhen("teacher", None)] = field(
        default_factory=lambda: Contrast(individuals=32, pictures=2, weight=1.0)
    )
    things: Contrast = field(default_factory=Contrast)
    start: PathText | None = None
    fixed_blocks: Annotated[int, Range(0, 4), OnlyWhen("start")] = 0
    run: RunConfig = field(default_factory=RunConfig)
    seed: Seed = 0
    weights: PathText | None = None
    measure: bool = True
    recipe: Literal["participant"] = "participant"

    def __post_init__(self) -> None:
        check(self)
        if self.data.people == "none" and self.teacher is not None:
            raise SettingError("teacher", "does nothing with data.people none: leave it out")
        faces = self.people.individuals * self.people.pictures
        if self.data.people != "none" and self.teacher is None and faces != self.schedule.batch_size:
            raise SettingError(
                "people", f"ask for {faces} faces in a step, and schedule.batch_size is {self.schedule.batch_size}: "
                "make them the same"
            )  # fmt: skip


def participant(config: ParticipantConfig) -> Path:
    """Train one participant, or go on with it; nothing is done where its weights are there already.

    Returns:
        The weights' file.

    Raises:
        Error: a teacher or photographs that are not there, a folder that holds another run, more than one
            device.
    """
    folder = Path(config.run.folder) / f"seed{config.seed}"
    run = replace(config.run, folder=str(folder))
    # Before the folder is claimed: what is not there is no run's setting.
    teacher, start = _found(config), _started_from(config)
    claim_for_stages(run, asdict(replace(config, run=run)))
    target = Path(config.weights) if config.weights else folder / "weights.safetensors"
    if target.is_file() and not config.run.overwrite:
        return target
    lessons = _lessons(config, teacher, folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        learner = Learner(
            config.width, EMBEDDING, len(lessons.material.classes), lessons.material.faces is not None,
            config.fixed_blocks,
        )  # fmt: skip
    module = ParticipantLearning(
        learner, config.schedule, config.people, config.things, lessons.watched, SIZE
    )
    data = ParticipantData(
        lessons.material, lessons.watched, config.schedule, config.people, config.things, config.seed
    )
    if start is not None:
        module.begin_from(*start, data.lessons[0, 0].images)
    fit(module, data, config.schedule.epochs, stage_of(run, folder / "learning"), config.seed)
    tensors = module.average.tensors()
    about = lessons.about(config)
    if start is not None:
        about |= {"started_from": store.digest(start[0])}
    if config.measure:
        reached = _reached(tensors, about, config)
        about |= {"reached": reached}
        write_bytes(folder / "reached.json", f"{json.dumps(reached, indent=2)}\n".encode())
    store.save_weights(target, tensors, about)
    return target


def _found(config: ParticipantConfig) -> MobileFaceNet | None:
    """The teacher, if there is one, once it is known that everything else is where the settings say.

    Raises:
        Error: it is not.
    """
    if config.data.root is not None:
        open_lfw(config.data.root, config.data.protocols).people("train")
    if config.data.objects is not None and not Path(config.data.objects).exists():
        raise Error(
            f"data.objects {config.data.objects}: no such folder or archive: check the path"
        )
    return None if config.teacher is None else read_mobilefacenet(config.teacher)


def _started_from(config: ParticipantConfig) -> tuple[dict[str, torch.Tensor], str] | None:
    """The weights to go on from and where they lie, once it is known that they are a participant's of this seed.

    Raises:
        Error: they are not.
    """
    if config.start is None:
        return None
    path = Path(config.start.replace("{seed}", str(config.seed)))
    tensors, about = store.read_weights(path)
    if about.get("recipe") != "participant" or about.get("seed") != config.seed:
        raise Error(
            f"start {path}: not the weights of a participant of seed {config.seed}: give those that this recipe made"
        )
    return tensors, str(path)


@dataclass(frozen=True)
class _Lessons:
    material: Material
    watched: Watched
    trained: tuple[str, ...]
    validated: tuple[str, ...]

    def about(self, config: ParticipantConfig) -> dict[str, object]:
        """What the file of weights says of itself."""
        taught = "MobileFaceNet (foamliu/MobileFaceNet, Apache-2.0)" if config.teacher else None
        people = [NAMED_TRAINING, "the built-in face space"] if self.trained else []
        return {
            "architecture": "VGGFace", "width": config.width, "size": SIZE, "colour_order": "RGB",
            "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "embedding": EMBEDDING, "seed": config.seed,
            "trained_on": ", ".join([*people, "objects"]),
            "people": sorted(self.trained), "validation_people": sorted(self.validated),
            "categories": list(self.material.classes), "kinds_of_things": list(config.data.kinds),
            "object_photographs": config.data.object_photographs if config.data.objects else 0,
            "teacher": taught, "recipe": "participant",
        }  # fmt: skip


def _lessons(config: ParticipantConfig, teacher: MobileFaceNet | None, folder: Path) -> _Lessons:
    """Whom and what this seed learns from, and by whom it is watched."""
    data = config.data
    things = _things(data, config.seed)
    asked = builtin_exemplars(20, ENROLLED + 2, _WATCHED_THINGS + config.seed, SIZE, categories=data.kinds)
    kinds = tuple(name.split("/")[0] for name in asked.names)
    if data.people == "none":
        others = _others(None, data, config.seed)
        watched = Watched(None, None, (), asked.images, asked.labels, kinds)
        return _Lessons(Material(None, things, others), watched, (), ())
    faces, people = training_faces(data)
    present = sorted(set(faces.labels) & set(people))
    trained, left_out = drawn_part(present, data.share, (config.seed, 0x9A27))
    validated = left_out[: data.held_out_people]
    if len(validated) < data.held_out_people:
        raise Error(
            f"data.share {data.share:g} leaves out {len(left_out)} of {len(present)} people, and data.held_out_people "
            f"is {data.held_out_people}: lower one of them"
        )
    shared = open_pool(faces, data.shares, _VIEWS_SEED, _pool_folder(data), config.run.progress)
    plain = _plain_rows(shared, validated)
    rows = shared.rows_of(trained)
    if teacher is None:
        material_faces: Taught | Individuals = _named(shared, rows, data, config.seed)
        targets = None
    else:
        with placed(config.run, teacher):
            answers = shared.taught(for_speed(teacher), store.digest(teacher.state_dict()), config.run.progress)
            material_faces = _taught_faces(shared, rows, answers, teacher, config, folder)
        targets = answers[plain]
    own = set(trained)
    others = _others(faces[[row for row, name in enumerate(faces.labels) if name in own]], data, config.seed)
    watched = Watched(shared.images[plain], targets, shared.labels(plain), asked.images, asked.labels, kinds)
    return _Lessons(Material(material_faces, things, others), watched, trained, validated)


def _pool_folder(data: ParticipantSources) -> Path:
    return Path(data.pool) if data.pool else cache_folder() / "pools"


def _plain_rows(shared: Pool, people: Sequence[str]) -> torch.Tensor:
    """Rows of the photographs as they are of these people, a few of each."""
    rows = shared.rows_of(people)
    rows = rows[rows < shared.plain]
    seen: dict[str, int] = {}
    kept = []
    for row, name in zip(rows.tolist(), shared.labels(rows), strict=True):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= _VALIDATED:
            kept.append(row)
    return torch.tensor(kept)


def _taught_faces(
    shared: Pool,
    rows: torch.Tensor,
    answers: torch.Tensor,
    teacher: MobileFaceNet,
    config: ParticipantConfig,
    folder: Path,
) -> Taught:
    """Views of this seed's people and pictures of its made-up people, with the teacher's answers."""
    pictures, targets = [(shared.images, rows)], [answers[rows]]
    if made := _made_up(config.data, config.seed):
        taught: Views = taught_once(
            for_speed(teacher), made.images, folder / "facespace_targets.safetensors", config.run.progress
        )
        pictures.append((made.images, torch.arange(len(made))))
        targets.append(taught.targets)
    return Taught(Pictures(*pictures), torch.cat(targets))


def _named(shared: Pool, rows: torch.Tensor, data: ParticipantSources, seed: int) -> Individuals:
    """Pictures of this seed's people that show one person, and of its made-up people, by name."""
    rows = rows[shared.shown[rows, 0] == shared.shown[rows, 1]]
    pictures, names = [(shared.images, rows)], list(shared.labels(rows))
    kinds = [PHOTOGRAPHED] * len(names)
    if made := _made_up(data, seed):
        pictures.append((made.images, torch.arange(len(made))))
        names += made.labels
        kinds += [MADE_UP] * len(made)
    return Individuals(Pictures(*pictures), names, kinds)


def _made_up(data: ParticipantSources, seed: int) -> FaceSet | None:
    if not data.facespace_people:
        return None
    from facelesion.data.facespace import FaceSpace

    return FaceSpace.load().draw(data.facespace_people, data.facespace_pictures, seed=TEACHING_SEEDS + seed)


def _things(data: ParticipantSources, seed: int) -> Individuals:
    """Individual things: drawn ones of each kind, and photographed ones, all of which count as one kind more."""
    drawn = builtin_exemplars(
        data.things, data.thing_pictures, TEACHING_SEEDS + seed, SIZE, categories=data.kinds
    )
    pictures, names = [(drawn.images, torch.arange(len(drawn)))], list(drawn.labels)
    kinds = [name.split("/")[0] for name in drawn.names]
    shares = {kind: 2.0 if kind in data.harder_kinds else 1.0 for kind in data.kinds}
    if data.objects:
        photographs = _photographs(data, seed)
        views = photograph_views(photographs.images, data.thing_pictures, seed)
        pictures.append((views, torch.arange(len(views))))
        names += [name for name in photographs.names for _ in range(data.thing_pictures)]
        kinds += [label for label in photographs.labels for _ in range(data.thing_pictures)]
        categories = set(photographs.labels)
        shares |= dict.fromkeys(categories, 1 / len(categories))
    return Individuals(Pictures(*pictures), names, kinds, shares)


def _photographs(data: ParticipantSources, seed: int) -> ImageSet:
    """This seed's part of each category's photographs that may train."""
    assert data.objects is not None
    found = object_folder(data.objects, size=SIZE, per_category=data.object_photographs)
    kept: set[str] = set()
    for label in sorted(set(found.labels)):
        own = [name for name, each in zip(found.names, found.labels, strict=True) if each == label]
        kept |= set(drawn_part(own, data.share, (seed, 0x0B1EC7))[0])
    few = found[[row for row, name in enumerate(found.names) if name in kept]]
    return replace(few, labels=tuple(f"photograph of {label}" for label in few.labels))


def _others(faces: FaceSet | None, data: ParticipantSources, seed: int) -> ImageSet:
    """Pictures by kind alone: drawings of all kinds, photographs, textures, scrambled faces where people are seen."""
    parts = [
        builtin_objects(data.builtin_objects, seed=TEACHING_SEEDS + seed, size=SIZE),
        nonfaces(data.nonfaces, seed=TEACHING_SEEDS + seed, size=SIZE, faces=faces),
    ]
    if data.objects:
        parts.append(_photographs(data, seed))
    labels = tuple(label for part in parts for label in part.labels)
    return ImageSet(torch.cat([part.images for part in parts]), labels, tuple(map(str, range(len(labels)))))


def _reached(
    tensors: dict[str, torch.Tensor], about: dict[str, object], config: ParticipantConfig
) -> dict[str, float]:
    """What it reaches on people and things that nobody learned."""
    subject = subject_of(tensors, about, config.width)
    with placed(config.run, subject.module):
        reached = things_reached(subject, config.data.kinds)
        if config.data.root is not None:
            reached = pairs_reached(subject, config.data) | reached
        if config.data.objects:
            reached |= objects_reached(subject, config.data.objects, config.data.object_photographs)
    return reached


def subject_of(tensors: dict[str, torch.Tensor], about: dict[str, object], width: float) -> Subject:
    """The network that a participant's tensors are."""
    plain = VGGFace(width, outputs=None)
    identity: nn.Module = nn.Identity()
    store.fit(
        plain, {key: value for key, value in tensors.items() if key.startswith("features.")}, "participant"
    )
    if "identity.weight" in tensors:
        answers, before = tensors["identity.weight"].shape
        identity = nn.Linear(before, answers)
        own = {key.removeprefix("identity."): v for key, v in tensors.items() if key.startswith("identity.")}
        store.fit(identity, own, "participant")
    extra = {key: value for key, value in tensors.items() if key.startswith(("things.", "categories."))}
    return Subject(
        f"seed{about['seed']}", ready(plain), SIZE, Preprocessing(SIZE), ready(identity), store.digest(tensors), about,
        extra,
    )  # fmt: skip
