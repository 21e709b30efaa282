"""What one busy neighbour costs: a study, a sweep, `prepare` and training, with and without one, on the same two cores.

    python benchmarks/neighbour.py [--against CHECKOUT] [--repeats 3] [--photographs FOLDER --landmarker FILE]

The neighbour is a process that computes without end. All are pinned to two cores where the system can do that. Printed
are medians, and the ratio that the goal is about: at most 2.5. With `--against`, another checkout of the project is
measured beside this one, alternating, so that "alone nothing is slower" can be seen.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOAL = 2.5
SWEEP = """
import torch
from facelesion.lesions import Ablate, Noise
from facelesion.models import get
from facelesion.sweep import sweep
network = get("builtin").module
images = torch.rand(32, 3, 112, 112)
lesions = {f"a{i}": Ablate("conv4_3, conv5_*", fraction=0.2, seed=i) for i in range(8)}
lesions |= {f"n{i}": Noise("conv3_2", std=0.5, seed=i) for i in range(4)}
for _ in range(2):
    sweep(network, lesions, images)
"""
STUDY = """
import sys
from facelesion.cli import main
main(["study", "default", "--participants", "[builtin]", "--stimuli", "[intact]", "--draws", "1",
      "--tasks", "[detection, identification]", "--contrasts", "[]", "--difficulty", "null", "--controls", "null",
      "--lesions", "{ablation: [{kind: Ablate, site: 'conv4_3, conv5_*', fraction: [0.05, 0.1, 0.2, 0.4]}]}",
      "--output", sys.argv[1]])
"""
OLD_STUDY = """
import sys
from facelesion.cli import main
main(["study", "configs/default.yaml", "--stimuli", "[intact]", "--draws", "1",
      "--tasks", "[detection, identification]", "--output", sys.argv[1]])
"""
TRAINING = """
import torch
from facelesion.models.vgg import VGGFace
network = VGGFace(0.25, outputs=10)
optimiser = torch.optim.SGD(network.parameters(), 0.01)
images, labels = torch.rand(32, 3, 112, 112), torch.arange(32) % 10
for _ in range(6):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    optimiser.step()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout of the project")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--photographs", help="a folder of people, to measure prepare")
    parser.add_argument("--landmarker", help="MediaPipe's model file")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    works = {"study": STUDY, "sweep": SWEEP, "training": TRAINING}
    if given.photographs:
        works["prepare"] = (
            "import sys\nfrom facelesion.data import prepare\n"
            f"prepare({given.photographs!r}, sys.argv[1], model={given.landmarker!r}, progress=False)\n"
        )
    trees = {"here": ROOT} | ({"against": given.against.resolve()} if given.against else {})
    print(f"{'work':10}{'code':9}{'alone':>9}{'neighbour':>11}{'ratio':>7}   goal {GOAL}")
    for work, code in works.items():
        times: dict[tuple[str, bool], list[float]] = {}
        for _ in range(given.repeats):
            for name, tree in trees.items():
                old = work == "study" and not (tree / "facelesion" / "study").is_dir()
                for busy in (False, True):
                    with neighbour() if busy else contextlib.nullcontext():
                        times.setdefault((name, busy), []).append(timed(OLD_STUDY if old else code, tree))
        for name in trees:
            alone, beside = (statistics.median(times[name, busy]) for busy in (False, True))
            print(f"{work:10}{name:9}{alone:8.1f}s{beside:10.1f}s{beside / alone:7.2f}", flush=True)


def timed(code: str, tree: Path) -> float:
    """Seconds that a fresh process takes for the code, with the package of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", code, f"{folder}/out"], cwd=tree, check=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": str(tree)},
        )  # fmt: skip
        return time.monotonic() - started


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """A process that computes on one core as long as this lasts."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


if __name__ == "__main__":
    main()
