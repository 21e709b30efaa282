"""A whole lesion study: participants × lesions × stimuli × tasks, into two tables and a report.

    from facelesion import Ablate
    from facelesion.study import Study, run_study

    doses = [Ablate("conv5_*", fraction=share) for share in (0.1, 0.2, 0.4)]
    run_study(Study(name="mine", lesions={"ablation": doses}, tasks=["detection", "identification"]))
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import facelesion
from facelesion.analysis.against import against_controls, on_common_scale
from facelesion.data.materials import Materials
from facelesion.engines.contract import Engine
from facelesion.engines.here import Here
from facelesion.engines.processes import Processes
from facelesion.extras import need
from facelesion.files import write_bytes
from facelesion.main_guard import refuse_in_unguarded_main
from facelesion.models import Subject
from facelesion.process import give_memory_back, started_by
from facelesion.products import float32_products
from facelesion.report.summary import number_of
from facelesion.settings import SettingError
from facelesion.study.attention import write_attention
from facelesion.study.cells import device_called, say
from facelesion.study.contrasted import chosen_trials, write_contrasts
from facelesion.study.cost import describe, estimate
from facelesion.study.design import INTACT, Participant, Planned, Study, read_study
from facelesion.study.run import (
    Gathered,
    check_ours,
    claim,
    gather,
    parts_of,
    run_cells,
    tidy,
)
from facelesion.study.settled import reached, write_found
from facelesion.study.settling import settle
from facelesion.study.table import confusion_of, gather_rows, gather_trials, read_some
from facelesion.tasks import TASKS

if TYPE_CHECKING:
    from facelesion.report import Confusion

__all__ = [
    "Participant", "Planned", "Study", "dry_run", "read_study", "run_study",
]  # fmt: skip


@float32_products()
def run_study(
    study: Study,
    *,
    participants: Mapping[str, Subject] | None = None,
    pictures: Materials | None = None,
    command: str = "",
    engine: Engine | None = None,
) -> Path:
    """Run a study; the path of its report.

    What it leaves in `<output>/<name>`: see `facelesion.report.run_folder`, and `docs/table.md` for its two tables.

    Args:
        study: the design.
        participants: networks of one's own, by the names that the study's participants have.
        pictures: pictures of one's own by role, instead of the study's source.
        command: what to type to get the run again; kept in the manifest. What started this script, when left out.
        engine: where the cells are done, such as `facelesion.engines.Ray()`; it changes no number. Here, in as many
            processes as the study says, when left out.

    Raises:
        Error: a site, model, file or stimulus does not exist, or the folder holds another study.
        LesionError: a lesion does not fit a network.
    """
    from facelesion import report

    refuse_in_unguarded_main()
    need("pandas", "jinja2", "matplotlib")  # for the report at the end
    if study.processes != 1 and engine is not None and not isinstance(engine, Processes):
        raise SettingError("processes", "does nothing beside another engine: leave one of them out")
    folder = Path(study.output) / study.name
    key = _leave_tables(study, folder, participants, pictures, command, engine)
    give_memory_back()  # networks and pictures are gone: the report is made of what lies in the folder
    say("Writing the report")
    page = report.write_report(folder)
    tidy(folder / "parts", key)
    return page


def _leave_tables(
    study: Study,
    folder: Path,
    participants: Mapping[str, Subject] | None,
    pictures: Materials | None,
    command: str,
    engine: Engine | None,
) -> str:
    """Everything that a run's folder holds but its report; the study's key. Nothing is done where all is there."""
    from facelesion import report

    clock = _Clock()
    device = device_called(study.device)
    check_ours(folder)
    say(f"Gathering networks and pictures ({study.pictures.name if pictures is None else 'given'})")
    gathered = gather(study, participants, pictures)
    if claim(folder, gathered.key, study.overwrite):
        say(f"{folder} holds this very study already: only the report is written again")
        return gathered.key
    clock.mark("pictures and networks")
    parts = folder / "parts"
    gathered = settle(gathered.with_rankings(parts, device), parts, device)
    asked, study = study, gathered.study
    _write_pictures(folder, gathered)
    # Their names are kept: their pictures need not lie beside the sweep's maps.
    gathered = replace(gathered, practice=None, ranking={})
    clock.mark("rankings, difficulty and doses")
    lesions = len(gathered.planned(study.people[0].name))
    say(
        f"{number_of(len(study.people), 'participant')} × {number_of(len(study.stimuli), 'stimulus', 'stimuli')} × "
        f"{number_of(lesions, 'lesion')} × {number_of(len(gathered.pool), 'picture')} × "
        f"{number_of(len(study.tasks), 'task')} on {device}"
    )
    if engine is None:
        engine = Here() if study.processes == 1 else Processes(study.processes)
    bench = run_cells(gathered, parts, engine)
    give_memory_back()
    clock.mark("sweep")
    gather_trials(parts_of(gathered, parts), folder / "trials.parquet")
    table = gather_rows(parts_of(gathered, parts))
    report.write_table(folder, table)
    report.write_config(folder, asked.to_dict())
    if gathered.chosen:
        report.write_rankings(folder, [chosen.table for chosen in gathered.chosen.values()])
    report.write_confusions(folder, _confusions(folder, gathered))
    _write_examples(folder, gathered)
    from facelesion.study.maps import grad_cam_maps

    write_attention(folder)
    maps = grad_cam_maps(bench or gathered.bench(study.people[0].name, device))
    if maps is not None:
        report.write_gradcam(folder, maps)
    manifest = report.Manifest(
        study=study.name,
        command=command or started_by(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds={},
        versions=versions(),
        hashes={
            **{f"weights of {name}": subject.weights for name, subject in gathered.subjects.items()},
            "pictures": gathered.pool.digest,
            "study": gathered.key,
        },
        seeds={"pictures and lesions": study.seed},
        left_out=gathered.materials.left_out,
        device=str(device),
        question=study.question,
        tasks={name: TASKS[name].question for name in study.tasks},
        groups=study.groups,
        remarks=(*gathered.remarks, *(gathered.found.sentences(asked) if gathered.found else ())),
    )
    key, found = gathered.key, gathered.found
    # What follows is made of the tables: networks and pictures need not lie beside them.
    del gathered, bench, maps
    give_memory_back()
    if (table["control"] != "").any():
        report.write_controls(folder, against_controls(on_common_scale(table, chosen_trials(folder, study))))
    give_memory_back()
    write_contrasts(folder, study)
    give_memory_back()
    if found is not None:
        write_found(folder, asked, found, reached(folder, asked))
    clock.mark("Grad-CAM and tables")
    report.write_manifest(folder, replace(manifest, seconds=clock.seconds))
    return key


def dry_run(
    study: Study,
    *,
    participants: Mapping[str, Subject] | None = None,
    pictures: Materials | None = None,
) -> str:
    """The design as a table, the number of cells, their cost in multiply-adds, and the time expected here.

    Arguments and errors as for `run_study`; nothing is written.

    Example:
        >>> lines = ["participants: [builtin, untrained]", "tasks: [detection]"]
        >>> lines += ["pictures: {source: facespace, training_people: 8, enrolled_people: 4, new_people: 3}"]
        >>> lines += ["lesions: {cuts: [{kind: Prune, site: conv5_3, fraction: [0.2, 0.4]}]}"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "mine.yaml").write_text("\\n".join(lines))
        ...     study = read_study(Path(folder) / "mine.yaml", {"participants": "[untrained]", "draws": "3"})
        >>> dry_run(study).splitlines()[0]
        'study study: 1 participant × 7 lesions × 1 stimulus × 108 pictures × 1 task'
        >>> last: Planned = study.planned("untrained")[-1]
        >>> str(last.lesion), last.dose, last.draw, Participant("untrained", seed=3).name
        ('prune 40% of the weights into conv5_3 (seed 2)', 0.4, 2, 'untrained 3')
    """
    device = device_called(study.device)
    gathered = gather(study, participants, pictures)
    with tempfile.TemporaryDirectory() as parts:
        gathered = gathered.with_rankings(Path(parts), device)
    return describe(gathered, estimate(gathered, device))


def versions() -> dict[str, str]:
    """What a result depends on besides its settings."""
    found = {"facelesion": facelesion.__version__, "python": platform.python_version()}
    for name in ("torch", "torchvision", "numpy", "scipy", "pandas", "mediapipe", "captum"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _write_pictures(folder: Path, gathered: Gathered) -> None:
    """Who and what had which role: `pictures.csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["role", "picture", "label"])
    others = {f"ranking {name}": pictures for name, pictures in gathered.ranking.items()}
    if gathered.practice is not None:
        others |= {f"practice {name}": pictures for name, pictures in gathered.practice.sets().items()}
    for role, pictures in {**gathered.materials.sets(), **others}.items():
        writer.writerows((role, *each) for each in zip(pictures.names, pictures.labels, strict=True))
    write_bytes(folder / "pictures.csv", text.getvalue().encode("utf-8", "backslashreplace"))


def _write_examples(folder: Path, gathered: Gathered) -> None:
    """The first face under every stimulus."""
    import torch

    from facelesion import report

    device = torch.device("cpu")
    shown = [next(gathered.pool.under(stimulus, 1, device)) for stimulus in gathered.study.stimuli]
    images = (torch.cat(shown) * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    report.write_stimuli(folder, [str(each) for each in gathered.study.stimuli], images)


def _confusions(folder: Path, gathered: Gathered) -> list[Confusion]:
    """What the first participant answered to what was shown: intact, and under the heaviest lesions."""
    from facelesion.report import Confusion
    from facelesion.study.maps import condition_name, heaviest

    study = gathered.study
    name = study.people[0].name
    planned = gathered.planned(name)
    chosen = [planned[number] for number in heaviest(planned)]
    trials = read_some(
        folder / "trials.parquet",
        ["lesion", "dose", "draw", "task", "target", "answer"],
        {"participant": [name], "stimulus": [INTACT], "control": [""]},
    )
    trials = trials[trials["draw"] == 0]
    found = []
    for task in study.tasks:
        for each in chosen:
            here = trials[
                (trials["task"] == task) & (trials["lesion"] == each.series) & (trials["dose"] == each.dose)
            ]
            counts = confusion_of(here)
            if counts is not None and len(counts[0]) <= 64:
                found.append(Confusion(task, condition_name(each), counts[1].numpy(), counts[0]))
    return found


class _Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def mark(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[stage] = round(now - self._last, 1)
        self._last = now
