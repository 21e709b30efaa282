"""One process at a time: a lock that the system lets go of when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

# What a file system says that has no locks; not every system knows every one of these.
_NO_LOCKS = {
    getattr(errno, name)
    for name in ("ENOLCK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL")
    if hasattr(errno, name)
}


@contextlib.contextmanager
def locked(path: str | Path, wait: bool = True, said: str = "") -> Iterator[bool]:
    """Hold a lock among the processes and threads of one machine; False where another holds it and nobody waits.

    Where the file system has no locks everybody holds it: it saves double work, and files appear whole without it.

    Args:
        path: the lock's file, of nothing else's use; its folder is made. The file goes when the lock is let go of, and
            stays, empty and free, where its holder was killed.
        wait: until it is free.
        said: what to tell on standard error before waiting.

    Raises:
        OSError: the file cannot be made there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with locked(f"{folder}/.lock") as first, locked(f"{folder}/.lock", wait=False) as second:
        ...         print(first, second)
        True False
    """
    path = Path(path)
    lock = _lock_of(path)
    if not _take(lock, wait, said):
        yield False
        return
    try:
        yield True
    finally:
        # While it is held: who waits opens the name anew, and holds no file that has lost its name. Windows refuses,
        # and there the library removes the file once it is let go of.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def _lock_of(path: Path) -> BaseFileLock:
    """The system's own lock; never one that is a file's mere being there, which a kill would leave taken."""
    from filelock import UnixFileLock, WindowsFileLock

    return (WindowsFileLock if os.name == "nt" else UnixFileLock)(path, fallback_to_soft=False)


def _take(lock: BaseFileLock, wait: bool, said: str) -> bool:
    from filelock import Timeout

    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if wait:
                if said:
                    print(said, file=sys.stderr, flush=True)
                lock.acquire()
            return wait
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
    return True
