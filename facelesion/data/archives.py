"""Unpack an archive from anywhere without letting it out of its folder."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from facelesion.errors import FacelesionError
from facelesion.fetching import file_hash

MAX_BYTES = 8_000_000_000
MAX_FILES = 1_000_000

_MARKER = ".unpacked.json"
_PIECE = 1 << 20
# No honest header of an archive needs more in one go; a forged one can ask for all the memory there is.
_LARGEST_READ = 1 << 24
_STALE_SECONDS = 3600.0
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
)


def unpack(
    archive: str | Path, target: str | Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> Path:
    """Unpack a tar (plain, gzip, bzip2, xz) or zip archive into the folder `target`, wholly or not at all.

    Members are written beside the target and moved there at the end in one step, so a killed run leaves no
    half of it. A target that was unpacked from the same archive is left as it is. Files get ordinary
    permissions, whatever the archive asks for.

    Args:
        archive: the archive file.
        target: the folder to make; it must not exist, be empty, or come from the same archive.
        max_bytes: limit of what all files together may take unpacked, counted as they are written.
        max_files: limit of the number of members.

    Returns:
        `target`.

    Raises:
        FacelesionError: no archive, damaged, over a limit; or a member is a link, a special file, encrypted,
            named twice, or named so that it would leave the target (absolute, `..`, a drive, a backslash).

    Example:
        >>> import io, tarfile, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with tarfile.open(f"{folder}/evil.tar", "w") as tar:
        ...         tar.addfile(tarfile.TarInfo("../outside.txt"), io.BytesIO())
        ...     unpack(f"{folder}/evil.tar", f"{folder}/out")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        facelesion.errors.FacelesionError: ...: member '../outside.txt' would leave the folder: refused
    """
    archive, target = Path(archive), Path(target)
    if not archive.is_file():
        raise FacelesionError(f"{archive}: no such archive: check the path")
    origin = _origin(archive)
    if _already(target, origin):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep_stale(target)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except OSError as error:
        raise FacelesionError(
            f"{target.parent}: cannot be written to ({error.strerror}): choose another"
        ) from None
    try:
        _unpack_into(archive, partial, max_bytes, max_files)
        (partial / _MARKER).write_text(json.dumps(origin))
        partial.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:
            # Another process was quicker with the same archive: its folder is as good.
            if not _already(target, origin):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def is_archive(path: str | Path) -> bool:
    """Whether a file is a tar or zip archive, by its content."""
    path = Path(path)
    try:
        return path.is_file() and (tarfile.is_tarfile(path) or zipfile.is_zipfile(path))
    except _DAMAGE:
        return False


def _origin(archive: Path) -> dict[str, Any]:
    return {"sha256": file_hash(archive), "bytes": archive.stat().st_size}


def _already(target: Path, origin: dict[str, Any]) -> bool:
    """Whether the target holds this archive; an error if it holds something else."""
    if not target.exists() and not target.is_symlink():
        return False
    if not target.is_dir():
        raise FacelesionError(f"{target} is in the way of unpacking: remove it or choose another folder")
    try:
        if json.loads((target / _MARKER).read_text()) == origin:
            return True
    except (OSError, ValueError):
        if not target.is_symlink() and not any(target.iterdir()):
            target.rmdir()
            return False
    raise FacelesionError(f"{target} holds something else already: remove it or choose another folder")


def _sweep_stale(target: Path) -> None:
    """Remove what killed runs left, but not what another process is writing now."""
    for left in target.parent.glob(f".{target.name}.partial-*"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _unpack_into(archive: Path, folder: Path, max_bytes: int, max_files: int) -> None:
    seen: set[str] = set()
    total = 0
    try:
        for name, is_folder, size, content in _members(archive):
            if len(seen) >= max_files:
                raise FacelesionError(f"{archive}: more than {max_files} members: refused")
            place = folder / _safe_name(archive, name)
            key = str(place)
            if not is_folder and key in seen:
                raise FacelesionError(f"{archive}: member {name!r} is there twice: refused")
            seen.add(key)
            if is_folder:
                place.mkdir(mode=0o755, parents=True, exist_ok=True)
                continue
            if total + size > max_bytes:
                raise FacelesionError(f"{archive}: more than {max_bytes} bytes unpacked: refused")
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(place, "xb") as out:
                # What is written counts, not what the header promises.
                while piece := content.read(_PIECE):
                    total += len(piece)
                    if total > max_bytes:
                        raise FacelesionError(f"{archive}: more than {max_bytes} bytes unpacked: refused")
                    out.write(piece)
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FacelesionError(
            f"{archive}: cannot be unpacked ({reason}): get it again, or make room"
        ) from None
    except RuntimeError as error:  # zipfile's word for an encrypted member
        raise FacelesionError(f"{archive}: cannot be unpacked ({error})") from None
    if not seen:
        raise FacelesionError(f"{archive}: the archive is empty: get it again")


def _members(archive: Path) -> Iterator[tuple[str, bool, int, IO[bytes]]]:
    """Each member's name, whether it is a folder, its promised size and its content."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise FacelesionError(
                        f"{archive}: member {entry.filename!r} is a link or special file: refused"
                    )
                with packed.open(entry) as content:
                    yield entry.filename, entry.is_dir(), entry.file_size, content
        return
    with _decompressed(archive) as stream:
        metered: Any = _Metered(stream, archive)
        with tarfile.open(fileobj=metered, mode="r:") as opened:
            tar: Any = opened
            for member in tar:
                if not (member.isreg() or member.isdir()):
                    raise FacelesionError(
                        f"{archive}: member {member.name!r} is a link or special file: refused"
                    )
                # For a folder the content is None, and nobody reads it.
                yield member.name, member.isdir(), member.size, tar.extractfile(member)
                tar.members = []  # else a million headers stay in memory


def _decompressed(archive: Path) -> IO[bytes]:
    with open(archive, "rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(archive, "rb")  # type: ignore[return-value]
    if magic.startswith(b"BZh"):
        return bz2.open(archive, "rb")
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(archive, "rb")
    return open(archive, "rb")


class _Metered:
    """A stream that refuses to hand out a header of absurd length."""

    def __init__(self, stream: IO[bytes], archive: Path) -> None:
        self.stream, self.archive = stream, archive

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > _LARGEST_READ:
            raise FacelesionError(f"{self.archive}: a header of {count} bytes: refused")
        return self.stream.read(count)

    def seek(self, place: int, whence: int = 0) -> int:
        return self.stream.seek(place, whence)

    def tell(self) -> int:
        return self.stream.tell()


def _safe_name(archive: Path, name: str) -> str:
    """The member's path below the target, or an error."""
    parts = PurePosixPath(name).parts
    bad = (
        not name
        or name.startswith("/")
        or ".." in parts
        or "\\" in name
        or "\0" in name
        or any(len(part) > 1 and part[1] == ":" for part in parts[:1])
        or (parts and parts[0] == _MARKER)
    )
    if bad:
        raise FacelesionError(f"{archive}: member {name!r} would leave the folder: refused")
    return str(PurePosixPath(*parts))
