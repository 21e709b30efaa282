"""The registry says what is true, and `facelesion weights` finds, fetches and explains."""

from __future__ import annotations

import dataclasses
import hashlib
import tomllib
from pathlib import Path

import pytest

from facelesion.cli import run
from facelesion.errors import Error
from facelesion.files import file_hash
from facelesion.weights import registry, weights_path
from facelesion.weights.fetching import fits

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"weights" * 1000


@pytest.fixture
def folder(tmp_path, monkeypatch, web):
    """An empty folder of weights, and a registry whose mobilefacenet is served by this machine."""
    monkeypatch.setenv("FACELESION_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("FACELESION_CACHE", str(tmp_path / "cache"))
    web.file("/mobilefacenet.pt", CONTENT)
    change(
        monkeypatch, "mobilefacenet", addresses=(f"{web.address}/mobilefacenet.pt",), size=None, checksum=None
    )
    return tmp_path / "weights"


def change(monkeypatch, name: str, **values: object) -> None:
    changed = dataclasses.replace(registry.entries()[name], **values)
    monkeypatch.setitem(registry.entries(), name, changed)


def test_what_is_carried_is_what_the_registry_says():
    carried = [entry for entry in registry.entries().values() if entry.carried]
    assert {entry.name for entry in carried} >= {"builtin", "facespace"}
    for entry in carried:
        assert fits(ROOT / "weights" / entry.file, entry.checksum, entry.size), entry.name
        assert entry.checksum is not None and entry.addresses == () and entry.state() == "here"


def test_every_entry_says_where_it_comes_from_and_under_which_terms():
    for entry in registry.entries().values():
        assert entry.what and entry.licence
        assert entry.carried or entry.addresses or entry.name == "vgg_face"
        assert all(address.startswith(("http://", "https://")) for address in entry.addresses)
        assert entry.checksum is None or entry.checksum.split(":")[0] in ("sha256", "md5")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["mobilefacenet", "face_landmarker"])
def test_the_real_files_have_the_hashes_of_the_registry(shared, name):
    entry = registry.entry(name)
    assert fits(shared / "data" / entry.file, entry.checksum, entry.size)


def test_a_slip_in_the_registry_is_named():
    with pytest.raises(Error, match=r"\[a\]: 'lisence' is unknown"):
        registry.read(tomllib.loads('[a]\nwhat="w"\nfile="f"\nlicence="l"\nlisence="l"'), "registry.toml")
    with pytest.raises(Error, match=r"\[a\]: 'file' is unknown or missing"):
        registry.read(tomllib.loads('[a]\nwhat="w"\nlicence="l"'), "registry.toml")


def test_an_unknown_name_has_the_nearest_ones():
    with pytest.raises(Error, match="no weights are called 'mobilfacenet': nearest is mobilefacenet"):
        registry.path("mobilfacenet")


def test_the_list_shows_each_name_with_its_state_size_and_terms(folder, capsys):
    folder.mkdir()
    (folder / "vgg_face_dag.pth").write_bytes(b"x" * 2_000_000)
    assert run(["weights", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == set(registry.entries())
    assert "here" in lines["builtin"] and "3.8 MB" in lines["builtin"]
    assert "can be fetched" in lines["mobilefacenet"] and "Apache-2.0" in lines["mobilefacenet"]
    assert "needs conversion" in lines["vgg_face_dag"] and "2.0 MB" in lines["vgg_face_dag"]
    assert "needs conversion" in lines["vgg_face"] and "non-commercial" in lines["vgg_face"]
    (folder / "vgg_face.safetensors").touch()
    assert registry.entry("vgg_face_dag").state() == registry.entry("vgg_face").state() == "here"


def test_weights_without_a_published_hash_are_held_to_the_first_ones(folder, capsys, web):
    assert run(["weights", "fetch", "mobilefacenet"]) == 0
    said = capsys.readouterr()
    digits = hashlib.sha256(CONTENT).hexdigest()
    assert said.out.strip() == str(folder / "mobilefacenet.pt") and "unchecked: nobody published" in said.err
    assert (folder / "mobilefacenet.pt.sha256").read_text().split() == [digits, "mobilefacenet.pt"]
    assert run(["weights", "path", "mobilefacenet"]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "mobilefacenet.pt")
    (folder / "mobilefacenet.pt").unlink()
    web.file("/mobilefacenet.pt", b"others")
    assert run(["weights", "fetch", "mobilefacenet"]) == 2
    assert "another hash" in capsys.readouterr().err and not (folder / "mobilefacenet.pt").exists()


def test_weights_with_a_published_hash_are_checked_and_leave_no_note(folder, capsys, monkeypatch):
    change(monkeypatch, "mobilefacenet", checksum="sha256:" + hashlib.sha256(CONTENT).hexdigest())
    assert run(["weights", "fetch", "mobilefacenet"]) == 0
    assert "unchecked" not in capsys.readouterr().err
    assert [file.name for file in folder.iterdir()] == ["mobilefacenet.pt"]
    change(monkeypatch, "mobilefacenet", checksum="sha256:" + "0" * 64)
    assert run(["weights", "fetch", "mobilefacenet"]) == 2
    assert "another hash" in capsys.readouterr().err
    assert file_hash(folder / "mobilefacenet.pt") == hashlib.sha256(CONTENT).hexdigest()  # the old one stays


def test_fetching_into_a_folder_says_how_it_is_found_there(folder, capsys, tmp_path):
    assert run(["weights", "fetch", "mobilefacenet", "--to", str(tmp_path / "mine")]) == 0
    assert f"FACELESION_WEIGHTS={tmp_path / 'mine'}" in capsys.readouterr().err
    assert (tmp_path / "mine" / "mobilefacenet.pt").read_bytes() == CONTENT


def test_after_fetching_vgg_face_the_next_command_is_told(folder, capsys, web, monkeypatch):
    web.file("/vgg", CONTENT)
    change(monkeypatch, "vgg_face_torch7", addresses=(f"{web.address}/vgg",))
    assert run(["weights", "fetch", "vgg_face_torch7"]) == 0
    said = capsys.readouterr().err
    assert "tar -xzf" in said
    assert (
        f"weights convert {folder / 'vgg_face_torch' / 'VGG_FACE.t7'} --to {folder / 'vgg_face.safetensors'}"
        in said
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mobilefacenet", ("facelesion weights fetch mobilefacenet", "put it at", "mobilefacenet.pt")),
        ("vgg_face", ("facelesion weights convert", "vgg_face.safetensors")),
    ],
)
def test_a_path_that_is_none_is_one_line_that_says_what_to_put_where(folder, capsys, name, words):
    assert run(["weights", "path", name]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and all(word in said for word in (*words, str(folder)))


def test_without_a_network_fetching_says_which_file_goes_where(folder, capsys, monkeypatch):
    change(monkeypatch, "mobilefacenet", addresses=("http://127.0.0.1:9/mobilefacenet.pt",))
    assert run(["weights", "fetch", "mobilefacenet"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and f"put it at {folder / 'mobilefacenet.pt'}" in said
    assert run(["weights", "fetch", "vgg_face"]) == 2
    assert "facelesion weights convert" in capsys.readouterr().err


def test_what_is_carried_is_not_fetched(folder, capsys, web):
    assert run(["weights", "fetch", "builtin"]) == 0
    assert capsys.readouterr().out.strip().endswith("builtin.safetensors") and web.asked == []


@pytest.mark.parametrize("name", ["builtin.safetensors", "facespace.npz"])
def test_weights_of_the_second_wheel_that_are_not_there_name_the_extra(tmp_path, monkeypatch, name):
    monkeypatch.setenv("FACELESION_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("FACELESION_CACHE", str(tmp_path / "cache"))
    registry.entries()
    monkeypatch.setattr("facelesion.weights.places.CARRIED", ())
    with pytest.raises(Error, match=rf"^{name} is not installed: pip install 'facelesion\[study\]'$"):
        weights_path(name)
    with pytest.raises(Error, match="put the file there"):
        weights_path("mine.safetensors")
