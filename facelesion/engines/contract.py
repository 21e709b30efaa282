"""The one contract between what is to be done and where: cells, their work, and what a worker has at hand."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from facelesion.engines.parts import Parts
from facelesion.errors import Error, one_line


class Cell(Protocol):
    """One piece of the work: a small value that can be pickled.

    Attributes:
        key: hash of all that its result depends on.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Square:
        ...     number: int
        ...     @property
        ...     def key(self):
        ...         return str(self.number)
        >>> Square(3).key
        '3'
    """

    @property
    def key(self) -> str: ...


class Worker(Protocol):
    """Does cells, one after the other, and keeps between them what the next may need."""

    def do(self, cell: Any) -> None:
        """Do a cell and keep its part, unless that is there. Twice is harmless.

        Raises:
            Error: the user's to mend; it would be the same on every machine.
        """


class Work(Protocol):
    """What is done: a small value that can be pickled. It travels to every worker."""

    def begin(self, desk: Desk) -> Worker:
        """Somebody to do cells, at a desk."""

    def missing(self, cells: Sequence[Any], parts: Parts) -> list[Any]:
        """The cells whose parts are not there, each with what it may need to know of that."""

    def amount(self, cell: Any) -> int:
        """How much there is to do in a cell, in images × lesions."""

    def needs(self, cell: Any) -> Sequence[str]:
        """The names of other cells' parts that it builds on, where they are there."""

    def told(self, cell: Any) -> str:
        """What a cell is, to be read."""


@dataclass(frozen=True)
class Desk:
    """What a worker has at hand.

    Attributes:
        fetch: gives one of the job's inputs, by its name.
        parts: where parts are kept and read.
        number: of the worker, among those of this machine that see the same devices.
        alone: nobody else works on this job, so nothing has to be handed on.
        progress: whether the worker itself shows how far it is.
    """

    fetch: Callable[[str], Any]
    parts: Parts
    number: int = 0
    alone: bool = False
    progress: bool = False


@dataclass(frozen=True, eq=False)
class Job:
    """All that an engine has to know.

    Attributes:
        work: what is done with a cell.
        cells: all of them, in the order in which they are best done.
        inputs: what the cells need, by name: large values, each carried to a worker once it asks for it.
        folder: of the parts; it is there.
        before: cells that others build on. Whoever misses one of their parts does it itself, so that doing them first
            saves work and decides nothing.
        logs: where an engine may leave what its workers print; in `folder` when left out.
        progress: whether to tell how far the work is.

    Example:
        >>> import tempfile
        >>> from facelesion.engines import Engine, Here
        >>> class Square(int):
        ...     key = property(str)
        >>> class Squarer:
        ...     def __init__(self, desk):
        ...         self.parts = desk.parts
        ...     def do(self, cell):
        ...         self.parts.keep(cell.key, str(cell * cell).encode())
        >>> class Squares:
        ...     def begin(self, desk: Desk) -> Worker:
        ...         return Squarer(desk)
        ...     def missing(self, cells, parts):
        ...         return [cell for cell in cells if not parts.has(cell.key)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     work: Work = Squares()
        ...     job = Job(work, [Square(3), Square(4)], {}, Path(folder), progress=False)
        ...     engine: Engine = Here()
        ...     _ = engine.run(job)
        ...     job.parts.read("3"), job.parts.read("4")
        (b'9', b'16')
    """

    work: Work
    cells: Sequence[Any]
    inputs: Mapping[str, Any]
    folder: Path
    before: Sequence[Any] = ()
    logs: Path | None = None
    progress: bool = True
    parts: Parts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", Parts(self.folder))

    def missing(self) -> tuple[list[Any], list[Any]]:
        """What is still to be done, and what should be done before; both empty where all is done."""
        cells = self.work.missing(self.cells, self.parts)
        return (cells, self.work.missing(self.before, self.parts)) if cells else ([], [])


@dataclass(frozen=True)
class Failure:
    """Why a cell was not done, as its worker tells whoever handed it out.

    Attributes:
        line: the user's mistake in one line, or what Python says.
        ours: whether it is the user's to mend, and would be the same on every machine.
        number: of a system's error, such as a full disk; 0 for others.
    """

    line: str
    ours: bool
    number: int = 0

    def raised(self) -> Exception:
        """The error to raise where the work was asked for."""
        if self.ours:
            return Error(self.line)
        return OSError(self.number, self.line) if self.number else RuntimeError(f"a worker failed:\n{self.line}")


def attempted(work: Callable[[], Any]) -> Failure | None:
    """Do some work in a worker; what went wrong, if anything did."""
    try:
        work()
    except Error as error:
        return Failure(one_line(error), ours=True)
    except OSError as error:
        told = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)
        return Failure(told, ours=False, number=error.errno or 0)
    except Exception:
        return Failure(traceback.format_exc(), ours=False)
    return None


class Engine(Protocol):
    """Does jobs, somewhere."""

    def run(self, job: Job) -> Worker | None:
        """Do all cells that are missing; when it returns, every part is there.

        Returns:
            Who did it, where that was this very process.

        Raises:
            Error: a cell cannot be done, by the cell's own line, or the engine cannot be used; what is done is kept.
        """
