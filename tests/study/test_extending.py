"""What is added from outside the package is found: in a study's tables and report, and by the training's command."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import pandas as pd
import pytest

from facelesion.study.design import study_of
from facelesion.yaml_files import parse_yaml

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"

WRITTEN = """
name: extended
participants: [mine]
pictures: {source: twins, calm: 0.5, object_pictures: 1, other_pictures: 4}
lesions:
  saturation:
    - {kind: Saturate, site: "1", level: [0.5, 0.1], fraction: 0.5}
stimuli: [intact, {kind: dim, by: 0.3}]
tasks: [things, identification]
draws: 2
device: cpu
"""


@pytest.fixture
def lists():
    """The package's lists, put back as they were."""
    from facelesion.data import sources
    from facelesion.faces.stimuli import KINDS as STIMULI
    from facelesion.lesions import kinds
    from facelesion.report import FIGURES
    from facelesion.tasks import TASKS
    from facelesion.training.recipes import RECIPES

    held = [(each, dict(each)) for each in (sources.SOURCES, STIMULI, kinds.KINDS, TASKS, FIGURES, RECIPES)]
    yield
    for each, before in held:
        each.clear()
        each.update(before)


@pytest.fixture
def page(lists, monkeypatch):
    """What the page on extending defines, entered in the package's lists for the time of a test."""
    module = types.ModuleType("page_extending")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S):
        exec(block, module.__dict__)
    return module


@pytest.mark.slow
def test_what_is_added_from_outside_is_in_the_tables_and_the_report(page, tmp_path):
    written = tmp_path / "mine.yaml"
    written.write_text(f"{WRITTEN}output: {tmp_path}\n")
    report = page.main(written).read_text(encoding="utf-8")
    table = pd.read_parquet(tmp_path / "extended" / "table.parquet")
    trials = pd.read_parquet(tmp_path / "extended" / "trials.parquet")

    # The task: its measure in words, and its trials.
    things = table[table.task == "things"]
    assert set(things.words) == {"right answers"} and things.main.all() and set(things.chance) == {0.5}
    assert len(trials[trials.task == "things"]) == 5 * 2 * things.n.iloc[0]
    assert set(trials[trials.task == "things"].answer) <= {"person", "thing"}
    # The damage: dose and meaning, and that it acted.
    damaged = table[table.lesion == "saturation"]
    assert set(damaged.meaning) == {"activation that cannot be passed"}
    assert sorted(set(damaged.dose)) == [0.1, 0.5] and (damaged.change > 0).all()
    assert set(damaged.damage) == {f"saturate {level} at 50% of 1 (seed {s})" for level in (0.5, 0.1) for s in (0, 1)}
    # The stimulus, and that it changes what the network answers.
    assert set(table.stimulus) == {"intact", "dim (by=0.3)"}
    intact = trials[(trials.lesion == "none") & (trials.task == "things")]
    value = [intact[intact.stimulus == name].value.to_numpy() for name in ("intact", "dim (by=0.3)")]
    assert (value[0] != value[1]).any()
    # The report speaks of task, damage and stimulus, and says what the dose means.
    for words in ("things", "saturation", "dim (by=0.3)", "activation that cannot be passed"):
        assert words in report, words
    # The figure, beside those that were there.
    assert "Performance by change" in report and "Equal changes at different sites" in report
    drawn = {path.name for path in (tmp_path / "extended" / "figures").iterdir()}
    assert {"by_change.svg", "dose_response.svg"} <= drawn
    # What the task asks, and what the source has to say of its pictures, is kept.
    manifest = json.loads((tmp_path / "extended" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["tasks"]["things"] == "Is this a person or a thing?"
    assert manifest["remarks"] == ["Pictures of one person are much alike."]


def test_what_is_wrong_with_an_addition_is_told_in_its_own_words(page):
    from facelesion.settings import SettingError

    for old, new, said in (
        ("calm: 0.5", "calm: 5", r"calm is 5: it must be 0 to 1 \(how little pictures of one person differ\)"),
        ("level: [0.5, 0.1]", "level: [0.5, -1]", "level must be above 0"),
        ("calm: 0.5", "calmness: 0.5", "did you mean calm"),
        ("kind: dim, by", "kind: dim, bye", "did you mean 'by'"),
        ("[things,", "[thing,", "did you mean 'things'"),
    ):
        with pytest.raises(SettingError, match=said):
            study_of(parse_yaml(WRITTEN.replace(old, new), "written"))


def test_a_recipe_is_trained_by_told_of_and_checked(page, tmp_path, capsys):
    import torch

    from facelesion.train import main

    words = ["--recipe", "means", "--network", "untrained", "--people", "3", "--run.folder", str(tmp_path / "run")]
    assert main(words) == 0
    made = tmp_path / "run" / "means.pt"
    assert capsys.readouterr().out.split() == [str(made), str(tmp_path / "run" / "training.html")]
    means = torch.load(made, weights_only=True)
    assert len(means) == 3 and len({tuple(mean.tolist()) for mean in means.values()}) == 3
    (tmp_path / "means.yaml").write_text("recipe: means\npeople: 1\n")
    assert main(["--config", str(tmp_path / "means.yaml")]) == 2
    assert "line 2: people is 1: it must be 2 to 1,000" in capsys.readouterr().err
    assert main(["--help"]) == 0 and "means        the mean representation of each person" in capsys.readouterr().out
    assert main(["--recipe", "meens"]) == 2
    assert "no recipe is called 'meens': take distil, " in (said := capsys.readouterr().err) and " or means" in said


@pytest.mark.slow
def test_what_is_added_from_outside_passes_the_checks_of_its_kind(lists, tmp_path):
    """The page's tests, run by pytest as they would be in a file of one's own."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    last = next(number for number, block in enumerate(blocks) if "from testers import" in block)
    file = tmp_path / "test_mine.py"
    file.write_text("\n".join(blocks[: last + 1]), encoding="utf-8")
    counts = Counted()
    assert pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(file)], plugins=[counts]) == 0
    assert counts.passed == {"TestSaturate": 8, "TestDim": 6, "TestThings": 12, "TestMine": 5}


class Counted:
    """Counts the tests that passed, by their class."""

    def __init__(self):
        self.passed = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            name = report.nodeid.split("::")[1]
            self.passed[name] = self.passed.get(name, 0) + 1
