"""However a run ends and whoever runs beside it, the result is the same bytes."""


from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import content, paint, run

from facelesion.data.preparation import load_prepared, prepare

SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
import painted
from facelesion.faces import landmarks
from facelesion.data.preparation import run

class Slow(painted.Painted):
    def find(self, photograph):
        time.sleep(0.01)
        return super().find(photograph)

landmarks.BACKENDS["painted"] = Slow
run.CHUNK = 3
if __name__ == "__main__":
    run.prepare({root!r}, {out!r}, landmarks="painted", workers=int(sys.argv[1]), progress=False)
"""


@pytest.mark.slow
def test_killed_processes_leave_nothing_that_changes_the_result(tmp_path: Path) -> None:
    root = tmp_path / "photographs"
    for i in range(120):
        paint(root / f"p{i % 7}" / f"{i}.png", i)
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(root, whole)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(SCRIPT.format(tests=str(Path(__file__).parent), root=str(root), out=str(out)))
    )
    for parts in (2, 15):
        process = subprocess.Popen([sys.executable, str(script), "2"], start_new_session=True)
        deadline = time.monotonic() + 300
        while process.poll() is None and len(list((out / ".journal").glob("*.npz"))) < parts:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "manifest.json").exists()
    subprocess.run([sys.executable, str(script), "2"], check=True, timeout=600)
    assert content(out) == content(whole)


@pytest.mark.slow
def test_processes_that_prepare_the_same_folder_take_turns(tmp_path: Path) -> None:
    root, out = tmp_path / "photographs", tmp_path / "out"
    for i in range(30):
        paint(root / f"p{i % 7}" / f"{i}.png", i)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(SCRIPT.format(tests=str(Path(__file__).parent), root=str(root), out=str(out)))
    )
    command = [sys.executable, str(script), "1"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len(load_prepared(out)) == 30 and content(out)


@pytest.mark.slow
@pytest.mark.shared
def test_real_photographs_give_the_same_bytes_with_one_worker_and_with_two(
    lfw: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    for folder in sorted(lfw.iterdir())[:3000:100]:
        shutil.copytree(folder, root / folder.name)
    options = {"model": shared / "data", "progress": False}
    one = prepare(root, tmp_path / "one", workers=1, **options)  # type: ignore[arg-type]
    two = prepare(root, tmp_path / "two", workers=2, **options)  # type: ignore[arg-type]
    assert one.faces == two.faces >= 29 and content(tmp_path / "one") == content(tmp_path / "two")
    faces = load_prepared(tmp_path / "one")
    from facelesion.faces.alignment import five_points, template

    error = np.linalg.norm(five_points(faces.landmarks.numpy()) - template(112), axis=-1)
    assert error.mean() < 4
    assert torch.isfinite(faces.landmarks).all()
