"""What tests share: research data beside the project (absent for most users), small made-up pictures, a browser."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What several rooms' tests share (`made_up_gpu`) lies beside this file.
sys.path.insert(0, str(Path(__file__).parent))


BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: Rooms of which one process does all tests, because their files share what takes long to make, or start clusters.
WHOLE = ("tests/engines", "tests/training")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the tests, what takes longest begins first: whole rooms, then what is of all rooms."""

    def turn(item: pytest.Item) -> int:
        room = item.nodeid.partition("::")[0].rpartition("/")[0]
        return 0 if room in WHOLE else 1 if room == "tests" else 2

    if hasattr(config, "workerinput"):
        items.sort(key=turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay in one process, which makes what they share once; so do those of `WHOLE` rooms."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrRoom(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((room for room in WHOLE if file.startswith(f"{room}/")), file)

    return ByFileOrRoom(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of research data (LFW, objects, MediaPipe's model, MobileFaceNet); skips where there is none."""
    folder = Path(os.environ.get("FACELESION_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("no research data: set FACELESION_SHARED to a folder with data/lfw-deepfunneled.tgz")
    return folder


@pytest.fixture(scope="session")
def lfw(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LFW unpacked: `<root>/<name>/<name>_0001.jpg`, kept between runs in the user's cache folder."""
    from facelesion.data.archives import unpack

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "facelesion" / "tests" / "lfw"
    cache.parent.mkdir(parents=True, exist_ok=True)
    return unpack(shared / "data" / "lfw-deepfunneled.tgz", cache) / "lfw-deepfunneled"


@pytest.fixture(scope="session")
def in_made_up_process() -> Iterator[Callable[..., Any]]:
    """Runs a function of `made_up_works` where a GPU that is not there goes backward too."""
    import made_up_process

    if not made_up_process.available():
        pytest.skip("this PyTorch has no backend told in Python: 2.9 and later have")
    with made_up_process.process() as there:
        yield there


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes packages absent: nothing of them is loaded, and Python's finder of files does not find them."""

    gone: set[str] = set()

    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
            return None if name.partition(".")[0] in gone else PathFinder.find_spec(name, path, target)

    finders = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
    monkeypatch.setattr(sys, "meta_path", finders)

    def away(package: str) -> None:
        gone.add(package)
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)

    return away


class Web:
    """A server on this machine that does what a test tells it to.

    `answers` says what a path does with a request; `asked` keeps the requests, each a path and its headers.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append((self.path, dict(self.headers)))
                web.answers.get(self.path, lambda handler: handler.send_error(404))(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def file(
        self,
        path: str,
        content: bytes,
        *,
        etag: str | None = '"one"',
        cuts: tuple[int, ...] = (),
        ranges: bool = True,
        length: int | None = None,
    ) -> None:
        """Serve a file: cut off after so many bytes in turn, with or without Range, saying another length."""
        left = list(cuts)

        def answer(handler: BaseHTTPRequestHandler) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
            same = handler.headers.get("If-Range") in (None, etag)
            start = int(asked[1]) if asked and ranges and same else 0
            if start >= len(content) > 0:
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(content)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206 if start else 200)
            if start:
                handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if etag:
                handler.send_header("ETag", etag)
            handler.send_header("Content-Length", str((length or len(content)) - start))
            handler.end_headers()
            end = start + left.pop(0) if left else len(content)
            handler.wfile.write(content[start:end])

        self.answers[path] = answer

    def redirect(self, path: str, to: str) -> None:
        """Send whoever asks for a path elsewhere."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", to)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        self.answers[path] = answer


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server on this machine; nothing goes through a proxy, and nobody waits before asking again."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("facelesion.weights.fetching.PAUSE", 0.0)
    served = Web()
    yield served
    served.server.shutdown()
    served.server.server_close()


def browser_here() -> str | None:
    """A Chromium: the one that is named, Playwright's own, or the system's."""
    named = os.environ.get("FACELESION_CHROMIUM")
    if named:
        return named
    for name in BROWSERS:
        if place := shutil.which(name):
            return place
    return None


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright; skips where there is none."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as playwright:
        place = browser_here()
        own = Path(playwright.chromium.executable_path)
        if place is None and not own.exists():
            pytest.skip("no Chromium: install one, run `playwright install chromium`, or set FACELESION_CHROMIUM")
        browser = playwright.chromium.launch(executable_path=place or str(own))
        yield browser
        browser.close()
