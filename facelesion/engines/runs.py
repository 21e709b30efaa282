"""`facelesion status RUN` and `facelesion cancel RUN`: what the folder and the queue know of a study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from facelesion.arguments import read_arguments
from facelesion.engines import queues
from facelesion.engines.parts import Parts
from facelesion.engines.shares import CANCELLED, arrays_in, failures_in
from facelesion.errors import Error
from facelesion.files import write_bytes, write_surely
from facelesion.ranges import PathText

PLAN = "plan.json"  # in the folder of parts: every part's name, and what its cell is
_SHOWN = 10  # cells that are told one by one
_NO_ANSWER = "SLURM's controller does not answer (squeue)"


def write_plan(parts: Path, told: dict[str, str]) -> None:
    """Note down which parts there will be, by name, and what each is of."""
    write_surely(parts / PLAN, json.dumps(told).encode())


def status(run_folder: str | Path) -> str:
    """What of a study is done, running, waiting and failed, and why.

    Raises:
        Error: the folder is no run.
    """
    folder = Path(run_folder)
    if (folder / "manifest.json").is_file():
        return f"{folder}: finished; its report is {folder / 'report.html'}"
    parts = _parts_of(folder)
    try:
        plan = json.loads((parts / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{folder}: begun, and no cell yet: its pictures and networks are being prepared, or it was stopped"
    kept = Parts(parts)
    left = [name for name in plan if not kept.has(name)]
    lines = [f"{folder}: {len(plan) - len(left)} of {len(plan)} cells done"]
    if not left:
        lines.append("the same command puts them together into tables and report")
        return "\n".join(lines)
    arrays = arrays_in(parts)
    if not arrays:
        return "\n".join([*lines, "the same command goes on with the others, unless it is running"])
    return "\n".join([*lines, *_tasks(parts, {Path(name).stem: plan[name] for name in left})])


def _tasks(parts: Path, left: dict[str, str]) -> list[str]:
    """Lines on the tasks that have the cells that are left."""
    arrays = arrays_in(parts)
    tasks = queues.in_queue(arrays)
    if tasks is None:
        return [f"{_NO_ANSWER}: what runs is not known just now"]
    by_name = {array.name: array for array in arrays}
    lines, held = [], set[str]()
    running = [task for task in tasks if task.state == "RUNNING"]
    waiting = [task for task in tasks if task.state != "RUNNING"]
    for task in tasks:
        held |= {key for key in by_name[task.array].keys(task.number)}
    lines.append(f"  running {len(running)}, waiting {len(waiting)}")
    for task in running[:_SHOWN]:
        share = by_name[task.array].shares[task.number]
        cells = [told for key, told in share if key in left or not any(parts.glob(f"{key}.*"))]
        now = f"{cells[0]}; {len(cells)} cells left" if cells else "its cells are done"
        lines.append(f"    {task.id} on {task.why}: {now}")
    for why in sorted({f"{task.state.lower()} ({task.why})" for task in waiting}):
        lines.append(f"    {why}")
    failures = failures_in(parts)
    failed = [key for key in left if key in failures]
    if failed:
        lines.append(f"  failed {len(failed)}")
        for key in failed[:_SHOWN]:
            said = failures[key]["line"].strip().splitlines()[-1]
            lines.append(f"    {failures[key]['told']}: {said}")
    lost = [key for key in left if key not in held and key not in failures]
    if lost:
        lines.append(f"  in nobody's hands {len(lost)}: the same command hands them in")
        for array in arrays:
            for number in range(len(array.shares)):
                if set(array.keys(number)) & set(lost) and (said := queues.last_words(array, number)):
                    lines.append(f"    {array.ids[number]} ended: {said[:200]}")
    return lines


def cancel(run_folder: str | Path) -> str:
    """End all tasks of a study that wait or run; what is done is kept.

    Raises:
        Error: the folder is no run, or has no tasks; or SLURM does not answer.
    """
    folder = Path(run_folder)
    parts = _parts_of(folder)
    arrays = arrays_in(parts)
    if not arrays:
        raise Error(f"{folder} has no tasks in a queue: stop the command that runs it with Ctrl-C")
    tasks = queues.in_queue(arrays)
    if tasks is None:
        raise Error(f"{_NO_ANSWER}: nothing is cancelled, so try again later")
    write_bytes(parts / CANCELLED, b"")  # first: whoever waits for them must not hand them in again
    queues.end([array for array in arrays if any(task.array == array.name for task in tasks)])
    ended = "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
    return f"{folder}: {ended} ended; what is done is kept, and the same command goes on with it"


def _parts_of(folder: Path) -> Path:
    if not (folder / "parts" / "key").is_file():
        if (folder / "manifest.json").is_file():
            raise Error(f"{folder} is finished")
        raise Error(f"{folder} is no run of a study: give a run's folder, such as runs/default")
    return folder / "parts"


def status_command(argv: Sequence[str]) -> None:
    """`facelesion status`."""

    def status_of(run_folder: PathText) -> None:
        """Tell what of a study is done, running, waiting and failed, and why.

        Args:
            run_folder: a folder such as runs/default.

        Example:
            $ facelesion status runs/default
        """
        print(status(run_folder))

    status_of(**read_arguments(status_of, argv, "facelesion status"))


def cancel_command(argv: Sequence[str]) -> None:
    """`facelesion cancel`."""

    def cancel_of(run_folder: PathText) -> None:
        """End a study's tasks that wait or run under SLURM; what is done is kept.

        Args:
            run_folder: a folder such as runs/default.

        Example:
            $ facelesion cancel runs/default
        """
        print(cancel(run_folder))

    cancel_of(**read_arguments(cancel_of, argv, "facelesion cancel"))
