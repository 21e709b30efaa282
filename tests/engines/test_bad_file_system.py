"""A folder on a file system that is slow, cut off now and then, and not as good as its word."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from facelesion import files
from facelesion.engines import Here, Parts

from .conftest import same_tables
from .toys import read_words, study, words


class BadDisk:
    """Takes the place of `os.replace` and `os.fsync`: each call is delayed, refused, done twice, or done and denied.

    A move may also show its target half written before it fails, as a file system does that is no POSIX one.
    """

    def __init__(self, seed: int, refuse: float, cut_off: int = 0) -> None:
        self.draw, self.refuse, self.cut_off = random.Random(seed), refuse, cut_off
        self.replace_, self.fsync_ = os.replace, os.fsync
        self.did: Counter[str] = Counter()
        self.lock = threading.Lock()

    def _fate(self, *fates: str) -> str:
        with self.lock:
            self.cut_off -= 1
            fate = "refused" if self.cut_off >= 0 else "done"
            if fate == "done" and self.draw.random() < self.refuse:
                fate = self.draw.choice(fates)
            self.did[fate] += 1
        time.sleep(0.0005)
        return fate

    def _error(self) -> OSError:
        return OSError(self.draw.choice([errno.EIO, errno.ESTALE, errno.ETIMEDOUT]), "the line is cut")

    def fsync(self, handle: int) -> None:
        if self._fate("refused", "late") == "refused":
            raise self._error()
        self.fsync_(handle)

    def replace(self, source: str, target: str) -> None:
        fate = self._fate("refused", "denied", "twice", "copied", "half")
        if fate == "refused":
            raise self._error()
        if fate == "half":
            data = Path(source).read_bytes()
            Path(target).write_bytes(data[: len(data) // 2])
            raise self._error()
        if fate == "copied":  # the source stays, and the caller is told that it failed
            shutil.copyfile(source, target)
            raise self._error()
        self.replace_(source, target)
        if fate == "denied":
            raise self._error()
        if fate == "twice":
            shutil.copyfile(target, f"{target}.again")
            self.replace_(f"{target}.again", target)


@pytest.fixture
def disk(monkeypatch):
    def put(seed: int, refuse: float, cut_off: int = 0) -> BadDisk:
        found = BadDisk(seed, refuse, cut_off)
        monkeypatch.setattr(os, "replace", found.replace)
        monkeypatch.setattr(os, "fsync", found.fsync)
        monkeypatch.setattr(files, "PAUSES", (0.001,) * 5)
        return found

    return put


def test_a_part_is_whole_or_not_there_whatever_the_file_system_does(tmp_path, disk):
    """Two that write the same parts, and one that reads them all the while."""
    bad = disk(0, refuse=0.5)
    contents = {f"part{number}": random.Random(number).randbytes(2000 + number) for number in range(120)}
    seen: list[bool] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for name, content in contents.items():
                found = Parts(tmp_path).read(name)
                if found is not None:
                    seen.append(found == content)

    def write(seed: int) -> None:
        parts = Parts(tmp_path)
        for name in random.Random(seed).sample(sorted(contents), len(contents)):
            while not parts.has(name):
                with contextlib.suppress(OSError):
                    parts.keep(name, contents[name])

    threads = [threading.Thread(target=write, args=(seed,)) for seed in (1, 2)]
    reader = threading.Thread(target=read)
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    reader.join()
    assert all(seen) and len(seen) > 40
    assert {name: Parts(tmp_path).read(name) for name in contents} == contents
    assert all(bad.did[fate] for fate in ("done", "refused", "denied", "twice", "copied", "half", "late"))
    assert not list(tmp_path.glob(".*.part"))


def test_a_disk_that_stays_away_is_an_error_and_leaves_nothing(tmp_path, disk):
    disk(0, refuse=0.0, cut_off=10_000)
    with pytest.raises(OSError, match="the line is cut"):
        Parts(tmp_path).keep("a", b"content")
    assert not Parts(tmp_path).has("a") and list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_at_once(tmp_path, disk, monkeypatch):
    bad = disk(0, refuse=0.0)

    def full(handle: int) -> None:
        bad.did["asked"] += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Parts(tmp_path).keep("a", b"content")
    assert bad.did["asked"] == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(5))
def test_cells_that_are_done_again_and_again_leave_what_they_would_leave_on_a_good_disk(tmp_path, disk, seed):
    plain = words(tmp_path / "good", 12)
    Here().run(plain)
    disk(seed, refuse=0.6, cut_off=20)
    job, starts = words(tmp_path / "bad", 12), 0
    while any(word is None for word in read_words(job).values()):
        starts += 1
        with contextlib.suppress(OSError):
            Here().run(words(tmp_path / "bad", 12))
    assert starts > 1 and read_words(job) == read_words(plain)


@pytest.mark.slow
def test_a_study_there_ends_with_the_tables_of_a_good_disk(tmp_path, pictures, alone, disk):
    bad = disk(3, refuse=0.5, cut_off=30)
    for _ in range(50):
        with contextlib.suppress(OSError):
            run = study(tmp_path, pictures, Here(), shard=1)
            break
    else:
        pytest.fail("never finished")
    same_tables(run, alone)
    assert bad.did["half"] and bad.did["copied"] and bad.did["denied"]
    assert not list(run.rglob(".*.part"))
