"""How an answer of the library is held to the oracle, and a refusal to the table."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from zoo import Stranger

from facelesion.lesions import LesionError
from facelesion.sweep import SweepError


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    if found.shape != expected.shape:
        return float("inf")
    scale = float(expected.abs().max()) or 1.0
    value = float((found.double() - expected.double()).abs().max()) / scale
    return value if value == value else float("inf")


class Held:
    """Gathers what is wrong with a stranger's answers, so that one test tells of all its lesions."""

    def __init__(self, stranger: Stranger, tolerance: float | None = None) -> None:
        self.tolerance = tolerance or stranger.tolerance
        self.problems: list[str] = []

    def to(
        self, what: str, found: Callable[[], Tensor], expected: Callable[[], Tensor], refused: str | None
    ) -> None:
        """Holds one answer to the oracle's, or to the refusal that the table states."""
        if wrong := self._problem(found, expected, refused):
            self.problems.append(f"{what}: {wrong}")

    def _problem(
        self, found: Callable[[], Tensor], expected: Callable[[], Tensor], refused: str | None
    ) -> str | None:
        try:
            answer = found()
        except (LesionError, SweepError) as error:
            message = str(error)
            if not message.strip() or "\n" in message:
                return f"refused with a message that is not one line: {message!r}"
            return None if refused is not None else f"refused, though it can be answered: {message}"
        except Exception as error:
            return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
        by = difference(answer, expected())
        verdict = "rightly" if by <= self.tolerance else f"wrong by {by:.1e} of the largest value"
        if refused is not None:
            return f"answered ({verdict}), but the table says: {refused}"
        return None if by <= self.tolerance else verdict

    def none_wrong(self) -> None:
        assert not self.problems, "\n" + "\n".join(self.problems)
