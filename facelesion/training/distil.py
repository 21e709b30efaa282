"""The recipe that makes the built-in network: real faces, made-up faces and objects, taught by MobileFaceNet."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from facelesion.data import (
    FaceSet,
    ImageSet,
    builtin_objects,
    nonfaces,
    object_folder,
    open_lfw,
)
from facelesion.data.seen import TEACHING_SEEDS
from facelesion.errors import Error
from facelesion.files import write_bytes
from facelesion.models.mobilefacenet import for_speed, read_mobilefacenet
from facelesion.models.subject import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Subject
from facelesion.ranges import PICTURE_BYTES, OnlyWhen, PathText, Range, Seed, refuse_endless
from facelesion.settings import check
from facelesion.training.device import placed
from facelesion.training.distillation import Distillation, DistillationData, HeldOut, Schedule
from facelesion.training.photographs import WherePhotographsLie, aligned_photographs
from facelesion.training.reached import objects_reached, pairs_reached
from facelesion.training.run import RunConfig, check_folder, fit, one_device
from facelesion.training.views import Shares, Views, make_views, teach
from facelesion.weights import store

SIZE = 112
EMBEDDING = 128
# Drawn from these, the made-up people and objects of training are nobody and nothing that a study draws.
_SEEDS = TEACHING_SEEDS


@dataclass(frozen=True)
class DistilData:
    """What the student sees.

    Attributes:
        root: LFW's folder of people, or its archive. Only View 1's training people are used.
        protocols: the folder of LFW's protocol files; looked for beside `root` when left out.
        prepared: where aligned crops and landmarks are kept; the user's cache folder when left out.
        landmarker: MediaPipe's `face_landmarker.task`, to prepare photographs that are not yet prepared.
        objects: a folder of categories with photographs, or its archive; built-in objects alone when left out.
        object_photographs: photographs of each category that train; keep the rest for tests.
        held_out_people: training people who are kept for validation.
        facespace_people: people drawn from the built-in face space.
        facespace_pictures: pictures of each.
        builtin_objects: pictures of each kind of built-in object.
        nonfaces: textures and scrambled faces.
        shares: how many views are made of each photograph.
    """

    root: PathText
    protocols: PathText | None = None
    prepared: PathText | None = None
    landmarker: PathText | None = None
    objects: PathText | None = None
    object_photographs: Annotated[int, Range(1, 100_000), OnlyWhen("objects")] = 40
    held_out_people: Annotated[int, Range(2, 5_000)] = 200
    facespace_people: Annotated[int, Range(0, 1_000_000, bytes_each=PICTURE_BYTES)] = 3500
    facespace_pictures: Annotated[int, Range(1, 1_000)] = 2
    builtin_objects: Annotated[int, Range(2, 100_000)] = 40
    nonfaces: Annotated[int, Range(1, 1_000_000, bytes_each=PICTURE_BYTES)] = 800
    shares: Shares = field(default_factory=Shares)

    def __post_init__(self) -> None:
        check(self)
        drawn = {"facespace_people": self.facespace_people, "facespace_pictures": self.facespace_pictures}
        refuse_endless(drawn, PICTURE_BYTES)


@dataclass(frozen=True)
class DistilConfig:
    """Everything that decides what comes out.

    Attributes:
        teacher: MobileFaceNet's state dict.
        data: what the student sees.
        width: factor on VGG16's channels.
        schedule: how long, how fast, at what sizes.
        run: where the run is kept.
        seed: of everything drawn at random.
        start: a checkpoint of an earlier distillation of the same width to go on from (its averaged weights), with this
            config's schedule; from random weights when left out.
        weights: the file that is made; in the run's folder when left out.
        measure: afterwards, ask about LFW's test pairs and the objects kept for tests.
        recipe: names this kind of training.

    Example:
        $ python -m facelesion.train --config configs/train/builtin.yaml --data.root lfw --teacher mobilefacenet.pt
    """

    teacher: PathText
    data: DistilData
    width: Annotated[float, Range(0.01, 4)] = 0.25
    schedule: Schedule = field(default_factory=Schedule)
    run: RunConfig = field(default_factory=RunConfig)
    seed: Seed = 0
    start: PathText | None = None
    weights: PathText | None = None
    measure: bool = True
    recipe: Literal["distil"] = "distil"

    def __post_init__(self) -> None:
        check(self)


def distil(config: DistilConfig) -> Path:
    """Train the student, fold it into plain VGG16, write it with its note and its figures.

    Returns:
        The weights' file.

    Raises:
        Error: a teacher or photographs that are not there, a folder that holds another run, more than one
            device.
    """
    one_device(config.run)
    folder = check_folder(config.run, asdict(config))
    teacher = for_speed(read_mobilefacenet(config.teacher))
    training, people = training_faces(config.data)
    faces, held_out = hold_out(training, people, config.data.held_out_people, config.seed)
    with placed(config.run, teacher):
        views = taught_once(teacher, _pictures(faces, config), folder / "targets.safetensors", config.run.progress)
        validation = taught_once(
            teacher, held_out.images, folder / "held_out_targets.safetensors", config.run.progress
        )
    others = _others(faces, config.data)
    data = DistillationData(views, others, HeldOut(validation, held_out.labels), config.schedule, config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        module = Distillation(config.width, EMBEDDING, config.schedule, data.classes, held_out.labels, SIZE)
    if config.start:
        go_on_from(module, Path(config.start))
    fit(module, data, config.schedule.epochs, config.run, config.seed)
    plain, identity = module.average.folded()
    tensors = {
        **plain.state_dict(),
        **{f"identity.{key}": value for key, value in identity.state_dict().items()},
    }
    about = {
        "architecture": "VGGFace", "width": config.width, "size": SIZE, "colour_order": "RGB",
        "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "embedding": EMBEDDING, "seed": config.seed,
        "trained_on": "LFW View 1 training people, the built-in face space, objects",
        "people": sorted(set(training.labels)),
        "object_photographs": config.data.object_photographs if config.data.objects else 0,
        "teacher": "MobileFaceNet (foamliu/MobileFaceNet, Apache-2.0)",
    }  # fmt: skip
    target = Path(config.weights) if config.weights else folder / "weights.safetensors"
    if config.measure:
        subject = Subject(
            target.stem, plain, SIZE, Preprocessing(SIZE), identity, store.digest(tensors), about
        )
        with placed(config.run, plain):
            reached = pairs_reached(subject, config.data)
            if config.data.objects:
                reached |= objects_reached(subject, config.data.objects, config.data.object_photographs)
        about |= {"reached": reached}
        write_bytes(folder / "reached.json", f"{json.dumps(reached, indent=2)}\n".encode())
    store.save_weights(target, tensors, about)
    return target


def go_on_from(module: Distillation, path: Path) -> None:
    """Give the student the averaged weights of an earlier run's checkpoint.

    Raises:
        Error: no such file, or not a checkpoint of a distillation of this width.
    """
    if not path.is_file():
        raise Error(f"{path}: no such checkpoint: give one such as runs/builtin/checkpoints/best.ckpt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = {
            key.removeprefix("average."): value
            for key, value in content["state_dict"].items()
            if key.startswith("average.")
        }
    except (pickle.UnpicklingError, RuntimeError, KeyError, EOFError, OSError) as error:
        raise Error(f"{path}: not a checkpoint of a run ({type(error).__name__}): choose another") from None
    store.fit(module.student, state, str(path))
    module.average.load_state_dict(module.student.state_dict())


def training_faces(data: WherePhotographsLie) -> tuple[FaceSet, Sequence[str]]:
    """Aligned crops of View 1's training people, and who these are."""
    if data.root is None:
        raise Error("data.root is left out: say where LFW's photographs are")
    lfw = open_lfw(data.root, data.protocols)
    people = lfw.people("train")
    faces = aligned_photographs(lfw, SIZE, data.prepared, data.landmarker)
    chosen = set(people)
    return faces[[row for row, person in enumerate(faces.labels) if person in chosen]], people


def hold_out(
    faces: FaceSet, names: Sequence[str], people: int, seed: int, pictures: int = 4
) -> tuple[FaceSet, FaceSet]:
    """Keep some of the named people apart: (the others' pictures, at most `pictures` of each of the held out).

    Raises:
        Error: there are not so many people.
    """
    if len(names) <= people:
        raise Error(
            f"data.held_out_people is {people}, but there are only {len(names)} people: hold out fewer"
        )
    apart = set(np.random.default_rng(seed).permutation(sorted(names))[:people].tolist())
    rest, held, seen = [], [], Counter[str]()
    for row, person in enumerate(faces.labels):
        seen[person] += 1
        if person not in apart:
            rest.append(row)
        elif seen[person] <= pictures:
            held.append(row)
    return faces[rest], faces[held]


def _pictures(faces: FaceSet, config: DistilConfig) -> torch.Tensor:
    """All views of faces, uint8 (N, 3, 112, 112): of photographs, and of the face space."""
    pictures = [make_views(faces.images, config.data.shares, config.seed)]
    if config.data.facespace_people:
        from facelesion.data.facespace import FaceSpace

        made = FaceSpace.load().draw(
            config.data.facespace_people, config.data.facespace_pictures, seed=_SEEDS + config.seed
        )
        pictures.append(made.images)
    return torch.cat(pictures)


def taught_once(teacher: nn.Module, pictures: torch.Tensor, cache: Path, progress: bool) -> Views:
    """The teacher's answers, kept in the run's folder: a run that is resumed need not ask again."""
    about = {"pictures": hashlib.sha256(pictures.numpy().tobytes()).hexdigest()}
    if cache.is_file():
        kept, told = store.read_weights(cache)
        if told == about:
            return Views(pictures, kept["targets"])
    with tqdm(total=len(pictures), desc="teacher", unit=" views", disable=not progress) as bar:
        views = teach(teacher, Preprocessing(SIZE), pictures, progress=bar.update)
    store.save_weights(cache, {"targets": views.targets}, about)
    return views


def _others(faces: FaceSet, data: DistilData) -> ImageSet:
    """Pictures without a face, each kind of photograph, drawing and texture a class of its own."""
    parts = []
    if data.objects:
        photographs = object_folder(data.objects, size=SIZE, per_category=data.object_photographs)
        parts.append((photographs.images, tuple(f"photograph of {label}" for label in photographs.labels)))
    for made in (
        builtin_objects(data.builtin_objects, seed=_SEEDS, size=SIZE),
        nonfaces(data.nonfaces, seed=_SEEDS, size=SIZE, faces=faces),
    ):
        parts.append((made.images, made.labels))
    labels = tuple(label for _, names in parts for label in names)
    return ImageSet(torch.cat([images for images, _ in parts]), labels, tuple(map(str, range(len(labels)))))
