"""Every file of a folder is a picture taken, named with a reason, or plainly no picture."""

import os
import unicodedata

import pytest

from facelesion.data.file_kinds import is_picture, plainly_no_picture
from facelesion.data.listing import list_folder, list_table, people_folder
from facelesion.data.objects import object_folder
from facelesion.errors import Error


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def left_out(root):
    return dict(list_folder(root).left_out)


@pytest.mark.parametrize(
    "name",
    ["1.jpg", "1.JPG", "1.jfif", "1.JPE", "1.jif", "1.pjpeg", "1.mpo", "1.apng", "1.dib", "1.Tiff", "1.pbm"],
)
def test_whatever_can_be_read_is_taken_by_its_name(tmp_path, name):
    touch(tmp_path, f"Ada/{name}")
    assert list_folder(tmp_path).names == (f"Ada/{name}",) and is_picture(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Ada/2.HEIC", "not read (.heic): save it as JPEG"),
        ("Ada/2.avif", "not read"),
        ("Ada/2.nef", "not read"),
        ("Ada/2.svg", "not read"),
        ("Ada/.2.jpg", "hidden"),
        ("Ada/2013/2.jpg", "lies deeper"),
        ("Ada/a/b/c/2.jpg", "lies deeper"),
        ("Ada/x.jpg/2.jpg", "lies deeper"),
        ("Ada/.thumbnails/2.jpg", "lies deeper"),
        (".Bo/2.jpg", "hidden folder"),
        ("2.jpg", "no person's folder"),
        ("Ada/2", "not known as a picture by its name"),
        ("Ada/2.jpg~", "not known as a picture by its name"),
        ("Ada/2.jpg.download", "not known as a picture by its name"),
        ("Ada/2.jpg ", "not known as a picture by its name"),
        ("Ada/more.zip", "an archive"),
        ("more.tgz", "an archive"),
        ("Ada/live.MOV", "a film"),
        ("Ada/scan.pdf", "a document"),
    ],
)
def test_what_is_not_taken_is_named_with_a_reason(tmp_path, name, word):
    touch(tmp_path, "Ada/1.jpg", name)
    assert word in left_out(tmp_path)[name]
    assert [each for each in list_folder(tmp_path).names if not each.endswith("x.jpg")] == ["Ada/1.jpg"]


@pytest.mark.parametrize(
    "name",
    ["Ada/Thumbs.db", "Ada/.DS_Store", "Ada/desktop.ini", "Ada/Icon\r", "Ada/notes.TXT", "README", "names.csv",
     "a.json", "Ada/1.xmp", ".git/objects/x", ".gitignore", "__MACOSX/Ada/._1.jpg",
     "Ada/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg"],
)  # fmt: skip
def test_what_is_plainly_no_picture_is_not_mentioned(tmp_path, name):
    touch(tmp_path, "Ada/1.jpg", name)
    assert list_folder(tmp_path).left_out == () and list_folder(tmp_path).names == ("Ada/1.jpg",)


def test_what_a_mac_keeps_beside_a_file_is_known_by_its_content(tmp_path):
    touch(tmp_path, "Ada/1.jpg")
    (tmp_path / "Ada/._1.jpg").write_bytes(b"\x00\x05\x16\x07 and more")
    assert plainly_no_picture(str(tmp_path / "Ada/._1.jpg")) and not left_out(tmp_path)
    (tmp_path / "Ada/._1.jpg").write_bytes(b"\xff\xd8\xff a photograph after all")
    assert "hidden" in left_out(tmp_path)["Ada/._1.jpg"]


def test_links_that_lead_in_circles_are_named_and_end(tmp_path):
    touch(tmp_path, "Ada/1.jpg", "Ada/more/2.jpg")
    (tmp_path / "Ada" / "up").symlink_to(tmp_path)
    (tmp_path / "Ada" / "more" / "up").symlink_to(tmp_path)
    (tmp_path / "everybody").symlink_to(".")
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "Ada" / "itself.jpg").symlink_to("itself.jpg")
    (tmp_path / "Bo").symlink_to("Ada")
    listing = list_folder(tmp_path)
    assert listing.names == ("Ada/1.jpg", "Ada/itself.jpg", "Bo/1.jpg", "Bo/itself.jpg")
    found = dict(listing.left_out)
    assert "not followed" in found["Ada/up"] and "not followed" in found["Ada/more/up"]
    assert "holds it" in found["everybody"] and "itself" in found and "deeper" in found["Ada/more/2.jpg"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "Ada/1.jpg", "Bo/1.jpg")
    scan = os.scandir

    def closed(folder):
        if os.fspath(folder).endswith("Bo"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", closed)
    assert "Permission denied" in left_out(tmp_path)["Bo"]
    with pytest.raises(Error, match="cannot be read"):
        list_folder(tmp_path / "Bo")


def test_a_folder_of_which_nothing_is_taken_says_why(tmp_path):
    touch(tmp_path, "Ada/1.heic", "Ada/2.heic")
    with pytest.raises(Error, match="2 files left out, the first: .*heic"):
        list_folder(tmp_path)


def test_one_person_in_two_forms_of_unicode_is_one_person(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{composed}/1.jpg", f"{apart}/2.jpg", "Ada/1.jpg")
    listing = list_folder(tmp_path)
    assert set(listing.people) == {"Ada", composed} and len(listing.by_person[composed]) == 2
    assert all(listing.path(name).is_file() for name in listing.names)
    assert len(listing.of([apart])) == 2


def test_a_table_finds_a_file_in_the_other_form_of_unicode(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Zoë/é.jpg") for form in ("NFC", "NFD"))
    touch(tmp_path, apart)
    (tmp_path / "list.csv").write_text(f"path,person\n{composed},Zoë\n")
    listing = list_table(tmp_path / "list.csv")
    assert listing.path(listing.names[0]).is_file()


def test_what_an_archiver_left_beside_the_people_is_no_second_folder(tmp_path):
    touch(tmp_path, "lfw/Ada/1.jpg", "__MACOSX/lfw/Ada/._1.jpg", "README.txt", ".DS_Store")
    assert people_folder(tmp_path) == tmp_path / "lfw"
    touch(tmp_path, "one/Ada/1.jpg", "one/Ada/more/2.jpg")
    assert people_folder(tmp_path / "one") == tmp_path / "one", "a person is not the folder of people"


def test_objects_that_would_be_passed_over_are_an_error(tmp_path):
    from PIL import Image

    (tmp_path / "cup").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "cup" / "1.jpg")
    touch(tmp_path, "cup/notes.txt")
    assert len(object_folder(tmp_path, size=16)) == 1
    touch(tmp_path, "cup/2.heic")
    with pytest.raises(Error, match=r"cup/2\.heic"):
        object_folder(tmp_path, size=16)
