"""Draw the pictures of docs/lab.md: every part of the lab's page, on built-in faces.

    python scripts/lab_pictures.py [--out docs/pictures]

It starts the lab, opens it in Chromium (Playwright drives it) and uses it as a person would.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from facelesion.files import write_bytes
from facelesion.lab import Damage, Picture, State

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
STATE = State(
    picture=Picture(person=11, looks=(("smile", 0.6),)), damage=(Damage(site="conv4_3", dose=0.5, seed=1),),
    second="other", map_of="identity", site="conv4_3",
)  # fmt: skip
CHOSEN = State(picture=Picture(person=11), damage=(Damage(site="conv4_3", dose=0.3, units="faces"),))
THING = State(
    picture=Picture(source="thing", thing="cup", number=3),
    damage=(Damage(kind="Noise", site="conv3_2", dose=2, units="all", options=(("relative", True),)),),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("docs/pictures"))
    out = options.parse_args().out
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "facelesion", "lab", "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    place = os.environ.get("FACELESION_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=place)
            draw(browser, address, out)
            browser.close()
    finally:
        process.terminate()


def draw(browser: Any, address: str, out: Path) -> None:
    page = opened(browser, address, STATE, 1600, "light")
    save(page.screenshot(full_page=True, clip=top(page)), out / "lab.png")
    for name, part in (("lab_face", "#face"), ("lab_damage", "#damage"), ("lab_left", "#left"), ("lab_out", "#out")):
        save(page.locator(part).screenshot(), out / f"{name}.png")
    page.locator("#case-run").click()
    page.locator("#case-card article").first.wait_for(timeout=600_000)
    save(page.locator("#case").screenshot(), out / "lab_case.png")
    page = opened(browser, address, CHOSEN, 1600, "light")
    page.locator("#curve-run").click()
    page.get_by_text("12 of 12 random lesions", exact=True).wait_for(timeout=600_000)
    save(page.locator("#curve").screenshot(), out / "lab_curve.png")
    page = opened(browser, address, THING, 1600, "dark")
    save(page.screenshot(full_page=True, clip=top(page)), out / "lab_dark.png")
    page = opened(browser, address, STATE, 400, "dark")
    page.locator("#start-tour").click()
    page.wait_for_timeout(3000)
    save(page.screenshot(), out / "lab_tour.png")


def opened(browser: Any, address: str, state: State, width: int, scheme: str) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"{address}#s={state.to_link()}")
    page.wait_for_selector("html[data-answers]", timeout=600_000)
    page.wait_for_timeout(500)
    return page


def top(page: Any) -> dict[str, float]:
    """The page down to the end of its answers."""
    box = page.locator("#left").bounding_box()
    return {"x": 0, "y": 0, "width": 1600, "height": box["y"] + box["height"] + 20}


def save(content: bytes, path: Path) -> None:
    """As few colours as a screen needs, so that the file is small."""
    picture = Image.open(io.BytesIO(content)).convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    memory = io.BytesIO()
    picture.save(memory, "PNG", optimize=True)
    write_bytes(path, memory.getvalue())
    print(path, f"{len(memory.getvalue()) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
