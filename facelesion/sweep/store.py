"""A sweep that grows part by part on disk, survives being killed, and can be shared by several processes.

A folder holds `sweep.json` (what is being swept) and `parts/*.parquet`. Every part is written under another name and
moved into place whole, so that a reader never sees half of one. Each batch of images has a lock, which the system lets
go when its holder dies: several processes on one folder share the batches out among themselves.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from facelesion.lesions import Calibration, Lesion, relative_change
from facelesion.sweep import arguments, columns, engine
from facelesion.sweep.engine import Part
from facelesion.sweep.errors import SweepError
from facelesion.sweep.fingerprint import fingerprint
from facelesion.sweep.identity import alike, healthy, identity
from facelesion.sweep.measures import Squares, tiled
from facelesion.sweep.options import BATCH_SIZE, Options, at_least_one
from facelesion.sweep.trial import tried

if TYPE_CHECKING:
    import pandas

# Rows are written once this much has come together, so that a killed sweep loses little and parts are not tiny.
PART_BYTES = 16 << 20


def sweep_to_folder(
    folder: str | Path,
    model: nn.Module,
    lesions: Mapping[str, Lesion | None],
    images: torch.Tensor,
    *,
    seed: int = 0,
    calibration: Calibration | None = None,
    ids: Sequence[int] | torch.Tensor | None = None,
    processes: int = 1,
    progress: bool = False,
    readout: Callable[[Any], torch.Tensor] | None = None,
    options: Options | None = None,
    changes: bool = False,
    part_bytes: int = PART_BYTES,
) -> None:
    """Runs a sweep into a folder, or goes on with the one that is there. Read it with `read_sweep`.

    What is there already is not computed again, as long as network, readout, lesions, images, seed and code are the
    same; what is missing is. Outputs keep their type. It may be killed at any moment, and several processes may run
    it on one folder at once.

    Args:
        folder: made where it is not there.
        processes: how many processes of this machine share the work; on a machine with GPUs each takes the next one.
            They are started afresh, so a script needs `if __name__ == "__main__":`, and the model must be picklable.
        changes: keep as well by how much each lesion changed its sites; read it with `read_changes`.
        part_bytes: write a part when its outputs have grown to this size.
        model, lesions, images, seed, calibration, ids, progress, readout, options: as in `sweep`.

    Raises:
        SweepError: the folder belongs to another sweep, or the disk is full; what was written stays.
    """
    options = arguments.options_of(options, BATCH_SIZE)
    model, lesions = arguments.network(model), arguments.named_lesions(lesions)
    images = arguments.one_tensor(images)
    arguments.drawn_by(seed, calibration)
    at_least_one("processes", processes)
    at_least_one("part_bytes", part_bytes)
    numbers = arguments.image_numbers(range(len(images)) if ids is None else ids)
    assert numbers is not None
    if len(numbers) != len(images):
        raise SweepError(f"ids names {len(numbers)} images; there are {len(images)}")
    folder = Path(folder)
    read = engine.readout_of(readout)
    trial = tried(model, images[: options.batch_size], read, engine.device_of(model), rows=options.trace)
    told = identity(model, readout, seed, calibration, options, trial)
    digests = [fingerprint(image, int(number)) for image, number in zip(images, numbers, strict=True)]
    _open(folder, told, healthy(trial), lesions, digests)
    if processes > 1:
        from facelesion.sweep.processes import run_processes

        run_processes(
            processes,
            folder,
            model,
            lesions,
            images,
            seed,
            calibration,
            numbers,
            progress,
            readout,
            options,
            part_bytes,
            changes,
        )
        return
    task = fingerprint(told)
    batches = list(images.split(options.batch_size))
    keys = [
        fingerprint(task, number, batch, these)
        for number, (batch, these) in enumerate(zip(batches, numbers.split(options.batch_size), strict=True))
    ]
    tokens = {name: token(name, lesion) for name, lesion in lesions.items()}
    ready: engine.Ready | None = None
    # First whatever nobody else is at, then wait for the others and see whether they finished.
    waiting: list[int] = []
    for wait, turns in ((False, range(len(batches))), (True, waiting)):
        for number in turns:
            with _lock(folder, keys[number], wait) as free:
                if not free:
                    waiting.append(number)
                    continue
                done = finished(folder, changes).get(keys[number], set())
                if done.issuperset(tokens.values()):
                    continue
                if ready is None:
                    ready = engine.Ready.of(model, batches[0], lesions, options, read, trial)
                _batch(
                    folder, keys[number], number * options.batch_size, batches[number], done, tokens, part_bytes,
                    model=model, lesions=lesions, seed=seed, calibration=calibration,
                    ids=numbers[number * options.batch_size :][: len(batches[number])],
                    progress=progress, ready=ready, options=options, changes=changes,
                )  # fmt: skip


def read_sweep(folder: str | Path) -> dict[str, torch.Tensor]:
    """What a folder holds so far: lesion to outputs (N, ...), rows in the images' order.

    Raises:
        SweepError: no sweep is there, or some lesion still lacks images.
    """
    folder = Path(folder)
    told = _manifest(folder)
    names, count = told["lesions"], len(told["images"])
    found: dict[str, dict[int, torch.Tensor]] = {name: {} for name in names}
    for table, told_of in _tables(folder):
        names_here, places = (table.column(name).to_pylist() for name in ("lesion", "image"))
        outputs = columns.read(table.column("output").combine_chunks(), told_of)
        for lesion, image, output in zip(names_here, places, outputs, strict=True):
            # Two processes may have done the same batch; their numbers are the same, and one is kept.
            found.setdefault(lesion, {}).setdefault(image, output)
    short = [name for name in names if len(found[name]) < count]
    if short:
        raise SweepError(
            f"{folder}: the sweep is not finished, {short[0]!r} lacks images: run it again to go on"
        )
    return {name: torch.stack([rows[image] for image in sorted(rows)]) for name, rows in found.items()}


def read_changes(folder: str | Path) -> dict[str, dict[str, float]]:
    """By how much each lesion changed its sites, of a sweep that was run with `changes=True`.

    Returns:
        Lesion to site to ‖damaged − healthy‖ / ‖healthy‖ over all images, as `sweep(changes=)` gives it.

    Raises:
        SweepError: no sweep is there, or the changes of some images are missing.
    """
    folder = Path(folder)
    told = _manifest(folder)
    found: dict[str, dict[tuple[int, int], Squares]] = {name: {} for name in told["lesions"]}
    for path in sorted((folder / "parts").glob("*.parquet")):
        note = _note(path)
        for name, squares in (note.get("changes") or {}).items():
            sums = {site: torch.tensor(each, dtype=torch.float64) for site, each in squares.items()}
            found.setdefault(name, {}).setdefault(tuple(note["images"]), sums)
    try:
        return {name: relative_change(tiled(found[name], len(told["images"]))) for name in told["lesions"]}
    except SweepError as problem:
        raise SweepError(f"{folder}: {problem}") from None


def read_table(folder: str | Path) -> pandas.DataFrame:
    """The same as one table: a row per lesion and image, sorted; columns lesion, lesion_hash, image, id, output.

    Outputs are flat; half precision stands as float32, and complex numbers as real and imaginary part in turn.
    """
    import pandas
    import pyarrow

    tables = [table for table, _ in _tables(Path(folder))]
    if not tables:
        return pandas.DataFrame(columns=["lesion", "lesion_hash", "image", "id", "output"])
    frame = pyarrow.concat_tables(tables).replace_schema_metadata().to_pandas()
    order = {name: place for place, name in enumerate(_manifest(Path(folder))["lesions"])}
    frame = frame.drop_duplicates(["lesion", "image"])
    frame = frame.sort_values(
        ["lesion", "image"], key=lambda column: column.map(order) if column.name == "lesion" else column
    )
    return frame.reset_index(drop=True)


def token(name: str, lesion: Lesion | None) -> str:
    """A lesion and the name it goes by, for a part's list of what it holds."""
    return f"{'healthy' if lesion is None else lesion.hash} {name}"


def finished(folder: Path, changes: bool = False) -> dict[str, set[str]]:
    """Which lesions (tokens) each batch (key) has on disk, with their changes if asked for, as the parts say."""
    done: dict[str, set[str]] = {}
    for path in sorted((folder / "parts").glob("*.parquet")):
        told = _note(path)
        if told.get("changes") or not changes:
            done.setdefault(told["batch"], set()).update(told["lesions"])
    return done


def _tables(folder: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet as parquet

    _manifest(folder)
    for path in sorted((folder / "parts").glob("*.parquet")):
        told = _note(path)
        try:
            yield parquet.read_table(path), told
        except (pyarrow.ArrowException, OSError) as problem:
            raise _no_part(path) from problem


def _note(path: Path) -> dict[str, Any]:
    """What a part says of itself: its batch, its lesions, the shape and type of its outputs."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        told = parquet.read_schema(path).metadata
        note = json.loads(told[b"note"])
        if note.keys() >= {"batch", "lesions", "shape", "dtype"}:
            return note
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError) as problem:
        raise _no_part(path) from problem
    raise _no_part(path)


def _no_part(path: Path) -> SweepError:
    return SweepError(f"{path} is no part of a sweep, or damaged: delete it and run the sweep again")


# What `sweep.json` says, and of which type each entry is.
_ENTRIES = {"task": dict, "healthy": dict, "images": list, "lesions": dict}


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / "sweep.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise SweepError(f"{folder} holds no sweep: there is no sweep.json") from None
    except (OSError, ValueError) as problem:
        raise SweepError(f"{folder / 'sweep.json'} cannot be read: {problem}") from problem
    for key, kind in _ENTRIES.items():
        if not isinstance(told, dict) or not isinstance(told.get(key), kind):
            raise SweepError(
                f"{folder / 'sweep.json'} has no {key!r} that could be read: it was written by another version or "
                "changed by hand; name another folder, or delete this one"
            )
    return told


def _open(
    folder: Path,
    task: Mapping[str, str],
    answered: Mapping[str, Any],
    lesions: Mapping[str, Lesion | None],
    images: list[str],
) -> None:
    """Makes the folder this sweep's, or sees that it is; lesions and further images may be added to what is there."""
    wanted = {name: None if lesion is None else lesion.to_dict() for name, lesion in lesions.items()}
    for name in wanted:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise SweepError(f"lesions: {name!r} is no name that could be written down")
    try:
        (folder / "parts").mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SweepError(f"folder: {folder} cannot be made: {problem.strerror}") from problem
    with _lock(folder, "sweep", wait=True):
        if (folder / "sweep.json").exists():
            known = _manifest(folder)
            differ = [what for what, value in task.items() if known["task"].get(what) != value]
            if not differ and not alike(known["healthy"], answered):
                differ = ["what the healthy network answers"]
            if differ:
                raise SweepError(
                    f"{folder} holds a sweep of another network, readout, seed, calibration or version of the code "
                    f"(changed: {', '.join(differ)}): name another folder, or delete this one"
                )
            for number, (one, other) in enumerate(zip(images, known["images"], strict=False)):
                if one != other:
                    raise SweepError(
                        f"{folder} holds a sweep of other images or image numbers (image {number} is the first that "
                        "differs): name another folder, or delete this one"
                    )
            for name, lesion in known["lesions"].items():
                if name in wanted and wanted[name] != lesion:
                    raise SweepError(
                        f"{folder} knows {name!r} as another lesion: give the new one another name"
                    )
            wanted, images = known["lesions"] | wanted, max(images, known["images"], key=len)
            if (wanted, images) == (known["lesions"], known["images"]):
                return
            answered = known["healthy"]
        text = json.dumps({"task": task, "healthy": answered, "images": images, "lesions": wanted}, indent=1)
        with _full(folder):
            _place(folder / "sweep.json", lambda path: path.write_text(text))


@contextlib.contextmanager
def _lock(folder: Path, name: str, wait: bool) -> Iterator[bool]:
    """Holds a lock that the system lets go when this process ends, however it ends; False where another holds it."""
    (folder / "locks").mkdir(exist_ok=True)
    with open(folder / "locks" / name, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


@contextlib.contextmanager
def _full(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SweepError(
                f"the disk is full at {folder}: make room and run the sweep again; every part before this one is kept"
            ) from problem
        raise


def _place(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file whole or not at all: under another name, to the disk, then moved into place."""
    hidden = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        write(hidden)
        with open(hidden, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)


def _batch(
    folder: Path,
    key: str,
    first: int,
    batch: torch.Tensor,
    done: set[str],
    tokens: Mapping[str, str],
    part_bytes: int,
    *,
    options: Options,
    **given: Any,
) -> None:
    """Computes what one batch lacks. The caller holds the batch's lock, so hidden files of it are leftovers."""
    for leftover in (folder / "parts").glob(f".{key}-*"):
        leftover.unlink(missing_ok=True)
    numbers: torch.Tensor = given["ids"]
    parts: list[Part] = []

    def flush() -> None:
        with _full(folder):
            _write(folder, key, parts, tokens, first, numbers.tolist(), given["changes"])
        parts.clear()

    for together in engine.chunks(
        batches=batch, options=replace(options, batch_size=len(batch)),
        skip=lambda name, rows: tokens[name] in done, **given,
    ):  # fmt: skip
        for part in together:
            missing = tuple(name for name in part.names if tokens[name] not in done)
            if missing:
                parts.append(replace(part, names=missing, outputs=part.outputs.cpu()))
        # Only what was run together is written together: a sweep that goes on repeats the same arithmetic.
        if sum(part.outputs.nbytes * len(part.names) for part in parts) >= part_bytes:
            flush()
    if parts:
        flush()


def _write(
    folder: Path,
    key: str,
    parts: Sequence[Part],
    tokens: Mapping[str, str],
    first: int,
    ids: list[int],
    changes: bool,
) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    names = [name for part in parts for name in part.names]
    if len({(part.outputs.shape[1:], part.outputs.dtype) for part in parts}) > 1:
        raise SweepError(
            "the network (or the readout) answers some lesions in another shape or type than others"
        )
    column, told = columns.written(torch.cat([part.outputs for part in parts for _ in part.names]))
    images = len(ids)
    note: dict[str, Any] = {"batch": key, "lesions": [tokens[name] for name in names]}
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
    path = folder / "parts" / f"{key}-{uuid.uuid4().hex[:8]}.parquet"
    _place(path, lambda hidden: parquet.write_table(table, hidden, compression="zstd"))
