"""A study on a Ray cluster whose machines die: it takes longer, and nothing else is different."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from facelesion.engines import Here, Parts, Ray, on_ray
from facelesion.errors import Error

from .conftest import same_tables
from .toys import Counting, Word, Words, at_work, begun, read_words, study, words

pytest.importorskip("ray", reason="the extra [ray] is not installed: pip install 'facelesion[ray]'")
pytestmark = pytest.mark.slow
STORE = 100 << 20
TWO = Ray(workers=2)
# A dead node is missed after a second or two, where Ray's own settings take a quarter of a minute.
SOON = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 3}


class Nodes:
    """A cluster on this machine: a head without cores, and nodes of one core each."""

    def __init__(self, count: int) -> None:
        import ray
        from ray.cluster_utils import Cluster

        self.ray = ray
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": STORE, "_system_config": SOON},
        )
        self.nodes = [self.add() for _ in range(count)]
        ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")

    @property
    def address(self) -> str:
        return self.cluster.address

    def add(self):
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE)

    def kill_one(self) -> None:
        """A node dies without a word, and another takes its place."""
        self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)
        self.nodes.append(self.add())

    def end(self) -> None:
        self.ray.shutdown()
        self.cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A cluster that this process is connected to."""
    found = Nodes(3)
    yield found
    found.end()


def meanwhile(work: Callable[[], Path], disturb: Callable[[], bool]) -> Path:
    """Do some work while something disturbs it, which says whether it would go on; Ray's nodes want the main thread."""
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        while not working.done() and disturb():
            time.sleep(0.05)
        return working.result()


def test_where_no_cluster_is_that_is_told_at_once():
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(10)

        def greet() -> None:
            with other.accept()[0] as line:
                line.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        port = other.getsockname()[1]
        with ThreadPoolExecutor(1) as pool:
            pool.submit(greet)
            with pytest.raises(Error, match="^address: no Ray cluster at .*something else listens there"):
                Ray(address=f"127.0.0.1:{port}").look()
    for address in (f"127.0.0.1:{port}", "nowhere.invalid:6379", "nowhere"):
        with pytest.raises(Error, match=f"^address: no Ray cluster at {address} "):
            Ray(address=address).look()
    assert time.monotonic() - started < 30


def test_words_are_those_that_one_process_writes(nodes, tmp_path):
    plain, job = words(tmp_path / "here"), words(tmp_path / "ray")
    Here().run(plain)
    TWO.run(job)
    assert read_words(job).keys() == read_words(plain).keys()
    assert all(word.startswith(b"olleh tsrif") or word.startswith(b"olleh") for word in read_words(job).values())
    before = {path: path.stat().st_mtime_ns for path in job.folder.iterdir()}
    TWO.run(job)
    assert {path: path.stat().st_mtime_ns for path in job.folder.iterdir()} == before


def test_where_nothing_is_shared_parts_are_carried_to_the_coordinator(nodes, tmp_path, monkeypatch):
    carried = words(tmp_path / "carried")
    touch = Path.touch
    monkeypatch.setattr(Path, "touch", lambda path, *rest: None if path.name[0] == "." else touch(path, *rest))
    TWO.run(carried)
    assert read_words(carried) == {
        cell.key: b"olleh tsrif" + f"{cell.key} hello"[::-1].encode() for cell in carried.cells
    }
    assert Parts(carried.folder).has("first.word")


def test_a_folder_that_shows_parts_late_is_waited_for_and_no_other_is(nodes, tmp_path, monkeypatch):
    slept, log, seen = [], tmp_path / "log", Words.missing
    monkeypatch.setattr(on_ray, "time", SimpleNamespace(sleep=slept.append, monotonic=time.monotonic))
    TWO.run(words(tmp_path / "soon"))
    assert max(slept) < 1

    def late(work: Words, cells: list[Word], parts: Parts) -> list[Word]:
        return list(cells) if sum(slept) < 12 else seen(work, cells, parts)

    slept.clear()
    monkeypatch.setattr(Words, "missing", late)
    Counting(TWO, log).run(words(tmp_path / "late"))
    assert len(begun(log)) == 7 and set(begun(log).values()) == {1}


def test_a_mistake_stops_the_work_with_its_line_and_a_dying_worker_does_not(nodes, tmp_path):
    job = words(tmp_path / "mistake", 2, "mistake")
    with pytest.raises(Error, match=r"^lesions\.x is too strong: take less$"):
        TWO.run(job)
    with pytest.raises(RuntimeError, match="nobody thought of this"):
        TWO.run(words(tmp_path / "bug", 2, "bug"))


def test_a_cell_that_kills_every_worker_is_named(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "LOSSES", 2)
    with pytest.raises(Error, match="word x0: 2 workers died over it"):
        TWO.run(words(tmp_path, 2, "kill"))


@pytest.mark.parametrize("shared", [True, False], ids=["a shared folder", "nothing shared"])
def test_a_sweep_is_that_of_one_process(nodes, tmp_path, monkeypatch, shared):
    import torch
    from torch import nn

    from facelesion.lesions import Ablate, Noise
    from facelesion.sweep import Options, read_changes, read_sweep, sweep_to_folder

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 4)).eval()
    images = torch.rand(7, 3, 12, 12)
    lesions = {"none": None, "a": Ablate("1", fraction=0.5), "n": Noise("0", std=0.3)}
    given = {"options": Options(batch_size=2), "changes": True, "part_bytes": 1}
    sweep_to_folder(tmp_path / "here", network, lesions, images, **given)
    if not shared:
        touch = Path.touch
        monkeypatch.setattr(Path, "touch", lambda path, *rest: None if path.name[0] == "." else touch(path, *rest))
    sweep_to_folder(tmp_path / "ray", network, {"a": lesions["a"]}, images, engine=Ray(workers=1), **given)
    sweep_to_folder(tmp_path / "ray", network, lesions, images, engine=TWO, **given)
    one, other = read_sweep(tmp_path / "here"), read_sweep(tmp_path / "ray")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert read_changes(tmp_path / "here") == read_changes(tmp_path / "ray")


def test_workers_killed_twenty_times_change_nothing(nodes, tmp_path, pictures, alone):
    log, killed, draw = tmp_path / "log", [], random.Random(0)

    def kill() -> bool:
        # Two more are begun before each: a cell whose workers die again and again is named and ends the study.
        if sum(begun(log).values()) > 2 * len(killed) and (busy := at_work(log)):
            process = draw.choice(busy)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                killed.append(process)
        return len(killed) < 20

    run = meanwhile(lambda: study(tmp_path, pictures, Counting(Ray(), log, seconds=0.2), shard=1), kill)
    counts = begun(log)
    assert len(killed) == 20
    assert len(counts) == 2 + 2 * 2 * 13 and max(counts.values()) <= 1 + len(killed)
    assert sum(counts.values()) <= len(counts) + len(killed)
    same_tables(run, alone)


def test_nodes_that_die_and_join_change_nothing(nodes, tmp_path, pictures, alone):
    log, done, joined = tmp_path / "log", [], []

    def remove() -> bool:
        if at_work(log) and sum(begun(log).values()) > 6 * len(done):
            nodes.kill_one()
            done.append(1)
            if len(done) == 2:
                joined.append(nodes.add())
        return len(done) < 5

    run = meanwhile(lambda: study(tmp_path, pictures, Counting(Ray(), log, seconds=0.3), shard=1), remove)
    counts = begun(log)
    assert len(done) == 5 and joined
    assert max(counts.values()) <= 1 + len(done)
    same_tables(run, alone)


def test_a_coordinator_that_is_killed_loses_nothing(nodes, tmp_path, pictures, alone):
    log, parts = tmp_path / "log", tmp_path / "tiny" / "parts"
    engine = Counting(Ray(address=nodes.address, workers=2), log, seconds=0.1)
    # Its processes begin as copies of one that has imported what they need.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["facelesion.study", "facelesion.report", "ray", "tests.engines.toys"])

    def count() -> int:
        return len(list(parts.glob("*.cell")))

    for more in (3, 3, 3, None):
        goal = count() + (more or 0)
        begun_here = context.Process(target=study, args=(tmp_path, pictures, engine, 1))
        begun_here.start()
        try:
            while more and count() < goal and begun_here.is_alive():
                time.sleep(0.05)
            if more:
                assert begun_here.is_alive()
                begun_here.kill()
            begun_here.join(timeout=300)
            assert begun_here.exitcode == (-signal.SIGKILL if more else 0)
        finally:
            begun_here.kill()
    assert max(begun(log).values()) <= 1 + 3
    same_tables(tmp_path / "tiny", alone)
