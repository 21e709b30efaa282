"""A level found on a ladder: how much of something brings a falling measure to where it is wanted.

The rungs are fixed beforehand and each is tried once at most, so that the same settings find the same rung, on any
machine that measures the same. Halving, where the measure falls from rung to rung, finds what trying all rungs finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Rungs = Sequence[float]
#: From names and values to levels: many at once, since a sweep of many is cheaper than many sweeps.
Measured = Callable[[Mapping[str, Sequence[float]]], Mapping[str, Mapping[float, float]]]


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        value: the rung whose level is nearest to what was wanted.
        level: what was measured there.
        wanted: the level that was sought.
        tried: every level that was measured, by rung.
    """

    value: float
    level: float
    wanted: float
    tried: Mapping[float, float]


def rungs(mild: float, severe: float, count: int, ratio: bool = False) -> tuple[float, ...]:
    """`count` values from `mild` to `severe`: evenly spaced, or in equal ratios; rounded to four digits.

    Example:
        >>> rungs(0, 1, 5), rungs(0.25, 4, 5, ratio=True)
        ((0.0, 0.25, 0.5, 0.75, 1.0), (0.25, 0.5, 1.0, 2.0, 4.0))
    """
    steps = [number / (count - 1) for number in range(count)]
    values = [mild * (severe / mild) ** step if ratio else mild + (severe - mild) * step for step in steps]
    return tuple(dict.fromkeys(float(f"{value:.4g}") for value in values))


def descend(measure: Callable[[float], float], ladder: Rungs, wanted: float, enough: float = 0.0) -> Found:
    """The rung at which a measure that falls along the ladder stands nearest to `wanted`.

    Args:
        measure: from a rung to the level there.
        ladder: from mild to severe.
        wanted: the level that is sought.
        enough: the first rung whose level is as near as that is taken.

    Example:
        >>> descend(lambda noise: 1 - noise, rungs(0, 1, 101), 0.8).value
        0.2
    """

    def levels(asked: Mapping[str, Rungs]) -> dict[str, dict[float, float]]:
        return {name: {value: measure(value) for value in values} for name, values in asked.items()}

    return descend_together(levels, {"": ladder}, {"": (wanted,)}, enough)[""][0]


def descend_together(
    measure: Measured,
    ladders: Mapping[str, Rungs],
    wanted: Mapping[str, Sequence[float]],
    enough: float = 0.0,
) -> dict[str, tuple[Found, ...]]:
    """Several searches, each for several levels, side by side: every round asks for all their rungs at once.

    Both ends of each ladder are tried first; then each search halves what lies between the last rung above its level
    and the next one at or below it. Where a level lies beyond an end, that end is what is found.

    Args:
        measure: from rungs by name to the levels there.
        ladders: by name, from mild to severe.
        wanted: by name, the levels that are sought.
        enough: a search ends at the first level as near as that.

    Returns:
        By name, what was found for every level, in their order.
    """
    known: dict[str, dict[float, float]] = {name: {} for name in ladders}
    brackets = {(name, level): (0, len(ladders[name]) - 1) for name in ladders for level in wanted[name]}
    asked = {name: sorted({0, len(ladder) - 1}) for name, ladder in ladders.items()}
    while any(asked.values()):
        new = {
            name: [ladders[name][place] for place in places if ladders[name][place] not in known[name]]
            for name, places in asked.items()
        }
        new = {name: values for name, values in new.items() if values}
        for name, levels in (measure(new) if new else {}).items():
            known[name].update(levels)
        asked = {name: [] for name in ladders}
        for (name, level), (low, high) in brackets.items():
            ladder, levels = ladders[name], known[name]
            middle = (low + high) // 2
            if ladder[middle] in levels and low < middle < high:
                low, high = (middle, high) if levels[ladder[middle]] > level else (low, middle)
                brackets[name, level] = low, high
                middle = (low + high) // 2
            over = levels[ladder[low]] <= level or levels[ladder[high]] > level
            over = over or min(abs(each - level) for each in levels.values()) <= enough
            if not over and low < middle < high and middle not in asked[name]:
                asked[name].append(middle)
    return {name: tuple(_nearest(known[name], ladders[name], level) for level in wanted[name]) for name in ladders}


def _nearest(levels: Mapping[float, float], ladder: Rungs, wanted: float) -> Found:
    """The milder of two rungs that are equally near."""
    tried = {value: levels[value] for value in ladder if value in levels}
    value = min(tried, key=lambda rung: (abs(tried[rung] - wanted), ladder.index(rung)))
    return Found(value, tried[value], wanted, tried)
