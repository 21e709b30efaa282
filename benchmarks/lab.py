"""How long the lab takes from a slider's release to the new answer, and what many visitors at once do to it.

    python benchmarks/lab.py                              # 100 moves of a slider in one browser
    python benchmarks/lab.py --visitors 20 --seconds 60   # as many browsers' sessions, all moving sliders

Prints the median and the worst; with several visitors also errors, answers of somebody else's state, and the server's
memory before and after. It needs the extra [lab], Playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
MOVE = """async ([name, value]) => {
  const root = document.documentElement, before = root.dataset.answers;
  const input = document.querySelector(name);
  input.value = value;
  const released = performance.now();
  for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind));
  while (root.dataset.answers === before) await new Promise((done) => setTimeout(done, 2));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));  // until it is painted
  const link = JSON.parse(atob(location.hash.slice(3).replaceAll("-", "+").replaceAll("_", "/")));
  return [performance.now() - released, document.getElementById("problem").textContent, link];
}"""
Found = dict[str, list[Any]]
DOSE = '[data-key="0-dose"]'


def serve() -> tuple[subprocess.Popen[str], str]:
    """The lab in a process of its own, and its address."""
    command = [sys.executable, "-m", "facelesion", "lab", "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def memory_of(process: subprocess.Popen[str]) -> float:
    """Resident memory in megabytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def seconds_below(process: int) -> dict[int, float]:
    """Processor time that a process and all those below it have used, by their numbers."""
    parent, used = {}, {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(place.parent.name)
        parent[number], used[number] = int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    below = {process}
    while more := {number for number, above in parent.items() if above in below} - below:
        below |= more
    return {number: used[number] for number in below}


def chromium() -> str | None:
    """The system's Chromium; Playwright's own where there is none."""
    return os.environ.get("FACELESION_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def opened(playwright: Any, address: str, hash_: str = "") -> tuple[Any, Any]:
    browser = playwright.chromium.launch(executable_path=chromium())
    page = browser.new_page()
    page.goto(address + hash_)
    page.wait_for_selector("html[data-answers]", timeout=300_000)
    return browser, page


def told(name: str, times: list[float]) -> str:
    ordered = sorted(times)
    tail = ordered[int(0.95 * (len(ordered) - 1))]
    return (
        f"{name}: {len(times)} moves, median {statistics.median(times):.0f} ms, 95 % below {tail:.0f} ms, "
        f"worst {ordered[-1]:.0f} ms"
    )


def alone(process: subprocess.Popen[str], address: str, moves: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser, page = opened(playwright, address)
        doses = [round(0.02 + 0.9 * number / moves, 2) for number in range(moves)]
        random.Random(0).shuffle(doses)
        for site in ("conv5_3", "conv3_2"):
            page.locator('[data-key="0-site"]').select_option(site)
            page.evaluate(MOVE, [DOSE, 0.5])
            before = seconds_below(os.getpid())
            times = [page.evaluate(MOVE, [DOSE, dose])[0] for dose in doses]
            after = seconds_below(os.getpid())
            spent = {number: 1000 * (used - before.get(number, 0)) / moves for number, used in after.items()}
            server = spent.pop(process.pid)
            print(told(f"dose of a lesion at {site}", times))
            print(f"  processor time of each: server {server:.0f} ms, browser {sum(spent.values()):.0f} ms", flush=True)
        looks = [page.evaluate(MOVE, ["[data-name=caricature]", round(-1 + 0.1 * n, 1)])[0] for n in range(20)]
        print(told("caricature (a new picture)", looks), flush=True)
        browser.close()


async def visitor(
    number: int, browser: Any, address: str, ready: asyncio.Barrier, seconds: float, found: Found
) -> None:
    """One visitor: a person and a lesion of one's own, in a browser of one's own as far as the lab can tell."""
    state = {"picture": {"person": number}, "damage": [{"site": "conv5_1", "seed": number}]}
    link = base64.urlsafe_b64encode(json.dumps(state).encode()).decode().rstrip("=")
    draw = random.Random(number)
    page = await (await browser.new_context(viewport={"width": 800, "height": 600})).new_page()
    page.on("pageerror", lambda error: found["errors"].append(str(error)))
    await page.goto(f"{address}#s={link}")
    await page.wait_for_selector("html[data-answers]", timeout=300_000)
    await ready.wait()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        dose = round(draw.uniform(0.05, 0.9), 2)
        took, problem, linked = await page.evaluate(MOVE, [DOSE, dose])
        found["times"].append(took)
        if problem:
            found["errors"].append(problem)
        lesion = linked["damage"][0]
        mine = linked.get("picture", {}).get("person", 0), lesion.get("seed", 0), lesion.get("dose", 0.1)
        if mine != (number, number, dose):
            found["mixed"].append((mine, (number, number, dose)))


async def together(process: subprocess.Popen[str], address: str, visitors: int, seconds: float) -> None:
    from playwright.async_api import async_playwright

    found: Found = {"times": [], "errors": [], "mixed": []}
    ready, levels = asyncio.Barrier(visitors + 1), []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium())
        tasks = [
            asyncio.create_task(visitor(n, browser, address, ready, seconds, found)) for n in range(visitors)
        ]
        await ready.wait()
        before = memory_of(process)
        while not all(task.done() for task in tasks):
            await asyncio.sleep(1)
            levels.append(memory_of(process))
        await asyncio.gather(*tasks)
        await browser.close()
    print(told(f"{visitors} visitors for {seconds:.0f} s", found["times"]))
    print(f"errors: {len(found['errors'])}; answers of another state: {len(found['mixed'])}")
    half = statistics.mean(levels[len(levels) // 2 :])
    print(f"the server's memory: {before:.0f} MB before, {max(levels):.0f} at the most, {half:.0f} in the second half")
    for each in found["errors"][:5]:
        print("  ", each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=100)
    parser.add_argument("--visitors", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    process, address = serve()
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:  # until it is ready
            opened(playwright, address)[0].close()
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        if asked.visitors == 1:
            alone(process, address, asked.moves)
        else:
            asyncio.run(together(process, address, asked.visitors, asked.seconds))
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main()
