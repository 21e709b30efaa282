"""How time and memory grow with the work: lesions, images, sites and width, each against a loop of plain hooks.

    python benchmarks/growth.py [--threads 1] [--out docs/pictures/growth.png]

A quarter-width VGG16 at 112 pixels is damaged: 16 lesions of 16 images at one site, and then one of these grows. Each
point is a process of its own, so that its peak of memory (beyond what the process held before) is its own. The loop
runs at most 16 lesions and is scaled by count. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from facelesion.report.style import QUIET, blank, figure_style, look

ROOT = Path(__file__).resolve().parents[1]
POINT = """
import json, resource, sys, time
import torch
from facelesion.lesions import Ablate, lesioned
from facelesion.models.vgg import VGGFace
from facelesion.sweep import sweep
given = json.loads(sys.argv[1])
torch.manual_seed(0)
torch.set_num_threads(given["threads"])
torch.set_grad_enabled(False)
network = VGGFace(given["width"]).eval()
images = torch.rand(given["images"], 3, 112, 112)
sites = ["conv4_3", "conv4_2", "conv4_1", "conv3_3", "conv3_2", "conv3_1", "conv2_2", "conv1_2"][: given["sites"]]
lesions = {f"{k}": Ablate(sites[k % len(sites)], fraction=0.2, seed=k) for k in range(given["lesions"])}
network(images[:1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begun = time.process_time()
if given["loop"]:
    some = list(lesions.values())[:16]
    for lesion in some:
        with lesioned(network, lesion):
            network(images)
    seconds = (time.process_time() - begun) * len(lesions) / len(some)
else:
    sweep(network, lesions, images)
    seconds = time.process_time() - begun
print(json.dumps([seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
"""
START = {"lesions": 16, "images": 16, "sites": 1, "width": 0.25}
GROWING = {
    "lesions": [1, 4, 16, 64, 256], "images": [1, 4, 16, 64], "sites": [1, 2, 4, 8], "width": [0.125, 0.25, 0.5, 1.0],
}  # fmt: skip


def point(what: str, much: float, loop: bool, threads: int) -> tuple[float, float]:
    """Seconds and megabytes of one point."""
    given = START | {what: much, "loop": loop, "threads": threads}
    done = subprocess.run(
        [sys.executable, "-c", POINT, json.dumps(given)], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="draw the picture here")
    given = parser.parse_args()
    found: dict[str, list[tuple[float, list[tuple[float, float]]]]] = {}
    print(f"{'':10}{'':>8}{'loop':>10}{'sweep':>10}{'ratio':>8}{'loop':>10}{'sweep':>10}")
    for what, values in GROWING.items():
        for much in values:
            both = [point(what, much, loop, given.threads) for loop in (True, False)]
            found.setdefault(what, []).append((much, both))
            (loop, held_loop), (sweep, held) = both
            print(
                f"{what:10}{much:8g}{loop:9.2f}s{sweep:9.2f}s{loop / sweep:7.1f}x{held_loop:7.0f} MB{held:7.0f} MB",
                flush=True,
            )
    if given.out:
        draw(found, given.out)


def draw(found: dict[str, list[tuple[float, list[tuple[float, float]]]]], out: Path) -> None:
    """Time above, memory below, each against what grows; all axes are logarithmic."""
    ways = {"loop of hooks": (QUIET, "o"), "sweep": look("noise")}
    with figure_style():
        figure = blank(11, 5.2)
        axes = figure.subplots(2, len(found), sharey="row", sharex="col")
        for column, (what, points) in enumerate(found.items()):
            values = [much for much, _ in points]
            for row in (0, 1):
                panel = axes[row][column]
                for place, (name, (colour, marker)) in enumerate(ways.items()):
                    heights = [max(both[place][row], 1e-3 if row == 0 else 1) for _, both in points]
                    panel.plot(values, heights, marker=marker, color=colour, label=name)
                panel.set(xscale="log", yscale="log")
                panel.yaxis.set_major_formatter("{x:g}")
            axes[1][column].set_xlabel(what)
            axes[1][column].set_xticks(values, [f"{value:g}" for value in values])
            axes[1][column].minorticks_off()
        axes[0][0].set_ylabel("seconds of one core")
        axes[1][0].set_ylabel("MB beyond the network")
        axes[0][0].legend(frameon=False)
        figure.tight_layout()
        figure.savefig(out, dpi=130)


if __name__ == "__main__":
    main()
