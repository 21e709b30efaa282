"""This project beside an earlier commit of itself: the same work by both, in turns, in one run on one machine.

    python benchmarks/against.py bbe3200 [--works sweep units study] [--repeats 3] [--threads 1] [--draws 1]

The commit is checked out beside this one, and each piece of work runs in fresh processes that see one or the other.
Told are processor seconds of the work alone (neither imports nor the making of networks), which other work on the
machine disturbs least, and how much quicker this one is, by those and by the clock on the wall. Where no random number
is drawn, both must answer the same, or the run ends with what differs.

hook    a thousand forwards of a small network under a ten-unit ablation
sweep   the built-in network's shape: ablations at four depths, 32 pictures
doses   the same: noise and dropout in five doses and three draws each
units   VGG16 at 224 pixels: each of the 512 units of conv5_2, four pictures
study   the first default study: four kinds of damage, five doses, 13 stimuli, four tasks, with its tables and report
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]

BEGIN = """
import json, sys, time
import torch
torch.manual_seed(0)
clocks = lambda: (time.process_time(), time.perf_counter())
"""
END = """
print(json.dumps([late - early for early, late in zip(begun, clocks())]))
"""
HOOK = """
from torch import nn
from facelesion.lesions import Ablate, lesioned
network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.LazyLinear(8)).eval()
images = torch.rand(1, 3, 12, 12)
begun = clocks()
with torch.no_grad():
    network(images)
    for _ in range(1000):
        with lesioned(network, Ablate("1", units=range(10))):
            answer = network(images)
torch.save(answer, sys.argv[1])
"""
SWEEP = """
from facelesion.lesions import Ablate
from facelesion.models.vgg import VGGFace
from facelesion.sweep import sweep
sites = ("conv1_2", "conv3_2", "conv4_3", "conv5_2")
lesions = {f"{site} {k}": Ablate(site, units=[k, k + 2, k + 4]) for site in sites for k in range(12)}
network, images = VGGFace(0.25).eval(), torch.rand(32, 3, 112, 112)
begun = clocks()
torch.save(sweep(network, lesions, images), sys.argv[1])
"""
DOSES = """
from facelesion.lesions import Dropout, Noise
from facelesion.models.vgg import VGGFace
from facelesion.sweep import sweep
lesions = {f"n {dose} {draw}": Noise("conv3_2", std=dose, seed=draw)
           for dose in (0.2, 0.4, 0.8, 1.6, 3.2) for draw in range(3)}
lesions |= {f"d {dose} {draw}": Dropout("conv4_3", p=dose, seed=draw)
            for dose in (0.1, 0.2, 0.3, 0.4, 0.5) for draw in range(3)}
network, images = VGGFace(0.25).eval(), torch.rand(32, 3, 112, 112)
begun = clocks()
sweep(network, lesions, images)
"""
UNITS = """
from facelesion.models.vgg import vgg_face
from facelesion.sweep import unit_sweep
network, images = vgg_face().eval(), torch.randn(4, 3, 224, 224)
begun = clocks()
found = unit_sweep(network, "conv5_2", images)
torch.save(next(iter(found.values())), sys.argv[1])
"""
STUDY = """
from facelesion.cli import run
begun = clocks()
assert not run(["study", sys.argv[2], "--draws", sys.argv[3], "--output", sys.argv[1] + "-study"])
"""
# The first default study in the words of today; a commit of that day takes its own.
FIRST = """
name: first
question: the default study of the first version
participants: [builtin]
pictures:
  source: facespace
  training_people: 150
  enrolled_people: 40
  probe_pictures: 2
  new_people: 12
  new_pictures: 4
  object_pictures: 2
  other_pictures: 8
lesions:
  ablation:
    - {kind: Ablate, site: "conv4_3, conv5_*", fraction: [0.02, 0.05, 0.1, 0.2, 0.4]}
  noise:
    - {kind: Noise, site: "conv3_2, conv4_2, conv5_3", std: [0.25, 0.5, 1.0, 2.0, 4.0], relative: true}
  dropout:
    - {kind: Dropout, site: "conv4_3, conv5_*", p: [0.05, 0.1, 0.2, 0.4, 0.6]}
  combined:
    - {kind: Ablate, site: &sites "conv3_2, conv4_3, conv5_3", fraction: [0.01, 0.02, 0.05, 0.1, 0.2]}
    - {kind: Noise, site: *sites, std: [0.1, 0.25, 0.5, 1.0, 2.0], relative: true}
    - {kind: Dropout, site: *sites, p: [0.02, 0.05, 0.1, 0.2, 0.3]}
draws: 5
stimuli: [intact, mask eyebrows, mask eyes, mask nose, mask mouth, blur eyebrows, blur eyes, blur nose, blur mouth,
  isolate eyebrows, isolate eyes, isolate nose, isolate mouth]
tasks: [detection, identification, verification, objects]
"""
# Work by name: its code, and whether both must answer the same.
WORKS = {
    "hook": (HOOK, True), "sweep": (SWEEP, True), "doses": (DOSES, False), "units": (UNITS, True),
    "study": (STUDY, False),
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Seconds that a piece of work took."""

    processor: float
    wall: float


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A commit's files in a folder of their own, as long as this lasts; a folder is taken as it is."""
    if Path(revision).is_dir():
        yield Path(revision).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT)]
        done = subprocess.run([*git, "worktree", "add", "--detach", str(tree), revision], capture_output=True)
        if done.returncode:
            sys.exit(f"git knows no commit {revision!r}, and no folder is called so")
        try:
            yield tree
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], capture_output=True, check=False)


def run(code: str, tree: Path, words: list[str], threads: int) -> Cost:
    """One piece of work in a fresh process that sees a checkout's package alone."""
    done = subprocess.run(
        [sys.executable, "-c", f"{BEGIN}torch.set_num_threads({threads})\n{code}{END}", *words], cwd=tree,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{tree}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def differ(one: object, other: object) -> bool:
    """Whether two answers are not the same to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() != other.keys() or any(differ(one[key], other[key]) for key in one)
    assert isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
    return not torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="a commit, or a folder with another checkout")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--draws", type=int, default=1, help="of the study")
    given = parser.parse_args()
    with checkout(given.revision) as other, tempfile.TemporaryDirectory() as scratch:
        first = Path(scratch) / "first.yaml"
        first.write_text(FIRST, encoding="utf-8")
        trees = {"then": other, "now": ROOT}
        print(f"{'work':8}{'then':>12}{'now':>12}{'quicker':>9}{'on the wall':>13}   processor seconds, medians")
        for work in given.works:
            code, same = WORKS[work]
            costs: dict[str, list[Cost]] = {name: [] for name in trees}
            for number in range(given.repeats):
                for name, tree in trees.items():
                    old = not (tree / "facelesion" / "study").is_dir()
                    study = tree / "configs" / "default.yaml" if old else first
                    words = [f"{scratch}/{work}-{name}-{number}", str(study), str(given.draws)]
                    costs[name].append(run(code, tree, words, given.threads))
                if same and differ(*(torch.load(f"{scratch}/{work}-{name}-{number}") for name in trees)):
                    sys.exit(f"{work}: the two do not answer the same")
            told = {
                what: [statistics.median(getattr(cost, what) for cost in costs[name]) for name in trees]
                for what in ("processor", "wall")
            }
            (then, now), (wall_then, wall_now) = told["processor"], told["wall"]
            print(f"{work:8}{then:10.1f} s{now:10.1f} s{then / now:8.2f}x{wall_then / wall_now:12.2f}x", flush=True)


if __name__ == "__main__":
    main()
