"""The lab's page, served on this machine: a few addresses, none of which names a file.

Whatever a visitor has lies in the visitor's page and comes with every question; the server keeps nothing of it, so no
two visitors can meet. One thread computes, question by question: lesions are hooks on one network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from facelesion.errors import Error, one_line
from facelesion.lab import drawing, view
from facelesion.lab.answers import answer
from facelesion.lab.case_card import card
from facelesion.lab.dose_curve import curve
from facelesion.lab.known import known_network
from facelesion.lab.photographs import cut_out
from facelesion.lab.state import State

#: Bytes that one question may have, and one photograph.
MOST_QUESTION, MOST_PHOTOGRAPH = 1_000_000, 20_000_000
#: Long tasks (curves, case studies) at a time; the rest are told to come again.
MOST_LONG = 4
_FILES = {"": "index.html", "lab.css": "lab.css"} | {
    f"{name}.js": f"{name}.js" for name in ("lab", "face", "damage", "answers", "units", "curve", "out", "tour", "html")
}
_KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript"}
_HEADERS = {
    # The browser itself refuses to ask any other host.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Lab:
    """The page's server.

    Args:
        hosts: names under which it may be asked; any where empty.
        networks: files of weights that the page may choose beside the networks by name.
    """

    def __init__(self, hosts: tuple[str, ...] = (), networks: tuple[str, ...] = ()) -> None:
        self.hosts, self.networks = hosts, networks
        self.worker = ThreadPoolExecutor(1, "lab")
        self.long = 0

    def app(self) -> Starlette:
        """The application, for uvicorn or whatever else serves ASGI."""
        routes = [Route(f"/{name}", self._file, name=name or "page") for name in _FILES]
        routes += [
            Route("/people.png", self._people),
            Route("/offered", self._offered, methods=["POST"]),
            Route("/answer", self._answer, methods=["POST"]),
            Route("/photograph", self._photograph, methods=["POST"]),
            Route("/curve", self._curve, methods=["POST"]),
            Route("/case", self._case, methods=["POST"]),
            Route("/picture", self._picture, methods=["POST"]),
        ]
        handlers: Mapping[Any, Any] = {Error: _mended, HTTPException: _refused}
        return Starlette(routes=routes, exception_handlers=handlers)

    def checked(self) -> Callable[..., Any]:
        """The application behind a guard: requests for other hosts' names or from other sites' pages are refused."""
        app = self.app()

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and (problem := self._stranger(scope)):
                await JSONResponse({"error": problem}, 403)(scope, receive, send)
                return

            async def headed(message: Any) -> None:
                if message["type"] == "http.response.start":
                    ours = ((key.lower().encode(), value.encode()) for key, value in _HEADERS.items())
                    message["headers"] = [*message["headers"], *ours]
                await send(message)

            with contextlib.suppress(asyncio.CancelledError):  # the server is ended while somebody waits
                await app(scope, receive, headed)

        return guarded

    def _stranger(self, scope: Any) -> str:
        """Why a request is not answered; empty where it is."""
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        host = headers.get("host", "")
        if self.hosts and (urlsplit(f"//{host}").hostname or "") not in self.hosts:
            return f"this lab is not called {host[:80]!r}: open it by the address that it printed"
        origin = headers.get("origin")
        if origin and urlsplit(origin).netloc != host:
            return "a page of another site asked: open the lab itself"
        return ""

    async def _run(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.worker, work)

    async def _file(self, request: Request) -> Response:
        name = _FILES[request.url.path.lstrip("/")]
        content = resources.files("facelesion.lab").joinpath("page", name).read_bytes()
        return Response(content, media_type=_KINDS[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})

    async def _people(self, request: Request) -> Response:
        content = await self._run(lambda: drawing.png(drawing.portraits(), drawing.QUICK))
        return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})

    async def _offered(self, request: Request) -> Response:
        state = await self._state(request)
        return JSONResponse(await self._run(lambda: view.offered(state.network, self.networks)))

    async def _answer(self, request: Request) -> Response:
        state = await self._state(request)
        return JSONResponse(await self._run(lambda: view.told(answer(state))))

    async def _picture(self, request: Request) -> Response:
        state = await self._state(request)
        return Response(await self._run(lambda: drawing.result(answer(state))), media_type="image/png")

    async def _photograph(self, request: Request) -> Response:
        body = await _body(request, MOST_PHOTOGRAPH, "the photograph")
        given = request.query_params.get("points", "")
        try:
            points = [float(each) for each in given.split(",")] if given else None
        except ValueError:
            raise Error("points: give ten numbers with commas between") from None
        thing = request.query_params.get("thing") == "1"
        found = await self._run(lambda: cut_out(body, points, thing))
        return JSONResponse(
            {"source": found.source, "pixels": found.pixels, "points": list(found.points), "marked": list(found.marked)}
        )

    async def _curve(self, request: Request) -> Response:
        state = await self._state(request)
        which = request.query_params.get("which", "0")
        return self._streamed(curve(state, int(which) if which.isdecimal() else 0), view.told_curve)

    async def _case(self, request: Request) -> Response:
        state = await self._state(request)
        return self._streamed(card(state), view.told_card)

    def _streamed(self, parts: Iterator[Any], told: Callable[[Any], Any]) -> Response:
        """Parts as they come, one line of JSON each; between two of them other questions are answered."""
        if self.long >= MOST_LONG:
            raise Error("others' curves and case studies are running: try again in a minute")

        async def lines() -> AsyncIterator[bytes]:
            self.long += 1
            try:
                while True:
                    try:
                        found = await self._run(lambda: next(parts, None))
                    except Error as error:
                        yield _line({"error": _one_line(error)})
                        return
                    if found is None:
                        return
                    yield _line(told(found))
            finally:
                self.long -= 1

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _state(self, request: Request) -> State:
        body = await _body(request, MOST_QUESTION, "the page's state")
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            raise Error("the page's state cannot be read: load the page again") from None
        state = State.from_dict(values)
        known_network(state.network, self.networks)
        return state


async def _body(request: Request, most: int, what: str) -> bytes:
    """A request's bytes, held in memory; no more of them are taken than are allowed."""
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > most:
            raise Error(f"{what} is over {most / 1e6:g} MB: make it smaller")
    return bytes(found)


def _line(values: Any) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _one_line(error: Exception) -> str:
    return one_line(error)[:500]


async def _mended(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": _one_line(error)}, 422)


async def _refused(_request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def warmed(network: str = "builtin") -> None:
    """Everything that the first question needs, before it comes."""
    view.told(answer(State(network=network)))
