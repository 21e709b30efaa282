"""Which tasks of arrays wait, run, or are gone: SLURM's queue, or the processes of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from facelesion.engines.shares import Array
from facelesion.errors import Error

LIVE = ("PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "STOPPED",
        "RESIZING", "SIGNALING", "STAGE_OUT", "SPECIAL_EXIT", "RESV_DEL_HOLD", "REQUEUE_FED")  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A task that is in the queue.

    Attributes:
        array: its name.
        number: within the array.
        id: that the queue knows it by.
        state: `RUNNING`, `PENDING` and so on.
        why: it waits, or where it runs.
    """

    array: str
    number: int
    id: str
    state: str
    why: str = ""


def in_queue(arrays: Sequence[Array]) -> list[Task] | None:
    """All tasks of these arrays that wait or run; None where nobody can tell just now.

    Raises:
        Error: they are on another machine, which alone can tell.
    """
    ours = [array for array in arrays if array.cluster == "local"]
    theirs = [array for array in arrays if array.cluster == "slurm"]
    found = [task for array in ours for task in _processes(array)]
    if theirs:
        listed = _squeue(theirs)
        if listed is None:
            return None
        found += listed
    return found


def _squeue(arrays: Sequence[Array]) -> list[Task] | None:
    if shutil.which("squeue") is None:
        raise Error("there is no SLURM on this machine: ask on the cluster's login node")
    names = ",".join(array.name for array in arrays)
    # Asked by name: an id may not have been noted down when a coordinator was killed.
    said = _said("squeue", "--noheader", "--array", f"--name={names}", "--format=%i|%j|%T|%r|%N")
    if said is None:
        return None
    found = []
    for line in said.splitlines():
        number, name, state, reason, nodes = line.split("|")
        if state in LIVE:
            task = int(number.partition("_")[2] or 0)
            found.append(Task(name, task, number, state, nodes if state == "RUNNING" else reason))
    return found


def partitions() -> list[str]:
    """The names of the cluster's partitions.

    Raises:
        Error: SLURM does not answer.
    """
    said = _said("sinfo", "--noheader", "--all", "--format=%R")
    if said is None:
        raise Error("SLURM does not answer on this machine (sinfo): try again later, or on the cluster's login node")
    return sorted(set(said.split()))


def _said(*command: str) -> str | None:
    """What a command of SLURM's prints; None where its controller does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (subprocess.TimeoutExpired, FileNotFoundError):
        return None
    return None if done.returncode else done.stdout


def _processes(array: Array) -> list[Task]:
    if array.ids and array.host != socket.gethostname():
        raise Error(f"{array.name} runs on {array.host}: ask there")
    alive = [(number, process) for number, process in enumerate(array.ids) if _alive(process)]
    return [Task(array.name, number, process, "RUNNING", array.host) for number, process in alive]


def _alive(process: str) -> bool:
    """Whether a process that works for an array is there; one that has ended and was not buried is not."""
    asked = ["ps", "-o", "stat=", "-o", "args=", "-p", process]
    said = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return bool(said) and not said.startswith("Z") and "submitit" in said


def _children(process: str) -> list[str]:
    # By options that every ps has; `--ppid` is Linux's alone.
    said = subprocess.run(["ps", "-A", "-o", "pid=", "-o", "ppid="], capture_output=True, text=True).stdout
    return [child for child, parent in map(str.split, said.splitlines()) if parent == process]


def end(arrays: Sequence[Array]) -> None:
    """End all tasks of these arrays.

    Raises:
        Error: SLURM does not do so.
    """
    for array in arrays:
        if array.cluster == "local":
            for task in _processes(array):
                for process in [*_children(task.id), task.id]:
                    with suppress(ProcessLookupError):
                        os.kill(int(process), signal.SIGKILL)
        else:
            _scancel([array])


def withdraw(arrays: Sequence[Array]) -> None:
    """Take tasks of these arrays that still wait out of the queue; those that run end by themselves.

    Raises:
        Error: SLURM does not do so.
    """
    _scancel([array for array in arrays if array.cluster == "slurm"], "--state=PENDING")


def _scancel(arrays: Sequence[Array], *more: str) -> None:
    for array in arrays:
        said = subprocess.run(["scancel", f"--name={array.name}", *more], capture_output=True, text=True)
        if said.returncode:
            raise Error(f"scancel could not end {array.name}: {' '.join(said.stderr.split())}")


def log_of(array: Array, task: int) -> Path | None:
    """What a task printed as errors, where it has got that far."""
    if task < len(array.ids):
        found = sorted(Path(array.folder).glob(f"{array.ids[task]}_*_log.err"))
        return found[-1] if found else None
    return None


def last_words(array: Array, task: int) -> str:
    """The last line that a task printed: why it ended, as a rule."""
    log = log_of(array, task)
    if log is None:
        return ""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
