"""What engines cost beside plain processes, and how they scale: cells that sleep, or that damage a network in earnest.

    python benchmarks/engines.py overhead [--seconds 20] [--cells 16] [--engines processes ray local slurm]
    python benchmarks/engines.py scaling  [--seconds 5] [--cells 24]           # 1 and 2 workers, each engine
    python benchmarks/engines.py many     [--workers 64] [--cells 768]         # Ray's coordinator and actors
    python benchmarks/engines.py study    [--engines processes ray]            # a study's own cells, two workers

Sleeping cells show what handing out, starting and waiting cost, on a machine that is busy too; the real coordinator
hands them to real workers. Every time is from the call of the engine to its return, start of the workers included;
`steady` leaves out what passed until the last worker began its first cell.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facelesion.engines import Desk, Here, Job, Parts, Processes, Ray, Slurm

STORE_GB = 0.2


@dataclass(frozen=True)
class Nap:
    """A cell that sleeps."""

    key: str
    seconds: float


class Sleeper:
    """Sleeps, and notes when."""

    def __init__(self, desk: Desk, heavy: bool) -> None:
        self.parts = desk.parts
        if heavy:  # as whoever damages a network has to
            import torch  # noqa: F401

    def do(self, cell: Nap) -> None:
        begun = time.time()
        time.sleep(cell.seconds)
        self.parts.keep(cell.key, f"{begun} {time.time()} {os.getpid()}".encode())


@dataclass(frozen=True)
class Naps:
    """Work that is sleeping; its workers import PyTorch first, unless there are too many for one machine."""

    heavy: bool = True

    def begin(self, desk: Desk) -> Sleeper:
        return Sleeper(desk, self.heavy)

    def missing(self, cells: Sequence[Nap], parts: Parts) -> list[Nap]:
        return [cell for cell in cells if not parts.has(cell.key)]

    def amount(self, cell: Nap) -> int:
        return 1

    def needs(self, cell: Nap) -> Sequence[str]:
        return ()

    def told(self, cell: Nap) -> str:
        return f"nap {cell.key}"


def engine_called(name: str, workers: int) -> Any:
    """An engine with so many workers."""
    if name == "processes":
        return Processes(workers)
    if name == "ray":
        return Ray(workers=workers, object_store_gb=STORE_GB)
    cluster = "slurm" if name == "slurm" else "local"
    return Slurm(cluster=cluster, shares=workers, at_once=workers, look_every=1, time=600)


@dataclass(frozen=True)
class Timed:
    """How a job went.

    Attributes:
        spent: seconds from the call to the return.
        steady: the same from when the last worker had begun, over what was slept then, by worker.
        workers: how many there were.
        between: seconds that a worker waited from the end of a cell to the begin of its next, on average.
        idle: seconds that a worker had nothing left to do before the last was done, on average.
    """

    spent: float
    steady: float
    workers: int
    between: float
    idle: float


def timed(engine: Any, cells: int, seconds: float, heavy: bool = True) -> Timed:
    """Do so many cells, and tell how it went."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as folder:
        job = Job(Naps(heavy), [Nap(f"nap{number:05}", seconds) for number in range(cells)], {}, Path(folder))
        started = time.time()
        engine.run(job)
        ended = time.time()
        told = [(job.parts.read(cell.key) or b"").decode().split() for cell in job.cells]
        naps: dict[str, list[tuple[float, float]]] = {}
        for begun, end, process in told:
            naps.setdefault(process, []).append((float(begun), float(end)))
        each = [sorted(some) for some in naps.values()]
        last = max(some[0][0] for some in each)
        # What was done before the last worker began is no part of the steady time, nor of its work.
        after = sum(max(0.0, end - max(begun, last)) for some in each for begun, end in some)
        waits = [begun - end for some in each for (_, end), (begun, _) in itertools.pairwise(some)]
        idle = sum(ended - some[-1][1] for some in each) / len(each)
        between = sum(waits) / max(1, len(waits))
        return Timed(ended - started, (ended - last) / (after / len(each)), len(each), between, idle)


def overhead(given: argparse.Namespace) -> None:
    """Each engine beside plain processes, two workers."""
    print(f"{given.cells} cells of {given.seconds:g} s, {given.workers} workers")
    print(f"{'engine':12}{'time':>9}{'over sleep':>12}{'over processes':>16}{'steady':>9}")
    plain = None
    ideal = given.seconds * -(-given.cells // given.workers)
    for name in given.engines:
        found = timed(engine_called(name, given.workers), given.cells, given.seconds)
        spent, steady = found.spent, found.steady
        plain = plain or spent
        print(f"{name:12}{spent:8.1f}s{spent / ideal - 1:12.1%}{spent / plain - 1:16.1%}{steady - 1:9.1%}", flush=True)


def scaling(given: argparse.Namespace) -> None:
    """How much faster two workers are than one."""
    print(f"{given.cells} cells of {given.seconds:g} s")
    print(f"{'engine':12}{'one':>9}{'two':>9}{'ratio':>7}")
    for name in given.engines:
        one, two = (timed(engine_called(name, count), given.cells, given.seconds).spent for count in (1, 2))
        print(f"{name:12}{one:8.1f}s{two:8.1f}s{one / two:7.2f}", flush=True)


def many(given: argparse.Namespace) -> None:
    """Many workers of one Ray coordinator, on this machine: their cells sleep, so that its cores do not matter."""
    import ray

    ray.init("local", num_cpus=given.workers, include_dashboard=False, log_to_driver=False,
             object_store_memory=int(STORE_GB * 1e9))  # fmt: skip
    try:
        found = timed(Ray(workers=given.workers), given.cells, given.seconds, heavy=False)
    finally:
        ray.shutdown()
    ideal = given.cells * given.seconds / given.workers
    print(
        f"{given.cells} cells of {given.seconds:g} s, {found.workers} workers: {found.spent:.1f} s, "
        f"{ideal / found.spent:.1%} of ideal; {1 / found.steady:.1%} once all workers were there\n"
        f"a worker waited {found.between:.3f} s between two cells, and {found.idle:.1f} s for the last to end"
    )


def study(given: argparse.Namespace) -> None:
    """A study of the built-in network whose cells take some seconds each."""
    from facelesion.study import Study, run
    from facelesion.study.run import gather, job_of

    design = Study(
        name="engines", participants=["builtin"], stimuli=["intact", "invert"], draws=given.cells // 2,
        lesions={"ablation": [{"kind": "Ablate", "site": "conv4_3, conv5_*", "fraction": [0.1, 0.2, 0.3, 0.4]}]},
        tasks=["detection", "identification"], device="cpu",
    )  # fmt: skip
    run.SHARD = 4
    gathered = gather(design)
    print(f"{len(gathered.cells())} cells of 4 lesions × {len(gathered.pool)} pictures")
    for name in given.engines:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as folder:
            job = dataclasses.replace(job_of(gathered, Path(folder)), logs=Path(folder) / "logs", progress=False)
            engine = Here() if name == "here" else engine_called(name, given.workers)
            started = time.time()
            engine.run(job)
            print(f"{name:12}{time.time() - started:8.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "scaling", "many", "study"])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--cells", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=["processes", "ray", "local"])
    given = parser.parse_args()
    {"overhead": overhead, "scaling": scaling, "many": many, "study": study}[given.what](given)


if __name__ == "__main__":
    main()
