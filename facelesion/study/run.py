"""Run a study: cells of participant × stimulus × lesions, each kept on disk as it is done.

The flow: gather pictures, load the networks, fit the readouts on each healthy network and freeze them, then for every
stimulus sweep all lesions and ask every task. A cell is a value; its part is named by what decides its content, so a
killed study goes on with the cells that are missing, and running one twice is harmless.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import facelesion
from facelesion.data.materials import Materials
from facelesion.data.source import GivenPictures, Source
from facelesion.errors import FacelesionError
from facelesion.faces.stimuli import Stimulus
from facelesion.files import digest_of, nearest, write_bytes
from facelesion.lesions import Lesion, lesion_sites
from facelesion.models import Subject, get
from facelesion.study.bench import Bench, Pool, threads
from facelesion.study.design import Planned, Study
from facelesion.study.settled import Found
from facelesion.study.table import change_columns, is_done, rows_of, trials_of, write_part
from facelesion.tasks import TASKS

SHARD = 128  # lesions in one cell: enough to share the healthy part of the network, little enough to lose


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

    def path(self, parts: Path) -> Path:
        """Where its part lies, without the ending."""
        return parts / self.key


@dataclass(frozen=True, eq=False)
class Gathered:
    """All that a study works on: its networks and its pictures.

    Attributes:
        study: the design.
        subjects: the networks by name.
        materials: the pictures by role.
        pool: the pictures that are shown under damage.
        key: hash of settings, weights, pictures and version: what names the whole study.
        source: of the pictures.
        found: what was found on people who practise; None where nothing is asked for, or it is still to be found.
    """

    study: Study
    subjects: Mapping[str, Subject]
    materials: Materials
    pool: Pool
    key: str
    source: Source
    found: Found | None = None

    def cells(self) -> list[Cell]:
        """All cells, in the order in which they are done."""
        found = []
        for participant in self.study.people:
            lesions = self.study.planned(participant.name)
            for number, stimulus in enumerate(self.study.stimuli):
                for start in range(0, len(lesions), SHARD):
                    shard = lesions[start : start + SHARD]
                    hashes = [each.lesion.hash if each.lesion else "none" for each in shard]
                    key = digest_of(
                        [self.key, participant.name, json.dumps(stimulus.to_dict(), sort_keys=True), *hashes], 24
                    )
                    found.append(Cell(participant.name, number, start, start + len(shard), key))
        return found

    def bench(self, participant: str, device: torch.device) -> Bench:
        """One participant, ready."""
        return Bench.build(
            participant, self.subjects[participant], self.study, self.materials, self.pool, device
        )


def gather(
    study: Study,
    participants: Mapping[str, Subject] | None = None,
    pictures: Materials | None = None,
) -> Gathered:
    """Load the networks and the pictures of a study; what cannot be damaged or shown is told here.

    Args:
        study: the design.
        participants: networks of one's own by name; the study's other participants are loaded by theirs.
        pictures: pictures of one's own by role; from the study's source when left out.

    Raises:
        FacelesionError: a site, network, file or role does not exist.
        LesionError: a lesion does not fit a network.
    """
    own, named = dict(participants or {}), [each.name for each in study.people]
    for name in own:
        if name not in named:
            raise FacelesionError(f"participants: {name!r} takes no part in the study: {nearest(name, named)}")
    subjects = {
        each.name: own.get(each.name) or get(each.network, each.seed) for each in study.people
    }
    for name, subject in subjects.items():
        for planned in study.planned(name):
            if planned.lesion is not None and planned.draw == 0:
                lesion_sites(subject.module, planned.lesion)  # found here, not at minute nine
    size = max(subject.size for subject in subjects.values())
    materials = study.pictures.gather(study.seed, size) if pictures is None else pictures
    pool = Pool.of([TASKS[task] for task in study.tasks], materials, study.seed)
    source = study.pictures if pictures is None else GivenPictures()
    return Gathered(study, subjects, materials, pool, _key(study, subjects, materials), source)


def run_cells(gathered: Gathered, parts: Path, device: torch.device) -> Bench | None:
    """Do all cells that are not done yet, one participant after the other; the first one's bench if it was needed."""
    first: Bench | None = None
    study = gathered.study
    for participant in study.people:
        cells = [cell for cell in gathered.cells() if cell.participant == participant.name]
        missing = [cell for cell in cells if not is_done(cell.path(parts))]
        if not missing:
            say(f"{participant.name}: already there")
            continue
        say(f"{participant.name}: calibration and readouts on the healthy network")
        bench = gathered.bench(participant.name, device)
        first = bench if participant == study.people[0] else first
        if study.processes == 1 or len(missing) == 1:
            for cell in missing:
                work(gathered.study, gathered.key, bench, cell, parts)
        else:
            _in_processes(gathered.study, gathered.key, bench, missing, parts)
    return first


def work(study: Study, key: str, bench: Bench, cell: Cell, parts: Path, progress: bool = True) -> None:
    """Do one cell and write its part.

    Raises:
        FacelesionError: a lesion makes the network's answer infinite.
    """
    started = time.monotonic()
    stimulus: Stimulus = study.stimuli[cell.stimulus]
    planned = study.planned(bench.name)[cell.start : cell.stop]
    found, changes = bench.represent(stimulus, planned, progress)
    trials: list[Any] = []
    rows: list[dict[str, Any]] = []
    for number, each in enumerate(planned):
        representation = found[str(number)].float().cpu()
        if not torch.isfinite(representation).all():
            raise FacelesionError(
                f"{each.lesion} makes {bench.name}'s output infinite: lower the dose of {each.series}"
            )
        about = _about(study, bench, each, str(stimulus)) | change_columns(changes.get(str(number), {}))
        for task in bench.tasks:
            with threads(1):
                answers = task.answer(representation)
            trials.append(trials_of(bench.name, each, str(stimulus), task, answers))
            rows += rows_of(task, answers, about)
    write_part(cell.path(parts), trials, rows)
    say(
        f"  {bench.name}, {stimulus} [{cell.stimulus + 1}/{len(study.stimuli)}]: "
        f"{time.monotonic() - started:.0f} s"
    )


def say(line: str) -> None:
    """Tell how far the study is, on standard error."""
    print(line, file=sys.stderr, flush=True)


def claim(folder: Path, key: str, overwrite: bool) -> bool:
    """Make the run folder ours: new, or begun earlier by the very same study. True where that is finished.

    Raises:
        FacelesionError: the folder holds something else.
    """
    note, manifest = folder / "parts" / "key", folder / "manifest.json"
    there = _hash_in(manifest)
    if there == key:  # the manifest is written once all tables are, whatever parts were not tidied away
        return True
    if note.is_file():
        there = note.read_text(errors="replace").strip()
    if there is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FacelesionError(f"{folder} exists and is no run of a study: choose another --name")
    if there not in (None, key):
        if not overwrite:
            raise FacelesionError(
                f"{folder} holds another study (its settings, weights or pictures differ): "
                "choose another --name, or replace it with --overwrite true"
            )
        shutil.rmtree(folder)
    write_bytes(note, f"{key}\n".encode())
    return False


def tidy(parts: Path, key: str) -> None:
    """Delete the parts of a study that is finished, if they are its own; the note that says so goes last."""
    note = parts / "key"
    if not note.is_file() or note.read_text().strip() != key:
        return
    for path in parts.iterdir():
        if path != note:
            path.unlink()
    note.unlink()
    parts.rmdir()


def device_called(name: str) -> torch.device:
    """The device of this name; `auto` is a GPU where there is one.

    Raises:
        FacelesionError: it cannot be used.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise FacelesionError(
            f"device {name!r} cannot be used ({str(error).splitlines()[0]}): take cpu or auto"
        ) from None
    return device


def _about(study: Study, bench: Bench, planned: Planned, stimulus: str) -> dict[str, Any]:
    """What all rows of a condition have in common."""
    lesion = planned.lesion
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
        "seed": study.seed,
        "stimulus": stimulus,
        "data": bench.pool.digest,
    }


def _in_processes(study: Study, key: str, bench: Bench, cells: Sequence[Cell], parts: Path) -> None:
    """Share cells out over processes: each takes the next one that nobody has taken.

    Raises:
        FacelesionError: a cell could not be done, with its own line; the others are kept.
    """
    import torch.multiprocessing as multiprocessing

    # Never forked: a forked copy of a process that has run torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    taken, wrong = context.Value("i", 0), context.Queue()
    threads = max(1, torch.get_num_threads() // study.processes)
    workers = [
        context.Process(
            target=_worker, args=(study, key, bench, tuple(cells), parts, threads, taken, wrong), daemon=True
        )
        for _ in range(min(study.processes, len(cells)))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if not wrong.empty():
        raise FacelesionError(wrong.get())
    failed = [worker.exitcode for worker in workers if worker.exitcode]
    if failed:
        raise FacelesionError(
            f"a worker process ended unexpectedly (exit status {failed[0]}; out of memory?): what is done is kept, so "
            "run the study again, with fewer processes"
        )


def _worker(
    study: Study, key: str, bench: Bench, cells: Sequence[Cell], parts: Path, threads: int, taken: Any, wrong: Any
) -> None:
    torch.set_num_threads(threads)
    while True:
        with taken.get_lock():
            number = taken.value
            taken.value += 1
        if number >= len(cells):
            return
        try:
            work(study, key, bench, cells[number], parts, progress=False)
        except ValueError as error:  # the user's to mend: told once, by the main process
            wrong.put(str(error))
            with taken.get_lock():
                taken.value = len(cells)
            return


def _key(study: Study, subjects: Mapping[str, Subject], materials: Materials) -> str:
    """What decides a study's numbers: settings (but for where and how fast), weights, pictures, version."""
    settings = study.to_dict()
    for name in ("output", "overwrite", "device", "processes", "question"):
        del settings[name]
    lesions = (planned.lesion for name in subjects for planned in study.planned(name))
    if not any(lesion is not None and needs_company(lesion) for lesion in lesions):
        del settings["batch_size"]
    for name in study.pictures.places:
        settings["pictures"][name] = settings["pictures"][name] is not None
    weights = [f"{name} {subject.weights}" for name, subject in subjects.items()]
    pictures = [f"{role} {each.digest}" for role, each in materials.sets().items()]
    return digest_of([json.dumps(settings, sort_keys=True), *weights, *pictures, facelesion.__version__])


def needs_company(lesion: Lesion) -> bool:
    """Whether a lesion takes from another image of its batch: alone among all, its numbers hang on the batch's size."""
    return any(getattr(part, "to", "") == "resample" for part in lesion.parts)


def _hash_in(manifest: Path) -> str | None:
    """The study's hash that a manifest says; None where it says none."""
    try:
        hashes = json.loads(manifest.read_text(encoding="utf-8"))["hashes"]
        return str(hashes["study"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def parts_of(gathered: Gathered, parts: Path) -> Iterator[Path]:
    """Where the parts of all cells lie, in order."""
    for cell in gathered.cells():
        yield cell.path(parts)

