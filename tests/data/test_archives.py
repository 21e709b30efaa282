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
from facelesion.errors import Error

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
    with pytest.raises(Error, match=word) as caught:
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
    with pytest.raises(Error, match="holds something else"):
        unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"thesis.txt": b"precious"}
    unpack(archive, tmp_path / "other")
    with pytest.raises(Error, match="holds something else"):
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
    with pytest.raises(Error, match="no such archive"):
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
        patched.setattr(archives, "safe_name", interrupted)
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
    with pytest.raises(Error, match="cannot be written to"):
        unpack(archive, tmp_path / "file" / "out")


def test_a_link_to_another_folder_is_not_followed_and_removed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Error, match="holds something else"):
        unpack(make(tmp_path / "a.tgz"), tmp_path / "out")
    assert (tmp_path / "elsewhere").is_dir() and not list((tmp_path / "elsewhere").iterdir())


def test_a_zip_made_on_a_mac_is_the_folder_that_was_packed(tmp_path, monkeypatch):
    from facelesion.data.lfw import open_lfw

    forks = {f"__MACOSX/._{name.replace('/', '_')}": b"\x00\x05\x16\x07" for name in FILES}
    archive = make(
        tmp_path / "mac.zip", {"people/.DS_Store": b"x", **FILES, "__MACOSX/._people": b"", **forks}
    )
    assert set(contents(unpack(archive, tmp_path / "out"))) == {*FILES, "people/.DS_Store"}
    monkeypatch.setenv("FACELESION_CACHE", str(tmp_path / "cache"))
    opened = open_lfw(archive).photographs
    assert set(opened.names) == {name.removeprefix("people/") for name in FILES} and not opened.left_out


def test_a_tar_made_on_a_mac_is_the_folder_that_was_packed(tmp_path, monkeypatch):
    from facelesion.data.lfw import open_lfw

    fork = b"\x00\x05\x16\x07 what a Mac keeps"
    packed = {"._people": fork, "people/._Ada": fork, **FILES, "people/Ada/._1.jpg": fork}
    monkeypatch.setenv("FACELESION_CACHE", str(tmp_path / "cache"))
    opened = open_lfw(make(tmp_path / "mac.tgz", packed)).photographs
    assert len(opened) == 3 and [name for name, _ in opened.left_out] == []


def test_a_zip_made_on_windows_has_folders(tmp_path):
    files = {"people\\Ada\\": b"", **{name.replace("/", "\\"): content for name, content in FILES.items()}}
    assert contents(unpack(make(tmp_path / "windows.zip", files), tmp_path / "out")) == FILES


@pytest.mark.parametrize(
    "name", ["\\out.txt", "..\\out.txt", "C:\\out.txt", "a\\..\\..\\out.txt", "\\\\host\\out.txt"]
)
def test_backslashes_lead_nowhere_either(tmp_path, name):
    assert_refused(make(tmp_path / "evil.zip", {"good.txt": b"good", name: b"evil"}), "leave the folder")


def test_names_that_a_mac_writes_in_utf8_without_saying_so_are_read(tmp_path):
    archive = make(tmp_path / "mac.zip", {"people/Zoë/1.jpg": b"zoe"})
    content = bytearray(archive.read_bytes())
    for place in (6, content.index(b"PK\x01\x02") + 8):
        content[place + 1] &= ~0x08  # the flag that says UTF-8
    archive.write_bytes(content)
    assert contents(unpack(archive, tmp_path / "out")) == {"people/Zoë/1.jpg": b"zoe"}


@pytest.mark.parametrize("name", ["empty.tar", "empty.zip"])
def test_a_member_without_a_name_is_refused(tmp_path, name):
    archive = make(tmp_path / name, {"good.txt": b"good", "" if name.endswith("tar") else "x": b"nameless"})
    if name.endswith("zip"):
        content = bytearray(archive.read_bytes())
        # The name's one letter becomes an extra field of one byte.
        local, central = content.rindex(b"PK\x03\x04") + 26, content.rindex(b"PK\x01\x02") + 28
        for place in (local, central):
            content[place : place + 4] = b"\0\0\1\0"
        archive.write_bytes(content)
    assert_refused(archive, "without a name")


@pytest.mark.parametrize("name", [".", "./", "./."])
def test_a_file_called_as_the_folder_itself_is_refused(tmp_path, name):
    assert_refused(make(tmp_path / "dot.tar", {"good.txt": b"good", name: b"evil"}), "without a name|twice")


@pytest.mark.parametrize("archive", ["long.tar", "long.zip", "long.tgz"])
@pytest.mark.parametrize("name", ["a" * 300, "folder/" + "ë" * 200, "a" * 300 + "/1.jpg"])
def test_a_member_with_too_long_a_name_is_refused(tmp_path, archive, name):
    assert_refused(make(tmp_path / archive, {"good.txt": b"good", name: b"long"}), "too long a name")


def sparse(path, **headers):
    """A tar of one member whose extended header says that it is sparse."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        good = tarfile.TarInfo("good.txt")
        tar.addfile(good)
        member = tarfile.TarInfo("sparse.bin")
        member.size = 1024
        member.pax_headers = {f"GNU.sparse.{key}": value for key, value in headers.items()}
        tar.addfile(member, io.BytesIO(b"no number\n" + bytes(1014)))
    return path


@pytest.mark.parametrize(
    "headers",
    [
        {"major": "1", "minor": "0", "realsize": "9"},
        {"major": "1", "minor": "0", "realsize": "x"},
        {"map": "0,5,x", "size": "9"},
        {"map": "0", "size": "9"},
        {"map": "0,5", "size": "-9"},
        {"map": "5,1024,0,5", "size": "2000"},
        {"map": "0,2000", "size": "1024"},
        {"major": "1", "minor": "0", "realsize": "-9"},
        {"size": "x"},
        {"size": "9", "offset": "x", "numbytes": "5"},
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_sparse_file_whose_map_is_no_numbers_is_refused(tmp_path, headers, first):
    archive = sparse(tmp_path / "sparse.tar", **headers)
    if first:
        archive.write_bytes(archive.read_bytes()[512:])
    assert isinstance(is_archive(archive), bool)
    assert_refused(archive, "cannot be unpacked")


def test_an_honest_sparse_file_is_unpacked_with_its_holes(tmp_path):
    import subprocess

    with open(tmp_path / "holes.bin", "wb") as file:
        file.seek(100_000)
        file.write(b"end")
    for kind in ("gnu", "posix"):
        archive = tmp_path / f"{kind}.tar"
        command = ["tar", "--sparse", f"--format={kind}", "-cf", archive, "-C", tmp_path, "holes.bin"]
        assert subprocess.run(command, check=False).returncode == 0
        out = unpack(archive, tmp_path / kind)
        assert (out / "holes.bin").read_bytes() == bytes(100_000) + b"end"


def test_a_tar_damaged_or_cut_between_two_members_is_not_half_an_archive(tmp_path):
    archive = make(tmp_path / "a.tar")
    whole = archive.read_bytes()
    second = whole.index(b"people/Bo/1.jpg")
    for content in (
        whole[:second],
        whole[: second + 100],
        whole[:second] + b"\xff" * 512 + whole[second + 512 :],
        whole[:second] + b"x" + whole[second + 1 :],
    ):
        archive.write_bytes(content)
        assert_refused(archive, "cut short, or damaged|cannot be unpacked")


def test_a_tar_with_a_zip_in_it_is_a_tar(tmp_path):
    inner = make(tmp_path / "inner.zip", {"inside.txt": b"inner"}).read_bytes()
    (tmp_path / "inner.zip").unlink()
    for name in ("outer.tar", "outer.tgz"):
        archive = make(tmp_path / name, {"1.jpg": b"one", "inner.zip": inner})
        assert set(contents(unpack(archive, tmp_path / f"{name} out"))) == {"1.jpg", "inner.zip"}


def test_a_zip_whose_names_are_in_no_encoding_is_refused(tmp_path):
    archive = make(tmp_path / "a.zip", {"Zoë.jpg": b"zoe"})
    archive.write_bytes(archive.read_bytes().replace("ë".encode(), b"\xff\xff"))
    assert_refused(archive, "cannot be unpacked")


def test_headers_nested_without_end_are_refused(tmp_path):
    archive = tmp_path / "deep.tar"
    with tarfile.open(archive, "w") as tar:
        for _ in range(3000):
            member = tarfile.TarInfo("member")
            member.type, member.size = tarfile.GNUTYPE_LONGNAME, 4
            tar.addfile(member, io.BytesIO(b"name"))
    assert isinstance(is_archive(archive), bool)
    assert_refused(archive, "cannot be unpacked")


def test_asking_whether_it_is_an_archive_takes_no_memory(tmp_path):
    import tracemalloc

    archive = tmp_path / "greedy.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("member")
        member.type, member.size = tarfile.XHDTYPE, 60_000_000
        tar.addfile(member, io.BytesIO(bytes(60_000_000)))
    tracemalloc.start()
    assert is_archive(archive)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000


def test_paths_too_long_for_any_file_are_told_in_one_line(tmp_path):
    archive = make(tmp_path / "a.tar")
    assert not is_archive(tmp_path / ("a" * 300))
    with pytest.raises(Error, match="no such archive"):
        unpack(tmp_path / ("a" * 300), tmp_path / "out")
    for place in ("a" * 300, "a" * 250, "/proc/out"):
        with pytest.raises(Error, match="cannot be written to"):
            unpack(archive, tmp_path / place)
