"""Files that appear whole or not at all, and names that were nearly right: what every room stands on."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO


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
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return path


def write_bytes(path: str | Path, data: bytes) -> Path:
    """As `write_whole`, for what is there already."""
    return write_whole(path, lambda file: file.write(data))


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
