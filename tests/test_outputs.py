"""Where nothing can be written is told before any work, and asking leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facelesion.errors import Error
from facelesion.outputs import writable_file, writable_folder


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("name", ["there", "new", "new/and/deeper", ".", "sheet.png/.."])
def test_a_folder_that_can_be_made_is_fine_and_is_not_made_yet(name: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "sheet.png").mkdir()
    before = everything(tmp_path)
    assert writable_folder(tmp_path / name) == tmp_path / name
    assert everything(tmp_path) == before


def test_a_file_that_is_there_or_can_be_made_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.png").write_text("old")
    for path in ("old.png", "new.png", "deeper/new.png"):
        writable_file(path)
    assert [path.name for path in everything(tmp_path)] == ["old.png"] and Path("old.png").read_text() == "old"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("file", "is no folder"), ("file/below", "is no folder"), ("file/far/below", "is no folder"),
        ("dangling", "a link to nothing stands there"), ("loop/x", "is no folder"), ("n" * 300, "too long"),
        ("new/" + "n" * 256 + "/x", "too long"), ("名" * 100, "too long"), ("a\0b", "NUL"), ("/proc/x", "/proc/x"),
        ("/proc/self/fd/x/y", "/proc"), ("/dev/null/x", "is no folder"), ("a\udcffb" + "\ud800", "no file name has"),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_folder_that_cannot_be_made_is_refused(
    path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    before = everything(tmp_path)
    with pytest.raises(Error, match="output: nothing can be written to") as told:
        writable_folder(path, "output")
    assert reason in str(told.value) and "\n" not in str(told.value) and len(str(told.value)) < 400
    assert everything(tmp_path) == before


def test_a_file_that_is_a_folder_or_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="that is a folder"):
        writable_file(tmp_path)
    with pytest.raises(Error, match="is no folder"):
        writable_file(tmp_path / "file" / "x.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Error, match="Permission denied"):
        writable_folder(tmp_path / "x")
    tmp_path.chmod(0o700)
