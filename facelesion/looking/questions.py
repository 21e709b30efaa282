"""Decisions that units may matter for, each with a margin: above 0 the network is right.

Their readouts are fixed on the healthy network. A ranking needs a loss that tells a little worse from a little better,
also where every answer is right: the logistic loss of the margin, in standard deviations of the healthy margins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from facelesion.data.facespace import FaceSpace
from facelesion.data.facespace_tools import exchange_feature
from facelesion.data.imagesets import FaceSet, ImageSet, eight_bits
from facelesion.errors import Error
from facelesion.faces.stimuli import Stimulus
from facelesion.models import Subject
from facelesion.tasks.readouts import Prototypes, fit_linear_readout, unit_vectors
from facelesion.tasks.task import margin

FEATURES = ("eyebrows", "eyes", "nose", "mouth")
FACE, OTHER = "face", "no face"

Margin = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Question:
    """A decision about pictures, with its readout.

    Attributes:
        name: such as `identification`, or a feature.
        words: what is asked.
        images: uint8 (N, 3, H, W).
        people: who or what is on each.
        margin: from the network's representation (n, D) and picture numbers (n,) to (n,): above 0 is right.
        spread: standard deviation of the healthy network's margins.
        chance: share of right answers without knowledge.
        landmarks: (N, points, 2), for stimuli; pictures without a face borrow a face's. None where there are none.
        ids: int64 (N,), the pictures' numbers, by which random stimuli draw.
    """

    name: str
    words: str
    images: torch.Tensor
    people: tuple[str, ...]
    margin: Margin
    spread: float
    chance: float
    landmarks: torch.Tensor | None = None
    ids: torch.Tensor | None = None

    def under(self, stimulus: Stimulus, batch_size: int = 64) -> torch.Tensor:
        """The pictures under a stimulus, uint8 (N, 3, H, W).

        Raises:
            Error: pictures without landmarks.
        """
        if self.landmarks is None or self.ids is None:
            raise Error(f"{self.name}: its pictures have no landmarks, so no stimulus can be laid on them")
        seen = [
            stimulus(self.images[rows].float() / 255, self.landmarks[rows], ids=self.ids[rows])
            for rows in torch.arange(len(self.images)).split(batch_size)
        ]
        return eight_bits(torch.cat(seen))

    def loss(self, representation: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """The logistic loss of each picture's margin (n,)."""
        return torch.nn.functional.softplus(-self.margin(representation, numbers) / self.spread)

    def right(self, representation: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """1 for a right answer, 0 for a wrong one, a half for a tie (n,)."""
        found = self.margin(representation, numbers)
        return (found > 0).float() + 0.5 * (found == 0).float()


def represent(subject: Subject, images: torch.Tensor, batch_size: int = 32) -> torch.Tensor:
    """The healthy network's representation (N, D) of uint8 pictures."""
    with torch.no_grad():
        return torch.cat([subject.module(subject.preprocess(part)) for part in images.split(batch_size)])


def identification(subject: Subject, faces: FaceSet, enrolled: int = 3) -> Question:
    """Who is it, of the people that the network remembers by the first pictures of each?

    Raises:
        Error: fewer than two people, or somebody without a picture left to ask about.
    """
    first, rest = _first_of_each(faces.labels, enrolled)
    if len(set(faces.labels)) < 2 or len({faces.labels[row] for row in rest}) < len(set(faces.labels)):
        raise Error(
            f"identification needs two people or more, each with {enrolled + 1} pictures or more: add some"
        )
    embedding = _embedded(subject, faces.images[first])
    memory = Prototypes.learn(embedding, [faces.labels[row] for row in first])
    asked = faces[rest]
    targets = memory.targets(asked.labels)

    def of(representation: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return margin(memory.likeness(subject.identity(representation)), targets[numbers])

    return _question(
        subject, "identification", f"Which of {len(memory.names)} people is it?", asked, of, 1 / len(memory.names)
    )


def detection(subject: Subject, faces: FaceSet, others: ImageSet) -> Question:
    """Is it a face? A linear readout learns from every second person and thing, and is asked about the others.

    As many things as people are taken: people and things weigh alike, so that "always a face" is right in half.
    """
    others = others[: len(set(faces.labels))]
    labels = tuple([FACE] * len(faces) + [OTHER] * len(others))
    lent = faces.landmarks[torch.arange(len(others)) % len(faces)]
    pictures = FaceSet(
        torch.cat([faces.images, others.images]), labels, (*faces.names, *others.names),
        torch.cat([faces.landmarks, lent]),
    )  # fmt: skip
    return _linear(subject, "detection", "Is it a face?", pictures, (*faces.labels, *others.names))


def objects(subject: Subject, things: ImageSet) -> Question:
    """What kind of thing is it? A linear readout learns from every second thing and is asked about the others."""
    kinds = len(set(things.labels))
    return _linear(subject, "objects", f"Which of {kinds} kinds of things is it?", things, things.names)


def feature_decision(
    subject: Subject,
    feature: str,
    people: int = 40,
    *,
    seed: int,
    variability: float = 0.8,
    enrolled: int = 3,
    asked: int = 2,
    space: FaceSpace | None = None,
) -> Question:
    """Which of two faces is it, that differ in one feature alone?

    One face is a person of the face space, the other the same person with somebody else's eyes, say
    (`exchange_feature`), with the same pose, light and expression in each picture. So what tells them apart is known:
    nothing but that feature. The network remembers both by `enrolled` pictures and is asked about `asked` others of
    each; the margin is the difference of the two likenesses.

    Args:
        subject: the network.
        feature: eyebrows, eyes, nose or mouth.
        people: pairs of faces.
        seed: other people with another seed.
        variability: how much pictures of one face differ.
        enrolled, asked: pictures of each face.
        space: the face space.

    Example:
        >>> from facelesion.models import get
        >>> question = feature_decision(get("untrained"), "eyes", 2, seed=3)
        >>> question.images.shape, question.people[:2]
        (torch.Size([8, 3, 112, 112]), ('person-3-0', 'person-3-0'))
    """
    space = FaceSpace.load() if space is None else space
    who = space.people(2 * people, seed)
    receivers, donors = who[0::2], who[1::2]
    count = enrolled + asked
    shown = space.pictures(receivers, count, seed, variability)
    looks = shown - np.repeat(receivers, count, 0)
    own, _ = space.render(shown)
    other, _ = exchange_feature(space, shown, _float(np.repeat(donors, count, 0) + looks), feature)
    side = own.shape[-1]
    own, other = (each.view(people, count, 3, side, side) for each in (own, other))
    memories = [
        unit_vectors(_embedded(subject, each[:, :enrolled].flatten(0, 1)).view(people, enrolled, -1).mean(1))
        for each in (own, other)
    ]
    images = torch.cat([own[:, enrolled:], other[:, enrolled:]], 1).flatten(0, 1)
    pair = torch.arange(people).repeat_interleave(2 * asked)
    is_own = torch.tensor([True] * asked + [False] * asked).repeat(people)
    right = torch.where(is_own[:, None], memories[0][pair], memories[1][pair])
    wrong = torch.where(is_own[:, None], memories[1][pair], memories[0][pair])

    def of(representation: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        embedding = unit_vectors(subject.identity(representation))
        return (embedding * (right[numbers] - wrong[numbers])).sum(1)

    names = tuple(f"person-{seed}-{2 * int(number)}" for number in pair)
    faces = ImageSet(images, names, tuple(map(str, range(len(names)))))
    return _question(subject, feature, f"Which of two faces is it that differ in the {feature} alone?", faces, of, 0.5)


def _question(
    subject: Subject, name: str, words: str, asked: ImageSet, of: Margin, chance: float, people: Sequence[str] = ()
) -> Question:
    healthy = of(represent(subject, asked.images), torch.arange(len(asked)))
    spread = float(healthy.std()) if len(healthy) > 1 else 0.0
    landmarks = asked.landmarks if isinstance(asked, FaceSet) else None
    return Question(
        name, words, asked.images, tuple(people or asked.labels), of, spread or 1.0, chance, landmarks, asked.ids
    )


def _linear(subject: Subject, name: str, words: str, pictures: ImageSet, shown: Sequence[str]) -> Question:
    # By who or what is shown, so that nobody is in both parts.
    turn: dict[str, dict[str, int]] = {}
    first = [
        turn.setdefault(label, {}).setdefault(who, len(turn[label])) % 2 == 0
        for label, who in zip(pictures.labels, shown, strict=True)
    ]
    learned, rest = (torch.tensor([row for row, one in enumerate(first) if one is side]) for side in (True, False))
    if not len(rest):
        raise Error(f"{name} needs two people or things or more of each kind: add some")
    known = {pictures.labels[row] for row in learned.tolist()}
    if len(known) < 2 or not {pictures.labels[row] for row in rest.tolist()} <= known:
        raise Error(f"{name} needs two kinds of pictures or more, two of each: add some")
    readout = fit_linear_readout(
        represent(subject, pictures.images[learned]), [pictures.labels[row] for row in learned.tolist()]
    )
    asked = pictures[rest]
    targets = readout.targets(asked.labels)

    def of(representation: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return margin(readout.logits(representation), targets[numbers])

    who = [shown[row] for row in rest.tolist()]
    return _question(subject, name, words, asked, of, 1 / len(readout.classes), who)


def _embedded(subject: Subject, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return unit_vectors(subject.identity(represent(subject, images)))


def _first_of_each(labels: Sequence[str], count: int) -> tuple[list[int], list[int]]:
    """Positions of the first `count` pictures of everybody, and of the rest."""
    seen: dict[str, int] = {}
    first: list[int] = []
    rest: list[int] = []
    for row, name in enumerate(labels):
        seen[name] = seen.get(name, 0) + 1
        (first if seen[name] <= count else rest).append(row)
    return first, rest


def _float(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return np.asarray(vectors, np.float32)
