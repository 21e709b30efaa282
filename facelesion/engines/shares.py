"""A share of a job's cells, as one task of a SLURM array does them; and what it leaves in the folder beside parts.

`inputs/` holds what cells need, `arrays/` which task has which cells, `failed/` what went wrong. All of it is in files:
a coordinator that comes later reads there what another one did.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facelesion.engines.contract import Desk, Failure, Job, Worker, attempted
from facelesion.engines.parts import Parts
from facelesion.files import digest_of, write_surely

ARRAYS, FAILED, INPUTS, CANCELLED = "arrays", "failed", "inputs", "cancelled"


@dataclass(frozen=True)
class Array:
    """Tasks that were handed in together.

    Attributes:
        name: that the queue knows it by.
        cluster: `slurm` or `local`.
        shares: for every task, the cells' keys and what they are.
        folder: of its logs.
        ids: of its tasks, once they are known.
        host: where it was handed in.
        submitted: when, in seconds since 1970.
    """

    name: str
    cluster: str
    shares: tuple[tuple[tuple[str, str], ...], ...]
    folder: str
    ids: tuple[str, ...] = ()
    host: str = ""
    submitted: float = 0.0

    def keys(self, task: int) -> list[str]:
        """The cells that a task has."""
        return [key for key, _ in self.shares[task]]

    def write(self, parts: Path) -> None:
        """Note it down, whole."""
        write_surely(parts / ARRAYS / f"{self.name}.json", json.dumps(dataclasses.asdict(self)).encode())


def arrays_in(parts: Path) -> list[Array]:
    """All arrays that were handed in for a folder of parts, the first first."""
    found = []
    for path in (parts / ARRAYS).glob("[!.]*.json"):
        plain = json.loads(path.read_text(encoding="utf-8"))
        shares = tuple(tuple((key, told) for key, told in share) for share in plain["shares"])
        found.append(Array(**{**plain, "shares": shares, "ids": tuple(plain["ids"])}))
    return sorted(found, key=lambda array: array.submitted)


def failures_in(parts: Path) -> dict[str, dict[str, Any]]:
    """By the cell's key, what went wrong: its `told`, `line`, `ours`, `number` and `job`."""
    found = {}
    for path in (parts / FAILED).glob("[!.]*.json"):
        try:
            found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # deleted, or not wholly seen yet: the next look finds it
            continue
    return found


class Inputs:
    """A job's inputs and work as files, each under the hash of its content; loaded when they are asked for."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.folder, self.files = folder, dict(files)
        self._last: dict[str, Any] = {}

    @classmethod
    def written(cls, job: Job) -> Inputs:
        """All of a job's, written where they are not there yet."""
        pickler = importlib.import_module("cloudpickle")
        folder, files = job.folder / INPUTS, {}
        kept = Parts(folder)
        for name, value in {"": job.work, **job.inputs}.items():
            content = pickler.dumps(value)
            files[name] = f"{digest_of([content], 24)}.input"
            if not kept.has(files[name]):
                kept.keep(files[name], content)
        return cls(folder, files)

    def __getitem__(self, name: str) -> Any:
        if name not in self._last:
            content = _patiently(Parts(self.folder), self.files[name])
            self._last[name] = importlib.import_module("pickle").loads(content)
        return self._last[name]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "files": self.files, "_last": {}}


def _patiently(parts: Parts, name: str, seconds: float = 60.0) -> bytes:
    """A part that another machine has written: a folder over a network may show it late.

    Raises:
        OSError: it does not come.
    """
    limit = time.monotonic() + seconds
    while True:
        content = parts.read(name)
        if content is not None:
            return content
        if time.monotonic() > limit:
            raise OSError(f"{parts.path / name} is not seen on this machine, or not whole: do all nodes share it?")
        time.sleep(1)


class Share:
    """Some cells, done one after the other by whoever calls this; cells that are done are left out.

    `checkpoint` is what submitit asks for before a task is taken off its node: it goes on later, with the same cells.
    """

    def __init__(self, folder: Path, inputs: Inputs, cells: Sequence[Any], number: int = 0) -> None:
        self.folder, self.inputs, self.cells, self.number = folder, inputs, tuple(cells), number

    def __call__(self) -> int:
        """Do them; how many are left undone."""
        parts, work = Parts(self.folder), self.inputs[""]
        worker: list[Worker] = []
        left = 0

        def do(cell: Any) -> None:
            if not worker:
                worker.append(work.begin(Desk(self.inputs.__getitem__, parts, number=self.number)))
            worker[0].do(cell)

        for cell in work.missing(self.cells, parts):
            print(work.told(cell), flush=True)
            failure = attempted(lambda cell=cell: do(cell))  # type: ignore[misc]
            if failure is None:
                continue
            left += 1
            print(failure.line, flush=True)
            _note(self.folder, cell.key, work.told(cell), failure)
            if failure.ours:
                break
        return left

    def checkpoint(self) -> Any:
        """What is handed in again."""
        return importlib.import_module("submitit").helpers.DelayedSubmission(self)


def _note(folder: Path, key: str, told: str, failure: Failure) -> None:
    about = {
        "told": told, "line": failure.line, "ours": failure.ours, "number": failure.number,
        "job": os.environ.get("SLURM_JOB_ID", ""),
    }  # fmt: skip
    write_surely(folder / FAILED / f"{key}.json", json.dumps(about).encode())


def shared_out(cells: Sequence[Any], count: int) -> Iterator[list[Any]]:
    """Cells in so many shares, as even as can be, neighbours together: they build on the same parts.

    Example:
        >>> list(shared_out(range(5), 3))
        [[0, 1], [2, 3], [4]]
    """
    count = min(count, len(cells))
    size, more = divmod(len(cells), count)
    start = 0
    for number in range(count):
        stop = start + size + (number < more)
        yield list(cells[start:stop])
        start = stop
