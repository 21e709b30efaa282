"""What only some systems have is not needed: no `fcntl`, no `resource`, no `fork`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Modules of the standard library that its documentation gives to Unix alone.
UNIX = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog")
#: Functions and constants of `os` and `signal` of which it says the same.
NAMES = (
    "fork", "forkpty", "wait", "waitpid", "killpg", "setsid", "getuid", "geteuid", "getgid", "getloadavg", "nice",
    "O_DIRECTORY", "O_NOFOLLOW", "sched_getaffinity", "sched_setaffinity", "mkfifo", "chown", "statvfs",
    "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE", "alarm", "setitimer", "pthread_sigmask",
)  # fmt: skip

WITHOUT = f"""
import os, sys
for name in {UNIX!r}:
    sys.modules[name] = None  # importing it fails, as where it is not
for name in ("fork", "forkpty"):
    delattr(os, name)
"""

IMPORTED = ("lesions", "sweep", "analysis", "data", "study", "weights", "training", "cli", "locks")
USED = """
import importlib, pathlib, tempfile
import torch
import facelesion
for room in ROOMS:
    importlib.import_module(f"facelesion.{room}")
from facelesion.lesions import Ablate, lesioned
from facelesion.sweep import read_sweep, sweep_to_folder

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2))
network.eval()
images = torch.rand(4, 3, 8, 8)
healthy = network(images)
with lesioned(network, Ablate("0", units=[1])):
    damaged = network(images)
assert not torch.equal(healthy, damaged)
with tempfile.TemporaryDirectory() as folder:
    for _ in range(2):  # made, and found
        sweep_to_folder(folder, network, {"none": None, "one": Ablate("0", units=[1])}, images)
    told = read_sweep(folder)
    assert torch.allclose(told["none"], healthy, atol=1e-6) and torch.allclose(told["one"], damaged, atol=1e-6)
    assert not list((pathlib.Path(folder) / "locks").iterdir())
print("done", [name for name in ("fcntl", "resource") if sys.modules.get(name)])
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_library_is_imported_lesions_and_sweeps_without_what_unix_alone_has():
    assert python(WITHOUT + USED.replace("ROOMS", repr(IMPORTED))).splitlines()[-1] == "done []"


def test_where_the_system_has_no_locks_everybody_goes_on():
    code = """
from facelesion.locks import locked
import tempfile
with tempfile.TemporaryDirectory() as folder:
    with locked(folder + "/lock") as one, locked(folder + "/lock", wait=False) as two:
        print(one, two)
"""
    assert python(WITHOUT + code) == "True True\n"


def test_what_is_taken_away_is_gone():
    assert "gone\n" == python(
        WITHOUT
        + "try:\n    import fcntl\nexcept ImportError:\n    print('gone' if not hasattr(os, 'fork') else 'fork')\n"
    )


@pytest.mark.slow
def test_the_core_s_own_tests_pass_without_what_unix_alone_has():
    """Of lesions and sweeps. Unix has no locks then, so that everybody holds them; and nothing is tested by forking.

    Which of torchvision's networks is damaged has nothing to do with the system: small ones stand for them.
    """
    chosen = ["tests/lesions", "tests/sweep/test_sweep.py", "tests/sweep/test_arguments.py"]
    large = ("inceptionresnet", "mobilenetv3", "resnet18", "[vit")
    words = [*chosen, "-m", "not slow", "-k", f"not ({' or '.join(large)})", "-p", "no:cacheprovider"]
    said = python(WITHOUT + f"import pytest\nsys.exit(pytest.main({words!r}))")
    assert re.search(r"^\d+ passed", said, re.M), said[-1000:]


@pytest.mark.parametrize("folder", ["facelesion", "scripts", "examples"])
def test_no_code_imports_or_names_what_unix_alone_has(folder):
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [(path.name, name.name) for name in node.names if name.name in UNIX]
            elif isinstance(node, ast.ImportFrom) and node.module in UNIX:
                found.append((path.name, node.module))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id in ("os", "signal") and node.attr in NAMES:
                    found.append((path.name, f"{node.value.id}.{node.attr}"))
    assert found == []
