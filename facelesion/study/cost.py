"""What a study would cost, before it is run: its design, its cells, its multiply-adds, and its time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from facelesion.study.bench import Bench
from facelesion.study.design import Planned
from facelesion.study.run import Gathered
from facelesion.sweep import make_plan

_SAMPLE = 16  # pictures of the measured piece


@dataclass(frozen=True)
class Cost:
    """What one participant's cells cost.

    Attributes:
        participant: name of the network.
        cells: how many.
        multiply_adds: of all of them together.
        seconds: expected, from a measured piece of the first.
    """

    participant: str
    cells: int
    multiply_adds: float
    seconds: float


def estimate(gathered: Gathered, device: torch.device) -> list[Cost]:
    """The cost of every participant: one piece of its first cell is run, and the rest in proportion."""
    costs, every_cell = [], gathered.cells()
    for participant in gathered.study.people:
        bench = gathered.bench(participant.name, device, asked=False)
        planned = bench.planned
        cells = [cell for cell in every_cell if cell.participant == participant.name]
        images = next(iter(bench.pool.under(gathered.study.stimuli[0], 1, device)))
        multiply_adds = seconds = 0.0
        # Control sets are shown under some of the stimuli alone.
        for count, stimuli in Counter(
            len(gathered.study.shown(planned, str(each))) for each in gathered.study.stimuli
        ).items():
            lesions = {str(number): each.lesion for number, each in enumerate(planned[:count])}
            plan = make_plan(bench.subject.module, lesions, bench.subject.preprocess(images))
            pictures = len(bench.pool) * stimuli
            multiply_adds += float(plan.multiply_adds) * pictures
            seconds += _timed(bench, planned[:count]) * pictures
        costs.append(Cost(participant.name, len(cells), multiply_adds, seconds))
    return costs


def describe(gathered: Gathered, costs: Sequence[Cost]) -> str:
    """The design and its cost as a table to print."""
    study, pool = gathered.study, gathered.pool
    lines = [
        f"study {study.name}: {len(study.people)} participants × {_lesions(gathered)} lesions × "
        f"{len(study.stimuli)} stimuli × {len(pool)} pictures × {len(study.tasks)} tasks",
        "(the intact network is counted among the lesions)",
        "",
        f"{'series':24}{'doses':>6}{'draws':>7}  dose",
    ]
    first = study.people[0].name
    for name in study.lesions:
        series = study.series(name, first)
        doses = ", ".join(f"{dose:g}" for dose in series.doses)
        lines.append(f"{name[:23]:24}{len(series):>6}{study.draws if series.draws else 1:>7}  {series.meaning}")
        lines.append(f"{'':39}{doses} at {', '.join(series.sites)}")
    lines += ["", f"stimuli: {', '.join(map(str, study.stimuli))}", f"tasks: {', '.join(study.tasks)}", ""]
    if study.chooses and study.controls is not None and study.controls.stimuli:
        lines[-1:] = [f"control sets under: {', '.join(study.controls.stimuli)}", ""]
    lines.append(f"{'participant':24}{'cells':>8}{'multiply-adds':>16}{'time expected':>16}")
    for cost in costs:
        lines.append(
            f"{cost.participant[:23]:24}{cost.cells:>8}{cost.multiply_adds:>16.3g}{_told(cost.seconds):>16}"
        )
    seconds = sum(cost.seconds for cost in costs) / study.processes
    lines.append(
        f"{'all':24}{sum(cost.cells for cost in costs):>8}{sum(c.multiply_adds for c in costs):>16.3g}"
        f"{_told(seconds):>16}"
    )
    return "\n".join(lines)


def _timed(bench: Bench, planned: Sequence[Planned]) -> float:
    """Seconds that one picture under all lesions takes here, from some pictures after a first one to warm up."""
    from facelesion.sweep import sweep

    lesions = {str(number): each.lesion for number, each in enumerate(planned)}
    images = bench.subject.preprocess(bench.pool.images[:_SAMPLE].to(bench.device))
    ids = bench.pool.ids[:_SAMPLE]
    spent = []
    for count in (1, len(images)):
        started = time.monotonic()
        sweep(bench.subject.module, lesions, images[:count], calibration=bench.calibration, ids=ids[:count])
        spent.append(time.monotonic() - started)
    return spent[1] / len(images)


def _lesions(gathered: Gathered) -> str:
    counts = {len(gathered.planned(each.name)) for each in gathered.study.people}
    return " or ".join(str(count) for count in sorted(counts))


def _told(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
