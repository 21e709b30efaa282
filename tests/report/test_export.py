"""What R gets is what the run has: every row, every digit, every name; or one line and nothing at all."""

import csv
import dataclasses
import gzip
import hashlib
import json
import math
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from facelesion.cli import run as command
from facelesion.errors import Error
from facelesion.report import run_folder, tables
from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS
from facelesion.report.export import export_run

ODD = ["NA", "", "TRUE", "1.50", 'a "quoted", name', "two\nlines", "Ünï ☃", " spaces ", "-", "nan", "None"]


@pytest.fixture
def finished(tmp_path, table, manifest):
    """A run with trials for each of its conditions, and names that a careless reader would take for something else."""
    folder = tmp_path / "run"
    few = table[(table["draw"] < 2) & table["lesion"].isin(["none", "noise", "ablation"])]
    few = few[few["stimulus"].isin(["intact", "mask eyes"]) & few["task"].isin(["identification", "verification"])]
    few = few.assign(n=7).reset_index(drop=True)
    few.loc[few["task"] == "verification", ["chance", "ceiling"]] = np.nan
    generator = np.random.default_rng(0)
    keys = few[list(tables.CONDITION)].drop_duplicates()
    trials = keys.loc[keys.index.repeat(7)].reset_index(drop=True)
    count = len(trials)
    value = generator.normal(size=count).astype(np.float32) * np.float32(10.0) ** generator.integers(-20, 20, count)
    trials = trials.assign(
        trial=np.tile(np.arange(7), len(keys)), section="", item=[ODD[i % len(ODD)] for i in range(count)],
        person=[f"person {i % 7 // 2}" for i in range(count)], other="", target="NA",
        answer=generator.choice(ODD, count),
        value=value.astype(np.float32), right=generator.random(count) < 0.5,
        forced_choice=generator.random(count).astype(np.float32),
    )  # fmt: skip
    trials["dose"] += 0.1 + 0.2 - 0.30000000000000004
    run_folder.write_config(folder, {})
    run_folder.write_table(folder, few)
    run_folder.write_trials(folder, trials)
    run_folder.write_manifest(folder, manifest)
    return folder


def read_csv(path, columns):
    """A CSV as its description says, without any guess."""
    kinds = {"number": float, "whole": np.int64, "true or false": bool}
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for column in columns:
        cells = [row[column["name"]] for row in rows]
        if column["type"] == "true or false":
            assert set(cells) <= {"TRUE", "FALSE"}
            cells = [cell == "TRUE" for cell in cells]
        elif column["type"] == "number":
            cells = [math.nan if cell == "" else float(cell) for cell in cells]
        found[column["name"]] = np.array(cells, dtype=kinds.get(column["type"], object))
    return pd.DataFrame(found)


@pytest.mark.parametrize("to", ["csv", "csv.gz"])
def test_what_is_read_back_is_what_the_parquet_holds(finished, to):
    folder = export_run(finished, to=to)
    assert folder == finished / "csv"
    assert {path.name for path in folder.iterdir()} == {f"trials.{to}", f"table.{to}", "columns.json"}
    said = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
    for name in ("trials", "table"):
        stored = pd.read_parquet(finished / f"{name}.parquet")
        found = read_csv(folder / f"{name}.{to}", said["files"][f"{name}.{to}"]["columns"])
        assert list(found) == list(stored) and len(found) == len(stored) == said["files"][f"{name}.{to}"]["rows"]
        for column in stored:
            if stored[column].dtype == np.float32:
                assert (found[column].astype(np.float32) == stored[column]).all(), column
            else:
                assert found[column].tolist() == pytest.approx(stored[column].tolist(), rel=0, nan_ok=True) if (
                    stored[column].dtype == float
                ) else found[column].tolist() == stored[column].tolist(), column


def test_pandas_reads_it_as_the_page_says(finished):
    folder = export_run(finished)
    found = pd.read_csv(folder / "trials.csv", keep_default_na=False)
    stored = pd.read_parquet(finished / "trials.parquet")
    assert found["right"].dtype == bool and found["item"].tolist() == stored["item"].tolist()
    assert (found["value"].astype(np.float32) == stored["value"]).all()


def test_every_column_is_described_as_the_package_describes_it(finished):
    said = json.loads((export_run(finished) / "columns.json").read_text(encoding="utf-8"))
    for name, columns in (("trials", TRIAL_COLUMNS), ("table", TABLE_COLUMNS)):
        told = said["files"][f"{name}.csv"]["columns"]
        assert [(each["name"], each["type"], each["unit"], each["meaning"]) for each in told] == [
            (key, column.kind, column.unit, column.meaning) for key, column in columns.items()
        ]
        stored = pd.read_parquet(finished / f"{name}.parquet")
        for each in told:
            if columns[each["name"]].kind == "name":
                assert each["levels"] == list(dict.fromkeys(stored[each["name"]])), each["name"]
            else:
                assert "levels" not in each


def test_it_says_of_the_run_what_a_reader_needs(finished, manifest):
    folder = export_run(finished)
    said = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
    assert said["hashes"] == dict(manifest.hashes) and said["versions"] == dict(manifest.versions)
    assert said["command"] == manifest.command and said["participants"] == {"vgg_small": "3f2a9c01b7de"}
    assert said["lesions"]["noise"] == {
        "dose": "standard deviation of the noise", "doses": [0.25, 0.5, 1.0, 2.0, 4.0], "draws": 2,
        "sites": {"vgg_small": "conv4_3,conv5_1,conv5_2"},
    }  # fmt: skip
    measures = {each["task"]: each for each in said["measures"]}
    assert measures["verification"]["chance"] is None and measures["identification"]["chance"] == 0.025
    for name in ("trials", "table"):
        file = said["files"][f"{name}.csv"]
        assert file["sha256"] == hashlib.sha256((folder / f"{name}.csv").read_bytes()).hexdigest()
        source = (finished / file["made_from"]["file"]).read_bytes()
        assert file["made_from"]["sha256"] == hashlib.sha256(source).hexdigest()


def test_the_same_run_gives_the_same_bytes(finished, tmp_path):
    one, other = (export_run(finished, tmp_path / name, "csv.gz") for name in ("one", "other"))
    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def test_a_column_that_was_added_goes_along_and_is_said_to_be_none_of_a_study_s(finished):
    trials = pd.read_parquet(finished / "trials.parquet").assign(age=20)
    trials.to_parquet(finished / "trials.parquet")
    said = json.loads((export_run(finished) / "columns.json").read_text(encoding="utf-8"))
    last = said["files"]["trials.csv"]["columns"][-1]
    assert last["name"] == "age" and "added" in last["meaning"]
    assert pd.read_csv(finished / "csv" / "trials.csv", keep_default_na=False)["age"].eq(20).all()


def test_many_pieces_are_one_file(finished, tmp_path, monkeypatch):
    whole = export_run(finished, tmp_path / "whole")
    monkeypatch.setattr(tables, "PIECE", 11)
    pieces = export_run(finished, tmp_path / "pieces")
    for path in whole.iterdir():
        assert path.read_bytes() == (pieces / path.name).read_bytes(), path.name


def one_line(capsys, folder, *words, said):
    before = sorted(str(path) for path in folder.parent.rglob("*"))
    assert command(["export", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("facelesion: error: ") and error.count("\n") == 1 and said in error, error
    assert sorted(str(path) for path in folder.parent.rglob("*")) == before


class TestOneLineAndNothingWritten:
    @pytest.mark.parametrize("name", ["manifest.json", "table.parquet", "trials.parquet"])
    def test_an_unfinished_run(self, finished, capsys, name):
        (finished / name).unlink()
        one_line(capsys, finished, finished, said=f"has no {name}: run its study to the end first")

    def test_no_run_at_all(self, finished, capsys):
        one_line(capsys, finished, finished / "nowhere", said="no such folder")
        one_line(capsys, finished, finished / "table.parquet", said="no such folder")
        one_line(capsys, finished, finished.parent, said="has no manifest.json")

    def test_an_output_that_is_there(self, finished, capsys):
        (finished / "csv").mkdir()
        one_line(capsys, finished, finished, said="csv is there already: delete it, or choose another")
        one_line(capsys, finished, finished, "--out", finished / "config.yaml", said="is there already")
        one_line(capsys, finished, finished, "--out", finished / "config.yaml" / "deep", said="no folder")

    def test_a_format_that_there_is_not(self, finished, capsys):
        one_line(capsys, finished, finished, "--to", "xlsx", said="--to is 'xlsx'")
        with pytest.raises(Error, match="csv, csv.gz or psych-ds"):
            export_run(finished, to="xlsx")

    def test_files_that_are_none(self, finished, capsys):
        for name in ("trials.parquet", "table.parquet", "manifest.json"):
            kept = (finished / name).read_bytes()
            for wrong in (b"", b"PAR1 and then something else", kept[: len(kept) // 2]):
                (finished / name).write_bytes(wrong)
                one_line(capsys, finished, finished, said=name)
            (finished / name).write_bytes(kept)

    def test_tables_that_were_edited(self, finished, capsys):
        kept = pd.read_parquet(finished / "trials.parquet")
        more = kept.tail(7).assign(lesion="boise")
        edits = [
            ("lacks value", kept.drop(columns="value")),
            ("column right", kept.assign(right="yes")),
            ("not finite", kept.assign(value=np.nan)),
            ("twice", pd.concat([kept, kept.tail(1)])),
            ("has 6 trials here and 7 there", kept.iloc[:-1]),
            ("has 0 trials here and 7 there", kept[kept.lesion != "noise"]),
            ("has 7 trials here and 0 there", pd.concat([kept, more])),
        ]
        for said, edited in edits:
            edited.to_parquet(finished / "trials.parquet")
            one_line(capsys, finished, finished, said=said)
        kept.to_parquet(finished / "trials.parquet")
        table = pd.read_parquet(finished / "table.parquet")
        table.assign(n=0).to_parquet(finished / "table.parquet")
        one_line(capsys, finished, finished, said="column n")

    def test_a_write_that_fails_leaves_no_scraps(self, finished, monkeypatch):
        def fails(*given):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(hashlib, "file_digest", fails)  # while the files are being made
        before = sorted(finished.rglob("*"))
        with pytest.raises(OSError):
            export_run(finished)
        assert sorted(finished.rglob("*")) == before


@pytest.mark.slow
def test_the_command_says_where_it_wrote(finished, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "facelesion", "export", str(finished), "--to", "csv.gz",
         "--out", str(tmp_path / "for R")], capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "for R")), done.stderr
    assert (tmp_path / "for R" / "trials.csv.gz").is_file()


def faults(folder):
    """What of Psych-DS' rules a folder breaks: those of its schema 1.5.1 that are errors, and of schema.org's types."""
    found = []
    described = json.loads((folder / "dataset_description.json").read_text(encoding="utf-8"))
    found += [f"no {key}" for key in ("name", "description", "variableMeasured") if not described.get(key)]
    found += ["context"] if described.get("@context") != "https://schema.org/" else []
    found += ["type"] if described.get("@type") != "Dataset" else []
    files = sorted((folder / "data").rglob("*.csv"))
    found += ["no data"] if not files else []
    columns = set()
    for path in files:
        if not re.fullmatch(r"([a-z]+-[a-zA-Z0-9]+)(_[a-z]+-[a-zA-Z0-9]+)*_data\.csv", path.name):
            found.append(f"name {path.name}")
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        found += [f"{path.name}: a row of another length"] if any(len(row) != len(header) for row in rows) else []
        found += [f"{path.name}: repeated columns"] if len(set(header)) != len(header) else []
        sidecar = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        found += [f"{path.name}: sidecar"] if names_of(sidecar) != header else []
        columns |= set(header)
    if set(names_of(described)) != columns or len(names_of(described)) != len(columns):
        found.append("variables and columns differ")
    # Of schema.org: what a data set and a variable may have.
    dataset = {"@context", "@type", "name", "description", "schemaVersion", "measurementTechnique", "keywords",
               "creditText", "variableMeasured", "dateCreated"}  # fmt: skip
    found += [f"property {key}" for key in set(described) - dataset]
    for each in described["variableMeasured"]:
        found += ["a variable's type"] if each["@type"] != "PropertyValue" else []
        found += [f"a variable's {key}" for key in set(each) - {"@type", "name", "description", "unitText"}]
    return found


def names_of(described):
    return [each["name"] for each in described["variableMeasured"]]


def test_a_psych_ds_data_set_keeps_its_rules_and_has_the_same_tables(finished):
    plain, made = export_run(finished), export_run(finished, to="psych-ds")
    assert made == finished / "psych-ds" and faults(made) == []
    for name, level in (("trials", "trials"), ("table", "conditions")):
        data = made / "data" / f"study-default_description-{level}_data.csv"
        assert data.read_bytes() == (plain / f"{name}.csv").read_bytes()
    told = json.loads((made / "documentation" / "columns.json").read_text(encoding="utf-8"))
    assert set(told["files"]) == {path.relative_to(made).as_posix() for path in made.rglob("*.csv")}
    assert {path.name for path in made.iterdir()} == {
        "dataset_description.json", "README.md", "CHANGES.md", "data", "documentation", "materials",
    }  # fmt: skip


def test_every_variable_of_a_data_set_says_what_it_is(finished):
    made = export_run(finished, to="psych-ds")
    described = json.loads((made / "dataset_description.json").read_text(encoding="utf-8"))
    meanings = {each["name"]: each["description"] for each in described["variableMeasured"]}
    for columns in (TRIAL_COLUMNS, TABLE_COLUMNS):
        assert all(column.meaning in meanings[name] for name, column in columns.items() if name in meanings)
    units = {each["name"]: each.get("unitText") for each in described["variableMeasured"]}
    assert units["forced_choice"] == "share" and units["right"] is None


def test_what_breaks_the_rules_of_psych_ds_would_be_found(finished):
    made = export_run(finished, to="psych-ds")
    (trials,) = made.glob("data/*trials_data.csv")
    trials.rename(trials.with_name("trials.csv"))
    trials.with_suffix(".json").rename(made / "data" / "trials.json")
    description = json.loads((made / "dataset_description.json").read_text(encoding="utf-8"))
    description["variableMeasured"].pop()
    del description["@context"]
    (made / "dataset_description.json").write_text(json.dumps(description))
    assert faults(made) == ["context", "name trials.csv", "variables and columns differ"]


@pytest.mark.parametrize("study", ["face units, 2", "Ünï ☃", "☃", "a_b-c.d"])
def test_a_study_s_name_never_breaks_a_file_s(finished, manifest, study):
    run_folder.write_manifest(finished, dataclasses.replace(manifest, study=study))
    assert faults(export_run(finished, to="psych-ds")) == []


def test_the_command_line_makes_a_data_set(finished, capsys):
    assert command(["export", str(finished), "--to", "psych-ds"]) == 0
    assert capsys.readouterr().out == f"{finished / 'psych-ds'}\n"
