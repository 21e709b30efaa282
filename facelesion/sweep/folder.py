"""A sweep's folder: what is swept there, which parts are whole, and which lesions of which images they hold."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from facelesion import locks
from facelesion.files import is_full, write_surely
from facelesion.lesions import Lesion
from facelesion.sweep.errors import SweepError
from facelesion.sweep.identity import alike

PARTS = "parts"
_DIGITS = 16  # of the hash in a part's name


def token(name: str, lesion: Lesion | None) -> str:
    """A lesion and the name it goes by, for a part's list of what it holds."""
    return f"{'healthy' if lesion is None else lesion.hash} {name}"


def tokens_of(lesions: Mapping[str, Lesion | None]) -> dict[str, str]:
    """Every lesion's token, by its name."""
    return {name: token(name, lesion) for name, lesion in lesions.items()}


def part_name(batch: str, content: bytes) -> str:
    """The name of a part: the batch of images that it is of, and the hash of its bytes."""
    return f"{batch}-{hashlib.sha256(content).hexdigest()[:_DIGITS]}.parquet"


def whole(path: Path) -> bool:
    """Whether a part holds what its name says. A file system may show a file before all its content."""
    try:
        about = path.stat()
        return _is_whole(str(path), about.st_size, about.st_mtime_ns)
    except OSError:
        return False


@functools.lru_cache(maxsize=100_000)
def _is_whole(path: str, size: int, time: int) -> bool:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS] == Path(path).stem.rpartition("-")[2]


def note_of(path: Path) -> dict[str, Any] | None:
    """What a part says of itself: its batch, its lesions, its outputs' shape and type; None where it says nothing."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        told = parquet.read_schema(path).metadata
        note = json.loads(told[b"note"])
        if note.keys() >= {"batch", "lesions", "shape", "dtype"}:
            return note
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError):
        pass
    return None


def finished(folder: Path, changes: bool = False) -> dict[str, set[str]]:
    """Which lesions (tokens) each batch (key) has on disk, with their changes if asked for, as the whole parts say."""
    done: dict[str, set[str]] = {}
    for path in sorted((folder / PARTS).glob("*.parquet")):
        told = note_of(path) if whole(path) else None
        if told is not None and (told.get("changes") or not changes):
            done.setdefault(told["batch"], set()).update(told["lesions"])
    return done


def clear(folder: Path) -> None:
    """Delete parts that are not whole: they are done again."""
    for path in (folder / PARTS).glob("*.parquet"):
        if not whole(path):
            path.unlink(missing_ok=True)


# What `sweep.json` says, and of which type each entry is.
_ENTRIES = {"task": dict, "healthy": dict, "images": list, "lesions": dict}


def manifest_of(folder: Path) -> dict[str, Any]:
    """What a folder's sweep is of.

    Raises:
        SweepError: no sweep is there, or its `sweep.json` cannot be read.
    """
    try:
        told = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
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


def claim(
    folder: Path,
    task: Mapping[str, str],
    answered: Mapping[str, Any],
    lesions: Mapping[str, Lesion | None],
    images: list[str],
    rounding: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> None:
    """Makes the folder this sweep's, or sees that it is; lesions and further images may be added to what is there.

    `rounding` measures what a lower precision costs, where one was asked for; it is asked when there is something new.
    """
    wanted = {name: None if lesion is None else lesion.to_dict() for name, lesion in lesions.items()}
    for name in wanted:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise SweepError(f"lesions: {name!r} is no name that could be written down")
    try:
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SweepError(f"folder: {folder} cannot be made: {problem.strerror}") from problem
    with locked(folder, "sweep", wait=True):
        if (folder / "sweep.json").exists():
            known = manifest_of(folder)
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
        told = {"task": task, "healthy": answered, "rounding": rounding(), "images": images, "lesions": wanted}
        text = json.dumps(told, indent=1)
        with told_if_full(folder):
            write_surely(folder / "sweep.json", text.encode())


def locked(folder: Path, name: str, wait: bool) -> contextlib.AbstractContextManager[bool]:
    """Holds one of a sweep's locks; False where another process of this machine does. It saves double work."""
    return locks.locked(folder / "locks" / name, wait)


@contextlib.contextmanager
def told_if_full(folder: Path) -> Iterator[None]:
    """Say in one line that the disk is full."""
    try:
        yield
    except OSError as problem:
        if is_full(problem):
            raise SweepError(
                f"the disk is full at {folder}: make room and run the sweep again; every part before this one is kept"
            ) from problem
        raise
