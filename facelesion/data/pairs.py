"""Pairs of photographs, the same person or not: what verification is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.listing import one_form
from facelesion.errors import Error


@dataclass(frozen=True)
class NamedPair:
    """Two photographs by name, and whether they show the same person; `fold` numbers a protocol's part."""

    first: str
    second: str
    same: bool
    fold: int = 0


@dataclass(frozen=True)
class Pairs:
    """Pairs as positions in an `ImageSet`.

    Attributes:
        first, second: int64 tensors (P,), positions of the two pictures.
        same: bool tensor (P,), whether both show the same person.
        fold: int64 tensor (P,), the part of the protocol each pair belongs to.

    Raises:
        Error: tensors of unlike lengths.

    Example:
        >>> pairs = Pairs.of([0, 0], [1, 2], [True, False])
        >>> len(pairs), pairs.same.tolist(), pairs.fold.tolist()
        (2, [True, False], [0, 0])
    """

    first: torch.Tensor
    second: torch.Tensor
    same: torch.Tensor
    fold: torch.Tensor

    def __post_init__(self) -> None:
        if not len(self.first) == len(self.second) == len(self.same) == len(self.fold):
            raise Error("pairs: first, second, same and fold must be of one length")

    @classmethod
    def of(
        cls,
        first: Sequence[int],
        second: Sequence[int],
        same: Sequence[bool],
        fold: Sequence[int] | None = None,
    ) -> Self:
        """Pairs from plain sequences; one fold when none is given."""
        return cls(
            torch.as_tensor(first, dtype=torch.int64),
            torch.as_tensor(second, dtype=torch.int64),
            torch.as_tensor(same, dtype=torch.bool),
            torch.as_tensor(fold if fold is not None else [0] * len(first), dtype=torch.int64),
        )

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: Sequence[int] | torch.Tensor | slice) -> Self:
        rows = torch.arange(len(self))[torch.as_tensor(index) if not isinstance(index, slice) else index]
        return replace(
            self, first=self.first[rows], second=self.second[rows], same=self.same[rows], fold=self.fold[rows]
        )


def find_pairs(pictures: ImageSet, named: Sequence[NamedPair]) -> tuple[Pairs, tuple[NamedPair, ...]]:
    """Find a protocol's pairs in a set of pictures.

    Returns:
        The pairs both of whose pictures are there, as positions, and the pairs left out because a picture is
        missing (no face was found in it, say): report how many.

    Raises:
        Error: pairs are asked for, and not one is among the pictures.

    Example:
        >>> grey = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        >>> pictures = ImageSet(grey, ("Ada", "Ada"), ("a1.jpg", "a2.jpg"))
        >>> asked = [NamedPair("a1.jpg", "a2.jpg", True), NamedPair("a1.jpg", "b.jpg", False)]
        >>> found, missing = find_pairs(pictures, asked)
        >>> len(found), missing[0].second
        (1, 'b.jpg')
    """
    # A file may lie on disk in another form of Unicode than the protocol writes it in.
    place = {one_form(name): row for row, name in enumerate(pictures.names)}
    rows = [(place.get(one_form(pair.first)), place.get(one_form(pair.second))) for pair in named]
    found = [
        (a, b, pair) for (a, b), pair in zip(rows, named, strict=True) if a is not None and b is not None
    ]
    missing = tuple(pair for (a, b), pair in zip(rows, named, strict=True) if a is None or b is None)
    if named and not found:
        raise Error(
            f"none of {len(named)} pairs is among the {len(pictures)} pictures (no {named[0].first!r}):"
            " take the protocol of the same data set"
        )
    pairs = Pairs.of(
        [a for a, _, _ in found],
        [b for _, b, _ in found],
        [pair.same for _, _, pair in found],
        [pair.fold for _, _, pair in found],
    )
    return pairs, missing


def draw_pairs(pictures: ImageSet, count: int, seed: int = 0, *, folds: int = 10) -> Pairs:
    """Draw balanced pairs: half show the same person, half two different people; no pair comes twice.

    A person's chance to be drawn does not depend on how many pictures there are of them, as far as the number
    of different pairs allows. Folds are balanced too.

    Args:
        pictures: labels are the people.
        count: how many pairs, an even number.
        seed: the same seed gives the same pairs.
        folds: pairs are numbered 0 to folds - 1 in turn within each half.

    Raises:
        Error: nobody has two pictures, there is only one person, or there are not so many pairs.

    Example:
        >>> pictures = ImageSet(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), tuple("aabb"), tuple("1234"))
        >>> pairs = draw_pairs(pictures, 4)
        >>> pairs.same.tolist()
        [True, True, False, False]
    """
    if count < 2 or count % 2:
        raise Error(f"pairs: {count} cannot be halved into same and different: ask for an even number")
    people: dict[str, list[int]] = {}
    for row, label in enumerate(pictures.labels):
        people.setdefault(label, []).append(row)
    half = count // 2
    several = [rows for rows in people.values() if len(rows) > 1]
    if not several:
        raise Error("pairs: nobody has two pictures, so no pair shows the same person: add pictures")
    if len(people) < 2:
        raise Error("pairs: only one person, so no pair shows two people: add people")
    possible_same = sum(len(rows) * (len(rows) - 1) // 2 for rows in several)
    total = len(pictures)
    possible_different = total * (total - 1) // 2 - possible_same
    if half > min(possible_same, possible_different):
        raise Error(
            f"pairs: only {possible_same} same and {possible_different} different pairs exist,"
            f" {half} of each are asked for: ask for fewer"
        )
    generator = torch.Generator().manual_seed(seed)
    same = _draw(several, several, half, generator, same=True)
    everyone = list(people.values())
    different = _draw(everyone, everyone, half, generator, same=False)
    drawn = same + different
    fold = [i % folds for i in range(half)]
    return Pairs.of([a for a, _ in drawn], [b for _, b in drawn], [True] * half + [False] * half, fold + fold)


def _draw(
    left: list[list[int]], right: list[list[int]], count: int, generator: torch.Generator, *, same: bool
) -> list[tuple[int, int]]:
    """Distinct pairs by rejection, and from the full list when few are left to find."""

    def pick(many: int) -> int:
        return int(torch.randint(many, (1,), generator=generator))

    drawn: dict[tuple[int, int], None] = {}
    for _ in range(20 * count):
        if len(drawn) == count:
            break
        a = pick(len(left))
        b = a if same else pick(len(right))
        if not same and a == b:
            continue
        one, two = left[a][pick(len(left[a]))], right[b][pick(len(right[b]))]
        if one != two and (two, one) not in drawn:
            drawn.setdefault((one, two))
    if len(drawn) < count:
        taken = {frozenset(pair) for pair in drawn}
        rest = [
            (one, two)
            for i, rows in enumerate(left)
            for j in ((i,) if same else range(i + 1, len(right)))
            for one in rows
            for two in right[j]
            if (one < two or not same) and frozenset((one, two)) not in taken
        ]
        order = torch.randperm(len(rest), generator=generator)[: count - len(drawn)]
        for place in order.tolist():
            drawn.setdefault(rest[place])
    return list(drawn)
