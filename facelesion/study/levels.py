"""What a study may ask of its levels: how hard its tasks are for the healthy network, how much its lesions cost.

Settings alone; `difficulty.py` and `doses.py` find what they ask for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from facelesion.errors import Error
from facelesion.ranges import Range, Size
from facelesion.settings import check
from facelesion.study.staircase import rungs

Knob = Literal["likeness", "variability", "people", "noise"]
#: The key, in the place of a dose, that asks for doses by what they cost.
FOR_LOSS = "for_loss"


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard the tasks are made for the healthy network, on people who are never tested.

    Attributes:
        level: where each task is to stand, undamaged.
        scale: `forced_choice`, right against one other alternative at a time, which is one scale for all tasks; or
            `main`, each task's main measure.
        tasks: which tasks are made harder; when left out all but those that look into the network.
        knobs: what may be turned, in this order: each as far as it goes before the next.
        on: the participants whose mean level counts; the first alone when left out. Pictures are the same for all.
        most_likeness: how alike people are made at the most (1: all are one person).
        most_variability: how much pictures of one person are made to differ at the most.
        most_noise: standard deviation of the pictures' noise at the most, in fractions of full brightness.
        tolerance: a task this near to `level` is left as it is; of one farther off the run says that it is.
    """

    level: Annotated[float, Range(0.5, 1)] = 0.85
    scale: Literal["forced_choice", "main"] = "forced_choice"
    tasks: Annotated[Sequence[str], Size(0, 100, twice=False)] = ()
    knobs: Annotated[Sequence[Knob], Size(1, 4, twice=False)] = ("likeness", "variability", "noise")
    on: Annotated[Sequence[str], Size(0, 100, twice=False)] = ()
    most_likeness: Annotated[float, Range(0, 0.99)] = 0.95
    most_variability: Annotated[float, Range(0, 5)] = 1.5
    most_noise: Annotated[float, Range(0, 2)] = 0.4
    tolerance: Annotated[float, Range(0, 0.5)] = 0.03

    def __post_init__(self) -> None:
        check(self)
        for name in ("tasks", "knobs", "on"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What `for_loss` counts by: the task of which all damage costs equally much, on people who are never tested.

    Attributes:
        task: whose loss.
        scale: `forced_choice` or `main`, as for difficulty.
        on: the participants whose mean loss counts; the first alone when left out. Doses are the same for all.
        draws: lesions drawn at every dose that is tried; other draws than those of the study.
    """

    task: str = "identification"
    scale: Literal["forced_choice", "main"] = "forced_choice"
    on: Annotated[Sequence[str], Size(0, 100, twice=False)] = ()
    draws: Annotated[int, Range(1, 1000)] = 4

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "on", tuple(self.on))


@dataclass(frozen=True)
class Sought:
    """A dose that is written as what it costs: `fraction: {for_loss: [0.25, 0.5]}`.

    Attributes:
        field: the name of the dose.
        losses: shares of what the healthy network has above chance.
        ladder: doses from mild to severe among which it is sought.
        from_health: whether the dose before the first of the ladder is no damage at all.
    """

    field: str
    losses: tuple[float, ...]
    ladder: tuple[float, ...]
    from_health: bool


_RUNGS = 129
_NO_DOSE = ("units", "where", "site")  # fields that are lists or mappings by themselves
# From no damage to the most there can be, for doses whose ends follow from what they are; those of noise in ratios.
_ENDS: Mapping[tuple[str, str], tuple[float, float]] = {("Keep", "fraction"): (1.0, 0.0), ("Scale", "by"): (1.0, 0.0)}
_USUAL_ENDS: Mapping[str, tuple[float, float]] = {"fraction": (0.0, 1.0), "p": (0.0, 1.0)}
_NOISE_ENDS = (0.03125, 32.0)


def sought_in(part: Mapping[str, Any]) -> Sought | None:
    """The dose of a part that is written as a loss; None where there is none.

    Raises:
        Error: two of them, losses that are none, or a dose without natural ends and without `between`.

    Example:
        >>> found = sought_in({"kind": "Ablate", "site": "conv5_3", "fraction": {"for_loss": 0.5}})
        >>> found.losses, found.ladder[0], found.ladder[-1]
        ((0.5,), 0.007812, 0.9922)
    """
    named = [str(key) for key, value in part.items() if isinstance(value, Mapping) and key not in _NO_DOSE]
    if not named:
        return None
    field, *more = named
    if more:
        raise Error(
            f"{' and '.join(named)} both ask for {FOR_LOSS}: one dose is sought, give the other a value"
        )
    asked, kind = part[field], str(part.get("kind"))
    extra = [str(key) for key in asked if key not in (FOR_LOSS, "between")]
    if extra or FOR_LOSS not in asked:
        wrong = f"has {extra[0]!r}" if extra else f"has no {FOR_LOSS}"
        raise Error(f"{field} {wrong}: write {field}: {{{FOR_LOSS}: [0.25, 0.5]}}, with `between` if need be")
    losses = _losses(field, asked[FOR_LOSS])
    ends = asked.get("between")
    if ends is not None:
        pair = isinstance(ends, list | tuple) and len(ends) == 2 and all(map(_is_number, ends))
        if not pair or ends[0] == ends[1]:
            raise Error(f"{field}.between is {ends!r}: it must be two different doses, mild first")
        return Sought(field, losses, rungs(float(ends[0]), float(ends[1]), _RUNGS), False)
    if field == "std":
        return Sought(field, losses, rungs(*_NOISE_ENDS, _RUNGS, ratio=True), False)
    known = _ENDS.get((kind, field)) or _USUAL_ENDS.get(field)
    if known is None:
        raise Error(
            f"{field} of {kind} has no ends of its own: say between which it is sought, mild first: "
            f"{field}: {{{FOR_LOSS}: {list(losses)}, between: [1.0, 4.0]}}"
        )
    return Sought(field, losses, rungs(*known, _RUNGS)[1:-1], True)


def together(parts: Sequence[Mapping[str, Any]]) -> tuple[Sought | None, ...]:
    """The doses that are sought in a series' parts, which act together: all of them climb their ladders together.

    Raises:
        Error: parts that ask for unlike losses, or one with a list of doses beside one that is sought.
    """
    found = tuple(sought_in(part) for part in parts)
    losses = {each.losses for each in found if each is not None}
    if len(losses) > 1:
        raise Error(f"parts that act together ask for unlike losses: {', '.join(map(str, sorted(losses)))}")
    fixed = [part for part, each in zip(parts, found, strict=True) if each is None]
    listed = [
        str(key) for part in fixed for key, value in part.items() if isinstance(value, list) and key not in _NO_DOSE
    ]
    if losses and listed:
        raise Error(
            f"{listed[0]} is a list beside a dose that is sought: give it one value, or {FOR_LOSS} too"
        )
    return found


def stand_in(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part with doses of its ladder in place of those that are still to be found: as many, and possible ones."""
    sought = sought_in(part)
    if sought is None:
        return dict(part)
    places = [len(sought.ladder) * (number + 1) // (len(sought.losses) + 1) for number in range(len(sought.losses))]
    return {**part, sought.field: [sought.ladder[place] for place in places]}


def _losses(field: str, given: Any) -> tuple[float, ...]:
    losses = list(given) if isinstance(given, list | tuple) else [given]
    numbers = all(_is_number(loss) and 0 < loss < 1 for loss in losses)
    if not losses or not numbers or len(losses) > 64 or losses != sorted(set(losses)):
        raise Error(
            f"{field}.{FOR_LOSS} is {given!r}: it must be shares above 0 and below 1, growing, such as [0.25, 0.5]"
        )
    return tuple(map(float, losses))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
