"""LFW: its folder, its archive, its protocols."""

import tarfile

import pytest

from facelesion.data import lfw as lfw_module
from facelesion.data.lfw import download_lfw, open_lfw, read_pairs, read_people
from facelesion.errors import FacelesionError

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
    with pytest.raises(FacelesionError, match=r"pairs\.txt.*missing"):
        open_lfw(small).pair_folds()
    with pytest.raises(FacelesionError, match="none of LFW's protocol files"):
        open_lfw(small, protocols=small)
    with pytest.raises(FacelesionError, match="no such folder of LFW"):
        open_lfw(small, protocols=tmp_path / "nowhere")


def test_wrong_roots_say_what_is_wrong(tmp_path):
    with pytest.raises(FacelesionError, match="no such folder or archive"):
        open_lfw(tmp_path / "nowhere")
    with pytest.raises(FacelesionError, match="no photographs"):
        open_lfw(tmp_path)
    (tmp_path / "letter.txt").write_text("no archive")
    with pytest.raises(FacelesionError, match="neither a folder nor"):
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
    with pytest.raises(FacelesionError, match="get it again"):
        read_pairs(tmp_path / "file.txt")
    with pytest.raises(FacelesionError, match="again"):
        read_people(tmp_path / "file.txt")


def test_binary_protocol_files_are_refused(tmp_path):
    (tmp_path / "file.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(FacelesionError, match="cannot be read as text"):
        read_pairs(tmp_path / "file.txt")


def test_without_a_network_a_download_ends_in_one_line_that_names_the_address(tmp_path, monkeypatch):
    name, _, known = lfw_module._ARCHIVES["funneled"]
    monkeypatch.setitem(lfw_module._ARCHIVES, "funneled", (name, "http://127.0.0.1:9/lfw.tgz", known))
    with pytest.raises(FacelesionError, match=r"127\.0\.0\.1:9.*give the path") as caught:
        download_lfw(folder=tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(FacelesionError, match="no variant"):
        download_lfw("frontal", folder=tmp_path)


def test_a_download_that_is_not_what_it_should_be_is_refused(tmp_path, monkeypatch, web):
    name, _, known = lfw_module._ARCHIVES["funneled"]
    web.file("/source.tgz", b"tampered with")
    monkeypatch.setitem(lfw_module._ARCHIVES, "funneled", (name, f"{web.address}/source.tgz", known))
    with pytest.raises(FacelesionError, match="another hash"):
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
