"""The pages: what they show runs, what they link to is there, and the map of the code is true."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
import types
from pathlib import Path

import pytest
import yaml

import facelesion

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "weights" / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")])


def test_the_readme_s_library_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    names: dict = {}
    exec(code, names)
    assert names["damaged"].shape == (8, 1000)
    assert not names["damaged"].equal(names["model"](names["images"]))


@pytest.fixture
def lists():
    """The lists that pages add to, put back as they were."""
    from facelesion.data.sources import SOURCES
    from facelesion.faces.stimuli import KINDS as STIMULI
    from facelesion.lesions.kinds import KINDS
    from facelesion.report import FIGURES
    from facelesion.tasks import TASKS
    from facelesion.training.recipes import RECIPES

    held = [(each, dict(each)) for each in (SOURCES, STIMULI, KINDS, TASKS, FIGURES, RECIPES)]
    yield
    for each, before in held:
        each.clear()
        each.update(before)


@pytest.mark.parametrize("name", ["studies", "table", "extending", "units"])
def test_the_python_of_a_page_runs_from_top_to_bottom(name, lists):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"), re.S)
    assert blocks
    page = types.ModuleType(f"page_{name}")  # dataclasses look their module up
    sys.modules[page.__name__] = page
    try:
        for block in blocks:
            exec(compile(block, f"docs/{name}.md", "exec"), page.__dict__)
    finally:
        del sys.modules[page.__name__]


def test_the_page_on_the_tables_names_every_column_with_its_meaning():
    from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS, VERSION

    page = (ROOT / "docs" / "table.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]*) \| (.*) \|$", page, re.M)
    columns = [*TRIAL_COLUMNS.items(), *TABLE_COLUMNS.items()]
    assert told == [(name, column.kind, column.unit, column.meaning) for name, column in columns]
    assert f"version {VERSION} of both" in page


def test_every_study_that_a_page_shows_can_be_read():
    from facelesion.study.design import study_of
    from facelesion.yaml_files import parse_yaml

    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "studies.md").read_text(encoding="utf-8"), re.S)
    assert shown
    for text in shown:
        assert len(study_of(parse_yaml(text, "docs/studies.md")).lesions) == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_writes_studies_as_they_were_once(page):
    if page.name == "CHANGELOG.md":
        return
    text = page.read_text(encoding="utf-8")
    assert "StudyConfig" not in text and "materials.py`: " not in text
    for line in re.findall(r"^.*facelesion study .*$", text, re.M):
        assert not re.search(r"--(data|model|approaches)\b", line), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page):
    text = re.sub(r"```python\n.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_leads_to_every_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in ROOT.glob("docs/*.md"):
        assert f"docs/{page.name}" in readme, page.name


def test_the_map_of_the_code_names_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in (ROOT / "facelesion").iterdir():
        if path.is_dir() and (path / "__init__.py").exists():
            assert f"`{path.name}/`" in page, path.name
        elif path.suffix == ".py" and not path.name.startswith("__"):
            assert f"`{path.name}`" in page, path.name


def rooms() -> dict[str, set[str]]:
    """The table of rooms: each with the rooms that its row names, in the table's order."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \| .* \| ([^|]*) \|$", page, re.M)
    return {room: set(re.findall(r"`(\w+)`", named)) for room, named in rows}


def imported(room: str) -> set[str]:
    """What a room imports of the package, wherever it does so."""
    place = ROOT / "facelesion" / room
    found: set[str] = set()
    for path in place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
        code = re.sub(r'"""[\s\S]*?"""', "", path.read_text(encoding="utf-8"))
        found |= set(re.findall(r"^\s*(?:from|import) facelesion\.(\w+)", code, re.M))
        for names in re.findall(r"^\s*from facelesion import \(?([\w, ]+)", code, re.M):
            found |= {name.strip() for name in names.split(",")} & set(rooms())
    return found - {room}


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_what_the_map_says_and_nothing_else(room):
    assert imported(room) == rooms()[room]


def test_the_map_s_arrows_all_go_upwards_in_its_table():
    order = list(rooms())
    assert not [(a, b) for a, named in rooms().items() for b in named if order.index(b) > order.index(a)]


#: What a file may have; a longer one has more than one reason to change.
LONGEST = 500


def test_no_file_is_longer_than_can_be_read_at_once():
    """Of the package, its tests, examples, scripts and benchmarks."""
    folders = ("facelesion", "tests", "examples", "scripts", "benchmarks")
    lines = {
        path: path.read_text(encoding="utf-8").count("\n")
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(lines) > 200
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > LONGEST} == {}


def test_the_map_s_figures_beside_its_peers_are_the_package_s():
    """Its own column, counted by the script that counted the others."""
    counted = runpy.run_path(str(ROOT / "scripts" / "measure_package.py"))["measure"](ROOT / "facelesion")
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    made = {ROOT / "docs" / name for name in ("examples", "reference")}  # by the site's build
    written = [path for path in (ROOT / "docs").rglob("*.md") if not made & set(path.parents)]
    joining = ("CONTRIBUTING.md", ".github/ISSUE_TEMPLATE", ".pre-commit-config.yaml", "CITATION.cff", "SECURITY.md")
    own = dict(re.findall(r"^\| ([\w ,]+) \| ([\w ]+) \| [\d,]+ \|", page[page.index("## Beside its peers") :], re.M))
    assert own == {
        "longest file, lines": f"at most {LONGEST}",
        "files over 500 lines": str(counted.long_files),
        "functions over 60 lines, in 100": str(round(100 * counted.long_functions / counted.functions)),
        "public names at the top": str(counted.public),
        "pages beside the reference": str(len(written)),
        "programs and notebooks to read": str(len(list((ROOT / "docs" / "gallery").glob("*.py")))),
        "of five things for who joins": str(sum((ROOT / name).exists() for name in joining)),
    }


def test_an_addition_touches_the_files_that_the_map_says():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [\w ]+ \| `(\w+)` \| (\d+): ([^|]*) \|", page, re.M)
    assert len(rows) == 6
    for name, count, told in rows:
        files = re.findall(r"`([\w/]+\.py)`", told)
        assert len(files) == int(count), name
        for file in files:
            assert re.search(rf"\b{name}\b", (ROOT / "facelesion" / file).read_text(encoding="utf-8")), (name, file)


def test_the_version_stands_in_one_place_and_the_citation_has_it():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == facelesion.__version__
    assert {"cff-version", "message", "title", "authors"} <= cited.keys() and cited["license"] == "MIT"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dynamic"] == ["version"]
    assert f"## {facelesion.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "AGENTS.md", "SECURITY.md"])
def test_pages_for_those_who_join_name_things_that_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = set(re.findall(r"make (\w+)", "\n".join(re.findall(r"`(make [^`]+)`", text))))
    assert targets <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    for path in re.findall(r"\]\(([^)#]+)\)|`((?:docs|tests|facelesion|configs|benchmarks|weights)/[\w./]*)`", text):
        assert (ROOT / (path[0] or path[1])).exists(), path
