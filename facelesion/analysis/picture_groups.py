"""Groups of pictures with who is on them: drawn again and cut into halves by person, for intervals and reliability."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from facelesion.errors import Error
from facelesion.files import digest_of

PICTURES = "pictures"  # what the only group is called where one tensor is given


def network_hash(module: nn.Module) -> str:
    """SHA-256 (12 hex digits) of a network's parameters and buffers, by name."""
    parts: list[bytes | str] = []
    for name, value in module.state_dict().items():
        raw = value.detach().cpu().contiguous().view(-1).view(torch.uint8)
        parts += [name, str(value.dtype), raw.numpy().tobytes()]
    return digest_of(parts)


class Groups:
    """Groups of pictures, who is on them, and which of their people are drawn together."""

    def __init__(self, images: dict[str, torch.Tensor], people: dict[str, tuple[str, ...]]) -> None:
        self.images, self.people = images, people
        parts: list[bytes | str] = []
        for name, batch in images.items():
            parts += [name, batch.detach().cpu().float().contiguous().numpy().tobytes(), "\0".join(people[name])]
        self.digest = digest_of(parts)

    @classmethod
    def of(cls, pictures: Any, people: Any) -> Groups:
        images = dict(pictures) if isinstance(pictures, Mapping) else {PICTURES: pictures}
        named = people if isinstance(people, Mapping) else dict.fromkeys(images, people)
        if isinstance(pictures, Mapping) and people is not None and not isinstance(people, Mapping):
            raise Error("people: pictures are in groups, so say who is on them by group")
        found: dict[str, tuple[str, ...]] = {}
        for name, batch in images.items():
            if not isinstance(batch, torch.Tensor) or batch.ndim < 2 or not len(batch):
                raise Error(f"pictures of {name!r} must be a tensor (N, ...) of one picture or more")
            given = named.get(name)
            found[name] = (
                tuple(f"{name}/{row}" for row in range(len(batch))) if given is None else tuple(map(str, given))
            )
            if len(found[name]) != len(batch):
                raise Error(f"{len(batch)} pictures of {name!r} and {len(found[name])} people: give as many")
        if not images:
            raise Error("pictures holds no group: give one or more")
        return cls(images, found)

    def names(self, group: str) -> tuple[str, ...]:
        """Who is in a group, sorted: the rows of its values by person."""
        return tuple(sorted(set(self.people[group])))

    def weights(self, groups: Sequence[str], count: int, draw: Draw) -> dict[str, torch.Tensor]:
        """How often each person of each group counts, in each of `count` draws: (count, P).

        A person who is in several groups (each feature of the same face) is drawn in all of them at once; people of
        different groups are drawn apart, as many of each as there are.
        """
        member: dict[str, list[str]] = {}
        for group in groups:
            for name in self.names(group):
                member.setdefault(name, []).append(group)
        strata: dict[tuple[str, ...], list[str]] = {}
        for name, where in sorted(member.items()):
            strata.setdefault(tuple(where), []).append(name)
        column: dict[str, torch.Tensor] = {}
        for people in strata.values():
            drawn = draw(len(people), count)
            column |= {name: drawn[:, place] for place, name in enumerate(people)}
        return {group: torch.stack([column[name] for name in self.names(group)], 1) for group in groups}


# From how many people and how many draws to how often each is counted (draws, people), float64.
Draw = Callable[[int, int], torch.Tensor]


def again(rng: np.random.Generator) -> Draw:
    """Each draw takes as many people as there are, with replacement."""

    def draw(people: int, count: int) -> torch.Tensor:
        return torch.from_numpy(rng.multinomial(people, np.full(people, 1 / people), size=count)).double()

    return draw


def half(rng: np.random.Generator) -> Draw:
    """Each draw takes half of the people, once each."""

    def draw(people: int, count: int) -> torch.Tensor:
        order = rng.permuted(np.tile(np.arange(people), (count, 1)), axis=1)
        return torch.from_numpy(order < people // 2).double()

    return draw
