"""Listing photographs: folders of people and tables; names are only names."""

import os
from pathlib import Path

import pandas as pd
import pytest

from facelesion.data.listing import Listing, list_folder, list_table
from facelesion.errors import Error


@pytest.fixture
def folder(tmp_path):
    for name in (
        "Bo/1.jpg",
        "Bo/2.PNG",
        "Ada/1.jpg",
        "Zoë 王/1.jpeg",
        "Ada/notes.txt",
        "Ada/.hidden.jpg",
        ".git/1.jpg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_of_people_is_listed_in_order_of_names(folder):
    listing = list_folder(folder)
    assert listing.names == ("Ada/1.jpg", "Bo/1.jpg", "Bo/2.PNG", "Zoë 王/1.jpeg")
    assert listing.people == ("Ada", "Bo", "Bo", "Zoë 王")
    assert listing.path("Bo/1.jpg") == folder / "Bo/1.jpg"


def test_a_folder_named_like_a_photograph_is_listed_so_that_reading_reports_it(folder):
    (folder / "Bo" / "3.jpg").mkdir()
    assert "Bo/3.jpg" in list_folder(folder).names


def test_folders_that_hold_no_people_say_what_is_wrong(tmp_path):
    with pytest.raises(Error, match="no such folder"):
        list_folder(tmp_path / "nowhere")
    with pytest.raises(Error, match="empty"):
        list_folder(tmp_path)
    (tmp_path / "loose.jpg").touch()
    with pytest.raises(Error, match="folder of their own"):
        list_folder(tmp_path)


def test_people_without_photographs_are_named(folder):
    with pytest.raises(Error, match="'Cyd'"):
        list_folder(folder).of(["Cyd"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_listed_in_their_own_order(tmp_path, suffix):
    rows = pd.DataFrame({"path": ["b/2.jpg", "a/1.jpg"], "person": ["007", "NA"], "age": [1, 2]})
    table = tmp_path / f"list.{suffix}"
    rows.to_csv(table, index=False) if suffix == "csv" else rows.to_parquet(table)
    listing = list_table(table)
    assert listing == Listing(tmp_path, ("b/2.jpg", "a/1.jpg"), ("007", "NA"))


def test_an_absolute_path_below_the_root_is_made_relative(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(f"path,person\n{tmp_path / 'a' / '1.jpg'},Ada\n")
    assert list_table(table).names == ("a/1.jpg",)


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/passwd", "a/../../x.jpg", "..\\x.jpg", ""])
def test_no_row_of_a_table_leads_out_of_the_root(tmp_path, path):
    table = tmp_path / "list.csv"
    table.write_text(f"path,person\n{path},Ada\n")
    with pytest.raises(Error, match="outside"):
        list_table(table)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"path,name\na.jpg,Ada\n", "no column 'person'"),
        (b"path,person\n", "no rows"),
        (b"path,person\na.jpg,  \n", "row 1 names no person"),
        (b"path,person\na.jpg,Ada\na.jpg,Bo\n", "listed twice"),
        (b"\xff\xfe\x00binary", "not a readable"),
        (b"", "not a readable"),
    ],
)
def test_tables_that_cannot_be_meant_say_what_is_wrong(tmp_path, content, word):
    table = tmp_path / "list.csv"
    table.write_bytes(content)
    with pytest.raises(Error, match=word) as caught:
        list_table(table)
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_an_error(tmp_path):
    with pytest.raises(Error, match="no such table"):
        list_table(Path(tmp_path / "nowhere.csv"))


def test_names_in_no_encoding_are_listed_split_and_digested(tmp_path):
    import torch

    from facelesion.data import ImageSet
    from facelesion.data.splits import split

    for person in (b"Zo\xeb", b"\xff\xfe"):
        folder = os.fsencode(tmp_path) + b"/" + person
        try:
            os.mkdir(folder)
        except OSError:
            pytest.skip("this file system takes only names in Unicode")
        for number in range(3):
            with open(folder + b"/%d.jpg" % number, "wb"):
                pass
    listing = list_folder(tmp_path)
    assert len(listing) == 6
    pictures = ImageSet(torch.zeros(6, 3, 8, 8, dtype=torch.uint8), listing.people, listing.names)
    assert len(pictures.digest) == 12
    assert len(split(listing, {"train": 0.5, "test": 0.5})["train"]) == 3


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, "", "  "])
def test_a_row_of_a_parquet_table_without_a_person_or_a_path_is_refused(tmp_path, missing):
    table = tmp_path / "list.parquet"
    pd.DataFrame({"path": ["a.jpg", "b.jpg"], "person": pd.array(["Ada", missing], dtype=object)}).to_parquet(
        table
    )
    with pytest.raises(Error, match="row 2 names no person"):
        list_table(table)
    pd.DataFrame({"path": pd.array(["a.jpg", missing], dtype=object), "person": ["Ada", "Bo"]}).to_parquet(
        table
    )
    with pytest.raises(Error, match="row 2 names no path|outside"):
        list_table(table)


def test_people_by_number_are_people_unless_a_number_is_missing(tmp_path):
    table = tmp_path / "list.parquet"
    pd.DataFrame({"path": ["a.jpg", "b.jpg"], "person": [7, 8]}).to_parquet(table)
    assert list_table(table).people == ("7", "8")
    pd.DataFrame({"path": ["a.jpg", "b.jpg"], "person": [7, None]}).to_parquet(table)
    with pytest.raises(Error, match=r"row 1 has 7\.0|row 2 names no person"):
        list_table(table)


@pytest.mark.parametrize("person", [["Ada"], {"name": "Ada"}, True, 1.5, pd.Timestamp("2020-01-01")])
def test_people_that_are_no_text_are_refused(tmp_path, person):
    table = tmp_path / "list.parquet"
    pd.DataFrame({"path": ["a.jpg"], "person": [person]}).to_parquet(table)
    with pytest.raises(Error, match="row 1 has"):
        list_table(table)


def test_people_kept_as_bytes_or_categories_are_read_as_text(tmp_path):
    for people in (pd.array([b"Zo\xc3\xab"], dtype=object), pd.Categorical(["Zoë"])):
        pd.DataFrame({"path": ["a.jpg"], "person": people}).to_parquet(tmp_path / "list.parquet")
        assert list_table(tmp_path / "list.parquet").people == ("Zoë",)


def test_a_row_of_a_csv_that_ends_early_is_refused(tmp_path):
    (tmp_path / "list.csv").write_text("path,person\na.jpg,Ada\nb.jpg\n")
    with pytest.raises(Error, match="row 2 names no person"):
        list_table(tmp_path / "list.csv")


def test_marks_of_encoding_and_of_lines_are_no_part_of_a_table(tmp_path):
    for content in (
        b"\xef\xbb\xbfpath,person\r\na.jpg,Ada \r\nb.jpg,Ada\r\n",
        b'\xef\xbb\xbf"path" , "person"\na.jpg,Ada\t\nb.jpg, Ada\n',
    ):
        (tmp_path / "list.csv").write_bytes(content)
        listing = list_table(tmp_path / "list.csv")
        assert listing.names == ("a.jpg", "b.jpg") and listing.people == ("Ada", "Ada")


def test_names_too_long_for_any_file_are_files_that_are_not_there(tmp_path):
    with pytest.raises(Error, match="no such table"):
        list_table(tmp_path / ("a" * 300))
    with pytest.raises(Error, match="no such folder"):
        list_folder(tmp_path / ("a" * 300))
    (tmp_path / "list.csv").write_text(f"path,person\n{'ë' * 300}.jpg,Ada\n")
    assert len(list_table(tmp_path / "list.csv")) == 1


@pytest.mark.parametrize("row", ["a.jpg,Ada,extra", "a.jpg,Lovelace, Ada", "a.jpg,Ada,,"])
def test_a_row_with_a_comma_too_many_is_not_read_one_column_farther_on(tmp_path, row):
    for content in (f"path,person\n{row}\n", f"path,person\nb.jpg,Bo\n{row}\n"):
        (tmp_path / "list.csv").write_text(content)
        with pytest.raises(Error, match="not a readable"):
            list_table(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text('path,person\na.jpg,"Lovelace, Ada"\n')
    assert list_table(tmp_path / "list.csv").people == ("Lovelace, Ada",)
