"""A sweep on disk survives being killed, goes on where it was, and can be shared."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
import torch

from facelesion.lesions import Ablate, Noise
from facelesion.sweep import Options, SweepError, read_sweep, read_table, sweep, sweep_to_folder

# Run on its own: a process that has used no threads yet can be copied, so that each run starts at once.
SCRIPT = """
import os, random, signal, sys, time
import torch
from facelesion.lesions import Noise
from facelesion.models.vgg import VGGFace
from facelesion.sweep import Options, sweep_to_folder

def job(folder, processes=1):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = VGGFace(width=0.0625, outputs=3).eval()
    images = torch.rand(12, 3, 32, 32)
    sites = ("conv2_1", "conv4_1", "conv5_2")
    lesions = {f"{site} {n}": Noise(site, std=0.1 * n) for site in sites for n in range(1, 7)} | {"none": None}
    sweep_to_folder(folder, network, lesions, images, processes=processes,
                    options=Options(batch_size=3, rows=6), part_bytes=1)

def run(folder):
    child = os.fork()
    if not child:
        job(folder)
        os._exit(0)
    return child

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def count(folder):
    parts = folder + "/parts"
    return sum(name[0] != "." for name in os.listdir(parts)) if os.path.exists(parts) else 0

def killed_after(folder, more, delay):
    # By parts written and not by the clock: a busy machine is slow, and the kill must fall into the work.
    goal, child = count(folder) + more, run(folder)
    while count(folder) < goal:
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return ended(child) == -signal.SIGKILL

if __name__ == "__main__":
    what, folder = sys.argv[1:]
    if what == "kill":
        assert ended(run(folder + "/whole")) == 0
        draw = random.Random(0)
        for _ in range(20):
            left = count(folder + "/whole") - count(folder + "/killed")
            killed = killed_after(folder + "/killed", min(draw.choice([0, 0, 1, 1, 2]), left), draw.uniform(0, 0.02))
            print(int(killed), count(folder + "/killed"))
        assert ended(run(folder + "/killed")) == 0
    if what == "share":
        children = [run(folder + "/alone"), run(folder + "/shared"), run(folder + "/shared")]
        assert not any([ended(child) for child in children])
        job(folder + "/switch", processes=2)
"""


@pytest.fixture
def run_script(tmp_path):
    def run(what: str) -> str:
        path = tmp_path / "run_sweep.py"
        path.write_text(SCRIPT)
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, str(path), what, str(tmp_path)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


LESIONS = {"none": None, "a": Ablate("conv4_1", fraction=0.3), "n": Noise("conv2_1", std=0.2)}


def test_a_folder_holds_what_a_sweep_returns(vgg, images, tmp_path, close):
    sweep_to_folder(tmp_path, vgg, LESIONS, images, options=Options(batch_size=2), ids=[5, 6, 7, 8, 9])
    found = read_sweep(tmp_path)
    wanted = sweep(vgg, LESIONS, images, batch_size=2, ids=[5, 6, 7, 8, 9])
    assert list(found) == list(LESIONS)
    for name in LESIONS:
        close(found[name], wanted[name])
    table = read_table(tmp_path)
    assert list(table.columns) == ["lesion", "lesion_hash", "image", "id", "output"]
    assert table["id"].tolist() == [5, 6, 7, 8, 9] * 3
    assert set(table["lesion_hash"]) == {"healthy", LESIONS["a"].hash, LESIONS["n"].hash}


def test_what_is_there_is_not_computed_again(vgg, images, tmp_path, monkeypatch):
    from facelesion.sweep import engine

    sweep_to_folder(tmp_path, vgg, LESIONS, images)
    parts = sorted((tmp_path / "parts").iterdir())
    ran, original = [], engine.lesioned

    def seen(network, lesions, **settings):
        ran.append(lesions)
        return original(network, lesions, **settings)

    monkeypatch.setattr(engine, "lesioned", seen)
    sweep_to_folder(tmp_path, vgg, LESIONS, images)
    assert not ran and sorted((tmp_path / "parts").iterdir()) == parts
    more = LESIONS | {"more": Ablate("conv5_1", fraction=0.5)}
    sweep_to_folder(tmp_path, vgg, more, images)
    assert ran == [[more["more"]]]
    assert list(read_sweep(tmp_path)) == list(more)


def test_a_folder_of_another_sweep_is_refused(vgg, images, tmp_path):
    sweep_to_folder(tmp_path, vgg, LESIONS, images)
    with pytest.raises(SweepError, match="another network"):
        sweep_to_folder(tmp_path, vgg, LESIONS, images, seed=1)
    with pytest.raises(SweepError, match="another name"):
        sweep_to_folder(tmp_path, vgg, {"a": Ablate("conv4_1", fraction=0.4)}, images)
    with pytest.raises(SweepError, match="holds no sweep"):
        read_sweep(tmp_path / "nothing")


def test_a_full_disk_is_told_and_what_was_written_stays(vgg, images, tmp_path, monkeypatch, close):
    original, written = os.fsync, []

    def full(handle):
        written.append(handle)
        if len(written) > 2:  # sweep.json, and one part
            raise OSError(errno.ENOSPC, "No space left on device")
        original(handle)

    options = Options(batch_size=2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SweepError, match="disk is full"):
            sweep_to_folder(tmp_path, vgg, LESIONS, images, options=options)
    assert len(list((tmp_path / "parts").iterdir())) == 1
    with pytest.raises(SweepError, match="not finished"):
        read_sweep(tmp_path)
    sweep_to_folder(tmp_path, vgg, LESIONS, images, options=options)
    wanted = sweep(vgg, LESIONS, images, options=options)
    for name, output in read_sweep(tmp_path).items():
        close(output, wanted[name])


@pytest.mark.slow
def test_killed_twenty_times_it_ends_with_the_identical_table(run_script, tmp_path):
    rounds = [tuple(map(int, line.split())) for line in run_script("kill").splitlines()]
    assert len(rounds) == 20 and sum(killed for killed, _ in rounds) >= 5
    left = [parts for _, parts in rounds]
    assert left == sorted(left) and len(set(left)) > 2  # no part is ever lost, and kills fell in between
    first, second = read_table(tmp_path / "whole"), read_table(tmp_path / "killed")
    assert first.drop(columns="output").equals(second.drop(columns="output"))
    for a, b in zip(first["output"], second["output"], strict=True):
        assert (a == b).all()
    parts = tmp_path / "killed" / "parts"
    assert not [path for path in parts.iterdir() if path.name.startswith(".")]
    # Nothing was computed twice: no lesion stands twice in the parts.
    assert sum(parquet.read_metadata(path).num_rows for path in parts.glob("*.parquet")) == len(first)


@pytest.mark.slow
def test_processes_share_one_folder(run_script, tmp_path):
    run_script("share")
    alone = read_sweep(tmp_path / "alone")
    for folder in ("shared", "switch"):
        other = read_sweep(tmp_path / folder)
        assert list(other) == list(alone)
        assert all(torch.equal(alone[name], other[name]) for name in alone)
