"""Doses by what they cost: every kind of damage brought to the same loss, on people who are never tested.

Kinds of damage are not equivalent, and a dose of one says nothing of a dose of another; what they cost a task can be
made equal, so that what they cost *another* task is a comparison (Guest, Caso & Cooper 2020).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from facelesion.data.materials import Materials
from facelesion.data.source import PRACTICE
from facelesion.errors import Error
from facelesion.faces.stimuli import Intact
from facelesion.lesions import Lesion, lesioned
from facelesion.lesions.errors import NoSuchUnit
from facelesion.models import Subject
from facelesion.study.bench import Bench
from facelesion.study.choice import Controls
from facelesion.study.design import Chooses, Planned, Study
from facelesion.study.difficulty import chance_of, level_of
from facelesion.study.levels import Sought, together
from facelesion.study.pool import Pool
from facelesion.study.staircase import descend_together
from facelesion.study.threads import threads
from facelesion.tasks import TASKS

_ENOUGH = 0.005  # of the scale: a level as near as that ends a search


@dataclass(frozen=True)
class Dose:
    """A dose that was found.

    Attributes:
        series: the kind of damage.
        loss: the share that was asked for.
        doses: by part of the series, its dose by the dose's name; nothing for parts that stay as they are.
        reached: the loss measured there, on people who practise.
    """

    series: str
    loss: float
    doses: tuple[Mapping[str, float], ...]
    reached: float


def find_doses(
    study: Study,
    subjects: Mapping[str, Subject],
    practice: Materials,
    noise: Mapping[str, float],
    device: torch.device,
    chosen: Mapping[str, Chooses] | None = None,
) -> tuple[Dose, ...]:
    """The doses of all series that ask `for_loss`, searched side by side.

    Args:
        study: with doses still to be found.
        subjects: the healthy networks whose mean loss counts, by their participants' names.
        practice: pictures of people who practise, as hard as the study's.
        noise: on the pictures of a task, by its name.
        device: where networks run.
        chosen: by participant, the units that rankings chose.

    Raises:
        Error: the healthy networks stand at chance, so that there is nothing to lose.
    """
    asked = study.losses
    seed = study.seed + PRACTICE  # other draws of lesions, too, than those of the study
    small = dataclasses.replace(
        study, tasks=(asked.task,), seed=seed, difficulty=None, draws=asked.draws, contrasts=(),
        controls=Controls(random=0, matched=0) if study.chooses else None,
    )  # fmt: skip

    def planned_in(design: Study, participant: str, series: str = "") -> list[Planned]:
        planned = design.planned(participant, (chosen or {}).get(participant))
        return [each for each in planned if not series or each.series == series]

    pool = Pool.of([TASKS[asked.task]], practice, seed, noise)
    benches = [
        Bench.build(name, subject, small, practice, pool, planned_in(small, name), device)
        for name, subject in subjects.items()
    ]
    intact = _mean([_levels(bench, [Planned("", 0, 0.0, 0, None)], asked.scale)[0] for bench in benches])
    chance = chance_of(benches[0].tasks[0], asked.scale)
    if intact - chance < 0.05:
        raise Error(
            f"losses: {' and '.join(subjects)} stand at {intact:.2f} in {asked.task} undamaged, and {chance:.2f} is "
            "chance: there is nothing to lose; ask for another losses.task, or make the task easier"
        )
    parts = {name: together(study.lesions[name]) for name in study.sought}
    searched = {name: [part for part in found if part is not None] for name, found in parts.items()}
    # All parts of a series climb together, so the rung's number is what is searched; 0 is no damage.
    def at(name: str, places: Sequence[int]) -> Study:
        return small.with_doses({name: [_listed(part, places) for part in parts[name]]})

    rungs = {}
    for name, found in searched.items():

        def lesion(bench: str, place: int, name: str = name) -> Lesion | None:
            return planned_in(at(name, [place]), bench, name)[0].lesion

        possible = _possible(benches, lesion, min(len(part.ladder) for part in found))
        rungs[name] = [float(place) for place in ([0] if found[0].from_health else []) + possible]
    wanted = {name: [intact - loss * (intact - chance) for loss in found[0].losses] for name, found in searched.items()}

    def measure(levels: Mapping[str, Sequence[float]]) -> dict[str, dict[float, float]]:
        found = {name: {0.0: intact} if 0.0 in values else {} for name, values in levels.items()}
        places = {name: [int(value) for value in values if value] for name, values in levels.items()}
        sums: dict[tuple[str, int], list[float]] = {}
        for bench in benches:
            planned = [
                each
                for name, rows in places.items()
                if rows
                for each in planned_in(at(name, rows), bench.name, name)
            ]
            for each, level in zip(planned, _levels(bench, planned, asked.scale), strict=True):
                sums.setdefault((each.series, places[each.series][each.step - 1]), []).append(level)
        for (name, place), all_levels in sums.items():
            found[name][float(place)] = _mean(all_levels)
        return found

    result = []
    for name, searches in descend_together(measure, rungs, wanted, _ENOUGH).items():
        taken: list[int] = []
        for loss, search in zip(searched[name][0].losses, searches, strict=True):
            # A dose is a dose: never none at all, and never that of a smaller loss.
            free = [int(rung) for rung in rungs[name] if rung and (not taken or rung > taken[-1])]
            place = min(free, key=lambda rung: abs(rung - search.value), default=0)
            if not place:
                raise Error(
                    f"lesions.{name}: the losses of {searched[name][0].field} cannot be told apart: ask for fewer"
                )
            taken.append(place)
            level = search.tried.get(float(place))
            if level is None:  # moved on, past a rung that another loss has
                level = measure({name: [float(place)]})[name][float(place)]
            doses = tuple({} if part is None else {part.field: part.ladder[place - 1]} for part in parts[name])
            result.append(Dose(name, loss, doses, (intact - level) / (intact - chance)))
    return tuple(result)


def with_found(study: Study, found: Sequence[Dose]) -> Study:
    """The study with the doses that were found in their places."""
    doses: dict[str, list[dict[str, list[float]]]] = {}
    for each in found:
        parts = doses.setdefault(each.series, [{} for _ in each.doses])
        for part, values in zip(parts, each.doses, strict=True):
            for name, value in values.items():
                part.setdefault(name, []).append(value)
    return study.with_doses(doses)


def _possible(benches: Sequence[Bench], at: Callable[[str, int], Lesion | None], last: int) -> list[int]:
    """The rungs that are damage in all networks: a share may be less than half a unit, or leave none."""

    def fits(place: int) -> bool:
        for bench in benches:
            lesion = at(bench.name, place)
            image = bench.subject.preprocess(bench.pool.images[:1].to(bench.device))
            try:
                with torch.no_grad(), lesioned(bench.subject.module, lesion, calibration=bench.calibration):
                    bench.subject.module(image)
            except NoSuchUnit:
                return False
        return True

    first = next((place for place in range(1, last + 1) if fits(place)), last)
    end = next((place for place in range(last, first, -1) if fits(place)), first)
    return list(range(first, end + 1))


def _listed(part: Sought | None, places: Sequence[int]) -> dict[str, list[float]]:
    return {} if part is None else {part.field: [part.ladder[place - 1] for place in places]}


def _levels(bench: Bench, planned: Sequence[Planned], scale: str) -> list[float]:
    """Where a network stands under each of these lesions."""
    if not planned:
        return []
    found, _ = bench.represent(Intact(), planned, progress=False)
    (task,) = bench.tasks
    with threads(1):
        return [
            level_of(
                task,
                task.ask(found[str(number)].float().cpu().nan_to_num(0.0), bench.look(Intact(), each.lesion)),
                scale,
            )
            for number, each in enumerate(planned)
        ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
