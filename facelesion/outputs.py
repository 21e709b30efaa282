"""Whether something can be written where it should go; asked before any work is done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from facelesion.errors import Error


def writable_folder(path: str | Path, key: str = "") -> Path:
    """A folder that is there, or can be made, and in which files can be written. Nothing is left behind.

    Args:
        path: the folder.
        key: the setting that names it, for the error.

    Raises:
        Error: it is a file or below one, its name is too long, or nothing can be written there.

    Example:
        >>> writable_folder("/dev/null/runs", "output")
        Traceback (most recent call last):
        facelesion.errors.Error: output: nothing can be written to /dev/null/runs (/dev/null is no folder): \
choose another place
    """
    return _writable(path, key, folder=True)


def writable_file(path: str | Path, key: str = "") -> Path:
    """A file that is there or can be made; folders above it may be missing. Nothing is left behind.

    Args:
        path: the file.
        key: the setting that names it, for the error.

    Raises:
        Error: it is a folder or below a file, its name is too long, or nothing can be written there.
    """
    return _writable(path, key, folder=False)


def _writable(given: str | Path, key: str, folder: bool) -> Path:
    path = Path(given)

    def refuse(reason: str) -> Error:
        named = f"{key}: " if key else ""
        shown = str(path) if len(str(path)) <= 120 else f"{str(path)[:117]}..."
        return Error(f"{named}nothing can be written to {shown!s} ({reason}): choose another place")

    if not str(given):
        raise Error(f"{key or 'what is to be written'} has no name: name it")
    if "\0" in str(path):
        raise refuse("its name holds a NUL")
    try:
        long = next((part for part in path.parts if len(os.fsencode(part)) > 255), None)
        if long is not None:
            raise refuse(f"a name of {len(long)} letters is too long")
        if not folder and path.is_dir():
            raise refuse("that is a folder")
        if not folder and path.exists() and not os.access(path, os.W_OK):
            raise refuse("the file there cannot be written")
        if path.is_symlink() and not path.exists():
            raise refuse("a link to nothing stands there")
        there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
        if not folder and there == path:
            there = path.absolute().parent
        if not there.is_dir():
            raise refuse(f"{there} is no folder")
        os.rmdir(tempfile.mkdtemp(prefix=".facelesion-", dir=there))  # permission bits do not tell of /proc
    except UnicodeEncodeError:
        raise refuse("its name holds characters that no file name has") from None
    except OSError as error:
        raise refuse(error.strerror or type(error).__name__) from None
    return path
