"""Which answer a map is of: "a face", the face itself, a person, or a likeness to another photograph.

A network for faces often has no classes to ask about. Then the answer is a likeness: the cosine between the embedding
of what it is shown and one that was fixed in health, of a reference photograph or of a person's enrolled pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from facelesion.analysis.attribution import Scores
from facelesion.analysis.gradcam import class_score, likeness_score
from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.files import nearest
from facelesion.looking.photographs import Finder, photographed
from facelesion.models import Subject
from facelesion.tasks.detection import FACE, face_readout
from facelesion.tasks.readouts import Prototypes, unit_vectors

Represent = Callable[[ImageSet], torch.Tensor]
DETECTION, IDENTITY = "detection", "identity"
_SAME = 1 - 1e-5  # cosine above which two embeddings are of one picture


@dataclass(frozen=True, eq=False)
class Target:
    """An answer whose evidence is looked for.

    Attributes:
        words: what the score is, for a figure: "likeness to Ada (cosine)".
        scores: rows of the faces looked at -> the score of pictures of them.
    """

    words: str
    scores: Scores


def target_of(
    of: str,
    subject: Subject,
    faces: FaceSet,
    represent: Represent,
    *,
    materials: Callable[[], Materials],
    known: str | None = None,
    finder: Finder = "mediapipe",
    model: str | None = None,
) -> Target:
    """The target that a word means.

    Args:
        of: `detection`; `identity`; a person's name; or the path of a reference photograph.
        subject: the network.
        faces: what is looked at, unmasked.
        represent: the healthy network's representation (N, D) of pictures.
        materials: pictures that a readout for faces is fitted on, asked for when needed.
        known: a folder of people with photographs, who are enrolled in the healthy network.
        finder, model: what finds the faces in photographs.

    Raises:
        Error: no such person, file or answer.

    Example:
        >>> from facelesion import get
        >>> from facelesion.looking import Reference, photographed
        >>> subject = get("untrained")
        >>> faces, reference = photographed(["facespace:1"], 112).faces, Reference(subject)
        >>> target_of("identity", subject, faces, reference.represent, materials=reference.materials).words
        "the face's own embedding (length along it)"
    """
    if known is not None and (of in (DETECTION, IDENTITY) or _looks_like_a_file(of)):
        raise Error(f"known does nothing with of {of}: leave it out, or set of to a person's name")
    if of == DETECTION:
        readout = face_readout(materials(), represent)
        sign = 1.0 if readout.classes.index(FACE) else -1.0
        margin = class_score(lambda x: sign * (readout.logits(x)[:, 1:] - readout.logits(x)[:, :1]), 0)
        return Target("evidence for a face (log odds)", lambda rows: margin)
    if of == IDENTITY:
        return _itself(subject, faces, represent)
    if known is None and not Path(of).suffix and of in _answers(subject):
        return _answer(subject, of)
    if _looks_like_a_file(of):
        return _likeness(of, subject, faces, represent, finder, model)
    return _person(of, subject, faces, represent, known, finder, model)


def _itself(subject: Subject, faces: FaceSet, represent: Represent) -> Target:
    """How far the embedding reaches along the way that it has for the unmasked face in health.

    Its cosine with itself is at its maximum there and has no slope, so that a map of it would be empty; the length
    along it has one.
    """
    with torch.no_grad():
        own = unit_vectors(subject.identity(represent(faces)))

    def scores(rows: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: (subject.identity(x) * own[rows]).sum(1)

    return Target("the face's own embedding (length along it)", scores)


def _likeness(
    path: str, subject: Subject, faces: FaceSet, represent: Represent, finder: Finder, model: str | None
) -> Target:
    """Likeness to the face of a reference photograph."""
    reference = photographed([path], faces.size, finder, model).faces
    with torch.no_grad():
        vectors = unit_vectors(subject.identity(represent(reference)))
        likeness = unit_vectors(subject.identity(represent(faces))) @ vectors.T
    if len(reference) > 1:
        raise Error(f"{path} holds {len(reference)} faces: give one reference photograph")
    if float(likeness.max()) > _SAME:
        raise Error(
            f"{path} is the face that is looked at: its likeness to itself has no slope, so take --of identity, or "
            "another photograph of the person"
        )
    score = likeness_score(vectors, 0, subject.identity)
    return Target(f"likeness to {Path(path).stem} (cosine)", lambda rows: score)


def _person(
    name: str, subject: Subject, faces: FaceSet, represent: Represent, known: str | None, finder: Finder,
    model: str | None,
) -> Target:  # fmt: skip
    """Likeness to the mean of a known person's embeddings; what is looked at is not among them."""
    from facelesion.data.photographs import Photographs

    if known is None:
        has = _answers(subject)
        told = f"its answers are people, but none is {name!r} ({nearest(name, has)})" if has else (
            f"the network's answer names no people, and no file is called {name!r}"
        )
        raise Error(
            f"--of {name}: {told}: write detection, identity or the path of a photograph, or say with --known "
            "which folder of people with photographs it knows"
        )  # fmt: skip
    people, _ = Photographs(landmarks=finder, landmarker=model).faces(known, subject.size)
    if name not in people.labels:
        raise Error(f"--of {name}: {known} has no person of that name: {nearest(name, set(people.labels))}")
    if len(set(people.labels)) < 2:
        raise Error(f"{known}: only {name} is known: give a folder of two people or more")
    with torch.no_grad():
        embedding = subject.identity(represent(people))
        likeness = unit_vectors(embedding) @ unit_vectors(subject.identity(represent(faces))).T
    others = torch.nonzero(likeness.amax(1) < _SAME)[:, 0]
    labels = [people.labels[row] for row in others.tolist()]
    if name not in labels:
        raise Error(f"--of {name}: {known} has no other picture of {name} than the one looked at: add some")
    memory = Prototypes.learn(embedding[others], labels)
    score = likeness_score(memory.vectors, memory.names.index(name), subject.identity)
    count = labels.count(name)
    return Target(
        f"likeness to {name} (cosine with {count} enrolled picture{'s' if count > 1 else ''})", lambda rows: score
    )


def _answers(subject: Subject) -> Sequence[str]:
    """The people or things that the network's own trained readout names.

    Converted weights call them `names`, those that a recipe trained `classes`.
    """
    names = subject.about.get("names") or subject.about.get("classes")
    weight = subject.extra.get("head.weight")
    fits = isinstance(names, list) and weight is not None and len(names) == len(weight)
    return [str(name) for name in names] if fits and isinstance(names, list) else []


def _answer(subject: Subject, name: str) -> Target:
    """One unit of the network's own trained readout."""
    number = _answers(subject).index(name)
    weight, bias = subject.extra["head.weight"][number].float(), subject.extra["head.bias"][number].float()
    return Target(f"the network's answer {name} (logit)", lambda rows: lambda x: x @ weight.to(x) + bias.to(x))


def _looks_like_a_file(word: str) -> bool:
    from facelesion.data.images import SUFFIXES
    from facelesion.looking.photographs import BUILT_IN

    try:
        there = Path(word).is_file()
    except (OSError, ValueError):
        there = False
    return there or Path(word).suffix.lower() in SUFFIXES or word.partition(":")[0] == BUILT_IN
