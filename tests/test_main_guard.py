"""A script without a guard for its main part ends with one line, and neither waits for itself nor starts over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

CALLS = {
    "facelesion.study": "run_study(None)",
    "facelesion.data": "prepare('photographs', 'out')",
    "facelesion.engines": "Processes(2).run(None)",
    "facelesion.sweep": "sweep_to_folder('sweep', None, {}, None)",
}

PREPARING = """
from painted import Painted
from facelesion.data import prepare
from facelesion.data.preparation import run
from facelesion.faces import landmarks

run.CHUNK = 3
landmarks.BACKENDS["painted"] = Painted
{guard}print(prepare("photographs", "out", landmarks="painted", workers=2, progress=False).faces)
"""

SWEEPING = """
import torch
from facelesion import Ablate
from facelesion.sweep import sweep_to_folder

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(8, {width}), torch.nn.ReLU(), torch.nn.Linear({width}, 2)).eval()
sweep_to_folder("sweep", network, {{"cut": Ablate("1", fraction=0.5)}}, torch.rand(300, 8), processes=2)
"""


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    (folder / "mine.py").write_text(script)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "data" / "preparation")))
    return subprocess.run(
        [sys.executable, "mine.py"], cwd=folder, env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_whatever_starts_processes_refuses_where_the_main_script_runs_again(tmp_path):
    calls = "".join(f"""
    from {room} import {call.split("(")[0]}
    try:
        {call}
    except SystemExit as end:
        print("{room}", end.code, flush=True)
""" for room, call in CALLS.items())  # fmt: skip
    script = f"""
import multiprocessing

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=print)
    child.start()
    child.join()
else:
{calls}
"""
    done = run(tmp_path, script)
    assert done.stdout.splitlines() == [*(f"{room} 78" for room in CALLS), ""]
    assert done.stderr.splitlines() == [done.stderr.splitlines()[0]] * len(CALLS)
    assert 'under `if __name__ == "__main__":`' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.slow
def test_photographs_are_not_waited_for_by_who_prepares_them(tmp_path):
    sys.path.insert(0, str(ROOT / "tests" / "data" / "preparation"))
    from painted import FILES, paint

    for number in range(8):
        paint(tmp_path / "photographs" / f"person {number % 2}" / f"{number}.png", number)
    done = run(tmp_path, PREPARING.format(guard=""))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("facelesion.errors.Error: this script runs again")
    assert "waiting" not in done.stderr and not (tmp_path / "out" / ".lock").exists()
    # What was begun is gone on with, once the guard is there.
    done = run(tmp_path, PREPARING.format(guard='if __name__ == "__main__":\n    '))
    assert (done.stdout, done.returncode) == ("8\n", 0), done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)


@pytest.mark.slow
@pytest.mark.parametrize("width", [4, 100_000])  # a network that a pipe takes at once, and one that it does not
def test_a_sweep_in_processes_says_so_at_the_first_of_them(tmp_path, width):
    done = run(tmp_path, SWEEPING.format(width=width))
    assert done.returncode == 1
    assert "this script runs again in every process" in done.stderr.splitlines()[-1]
    assert "another takes its place" not in done.stderr
