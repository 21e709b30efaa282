"""Files come from the network whole, as they should be, or not at all; and what is cut off goes on."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from facelesion.errors import Error
from facelesion.weights import fetching
from facelesion.weights.fetching import fetch

CONTENT = bytes(range(256)) * 4096  # 1 MiB
CHECKSUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


def refused(*addresses: str, target: Path, **known: object) -> str:
    """The one line of a fetch that fails, after checking that it leaves nothing that looks whole."""
    with pytest.raises(Error) as told:
        fetch(addresses, target, **known)
    assert "\n" not in str(told.value) and not target.exists()
    return str(told.value)


def test_a_file_comes_whole_and_leaves_nothing_beside_it(web, tmp_path):
    web.file("/a.bin", CONTENT)
    target = tmp_path / "new" / "a.bin"
    assert fetch(f"{web.address}/a.bin", target, checksum=CHECKSUM, size=len(CONTENT)) == target
    assert target.read_bytes() == CONTENT and list(target.parent.iterdir()) == [target]


def test_what_is_here_and_fits_is_not_asked_for_again(web, tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(CONTENT)
    fetch(f"{web.address}/a.bin", target, checksum=CHECKSUM)
    assert web.asked == []


def test_what_is_here_and_does_not_fit_is_replaced(web, tmp_path):
    web.file("/a.bin", CONTENT)
    target = tmp_path / "a.bin"
    target.write_bytes(b"an old one")
    fetch(f"{web.address}/a.bin", target, checksum=CHECKSUM)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("checksum", [CHECKSUM, CHECKSUM[:15], None])
def test_a_connection_that_is_cut_is_taken_up_where_it_was(web, tmp_path, checksum):
    web.file("/a.bin", CONTENT, cuts=(300_000, 300_000))
    assert fetch(f"{web.address}/a.bin", tmp_path / "a.bin", checksum=checksum).read_bytes() == CONTENT
    ranges = [(headers.get("Range"), headers.get("If-Range")) for _, headers in web.asked]
    assert ranges == [(None, None), ("bytes=300000-", '"one"'), ("bytes=600000-", '"one"')]


def test_a_server_that_ignores_ranges_begins_again(web, tmp_path):
    web.file("/a.bin", CONTENT, cuts=(300_000,), ranges=False)
    assert fetch(f"{web.address}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM).read_bytes() == CONTENT
    assert len(web.asked) == 2


def test_halves_of_two_versions_are_never_put_together(web, tmp_path):
    """The server's file changes while the connection is cut: the new one is fetched from its beginning."""
    other = CONTENT[::-1]

    def cut_then_change(handler):
        web.file("/a.bin", CONTENT, cuts=(300_000,))
        web.answers["/a.bin"](handler)
        web.file("/a.bin", other, etag='"two"')

    web.answers["/a.bin"] = cut_then_change
    assert fetch(f"{web.address}/a.bin", tmp_path / "a.bin").read_bytes() == other


def test_a_beginning_that_nothing_vouches_for_is_dropped(web, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"of something else")
    web.file("/a.bin", CONTENT, etag=None)
    assert fetch(f"{web.address}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_beginning_of_another_file_is_found_out_by_the_hash(web, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"of something else")
    web.file("/a.bin", CONTENT)
    assert fetch(f"{web.address}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM).read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in web.asked] == ["bytes=17-", None]


def test_a_part_that_is_all_of_it_needs_no_more_bytes(web, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    web.file("/a.bin", CONTENT)
    assert fetch(f"{web.address}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM).read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in web.asked] == [f"bytes={len(CONTENT)}-"]


def test_garbage_is_refused(web, tmp_path):
    web.file("/a.bin", CONTENT[::-1])
    said = refused(f"{web.address}/a.bin", target=tmp_path / "a.bin", checksum=CHECKSUM)
    assert "another hash" in said and f"put the file at {tmp_path / 'a.bin'}" in said
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_promises_more_than_it_has_is_given_up(web, tmp_path):
    web.file("/a.bin", CONTENT, length=len(CONTENT) + 10, ranges=False)
    said = refused(f"{web.address}/a.bin", target=tmp_path / "a.bin")
    assert f"cut off after {len(CONTENT)} bytes" in said and len(web.asked) <= fetching.TRIES + 1


def test_a_server_that_promises_less_than_it_has_is_refused(web, tmp_path):
    web.file("/a.bin", CONTENT, length=1000)
    said = refused(f"{web.address}/a.bin", target=tmp_path / "a.bin", size=len(CONTENT))
    assert f"the server has 1000 bytes, and it should be {len(CONTENT)}" in said
    assert "another hash" in refused(f"{web.address}/a.bin", target=tmp_path / "a.bin", checksum=CHECKSUM)


def test_nothing_longer_than_the_limit_is_taken(web, tmp_path):
    web.file("/a.bin", CONTENT)
    assert "more than the 1000 allowed" in refused(
        f"{web.address}/a.bin", target=tmp_path / "a.bin", max_bytes=1000
    )

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT)

    web.answers["/endless"] = endless
    said = refused(f"{web.address}/endless", target=tmp_path / "a.bin", max_bytes=1000, checksum=CHECKSUM)
    assert "more than the 1000 bytes allowed" in said
    assert "does not say how long" in refused(f"{web.address}/endless", target=tmp_path / "a.bin")


@pytest.mark.parametrize("code", [404, 403, 500, 503])
def test_what_the_server_says_is_told(web, tmp_path, code):
    web.answers["/a.bin"] = lambda handler: handler.send_error(code)
    assert f"the server says {code}" in refused(f"{web.address}/a.bin", target=tmp_path / "a.bin")
    assert len(web.asked) == (1 if code < 500 else fetching.TRIES)


def test_a_mirror_stands_in_and_goes_on_with_what_came(web, tmp_path):
    web.answers["/gone"] = lambda handler: handler.send_error(404)
    web.file("/half", CONTENT, cuts=(400_000,) + (0,) * 9)
    web.file("/whole", CONTENT, etag='"other"')
    addresses = [f"{web.address}/{name}" for name in ("gone", "half", "whole")]
    assert fetch(addresses, tmp_path / "a.bin", checksum=CHECKSUM).read_bytes() == CONTENT
    assert web.asked[-1][1]["Range"] == "bytes=400000-" and "If-Range" not in web.asked[-1][1]


def test_a_redirection_is_followed(web, tmp_path):
    web.redirect("/a.bin", "/b.bin")
    web.redirect("/b.bin", f"{web.address}/c.bin")
    web.file("/c.bin", CONTENT, cuts=(300_000,))
    assert fetch(f"{web.address}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM).read_bytes() == CONTENT


def test_a_circle_of_redirections_is_left(web, tmp_path):
    web.redirect("/a.bin", "/b.bin")
    web.redirect("/b.bin", "/a.bin")
    assert "in a circle" in refused(f"{web.address}/a.bin", target=tmp_path / "a.bin")


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1/a.bin", "data:,x"])
def test_a_redirection_out_of_the_web_is_refused(web, tmp_path, to):
    web.redirect("/a.bin", to)
    said = refused(f"{web.address}/a.bin", target=tmp_path / "a.bin")
    assert "redirects to" in said and "not followed" in said
    assert "neither http nor https" in refused("file:///etc/hostname", target=tmp_path / "a.bin")


def test_a_redirection_from_https_to_http_is_refused():
    import urllib.request

    redirects = fetching.Redirects()
    secure = urllib.request.Request("https://127.0.0.1/a.bin")
    with pytest.raises(fetching.AddressRefused, match="not followed"):
        redirects.redirect_request(secure, None, 302, "Found", {}, "http://127.0.0.1/a.bin")
    plain = urllib.request.Request("http://127.0.0.1/a.bin")
    followed = redirects.redirect_request(plain, None, 302, "Found", {}, "https://127.0.0.1/a.bin")
    assert followed.full_url == "https://127.0.0.1/a.bin"


def test_a_proxy_is_gone_through(web, tmp_path, monkeypatch):
    """The address is nobody's; the proxy, which is asked for it whole, has the file."""
    web.file("http://weights.invalid/a.bin", CONTENT)
    monkeypatch.setenv("http_proxy", web.address)
    got = fetch("http://weights.invalid/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    assert got.read_bytes() == CONTENT and web.asked[0][0] == "http://weights.invalid/a.bin"


def test_without_a_network_one_line_says_where_the_file_belongs(web, tmp_path):
    said = refused("http://127.0.0.1:9/a.bin", target=tmp_path / "a.bin")
    assert re.fullmatch(r"a\.bin cannot be fetched \(http://127.*refused\): put the file at .*a\.bin", said)
    assert "call the librarian" in refused(
        "http://127.0.0.1:9/a.bin", target=tmp_path / "a.bin", advice="call the librarian"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(web, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Error, match="cannot be written"):
        fetch(f"{web.address}/a.bin", tmp_path / "file" / "a.bin")


def test_two_who_want_the_same_file_fetch_it_once(web, tmp_path):
    web.file("/a.bin", CONTENT)
    quick = web.answers["/a.bin"]

    def slow(handler):
        time.sleep(0.3)
        quick(handler)

    web.answers["/a.bin"] = slow
    address = f"{web.address}/a.bin"
    code = (
        f"from facelesion.weights.fetching import fetch; fetch({address!r}, 'a.bin', checksum={CHECKSUM!r})"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=_environment()) for _ in range(2)
    ]
    assert [one.wait(30) for one in both] == [0, 0]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and len(web.asked) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_fetch_that_was_killed_goes_on(web, tmp_path):
    stalled = threading.Event()
    go_on = threading.Event()
    web.file("/a.bin", CONTENT)
    whole = web.answers["/a.bin"]

    def stall(handler):
        handler.send_response(200)
        handler.send_header("ETag", '"one"')
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:600_000])
        stalled.set()
        go_on.wait(30)

    web.answers["/a.bin"] = stall
    code = f"from facelesion.weights.fetching import fetch; fetch({web.address + '/a.bin'!r}, 'a.bin')"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=_environment())
    assert stalled.wait(30)
    part = tmp_path / "a.bin.part"
    deadline = time.monotonic() + 30
    while (not part.exists() or part.stat().st_size == 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    go_on.set()
    have = part.stat().st_size
    assert 0 < have < len(CONTENT) and not (tmp_path / "a.bin").exists()
    web.answers["/a.bin"] = whole
    assert fetch(f"{web.address}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert web.asked[-1][1]["Range"] == f"bytes={have}-"


def _environment() -> dict[str, str]:
    root = str(Path(fetching.__file__).resolve().parents[2])
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return kept | {"PYTHONPATH": root}
