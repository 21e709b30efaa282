"""What a study would cost, before it is run: its design, its cells, its multiply-adds, and its time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from facelesion.faces.stimuli import Intact
from facelesion.report.summary import number_of
from facelesion.study.bench import Bench
from facelesion.study.design import Planned
from facelesion.study.run import Gathered
from facelesion.sweep import make_plan, sweep
from facelesion.tasks import TASKS

_PIECES, _SAMPLE = 4, 4  # pieces that are measured, and the pictures of each


@dataclass(frozen=True)
class Cost:
    """What one participant's cells cost.

    Attributes:
        participant: name of the network.
        cells: how many.
        multiply_adds: of all of them together.
        seconds: expected, from measured pieces.
    """

    participant: str
    cells: int
    multiply_adds: float
    seconds: float


def estimate(gathered: Gathered, device: torch.device) -> list[Cost]:
    """The cost of every participant: some pieces of its first cell are run, and the rest in proportion.

    Other work on the machine makes a piece slower and never quicker, so the quickest one counts; and networks that
    differ in their weights alone are measured once, for they take the same time. Tasks that look into the network add
    a pass of their own for every lesion.
    """
    costs, every_cell = [], gathered.cells()
    measured: dict[object, float] = {}
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
            alike = _shape(bench), count, plan.multiply_adds
            if alike not in measured:
                measured[alike] = _timed(bench, planned[:count])
            seconds += measured[alike] * pictures
        for name in gathered.study.tasks:
            more = _looked(gathered, bench, name)
            multiply_adds, seconds = multiply_adds + more.multiply_adds, seconds + more.seconds
        costs.append(Cost(participant.name, len(cells), multiply_adds, seconds))
    return costs


def describe(gathered: Gathered, costs: Sequence[Cost]) -> str:
    """The design and its cost as a table to print."""
    study, pool = gathered.study, gathered.pool
    lines = [
        f"study {study.name}: {number_of(len(study.people), 'participant')} × {_lesions(gathered)} × "
        f"{number_of(len(study.stimuli), 'stimulus', 'stimuli')} × {number_of(len(pool), 'picture')} × "
        f"{number_of(len(study.tasks), 'task')}",
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
    if study.chooses and study.controls is not None:
        for words, names in (("under", study.controls.stimuli), ("in", study.controls.participants)):
            if names:
                lines[-1:] = [f"control sets {words}: {', '.join(names)}", ""]
    if study.difficulty is not None or study.sought:
        lines += ["difficulty and doses are found first, and pictures may be shown under noise too: on top of this", ""]
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
    """Seconds that one picture under all lesions takes here, after a first one to warm up."""
    lesions = {str(number): each.lesion for number, each in enumerate(planned)}
    images = bench.subject.preprocess(bench.pool.images[:_SAMPLE].to(bench.device))
    ids = bench.pool.ids[:_SAMPLE]

    def answer(count: int) -> None:
        sweep(bench.subject.module, lesions, images[:count], calibration=bench.calibration, ids=ids[:count])

    answer(1)
    return _least(lambda: answer(len(images))) / len(images)


def _least(piece: Callable[[], object]) -> float:
    """Seconds that a piece of work takes, the quickest of some."""
    spent = []
    for _ in range(_PIECES):
        started = time.monotonic()
        piece()
        spent.append(time.monotonic() - started)
    return min(spent)


def _shape(bench: Bench) -> tuple[object, ...]:
    """What networks have in common that take the same time."""
    module = bench.subject.module
    return type(module), bench.subject.size, *((name, each.shape) for name, each in module.state_dict().items())


@dataclass(frozen=True)
class _Looked:
    """What a task that looks into the network adds."""

    multiply_adds: float = 0.0
    seconds: float = 0.0


def _looked(gathered: Gathered, bench: Bench, task: str) -> _Looked:
    """The passes of a task's own: each of its pictures through the whole network, under every lesion and stimulus.

    Looks under the last lesion are measured, which stand for all: nothing is saved here by what lesions share.
    """
    kind = TASKS[task]
    count = kind.looked_at(gathered.materials)
    if not kind.looks or not count:
        return _Looked()
    rows = torch.arange(min(_SAMPLE, count))
    look = bench.look(Intact(), bench.planned[-1].lesion)

    def answer(some: torch.Tensor) -> None:
        if kind.looks == "maps":
            look.maps(lambda _: lambda answer: answer.flatten(1).sum(1), some)
        else:
            look.activations(some)

    answer(rows[:1])
    seconds = _least(lambda: answer(rows)) / len(rows)
    passes = count * len(bench.planned) * len(gathered.study.stimuli)
    image = bench.subject.preprocess(bench.pool.images[:1].to(bench.device))
    # Gradients to the sites' units take about as much again as the pass forward.
    each = float(make_plan(bench.subject.module, {"": None}, image).multiply_adds) * (2 if kind.looks == "maps" else 1)
    return _Looked(each * passes, seconds * passes)


def _lesions(gathered: Gathered) -> str:
    counts = {len(gathered.planned(each.name)) for each in gathered.study.people}
    *others, last = sorted(counts)
    return " or ".join([*map(str, others), number_of(last, "lesion")])


def _told(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
