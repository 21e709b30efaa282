"""Run a study: cells of participant × stimulus × lesions, each kept on disk as it is done.

The flow: gather pictures, load the networks, fit the readouts on each healthy network and freeze them, then for every
stimulus sweep all lesions and ask every task. A cell is a value; its part is named by what decides its content, so a
killed study goes on with the cells that are missing, and running one twice is harmless.
"""

from __future__ import annotations

import dataclasses
import functools
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
from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials, ranking_pictures
from facelesion.data.source import GivenPictures, Source
from facelesion.errors import Error
from facelesion.faces.stimuli import Stimulus
from facelesion.files import digest_of, nearest, write_bytes
from facelesion.lesions import Lesion, calibrate, lesion_sites
from facelesion.models import Subject, get, look_for
from facelesion.settings import SettingError
from facelesion.study.bench import Bench
from facelesion.study.chosen import Chosen, choose
from facelesion.study.design import Planned, Study
from facelesion.study.pool import Pool
from facelesion.study.settled import Found
from facelesion.study.table import change_columns, is_done, rows_of, trials_of, write_part
from facelesion.study.threads import threads
from facelesion.sweep import sweep
from facelesion.tasks import TASKS

NOTE = Path("parts", "key")  # of a run folder: says which study was begun there
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
        ranking: pictures that units are ranked on; empty where no lesion asks for a ranking.
        remarks: what a reader of the results has to know of all this, in sentences.
        chosen: by participant, its ranked units; empty until `with_rankings`, and where no lesion asks for one.
        source: of the pictures.
        found: what was found on people who practise; None where nothing is asked for, or it is still to be found.
    """

    study: Study
    subjects: Mapping[str, Subject]
    materials: Materials
    pool: Pool
    key: str
    ranking: Mapping[str, ImageSet]
    remarks: tuple[str, ...]
    chosen: Mapping[str, Chosen]
    source: Source
    found: Found | None = None

    @functools.cached_property
    def _plans(self) -> dict[str, list[Planned]]:
        # Once: control sets are searched for, and cells and benches ask again and again.
        names = [each.name for each in self.study.people]
        return {name: self.study.planned(name, self.chosen.get(name)) for name in names}

    def planned(self, participant: str) -> list[Planned]:
        """All lesions of a participant, the intact network first."""
        return self._plans[participant]

    def with_rankings(self, parts: Path, device: torch.device) -> Gathered:
        """The same with every participant's units ranked, if the study asks for that."""
        if not self.study.chooses:
            return self
        chosen = {}
        for name, subject in self.subjects.items():
            say(f"{name}: ranking units")
            chosen[name] = choose(self.study, name, subject, self.ranking, self.key, parts, device)
        return dataclasses.replace(self, chosen=chosen)

    def cells(self) -> list[Cell]:
        """All cells, in the order in which they are done."""
        found = []
        for participant in self.study.people:
            planned = self.planned(participant.name)
            for number, stimulus in enumerate(self.study.stimuli):
                lesions = self.study.shown(planned, str(stimulus))
                for start in range(0, len(lesions), SHARD):
                    shard = lesions[start : start + SHARD]
                    hashes = [each.lesion.hash if each.lesion else "none" for each in shard]
                    key = digest_of(
                        [self.key, participant.name, json.dumps(stimulus.to_dict(), sort_keys=True), *hashes], 24
                    )
                    found.append(Cell(participant.name, number, start, start + len(shard), key))
        return found

    def bench(self, participant: str, device: torch.device, asked: bool = True) -> Bench:
        """One participant, ready to be damaged and, where it is `asked`, with the tasks' readouts."""
        return Bench.build(
            participant,
            self.subjects[participant],
            self.study,
            self.materials,
            self.pool,
            self.planned(participant),
            device,
            asked,
        )


def gather(
    study: Study,
    participants: Mapping[str, Subject] | None = None,
    pictures: Materials | None = None,
) -> Gathered:
    """Load the networks and the pictures of a study.

    What cannot be damaged or shown is told as early as it can be known: names and files before anything is loaded,
    sites and units before any picture is prepared.

    Args:
        study: the design.
        participants: networks of one's own by name; the study's other participants are loaded by theirs.
        pictures: pictures of one's own by role; from the study's source when left out.

    Raises:
        SettingError: a site, unit, network or file does not exist, or a lesion does not fit a network; by its key.
        Error: a role cannot be filled.
    """
    own = dict(participants or {})
    _look(study, own, pictures is None)
    subjects: dict[str, Subject] = {}
    for each in study.people:
        subjects[each.name] = own.get(each.name) or get(each.network, each.seed)
        rehearse(study, each.name, subjects[each.name])
    size = max(subject.size for subject in subjects.values())
    materials = study.pictures.gather(study.seed, size) if pictures is None else pictures
    pool = Pool.of([TASKS[task] for task in study.tasks], materials, study.seed)
    ranking: Mapping[str, ImageSet] = {}
    remarks = materials.remarks
    if study.chooses:
        ranking, said = (
            study.pictures.for_ranking(study.seed, size, materials) if pictures is None else ranking_pictures(materials)
        )
        remarks = (*remarks, said)
    source = study.pictures if pictures is None else GivenPictures()
    key = _key(study, subjects, {**materials.sets(), **{f"ranking {name}": each for name, each in ranking.items()}})
    return Gathered(study, subjects, materials, pool, key, ranking, remarks, {}, source)


def _look(study: Study, own: Mapping[str, Subject], with_pictures: bool) -> None:
    """Tell what is not there, before anything is loaded."""
    named = [each.name for each in study.people]
    for name in own:
        if name not in named:
            raise Error(f"participants: {name!r} takes no part in the study: {nearest(name, named)}")
    for number, each in enumerate(study.people):
        if each.name not in own:
            try:
                look_for(each.network)
            except Error as error:
                raise SettingError(f"participants.{number}", f"cannot take part: {error}") from None
    if with_pictures:
        study.pictures.look()


def rehearse(study: Study, participant: str, subject: Subject) -> None:
    """Damage a network once by every lesion, on two pictures of noise: what cannot be is told here, not at minute nine.

    Raises:
        SettingError: a lesion does not fit the network; by its series.
    """
    planned = [each for each in study.planned(participant) if each.lesion is not None and each.draw == 0]
    if not planned:
        return
    size = subject.size
    noise = torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    module = subject.module.eval()
    pictures = subject.preprocess(noise.to(_device_of(module)))

    def damage(some: Sequence[Planned]) -> None:
        lesions = {str(number): each.lesion for number, each in enumerate(some)}
        parts = [part for each in some if each.lesion is not None for part in each.lesion.parts]
        sites = sorted({part.site for part in parts if part.relative_to_health})
        for each in some:
            lesion_sites(module, each.lesion)
        calibration = calibrate(module, [pictures], sites) if sites else None
        sweep(module, lesions, pictures, calibration=calibration, ids=torch.arange(2))

    try:
        damage(planned)
    except Error:
        for each in planned:
            try:
                damage([each])
            except Error as error:
                raise SettingError(f"lesions.{each.series}", f"cannot be done to {participant}: {error}") from None
        raise


def _device_of(module: torch.nn.Module) -> torch.device:
    return next((parameter.device for parameter in module.parameters()), torch.device("cpu"))


def run_cells(gathered: Gathered, parts: Path, device: torch.device) -> Bench | None:
    """Do all cells that are not done yet, one participant after the other; the first one's bench if it was needed."""
    first: Bench | None = None
    study, cells = gathered.study, gathered.cells()
    for participant in study.people:
        missing = [cell for cell in cells if cell.participant == participant.name and not is_done(cell.path(parts))]
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
        Error: a lesion makes the network's answer infinite.
    """
    started = time.monotonic()
    stimulus: Stimulus = study.stimuli[cell.stimulus]
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
        Error: the folder holds something else.
    """
    note = folder / NOTE
    check_ours(folder)
    there = _study_in(folder)
    if there == key and _hash_in(folder / "manifest.json") == key:
        return True  # the manifest is written once all tables are, whatever parts were not tidied away
    if there not in (None, key):
        if not overwrite:
            raise Error(
                f"{folder} holds another study (its settings, weights or pictures differ): "
                "choose another --name, or replace it with --overwrite true"
            )
        _remove(folder)
    for unfinished in folder.glob(".*.part"):  # what a kill left while it was written
        unfinished.unlink()
    write_bytes(note, f"{key}\n".encode())
    return False


def check_ours(folder: Path) -> None:
    """Refuse a folder that is no run of a study; asked before any work.

    A study that was killed while it took its folder has left nothing there but an empty folder for parts.

    Raises:
        Error: it holds something else.
    """
    if not folder.exists() or _study_in(folder) is not None:
        return
    if folder.is_dir():
        parts = (folder / NOTE).parent
        inside = [path for path in folder.iterdir() if path != parts]
        if parts.is_dir():
            inside += [path for path in parts.iterdir() if not (path.name[0] == "." and path.suffix == ".part")]
        if not inside:
            return
    raise Error(f"{folder} exists and is no run of a study: choose another --name")


def _study_in(folder: Path) -> str | None:
    """The hash of the study that a run folder holds, finished or begun; None where it holds none."""
    there, note = _hash_in(folder / "manifest.json"), folder / NOTE
    if there is None and note.is_file():
        there = note.read_text(errors="replace").strip()
    return there


def _remove(folder: Path) -> None:
    """Delete a run folder: a kill meanwhile leaves it whole, or out of its place."""
    aside = folder.with_name(f".{folder.name}.replaced.part")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    shutil.rmtree(aside)


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
        "control": planned.control,
        "mismatch": float("nan") if planned.mismatch is None else planned.mismatch,
        "seed": study.seed,
        "stimulus": stimulus,
        "data": bench.pool.digest,
    }


def _in_processes(study: Study, key: str, bench: Bench, cells: Sequence[Cell], parts: Path) -> None:
    """Share cells out over processes: each takes the next one that nobody has taken.

    Raises:
        Error: a cell could not be done, with its own line; the others are kept.
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
        raise Error(wrong.get())
    failed = [worker.exitcode for worker in workers if worker.exitcode]
    if failed:
        raise Error(
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
        except Error as error:  # the user's to mend: told once, by the main process
            wrong.put(str(error))
            with taken.get_lock():
                taken.value = len(cells)
            return


def _key(study: Study, subjects: Mapping[str, Subject], sets: Mapping[str, ImageSet]) -> str:
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
    pictures = [f"{role} {each.digest}" for role, each in sets.items()]
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

