"""By how much lesions changed their sites, put together from the pieces and batches in which they acted."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from facelesion.sweep.errors import SweepError

# Site to two sums of squares (2,): of the change, and of the output without the lesion (`facelesion.lesions.Changes`).
Squares = Mapping[str, Tensor]


def together(one: Squares, other: Squares) -> dict[str, Tensor]:
    """The sums of two lots of images, or of two pieces of a network.

    Example:
        >>> import torch
        >>> together({"a": torch.tensor([1.0, 4.0])}, {"a": torch.tensor([1.0, 4.0]), "b": torch.zeros(2)})
        {'a': tensor([2., 8.]), 'b': tensor([0., 0.])}
    """
    sums = dict(one)
    for site, squares in other.items():
        sums[site] = sums[site] + squares.to(sums[site].device) if site in sums else squares
    return sums


def tiled(pieces: Mapping[tuple[int, int], Squares], count: int) -> dict[str, Tensor]:
    """The sums of all images, of pieces that each cover a stretch of them (begin to end) and may overlap.

    Raises:
        SweepError: no choice of pieces covers every image once.

    Example:
        >>> import torch
        >>> one, two = {"a": torch.ones(2)}, {"a": torch.ones(2) * 2}
        >>> tiled({(0, 2): one, (0, 3): two, (2, 5): two}, 5)
        {'a': tensor([3., 3.])}
    """
    # Which stretch ends a way from the first image to each place.
    reached: dict[int, tuple[int, int] | None] = {0: None}
    for begin, end in sorted(pieces):
        if begin in reached and end <= count:
            reached.setdefault(end, (begin, end))
    if count not in reached:
        raise SweepError(
            "the changes of some images are missing: run the sweep again with changes=True to go on"
        )
    sums: dict[str, Tensor] = {}
    last = reached[count]
    while last is not None:
        sums = together(sums, pieces[last])
        last = reached[last[0]]
    return sums
