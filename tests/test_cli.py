"""The command line: what it says when all is well, and one clear line when it is not."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from facelesion.cli import COMMANDS, run
from facelesion.data import SOURCES
from facelesion.engines.words import ENGINES
from facelesion.fields import fields_of
from facelesion.study import Study
from facelesion.train import main as train
from facelesion.training import RECIPES
from facelesion.training.run import RunConfig

ROOT = Path(__file__).resolve().parents[1]

STUDY = """
name: tiny
participants: [untrained]
stimuli: [intact]
pictures: {training_people: 4, training_pictures: 2, enrolled_people: 3}
lesions:
  ablation:
    - {kind: Ablate, site: conv5_3, fraction: [0.5]}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def refused(capsys, *words: str) -> str:
    """The one line of an error, after checking that it is one, and that the exit status is 2."""
    assert run(list(words)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("facelesion: error: ")
    assert "Traceback" not in "".join(lines)
    return lines[-1]


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"facelesion {name}" in said for name in COMMANDS)


def test_an_unknown_command_is_named(capsys):
    assert "no command 'lesion'" in refused(capsys, "lesion")


def test_a_config_that_is_not_there(capsys, tmp_path):
    assert "no config file at" in refused(capsys, "study", str(tmp_path / "absent.yaml"))


def test_a_config_with_a_wrong_key_names_the_key(capsys, config):
    config.write_text(STUDY + "drawz: 3\n")
    assert "drawz" in refused(capsys, "study", str(config))
    config.write_text(STUDY.replace("training_people", "training_poeple"))
    assert "training_poeple" in refused(capsys, "study", str(config))


def test_a_value_of_the_wrong_kind_names_its_key(capsys, config):
    assert "draws" in refused(capsys, "study", str(config), "--draws", "many")


def test_a_site_that_does_not_exist_is_found_before_any_work(capsys, config):
    config.write_text(STUDY.replace("conv5_3", "conv5_4"))
    assert "conv5_3" in refused(capsys, "study", str(config))
    assert not (config.parent / "runs").exists()


def test_an_unknown_stimulus_is_named(capsys, config):
    config.write_text(STUDY.replace("[intact]", "[intact, mask ears]"))
    assert "ears" in refused(capsys, "study", str(config))


def test_a_network_that_does_not_exist(capsys, config):
    assert "nobody.safetensors" in refused(capsys, "study", str(config), "--participants", "[nobody.safetensors]")


def test_a_folder_of_photographs_that_does_not_exist(capsys, config, tmp_path):
    said = refused(capsys, "study", str(config), "--pictures.source", "lfw", "--pictures.root", str(tmp_path / "lfw"))
    assert "lfw" in said


def test_the_faces_of_the_face_space_are_drawn(capsys, config):
    assert run(["faces", "--people", "2", "--pictures", "3", "--out", "sheet.png"]) == 0
    from PIL import Image

    with Image.open(config.parent / "sheet.png") as sheet:
        assert sheet.size[0] >= 3 * 112 and sheet.size[1] >= 2 * 112


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("nowhere/x.png", "nowhere/x.png: no folder nowhere"),
        ("x.foo", "x.foo: .foo is no kind of picture"),
        ("sheet", "no ending is no kind of picture"),
        ("x.xbm", "x.xbm: not written"),
        (".", "is a folder: give a file in it"),
    ],
)
def test_faces_that_cannot_be_written_there_are_refused_and_nothing_is_written(capsys, config, out, words):
    before = sorted(config.parent.rglob("*"))
    assert words in refused(capsys, "faces", "--people", "1", "--pictures", "2", "--out", out)
    assert sorted(config.parent.rglob("*")) == before


def test_sites_are_listed(capsys):
    assert run(["sites", "untrained"]) == 0
    assert "conv5_3" in capsys.readouterr().out


def test_the_help_of_sites_promises_what_it_prints(capsys):
    with pytest.raises(SystemExit):
        run(["sites", "--help"])
    said = capsys.readouterr().out
    assert "Name the places" in said and "how many" not in said


def test_importing_facelesion_is_quick():
    """Nothing heavy is imported with the package: not even torch."""
    code = "import sys, facelesion; print([m for m in ('torch', 'mediapipe', 'cv2', 'pandas') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


class Parsed(BaseException):
    """A command's words were read, and nothing is done with them."""


@pytest.fixture
def only_read(monkeypatch):
    """Commands read their words, as far as settings go, and stop there."""
    from facelesion import arguments, cli
    from facelesion.settings import build
    from facelesion.study import Study
    from facelesion.study.design import study_of

    read = arguments.read_words

    def stop(target, argv, prog, config=False):
        words = read(target, argv, prog, config)
        study_of(words) if target is Study else build(target, words)
        raise Parsed

    monkeypatch.setattr(arguments, "read_words", stop)
    monkeypatch.setattr(cli, "read_words", stop)


WEIGHTS = [("weights", action) for action in ("convert", "verify", "list", "fetch", "path")]
HUB = [("hub", "push"), ("hub", "fetch")]
CALLS = [(name,) for name in COMMANDS if name not in ("weights", "hub", "train")] + WEIGHTS + HUB  # recipes: below


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_the_help_of_a_command_shows_an_example_whose_words_are_understood(call, capsys, monkeypatch, only_read):
    if call in HUB:
        pytest.importorskip("huggingface_hub", reason="the extra [hub] is not installed")
    with pytest.raises(SystemExit):
        run([*call, "--help"])
    (example,) = re.findall(r"^example: facelesion (.*)$", capsys.readouterr().out, re.M)
    words = shlex.split(example)
    assert tuple(words[: len(call)]) == call
    with pytest.raises(Parsed):
        run(words)


@pytest.mark.parametrize("name", RECIPES)
def test_the_help_of_a_recipe_shows_an_example_whose_words_are_understood(name, capsys, monkeypatch, only_read):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        train(["--recipe", name, "--help"])
    (example,) = re.findall(r"^example: python -m facelesion.train (.*)$", capsys.readouterr().out, re.M)
    with pytest.raises(Parsed):
        train(shlex.split(example))


def test_an_example_that_is_not_understood_would_be_noticed(capsys, only_read):
    refused(capsys, "faces", "--peopel", "4")


def test_the_help_of_a_study_names_every_setting_of_every_source(capsys):
    with pytest.raises(SystemExit):
        run(["study", "--help"])
    shown = capsys.readouterr().out
    assert "--pictures.source\n" in shown and "facespace when left out" in shown
    for name, source in SOURCES.items():
        for setting in fields_of(source):
            of_all = f"  --pictures.{setting.name}\n"
            of_its_own = f"  --pictures.{setting.name} (with --pictures.source {name})\n"
            assert of_all in shown or of_its_own in shown


@pytest.mark.parametrize("target", [Study, *SOURCES.values(), *ENGINES.values(), RunConfig])
def test_every_setting_says_what_it_is_for_whichever_class_it_comes_from(target):
    assert [setting.name for setting in fields_of(target) if not setting.doc] == []
