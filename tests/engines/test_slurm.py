"""A study as an array of tasks: by submitit on this machine, and under a real SLURM whose tasks are taken away."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from facelesion.engines import Here, Slurm, queues
from facelesion.engines.runs import cancel, status, write_plan
from facelesion.engines.shares import Array, arrays_in, shared_out
from facelesion.errors import Error

from . import slurm
from .conftest import ROOT, same_tables
from .toys import Counting, Word, begun, read_words, study, words

pytest.importorskip("submitit", reason="the extra [slurm] is not installed: pip install 'facelesion[slurm]'")
LOCAL = Slurm(cluster="local", shares=2, look_every=0.2)


def test_cells_are_shared_out_evenly_and_each_once():
    for count in (1, 2, 7, 50):
        shares = list(shared_out(range(23), count))
        assert [cell for share in shares for cell in share] == list(range(23))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1 and len(shares) == min(count, 23)


@pytest.mark.slow
def test_tasks_on_this_machine_write_what_one_process_writes(tmp_path):
    plain, job = words(tmp_path / "here"), words(tmp_path / "local" / "parts")
    Here().run(plain)
    LOCAL.run(job)
    for key, word in read_words(plain).items():
        assert read_words(job)[key] == b"olleh tsrif" + word  # a task builds on what was done before
    assert len(arrays_in(job.folder)) == 2 and any((tmp_path / "local" / "parts" / "logs").iterdir())


@pytest.mark.slow
def test_a_mistake_stops_the_work_with_its_line(tmp_path):
    with pytest.raises(Error, match=r"^lesions\.x is too strong: take less$"):
        LOCAL.run(words(tmp_path, 2, "mistake"))


@pytest.mark.slow
def test_a_cell_that_kills_its_task_is_handed_in_again_and_then_named(tmp_path):
    with pytest.raises(Error, match="word x0: its task ended 3 times without it"):
        LOCAL.run(words(tmp_path, 2, "kill"))
    assert all(word for key, word in read_words(words(tmp_path, 2)).items())


@pytest.mark.slow
def test_ctrl_c_leaves_the_tasks_at_work_and_the_same_command_attaches_again(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "key").write_text("words\n")
    program = f"""
import signal
from pathlib import Path
from facelesion.engines import Slurm
from tests.engines.toys import words
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background are deaf to it
Slurm(cluster="local", shares=2, look_every=0.2).run(words(Path({str(tmp_path / "parts")!r}), 4, seconds=2))
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, start_new_session=True) as first:
        job = words(tmp_path / "parts", 4, seconds=2)
        wait_for(lambda: any(read_words(job).values()))
        os.killpg(first.pid, signal.SIGINT)  # as a terminal does: everybody that it started hears of it
        assert first.wait(timeout=60) != 0
    arrays = arrays_in(job.folder)
    assert queues.in_queue(arrays)
    job = words(tmp_path / "parts", 4, seconds=2)
    LOCAL.run(job)
    assert all(read_words(job).values())
    assert [array.name for array in arrays_in(job.folder)] == [array.name for array in arrays]


def test_where_there_is_no_ps_tasks_of_this_machine_are_refused(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Error, match="^cluster: local looks after its tasks by `ps`"):
        LOCAL.look()


@pytest.mark.slow
def test_cancel_ends_the_tasks_and_whoever_waits_for_them(tmp_path):
    job = words(tmp_path / "parts", 4, seconds=60)
    (tmp_path / "parts" / "key").write_text("words\n")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(LOCAL.run, job)
        wait_for(lambda: len(queues.in_queue(arrays_in(job.folder)) or []) == 2)
        assert "2 tasks ended" in cancel(tmp_path)
        with pytest.raises(Error, match="^cancelled: what is done is kept"):
            waiting.result(timeout=60)
    wait_for(lambda: not queues.in_queue(arrays_in(job.folder)), seconds=20)


@pytest.mark.slow
def test_cancelled_while_it_prepares_a_study_hands_nothing_in_any_more(tmp_path):
    job = dataclasses.replace(words(tmp_path / "parts", 4, seconds=60), before=[Word("first", 60)])
    (tmp_path / "parts" / "key").write_text("words\n")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(LOCAL.run, job)
        wait_for(lambda: queues.in_queue(arrays_in(job.folder)))
        cancel(tmp_path)
        with pytest.raises(Error, match="^cancelled"):
            waiting.result(timeout=60)
    assert len(arrays_in(job.folder)) == 1
    wait_for(lambda: not queues.in_queue(arrays_in(job.folder)), seconds=20)


def test_without_slurm_the_command_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("facelesion.engines.under_slurm.shutil.which", lambda name: None)
    with pytest.raises(Error, match="there is no SLURM on this machine.*--cluster local"):
        Slurm().run(words(tmp_path))


def test_a_controller_that_does_not_answer_is_told_before_any_work(tmp_path, monkeypatch):
    for name in ("sbatch", "sinfo", "squeue", "scancel"):
        (tmp_path / name).write_text("#!/bin/sh\necho nobody there >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    with pytest.raises(Error, match=r"^SLURM does not answer on this machine \(sinfo\): try again later"):
        Slurm().look()
    Slurm(cluster="local").look()
    job = words(tmp_path / "run" / "parts")
    (job.folder / "key").write_text("words\n")
    write_plan(job.folder, {cell.part: job.work.told(cell) for cell in job.cells})
    Array("words-0", "slurm", ((("w0", "word w0"),),), str(tmp_path)).write(job.folder)
    assert "does not answer (squeue): what runs is not known" in status(tmp_path / "run")
    with pytest.raises(Error, match=r"does not answer \(squeue\): nothing is cancelled"):
        cancel(tmp_path / "run")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    if reason := slurm.why_not():
        pytest.skip(reason)
    with slurm.started():
        yield


@pytest.mark.slow
def test_a_study_whose_tasks_are_cancelled_requeued_and_drained_is_the_same(cluster, tmp_path, pictures, alone):
    log, parts = tmp_path / "log", tmp_path / "tiny" / "parts"
    engine = Counting(Slurm(shares=4, time=10, look_every=0.5), log, seconds=0.2)
    host = socket.gethostname().split(".")[0]

    def running() -> list[str]:
        if not parts.exists():
            return []
        last = max((len(array.shares), array.name) for array in arrays_in(parts))[1] if arrays_in(parts) else ""
        tasks = queues.in_queue(arrays_in(parts)) or []
        return [task.id for task in tasks if task.state == "RUNNING" and task.array == last]

    def states() -> set[str]:
        return {task.state for task in queues.in_queue(arrays_in(parts)) or []}

    def cells() -> int:
        return len(list(parts.glob("*.cell")))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(study, tmp_path, pictures, engine, shard=1)
        try:
            wait_for(lambda: done.done() or (running() and cells() > 1))
            cancelled = running()[0]
            slurm.told("scancel", cancelled)
            wait_for(lambda: done.done() or set(running()) - {cancelled})
            requeued = next(task for task in running() if task != cancelled)
            slurm.told("scontrol", "requeue", requeued)
            slurm.told("scontrol", "update", f"nodename={host}", "state=drain", "reason=test")
            # A task that is taken away has some seconds to end, and works on.
            wait_for(lambda: done.done() or states() == {"PENDING"})
            said, held = status(tmp_path / "tiny"), cells()
            assert f"{held} of 52 cells done" in said and "running 0, waiting" in said and "pending" in said
            time.sleep(1)
            assert cells() == held  # drained: nothing is begun
        finally:  # or it would wait for ever
            slurm.told("scontrol", "update", f"nodename={host}", "state=resume")
        slurm.told("scontrol", "update", f"jobid={requeued}", "starttime=now")  # SLURM would let it wait two minutes
        run = done.result(timeout=500)
    counts = begun(log)
    assert len(counts) == 2 + 2 * 2 * 13 and max(counts.values()) <= 1 + 2
    assert len(arrays_in(parts)) == 0 and not parts.exists() and any((run / "logs").iterdir())
    # One that was requeued with all its cells done is not started for nothing; those that run are about to end.
    assert "PENDING" not in slurm.told("squeue", "--noheader", "--array", "--format=%T")
    same_tables(run, alone)


@pytest.mark.slow
def test_what_slurm_does_not_have_is_one_line(cluster, tmp_path, capfd):
    with pytest.raises(Error, match="^partition: the cluster has none called 'gpu': there are all$"):
        Slurm(partition="gpu").look()
    Slurm(partition="all").look()
    with pytest.raises(Error, match="^SLURM does not take the tasks: sbatch: error: "):
        Slurm(gpus_per_task=1).run(words(tmp_path))
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_status_and_cancel_under_slurm(cluster, tmp_path):
    job = words(tmp_path / "parts", 6, seconds=120)
    (tmp_path / "parts" / "key").write_text("words\n")
    write_plan(job.folder, {cell.part: job.work.told(cell) for cell in job.cells})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Slurm(shares=3, look_every=0.5).run, job)
        wait_for(lambda: "running 2" in status(tmp_path) or waiting.done())
        assert "of 6 cells done" in status(tmp_path) and "on " in status(tmp_path)
        assert "3 tasks ended" in cancel(tmp_path)
        with pytest.raises(Error, match="^cancelled"):
            waiting.result(timeout=60)
    wait_for(lambda: "in nobody's hands" in status(tmp_path) and "running 0, waiting 0" in status(tmp_path))


def wait_for(what: Callable[[], object], seconds: float = 240) -> None:
    """Until something is so."""
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "it never came"
        time.sleep(0.05)
