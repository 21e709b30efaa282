"""Train participants one after the other: those that are done are passed over, those that were cut go on.

    python scripts/train_participants.py --seeds 3-14 --processes 2 -- --teacher mobilefacenet.pt \
        --data.root lfw-deepfunneled.tgz --data.landmarker face_landmarker.task --data.objects objects.tgz

Each seed is `python -m facelesion.train --config configs/train/participant.yaml --seed N` with the words after `--`, in
a process of its own with one thread. What it says goes to `<run.folder>/seedN.log`. Stop it whenever you like, and give
the same command again. Several of these may run at once: a seed is trained by one of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facelesion.locks import locked

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "train" / "participant.yaml"


def seeds_of(text: str) -> list[int]:
    """Numbers and ranges: `3-5,9` is 3, 4, 5, 9.

    >>> seeds_of("3-5,9")
    [3, 4, 5, 9]
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"{part!r} is no seed and no range: write such as 3-14,20")
        found = range(int(first), int(last or first) + 1)
        if not found:
            raise argparse.ArgumentTypeError(f"{part!r} goes down: write the lower seed first")
        seeds += [seed for seed in found if seed not in seeds]
    return seeds


@contextmanager
def claimed(folder: Path, seed: int) -> Iterator[bool]:
    """Whether this seed is ours to train; the system lets go of it when this process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"seed{seed}.lock", wait=False) as ours:
        yield ours


def train(seed: int, config: Path, folder: Path, words: list[str]) -> int:
    """Train one seed, or go on with it; the exit status."""
    command = [  # -P: this project's code, whatever lies in the folder where this was called
        sys.executable, "-P", "-m", "facelesion.train", "--config", str(config), "--seed", str(seed),
        "--run.folder", str(folder), *words,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    with open(folder / f"seed{seed}.log", "ab") as log:
        status = subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode
    minutes = (time.monotonic() - started) / 60
    print(
        f"seed {seed}: {'done' if status == 0 else f'ended with {status}'} after {minutes:.0f} minutes",
        flush=True,
    )
    return status


def train_all(seeds: list[int], config: Path, folder: Path, words: list[str]) -> list[int]:
    """Train those that are not done and that nobody else trains; the seeds that failed."""
    failed = []
    for seed in seeds:
        if (folder / f"seed{seed}" / "weights.safetensors").is_file():
            print(f"seed {seed}: done before", flush=True)
            continue
        with claimed(folder, seed) as ours:
            if not ours:
                print(f"seed {seed}: another process trains it", flush=True)
            elif (status := train(seed, config, folder, words)) == 2:
                # A mistake in the settings is every seed's.
                raise SystemExit(f"see {folder / f'seed{seed}.log'}")
            elif status:
                failed.append(seed)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds_of, required=True, help="such as 3-14 or 3,5,7-9")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the recipe's settings")
    parser.add_argument("--folder", type=Path, default=Path("runs/participants"), help="where runs are kept")
    parser.add_argument(
        "--processes", type=int, default=1, help="how many are trained at once, one core each"
    )
    parser.add_argument("words", nargs="*", help="after --: further settings of the training")
    given = parser.parse_args()
    if given.processes < 1:
        parser.error(f"--processes is {given.processes}: it must be 1 or more")
    if given.processes == 1:
        failed = train_all(given.seeds, given.config, given.folder, given.words)
        sys.exit(f"failed: {failed}: give the same command again" if failed else 0)
    again = [
        sys.executable, __file__, "--config", str(given.config), "--folder", str(given.folder),
        "--seeds", ",".join(map(str, given.seeds)), "--", *given.words,
    ]  # fmt: skip
    started = [subprocess.Popen(again) for _ in range(given.processes)]
    sys.exit(max(process.wait() for process in started))


if __name__ == "__main__":
    main()
