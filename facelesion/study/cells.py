"""A study's cells, and how one is done: by any process, on any machine, twice without harm.

Before a participant's first cell somebody has to fit its readouts on the healthy network. Whoever does hands them on as
a part of their own, so that all cells of a participant are read out by the very same readouts.
"""

from __future__ import annotations

import importlib
import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from facelesion.data.materials import Materials
from facelesion.engines.contract import Desk
from facelesion.engines.parts import Parts
from facelesion.errors import Error
from facelesion.files import digest_of
from facelesion.lesions import Lesion
from facelesion.models import Subject
from facelesion.products import float32_products
from facelesion.study.bench import Bench
from facelesion.study.design import Planned, Study
from facelesion.study.pool import Pool
from facelesion.study.table import change_columns, part_of, rows_of, trials_of
from facelesion.study.threads import threads
from facelesion.tasks import TASKS, Task


@dataclass(frozen=True)
class Cell:
    """One piece of a study's work, named by all that decides its result.

    Attributes:
        participant: name of the network.
        stimulus: position among the study's stimuli.
        start, stop: positions among the participant's planned lesions.
        key: hash of everything the result depends on.
    """

    participant: str
    stimulus: int
    start: int
    stop: int
    key: str

    @property
    def part(self) -> str:
        """The name of its part."""
        return f"{self.key}.cell"


@dataclass(frozen=True)
class Fit:
    """The readouts and the calibration of one healthy participant.

    Attributes:
        participant: name of the network.
        key: hash of everything they depend on.
    """

    participant: str
    key: str

    @property
    def part(self) -> str:
        """The name of its part."""
        return f"{self.key}.fit"


@dataclass(frozen=True, eq=False)
class Shown:
    """What all participants of a study have in common: an input of its cells.

    Attributes:
        study: the design.
        materials: the pictures by role.
        pool: the pictures that are shown under damage.
        tasks: the tasks' classes by name; those of a user's own are known to nobody else.
    """

    study: Study
    materials: Materials
    pool: Pool
    tasks: Mapping[str, type[Task]]


@dataclass(frozen=True, eq=False)
class Person:
    """One participant: an input of its cells.

    Attributes:
        subject: the network.
        planned: all its lesions, the intact network first.
    """

    subject: Subject
    planned: Sequence[Planned]


SHOWN = "shown"


def person(name: str) -> str:
    """The name of a participant's input."""
    return f"participant {name}"


def fits_of(shown: Shown, key: str, people: Mapping[str, Person]) -> list[Fit]:
    """One for every participant, named by all it depends on."""
    found = []
    for name, each in people.items():
        lesions = [planned.lesion for planned in each.planned]
        calibrated = [each.hash for each in lesions if each is not None and each.needs_calibration]
        found.append(Fit(name, digest_of([key, "fit", name, shown.pool.digest, *calibrated], 24)))
    return found


@dataclass(frozen=True)
class StudyWork:
    """What is done with a study's cells, wherever that is.

    Attributes:
        device: as the study names it; each worker finds its own by that.
        pictures: how many are shown in a cell.
        stimuli: their names.
        fits: the fits by participant.
    """

    device: str
    pictures: int
    stimuli: tuple[str, ...]
    fits: Mapping[str, Fit]

    def begin(self, desk: Desk) -> StudyWorker:
        """Somebody to do cells."""
        return StudyWorker(self, desk)

    def missing(self, cells: Sequence[Cell | Fit], parts: Parts) -> list[Cell | Fit]:
        """The cells whose parts are not there."""
        return [cell for cell in cells if not parts.has(cell.part)]

    def amount(self, cell: Cell | Fit) -> int:
        """Images × lesions."""
        return self.pictures * (cell.stop - cell.start) if isinstance(cell, Cell) else 0

    def needs(self, cell: Cell | Fit) -> Sequence[str]:
        """The part of the participant's fit."""
        return (self.fits[cell.participant].part,)

    def told(self, cell: Cell | Fit) -> str:
        """What a cell is, to be read."""
        if isinstance(cell, Fit):
            return f"{cell.participant}, calibration and readouts"
        where = f"[{cell.stimulus + 1}/{len(self.stimuli)}], lesions {cell.start + 1} to {cell.stop}"
        return f"{cell.participant}, {self.stimuli[cell.stimulus]} {where}"


class StudyWorker:
    """Does a study's cells; one participant's bench at a time is kept at hand, and the first one's for good.

    Attributes:
        first: the bench of whom the first cell was about.
    """

    def __init__(self, work: StudyWork, desk: Desk) -> None:
        self.work, self.desk = work, desk
        self.first: Bench | None = None
        self._bench: Bench | None = None
        self._shown: Shown = desk.fetch(SHOWN)
        for name, task in self._shown.tasks.items():
            TASKS.setdefault(name, task)

    @float32_products()
    def do(self, cell: Cell | Fit) -> None:
        """Do a cell or a fit and keep its part.

        Raises:
            Error: a lesion makes the network's answer infinite.
        """
        if isinstance(cell, Fit):
            self._bench = self._benched(cell.participant)
        elif not self.desk.parts.has(cell.part):
            if self._bench is None or self._bench.name != cell.participant:
                self._bench = None  # two at once may be more than there is room for
                self._bench = self._benched(cell.participant)
            if self.desk.alone:
                self.first = self.first or self._bench
            study = self._shown.study
            started = time.monotonic()
            content = answered(study, self._bench, cell, self.desk.progress)
            self.desk.parts.keep(cell.part, content)
            if self.desk.progress:
                where = f"[{cell.stimulus + 1}/{len(study.stimuli)}]"
                spent = time.monotonic() - started
                say(f"  {cell.participant}, {study.stimuli[cell.stimulus]} {where}: {spent:.0f} s")

    def _benched(self, participant: str) -> Bench:
        """A participant on the bench, with readouts that somebody has fitted already, or with fresh ones."""
        shown = self._shown
        who: Person = self.desk.fetch(person(participant))
        fit, device = self.work.fits[participant], device_of_worker(self.work.device, self.desk.number)
        if not self.desk.parts.has(fit.part):
            if self.desk.progress:
                say(f"{participant}: calibration and readouts on the healthy network")
            bench = Bench.build(
                participant, who.subject, shown.study, shown.materials, shown.pool, who.planned, device
            )
            if self.desk.alone:
                return bench
            self.desk.parts.keep(fit.part, _pickled((bench.tasks, bench.calibration)))
        kept = self.desk.parts.read(fit.part)
        assert kept is not None
        tasks, calibration = pickle.loads(kept)
        who.subject.module.to(device).eval()
        return Bench(
            participant, who.subject, device, shown.pool, tasks, calibration, who.planned, shown.study.batch_size
        )


def answered(study: Study, bench: Bench, cell: Cell, progress: bool = False) -> bytes:
    """Show everything to a network under a cell's lesions, and ask every task: the content of the cell's part.

    Raises:
        Error: a lesion makes the network's answer infinite.
    """
    stimulus = study.stimuli[cell.stimulus]
    planned = bench.planned[cell.start : cell.stop]
    found, changes = bench.represent(stimulus, planned, progress)
    trials: list[Any] = []
    rows: list[dict[str, Any]] = []
    for number, each in enumerate(planned):
        representation = found[str(number)].float().cpu()
        if not torch.isfinite(representation).all():
            raise Error(
                f"{each.lesion} makes {bench.name}'s output infinite: lower the dose of {each.series}"
            )
        about = _about(study, bench, each, str(stimulus)) | change_columns(changes.get(str(number), {}))
        look = bench.look(stimulus, each.lesion)
        for task in bench.tasks:
            with threads(1):
                answers = task.ask(representation, look)
            trials.append(trials_of(bench.name, each, str(stimulus), task, answers))
            rows += rows_of(task, answers, about)
    return part_of(trials, rows)


def _about(study: Study, bench: Bench, planned: Planned, stimulus: str) -> dict[str, Any]:
    """What all rows of a condition have in common."""
    lesion: Lesion | None = planned.lesion
    series = None if lesion is None else study.series(planned.series, bench.name)
    return {
        "study": study.name,
        "participant": bench.name,
        "weights": bench.subject.weights,
        "lesion": planned.series,
        "damage": "none" if lesion is None else str(lesion),
        "damage_hash": "none" if lesion is None else lesion.hash,
        "sites": "" if series is None else ", ".join(series.sites),
        "step": planned.step,
        "dose": planned.dose,
        "meaning": "" if series is None else series.meaning,
        "draw": planned.draw,
        "control": planned.control,
        "mismatch": float("nan") if planned.mismatch is None else planned.mismatch,
        "seed": study.seed,
        "stimulus": stimulus,
        "data": bench.pool.digest,
    }


def device_called(name: str) -> torch.device:
    """The device of this name; `auto` is a GPU where there is one.

    Raises:
        Error: it cannot be used.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise Error(
            f"device {name!r} cannot be used ({str(error).splitlines()[0]}): take cpu or auto"
        ) from None
    return device


def device_of_worker(name: str, number: int) -> torch.device:
    """As `device_called`; of several GPUs, the one that is this worker's turn."""
    device = device_called(name)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", number % torch.cuda.device_count())
    return device


def say(line: str) -> None:
    """Tell how far the study is, on standard error."""
    print(line, file=sys.stderr, flush=True)


def _pickled(value: Any) -> bytes:
    """A value for other machines. What a user defined in a script goes along whole where cloudpickle can do that."""
    try:
        pickler: Any = importlib.import_module("cloudpickle")
    except ModuleNotFoundError:
        pickler = pickle
    try:
        return bytes(pickler.dumps(value))
    except (pickle.PicklingError, AttributeError, TypeError) as problem:
        raise Error(
            f"a task's readout cannot be handed to another process ({problem}): define its functions by name at the "
            "top of a file, or work in one process"
        ) from None
