"""The lab's server on a free port."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Served:
    """A running lab."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, bytes, Any]:
        """Status, body and headers of one request; a body that is no bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def json(self, path: str, body: Any = None) -> Any:
        status, content, _ = self.ask(path, body)
        assert status == 200, content
        return json.loads(content)


@contextmanager
def serving() -> Iterator[Served]:
    """The lab as `facelesion lab` serves it, in a thread."""
    pytest.importorskip("starlette", reason="the extra [lab] is not installed")
    uvicorn = pytest.importorskip("uvicorn", reason="the extra [lab] is not installed")
    from facelesion.lab.command import HERE, listening_at, parts_of_server

    listening = listening_at("127.0.0.1", 0)
    server_of, app_of = parts_of_server()
    server = server_of(app_of(HERE, ()))
    assert isinstance(server, uvicorn.Server)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}/")
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    with serving() as found:
        yield found
