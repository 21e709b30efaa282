"""Who trains and who tests: splits that keep people, or photographs, apart, and say so."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.listing import Listing
from facelesion.errors import Error

By = Literal["person", "photograph"]

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


@dataclass(frozen=True)
class Split:
    """Positions of the pictures in each part, and how they were chosen.

    Attributes:
        parts: name of the part -> positions in the set that was split, in its order.
        by: what is never in two parts: a "person" or a "photograph".
        seed: of the choice.
        people: name of the part -> how many people it has.
        digests: name of the part -> SHA-256 (12 hex digits) of its photographs' names.
    """

    parts: Mapping[str, tuple[int, ...]]
    by: By
    seed: int
    people: Mapping[str, int]
    digests: Mapping[str, str]

    def __getitem__(self, part: str) -> tuple[int, ...]:
        if part not in self.parts:
            raise Error(f"no part {part!r} in this split: it has {', '.join(self.parts)}")
        return self.parts[part]

    def manifest(self) -> dict[str, Any]:
        """What a result has to say about its split, ready for JSON or YAML."""
        return {
            "by": self.by,
            "seed": self.seed,
            "parts": {
                part: {
                    "photographs": len(rows),
                    "people": self.people[part],
                    "digest": self.digests[part],
                }
                for part, rows in self.parts.items()
            },
        }


def split(
    pictures: ImageSet | Listing,
    shares: Mapping[str, float] = SHARES,
    *,
    by: By = "person",
    seed: int = 0,
) -> Split:
    """Split pictures by person or by photograph.

    By person, whole people go to one part: for verification and detection, where nobody tested may have
    trained. By photograph, each person's photographs are shared out: for identification, where everybody
    tested is known. The order of the pictures does not matter, only their names and the seed do.

    Args:
        pictures: labels (or people) and names are looked at.
        shares: name of each part -> its share; they add up to 1.
        by: "person" or "photograph".
        seed: another seed, another split.

    Raises:
        Error: shares that do not add up, or a part that nobody or nothing is left for.

    Example:
        >>> grey = torch.zeros(8, 3, 8, 8, dtype=torch.uint8)
        >>> pictures = ImageSet(grey, tuple("aabbccdd"), tuple("12345678"))
        >>> parts = split(pictures, {"train": 0.5, "test": 0.5}, by="person")
        >>> sorted(len(rows) for rows in parts.parts.values())
        [4, 4]
        >>> {pictures.labels[i] for i in parts["train"]} & {pictures.labels[i] for i in parts["test"]}
        set()
    """
    if by not in ("person", "photograph"):
        raise Error(f"split by {by!r}: say 'person' or 'photograph'")
    if abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values(), default=0) <= 0:
        raise Error(f"split: shares {dict(shares)} must be above 0 and add up to 1")
    labels = pictures.people if isinstance(pictures, Listing) else pictures.labels
    members: dict[str, list[int]] = {}
    for row in _shuffled(range(len(labels)), pictures.names, seed):
        members.setdefault(labels[row], []).append(row)
    rows_of: dict[str, list[int]] = {part: [] for part in shares}
    if by == "person":
        people = sorted(members)
        for part, places in _deal(_shuffled(range(len(people)), people, seed), shares).items():
            rows_of[part] = [row for place in places for row in members[people[place]]]
    else:
        for person in sorted(members):
            for part, rows in _deal(members[person], shares).items():
                rows_of[part] += rows
    empty = [part for part, rows in rows_of.items() if not rows]
    if empty:
        unit = f"{len(members)} people" if by == "person" else f"{len(labels)} photographs"
        raise Error(f"split by {by}: nothing left for {empty[0]!r} of {unit}: add more, or fewer parts")
    parts = {part: tuple(sorted(rows)) for part, rows in rows_of.items()}
    return Split(
        parts,
        by,
        seed,
        {part: len({labels[row] for row in rows}) for part, rows in parts.items()},
        {part: _digest(sorted(pictures.names[row] for row in rows)) for part, rows in parts.items()},
    )


@dataclass(frozen=True)
class Gallery:
    """Enrolment and probe pictures for identification, as positions in an `ImageSet`.

    Attributes:
        people: who is enrolled, sorted.
        enrolment: positions of the pictures that are learned, several per person.
        probes: positions of the other pictures of the same people that are asked about.
    """

    people: tuple[str, ...]
    enrolment: tuple[int, ...]
    probes: tuple[int, ...]


def gallery(pictures: ImageSet, people: int, enrolment: int = 3, probes: int = 2, seed: int = 0) -> Gallery:
    """Choose people, and for each the pictures to enrol and, apart from them, the pictures to probe with.

    Everybody has equally many of both, so that no answer is likelier than another.

    Args:
        pictures: labels are the people.
        people: how many to enrol.
        enrolment: pictures of each to learn.
        probes: pictures of each to ask about.
        seed: another seed, other people and pictures.

    Raises:
        Error: not so many people have enough pictures.

    Example:
        >>> pictures = ImageSet(torch.zeros(6, 3, 8, 8, dtype=torch.uint8), tuple("aaabbb"), tuple("123456"))
        >>> chosen = gallery(pictures, people=2, enrolment=2, probes=1)
        >>> chosen.people, len(chosen.enrolment), len(chosen.probes)
        (('a', 'b'), 4, 2)
    """
    if people < 2 or enrolment < 1 or probes < 1:
        raise Error(
            f"identification: {people} people, {enrolment} pictures to enrol, {probes} to probe: at least 2, 1, 1"
        )
    members: dict[str, list[int]] = {}
    for row in _shuffled(range(len(pictures)), pictures.names, seed):
        members.setdefault(pictures.labels[row], []).append(row)
    needed = enrolment + probes
    able = sorted(person for person, rows in members.items() if len(rows) >= needed)
    if len(able) < people:
        raise Error(
            f"identification: {people} people with {needed} pictures each are asked for, {len(able)} have so many:"
            " ask for fewer, or add pictures"
        )
    chosen = sorted(able[place] for place in _shuffled(range(len(able)), able, seed)[:people])
    return Gallery(
        tuple(chosen),
        tuple(row for person in chosen for row in members[person][:enrolment]),
        tuple(row for person in chosen for row in members[person][enrolment:needed]),
    )


def balanced(pictures: ImageSet, others: ImageSet, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """As many of the one as of the other: the longer set loses some, at random.

    Raises:
        Error: one of the two is empty.

    Example:
        >>> few = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), ("a", "b"), ("1", "2"))
        >>> many = ImageSet(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), tuple("ccccc"), tuple("34567"))
        >>> [len(part) for part in balanced(few, many)]
        [2, 2]
    """
    count = min(len(pictures), len(others))
    if count == 0:
        raise Error("balanced: one of the two sets is empty")
    generator = torch.Generator().manual_seed(seed)

    def some(part: ImageSet) -> ImageSet:
        if len(part) == count:
            return part
        return part[torch.randperm(len(part), generator=generator)[:count].sort().values]

    return some(pictures), some(others)


def _shuffled(places: range, names: Sequence[str], seed: int) -> list[int]:
    """Places in an order that depends on their names and the seed alone, on no generator and no other order."""
    return sorted(
        places,
        key=lambda place: hashlib.sha256(f"{seed}\0{names[place]}".encode(errors="surrogateescape")).digest(),
    )


def _deal(places: Sequence[int], shares: Mapping[str, float]) -> dict[str, list[int]]:
    """Deal places out in these shares; each part gets one before any gets its second, the largest part first."""
    count = len(places)
    left = max(0, count - len(shares))
    first = sorted(shares, key=lambda part: -shares[part])[:count]
    whole = {part: int(part in first) for part in shares}
    exact = {part: share * count for part, share in shares.items()}
    for _ in range(left):
        neediest = max(shares, key=lambda part: exact[part] - whole[part])
        whole[neediest] += 1
    dealt, start = {}, 0
    for part, many in whole.items():
        dealt[part] = list(places[start : start + many])
        start += many
    return dealt


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(names).encode(errors="surrogateescape")).hexdigest()[:12]
