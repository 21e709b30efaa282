"""Individuals to be told apart: which of the cups is it, which of the people. Pictures of them, and what is learned.

Several pictures of several individuals of one kind make a lesson: that they are cups helps nobody. What is learned is
that two pictures of one individual are more alike than pictures of two (supervised contrastive learning, Khosla et al.
2020), so that what the network learns holds for individuals that it never saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from facelesion.errors import Error


class Pictures:
    """Pictures that lie in several places, some of them on disk, as one row.

    Args:
        parts: pictures uint8 (N, 3, S, S) of one size, and the rows of them that count.
    """

    def __init__(self, *parts: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.parts = parts
        self.starts = [0]
        for _, rows in parts:
            self.starts.append(self.starts[-1] + len(rows))

    @classmethod
    def of(cls, images: torch.Tensor) -> Pictures:
        """All of one tensor."""
        return cls((images, torch.arange(len(images))))

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def size(self) -> int:
        """Side in pixels."""
        return int(self.parts[0][0].shape[-1])

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """The pictures in these rows (B, 3, S, S)."""
        found = torch.empty(len(rows), *self.parts[0][0].shape[1:], dtype=torch.uint8)
        for (images, own), start in zip(self.parts, self.starts, strict=False):
            here = (rows >= start) & (rows < start + len(own))
            found[here] = images[own[rows[here] - start]]
        return found

    def scaled(self, size: int) -> Pictures:
        """The same at another size, in memory; at their own size they stay where they are."""
        if size == self.size:
            return self
        made = torch.empty(len(self), 3, size, size, dtype=torch.uint8)
        for rows in torch.arange(len(self)).split(512):
            values = nn.functional.interpolate(
                self[rows].float(), (size, size), mode="bilinear", antialias=True, align_corners=False
            )
            made[rows] = values.round_().clamp_(0, 255).to(torch.uint8)
        return Pictures.of(made)


class Individuals:
    """Pictures of individuals of several kinds.

    Args:
        pictures: all of them.
        names: which individual each picture shows.
        kinds: of which kind that is; an individual is of one kind.
        shares: how often each kind is drawn beside the others; alike when left out.

    Raises:
        Error: a kind with fewer than two individuals, or an individual of two kinds.
    """

    def __init__(
        self,
        pictures: Pictures,
        names: Sequence[str],
        kinds: Sequence[str],
        shares: dict[str, float] | None = None,
    ) -> None:
        self.pictures, self.kinds = pictures, tuple(kinds)
        self.names = tuple(sorted(set(names)))
        number = {name: place for place, name in enumerate(self.names)}
        self.which = torch.tensor([number[name] for name in names])
        self._rows: list[list[int]] = [[] for _ in self.names]
        of_kind: dict[str, dict[int, None]] = {}
        kind_of: dict[int, str] = {}
        for row, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            individual = number[name]
            self._rows[individual].append(row)
            of_kind.setdefault(kind, {})[individual] = None
            if kind_of.setdefault(individual, kind) != kind:
                raise Error(
                    f"{name} is a {kind_of[individual]} and a {kind}: it can be one of them"
                )
        few = [kind for kind, found in of_kind.items() if len(found) < 2]
        if few:
            raise Error(f"there is one {few[0]} alone: two or more are needed to tell them apart")
        self._groups = [list(found) for found in of_kind.values()]
        self._shares = torch.tensor([1.0 if shares is None else float(shares[kind]) for kind in of_kind])

    def __len__(self) -> int:
        return len(self.pictures)

    def draw(self, generator: torch.Generator, individuals: int, pictures: int) -> torch.Tensor:
        """Rows of so many pictures of each of so many individuals of one kind, at random.

        Where a kind has fewer individuals, all of them; where an individual has fewer pictures, some come twice.
        """
        group = self._groups[int(torch.multinomial(self._shares, 1, generator=generator))]
        rows = []
        for place in _cycled(len(group), min(individuals, len(group)), generator):
            own = self._rows[group[place]]
            rows += [own[i] for i in _cycled(len(own), pictures, generator)]
        return torch.tensor(rows)


def _cycled(total: int, count: int, generator: torch.Generator) -> list[int]:
    """`count` of `total` places in random order, each once before any comes again."""
    order = torch.randperm(total, generator=generator)
    return order.repeat(math.ceil(count / total))[:count].tolist()


def contrast(embeddings: torch.Tensor, which: torch.Tensor, temperature: float) -> torch.Tensor:
    """How badly pictures of one individual are told from those of others: supervised contrastive loss.

    For each picture, the mean over the other pictures of its individual of -log of their share in the likeness to all
    other pictures (Khosla et al. 2020, L_out).

    Args:
        embeddings: (N, E), unit length.
        which: (N,) the individual on each; those with one picture alone are others' strangers and nothing more.
        temperature: cosines are divided by it.

    Returns:
        A number; 0 where no individual has two pictures.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        values = embeddings.float()
        alone = torch.eye(len(values), dtype=torch.bool, device=values.device)
        cosines = (values @ values.T / temperature).masked_fill(alone, -torch.inf)
        shares = cosines.log_softmax(1).masked_fill(alone, 0.0)
        same = (which[:, None] == which[None]) & ~alone
        count = same.sum(1)
        per_picture = -(shares * same).sum(1) / count.clamp_min(1)
        return per_picture.sum() / (count > 0).sum().clamp_min(1)


def photograph_views(images: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Other pictures of photographed things: turned a little, closer, and moved; (N * count, 3, S, S), uint8.

    Args:
        images: uint8 (N, 3, S, S).
        count: pictures of each, which follow one another.
        seed: of what is done to them.
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for part in images.split(64):
        many = part.repeat_interleave(count, 0).float()
        angle = torch.randn(len(many), generator=generator).clamp_(-2, 2) * math.radians(7)
        # From the whole picture to six tenths of its side; it never leaves the picture but at turned corners.
        scale = 1 - 0.4 * torch.rand(len(many), generator=generator)
        shift = (torch.rand(2, len(many), generator=generator) * 2 - 1) * (1 - scale)
        cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
        matrix = torch.stack([torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)], 1)
        grid = nn.functional.affine_grid(matrix, list(many.shape), align_corners=False)
        seen = nn.functional.grid_sample(many, grid, padding_mode="reflection", align_corners=False)
        made.append(seen.round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(made)
