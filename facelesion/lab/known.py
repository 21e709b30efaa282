"""What the lab asks of a network, with readouts that are fixed on it in health, on built-in pictures."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch

from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.files import nearest
from facelesion.models import Subject, get, names
from facelesion.study.bench import Representations, fitted
from facelesion.study.pool import Pool
from facelesion.tasks import TASKS, Detection, Identification, Objects, Task, Verification
from facelesion.tasks.detection import FACE
from facelesion.tasks.readouts import unit_vectors

#: The pictures that readouts are fitted on, and people and things that are asked about: fewer than a study's.
PICTURES = FaceSpacePictures(
    training_people=60, training_pictures=3, enrolled_people=40, enrolment_pictures=3, probe_pictures=1, new_people=8,
    new_pictures=2, object_training_pictures=12, object_pictures=2, other_pictures=16,
)  # fmt: skip
ASKED = ("detection", "identification", "verification", "objects")
#: Held by whatever computes: a lesion is hooks on a network, and a network is there once.
ALONE = threading.RLock()


@dataclass(frozen=True, eq=False)
class Readouts:
    """A network, and what it is asked with.

    Attributes:
        subject: the network.
        pool: the pictures that tasks are asked about.
        tasks: by name, with readouts that are fixed in health.
    """

    subject: Subject
    pool: Pool
    tasks: Mapping[str, Task]

    def face(self, representation: torch.Tensor) -> torch.Tensor:
        """Evidence for a face (N,), the difference of two logits: a face is seen where it is above 0."""
        readout = self.detection.readout
        logits = readout.logits(representation)
        face = readout.classes.index(FACE)
        return logits[:, face] - logits[:, 1 - face]

    def likeness(self, representation: torch.Tensor) -> torch.Tensor:
        """Cosine (N, 40) with what is remembered of every enrolled person, in the order of `people`."""
        return self.identification.memory.likeness(self.subject.identity(representation))

    def alike(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Cosine (N,) of the identities of two pictures: the same person where it is above `same_above`."""
        one, two = (unit_vectors(self.subject.identity(each)) for each in (first, second))
        return (one * two).sum(1)

    def kinds(self, representation: torch.Tensor) -> torch.Tensor:
        """Share (N, 16) that the readout gives every kind of thing, in the order of `things`."""
        return self.objects.readout.logits(representation).softmax(1)

    @property
    def people(self) -> tuple[str, ...]:
        """The enrolled people."""
        return self.identification.memory.names

    @property
    def things(self) -> tuple[str, ...]:
        """The kinds of things."""
        return self.objects.readout.classes

    @property
    def same_above(self) -> float:
        """The threshold that was best on the training people's pairs, in health."""
        return self.verification.threshold

    @property
    def detection(self) -> Detection:
        return self.tasks["detection"]  # type: ignore[return-value]

    @property
    def identification(self) -> Identification:
        return self.tasks["identification"]  # type: ignore[return-value]

    @property
    def verification(self) -> Verification:
        return self.tasks["verification"]  # type: ignore[return-value]

    @property
    def objects(self) -> Objects:
        return self.tasks["objects"]  # type: ignore[return-value]


@lru_cache(maxsize=4)
def readouts(network: str = "builtin") -> Readouts:
    """A network's readouts, fitted in health; the network and they are kept.

    Args:
        network: a name in `facelesion.models`, or a file of weights.

    Raises:
        Error: no such network, or its weights are not here.

    Example:
        >>> from facelesion.lab import built_in_face
        >>> known = readouts("builtin")
        >>> seen = known.subject.module(known.subject.preprocess(built_in_face(3).images))
        >>> known.people[int(known.likeness(seen)[0].argmax())], bool(known.face(seen) > 0)
        ('person-2-3', True)
    """
    return Readouts(subject_of(network), pool_of(ASKED), dict(zip(ASKED, fitted_on(network, ASKED), strict=True)))


@lru_cache(maxsize=16)
def subject_of(network: str) -> Subject:
    """A network by its name, or from a file of weights."""
    return get(network)


@lru_cache(maxsize=16)
def _representations(network: str) -> Representations:
    """What a healthy network makes of pictures, each set measured once."""
    return Representations(subject_of(network), torch.device("cpu"))


def fitted_on(network: str, tasks: tuple[str, ...]) -> tuple[Task, ...]:
    """Tasks with their readouts, fixed on a network in health."""
    with ALONE:
        return fitted(tasks, subject_of(network), materials(), pool_of(tasks), 0, _representations(network))


@lru_cache(maxsize=1)
def materials() -> Materials:
    """The lab's pictures by role."""
    return PICTURES.gather(0, 112)


@lru_cache(maxsize=4)
def pool_of(tasks: tuple[str, ...]) -> Pool:
    """All pictures that these tasks ask about."""
    return Pool.of([TASKS[name] for name in tasks], materials(), 0)


@lru_cache(maxsize=1)
def ranking_pictures() -> Mapping[str, ImageSet]:
    """Faces and objects that units are ranked on; nothing is asked about them."""
    found = PICTURES.for_ranking(0, 112, materials())[0]
    return {name: each[::2] for name, each in found.items()}  # half of a study's


def enrolled_picture(person: str) -> FaceSet:
    """The first picture by which somebody is remembered."""
    known = materials().enrolment
    return known[[known.labels.index(person)]]


def known_network(name: str, more: tuple[str, ...] = ()) -> str:
    """The name of a network that the page may ask for: no file of its choice, nothing to be fetched, nothing huge.

    Args:
        name: as the page says it.
        more: networks and files that whoever started the lab has named.

    Raises:
        Error: it is none of those.
    """
    if name in names() or name in more:
        return name
    near = nearest(name[:80], [*names(), *more])
    raise Error(f"no network {name[:80]!r} here: {near}; others are named with --networks when the lab is started")
