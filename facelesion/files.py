"""Files: where they are kept, written whole or not at all, hashed, left out; and names that were nearly right."""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

# What a file system over a network answers while it is cut off or slow, and what may go by. A full disk does not.
_PASSING = {
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "EAGAIN", "EBUSY", "ETIMEDOUT", "EREMOTEIO", "ECONNRESET", "ESHUTDOWN", "ENOENT")
    if hasattr(errno, name)
}
# What Windows answers to a move onto a file that somebody reads just now.
_IN_USE = {errno.EACCES} if os.name == "nt" else set[int]()
PAUSES = (0.1, 0.5, 2.0, 5.0, 10.0)  # seconds before each further try


class LeftOut(NamedTuple):
    """A file that takes no part, by its name below its folder, and why.

    Example:
        >>> LeftOut("Ann/Ann_0001.jpg", "no face found").reason
        'no face found'
    """

    name: str
    reason: str


def cache_folder() -> Path:
    """Where what was fetched or unpacked is kept: $FACELESION_CACHE, else the user's cache folder."""
    chosen = os.environ.get("FACELESION_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facelesion"


def write_whole(path: str | Path, write: Callable[[BinaryIO], Any]) -> Path:
    """Put a file in its place whole: a reader sees the old one or the new one, never a part.

    Args:
        path: where it goes; its folder is made.
        write: is handed the open file.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder) / "a" / "note.txt", lambda file: file.write(b"whole")).read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o644)  # mkstemp's files are for their owner alone
        _move(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return path


def write_bytes(path: str | Path, data: bytes) -> Path:
    """As `write_whole`, for what is there already."""
    return write_whole(path, lambda file: file.write(data))


def write_surely(path: str | Path, data: bytes, whole: Callable[[bytes], bool] | None = None) -> Path:
    """As `write_bytes`, on file systems that fail for a while: brought to the disk, read back, and tried again.

    Args:
        path: where it goes.
        data: what goes there.
        whole: whether what is read back will do, where several may write the same file; by default only `data` does.

    Raises:
        OSError: it failed every time, or in a way that does not pass, such as a full disk.
    """
    problem: OSError | None = None

    def write(file: BinaryIO) -> None:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        try:
            write_whole(path, write)
            back = Path(path).read_bytes()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            problem = error
            continue
        if whole(back) if whole else back == data:
            return Path(path)
        problem = OSError(errno.EIO, "what was written reads back otherwise", str(path))
    assert problem is not None
    raise problem


def _move(temporary: str, path: Path) -> None:
    """Move a file into its place. A move over a network may fail for a while, or say so and have happened."""
    moved = os.stat(temporary).st_ino
    for pause in (*PAUSES, None):
        try:
            os.replace(temporary, path)
            return
        except OSError as error:
            with contextlib.suppress(OSError):
                if not os.path.exists(temporary) and os.stat(path).st_ino == moved:
                    return
            if error.errno not in _PASSING | _IN_USE or pause is None:
                raise
            time.sleep(pause)


def is_full(error: OSError) -> bool:
    """Whether it says that there is no room left, on the disk or for this user.

    >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(OSError(errno.EACCES, "Permission denied"))
    (True, False)
    """
    return error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def file_hash(path: str | Path, algorithm: str = "sha256") -> str:
    """Hash of a file's content, in hex digits; SHA-256 unless another is named."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest_of(parts: Iterable[bytes | str], digits: int = 12) -> str:
    """SHA-256 of parts, in hexadecimal digits; where one part ends and the next begins counts.

    Example:
        >>> digest_of(["ab", "c"]) == digest_of(["a", "bc"])
        False
    """
    sha = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        sha.update(len(content).to_bytes(8, "little"))
        sha.update(content)
    return sha.hexdigest()[:digits]


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not known.

    Example:
        >>> nearest("detectoin", ["detection", "objects"]), nearest("x", ["detection", "objects"])
        ("did you mean 'detection'?", 'there are detection, objects')
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"
