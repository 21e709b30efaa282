"""Several processes of this machine: the plain way to use its cores and devices."""

from __future__ import annotations

import functools
import multiprocessing.connection
import pickle
import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from facelesion.engines.contract import Desk, Job, Worker, attempted
from facelesion.engines.parts import Parts
from facelesion.engines.progress import Progress
from facelesion.errors import Error
from facelesion.main_guard import GUARD, UNGUARDED, refuse_in_unguarded_main
from facelesion.ranges import Range
from facelesion.settings import check

LOSSES = 3  # workers that one cell may take down with it
PATIENCE = 10.0  # seconds for a worker that is told to end


@dataclass(frozen=True)
class Processes:
    """Work in several processes of this machine. They are started afresh, and replaced where one dies.

    Attributes:
        count: how many.

    Example:
        >>> Processes(2)
        Processes(count=2)
    """

    count: Annotated[int, Range(1, 256)] = 2

    def __post_init__(self) -> None:
        check(self)

    def run(self, job: Job) -> None:
        """As `Engine.run`."""
        refuse_in_unguarded_main()
        cells, before = job.missing()
        if not cells:
            return
        crew = _Crew(job, min(self.count, len(cells)), Progress(job, cells))
        try:
            crew.do(before, counted=False)
            crew.do(job.work.missing(cells, job.parts), counted=True)
        finally:
            crew.end()


class _Crew:
    """The processes, each with a pipe through which it is given cells and answers."""

    def __init__(self, job: Job, count: int, progress: Progress) -> None:
        import torch
        import torch.multiprocessing

        self.job, self.progress = job, progress
        self.threads = max(1, torch.get_num_threads() // count)
        # Never forked: a forked copy of a process that has run torch's threads may hang.
        self.context = torch.multiprocessing.get_context("spawn")
        self.losses: Counter[str] = Counter()
        self.workers: dict[Any, Any] = {}
        try:
            for number in range(count):
                self._start(number)
        except BaseException:
            self.end()
            raise

    def _start(self, number: int) -> None:
        ours, theirs = self.context.Pipe()
        given = (theirs, number, self.threads, self.job.work, dict(self.job.inputs), str(self.job.folder))
        process = self.context.Process(target=_serve, args=given, daemon=True)
        try:
            process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as problem:
            raise Error(
                f"processes: the network, its hooks or the readout cannot be handed to another process ({problem}): "
                "define functions by name at the top of a file, or use processes=1"
            ) from problem
        except BrokenPipeError:  # it ended before it had read what it was given: while it ran the main script again
            raise Error(f"processes: one ended as soon as it was started; most likely {GUARD}") from None
        theirs.close()
        self.workers[ours] = process, number

    def do(self, cells: Sequence[Any], counted: bool) -> None:
        """All of these cells, each worker taking the next one as soon as it is free."""
        waiting, busy = deque(cells), dict[Any, Any]()
        while waiting or busy:
            for pipe in [pipe for pipe in self.workers if pipe not in busy]:
                if waiting:
                    busy[pipe] = waiting.popleft()
                    self._hand(pipe, busy[pipe])
            self.progress.tell(len(self.workers))
            for pipe in multiprocessing.connection.wait(list(busy), timeout=5):
                cell = busy.pop(pipe)
                if self._answered(pipe, cell):
                    if counted:
                        self.progress.finished(cell)
                else:
                    waiting.appendleft(cell)

    def _hand(self, pipe: Any, cell: Any) -> None:
        try:
            pipe.send(cell)
        except OSError:  # it has died meanwhile: its pipe says so when it is read
            pass

    def _answered(self, pipe: Any, cell: Any) -> bool:
        """Whether a worker did its cell; where it died, another takes its place.

        Raises:
            Error: the cell cannot be done.
        """
        try:
            said = pipe.recv()
        except (EOFError, OSError):
            process, number = self.workers.pop(pipe)
            pipe.close()
            process.join()
            if process.exitcode == UNGUARDED:
                raise Error(GUARD) from None
            self.losses[cell.key] += 1
            if self.losses[cell.key] == LOSSES:
                raise Error(
                    f"{self.job.work.told(cell)}: {LOSSES} worker processes ended unexpectedly over it (exit status "
                    f"{process.exitcode}; out of memory?): what is done is kept, so run it again, with fewer processes"
                ) from None
            self.progress.say(f"  a worker process ended (exit status {process.exitcode}): another takes its place")
            self._start(number)
            return False
        if said is not None:
            raise said.raised()
        return True

    def end(self) -> None:
        """End all workers; what they were at is not kept."""
        self.progress.close()
        for pipe, (process, _) in self.workers.items():
            pipe.close()
            process.terminate()
        for process, _ in self.workers.values():
            process.join(PATIENCE)
            process.kill()
            process.join()
        self.workers.clear()


def _serve(pipe: Any, number: int, threads: int, work: Any, inputs: Mapping[str, Any], folder: str) -> None:
    """A worker process: does cells until the pipe is closed, which is also what its parent's death does."""
    import signal
    from pathlib import Path

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends its workers
    # Told to end, it gives back what it holds of the system, as at its own end; Python would warn of it else.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    torch.set_num_threads(threads)
    workers: list[Worker] = []

    def do(cell: Any) -> None:
        if not workers:
            workers.append(work.begin(Desk(inputs.__getitem__, Parts(Path(folder)), number=number)))
        workers[0].do(cell)

    while True:
        try:
            cell = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(attempted(functools.partial(do, cell)))
