"""Fetch a file once, whole or not at all: the one way in which anything comes from the network.

What arrives is kept beside the target as `NAME.part` until its length and its hash are right; a fetch that was cut off
or killed goes on from there. Proxies are taken from the usual environment variables.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from facelesion.errors import Error, one_line
from facelesion.files import file_hash, is_full
from facelesion.locks import locked

MAX_BYTES = 8_000_000_000
SECONDS = 30.0  # without a single byte
PAUSE = 0.5  # before an address is asked again
TRIES = 4  # in a row without a byte gained

_PIECE = 1 << 18
_NETWORK = (OSError, http.client.HTTPException)


def fits(path: str | Path, checksum: str | None = None, size: int | None = None) -> bool:
    """Whether a file is there and is what it should be, as far as that is known.

    Args:
        path: the file.
        checksum: `sha256:` or `md5:` and hex digits; fewer digits than the whole are compared as its beginning.
        size: its length in bytes.
    """
    path = Path(path)
    if not os.path.isfile(path) or (size is not None and path.stat().st_size != size):
        return False
    return checksum is None or _right(path, checksum)


def fetch(
    addresses: str | Sequence[str],
    target: str | Path,
    *,
    checksum: str | None = None,
    size: int | None = None,
    max_bytes: int = MAX_BYTES,
    advice: str = "",
) -> Path:
    """Fetch a file over http or https; one that is there already and fits is left as it is.

    A connection that is cut is taken up again where it was, if the server can (`Range`, with `If-Range`). Two
    processes that want the same file wait for each other. How far it is, is shown on a terminal.

    Args:
        addresses: where it can be had; they are tried in turn.
        target: the file to write.
        checksum: `sha256:` or `md5:` and hex digits, where known; the beginning of the digits will do.
        size: its length in bytes, where known.
        max_bytes: nothing longer is taken.
        advice: what to do where it cannot be had; if left out, where to put the file.

    Returns:
        `target`.

    Raises:
        Error: no network, no such address, or what came is not what it should be. One line, which says
            where to put the file.

    Example:
        >>> fetch("file:///etc/hostname", "hostname")
        Traceback (most recent call last):
        ...
        facelesion.errors.Error: hostname cannot be fetched (file:///etc/hostname: neither http nor https): \
put the file at hostname
    """
    target = Path(target)
    wanted = _Wanted(target, checksum, size, max_bytes)
    if fits(target, checksum, size):
        return target
    reasons = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(wanted):
            # Another process may have fetched it while this one waited.
            if fits(target, checksum, size):
                return target
            for address in [addresses] if isinstance(addresses, str) else addresses:
                try:
                    _fetch_from(address, wanted)
                    return target
                except AddressRefused as refused:
                    reasons.append(f"{address}: {refused}")
    except OSError as error:
        raise Error(
            f"{target}: cannot be written ({error.strerror}): make room, or choose another folder"
        ) from None
    raise Error(
        f"{target.name} cannot be fetched ({'; '.join(reasons) or 'no address is known'}): "
        f"{advice or f'put the file at {target}'}"
    )


class AddressRefused(Exception):
    """This address does not give the file; its text says why."""


@dataclass(frozen=True)
class _Wanted:
    """The file that is wanted, and what is known of it."""

    target: Path
    checksum: str | None
    size: int | None
    max_bytes: int

    @property
    def part(self) -> Path:
        """What has arrived so far."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        """Which version of the file `part` is the beginning of."""
        return self.target.with_name(self.target.name + ".part.json")

    def have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _fetch_from(address: str, wanted: _Wanted) -> None:
    """Fetch from one address into the target, taking up again what was cut."""
    if urlsplit(address).scheme not in ("http", "https"):
        raise AddressRefused("neither http nor https")
    inherited = wanted.have() > 0
    left, most = TRIES, wanted.have()
    while True:
        before = wanted.have()
        try:
            complete = _ask(address, wanted)
            reason = f"cut off after {wanted.have()} bytes"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 429 and error.code < 500:
                raise AddressRefused(f"the server says {error.code} {error.reason}") from None
            complete, reason = False, f"the server says {error.code} {error.reason}"
        except _NETWORK as error:
            if isinstance(error, OSError) and is_full(error):
                raise
            complete, reason = False, _said(error)
            if wanted.have() == before and not isinstance(error, TimeoutError | ConnectionResetError):
                if not isinstance(error, http.client.HTTPException):
                    raise AddressRefused(reason) from None  # nobody is there: no use in asking again
        if complete:
            problem = _problem(wanted)
            if problem is None:
                break
            wanted.forget()
            if not inherited:
                raise AddressRefused(problem)
            inherited = False  # the beginning may have been of another file: once more, from nothing
            continue
        left, most = (TRIES, wanted.have()) if wanted.have() > most else (left - 1, most)
        if left <= 0:
            raise AddressRefused(reason)
        time.sleep(PAUSE)
    with open(wanted.part, "r+b") as file:  # Windows brings to the disk only what could be written
        os.fsync(file.fileno())
    os.replace(wanted.part, wanted.target)
    wanted.note.unlink(missing_ok=True)


def _ask(address: str, wanted: _Wanted) -> bool:
    """One request, whose answer is added to the part; whether all of the file is there now."""
    note = _read_note(wanted)
    validator = note.get("validator", "") if note.get("address") == address else ""
    if wanted.have() and not (wanted.checksum or validator):
        wanted.forget()  # nothing would tell whether beginning and end are of one file
    start = wanted.have()
    if start and start == wanted.size:
        return True
    request = urllib.request.Request(
        address, headers={"User-Agent": "facelesion", "Accept-Encoding": "identity"}
    )
    if start:
        request.add_header("Range", f"bytes={start}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        response = _opener().open(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        error.close()
        if error.headers.get("Content-Range", "").strip() == f"bytes */{start}":
            return True
        wanted.forget()
        return False
    with response:
        total = _total(response, start)
        if response.status != 206:
            wanted.forget()  # the server begins from the beginning
            start = 0
        if total is not None and wanted.size is not None and total != wanted.size:
            raise AddressRefused(f"the server has {total} bytes, and it should be {wanted.size}")
        limit = wanted.max_bytes if wanted.size is None else wanted.size
        if total is not None and total > limit:
            raise AddressRefused(f"{total} bytes, more than the {limit} allowed")
        if response.headers.get("Content-Encoding", "identity") != "identity" and not wanted.checksum:
            raise AddressRefused("the server packs the file on the way, and no hash is known to check it by")
        if total is None and not response.chunked and not wanted.checksum and wanted.size is None:
            raise AddressRefused("the server does not say how long it is, and nothing is known to check it by")
        _write_note(wanted, address, response.headers)
        with open(wanted.part, "ab") as part, _progress(wanted.target.name, start, total) as shown:
            while piece := response.read(_PIECE):
                if part.tell() + len(piece) > limit:
                    part.close()
                    wanted.forget()
                    raise AddressRefused(f"more than the {limit} bytes allowed")
                part.write(piece)
                shown(len(piece))
    expected = total if total is not None else wanted.size
    return expected is None or wanted.have() == expected


def _total(response: Any, start: int) -> int | None:
    """The whole file's length as the server tells it."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != start:
            raise AddressRefused("the server sends another part than was asked for")
        return int(found[2]) + 1 if found[3] == "*" else int(found[3])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _problem(wanted: _Wanted) -> str | None:
    """Why what arrived is not the file."""
    if wanted.size is not None and wanted.have() != wanted.size:
        return f"{wanted.have()} bytes came, and it should be {wanted.size}"
    if wanted.checksum is not None and not _right(wanted.part, wanted.checksum):
        return f"what came has another hash than {wanted.checksum}"
    return "nothing came" if wanted.have() == 0 else None


def _right(path: Path, checksum: str) -> bool:
    algorithm, _, digits = checksum.partition(":")
    return bool(digits) and file_hash(path, algorithm).startswith(digits.lower())


def _read_note(wanted: _Wanted) -> dict[str, str]:
    try:
        note = json.loads(wanted.note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(wanted: _Wanted, address: str, headers: Message) -> None:
    validator = headers.get("ETag", "")
    if not validator or validator.startswith("W/"):  # a weak one does not speak for the bytes
        validator = headers.get("Last-Modified", "")
    wanted.note.write_text(json.dumps({"address": address, "validator": validator}), encoding="utf-8")


class Redirects(urllib.request.HTTPRedirectHandler):
    """Redirections to the web only, and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise AddressRefused(f"it redirects to {newurl}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any
    ) -> Any:
        # The library refuses other schemes with an error of its own, before it asks `redirect_request`.
        there = headers.get("location") or headers.get("uri") or ""
        if urlsplit(there).scheme not in ("", "http", "https"):
            raise AddressRefused(f"it redirects to {there}, which is not followed")
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except urllib.error.HTTPError as error:
            if error.code == code and error.msg.startswith(self.inf_msg[:20]):
                raise AddressRefused("its redirections go round in a circle") from None
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    with contextlib.suppress(ImportError, OSError):
        import certifi  # some builds of Python know no certificates

        context.load_verify_locations(certifi.where())
    return urllib.request.build_opener(Redirects, urllib.request.HTTPSHandler(context=context))


def _said(error: BaseException) -> str:
    reason = getattr(error, "reason", error)
    return one_line(reason) or type(error).__name__


@contextlib.contextmanager
def _alone(wanted: _Wanted) -> Iterator[None]:
    """Nobody else fetches this file meanwhile."""
    said = f"{wanted.part.name}: another process is fetching it, waiting" if sys.stderr.isatty() else ""
    # Beside the file, and hidden; not the part itself, which Windows moves only while nobody has it open.
    with locked(wanted.target.with_name(f".{wanted.target.name}.lock"), said=said):
        try:
            yield
        finally:
            if wanted.part.exists() and not wanted.have():
                wanted.part.unlink()


@contextlib.contextmanager
def _progress(name: str, start: int, total: int | None) -> Iterator[Any]:
    """What to call with the number of bytes that came; a bar on a terminal."""
    from tqdm import tqdm

    with tqdm(
        total=total, initial=start, desc=name, unit="B", unit_scale=True, disable=not sys.stderr.isatty()
    ) as bar:
        yield bar.update
