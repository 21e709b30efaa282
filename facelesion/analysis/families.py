"""Many tests: one error rate for the whole family that was looked at, the primary contrast first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from facelesion.analysis.checks import one_of
from facelesion.analysis.crossed import holm
from facelesion.analysis.statistics import false_discovery_rate
from facelesion.errors import Error

Correction = Literal["holm", "benjamini-hochberg"]


@dataclass(frozen=True)
class Adjusted:
    """A test within its family.

    Attributes:
        name: of the test.
        p: as it was found.
        adjusted: p that holds for the whole family; not a number where the test could not be made.
        primary: it was tested first, by itself.
        called: adjusted p below alpha.
        how: the correction in words, for tables and methods.
    """

    name: str
    p: float
    adjusted: float
    primary: bool
    called: bool
    how: str


def adjust(
    tests: Mapping[str, float],
    primary: str | None = None,
    correction: Correction = "holm",
    alpha: float = 0.05,
) -> list[Adjusted]:
    """Correct a family of tests: all that were looked at, not those that came out.

    The primary test, named before the data are seen, stands at its own p. The others are corrected among themselves
    and may be called only if the primary is: a fixed sequence (Maurer, Hothorn & Lehmacher 1995; Westfall & Krishen
    2001, *J Stat Plan Inference* 99:25–40). So the chance of any false call in the whole family stays at alpha with
    'holm' (Holm 1979), and with 'benjamini-hochberg' (1995) the expected share of false calls among the others. Without
    a primary test all are one family.

    Args:
        tests: p by name. Not a number: a test that could not be made, which is not counted.
        primary: the name of the primary test.
        correction: of the others.
        alpha: error rate.

    Returns:
        The primary test first, then the others in their order; none is left out.

    Raises:
        Error: no tests, p values that are none, or a primary test that is not among them.

    Example:
        >>> found = adjust({"a": 0.02, "b": 0.001, "c": 0.04}, primary="a")
        >>> [(one.name, one.adjusted, one.called) for one in found]
        [('a', 0.02, True), ('b', 0.02, True), ('c', 0.04, True)]
        >>> [(one.name, one.adjusted, one.called) for one in adjust({"a": 0.2, "b": 0.001}, primary="a")]
        [('a', 0.2, False), ('b', 0.2, False)]
    """
    one_of("correction", correction, ("holm", "benjamini-hochberg"))
    if not tests:
        raise Error("a family needs tests: none were given")
    if not 0 < alpha < 1:
        raise Error(f"alpha is a share between 0 and 1 (0.05), not {alpha}")
    for name, p in tests.items():
        if not (0 <= p <= 1 or math.isnan(p)):
            raise Error(f"{name}: p must be a number between 0 and 1, not {p}")
    if primary is not None:
        one_of("test of this family", primary, list(tests))
    others = {name: p for name, p in tests.items() if name != primary}
    made = {name: p for name, p in others.items() if not math.isnan(p)}
    values: list[float] = []
    if made:
        corrected = holm if correction == "holm" else false_discovery_rate
        values = [float(value) for value in corrected(list(made.values()))]
    adjusted = dict(zip(made, values, strict=True))
    words = {"holm": "Holm", "benjamini-hochberg": "Benjamini–Hochberg"}[correction]
    how = f"{words} over {len(made)} tests"
    found = []
    gate = 0.0
    if primary is not None:
        p = tests[primary]
        gate = 1.0 if math.isnan(p) else p
        found.append(Adjusted(primary, p, p, True, bool(p < alpha), "primary, uncorrected"))
        how += ", after the primary"
    for name, p in others.items():
        value = max(gate, adjusted[name]) if name in adjusted else math.nan
        found.append(Adjusted(name, p, value, False, bool(value < alpha), how))
    return found
