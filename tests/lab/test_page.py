"""The page, used in a real browser as a person would: by mouse, by keyboard alone, in the light and in the dark."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import yaml

from facelesion.lab import State, answer
from facelesion.lab.pictures import name_of

pytestmark = pytest.mark.slow  # a browser, and readouts that take seconds


NAMED = "dataset.key || dataset.name || id"  # of an element of the page


class Page:
    """A visitor's page, and what went wrong in it."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.address = address
        self.faults: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, said: Any) -> None:
        if said.type in ("error", "warning"):
            self.faults.append(said.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def open(self, link: str = "") -> Page:
        self.page.goto(self.address + link)
        self.page.wait_for_selector("html[data-answers]", timeout=120_000)
        return self

    def __call__(self, name: str) -> Any:
        return self.page.locator(name)

    @property
    def answers(self) -> int:
        return int(self.page.evaluate("+document.documentElement.dataset.answers"))

    def after(self, work: Any) -> Page:
        """Do something and wait for the answer that follows."""
        before = self.answers
        work()
        for _ in range(1200):
            if self.answers > before and self("main").get_attribute("aria-busy") == "false":
                return self
            self.page.wait_for_timeout(20)
        raise AssertionError(f"no answer came: {self('#problem').inner_text()}")

    def slide(self, name: str, value: float) -> Page:
        """A slider, moved to a value and let go."""
        script = """(input, value) => {
          input.value = value;
          for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind));
        }"""
        return self.after(lambda: self(name).evaluate(script, value))

    @property
    def state(self) -> State:
        """The state that the page's link holds."""
        return State.from_link(self.page.url.partition("#s=")[2])

    def number(self, name: str) -> float:
        return float(self(name).inner_text().replace("−", "-"))


@pytest.fixture
def context(chromium, served):
    found = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    found.grant_permissions(["clipboard-read", "clipboard-write"], origin=served.address.rstrip("/"))
    yield found
    found.close()


@pytest.fixture
def lab(context, served):
    page = Page(context, served.address).open()
    yield page
    assert not page.faults, page.faults
    assert not page.elsewhere, page.elsewhere


def held_to_the_library(lab: Page) -> None:
    """What stands on the page is what `answer` says of the state in its link."""
    found = answer(lab.state)
    for name, seen in (("healthy", found.healthy), ("damaged", found.damaged)):
        assert lab.number(f"#evidence-{name}") == pytest.approx(seen.evidence, abs=0.0051)
        assert lab.number(f"#alike-{name}") == pytest.approx(seen.alike, abs=0.0051)
        named = lab(f"#nearest .{name} li > span:first-of-type").all_inner_texts()
        assert [each.replace(" ✓", "") for each in named] == [name_of(label) for label, _ in seen.people]


def test_a_person_is_chosen_and_changed_by_mouse(lab):
    first = lab("#shown").get_attribute("src")
    lab.after(lambda: lab("#next").click())
    assert lab("#who").inner_text() == "Alex" and lab("#shown").get_attribute("src") != first
    lab.slide("[data-name=likeness]", 0.5).slide("[data-name=caricature]", 1.5)
    lab("#looks").locator("xpath=..").locator("summary").click()
    lab.slide("[data-name=smile]", 1.5)
    assert lab.state.picture.person == 1 and dict(lab.state.picture.looks) == {"smile": 1.5}
    assert lab.state.picture.likeness == 0.5 and lab.state.picture.caricature == 1.5
    held_to_the_library(lab)


def test_a_thing_is_named(lab):
    lab.after(lambda: lab("#source").get_by_text("Thing").click())
    lab.after(lambda: lab("#thing-kind").select_option("cup"))
    lab.after(lambda: lab("#another-thing").click())
    assert "no face" in lab("#verdict").inner_text()
    assert lab("#kinds .healthy li").first.inner_text().startswith("cup")


def test_what_is_done_to_the_picture_by_name_and_by_hand(lab):
    lab.after(lambda: lab("#change").select_option("mask"))
    lab.after(lambda: lab("#region").select_option("mouth"))
    lab.after(lambda: lab("#invert").check())
    assert lab.state.stimulus == "mask mouth + invert"
    lab("#paint").click()
    box = lab("#canvas").bounding_box()
    lab.page.mouse.move(box["x"] + 30, box["y"] + 30)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + 120, box["y"] + 90, steps=6)
    lab.after(lab.page.mouse.up)
    assert sum(row.count("1") for row in lab.state.painted) > 15
    held_to_the_library(lab)
    lab.after(lambda: lab("#wipe").click())
    assert not any("1" in row for row in lab.state.painted)


def test_every_kind_of_lesion_can_be_chosen_and_several_act_together(lab):
    for kind in lab('[data-key="0-kind"] option').all_inner_texts():
        lab.after(lambda kind=kind: lab('[data-key="0-kind"]').select_option(kind))
        assert lab("#problem").is_hidden(), (kind, lab("#problem").inner_text())
        assert lab.state.damage[0].kind == kind
    lab.after(lambda: lab('[data-key="0-kind"]').select_option("Noise"))
    lab.after(lambda: lab("#add").click())
    lab.after(lambda: lab('[data-key="1-site"]').select_option("conv4_3"))
    lab.slide('[data-key="1-dose"]', 0.4)
    lab.after(lambda: lab('[data-key="1-draw"]').click())
    assert [each.kind for each in lab.state.damage] == ["Noise", "Ablate"] and lab.state.damage[1].dose == 0.4
    held_to_the_library(lab)
    lab.after(lambda: lab("[aria-label='Remove lesion 1']").click())
    assert [each.kind for each in lab.state.damage] == ["Ablate"]


def test_units_are_shown_on_hover_and_picked_by_click(lab):
    lab("#u7").hover()
    assert "Unit 7" in lab("#unit").inner_text()
    lab.after(lambda: lab("#u7").click())
    lab.after(lambda: lab("#u20").click())
    assert lab.state.damage[0].picked == (7, 20) and lab("#u7").get_attribute("aria-selected") == "true"
    assert "damaged 0.000" in lab("#unit").inner_text().lower()
    held_to_the_library(lab)
    lab.after(lambda: lab("#u7").click())
    assert lab.state.damage[0].picked == (20,)


def test_units_are_chosen_by_a_ranking(lab):
    lab.after(lambda: lab('[data-key="0-units"]').select_option("faces"))
    assert "13 of 128 units are damaged" in lab("#units-words").inner_text()
    held_to_the_library(lab)
    assert yaml.safe_load(lab("#code-yaml").text_content())[0]["units"] == {"by": "selectivity", "of": "faces"}


def test_the_keyboard_alone_is_enough(lab):
    """Tab through everything; a slider, a choice, the units, painting and the tour without a mouse."""
    keys = lab.page.keyboard
    seen = []
    for _ in range(90):
        keys.press("Tab")
        seen.append(lab.page.evaluate(f"(({{ id, dataset }}) => {NAMED})(document.activeElement)"))
        if seen[-1] == "case-run":
            break
    for each in (
        "network", "start-tour", "previous", "next", "likeness", "change", "paint", "0-kind", "0-dose", "add", "site",
        "grid", "second", "map-of", "curve-run", "case-run",
    ):  # fmt: skip
        assert each in seen, each
    lab('[data-key="0-dose"]').focus()
    lab.after(lambda: keys.press("ArrowRight"))
    assert lab.state.damage[0].dose == pytest.approx(0.11)
    assert lab.page.evaluate("document.activeElement.dataset.key") == "0-dose"
    lab.after(lambda: keys.press("PageUp"))
    lab("#grid").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        keys.press(key)
    assert lab("#grid").get_attribute("aria-activedescendant") not in ("u0", "u2")
    lab.after(lambda: keys.press("Space"))
    assert len(lab.state.damage[0].picked) == 1
    lab("#paint").focus()
    keys.press("Enter")
    keys.press("ArrowUp")
    lab.after(lambda: keys.press("Space"))
    assert sum(row.count("1") for row in lab.state.painted) == 4
    lab("#start-tour").focus()
    lab.after(lambda: keys.press("Enter"))
    assert lab("#tour-title").inner_text() == "A face"
    keys.press("Escape")
    assert lab("#tour").is_hidden()


def png(size=(160, 120), face=False) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(2).integers(0, 255, (size[1], size[0], 3), np.uint8)
    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, "PNG")
    return memory.getvalue()


def test_a_photograph_is_taken_with_five_points_by_keys_and_by_clicks(lab):
    lab("#source").get_by_text("Photograph").click()
    give = {"name": "ann.png", "mimeType": "image/png", "buffer": png()}
    lab("#file").set_input_files(give)
    lab("#five").wait_for(state="visible", timeout=30_000)
    assert "click both eyes" in lab("#problem").inner_text()
    assert "the eye on the left" in lab("#five-words").inner_text()
    lab("#five-picture").focus()
    for _ in range(4):
        lab.page.keyboard.press("Shift+ArrowLeft")
    lab.page.keyboard.press("Enter")
    assert "the eye on the right" in lab("#five-words").inner_text()
    box = lab("#five-picture").bounding_box()
    for x, y in ((0.7, 0.4), (0.5, 0.6), (0.35, 0.8)):
        lab("#five-picture").click(position={"x": x * box["width"], "y": y * box["height"]})
    lab.after(lambda: lab("#five-picture").click(position={"x": 0.65 * box["width"], "y": 0.8 * box["height"]}))
    assert lab("#five").is_hidden() and lab("#problem").is_hidden()
    assert lab.page.locator("input[value=photograph]").is_checked()
    assert "PHOTOGRAPH.jpg" in lab("#code-python").text_content()
    lab.after(lambda: lab("#invert").check())
    lab.faults[:] = [each for each in lab.faults if "422" not in each]  # the browser notes the refusal itself


def test_a_bad_upload_gets_its_line_and_spoils_nothing(lab):
    lab("#source").get_by_text("Photograph").click()
    for content, words in ((b"no picture", "not a picture"), (b"", "empty")):
        lab("#file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": content})
        lab.page.get_by_text(words).wait_for(timeout=10_000)
        assert lab("#problem").inner_text().count("\n") == 0
    lab.after(lambda: lab("#source").get_by_text("Thing").click())
    assert lab("#problem").is_hidden()
    lab.faults[:] = [each for each in lab.faults if "422" not in each]


def test_a_photograph_dropped_on_the_page_is_a_thing_if_it_is_said_so(lab):
    script = """([name, numbers]) => {
      const given = new DataTransfer();
      given.items.add(new File([new Uint8Array(numbers)], name, { type: "image/png" }));
      const settings = { dataTransfer: given, bubbles: true, cancelable: true };
      document.getElementById("face").dispatchEvent(new DragEvent("drop", settings));
    }"""
    lab.page.evaluate(script, ["cup.png", list(png())])
    lab("#as-thing").wait_for(state="visible", timeout=30_000)
    lab.after(lambda: lab("#as-thing").click())
    assert "thing=True" in lab("#code-python").text_content()
    lab.faults[:] = [each for each in lab.faults if "422" not in each]


def test_a_second_picture_of_another_is_told_apart_in_health(lab):
    lab.after(lambda: lab("#second").select_option("other"))
    assert "two people" in lab("#same .healthy").inner_text()
    lab.after(lambda: lab("#map-of").select_option("identity"))
    assert "that it is Adi" in lab("#map-words").inner_text()
    held_to_the_library(lab)


def test_the_curve_is_drawn_as_it_comes(lab):
    # All that is said on the way, however soon the next word takes its place.
    lab.page.evaluate("""() => {
        window.said = [];
        const words = (change) => [...change.addedNodes].map((node) => node.textContent);
        const note = (changes) => said.push(...changes.flatMap(words));
        new MutationObserver(note).observe(document.querySelector("#curve-state"), { childList: true });
    }""")
    lab("#curve-run").click()
    lab.page.get_by_text("12 of 12 random lesions", exact=True).wait_for(timeout=150_000)
    rounds = [f"{done} of 12 random lesions" for done in (0, 4, 8, 12)]
    assert lab.page.evaluate("said") == ["Asking about the lesion itself …", *rounds]
    assert lab("#curve-plots svg").count() == 3 and lab("#curve-plots .band").count() == 3
    from facelesion.lab import curve

    *_, last = curve(lab.state)
    assert lab("#curve-plots .words li").all_inner_texts() == list(last.words)


def test_a_curve_can_be_stopped(lab):
    lab("#curve-run").click()
    lab("#curve-stop").click()
    lab.page.get_by_text("Stopped.").wait_for(timeout=10_000)


def test_the_case_study_gives_a_card(lab, monkeypatch):
    from facelesion.lab import case_card

    monkeypatch.setattr(case_card, "control_networks", lambda: ("builtin", "untrained"))
    lab.slide('[data-key="0-dose"]', 0.5)
    lab("#case-run").click()
    lab("#case-card article").first.wait_for(timeout=120_000)
    *_, last = case_card.card(lab.state)
    words = lab("#case-card").inner_text()
    for row in last.rows:
        assert f"{100 * row.damaged:.1f} %" in words and row.words in words
    assert "81%" in words and "Duchaine" in words  # people's published mean in the face memory test


def test_a_link_brings_back_the_very_state(lab, context, served):
    lab.after(lambda: lab("#next").click())
    lab.slide('[data-key="0-dose"]', 0.33)
    lab.after(lambda: lab("#u3").click())
    lab.after(lambda: lab("#invert").check())
    lab("#copy-link").click()
    link = lab.page.evaluate("navigator.clipboard.readText()")
    other = Page(context, served.address).open(link.removeprefix(served.address))
    assert other.state == lab.state
    for name in ("#evidence-damaged", "#alike-damaged", "#who", "#code-yaml", "#units-words"):
        assert other(name).text_content() == lab(name).text_content()
    other.page.close()


def test_a_damaged_link_says_so_and_shows_the_lab(context, served):
    page = Page(context, served.address).open("#s=!!")
    assert page("#who").inner_text() == "Adi"


def test_texts_and_the_picture_leave_the_page(lab):
    with lab.page.expect_download() as got:
        lab("#save-picture").click()
    with open(got.value.path(), "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    lab("#text-study summary").click()
    with lab.page.expect_download() as got:
        lab("#text-study").get_by_text("Save as a file").click()
    from facelesion.study.design import read_study

    assert read_study(got.value.path()).name == "from-the-lab"
    lab("#text-python summary").click()
    lab("#text-python").get_by_text("Copy", exact=True).click()
    program = lab.page.evaluate("navigator.clipboard.readText()")
    names: dict = {}
    exec(compile(program, "from_the_lab.py", "exec"), names)
    damaged = answer(lab.state).damaged
    assert names["found"]["damaged"]["evidence for a face"] == pytest.approx(damaged.evidence, abs=1e-5)


def test_the_tour_runs_to_its_end(lab):
    from facelesion.lab.tour import TOUR

    lab.after(lambda: lab("#start-tour").click())
    for number, step in enumerate(TOUR):
        assert lab("#tour-count").inner_text().lower() == f"step {number + 1} of {len(TOUR)}"
        assert lab("#tour-title").inner_text() == step.title and lab.state == step.state
        held_to_the_library(lab)
        assert lab(f"#{step.look}").get_attribute("class").endswith("pointed")
        if number + 1 < len(TOUR):
            lab.after(lambda: lab("#tour-next").click())
    lab("#tour-next").click()
    assert lab("#tour").is_hidden()


def test_another_network_can_be_chosen(lab):
    lab.after(lambda: lab("#network").select_option("untrained"))
    assert lab.state.network == "untrained"
    held_to_the_library(lab)


def test_two_visitors_do_not_see_each_other_s_state(lab, chromium, served):
    other_context = chromium.new_context()
    other = Page(other_context, served.address).open()
    lab.after(lambda: lab("#next").click())
    other.slide('[data-key="0-dose"]', 0.6)
    assert lab("#who").inner_text() == "Alex" and other("#who").inner_text() == "Adi"
    held_to_the_library(lab)
    held_to_the_library(other)
    other_context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_it_can_be_read_at_any_width_in_the_light_and_in_the_dark(chromium, served, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = Page(context, served.address).open()
    for each in page("summary").all():
        if each.locator("xpath=..").get_attribute("open") is None:
            each.click()
    page("#paint").click()
    page("#curve-run").click()
    page("#curve-plots svg").first.wait_for(timeout=60_000)
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    page.after(lambda: page("#start-tour").click())
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    # The page's own ban on scripts from elsewhere holds for axe too, but not for what a debugger runs.
    found = page.page.evaluate(f"() => {{ {axe_script(axe)} return axe.run(); }}")
    serious = [
        (fault["id"], [node["html"][:120] for node in fault["nodes"][:3]])
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    assert not serious, json.dumps(serious, indent=1)
    assert not page.faults and not page.elsewhere
    context.close()


def axe_script(axe: Any) -> str:
    from pathlib import Path

    return (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
