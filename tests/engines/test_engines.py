"""The contract that every engine keeps, shown on the two that need nothing installed; and how one is chosen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facelesion.cli import run as command
from facelesion.engines import Here, Parts, Processes, Ray, Slurm
from facelesion.engines.progress import Progress
from facelesion.engines.runs import cancel, status, write_plan
from facelesion.engines.words import engine_words
from facelesion.errors import Error
from facelesion.sweep import SweepError, read_sweep, sweep_to_folder

from .conftest import same_tables
from .toys import Counting, Words, at_work, begun, read_words, study, words

ROOT = Path(__file__).resolve().parents[2]


def test_one_process_does_what_is_missing_and_nothing_twice(tmp_path):
    job = words(tmp_path)
    assert Here().run(job) is not None
    assert all(word == f"{key} hello"[::-1].encode() for key, word in read_words(job).items())
    assert Here().run(words(tmp_path)) is None
    (tmp_path / "w3.word").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    Here().run(words(tmp_path))
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert after.keys() - before.keys() == {"w3.word"} and before.items() <= after.items()


@pytest.mark.slow
def test_processes_do_first_what_others_build_on(tmp_path):
    job = words(tmp_path)
    Processes(2).run(job)
    for key, word in read_words(job).items():
        assert word == b"olleh tsrif" + f"{key} hello"[::-1].encode()


@pytest.mark.slow
def test_a_mistake_in_a_process_is_told_by_its_line_and_a_bug_by_its_traceback(tmp_path):
    with pytest.raises(Error, match=r"^lesions\.x is too strong: take less$"):
        Processes(2).run(words(tmp_path / "mistake", 2, "mistake"))
    with pytest.raises(RuntimeError, match="nobody thought of this"):
        Processes(2).run(words(tmp_path / "bug", 2, "bug"))


@pytest.mark.slow
def test_a_cell_that_kills_its_process_is_named_and_the_others_are_kept(tmp_path):
    with pytest.raises(Error, match="word x0: 3 worker processes ended unexpectedly over it .exit status -9"):
        Processes(2).run(words(tmp_path, 4, "kill"))
    assert all(read_words(words(tmp_path, 4)).values())


@pytest.mark.slow
def test_a_study_whose_processes_are_killed_is_that_of_one_process(tmp_path, pictures, alone):
    from concurrent.futures import ThreadPoolExecutor

    log, killed = tmp_path / "log", []
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(study, tmp_path, pictures, Counting(Processes(2), log, seconds=0.1), shard=1)
        while not done.done() and len(killed) < 3:
            time.sleep(0.02)
            if (busy := at_work(log)) and len(begun(log)) > 5 * len(killed):
                os.kill(busy[0], 9)
                killed.append(busy[0])
        run = done.result()
    assert len(killed) == 3 and max(begun(log).values()) <= 1 + len(killed)
    same_tables(run, alone)


@pytest.mark.parametrize(("kind", "extra"), [(Ray, "ray"), (Slurm, "slurm")])
def test_without_its_extra_an_engine_says_what_to_install(tmp_path, absent, capsys, kind, extra):
    absent("ray")
    absent("submitit")
    with pytest.raises(Error, match=rf"pip install 'facelesion\[{extra}\]'"):
        kind().run(words(tmp_path))
    assert command(["study", "default", "--engine", extra]) == 2
    told = capsys.readouterr().err
    assert f"facelesion[{extra}]" in told and told.count("\n") == 1


def test_nothing_of_ray_or_submitit_is_imported_before_it_is_asked_for():
    program = (
        "import sys, facelesion.study, facelesion.sweep, facelesion.engines.words\n"
        "from facelesion.engines import Ray, Slurm\n"
        "Ray(), Slurm()\n"
        "print([name for name in ('ray', 'submitit', 'cloudpickle') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.stdout.strip() == "[]", said.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--engine rya", "did you mean 'ray'"),
        ("--engine", "--engine needs a value"),
        ("--partition gpu", "--partition is a setting of engine slurm: add --engine slurm"),
        ("--gpus-per-worker 1", "--gpus-per-worker is a setting of engine ray"),
        ("--engine slurm --time x", "--time is 'x'"),
        ("--engine slurm --shares 0", "--shares is 0"),
        ("--engine ray --address", "--address needs a value"),
    ],
)
def test_a_wrong_word_about_engines_is_one_line(capsys, given, said):
    assert command(["study", "default", *given.split()]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_words_about_engines_are_taken_out_and_the_others_stay(monkeypatch):
    monkeypatch.setattr("facelesion.engines.under_slurm.Slurm.look", lambda self: None)
    given = "mine.yaml --engine slurm --partition gpu --gpus-per-task=1 --time 90 --tasks detection objects --draws 3"
    make, rest = engine_words(given.split())
    assert rest == "mine.yaml --tasks detection objects --draws 3".split()
    assert make(1) == Slurm(partition="gpu", gpus_per_task=1, time=90)
    assert engine_words(["mine.yaml"])[0](4) is None
    assert engine_words(["--engine", "processes"])[0](4) == Processes(4)


def test_an_engine_s_settings_are_in_its_help(capsys):
    with pytest.raises(SystemExit):
        command(["study", "--engine", "slurm", "--help"])
    told = capsys.readouterr().out
    with pytest.raises(SystemExit):
        command(["study", "--help"])
    assert "here, processes, ray, slurm" in capsys.readouterr().out
    assert "--partition" in told and "--gpus_per_task" in told and "--stimuli" in told


def test_processes_beside_an_engine_do_nothing_and_are_refused(capsys, monkeypatch):
    monkeypatch.setattr("facelesion.engines.under_slurm.Slurm.look", lambda self: None)
    assert command(["study", "default", "--engine", "slurm", "--processes", "4"]) == 2
    assert "processes" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_by_an_engine_is_the_sweep_of_one_process(tmp_path):
    import torch
    from torch import nn

    from facelesion.lesions import Ablate, Noise
    from facelesion.sweep import Options

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 4)).eval()
    images = torch.rand(7, 3, 12, 12)
    lesions = {"none": None, "a": Ablate("1", fraction=0.5), "n": Noise("0", std=0.3)}
    given = {"options": Options(batch_size=2)}
    sweep_to_folder(tmp_path / "here", network, lesions, images, **given)
    sweep_to_folder(tmp_path / "there", network, {"a": lesions["a"]}, images, engine=Processes(2), **given)
    sweep_to_folder(tmp_path / "there", network, lesions, images, engine=Processes(2), **given)
    one, other = read_sweep(tmp_path / "here"), read_sweep(tmp_path / "there")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(SweepError, match="processes and engine"):
        sweep_to_folder(tmp_path / "there", network, lesions, images, engine=Here(), processes=2, **given)


HOLDING = """
import multiprocessing
import torch
from facelesion import Ablate
from facelesion.sweep import sweep_to_folder

held = []

def readout(output):
    held.append(multiprocessing.get_context("spawn").Lock())  # as bars of progress do
    return output

if __name__ == "__main__":
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
    lesions = {"cut": Ablate("1", fraction=0.5), "half": Ablate("1", fraction=0.25)}
    sweep_to_folder("sweep", network, lesions, torch.rand(30, 8), readout=readout, processes=2)
"""


@pytest.mark.slow
def test_workers_that_are_ended_give_back_what_they_hold_of_the_system(tmp_path):
    (tmp_path / "mine.py").write_text(HOLDING)
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr


def test_status_tells_how_far_a_run_is(tmp_path):
    with pytest.raises(Error, match="is no run of a study"):
        status(tmp_path)
    job = words(tmp_path / "parts", 4)
    (tmp_path / "parts" / "key").write_text("words\n")
    assert "no cell yet" in status(tmp_path)
    write_plan(job.folder, {cell.part: job.work.told(cell) for cell in job.cells})
    Parts(job.folder).keep("w1.word", b"x")
    (job.folder / "w2.word").write_bytes(b"half of it")
    assert "1 of 4 cells done" in status(tmp_path)
    Here().run(job)
    assert "4 of 4 cells done" in status(tmp_path)
    with pytest.raises(Error, match="no tasks in a queue: stop the command"):
        cancel(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    assert "finished" in status(tmp_path)


def test_progress_tells_cells_rate_time_left_and_workers(tmp_path, monkeypatch):
    import io

    clock = [0.0]
    monkeypatch.setattr("facelesion.engines.progress.time.monotonic", lambda: clock[0])
    job = words(tmp_path, 4)
    monkeypatch.setattr(Words, "amount", lambda work, cell: 10_000)
    stream = io.StringIO()
    object.__setattr__(job, "progress", True)
    progress = Progress(job, list(job.cells), stream)
    progress.tell(workers=3)
    assert stream.getvalue() == ""  # nothing has happened yet
    for _ in range(2):
        clock[0] += 20
        progress.finished(job.cells[0])
    assert stream.getvalue().splitlines()[-1].strip() == (
        "2 of 4 cells, 500 images × lesions a second, 40 s left, 3 workers"
    )
    progress.close()
