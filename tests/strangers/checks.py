"""How an answer of the library is held to the oracle, and a refusal to the table."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from facelesion.errors import FacelesionError
from facelesion.lesions import LesionError
from facelesion.sweep import SweepError

REFUSALS = (LesionError, SweepError, FacelesionError)


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    if found.shape != expected.shape:
        return float("inf")
    scale = float(expected.abs().max()) or 1.0
    value = float((found.double() - expected.double()).abs().max()) / scale
    return value if value == value else float("inf")


def problem(
    run: Callable[[], Tensor], expected: Callable[[], Tensor], refused: str | None, tolerance: float
) -> str | None:
    """What is wrong with an answer or a refusal, in a few words; None if nothing."""
    try:
        found = run()
    except REFUSALS as error:
        message = str(error)
        if not message.strip() or "\n" in message:
            return f"refused with a message that is not one line: {message!r}"
        return None if refused is not None else f"refused, though it can be answered: {message}"
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        return f"{type(error).__name__}: {first[:160]}"
    if refused is not None:
        return f"answered, though {refused or 'it must be refused'}"
    by = difference(found, expected())
    return None if by <= tolerance else f"wrong by {by:.1e} of the largest value"
