"""Parts: what cells leave behind, in one folder. A part is whole, or it is not there.

A file system of a cluster may show a file before its content, or a content that ends early. So every part ends in the
SHA-256 of what stands before, and whoever asks for it gets what agrees with that, or nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from facelesion.files import write_surely

_SEAL = hashlib.sha256().digest_size


def sealed(content: bytes) -> bytes:
    """A part's bytes: its content, and the hash of it.

    Example:
        >>> opened(sealed(b"trials")), opened(sealed(b"trials")[:-1]), opened(b"")
        (b'trials', None, None)
    """
    return content + hashlib.sha256(content).digest()


def opened(data: bytes) -> bytes | None:
    """The content of a part; None where it is not whole."""
    content, seal = data[:-_SEAL], data[-_SEAL:]
    return content if len(seal) == _SEAL and hashlib.sha256(content).digest() == seal else None


class Parts:
    """The parts in a folder, which several machines may read and write at once without any lock.

    Attributes:
        path: the folder.
        shared: whether what lies there is what everybody sees.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     parts = Parts(Path(folder))
        ...     parts.keep("a", b"1")
        ...     parts.has("a"), parts.read("a"), parts.has("b")
        (True, b'1', False)
    """

    shared = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole: set[str] = set()  # what was seen to be whole stays so: nobody writes anything else there

    def has(self, name: str) -> bool:
        """Whether a part is there, and whole."""
        return name in self._whole or self.read(name) is not None

    def read(self, name: str) -> bytes | None:
        """A part's content; None where it is not there, or not whole."""
        try:
            found = opened((self.path / name).read_bytes())
        except OSError:
            return None
        if found is not None:
            self._whole.add(name)
        return found

    def keep(self, name: str, content: bytes) -> None:
        """Write a part. Where another machine has written the same one meanwhile, either will do.

        Raises:
            OSError: the file system failed again and again, or is full.
        """
        self.write(name, sealed(content))
        self._whole.add(name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file that says by itself whether it is whole: a sealed part, or one whose name holds its hash.

        Raises:
            OSError: as `keep`.
        """
        write_surely(self.path / name, data, whole=lambda found: found == data or opened(found) is not None)


class Carried(Parts):
    """Parts where no folder is shared: what a worker keeps is carried to whoever writes it, and not written here.

    Attributes:
        kept: by name, the files to be carried.
    """

    shared = False

    def __init__(self, known: Callable[[str], bytes | None]) -> None:
        super().__init__(Path())
        self.known = known
        self.kept: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        """A part's content, of those that were carried here."""
        data = self.kept.get(name) or self.known(name)
        return None if data is None else opened(data)

    def write(self, name: str, data: bytes) -> None:
        """Keep a file until it is carried away."""
        self.kept[name] = data
