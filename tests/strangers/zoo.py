"""The zoo of strangers: small networks with the habits of other people's code, and what is true of each.

A network says where its units and its images lie (`at`), since somebody who reads its code knows; the library has to
find out. Where an answer must be refused, the table says why: `refused={"together": "because ..."}`. The keys are an
operation (`alone`: one lesion in `lesioned`; `together`: several in one batch; `sweep`; `each unit`), a kind of lesion
(`prune`, `random`, ...), or both (`"together random"`), and hold for one place or, given to `stranger`, for all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Refused = Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """A site and the truth about it.

    Attributes:
        site: as a user writes it.
        units, rows: the axes of the units and of the images in its output; `rows=None` where it has none.
        output: keys to the damaged tensor where the output is not one tensor.
        refused: why which lesions of it cannot be answered.
    """

    site: str
    units: int = 1
    rows: int | None = 0
    output: tuple[Any, ...] = ()
    refused: Refused = field(default_factory=dict, compare=False)

    @property
    def path(self) -> str:
        path = re.split(r"\[|->|@", self.site)[0]
        return "" if path == "." else path

    @property
    def call(self) -> int | None:
        found = re.search(r"\[(\d+)\]", self.site)
        return int(found[1]) if found else None


def at(site: str, units: int = 1, rows: int | None = 0, output: Any = (), **refused: str) -> Place:
    """A place; `together_random="..."` is the refusal of random lesions of several blocks."""
    keys = output if isinstance(output, tuple) else (output,)
    return Place(site, units, rows, keys, {key.replace("_", " "): why for key, why in refused.items()})


@dataclass(frozen=True)
class Stranger:
    """A network of the zoo.

    Attributes:
        name, habit: what it is called, and the habit it has.
        make: builds it; call `build` for one with the weights that are always the same.
        images: what it sees.
        places: where it is damaged; the last one is damaged together with the first.
        prune: module paths whose weights are pruned.
        refused: why which operations cannot be answered, wherever the lesion is.
        run: how its user calls it; `answer`: what of its output counts, as a tensor with a row per image.
        alone: whether an image's answer is its own. Where images mix, the oracle shows it the same batches.
        tolerance: relative to the largest value of the answer.
    """

    name: str
    habit: str
    make: Callable[[], nn.Module]
    images: Tensor
    places: tuple[Place, ...]
    prune: tuple[str, ...]
    refused: Refused
    run: Callable[[nn.Module, Tensor], Any]
    answer: Callable[[Any], Tensor] | None
    alone: bool
    mode: str
    tolerance: float

    def build(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            model = self.make()
        return model.train(self.mode == "train")

    def answered(self, model: nn.Module, images: Tensor) -> Tensor:
        output = self.run(model, images)
        return output if self.answer is None else self.answer(output)

    def why_refused(self, operation: str, kind: str, place: Place | None = None) -> str | None:
        """Why this must be refused; None where it must be answered."""
        kinds = [kind, *KINDS_OF.get(kind, ())]
        keys = [operation, *kinds, *(f"{operation} {each}" for each in kinds)]
        for table in (self.refused, place.refused if place else {}):
            for key in keys:
                if key in table:
                    return table[key]
        return None


# What else a kind of lesion of `oracle.LESIONS` is called in tables of refusals.
KINDS_OF = {
    "noise": ("random",), "relative noise": ("random",), "multiplicative noise": ("random",),
    "dropout": ("random",), "channel dropout": ("random",), "several": ("random",), "two sites": ("random",),
    "resample": ("random",),
}  # fmt: skip

ZOO: dict[str, Stranger] = {}


def pictures(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def _called(model: nn.Module, images: Tensor) -> Any:
    return model(images)


def stranger(
    images: Tensor,
    *places: Place,
    prune: tuple[str, ...] = (),
    refused: Refused | None = None,
    run: Callable[[nn.Module, Tensor], Any] = _called,
    answer: Callable[[Any], Tensor] | None = None,
    alone: bool = True,
    mode: str = "eval",
    tolerance: float = 2e-5,
) -> Callable[[Any], Any]:
    """Puts a network (its class, or a function that builds it) into the zoo; its docstring is its habit."""

    def enter(make: Any) -> Any:
        # Test runners may import a file under two names: the second time changes nothing.
        assert make.__doc__, f"{make.__name__} does not say its habit"
        ZOO[make.__name__] = Stranger(
            make.__name__, make.__doc__, make, images, places, prune, refused or {}, run, answer, alone, mode,
            tolerance,
        )  # fmt: skip
        return make

    return enter


def whole_zoo() -> dict[str, Stranger]:
    """Every stranger, by name."""
    import zoo_batches  # noqa: F401
    import zoo_flow  # noqa: F401
    import zoo_layouts  # noqa: F401
    import zoo_outputs  # noqa: F401
    import zoo_weights  # noqa: F401

    return ZOO
