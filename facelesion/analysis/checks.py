"""Checks of what a statistic is given: where a value enters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facelesion.errors import Error


def sample(values: ArrayLike, least: int) -> NDArray[np.float64]:
    """Values (N,) as float64, after the check that there are enough and that all are finite.

    Raises:
        Error: fewer than `least` values, or some that are not finite.
    """
    data = np.asarray(values, dtype=float).ravel()
    if len(data) < least or not np.isfinite(data).all():
        raise Error(f"a sample needs {least} or more finite values, not {data.tolist()[:5]}")
    return data


def finite(**values: float) -> None:
    """Refuse numbers that are not finite, by name: with one of them a comparison is false and a p value small.

    Raises:
        Error: the first that is not finite.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise Error(f"{name} must be a finite number, not {value}")


def one_of(what: str, value: str, known: Sequence[str]) -> None:
    """Refuse a word that names none of what there is.

    Raises:
        Error: `value` is not in `known`.
    """
    if value not in known:
        raise Error(f"no {what} {value!r}: take {', '.join(known)}")


def check_level(level: float) -> None:
    """Refuse a confidence level that is no share.

    Raises:
        Error: a level that does not lie between 0 and 1.
    """
    if not 0 < level < 1:
        raise Error(f"the level is a share between 0 and 1 (0.95), not {level}")
