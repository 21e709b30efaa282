"""How long training a readout on cached features takes, and how much memory, against features made anew in each epoch.

    python benchmarks/head_training.py [--faces 5000] [--epochs 10] [--threads 2]

The whole command is timed as a user runs it, in a process of its own: faces drawn, shown to the network once, readout
trained, tests written. Beside it stand the floor, which is one forward pass per picture, and what training without a
cache would take at least, which is one per picture and epoch.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from facelesion.models import get
from facelesion.training.reached import represent

ROOT = Path(__file__).resolve().parents[1]
PICTURES = 5


def whole_command(faces: int, epochs: int, threads: int) -> tuple[float, float]:
    """Seconds and peak memory (GB) of `python -m facelesion.train` with the readout alone trained."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            sys.executable, "-m", "facelesion.train", "--config", str(ROOT / "configs/notebook/healthy.yaml"),
            "--trained", "head", "--task", "identification", "--data.people", str(faces // PICTURES),
            "--data.pictures", str(PICTURES), "--epochs", str(epochs), "--run.folder", f"{folder}/run",
            "--run.progress", "false", "--run.accelerator", "cpu", "--data.tests", "[intact]",
        ]  # fmt: skip
        start = time.perf_counter()
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def one_pass(faces: int) -> float:
    """Seconds for one forward pass of so many pictures, measured on 500."""
    subject = get("builtin")
    images = torch.randint(0, 256, (500, 3, subject.size, subject.size), dtype=torch.uint8)
    represent(subject, images[:64])
    start = time.perf_counter()
    represent(subject, images)
    return (time.perf_counter() - start) * faces / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    seconds, memory = whole_command(given.faces, given.epochs, given.threads)
    once = one_pass(given.faces)
    print(f"{given.faces} faces, {given.epochs} epochs, {given.threads} threads")
    print(f"the whole command      {seconds:6.1f} s, {memory:.2f} GB at the most")
    print(f"floor: one pass        {once:6.1f} s, {once / seconds:.0%} of the whole")
    print(f"passes without a cache {given.epochs * once:6.1f} s, {given.epochs * once / seconds:.1f} times the whole")


if __name__ == "__main__":
    main()
