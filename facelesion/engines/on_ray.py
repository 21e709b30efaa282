"""Ray: workstations, a cloud, Kubernetes. One actor per GPU, or per few cores; Ray finds them room and restarts them.

What Ray does: places actors by their resources, restarts those that die, on nodes that join too, carries the inputs
from node to node once, says which answer is there (`ray.wait`). What is done here: an actor that is free is given the
next cell, and the cell of one that died is given to another.
"""

from __future__ import annotations

import importlib
import logging
import socket
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from facelesion.engines.contract import Desk, Failure, Job, Work, Worker, attempted
from facelesion.engines.parts import Carried, Parts
from facelesion.engines.progress import Progress
from facelesion.engines.ray_address import TOKEN, answers, hushed
from facelesion.errors import Error, one_line
from facelesion.ranges import Label, Range
from facelesion.settings import check

LOSSES = 10  # workers that one cell may lose before it is thought to kill them: machines die by themselves
TRIES = 3  # of a cell that fails by no mistake of the user's, such as a disk that cannot be written
_LOOKS = (0.0, 5.0, 10.0, 15.0)  # seconds before each look for parts that workers wrote and that are not seen yet
_PACKAGES = ("facelesion", "torch")


@dataclass(frozen=True)
class Ray:
    """Work on a Ray cluster.

    Attributes:
        address: of the cluster, such as `auto`, the one that this machine belongs to; one of this machine alone is
            started where it is left out.
        workers: at most so many at once; as many as there is room for where it is left out.
        cpus_per_worker: cores that each takes.
        gpus_per_worker: GPUs that each takes, or a share of one; 1 where the cluster has any when left out.
        object_store_gb: memory for what workers share, of a cluster that is started here; Ray's default when left out.

    Example:
        >>> Ray(address="auto", cpus_per_worker=2).cpus_per_worker
        2.0
    """

    address: Label | None = None
    workers: Annotated[int, Range(1, 100_000)] | None = None
    cpus_per_worker: Annotated[float, Range(0, 1024, above=True)] = 1
    gpus_per_worker: Annotated[float, Range(0, 64)] | None = None
    object_store_gb: Annotated[float, Range(0.08, 4096)] | None = None

    def __post_init__(self) -> None:
        check(self)

    def look(self) -> None:
        """Tell before any work what could not be done; where a cluster is named, this process belongs to it then.

        Raises:
            Error: Ray is not installed, or there is no cluster at the address.
        """
        ray = library()
        if self.address and not ray.is_initialized():
            self._connect(ray)

    def run(self, job: Job) -> None:
        """As `Engine.run`.

        Raises:
            Error: as there, or the nodes have other versions of what they compute with.
        """
        cells, before = job.missing()
        if not cells:
            return
        ray = library()
        with self._connected(ray):
            crew = _Crew(ray, self, job, Progress(job, cells))
            try:
                crew.do(before, counted=False)
                cells = job.work.missing(cells, job.parts)
                for again in (False, True):
                    crew.do(cells, counted=not again)
                    cells = _unseen(cells, job)
                    if not cells:
                        return
                raise Error(f"{job.folder} does not keep what is written there: choose a folder on another disk")
            finally:
                crew.end()

    @contextmanager
    def _connected(self, ray: Any) -> Iterator[None]:
        if ray.is_initialized():  # by whoever called us, and theirs to end
            yield
            return
        self._connect(ray)
        try:
            yield
        finally:
            ray.shutdown()

    def _connect(self, ray: Any) -> None:
        there = bool(self.address and answers(self.address))
        # `local` starts one of its own, even where another is running on this machine.
        settings: dict[str, Any] = {"address": self.address or "local", "log_to_driver": False}
        settings["logging_level"] = logging.ERROR
        if not self.address:
            settings["include_dashboard"] = False
            if self.object_store_gb:
                settings["object_store_memory"] = int(self.object_store_gb * 1e9)
        try:
            with hushed():
                ray.init(**settings)
        except (ConnectionError, RuntimeError, ValueError) as problem:
            said = one_line(problem)[:200]
            hint = f"; {TOKEN}" if there else ""
            raise Error(f"address: no Ray cluster at {self.address or 'this machine'} ({said}){hint}") from None


def _unseen(cells: Sequence[Any], job: Job) -> list[Any]:
    """Cells whose parts do not come: a folder over a network shows late what others wrote, and never what was lost."""
    left = list(cells)
    for pause in _LOOKS:
        time.sleep(pause)
        left = job.work.missing(left, job.parts)
        if not left:
            break
    return left


def library() -> Any:
    """Ray, where it is installed.

    Raises:
        Error: it is not.
    """
    return importlib.import_module("ray")


def versions() -> dict[str, str]:
    """Of what the numbers hang on."""
    found = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@dataclass(frozen=True, eq=False)
class Setting:
    """What every worker has to know of a job.

    Attributes:
        work: what is done with a cell.
        inputs: by name, references to what cells need.
        folder: of the parts, where the coordinator is.
        mark: a file in it: who sees it sees the folder.
    """

    work: Work
    inputs: Mapping[str, Any]
    folder: str
    mark: str


class Station:
    """An actor: one worker on some node. It is told all it knows with every call, for it may have been restarted."""

    def __init__(self) -> None:
        self.inputs: Mapping[str, Any] = {}
        self.known: Mapping[str, Any] = {}
        self.parts: Parts | None = None
        self.worker: Worker | None = None

    def ready(self, setting: Setting) -> dict[str, Any]:
        """Who this is, once it is there: its node, and its versions."""
        self._parts_of(setting)
        return {"host": socket.gethostname(), "versions": versions()}

    def do(self, setting: Setting, cell: Any, known: Mapping[str, Any]) -> tuple[Failure | None, dict[str, bytes]]:
        """Do a cell; what went wrong, and the files to be written by whoever asked, where the folder is not seen here.

        Args:
            setting: of the job.
            cell: the cell.
            known: by name, references to the parts that it builds on.
        """
        self.inputs, self.known, parts = setting.inputs, known, self._parts_of(setting)

        def work() -> None:
            if self.worker is None:
                self.worker = setting.work.begin(Desk(self._fetch, parts))
            self.worker.do(cell)

        failure = attempted(work)
        kept: dict[str, bytes] = {}
        if isinstance(parts, Carried):
            kept, parts.kept = parts.kept, {}
        return failure, kept

    def _parts_of(self, setting: Setting) -> Parts:
        if self.parts is None:
            shared = (Path(setting.folder) / setting.mark).exists()
            self.parts = Parts(Path(setting.folder)) if shared else Carried(self._carried)
        return self.parts

    def _fetch(self, name: str) -> Any:
        return library().get(self.inputs[name])

    def _carried(self, name: str) -> bytes | None:
        return library().get(self.known[name]) if name in self.known else None


class _Crew:
    """All actors, and who is at what."""

    def __init__(self, ray: Any, engine: Ray, job: Job, progress: Progress) -> None:
        self.ray, self.engine, self.job, self.progress = ray, engine, job, progress
        self.mark = f".seen-{uuid.uuid4().hex}"
        (job.folder / self.mark).touch()
        self.gpus = engine.gpus_per_worker
        if self.gpus is None:
            self.gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
        self.kind = ray.remote(Station).options(
            num_cpus=engine.cpus_per_worker, num_gpus=self.gpus, max_restarts=-1, max_task_retries=0
        )
        self.inputs = {name: ray.put(value) for name, value in job.inputs.items()}
        self.setting = ray.put(Setting(job.work, self.inputs, str(job.folder.resolve()), self.mark))
        self.known: dict[str, Any] = {}
        self.actors: list[Any] = []
        self.free: deque[Any] = deque()
        self.running: dict[Any, tuple[Any, Any]] = {}  # by reference: an actor and its cell, or None while it begins
        self.losses: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()
        self.never_ready: Counter[Any] = Counter()

    def do(self, cells: Sequence[Any], counted: bool) -> None:
        """All of these cells."""
        waiting = deque(cells)
        left = len(cells)
        looked = 0.0
        while left:
            if time.monotonic() - looked > 2:
                looked = time.monotonic()
                self._hire(left)
            while waiting and self.free:
                self._hand(self.free.popleft(), waiting.popleft())
            self.progress.tell(len(self.actors) - sum(cell is None for _, cell in self.running.values()))
            if not self.running:
                time.sleep(0.5)
                continue
            there, _ = self.ray.wait(list(self.running), num_returns=1, timeout=2)
            if there:
                there, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0)
            for reference in there:
                actor, cell = self.running.pop(reference)
                if cell is None:
                    self._begun(reference, actor)
                elif self._answered(reference, actor, cell):
                    left -= 1
                    if counted:
                        self.progress.finished(cell)
                else:
                    waiting.appendleft(cell)

    def _hire(self, left: int) -> None:
        """As many actors as the cluster has room for: nodes may have joined."""
        there = self.ray.cluster_resources()
        room = int(there.get("CPU", 0) // self.engine.cpus_per_worker)
        if self.gpus:
            room = min(room, int(there.get("GPU", 0) // self.gpus))
        wanted = min(max(room, 1), self.engine.workers or room or 1, left)
        for _ in range(wanted - len(self.actors)):
            actor = self.kind.remote()
            self.actors.append(actor)
            self._begin(actor)

    def _begin(self, actor: Any) -> None:
        # Asked until it answers: it may be waiting for room, or be restarted just now.
        self.running[actor.ready.options(max_task_retries=-1).remote(self.setting)] = actor, None

    def _begun(self, reference: Any, actor: Any) -> None:
        try:
            about = self.ray.get(reference)
        except self.ray.exceptions.RayError as problem:
            self.never_ready[actor] += 1
            if self.never_ready[actor] < TRIES:
                self._begin(actor)
                return
            self.actors.remove(actor)
            self.ray.kill(actor)
            if not self.free and not any(cell is not None for _, cell in self.running.values()):
                said = one_line(problem)[:300]
                hint = f"; {TOKEN}" if isinstance(problem, self.ray.exceptions.RayActorError) else ""
                raise Error(f"no worker can begin on the Ray cluster ({said}){hint}") from None
            return
        ours = versions()
        if about["versions"] != ours:
            raise Error(
                f"node {about['host']} has {_listed(about['versions'])}, and this machine {_listed(ours)}: install "
                "the same everywhere, for numbers hang on it"
            )
        self.never_ready[actor] = 0
        self.free.append(actor)

    def _hand(self, actor: Any, cell: Any) -> None:
        for name in self.job.work.needs(cell):
            path = self.job.folder / name
            if name not in self.known and self.job.parts.has(name):
                self.known[name] = self.ray.put(path.read_bytes())
        known = {name: self.known[name] for name in self.job.work.needs(cell) if name in self.known}
        self.running[actor.do.remote(self.setting, cell, known)] = actor, cell

    def _answered(self, reference: Any, actor: Any, cell: Any) -> bool:
        """Whether an actor did its cell; another has to where it died.

        Raises:
            Error: the cell cannot be done.
        """
        told = self.job.work.told(cell)
        try:
            failure, kept = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as problem:
            failure, kept = Failure(str(problem), ours=False), {}
        except self.ray.exceptions.RayError as problem:
            self.losses[cell.key] += 1
            if self.losses[cell.key] == LOSSES:
                said = one_line(problem)[:300]
                raise Error(
                    f"{told}: {LOSSES} workers died over it, so it may need more memory than they have; what is done "
                    f"is kept ({said})"
                ) from None
            self.progress.say(f"  a worker died at {told}: another will do it")
            self._begin(actor)
            return False
        self.free.append(actor)
        for name, data in kept.items():
            self.job.parts.write(name, data)
        if failure is None:
            return True
        self.tries[cell.key] += 1
        if failure.ours or self.tries[cell.key] == TRIES:
            raise failure.raised()
        self.progress.say(f"  {told} failed: {failure.line.strip().splitlines()[-1]}")
        return False

    def end(self) -> None:
        """Let all actors go."""
        self.progress.close()
        for actor in self.actors:
            with suppress(Exception):
                self.ray.kill(actor)
        (self.job.folder / self.mark).unlink(missing_ok=True)


def _listed(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items()) or "neither facelesion nor torch"
