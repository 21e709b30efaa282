"""LFW: its folder, its archive, its protocols."""

import tarfile

import pytest

from facelesion.data import lfw as lfw_module
from facelesion.data.lfw import download_lfw, open_lfw, read_pairs, read_people
from facelesion.errors import Error

PEOPLE = {"Ada_Lovelace": 3, "Bo_Diddley": 2, "Cy_Twombly": 1}
PAIRS = "2\nAda_Lovelace\t1\t3\nBo_Diddley\t1\t2\nAda_Lovelace\t1\tBo_Diddley\t2\nCy_Twombly\t1\tAda_Lovelace\t2\n"


@pytest.fixture
def small(tmp_path):
    """A little LFW: `<tmp>/data/lfw/<name>/<name>_0001.jpg`, protocols beside it."""
    root = tmp_path / "data" / "lfw"
    for person, count in PEOPLE.items():
        (root / person).mkdir(parents=True)
        for number in range(count):
            (root / person / f"{person}_{number + 1:04d}.jpg").write_bytes(b"jpeg")
    (tmp_path / "data" / "pairsDevTest.txt").write_text(PAIRS)
    (tmp_path / "data" / "peopleDevTest.txt").write_text("2\nAda_Lovelace\t3\nNot_On_Disk\t5\n")
    return root


def test_the_folder_is_found_directly_one_level_down_and_in_its_archive(small, tmp_path, monkeypatch):
    monkeypatch.setenv("FACELESION_CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "data" / "lfw.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(small, "lfw")
    # Around the folder there is also its archive; the folder of people is still the only folder.
    for given in (small, small.parent, archive):
        opened = open_lfw(given)
        assert opened.photographs.by_person.keys() == PEOPLE.keys()
        assert len(opened.pairs("test")) == 4


def test_pairs_name_photographs_and_come_in_equal_halves(small):
    pairs = open_lfw(small).pairs("test")
    assert [pair.same for pair in pairs] == [True, True, False, False]
    assert pairs[0].first == "Ada_Lovelace/Ada_Lovelace_0001.jpg"
    assert pairs[0].second == "Ada_Lovelace/Ada_Lovelace_0003.jpg"
    assert pairs[3].first == "Cy_Twombly/Cy_Twombly_0001.jpg"


def test_a_part_holds_the_photographs_of_its_people_who_are_there(small):
    opened = open_lfw(small)
    assert opened.people("test") == ("Ada_Lovelace", "Not_On_Disk")
    assert set(opened.part("test").people) == {"Ada_Lovelace"} and len(opened.part("test")) == 3


def test_missing_protocols_say_where_they_belong(small, tmp_path):
    with pytest.raises(Error, match=r"pairs\.txt.*missing"):
        open_lfw(small).pair_folds()
    with pytest.raises(Error, match="none of LFW's protocol files"):
        open_lfw(small, protocols=small)
    with pytest.raises(Error, match="no such folder of LFW"):
        open_lfw(small, protocols=tmp_path / "nowhere")


def test_wrong_roots_say_what_is_wrong(tmp_path):
    with pytest.raises(Error, match="no such folder or archive"):
        open_lfw(tmp_path / "nowhere")
    with pytest.raises(Error, match="no photographs"):
        open_lfw(tmp_path)
    (tmp_path / "letter.txt").write_text("no archive")
    with pytest.raises(Error, match="neither a folder nor"):
        open_lfw(tmp_path / "letter.txt")


def test_view_two_files_have_folds(tmp_path):
    (tmp_path / "people.txt").write_text("2\n2\nA\t1\nB\t2\n1\nC\t1\n")
    assert read_people(tmp_path / "people.txt") == (("A", "B"), ("C",))
    (tmp_path / "pairs.txt").write_text("2\t1\nA\t1\t2\nA\t1\tB\t1\nB\t1\t2\nB\t1\tA\t1\n")
    pairs = read_pairs(tmp_path / "pairs.txt")
    assert [(pair.same, pair.fold) for pair in pairs] == [(True, 0), (False, 0), (True, 1), (False, 1)]


@pytest.mark.parametrize(
    "text", ["", "x", "3\nA\t1\t2\n", "1\nA\t1\t2\nA\t1\t2\n", "1\nA\t1\tx\nA\t1\tB\t1\n"]
)
def test_damaged_protocol_files_are_refused(tmp_path, text):
    (tmp_path / "file.txt").write_text(text)
    with pytest.raises(Error, match="get it again"):
        read_pairs(tmp_path / "file.txt")
    with pytest.raises(Error, match="again"):
        read_people(tmp_path / "file.txt")


def test_binary_protocol_files_are_refused(tmp_path):
    (tmp_path / "file.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(Error, match="cannot be read as text"):
        read_pairs(tmp_path / "file.txt")


def test_without_a_network_a_download_ends_in_one_line_that_names_the_address(tmp_path, monkeypatch):
    name, _, known = lfw_module.ARCHIVES["funneled"]
    monkeypatch.setitem(lfw_module.ARCHIVES, "funneled", (name, "http://127.0.0.1:9/lfw.tgz", known))
    with pytest.raises(Error, match=r"127\.0\.0\.1:9.*give the path") as caught:
        download_lfw(folder=tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(Error, match="no variant"):
        download_lfw("frontal", folder=tmp_path)


def test_a_download_that_is_not_what_it_should_be_is_refused(tmp_path, monkeypatch, web):
    name, _, known = lfw_module.ARCHIVES["funneled"]
    web.file("/source.tgz", b"tampered with")
    monkeypatch.setitem(lfw_module.ARCHIVES, "funneled", (name, f"{web.address}/source.tgz", known))
    with pytest.raises(Error, match="another hash"):
        download_lfw(folder=tmp_path / "cache")
    assert not (tmp_path / "cache" / name).exists()


@pytest.mark.shared
def test_the_real_protocols_are_those_of_the_paper_and_keep_people_apart(lfw, shared):
    opened = open_lfw(lfw, shared / "data")
    train, test = opened.people("train"), opened.people("test")
    assert (len(train), len(test)) == (4038, 1711) and not set(train) & set(test)
    assert len(opened.photographs) == 13233 and len(opened.photographs.by_person) == 5749
    folds = opened.pair_folds()
    assert len(folds) == 6000 and {pair.fold for pair in folds} == set(range(10))
    everybody = opened.people_folds()
    assert sum(map(len, everybody)) == len(set().union(*everybody)) == 5749
    known = set(opened.photographs.names)
    for pairs in (opened.pairs("train"), opened.pairs("test"), folds):
        assert sum(pair.same for pair in pairs) * 2 == len(pairs)
        assert all(pair.first in known and pair.second in known for pair in pairs)
    tested = {pair.first.split("/")[0] for pair in opened.pairs("test")}
    assert tested <= set(test)


ENCODED = {
    "a mark at the beginning": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "lines ended as on Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "trailing tabs": lambda text: text.replace("\n", "\t\n").encode(),
    "trailing blanks and empty lines": lambda text: text.replace("\n", " \t \n\n").encode(),
    "blanks around tabs": lambda text: text.replace("\t", " \t ").encode(),
    "all of it": lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\t\t\r\n").encode() + b"\t\r\n",
}


@pytest.mark.parametrize("way", ENCODED)
def test_marks_and_blanks_change_no_protocol(tmp_path, way):
    file = tmp_path / "file.txt"
    file.write_text(PAIRS)
    pairs = read_pairs(file)
    file.write_bytes(ENCODED[way](PAIRS))
    assert read_pairs(file) == pairs and len(pairs) == 4
    file.write_bytes(ENCODED[way]("2\n2\nAda L\t1\nB\t2\n1\nC\t1\n"))
    assert read_people(file) == (("Ada L", "B"), ("C",))


@pytest.mark.parametrize("head", ["0", "-1", "2\t0", "2\t-2", "1\t2\t3", "\t", "10 300 x"])
def test_a_pairs_file_that_promises_nothing_is_refused(tmp_path, head):
    (tmp_path / "file.txt").write_text(f"{head}\nA\t1\t2\n")
    with pytest.raises(Error, match="get it again"):
        read_pairs(tmp_path / "file.txt")


def test_a_damaged_pair_is_named_by_its_number(tmp_path):
    (tmp_path / "file.txt").write_text(PAIRS.replace("Bo_Diddley\t1\t2", "Bo_Diddley\t1", 1))
    with pytest.raises(Error, match="pair 2 is 'Bo_Diddley 1'"):
        read_pairs(tmp_path / "file.txt")


def test_a_people_file_of_nobody_is_refused(tmp_path):
    (tmp_path / "file.txt").write_text("0\n")
    with pytest.raises(Error, match="names nobody"):
        read_people(tmp_path / "file.txt")


def test_protocols_and_photographs_in_other_forms_of_unicode_meet(tmp_path):
    import unicodedata

    import torch

    from facelesion.data import ImageSet
    from facelesion.data.pairs import find_pairs

    apart = unicodedata.normalize("NFD", "Zoë")
    for number in (1, 2):
        (tmp_path / "lfw" / apart).mkdir(parents=True, exist_ok=True)
        (tmp_path / "lfw" / apart / f"{apart}_{number:04d}.jpg").touch()
    (tmp_path / "lfw" / "Bo").mkdir()
    (tmp_path / "lfw" / "Bo" / "Bo_0001.jpg").touch()
    (tmp_path / "peopleDevTest.txt").write_text("1\nZoë\t2\n", encoding="utf-8")
    (tmp_path / "pairsDevTest.txt").write_text("1\nZoë\t1\t2\nZoë\t1\tBo\t1\n", encoding="utf-8")
    opened = open_lfw(tmp_path / "lfw")
    assert len(opened.part("test")) == 2
    here = opened.photographs
    pictures = ImageSet(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), here.people, here.names)
    pairs, missing = find_pairs(pictures, opened.pairs("test"))
    assert len(pairs) == 2 and not missing


def test_names_too_long_for_any_file_are_not_there(tmp_path, small):
    with pytest.raises(Error, match="no such folder or archive"):
        open_lfw("a" * 300)
    with pytest.raises(Error, match="no such folder of LFW"):
        open_lfw(small, protocols="a" * 300)
