"""SLURM, through submitit: an array of tasks, each with its share of the cells, requeued when it is preempted.

The queue and the folder know everything: what is done lies in the folder, what is being done stands in the queue under
a name that the folder knows. So the coordinator only looks; it may be interrupted or killed, and typed again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from facelesion.engines import queues
from facelesion.engines.contract import Failure, Job
from facelesion.engines.progress import Progress
from facelesion.engines.shares import (
    CANCELLED,
    FAILED,
    Array,
    Inputs,
    Share,
    arrays_in,
    failures_in,
    shared_out,
)
from facelesion.errors import Error, one_line
from facelesion.files import digest_of, nearest
from facelesion.ranges import Label, Range, Size
from facelesion.settings import check

TRIES = 3  # times that a cell is handed in: its task may have been cancelled, or its node have died
_LATE = 2  # times `look_every`: so long is a cell in nobody's hands before it is handed in again


@dataclass(frozen=True)
class Slurm:
    """Work as an array of SLURM tasks.

    Attributes:
        cluster: `slurm`, or `local`, which runs the same tasks as processes of this machine.
        partition: where they run; the cluster's own choice when left out.
        time: minutes that a task may take; one that takes longer is requeued and goes on with its next cell.
        shares: how many tasks the cells are cut into; 64, or one per core on `local`, when left out.
        at_once: tasks that run at the same time, at most.
        gpus_per_task: GPUs that each takes.
        cpus_per_task: cores that each takes.
        memory_gb: memory that each takes; the cluster's own choice when left out.
        account: whom it is charged to.
        qos: quality of service.
        constraint: features that the nodes must have.
        setup: shell commands before Python starts on a node, such as `module load cuda`.
        look_every: seconds between two looks at the queue.

    Example:
        >>> Slurm(partition="gpu", time=30, gpus_per_task=1).partition
        'gpu'
    """

    cluster: Literal["slurm", "local"] = "slurm"
    partition: Label | None = None
    time: Annotated[int, Range(1, 100_000)] = 60
    shares: Annotated[int, Range(1, 1000)] | None = None
    at_once: Annotated[int, Range(1, 1000)] = 256
    gpus_per_task: Annotated[int, Range(0, 64)] = 0
    cpus_per_task: Annotated[int, Range(1, 1024)] = 1
    memory_gb: Annotated[float, Range(0, 100_000, above=True)] | None = None
    account: Label | None = None
    qos: Label | None = None
    constraint: Label | None = None
    setup: Annotated[Sequence[str], Size(0, 100)] = ()
    look_every: Annotated[float, Range(0.1, 3600)] = 5

    def __post_init__(self) -> None:
        check(self)

    def look(self) -> None:
        """Tell before any work what could not be done.

        Raises:
            Error: submitit is not installed, there is no SLURM here, or it has no such partition.
        """
        library()
        if self.cluster == "local":
            if shutil.which("ps") is None:
                raise Error("cluster: local looks after its tasks by `ps`, which is not here: take --processes instead")
            return
        if shutil.which("sbatch") is None:
            raise Error(
                "there is no SLURM on this machine (no sbatch): type it on the cluster's login node, or take "
                "--cluster local"
            )
        there = queues.partitions()
        for name in self.partition.split(",") if self.partition else ():
            if name not in there:
                raise Error(f"partition: the cluster has none called {name[:60]!r}: {nearest(name, there)}")

    def run(self, job: Job) -> None:
        """As `Engine.run`: hands in what is in nobody's hands, and waits. Ctrl-C leaves the tasks at work.

        Raises:
            Error: as there, or the tasks were cancelled.
        """
        self.look()
        cells, before = job.missing()
        if not cells:
            return
        watch = _Watch(self, job, Progress(job, cells))
        try:
            watch.until_done(cells, before)
        except KeyboardInterrupt:
            watch.progress.say(
                f"the tasks go on: the same command attaches again, `facelesion status {job.folder.parent}` tells how "
                f"far they are, `facelesion cancel {job.folder.parent}` ends them"
            )
            raise
        finally:
            watch.progress.close()

    def executor(self, folder: Path, name: str, after: str) -> Any:
        """What hands tasks in, with all that is asked of SLURM."""
        found = library().AutoExecutor(folder, cluster=self.cluster, slurm_max_num_timeout=1000)
        asked: dict[str, Any] = {
            "timeout_min": self.time,
            "cpus_per_task": self.cpus_per_task,
            "slurm_job_name": name,
            "slurm_array_parallelism": self.at_once,
            "slurm_signal_delay_s": min(90, 15 * self.time),  # before its end a task is told to be requeued
            "slurm_additional_parameters": {"requeue": True},
        }
        if self.gpus_per_task:
            asked["gpus_per_node"] = self.gpus_per_task
        if self.memory_gb:
            asked["mem_gb"] = self.memory_gb
        if self.setup:
            asked["slurm_setup"] = list(self.setup)
        for key in ("partition", "account", "qos", "constraint"):
            if getattr(self, key):
                asked[f"slurm_{key}"] = getattr(self, key)
        if after:
            asked["slurm_dependency"] = f"afterany:{after}"
        found.update_parameters(**asked)
        return found


def library() -> Any:
    """submitit, where it is installed.

    Raises:
        Error: it is not.
    """
    return importlib.import_module("submitit")


class _Watch:
    """Sees to it that every cell is done, or in the hands of a task."""

    def __init__(self, engine: Slurm, job: Job, progress: Progress) -> None:
        self.engine, self.job, self.progress = engine, job, progress
        self.arrays = arrays_in(job.folder)
        self.handed_in: Counter[str] = Counter()
        self.adrift: dict[str, float] = {}  # by the key of a cell in nobody's hands, since when
        self.every = engine.look_every if engine.cluster == "slurm" else min(1.0, engine.look_every)
        self.inputs: Inputs | None = None
        self.jobs: list[Any] = []  # kept, or submitit would end those on this machine with us
        (job.folder / CANCELLED).unlink(missing_ok=True)
        for told in (job.folder / FAILED).glob("*.json"):  # of an earlier start: it is tried again
            told.unlink()

    def until_done(self, cells: list[Any], before: list[Any]) -> None:
        """Look until every cell is done."""
        loose = self._loose(cells)
        if loose is None:
            raise Error("SLURM's controller does not answer (squeue): try again later")
        if loose:
            after = ""
            if before and len(loose) == len(cells):
                first = self._hand_in(before, "")
                if self.engine.cluster == "local":
                    self._wait_for(first)
                    self._heed(cells)  # cancelled meanwhile, or a mistake: nothing more is handed in
                else:
                    after = first.ids[0].partition("_")[0]
            self._hand_in(loose, after)
        for pause in self._pauses():
            if not cells:
                break
            time.sleep(pause)
            done = cells
            cells = self.job.work.missing(cells, self.job.parts)
            left = {cell.key for cell in cells}
            for cell in done:
                if cell.key not in left:
                    self.progress.finished(cell)
            self._heed(cells)
            self._hand_in_again(cells)
        # A task that was requeued with nothing left to do would be started for nothing.
        with contextlib.suppress(Error):
            queues.withdraw(self.arrays)

    def _pauses(self) -> Iterator[float]:
        """Seconds before each look: soon at first, for a small study is done soon."""
        pause = min(0.2, self.every)
        while True:
            yield pause
            pause = min(1.5 * pause, self.every)

    def _loose(self, cells: Sequence[Any]) -> list[Any] | None:
        """The cells that no task in the queue has; None where nobody can tell."""
        tasks = queues.in_queue(self.arrays)
        if tasks is None:
            return None
        by_name = {array.name: array for array in self.arrays}
        held = {key for task in tasks for key in by_name[task.array].keys(task.number)}
        self.progress.tell(sum(task.state == "RUNNING" for task in tasks))
        return [cell for cell in cells if cell.key not in held]

    def _hand_in_again(self, cells: Sequence[Any]) -> None:
        loose = self._loose(cells)
        if loose is None:
            return
        now = time.monotonic()
        self.adrift = {cell.key: self.adrift.get(cell.key, now) for cell in loose}
        # A task has ended and its part is not seen yet, or has just been handed in: no reason to do it twice.
        again = [cell for cell in loose if now - self.adrift[cell.key] >= _LATE * self.every]
        if again and not self.job.work.missing(again, self.job.parts):
            return
        for cell in again:
            if self.handed_in[cell.key] >= TRIES:
                raise self._lost(cell)
        if again:
            if any(self.handed_in.values()):
                self.progress.say(f"  {len(again)} cells are in nobody's hands any more: they are handed in again")
            self._hand_in(again, "")
            self.adrift.clear()

    def _lost(self, cell: Any) -> Exception:
        """Why a cell was never done."""
        told = self.job.work.told(cell)
        failure = failures_in(self.job.folder).get(cell.key)
        if failure is not None:
            return Failure(failure["line"], failure["ours"], failure["number"]).raised()
        held = [(a, n) for a in self.arrays for n in range(len(a.shares)) if cell.key in a.keys(n)]
        said = queues.last_words(*held[-1]) if held else ""
        where = f"; its logs are in {held[-1][0].folder}" if held else ""
        return Error(f"{told}: its task ended {TRIES} times without it ({said or 'it said nothing'}){where}")

    def _heed(self, cells: Sequence[Any]) -> None:
        """Stop where a user cancelled, or where a cell cannot be done.

        Raises:
            Error: so it is.
        """
        if (self.job.folder / CANCELLED).exists():
            queues.end(self.arrays)  # whoever cancelled may not have known of those that were just handed in
            raise Error("cancelled: what is done is kept, and the same command goes on with it")
        left = {cell.key for cell in cells}
        for key, failure in failures_in(self.job.folder).items():
            if failure["ours"] and key in left:
                queues.end(self.arrays)
                raise Error(failure["line"])

    def _hand_in(self, cells: Sequence[Any], after: str) -> Array:
        """Cut cells into shares, one a task, and hand them in."""
        if self.inputs is None:
            self.inputs = Inputs.written(self.job)
        count = self.engine.shares or (64 if self.engine.cluster == "slurm" else _cores(self.engine.cpus_per_task))
        shares = list(shared_out(cells, count))
        told = tuple(tuple((cell.key, self.job.work.told(cell)) for cell in share) for share in shares)
        name = f"facelesion-{digest_of([str(self.job.folder.resolve())], 8)}-{len(self.arrays)}"
        logs = ((self.job.logs or self.job.folder / "logs") / name).resolve()
        array = Array(name, self.engine.cluster, told, str(logs), (), socket.gethostname(), time.time())
        # Noted down before: whoever is killed now leaves tasks in the queue under a name that is known.
        array.write(self.job.folder)
        self.arrays.append(array)
        parts = self.job.folder.resolve()
        work = [Share(parts, self.inputs, share, number) for number, share in enumerate(shares)]
        with _interrupts_ignored(self.engine.cluster == "local"):
            jobs = _submitted(self.engine.executor(logs, name, after), work)
        self.jobs += jobs
        array = dataclasses.replace(array, ids=tuple(job.job_id for job in jobs))
        array.write(self.job.folder)
        self.arrays[-1] = array
        self.handed_in.update(cell.key for cell in cells)
        return array

    def _wait_for(self, array: Array) -> None:
        while queues.in_queue([array]):
            self._heed(self.job.before)
            time.sleep(min(0.2, self.every))


def _submitted(executor: Any, work: Sequence[Share]) -> list[Any]:
    """Tasks handed in as one array.

    Raises:
        Error: SLURM does not take them.
    """
    errors = importlib.import_module("submitit.core.utils")
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # sbatch's own words come with the error
            with executor.batch():
                return [executor.submit(share) for share in work]
    except errors.FailedJobError as problem:
        said = one_line(problem)
        raise Error(f"SLURM does not take the tasks: {said[-300:]}") from None


def _cores(each: int) -> int:
    return max(1, (os.cpu_count() or 1) // each)


@contextlib.contextmanager
def _interrupts_ignored(wanted: bool) -> Iterator[None]:
    """Processes that are started now do not hear of Ctrl-C, which a terminal sends to all that it started."""
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    held = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, held)
        sys.stderr.flush()
