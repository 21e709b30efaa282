"""The dose curve of one lesion over the enrolled people, with the null band of random lesions, round by round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facelesion.analysis.statistics import null_test
from facelesion.errors import Error
from facelesion.lab.damage import (
    calibration_for,
    dose_of,
    is_drawn,
    lesion_of,
    lesion_written,
    together,
    written,
)
from facelesion.lab.known import ALONE, readouts
from facelesion.lab.state import PICKED, Damage, State
from facelesion.lesions import Lesion
from facelesion.sweep import sweep

#: What is asked at every dose: the task, its measure, and what to call it.
ASKED = {
    "detection": ("accuracy", "is it a face"),
    "identification": ("accuracy", "who is it"),
    "objects": ("accuracy", "which thing is it"),
}
DOSES, DRAWS, ROUND = 6, 12, 4
_SEED = 7001  # of the first random lesion


@dataclass(frozen=True)
class Curve:
    """What was measured so far.

    Attributes:
        field, meaning: what the dose is.
        doses: the first is no damage.
        scores: by task, the lesion's own share right at every dose.
        null: by task, for every random lesion its share right at every dose.
        draws: how many random lesions there will be; 0 where the lesion has nothing to draw.
        chance: by task.
        at: the page's own dose.
        words: what it says.
    """

    field: str
    meaning: str
    doses: tuple[float, ...]
    scores: Mapping[str, tuple[float, ...]]
    null: Mapping[str, tuple[tuple[float, ...], ...]]
    draws: int
    chance: Mapping[str, float]
    at: float
    words: tuple[str, ...] = ()


def curve(state: State, which: int = 0, draws: int = DRAWS) -> Iterator[Curve]:
    """A lesion in growing doses, the state's others as they stand; then as much damage at random, some draws at a time.

    Args:
        state: the page.
        which: number of the lesion that grows.
        draws: random lesions at every dose.

    Yields:
        the curve as far as it is measured.

    Raises:
        Error: there is no such lesion, or none that can grow.

    Example:
        >>> next(curve(State())).doses
        (0, 0.1, 0.2667, 0.4, 0.5333, 0.6667, 0.8)
    """
    if not 0 <= which < len(state.damage):
        raise Error("there is no damage to grow: add a lesion")
    damage = state.damage[which]
    doses = _doses(damage)
    if not doses:
        raise Error("there is no damage to grow: choose a dose, or units")
    rest = lesion_of(replace(state, damage=state.damage[:which] + state.damage[which + 1 :]))

    def lesions(parts: Sequence[Mapping[str, Any]]) -> list[Lesion | None]:
        return [together([rest, lesion_written(state.network, part)]) for part in parts]

    found = _measured(state, [rest, *lesions([_grown(damage, dose) for dose in doses])])
    slider, counted = dose_of(damage.kind), _counted(damage)
    anew = Lesion.from_dict(_at_random(damage, doses[-1], _SEED))
    told = Curve(
        "units" if counted else slider.field,
        "number of the picked units" if counted else anew.parts[0].meaning(slider.field),
        (0.0 if counted else slider.start, *doses),
        found,
        {task: () for task in ASKED},
        draws if anew.draws else 0,
        {task: _chance(state, task) for task in ASKED},
        doses[-1] if counted else damage.dose,
    )
    yield told
    for start in range(0, told.draws, ROUND):
        seeds = range(_SEED + start, _SEED + min(start + ROUND, told.draws))
        measured = _measured(state, lesions([_at_random(damage, dose, seed) for seed in seeds for dose in doses]))
        null = {
            task: told.null[task]
            + tuple((told.scores[task][0], *values[n : n + len(doses)]) for n in range(0, len(values), len(doses)))
            for task, values in measured.items()
        }
        told = replace(told, null=null)
        told = replace(told, words=_words(told))
        yield told


def band(draws: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """The range of random lesions at every dose: the smallest and the largest."""
    values = np.asarray(draws, float)
    return tuple((float(low), float(high)) for low, high in zip(values.min(0), values.max(0), strict=True))


def _counted(damage: Damage) -> bool:
    """Whether its dose is how many of the picked units it takes."""
    return damage.units == PICKED and dose_of(damage.kind).field == "fraction"


def _doses(damage: Damage) -> tuple[float, ...]:
    """Growing doses with the page's own among them; none where there is no damage."""
    if written(damage) is None:
        return ()
    if _counted(damage):
        count = len(damage.picked)
        return tuple(float(each) for each in sorted({round(step) for step in np.linspace(1, count, min(count, DOSES))}))
    slider = dose_of(damage.kind)
    end = slider.most if damage.dose >= slider.start else slider.least
    if slider.field == "fraction" and damage.kind != "Keep":
        end = max(0.8, damage.dose)
    steps = slider.start + (end - slider.start) * np.linspace(0, 1, DOSES + 1)[1:]
    steps[np.abs(steps - damage.dose).argmin()] = damage.dose
    return tuple(float(round(step, 4)) for step in steps)


def _grown(damage: Damage, dose: float) -> dict[str, Any]:
    """The lesion at a dose, as studies write it."""
    part = written(damage, dose)
    assert part is not None
    return part | {"units": list(damage.picked[: int(dose)])} if _counted(damage) else part


def _at_random(damage: Damage, dose: float, seed: int) -> dict[str, Any]:
    """As large a lesion of other units, drawn at random; or with other noise, where all units are damaged."""
    part = _grown(damage, dose)
    chosen = part.pop("units", None)
    if isinstance(chosen, list):
        part["count"] = len(chosen)
    return part | ({"seed": seed} if is_drawn(damage.kind) else {})


def _measured(state: State, lesions: Sequence[Lesion | None]) -> dict[str, tuple[float, ...]]:
    """Every lesion's share right, by task."""
    known = readouts(state.network)
    pool, subject = known.pool, known.subject
    calibration = calibration_for(state.network, together(lesions))
    images = state.shown_as(pool.images.float() / 255, pool.landmarks, ids=pool.ids)
    batches = (subject.preprocess(each) for each in images.split(32))
    named = {str(number): each for number, each in enumerate(lesions)}
    with ALONE:
        answers = sweep(subject.module, named, batches, calibration=calibration, ids=pool.ids)
    return {
        name: tuple(
            known.tasks[name].measure(known.tasks[name].answer(answers[str(number)].float().nan_to_num(0.0)))[measure]
            for number in range(len(lesions))
        )
        for name, (measure, _) in ASKED.items()
    }


def _chance(state: State, task: str) -> float:
    measure = ASKED[task][0]
    return next(each.chance for each in readouts(state.network).tasks[task].measures if each.name == measure)


def _words(told: Curve) -> tuple[str, ...]:
    """What the lesion costs at the page's dose, beside as much damage at random."""
    place = int(np.abs(np.asarray(told.doses[1:]) - told.at).argmin()) + 1
    said = []
    for task, (_, name) in ASKED.items():
        score, draws = told.scores[task][place], [each[place] for each in told.null[task]]
        test = null_test(score, draws)
        lower = sum(each > score for each in draws)
        said.append(
            f"{name}: {score:.0%} right ({told.scores[task][0]:.0%} in health); lower than after {lower} of "
            f"{len(draws)} random lesions as large (p = {test.p:.3f})"
        )
    return tuple(said)

