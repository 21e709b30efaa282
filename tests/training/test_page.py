"""A training run ends with its table and the path of a page that shows it, whichever way it was started."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas
import pytest

from facelesion.cli import run
from facelesion.train import main
from facelesion.training import RECIPES, Recipe
from facelesion.training.page import table_in_words, write_page

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--data.people", "8", "--data.pictures", "4", "--data.stimuli", "[intact]", "--data.tests", "[intact, invert]",
    "--epochs", "1", "--run.progress", "false", "--run.accelerator", "cpu", "--trained", "head",
]  # fmt: skip
CONFIG = str(ROOT / "configs" / "notebook" / "healthy.yaml")


@pytest.mark.parametrize("started", [lambda words: run(["train", *words]), main])
def test_a_run_ends_with_its_table_what_it_made_and_its_page(started, tmp_path, tiny, capsys):
    folder = tmp_path / "run"
    assert started(["--config", CONFIG, *SMALL, "--network", tiny, "--run.folder", str(folder)]) == 0
    *table, made, page = capsys.readouterr().out.splitlines()
    assert made == str(folder / "weights.safetensors") and page == str(folder / "training.html")
    tests = pandas.read_csv(folder / "tests.csv")
    assert "accuracy" in table[-1 - len(tests)]
    for line, (_, row) in zip(table[-len(tests) :], tests.iterrows(), strict=True):
        assert row["stimulus"] in line and f"{row['accuracy']:.3f}".rstrip("0") in line


def test_the_page_shows_table_curves_and_settings_and_needs_no_other_file(tmp_path, tiny):
    folder = tmp_path / "run"
    assert run(["train", CONFIG, *SMALL, "--network", tiny, "--run.folder", str(folder)]) == 0
    page = (folder / "training.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>([\w.]+)</h2>", page) == ["tests.csv", "log.csv", "curves.png", "Settings"]
    assert "data:image/png;base64," in page and "val loss" in page and "invert" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    started = json.loads((folder / "settings.json").read_text())["started_from"]
    assert f"<code>{started}</code>" in page


def test_both_commands_offer_the_same_list(capsys):
    assert run(["train", "--help"]) == 0
    told = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == told
    assert all(re.search(rf"^  {name} ", told, re.M) and recipe.words in told for name, recipe in RECIPES.items())


def test_a_recipe_of_one_s_own_needs_no_table(tmp_path):
    assert table_in_words(tmp_path, "") == ""
    page = write_page(tmp_path, "mine", Recipe("<b>means</b> & more", lambda: (dict, lambda settings: tmp_path)))
    assert "&lt;b&gt;means&lt;/b&gt; &amp; more" in page.read_text(encoding="utf-8")


def test_a_table_is_shown_without_its_origins_and_what_is_long_is_cut(tmp_path):
    frame = pandas.DataFrame({"dose": range(30), "weights": "abc", "right": [1 / 3] * 30})
    frame.to_csv(tmp_path / "found.csv", index=False)
    told = table_in_words(tmp_path, "found.csv").splitlines()
    assert told[0].split() == ["dose", "right"] and told[1].split() == ["0", "0.333"]
    assert len(told) == 26 and told[-1] == f"… 6 rows more in {tmp_path / 'found.csv'}"
    (tmp_path / "reached.json").write_text('{"pairs_accuracy": 0.9, "pairs": 10}')
    assert table_in_words(tmp_path, "reached.json").splitlines()[1].split() == ["pairs", "accuracy", "0.9"]


@pytest.mark.parametrize("words", [["train"], ["train", "--recipe", "none"], ["train", "--epochs", "3"]])
def test_a_mistake_is_one_line(words, capsys):
    assert run(words) == 2
    told = capsys.readouterr().err
    assert told.startswith("facelesion: error: no recipe") and told.count("\n") == 1
