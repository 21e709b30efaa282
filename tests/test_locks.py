"""One holder at a time, whoever asks and however the holder ends; and nothing stays behind."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest

from facelesion.locks import locked

ROOT = Path(__file__).resolve().parents[1]
HOLD = """
import sys, time
from facelesion.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""
# Reads, waits, writes one more: any two at once lose a count.
COUNT = """
import sys, time
from pathlib import Path
from facelesion.locks import locked
for _ in range(10):
    with locked(Path(sys.argv[1], ".lock")):
        count = Path(sys.argv[1], "count")
        number = int(count.read_text()) if count.exists() else 0
        time.sleep(0.002)
        count.write_text(str(number + 1))
"""


def start(code: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_another_process_s_lock_is_seen_and_goes_when_it_is_killed(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path / "lock")
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with locked(tmp_path / "lock", wait=False) as free:
        assert not free
    holder.kill()
    holder.wait()
    assert (tmp_path / "lock").exists()  # left by the kill, and nobody's
    with locked(tmp_path / "lock", wait=False) as free:
        assert free
    assert list(tmp_path.iterdir()) == []


def test_processes_that_begin_at_once_take_turns_and_leave_nothing(tmp_path: Path) -> None:
    started = [start(COUNT, tmp_path) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0, 0, 0, 0]
    assert (tmp_path / "count").read_text() == "40"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_who_waits_says_so_once_and_gets_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, order = tmp_path / "lock", []

    def second() -> None:
        with locked(path, said="another is at it, waiting") as free:
            order.append(("second", free))

    with locked(path):
        waiter = threading.Thread(target=second)
        waiter.start()
        time.sleep(0.3)
        order.append(("first", True))
    waiter.join(30)
    assert order == [("first", True), ("second", True)]
    assert capsys.readouterr().err == "another is at it, waiting\n"


def test_it_is_let_go_of_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of the work"), locked(tmp_path / "lock"):
        raise OSError(errno.ENOLCK, "of the work")
    with locked(tmp_path / "lock", wait=False) as free:
        assert free


def test_its_folder_is_made_or_what_is_in_the_way_is_an_error_at_once(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "lock") as free:
        assert free and (tmp_path / "new").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), locked(tmp_path / "file" / "lock"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), locked(tmp_path / "folder"):
        pass


@pytest.mark.parametrize("why, everybody", [(errno.ENOLCK, True), (errno.ENOSYS, True), (errno.EROFS, False)])
def test_where_a_file_system_has_no_locks_everybody_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: int, everybody: bool
) -> None:
    def refuse(self: object, *args: object, **named: object) -> None:
        raise OSError(why, "no locks here")

    monkeypatch.setattr(filelock.BaseFileLock, "acquire", refuse)
    if everybody:
        with locked(tmp_path / "lock") as one, locked(tmp_path / "lock", wait=False) as two:
            assert one and two
    else:
        with pytest.raises(OSError, match="no locks here"), locked(tmp_path / "lock"):
            pass
