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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import facelesion
from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials, ranking_pictures
from facelesion.data.source import GivenPictures, Source
from facelesion.engines.contract import Engine, Job
from facelesion.engines.parts import Parts
from facelesion.engines.runs import write_plan
from facelesion.errors import Error
from facelesion.files import digest_of, nearest, write_bytes
from facelesion.lesions import Lesion, calibrate, lesion_sites
from facelesion.models import Subject, get, look_for
from facelesion.settings import SettingError
from facelesion.study.bench import Bench
from facelesion.study.cells import SHOWN, Cell, Person, Shown, StudyWork, StudyWorker, fits_of, person, say
from facelesion.study.chosen import Chosen, choose
from facelesion.study.design import Planned, Study
from facelesion.study.pool import Pool
from facelesion.study.settled import Found
from facelesion.sweep import sweep
from facelesion.sweep.arguments import device_of
from facelesion.tasks import TASKS

NOTE = Path("parts", "key")  # of a run folder: says which study was begun there
SHARD = 128  # lesions in one cell: enough to share the healthy part of the network, little enough to lose


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
        practice: the pictures that it was found on; None as there.
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
    practice: Materials | None = None

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
    pictures = subject.preprocess(noise.to(device_of(module)))

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


def job_of(gathered: Gathered, parts: Path) -> Job:
    """All of a study's cells, as a job for an engine."""
    study = gathered.study
    shown = Shown(study, gathered.materials, gathered.pool, {name: TASKS[name] for name in study.tasks})
    people = {each.name: Person(gathered.subjects[each.name], gathered.planned(each.name)) for each in study.people}
    fits = fits_of(shown, gathered.key, people)
    names = tuple(map(str, study.stimuli))
    return Job(
        StudyWork(study.device, len(gathered.pool), names, {fit.participant: fit for fit in fits}),
        gathered.cells(),
        {SHOWN: shown, **{person(name): each for name, each in people.items()}},
        parts,
        before=fits,
        logs=parts.parent / "logs",
    )


def run_cells(gathered: Gathered, parts: Path, engine: Engine) -> Bench | None:
    """Do all cells that are not done yet; the first participant's bench, if this process had it.

    Raises:
        Error: a cell cannot be done.
    """
    job = job_of(gathered, parts)
    missing, _ = job.missing()
    write_plan(parts, {cell.part: job.work.told(cell) for cell in job.cells})
    for participant in gathered.study.people:
        if all(cell.participant != participant.name for cell in missing):
            say(f"{participant.name}: already there")
    worker = engine.run(job)
    first = worker.first if isinstance(worker, StudyWorker) else None
    return first if first is not None and first.name == gathered.study.people[0].name else None


def parts_of(gathered: Gathered, parts: Path) -> Iterator[bytes]:
    """The parts of all cells, in order.

    Raises:
        Error: one has gone since it was written.
    """
    there = Parts(parts)
    for cell in gathered.cells():
        found = there.read(cell.part)
        if found is None:
            raise Error(f"{parts / cell.part} has gone, or is not whole any more: run the study again, to do it anew")
        yield found


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
        if path.is_dir():
            shutil.rmtree(path)
        elif path != note:
            path.unlink()
    note.unlink()
    parts.rmdir()


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
