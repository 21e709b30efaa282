"""Work to try engines with: cells that sleep, fail or write a word; any work with its cells counted; a tiny study."""

from __future__ import annotations

import dataclasses
import os
import pickle
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facelesion.engines import Desk, Job, Parts
from facelesion.errors import Error


@dataclass(frozen=True)
class Word:
    """A cell that leaves a word, after some seconds."""

    key: str
    seconds: float = 0.0
    trouble: str = ""

    @property
    def part(self) -> str:
        return f"{self.key}.word"


@dataclass(frozen=True)
class Words:
    """Work whose cells leave their key and an input, reversed."""

    def begin(self, desk: Desk) -> Writer:
        return Writer(desk)

    def missing(self, cells: Sequence[Word], parts: Parts) -> list[Word]:
        return [cell for cell in cells if not parts.has(cell.part)]

    def amount(self, cell: Word) -> int:
        return 10

    def needs(self, cell: Word) -> Sequence[str]:
        return ("first.word",)

    def told(self, cell: Word) -> str:
        return f"word {cell.key}"


class Writer:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def do(self, cell: Word) -> None:
        if self.desk.parts.has(cell.part):
            return
        time.sleep(cell.seconds)
        if cell.trouble == "mistake":
            raise Error("lesions.x is too strong: take less")
        if cell.trouble == "bug":
            raise KeyError("nobody thought of this")
        if cell.trouble == "kill":
            os.kill(os.getpid(), 9)
        first = self.desk.parts.read("first.word") or b""
        self.desk.parts.keep(cell.part, first + f"{cell.key} {self.desk.fetch('word')}"[::-1].encode())


def words(folder: Path, count: int = 6, *troubles: str, seconds: float = 0.0) -> Job:
    """A job of so many words, some of them in trouble."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = [Word(f"w{number}", seconds) for number in range(count)]
    cells += [Word(f"x{number}", seconds, trouble) for number, trouble in enumerate(troubles)]
    return Job(Words(), cells, {"word": "hello"}, folder, before=[Word("first")], progress=False)


def read_words(job: Job) -> dict[str, bytes | None]:
    parts = Parts(job.folder)
    return {cell.key: parts.read(cell.part) for cell in job.cells}


@dataclass(frozen=True)
class Counted:
    """Any work, with a line in a log whenever a cell is begun and done; each takes some seconds longer."""

    work: Any
    log: str
    seconds: float = 0.0

    def begin(self, desk: Desk) -> Counter_:
        return Counter_(self, self.work.begin(desk))

    def missing(self, cells: Sequence[Any], parts: Parts) -> list[Any]:
        return self.work.missing(cells, parts)

    def amount(self, cell: Any) -> int:
        return self.work.amount(cell)

    def needs(self, cell: Any) -> Sequence[str]:
        return self.work.needs(cell)

    def told(self, cell: Any) -> str:
        return self.work.told(cell)


class Counter_:
    def __init__(self, counted: Counted, worker: Any) -> None:
        self.counted, self.worker = counted, worker

    def do(self, cell: Any) -> None:
        desk = self.worker.desk
        computed = not (desk.parts.shared and not self.counted.work.missing([cell], Parts(desk.parts.path)))
        if computed:
            self._note("begun", cell)
            time.sleep(self.counted.seconds)
        self.worker.do(cell)
        if computed:
            self._note("done", cell)

    def _note(self, what: str, cell: Any) -> None:
        # Short lines written at once are never mixed with others'.
        with open(self.counted.log, "ab", buffering=0) as file:
            file.write(f"{what} {cell.key} {os.getpid()}\n".encode())


@dataclass(frozen=True)
class Counting:
    """Any engine, with the cells of its jobs counted."""

    engine: Any
    log: Path
    seconds: float = 0.0

    def run(self, job: Job) -> Any:
        return self.engine.run(dataclasses.replace(job, work=Counted(job.work, str(self.log), self.seconds)))


def begun(log: Path) -> Counter[str]:
    """How often every cell was begun."""
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(line.split()[1] for line in lines if line.startswith("begun"))


def at_work(log: Path) -> list[int]:
    """Processes that are at a cell."""
    busy: dict[int, bool] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        what, _, process = line.split()
        busy[int(process)] = what == "begun"
    return [process for process, is_busy in busy.items() if is_busy and Path(f"/proc/{process}").exists()]


LESIONS = {
    "ablation": [{"kind": "Ablate", "site": "0", "fraction": [0.25, 0.5]}],
    "noise": [{"kind": "Noise", "site": "2", "std": [0.5, 2], "relative": True}],
}


def tiny(seed: int) -> Any:
    """A network of two layers that takes pictures of 24 pixels."""
    import torch
    from torch import nn

    from facelesion.models import Subject
    from facelesion.models.subject import Preprocessing

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )  # fmt: skip
    return Subject("tiny", network.eval(), 24, Preprocessing(24), nn.Identity(), f"tiny-{seed}", {})


def study(folder: Path, pictures: Path, engine: Any, shard: int, draws: int = 3) -> Path:
    """Run a study of two tiny networks; its folder. `pictures` is a pickle of materials."""
    from facelesion import report
    from facelesion.study import Study, run, run_study

    design = Study(
        name="tiny", participants=["one", "two"], lesions=LESIONS, stimuli=["intact", "invert"], draws=draws,
        tasks=["detection", "identification"], output=str(folder), device="cpu",
    )  # fmt: skip
    held, run.SHARD = run.SHARD, shard
    written = report.write_report  # a page takes longer than the study, and other tests read it
    report.write_report = lambda run_folder: Path(run_folder) / "report.html"  # type: ignore[assignment]
    try:
        own = {"one": tiny(1), "two": tiny(2)}
        run_study(design, participants=own, pictures=pickle.loads(pictures.read_bytes()), engine=engine)
    finally:
        run.SHARD, report.write_report = held, written
    return folder / "tiny"
