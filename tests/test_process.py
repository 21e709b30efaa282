"""Commands set their own process up; a library changes nothing in the process that imports it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import facelesion
from facelesion.process import SETTINGS, give_memory_back, set_process_up

LOOK = "import os; print(dict(zip({names}, map(os.environ.get, {names}))))"


def said_by(code: str, **environment: str) -> str:
    """What a fresh process prints."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


COMMANDS = {
    "facelesion": """
import sys
from facelesion import cli
cli.COMMANDS["look"] = lambda words: exec({look!r})
sys.argv = ["facelesion", "look"]
cli.main()
""",
    "python -m facelesion.train": """
import runpy, sys
from facelesion import cli
cli.guarded = lambda work: exec({look!r}) or 0
sys.argv = ["facelesion.train", "--recipe", "distil"]
runpy.run_module("facelesion.train", run_name="__main__")
""",
}


# Set at all, they were set in time: where torch is loaded nothing is done.
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_sets_its_process_up(command):
    code = COMMANDS[command].format(look=LOOK.format(names=list(SETTINGS)))
    assert said_by(code) == str(SETTINGS)


def test_what_the_user_set_stays():
    code = COMMANDS["facelesion"].format(look=LOOK.format(names=["OMP_WAIT_POLICY"]))
    assert said_by(code, OMP_WAIT_POLICY="ACTIVE") == "{'OMP_WAIT_POLICY': 'ACTIVE'}"


FREED = """
import numpy, pathlib
from facelesion.process import give_memory_back
def held():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
blocks = [numpy.ones(100_000, numpy.uint8) for _ in range(3_000)]
kept = blocks[::100]  # holes between what is kept
del blocks
before = held()
give_memory_back()
print(before - held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux alone can be asked for it")
def test_what_was_freed_goes_back_to_the_system():
    assert int(said_by(FREED)) > 200


def test_where_nothing_can_be_handed_back_nothing_is_done(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("there is no such library"))
    give_memory_back()


@pytest.mark.parametrize(
    "module", ["facelesion", "facelesion.lesions", "facelesion.sweep", "facelesion.cli"]
)
def test_importing_the_library_changes_nothing_for_its_user(module):
    code = f"""
import os, torch
torch.set_num_threads(3)
before = dict(os.environ)
import {module}
print(dict(os.environ) == before, torch.get_num_threads())
"""
    assert said_by(code) == "True 3"


def test_where_torch_is_loaded_it_is_too_late(monkeypatch):
    import torch  # noqa: F401

    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    set_process_up()
    assert not set(SETTINGS) & set(os.environ)


class TestWhatStartedIt:
    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["mine.py", "photo graphs", "--people", "4"], "python mine.py 'photo graphs' --people 4"),
            (["-m", "mine", "one"], "python -m mine one"),
            (["-c", "import facelesion.process as p; print(p.started_by())", "one"], ""),
        ],
    )
    def test_it_is_told_as_it_was_typed(self, tmp_path, words, told):
        (tmp_path / "mine.py").write_text("from facelesion.process import started_by\nprint(started_by())\n")
        path = os.pathsep.join([str(Path(facelesion.__file__).parents[1]), str(tmp_path)])
        environment = os.environ | {"PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.stdout == f"{told}\n", done.stderr
