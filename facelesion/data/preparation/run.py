"""One run over a folder of photographs: what is to be done, who does it, and what is kept of an earlier run."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from facelesion.data.listing import Listing, list_folder, list_table
from facelesion.data.preparation.folder import (
    JOURNAL,
    LOCK,
    check_unchanged,
    left_out_of,
    manifest_of,
)
from facelesion.data.preparation.journal import Found, Job, Options, done_of, hashes_of, work
from facelesion.data.preparation.result import Prepared, assemble, finish_swap, printable
from facelesion.data.preparation.workers import work_in_parallel
from facelesion.errors import Error
from facelesion.faces.landmarks import landmark_backend
from facelesion.files import write_bytes
from facelesion.locks import locked
from facelesion.main_guard import refuse_in_unguarded_main
from facelesion.outputs import writable_folder

CHUNK = 32
_LARGEST = 4096  # pixels of a crop's side
_MOST_WORKERS = 1024


def prepare(
    root: str | Path,
    out: str | Path,
    *,
    landmarks: str = "mediapipe",
    model: str | Path | None = None,
    workers: int | None = None,
    size: int = 112,
    margin: int = 0,
    strict: bool = False,
    progress: bool = True,
) -> Prepared:
    """Find the face in every photograph, align it, and keep crop and landmarks.

    Args:
        root: a folder of people (`<root>/<person>/<photograph>`; whatever else is there that may be a picture is named
            among what was left out), or a CSV or parquet table with the columns `path`
            and `person`, whose paths start from its own folder.
        out: the folder to write; made when it is not there, continued when an earlier run began it.
        landmarks: "mediapipe", "dlib" or "mtcnn".
        model: the backend's model file, where it is not to be found by itself.
        workers: how many processes; one per core when left out.
        size: side of the aligned crops in pixels.
        margin: pixels added around them on every side, at the same scale.
        strict: a photograph left out is an error, raised when everything else is done and written.
        progress: show a progress bar, where a person looks at it: not in a log file.

    Returns:
        What was done, with the table of what was left out; its `str` is fit to be printed.

    Raises:
        Error: nothing to do, a folder that is something else's, a backend that is not there, no face at all;
            with `strict`, any photograph left out.

    Example:
        >>> prepare("nowhere", "prepared")
        Traceback (most recent call last):
        facelesion.errors.Error: nowhere: no such folder: check the path
    """
    refuse_in_unguarded_main()
    if not (_whole(size, 16, _LARGEST) and _whole(margin, 0, _LARGEST)):
        raise Error(
            f"crops of {size} pixels with a margin of {margin}: the size is 16 or more, a margin not negative, "
            f"neither more than {_LARGEST}"
        )
    if workers is not None and not _whole(workers, 1, _MOST_WORKERS):
        raise Error(f"{workers} workers: at least one is needed, and at most {_MOST_WORKERS}")
    if not str(root):
        raise Error("the folder of photographs has no name: name it")
    root, out = Path(root), writable_folder(out)
    listing = list_table(root) if os.path.isfile(root) else list_folder(root)
    # Made here once, so that what is missing is told before any process starts.
    try:
        backend = landmark_backend(landmarks, model)
    except Error:
        if model is None and (done := _done_already(listing, out, landmarks, size, margin)):
            return done  # these very photographs are all there: no model is needed
        raise
    options = Options(landmarks, backend.version, size, margin)
    with contextlib.closing(backend), _alone(out):
        _claim(out, options)
        names = sorted(listing.names)
        hashes = hashes_of(listing, names)
        known = done_of(out, hashes)
        todo = [name for name in names if name not in known]
        count = max(1, min(workers or os.cpu_count() or 1, math.ceil(len(todo) / CHUNK)))
        chunks = [todo[i : i + CHUNK] for i in range(0, len(todo), CHUNK)]
        jobs = [
            Job(listing.root, tuple(chunk), tuple(hashes[n] for n in chunk), out, options)
            for chunk in chunks
        ]
        with _bar(len(todo), progress) as bar:
            if count == 1:
                for job in jobs:
                    work(job, backend)
                    bar.update(len(job.names))
            else:
                work_in_parallel(jobs, count, model, bar)
        known = done_of(out, hashes)
        people = dict(zip(listing.names, listing.people, strict=True))
        known |= {name: Found("", reason=reason) for name, reason in listing.left_out}
        names = sorted([*names, *(name for name, _ in listing.left_out)])
        prepared = assemble(out, options, names, people, known, len(todo))
    if not prepared.faces:
        raise Error(
            f"{root}: no face in any of {len(names)} photographs: {out / 'left_out.csv'} says why for each"
        )
    if strict and prepared.left_out:
        first = prepared.left_out[0]
        raise Error(
            f"{len(prepared.left_out)} of {len(names)} photographs were left out, such as {printable(first.name)} "
            f"({first.reason}): mend or remove what {out / 'left_out.csv'} lists"
        )
    return prepared


def _done_already(listing: Listing, out: Path, landmarks: str, size: int, margin: int) -> Prepared | None:
    """The finished result of these very photographs under these options; None where something is to be done."""
    manifest = manifest_of(out) if out.is_dir() else None
    if manifest is None:
        return None
    asked = {"landmarks": landmarks, "size": size, "margin": margin}
    if any(manifest["options"].get(name) != value for name, value in asked.items()):
        return None
    check_unchanged(out, manifest)
    import pyarrow.parquet as parquet

    left, people = left_out_of(out), dict(zip(listing.names, listing.people, strict=True))
    kept = parquet.read_table(out / "faces.parquet", columns=["name", "person"]).to_pydict()
    names = {*kept["name"], *(name for name, _ in left)}
    if names != {*listing.names, *(name for name, _ in listing.left_out)}:
        return None
    if any(people.get(name) != person for name, person in zip(kept["name"], kept["person"], strict=True)):
        return None
    known = done_of(out, hashes_of(listing, listing.names))
    if any(name not in known for name in listing.names):
        return None
    return Prepared(out, manifest["faces"], manifest["several_faces"], left, 0)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Nobody else writes to the folder meanwhile."""
    with contextlib.ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            said = f"{out}: another process is preparing it, waiting"
            held.enter_context(locked(out / LOCK, said=said))
        except OSError as error:
            raise Error(f"{out} cannot be written ({error.strerror}): name another folder") from None
        yield


def _claim(out: Path, options: Options) -> None:
    """Take the folder, or say why it cannot be had; finish what a run killed at the very end began."""
    journal = out / JOURNAL
    finish_swap(out)
    manifest = manifest_of(out)
    others = (path for path in out.iterdir() if path.name != LOCK)
    if manifest is None and not journal.is_dir() and any(others):
        raise Error(f"{out} holds something else: name an empty or a new folder")
    stored = journal / "options.json"
    earlier = None
    if manifest is not None:
        check_unchanged(out, manifest)
        earlier = manifest["options"]
    elif stored.is_file():
        try:
            earlier = dict(json.loads(stored.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError):
            raise Error(
                f"{stored} is not as it was written: delete {out} and prepare again"
            ) from None
    if earlier is not None and earlier != asdict(options):
        changed = next(
            key for key in {**earlier, **asdict(options)} if earlier.get(key) != asdict(options).get(key)
        )
        raise Error(
            f"{out} was prepared with {changed} {earlier.get(changed)!r}, not {asdict(options).get(changed)!r}: "
            "name another folder, or delete that one"
        )
    try:
        journal.mkdir(parents=True, exist_ok=True)
        write_bytes(stored, json.dumps(asdict(options)).encode())
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror}): name another folder") from None


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


@contextlib.contextmanager
def _bar(total: int, shown: bool) -> Iterator[Any]:
    from tqdm import tqdm

    # Carriage returns are for a terminal: a log file would keep every one of them.
    quiet = not (shown and sys.stderr.isatty())
    with tqdm(total=total, unit="photograph", desc="faces", disable=quiet, smoothing=0.1) as bar:
        yield bar
