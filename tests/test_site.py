"""The site: every public name, script and page is on it, messages are found by their text, and it builds."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import facelesion

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "docs" / "gallery").glob("*.py"))
ERRORS = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reference():
    """What writes the reference; a module of docs/, outside the package."""
    sys.path.insert(0, str(ROOT / "docs" / "site"))
    try:
        yield importlib.import_module("reference")
    finally:
        sys.path.remove(str(ROOT / "docs" / "site"))


def test_every_public_name_is_in_the_reference(reference):
    pages = reference.pages()
    assert set(facelesion.__all__) == set(re.findall(r"^   \* - :doc:`(\w+) <", pages["facelesion"], re.M))
    for room in reference.rooms():
        named = set(importlib.import_module(room).__all__)
        assert named == set(re.findall(r"^   \* - :doc:`(\w+) <", pages[room], re.M)), room
        assert f":doc:`{room}`" in pages["index"]
    for each in reference.public_names():
        assert each.full in pages[each.page]


def test_every_public_name_has_an_example_that_a_test_runs_or_stands_in_the_gallery(reference):
    pages = [*SCRIPTS, ROOT / "docs" / "sharing.md"]  # what takes a hub is shown on its page, tested beside a fake one
    gallery = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    shown = [each for each in reference.public_names() if reference.example_of(each)]
    others = {each.name for each in reference.public_names()} - {each.name for each in shown}
    assert {name for name in others if not re.search(rf"import .*\b{name}\b|`{name}`", gallery)} == set()
    assert len(others) < 10


def test_an_example_of_its_own_comes_before_one_that_makes_or_uses_it(reference):
    names = {each.full: each for each in reference.public_names()}
    assert reference.example_of(names["facelesion.lesions.Noise"])[0].name == "Noise"
    assert reference.example_of(names["facelesion.analysis.CaseTest"])[0].name == "crawford_howell"


def test_no_two_pages_are_one_file_where_capitals_are_small_letters(reference):
    pages = [path.lower() for path in reference.pages()]
    assert len(set(pages)) == len(pages)


def test_every_page_is_reached_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    entries = {line for tree in re.findall(r"```\{toctree\}\n(.*?)```", index, re.S) for line in tree.splitlines()}
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "project").glob("*.md")]
    names = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in pages} - {"index"}
    assert names | {"examples/index", "reference/index"} == {line for line in entries if re.fullmatch(r"[\w/]+", line)}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_of_the_gallery_begins_with_what_it_shows_and_draws_or_prints_it(script):
    text = script.read_text(encoding="utf-8")
    assert re.match(r'"""\n(.+)\n(=+)\n\n\w', text)
    assert "print(" in text or "plt.show()" in text


def test_the_gallery_is_a_gallery():
    assert 8 <= len(SCRIPTS) <= 14
    assert [path.name[:3] for path in SCRIPTS] == [f"{number:02d}_" for number in range(1, len(SCRIPTS) + 1)]


def test_every_message_that_is_explained_is_what_its_code_gives():
    page = ROOT / "docs" / "errors.md"
    result = doctest.testfile(str(page), module_relative=False, verbose=False)
    assert result.failed == 0 and result.attempted > 30


@pytest.mark.parametrize("page", ["errors", "studies"])
def test_the_words_by_which_a_message_is_found_are_those_of_the_package(page):
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "facelesion").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # texts that go on in the next line
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (\".*\")$", text, re.M)
    assert len(headings) > 8
    for heading in headings:
        for words in re.findall(r'"([^"]+)"', heading):
            for part in words.split(" ... "):
                assert part in source or part.replace("`", "") in source, words


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_addresses_elsewhere_are_well_formed(page):
    for address in re.findall(r"\]\((\w+://[^)]*)\)", page.read_text(encoding="utf-8")):
        assert re.fullmatch(r"https?://[\w-]+(\.[\w-]+)+(/[^\s<>\"]*)?", address), address


#: Whoever asks for the network while the site is built is refused.
OFFLINE = """
import runpy, socket, sys
def refuse(*_): raise OSError("the site is built without a network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
sys.argv[0] = "sphinx-build"
runpy.run_module("sphinx", run_name="__main__")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built."""
    for needed in ("sphinx", "torchlens", "rsatoolbox"):
        pytest.importorskip(needed, reason="the extra [docs] is not installed")
    folder = tmp_path_factory.mktemp("built")
    words = ["--fail-on-warning", "--keep-going", "--quiet", "--doctree-dir", str(folder / "trees")]
    built = subprocess.run(
        [sys.executable, "-c", OFFLINE, *words, str(ROOT / "docs"), str(folder / "site")],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-4000:]
    return folder / "site"


@pytest.mark.slow
def test_the_site_is_built_without_a_network_and_without_a_warning_and_every_script_ran(site):
    listed = (site / "examples" / "index.html").read_text(encoding="utf-8")
    for script in SCRIPTS:
        assert f"{script.stem}.html" in listed
        page = (site / "examples" / f"{script.stem}.html").read_text(encoding="utf-8")
        assert f"{script.stem}.ipynb" in page
        assert "sphx_glr" in page or "sphx-glr-script-out" in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 800, 1100, 1200, 1400, 1600, 2400])
def test_no_page_is_wider_than_its_window(site, chromium, width):
    window = chromium.new_page(viewport={"width": width, "height": 900})
    wider = {}
    for page in sorted(site.glob("*.html")):
        window.goto(page.as_uri())
        if (needed := window.evaluate("document.documentElement.scrollWidth")) > width:
            wider[page.name] = needed
    window.close()
    assert wider == {}
