"""The lab's server: what it refuses, what it keeps (nothing), and that it mixes up nobody."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from facelesion.lab.state import Damage, Picture, State

pytestmark = pytest.mark.slow  # readouts are fitted once, which takes seconds
FIVE = "0.35,0.45,0.65,0.45,0.5,0.6,0.4,0.75,0.6,0.75"


def png(size=(160, 120), colour=None, mode="RGB", kind="PNG") -> bytes:
    from PIL import Image

    memory = io.BytesIO()
    if colour is None:
        pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(memory, kind)
    else:
        Image.new(mode, size, colour).save(memory, kind)
    return memory.getvalue()


def told(reply) -> str:
    status, content, _ = reply
    assert status in (403, 404, 422), content[:200]
    line = json.loads(content)["error"]
    assert line and "\n" not in line and "Traceback" not in line and "/facelesion/" not in line
    return line


def test_the_page_comes_with_all_that_it_needs_and_with_a_ban_on_other_hosts(served):
    status, page, headers = served.ask("")
    assert status == 200 and b"<h1>The lab</h1>" in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "http" not in policy
    for name in ("lab.css", "lab.js", "face.js", "html.js", "people.png"):
        status, content, _ = served.ask(name)
        assert status == 200 and content and b"http://" not in content.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in content


@pytest.mark.parametrize(
    "path",
    [
        "../server.py", "page/lab.js", "lab.js/../../known.py", "%2e%2e/known.py", "file=/etc/passwd", "people.png/..",
        "people/../lab.js", "page", "..%2flab.js", "file/etc/passwd", "etc/passwd", "//etc/passwd",
    ],
)  # fmt: skip
def test_no_address_names_a_file(served, path):
    status, content, _ = served.ask(path)
    assert status in (403, 404) and b"root:" not in content and b"import" not in content


def test_a_state_that_cannot_be_is_told_in_one_line(served):
    for state in ({"network": "/etc/passwd"}, {"damage": [{"site": "nowhere"}]}, {"picture": {"source": "x"}}, [1], 3):
        told(served.ask("answer", state))
    assert "load the page again" in told(served.ask("answer", b"\x80{"))
    told(served.ask("answer", b"[" * 200_000))
    assert "1 MB" in told(served.ask("answer", b" " * 1_100_000))


@pytest.mark.parametrize(
    ("upload", "words"),
    [
        (b"", "empty"), (b"no picture at all", "not a picture"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 60, "not a picture"),
        (png((9, 9)), "at least 16"), (b"x" * 20_000_001, "20 MB"), (png()[:2000], "cut short"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 20, "HEIC"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    ],
    ids=["empty", "text", "header", "tiny", "large", "cut", "heic", "eps", "svg"],
)  # fmt: skip
def test_a_bad_upload_gets_its_line(served, upload, words):
    assert words in told(served.ask("photograph", upload))


def test_a_bomb_is_refused_before_a_pixel_of_it_is_decoded(served):
    bomb = png((12_000, 12_000), 0, "1")
    assert len(bomb) < 200_000
    assert "24 megapixels" in told(served.ask("photograph", bomb))


def test_five_points_make_a_face_of_any_photograph(served):
    found = served.json(f"photograph?points={FIVE}", png())
    assert found["source"] == "photograph" and len(found["points"]) == 956
    points = np.asarray(found["points"]).reshape(478, 2)
    assert points[468] == pytest.approx([38.3, 51.7], abs=6)  # the eye is where the alignment has it
    assert "five" in told(served.ask("photograph?points=0.1,0.2", png()))
    assert "ten numbers" in told(served.ask("photograph?points=a,b", png()))
    assert "one point" in told(served.ask("photograph?points=" + ",".join(["0.5"] * 10), png()))


def test_a_photograph_without_a_face_says_what_to_do(served):
    assert "click both eyes" in told(served.ask("photograph", png(colour=(90, 120, 90))))
    assert served.json("photograph?thing=1", png(colour=(90, 120, 90)))["points"] == []


def test_a_photograph_is_written_nowhere(served, tmp_path, monkeypatch):
    """Every file that Python opens to write, from the upload to the answer, the curve and the picture."""
    opened: list[str] = []
    watching = True

    def note(event, arguments):
        if not watching or event not in ("open", "os.mkdir", "os.rename", "shutil.copyfile"):
            return
        path, mode = str(arguments[0]), str(arguments[1] if len(arguments) > 1 else "")
        writes = event != "open" or set(mode) & set("wax+") or (
            len(arguments) > 2 and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if writes and not path.startswith(("/dev/", "/proc/")) and not path.isdecimal():
            opened.append(path)

    sys.addaudithook(note)
    found = served.json(f"photograph?points={FIVE}", png())
    state = {"picture": found, "second": "photograph", "photograph": found, "stimulus": "mask eyes"}
    served.json("answer", state)
    assert served.ask("picture", state)[0] == 200
    served.ask("curve", state)
    watching = False
    assert not opened, opened


def test_a_photograph_is_in_no_link_and_in_no_text(served):
    found = served.json(f"photograph?points={FIVE}", png())
    answer = served.json("answer", {"picture": found})
    piece = found["pixels"][200:240]
    linked = base64.urlsafe_b64decode(answer["link"] + "===").decode()
    assert piece not in linked and piece not in json.dumps(answer["out"])


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "evil.example:80", "Origin": "http://evil.example:80"},
     {"Origin": "http://evil.example"}, {"Origin": "null"}],
)  # fmt: skip
def test_other_names_and_other_sites_pages_are_refused(served, headers):
    assert served.ask("answer", {}, headers)[0] == 403


def test_the_same_page_s_own_questions_are_answered(served):
    assert served.ask("answer", {}, {"Origin": served.address.rstrip("/")})[0] == 200


def test_visitors_at_once_each_get_their_own_answer(served):
    """Twelve visitors with different lesions, at once and over again: each answer is what that state gets alone."""
    states = [
        State(picture=Picture(person=n), damage=(Damage(site="conv5_1", dose=0.05 * (n + 1), seed=n),))
        for n in range(12)
    ]
    alone = [served.json("answer", state.to_dict()) for state in states]
    with ThreadPoolExecutor(12) as pool:
        again = list(pool.map(lambda n: served.json("answer", states[n % 12].to_dict()), range(36)))
    for number, found in enumerate(again):
        for key in ("lesion", "healthy", "damaged", "link", "changes"):
            assert found[key] == alone[number % 12][key]


def test_answers_come_between_the_parts_of_a_curve(served):
    lines: list[bytes] = []

    def long() -> None:
        lines.extend(served.ask("curve", State().to_dict())[1].splitlines())

    thread = threading.Thread(target=long)
    thread.start()
    served.json("answer", State(picture=Picture(person=5)).to_dict())
    assert thread.is_alive()
    thread.join(300)
    assert [json.loads(line)["done"] for line in lines] == [0, 4, 8, 12]


def test_a_few_long_tasks_at_a_time_and_no_more(served, monkeypatch):
    from facelesion.lab import server

    monkeypatch.setattr(server, "MOST_LONG", 0)
    assert "try again" in told(served.ask("curve", {}))


def test_what_goes_wrong_within_a_curve_is_a_line_of_it(served):
    _, content, _ = served.ask("curve", {"damage": [{"site": "nowhere"}]})
    (line,) = content.splitlines()
    assert "nowhere" in json.loads(line)["error"]


def test_the_command_says_what_it_lacks_and_what_it_cannot(capsys, absent):
    import socket

    from facelesion.cli import run

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["lab", "--no-browser", "--port", str(port)]) == 2
        assert f"port {port}" in capsys.readouterr().err
    assert run(["lab", "--port", "99999"]) == 2 and "port" in capsys.readouterr().err
    assert run(["lab", "--networks", "missing.safetensors"]) == 2 and "missing" in capsys.readouterr().err
    absent("uvicorn")
    assert run(["lab", "--no-browser", "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'facelesion[lab]'" in error and error.count("\n") == 1


def test_it_listens_at_this_machine_alone_unless_told(monkeypatch):
    from facelesion.lab import command

    asked = []
    monkeypatch.setattr(command, "listening_at", lambda host, port: asked.append(host) or _Refused.now())
    for words in ([], ["--host", "0.0.0.0"]):
        with pytest.raises(_Refused):
            command.lab_command(["--no-browser", *words])
    assert asked == ["127.0.0.1", "0.0.0.0"]


class _Refused(Exception):
    @classmethod
    def now(cls):
        raise cls


def test_pickles_are_nowhere_in_the_lab():
    import facelesion.lab

    for file in Path(facelesion.lab.__file__).parent.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "pickle" not in text and "eval(" not in text and "exec(" not in text
