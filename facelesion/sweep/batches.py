"""The batches of a sweep, and how one is done: here or on another machine, twice without harm."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from facelesion.engines.contract import Desk, Engine, Job
from facelesion.engines.parts import Parts
from facelesion.errors import Error
from facelesion.files import write_surely
from facelesion.sweep import columns
from facelesion.sweep.engine import Part, Ready, chunks
from facelesion.sweep.errors import SweepError
from facelesion.sweep.fetched import fetched
from facelesion.sweep.folder import PARTS, clear, finished, locked, part_name, tokens_of, told_if_full
from facelesion.sweep.request import Request
from facelesion.sweep.trial import Trial

_REQUEST = "request"
Keep = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Batch:
    """A cell of a sweep: all lesions of one batch of images.

    Attributes:
        number: of the batch.
        key: hash of the images and of all that decides a result but the lesions.
        done: tokens of the lesions that are on disk already.
    """

    number: int
    key: str
    done: frozenset[str] = frozenset()


class Sweeper:
    """Does batches, with a network that is made ready once."""

    def __init__(self, request: Request, part_bytes: int, trial: Trial | None = None) -> None:
        self.request, self.part_bytes, self._trial = request, part_bytes, trial
        self._ready: Ready | None = None

    def sweep(self, batch: Batch, keep: Keep, progress: bool) -> None:
        """What one batch lacks; its parts are kept as they come."""
        tokens, size = tokens_of(self.request.lesions), self.request.options.batch_size
        begin = batch.number * size
        here = self.request.some(begin, begin + size)
        _, ids, _ = next(here.images())
        if self._ready is None:
            *_, first = next(self.request.images())
            self._ready = Ready.of(self.request, first, self._trial)
        parts: list[Part] = []

        def flush() -> None:
            content = content_of(batch, parts, tokens, begin, ids.tolist(), here.changes)
            keep(part_name(batch.key, content), content)
            parts.clear()

        def skip(name: str, rows: range) -> bool:
            return tokens[name] in batch.done

        for together in chunks(here, progress=progress, skip=skip, ready=self._ready):
            for part, outputs in zip(together, fetched([part.outputs for part in together]), strict=True):
                missing = tuple(name for name in part.names if tokens[name] not in batch.done)
                if missing:
                    parts.append(replace(part, names=missing, outputs=outputs))
            # Only what was run together is written together: a sweep that goes on repeats the same arithmetic.
            if sum(part.outputs.nbytes * len(part.names) for part in parts) >= self.part_bytes:
                flush()
        if parts:
            flush()


def content_of(
    batch: Batch,
    parts: Sequence[Part],
    tokens: Mapping[str, str],
    first: int,
    ids: list[int],
    changes: bool,
) -> bytes:
    """A part's bytes: parquet, with a note that says what it holds."""
    import pyarrow
    import pyarrow.parquet as parquet

    names = [name for part in parts for name in part.names]
    if len({(part.outputs.shape[1:], part.outputs.dtype) for part in parts}) > 1:
        raise SweepError(
            "the network (or the readout) answers some lesions in another shape or type than others"
        )
    column, told = columns.written(torch.cat([part.outputs for part in parts for _ in part.names]))
    images = len(ids)
    note: dict[str, Any] = {"batch": batch.key, "lesions": [tokens[name] for name in names]}
    note["images"] = [first, first + images]
    if changes:
        note["changes"] = {
            name: {site: squares.tolist() for site, squares in part.squares.items()}
            for part in parts
            for name in part.names
        }
    table = pyarrow.table(
        {
            "lesion": pyarrow.array([name for name in names for _ in range(images)]).dictionary_encode(),
            "lesion_hash": [tokens[name].split(" ")[0] for name in names for _ in range(images)],
            "image": pyarrow.array(list(range(first, first + images)) * len(names), pyarrow.int64()),
            "id": pyarrow.array(ids * len(names), pyarrow.int64()),
            "output": column,
        }
    ).replace_schema_metadata({"note": json.dumps(note | told)})
    table = table.set_column(0, "lesion", table.column("lesion").cast(pyarrow.string()))
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def sweep_here(
    request: Request, batches: Sequence[Batch], folder: Path, part_bytes: int, progress: bool, trial: Trial
) -> None:
    """All that is missing, in this process. Another one on the same folder takes other batches."""
    clear(folder)
    sweeper, tokens = Sweeper(request, part_bytes, trial), set(tokens_of(request.lesions).values())

    def keep(name: str, content: bytes) -> None:
        with told_if_full(folder):
            write_surely(folder / PARTS / name, content)

    # First whatever nobody else is at, then wait for the others and see whether they finished.
    waiting: list[Batch] = []
    for wait, turns in ((False, batches), (True, waiting)):
        for batch in turns:
            with locked(folder, batch.key, wait) as free:
                if not free:
                    waiting.append(batch)
                    continue
                for leftover in (folder / PARTS).glob(f".{batch.key}-*"):
                    leftover.unlink(missing_ok=True)
                done = frozenset(finished(folder, request.changes).get(batch.key, ()))
                if not done >= tokens:
                    sweeper.sweep(replace(batch, done=done), keep, progress)


@dataclass(frozen=True)
class SweepWork:
    """What is done with a sweep's batches, wherever that is.

    Attributes:
        tokens: of all lesions.
        changes: whether they are to have their changes.
        images: in a batch.
        part_bytes: of outputs that are written together.
    """

    tokens: frozenset[str]
    changes: bool
    images: int
    part_bytes: int

    def begin(self, desk: Desk) -> _Worker:
        """Somebody to do batches."""
        return _Worker(self, desk)

    def missing(self, cells: Sequence[Batch], parts: Parts) -> list[Batch]:
        """The batches that lack lesions, each with what it has."""
        there = finished(parts.path.parent, self.changes)
        found = [replace(cell, done=frozenset(there.get(cell.key, ()))) for cell in cells]
        return [cell for cell in found if not cell.done >= self.tokens]

    def amount(self, cell: Batch) -> int:
        """Images × lesions."""
        return self.images * len(self.tokens - cell.done)

    def needs(self, cell: Batch) -> Sequence[str]:
        """Nothing: a batch builds on no other's part."""
        return ()

    def told(self, cell: Batch) -> str:
        """What a batch is, to be read."""
        return f"images {cell.number * self.images} and on"


class _Worker:
    def __init__(self, work: SweepWork, desk: Desk) -> None:
        request: Request = desk.fetch(_REQUEST)
        if torch.cuda.is_available() and any(each.is_cuda for each in request.model.parameters()):
            device = torch.device("cuda", desk.number % torch.cuda.device_count())
            request = replace(request, model=request.model.to(device))
        self.work, self.desk, self.sweeper = work, desk, Sweeper(request, work.part_bytes)

    def do(self, cell: Batch) -> None:
        missing = self.work.missing([cell], self.desk.parts) if self.desk.parts.shared else [cell]
        for batch in missing:
            self.sweeper.sweep(batch, self.desk.parts.write, progress=False)


def sweep_elsewhere(
    request: Request, batches: Sequence[Batch], folder: Path, part_bytes: int, progress: bool, where: Engine
) -> None:
    """All that is missing, by an engine.

    Raises:
        SweepError: the engine cannot be used, or a batch cannot be done.
    """
    clear(folder)
    tokens = frozenset(tokens_of(request.lesions).values())
    work = SweepWork(tokens, request.changes, request.options.batch_size, part_bytes)
    job = Job(work, batches, {_REQUEST: request}, folder / PARTS, logs=folder / "logs", progress=progress)
    try:
        with told_if_full(folder):
            where.run(job)
    except SweepError:
        raise
    except Error as problem:
        raise SweepError(str(problem)) from None
    for leftover in (folder / PARTS).glob(".*.part"):  # of workers that died
        leftover.unlink(missing_ok=True)
