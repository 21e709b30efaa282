"""Whether there is a Ray cluster at an address: told soon, in one line, where Ray tries for minutes and says much."""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from facelesion.errors import Error

TOKEN = "does it ask for a token, and has this machine the same one (RAY_AUTH_MODE, docs/clusters.md)?"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # gRPC's, answered by settings of its own


def answers(given: str) -> bool:
    """Whether somebody answers at an address as Ray does; False where that cannot be told.

    Raises:
        Error: nobody does.
    """
    host, colon, port = _found(given).removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():  # `auto`, or what Ray will not understand
        return False
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10) as line:
            line.sendall(_GREETING)
            said = line.recv(4)
    except (OSError, OverflowError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise Error(f"address: no Ray cluster at {given[:100]} ({reason})") from None
    if said[3:] != _GREETING[-6:-5] and os.environ.get("RAY_USE_TLS", "0") == "0":
        raise Error(
            f"address: no Ray cluster at {given[:100]} (something else listens there; `ray start --head` says "
            "where it is, at port 6379 as a rule)"
        )
    return True


def _found(address: str) -> str:
    """The address of the cluster that this machine belongs to, where `auto` is asked for."""
    if address == "auto":
        with suppress(Exception):  # by no public way: where that has gone, Ray will look by itself, and longer
            return str(importlib.import_module("ray._private.services").canonicalize_bootstrap_address(address))
    return address


@contextmanager
def hushed() -> Iterator[None]:
    """Without what Ray's own C++ prints as errors, line after line: what goes wrong is told in one."""
    sys.stderr.flush()
    held = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(held, 2)
        os.close(held)
