"""Unpack an archive from anywhere without letting it out of its folder."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import os
import reprlib
import shutil
import stat
import struct
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from facelesion.errors import Error, one_line
from facelesion.files import file_hash

MAX_BYTES = 8_000_000_000
MAX_FILES = 1_000_000

_T = TypeVar("_T")
_MARKER = ".unpacked.json"
_PIECE = 1 << 20
# No honest header of an archive needs more in one go; a forged one can ask for all the memory there is.
_LARGEST_READ = 1 << 24
_STALE_SECONDS = 3600.0
_GZIP, _BZIP, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"
_RESOURCE_FORKS = "__MACOSX"  # what a Mac adds to every zip: nothing that was packed
_LONGEST_NAME = 255  # bytes, in every file system in use
_FORGED = (
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    struct.error,
)
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
    permissions, whatever the archive asks for. In a zip, what a Mac adds (`__MACOSX`) is passed over,
    and Windows' backslashes are taken for slashes.

    Args:
        archive: the archive file.
        target: the folder to make; it must not exist, be empty, or come from the same archive.
        max_bytes: limit of what all files together may take unpacked, counted as they are written.
        max_files: limit of the number of members.

    Returns:
        `target`.

    Raises:
        Error: no archive, damaged, over a limit; or a member is a link, a special file, encrypted,
            named twice, or named so that it would leave the target (absolute, `..`, a drive, a backslash).

    Example:
        >>> import io, tarfile, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with tarfile.open(f"{folder}/evil.tar", "w") as tar:
        ...         tar.addfile(tarfile.TarInfo("../outside.txt"), io.BytesIO())
        ...     unpack(f"{folder}/evil.tar", f"{folder}/out")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        facelesion.errors.Error: ...: member '../outside.txt' would leave the folder: refused
    """
    archive, target = Path(archive), Path(target)
    if not os.path.isfile(archive):
        raise Error(f"{archive}: no such archive: check the path")
    origin = _origin(archive)
    if _already(target, origin):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep_stale(target)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except OSError as error:
        raise Error(f"{target.parent}: cannot be written to ({error.strerror}): choose another") from None
    try:
        _unpack_into(archive, partial, max_bytes, max_files)
        (partial / _MARKER).write_text(json.dumps(origin), encoding="utf-8")
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
    if not os.path.isfile(path):
        return False
    try:
        return _is_zip(path) or _is_tar(path)
    except _DAMAGE:
        return False


def _origin(archive: Path) -> dict[str, Any]:
    return {"sha256": file_hash(archive), "bytes": archive.stat().st_size}


def _already(target: Path, origin: dict[str, Any]) -> bool:
    """Whether the target holds this archive; an error if it holds something else."""
    if not os.path.lexists(target):
        return False
    if not os.path.isdir(target):
        raise Error(f"{target} is in the way of unpacking: remove it or choose another folder")
    try:
        if json.loads((target / _MARKER).read_text(encoding="utf-8")) == origin:
            return True
    except (OSError, ValueError):
        if not target.is_symlink() and not any(target.iterdir()):
            target.rmdir()
            return False
    raise Error(f"{target} holds something else already: remove it or choose another folder")


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
                raise Error(f"{archive}: more than {max_files} members: refused")
            place = folder / safe_name(archive, name, is_folder)
            key = str(place)
            if not is_folder and key in seen:
                raise Error(f"{archive}: member {name!r} is there twice: refused")
            seen.add(key)
            if is_folder:
                place.mkdir(mode=0o755, parents=True, exist_ok=True)
                continue
            if size < 0:
                raise tarfile.ReadError(f"member {name!r} has {size} bytes")
            if total + size > max_bytes:
                raise Error(f"{archive}: more than {max_bytes} bytes unpacked: refused")
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(place, "xb") as out:
                # What is written counts, not what the header promises.
                while piece := content.read(_PIECE):
                    total += len(piece)
                    if total > max_bytes:
                        raise Error(f"{archive}: more than {max_bytes} bytes unpacked: refused")
                    out.write(piece)
    except _DAMAGE as error:
        reason = one_line(error) or type(error).__name__
        reason = reason.replace(str(folder), "")  # a folder that nobody will find
        raise Error(f"{archive}: cannot be unpacked ({reason}): get it again, or make room") from None
    except RuntimeError as error:  # zipfile's word for an encrypted member
        raise Error(f"{archive}: cannot be unpacked ({error})") from None
    if not seen:
        raise Error(f"{archive}: the archive is empty: get it again")


def _members(archive: Path) -> Iterator[tuple[str, bool, int, IO[bytes]]]:
    """Each member's name, whether it is a folder, its promised size and its content."""
    if _is_zip(archive):
        yield from _zipped(archive)
        return
    with _decompressed(archive) as stream:
        metered: Any = _Metered(stream, archive)
        with _headers_of(lambda: tarfile.open(fileobj=metered, mode="r:")) as opened:
            tar: Any = opened
            while (member := _headers_of(tar.next)) is not None:
                if not (member.isreg() or member.isdir()):
                    raise Error(f"{archive}: member {member.name!r} is a link or special file: refused")
                _check_sparse(member, tar.offset - member.offset_data)
                # For a folder the content is None, and nobody reads it.
                yield member.name, member.isdir(), member.size, tar.extractfile(member)
                tar.members = []  # else a million headers stay in memory
            _check_end(metered.last)


def _zipped(archive: Path) -> Iterator[tuple[str, bool, int, IO[bytes]]]:
    with _headers_of(lambda: zipfile.ZipFile(archive)) as packed:
        for entry in packed.infolist():
            name = _zip_name(entry)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Error(f"{archive}: member {name!r} is a link or special file: refused")
            if name.split("/")[0] == _RESOURCE_FORKS:
                continue
            with _headers_of(partial(packed.open, entry)) as content:
                yield name, name.endswith("/"), entry.file_size, content


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """A member's name with the slashes that the format asks for, where Windows wrote others, in Unicode.

    Macs write UTF-8 without saying so, and it is taken for the code page of DOS: what decodes as UTF-8 is no accident.
    """
    name = entry.orig_filename
    if not entry.flag_bits & 0x800 and not name.isascii():
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _headers_of(read: Callable[[], _T]) -> _T:
    """What reads headers fails in many ways on forged and damaged ones; each of them is damage and nothing else."""
    try:
        return read()
    except Error:
        raise
    except _FORGED as error:
        raise tarfile.ReadError(f"a header that cannot be read: {error}") from None


def _check_sparse(member: Any, stored: int) -> None:
    """A sparse file's map must account for what is stored of it, else the library fills the rest with zeros."""
    if not member.issparse():
        return
    end = 0
    for start, length in [piece for piece in member.sparse if piece[1]]:
        if start < end or length < 0 or start + length > member.size:
            raise tarfile.ReadError(f"member {member.name!r}: a sparse file's map that is out of order")
        end = start + length
    mapped = sum(length for _, length in member.sparse)
    if -(-mapped // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE != stored:
        raise tarfile.ReadError(f"member {member.name!r}: a sparse file's map that is not of its content")


def _check_end(block: bytes) -> None:
    """A tar ends in blocks of zeros; where it ends in anything else, the rest was not understood, or is missing."""
    if block.strip(b"\0") or len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is cut short, or damaged, behind its last member that can be read")


def _is_zip(archive: Path) -> bool:
    """Whether a file is a zip archive, and not a tar with a zip archive in it: a zip is known by its end."""
    with open(archive, "rb") as file:
        head = file.read(263)
    packed = head.startswith((_GZIP, _BZIP, _XZ))
    return not packed and head[257:262] != b"ustar" and zipfile.is_zipfile(archive)


def _is_tar(archive: Path) -> bool:
    try:
        with _decompressed(archive) as stream:
            metered: Any = _Metered(stream, archive)
            _headers_of(lambda: tarfile.open(fileobj=metered, mode="r:")).close()
    except Error:
        pass  # an archive, and a forged one, as who unpacks it will be told
    return True


def _decompressed(archive: Path) -> IO[bytes]:
    with open(archive, "rb") as file:
        magic = file.read(6)
    if magic.startswith(_GZIP):
        return gzip.open(archive, "rb")  # type: ignore[return-value]
    if magic.startswith(_BZIP):
        return bz2.open(archive, "rb")
    if magic.startswith(_XZ):
        return lzma.open(archive, "rb")
    return open(archive, "rb")


class _Metered:
    """A stream that refuses to hand out a header of absurd length, and knows what it handed out last."""

    def __init__(self, stream: IO[bytes], archive: Path) -> None:
        self.stream, self.archive, self.last = stream, archive, b""

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > _LARGEST_READ:
            raise Error(f"{self.archive}: a header of {count} bytes: refused")
        self.last = self.stream.read(count)
        return self.last

    def seek(self, place: int, whence: int = 0) -> int:
        return self.stream.seek(place, whence)

    def tell(self) -> int:
        return self.stream.tell()


def safe_name(archive: Path, name: str, is_folder: bool) -> str:
    """The member's path below the target, or an error."""
    parts = PurePosixPath(name).parts
    if not name or (not parts and not is_folder):
        raise Error(f"{archive}: a member without a name: refused")
    bad = (
        name.startswith("/")
        or ".." in parts
        or "\\" in name
        or "\0" in name
        or any(len(part) > 1 and part[1] == ":" for part in parts[:1])
        or (parts and parts[0] == _MARKER)
    )
    if bad:
        raise Error(f"{archive}: member {reprlib.repr(name)} would leave the folder: refused")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts):
        raise Error(f"{archive}: member {reprlib.repr(name)} has too long a name for a file: refused")
    return str(PurePosixPath(*parts))
