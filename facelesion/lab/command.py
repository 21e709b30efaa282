"""`facelesion lab`."""

from __future__ import annotations

import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from facelesion.arguments import read_arguments
from facelesion.errors import Error
from facelesion.models import look_for
from facelesion.ranges import PathText, Range, Size

HERE = ("127.0.0.1", "localhost", "::1")


def lab_command(argv: list[str]) -> None:
    """Read the words and serve the page until it is interrupted."""
    _serve(**read_arguments(lab, argv, "facelesion lab"))


def lab(
    host: str = HERE[0],
    port: Annotated[int, Range(0, 65535)] = 7862,
    no_browser: bool = False,
    networks: Annotated[Sequence[PathText], Size(0, 20, twice=False)] = (),
) -> None:
    """Damage a face network by hand, in a page on this machine, and see what it no longer knows.

    Args:
        host: the address that is listened at; this machine alone when left out. 0.0.0.0 lets others in.
        port: of the address; 0 takes a free one.
        no_browser: print the address and open nothing.
        networks: more networks for the page to choose from: weights files, or names such as torchvision/resnet18.

    Example:
        $ facelesion lab --port 0 --no-browser
    """


def _serve(host: str, port: int, no_browser: bool, networks: Sequence[str]) -> None:
    for each in networks:
        look_for(each)
    server_of, app_of = parts_of_server()
    listening = listening_at(host, port)
    number = listening.getsockname()[1]
    named = f"[{host}]" if ":" in host else host
    address = f"http://{'127.0.0.1' if host == '0.0.0.0' else named}:{number}/"
    if host not in HERE:
        print(f"listening at {host}: whoever reaches this machine can use the lab", file=sys.stderr)
    app = app_of(HERE if host in HERE else (), tuple(networks))
    print(address, flush=True)
    if not no_browser:
        threading.Timer(0.5, webbrowser.open, (address,)).start()
    server_of(app).run(sockets=[listening])


def parts_of_server() -> tuple[Callable[[Any], Any], Callable[..., Any]]:
    """What makes a server of an application, and the application."""
    import uvicorn

    from facelesion.lab.server import Lab, warmed

    def server_of(app: Any) -> Any:
        # Whoever connects and says nothing is let go; so many at a time are more than one processor can answer.
        return uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", server_header=False, limit_concurrency=128, timeout_keep_alive=20,
                timeout_graceful_shutdown=2,
            )
        )  # fmt: skip

    def app_of(hosts: tuple[str, ...], networks: tuple[str, ...]) -> Any:
        lab = Lab(hosts, networks)
        lab.worker.submit(warmed)  # while the browser opens
        return lab.checked()

    return server_of, app_of


def listening_at(host: str, port: int) -> socket.socket:
    """A socket that listens where it should."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(128)
    except OSError as error:
        found.close()
        reason = error.strerror or str(error)
        raise Error(f"nothing can listen at {host}, port {port} ({reason}): choose another --port, or 0") from None
    return found
