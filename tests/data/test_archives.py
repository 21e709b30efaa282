"""Unpacking archives: all of it or nothing of it, and nothing outside the folder."""

import io
import os
import stat
import tarfile
import time
import zipfile

import pytest

from facelesion.data import archives
from facelesion.data.archives import is_archive, unpack
from facelesion.errors import FacelesionError

FILES = {"people/Ada/1.jpg": b"ada" * 1000, "people/Bo/1.jpg": b"bo", "people/Zoë 王/1.jpg": b"zoe"}


def make(path, files=FILES):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return path
    mode = {".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz", ".tar": "w"}[path.suffix]
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".unpacked.json"
    }


def assert_refused(archive, word, **limits):
    """Refused in one line, and the folder around looks as before."""
    around = archive.parent
    before = contents(around)
    with pytest.raises(FacelesionError, match=word) as caught:
        unpack(archive, around / "out", **limits)
    assert "\n" not in str(caught.value) and archive.name in str(caught.value)
    assert not (around / "out").exists() and contents(around) == before
    assert not list(around.glob(".out*")), "nothing half-unpacked is left"


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.bz2", "a.xz", "a.zip"])
def test_every_kind_of_archive_unpacks(tmp_path, name):
    archive = make(tmp_path / name)
    assert is_archive(archive)
    assert contents(unpack(archive, tmp_path / "out")) == FILES


def test_unpacking_twice_does_nothing_the_second_time(tmp_path):
    archive = make(tmp_path / "a.tgz")
    out = unpack(archive, tmp_path / "out")
    (out / "people/Bo/1.jpg").write_bytes(b"edited")
    unpack(archive, out)
    assert contents(out)["people/Bo/1.jpg"] == b"edited"


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    archive = make(tmp_path / "a.tgz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(FacelesionError, match="holds something else"):
        unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"thesis.txt": b"precious"}
    unpack(archive, tmp_path / "other")
    with pytest.raises(FacelesionError, match="holds something else"):
        unpack(make(tmp_path / "b.tgz", {"x": b"y"}), tmp_path / "other")


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    assert contents(unpack(make(tmp_path / "a.zip"), tmp_path / "out")) == FILES


LEAVING = [
    "../out.txt",
    "/etc/out.txt",
    "a/../../out.txt",
    "..",
    "a\\..\\..\\out.txt",
    "C:/out.txt",
    ".unpacked.json",
]


@pytest.mark.parametrize("name", LEAVING)
@pytest.mark.parametrize("kind", ["evil.tar", "evil.zip"])
def test_no_member_leaves_the_folder(tmp_path, name, kind):
    assert_refused(make(tmp_path / kind, {"good.txt": b"good", name: b"evil"}), "leave the folder")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_special_files_in_a_tar_are_refused(tmp_path, kind):
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("member")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    assert_refused(archive, "link or special file")


def test_links_in_a_zip_are_refused(tmp_path):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        entry = zipfile.ZipInfo("member")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(entry, "/etc/passwd")
    assert_refused(archive, "link or special file")


@pytest.mark.parametrize("name", ["bomb.tgz", "bomb.zip", "bomb.xz"])
def test_a_bomb_is_stopped_at_the_limit(tmp_path, name):
    assert_refused(make(tmp_path / name, {"zeros": bytes(6_000_000)}), "bytes unpacked", max_bytes=1_000_000)


def test_too_many_members_are_refused(tmp_path):
    archive = make(tmp_path / "many.tar", {f"{i}.txt": b"" for i in range(50)})
    assert_refused(archive, "more than 40 members", max_files=40)


def test_a_header_that_asks_for_all_the_memory_is_refused(tmp_path):
    archive = tmp_path / "greedy.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("member")
        member.type, member.size = tarfile.XHDTYPE, 20_000_000
        tar.addfile(member, io.BytesIO(bytes(20_000_000)))
    assert_refused(archive, "header")


def test_a_name_given_twice_is_refused(tmp_path):
    archive = tmp_path / "twice.tar"
    with tarfile.open(archive, "w") as tar:
        for content in (b"one", b"two"):
            member = tarfile.TarInfo("same.txt")
            member.size = 3
            tar.addfile(member, io.BytesIO(content))
    assert_refused(archive, "twice")


@pytest.mark.parametrize("name", ["a.tgz", "a.zip", "a.xz"])
def test_an_archive_cut_short_leaves_nothing(tmp_path, name):
    noise = {f"{i}.bin": os.urandom(20_000) for i in range(5)}
    archive = make(tmp_path / name, noise)
    archive.write_bytes(archive.read_bytes()[:60_000])
    assert_refused(archive, "get it again|cannot be unpacked")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "letter.tgz").write_text("no archive")
    assert not is_archive(tmp_path / "letter.tgz")
    assert_refused(tmp_path / "letter.tgz", "cannot be unpacked")
    with pytest.raises(FacelesionError, match="no such archive"):
        unpack(tmp_path / "nowhere.tgz", tmp_path / "out")


def test_an_encrypted_zip_is_refused(tmp_path):
    archive = make(tmp_path / "secret.zip", {"a.txt": b"secret"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert_refused(archive, "cannot be unpacked")


def test_permissions_of_the_archive_are_not_taken_over(tmp_path):
    archive = tmp_path / "bold.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("run.sh")
        member.mode = 0o6777
        tar.addfile(member, io.BytesIO())
    out = unpack(archive, tmp_path / "out")
    assert stat.S_IMODE((out / "run.sh").stat().st_mode) & 0o7111 == 0


def test_an_interrupted_run_leaves_nothing_and_the_next_one_succeeds(tmp_path, monkeypatch):
    archive = make(tmp_path / "a.tgz")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(archives, "_safe_name", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
    assert contents(unpack(archive, tmp_path / "out")) == FILES


def test_what_a_killed_run_left_is_cleared_away_later(tmp_path):
    left = tmp_path / ".out.partial-killed"
    (left / "people").mkdir(parents=True)
    os.utime(left, (time.time() - 7200,) * 2)
    fresh = tmp_path / ".out.partial-running"
    fresh.mkdir()
    unpack(make(tmp_path / "a.tgz"), tmp_path / "out")
    assert not left.exists() and fresh.exists()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    archive = make(tmp_path / "a.tgz")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FacelesionError, match="cannot be written to"):
        unpack(archive, tmp_path / "file" / "out")


def test_a_link_to_another_folder_is_not_followed_and_removed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FacelesionError, match="holds something else"):
        unpack(make(tmp_path / "a.tgz"), tmp_path / "out")
    assert (tmp_path / "elsewhere").is_dir() and not list((tmp_path / "elsewhere").iterdir())
