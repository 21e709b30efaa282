"""How hard the tasks are, found on people who are never tested: every task of a study at the same level, undamaged.

People who practise take the tested roles (`Source.practice`); healthy networks answer; a knob is turned until the level
is met. Then the same setting is given to the people who are tested. Nothing of theirs was looked at, so the level that
is reached on them is a result, and is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from facelesion.data.imagesets import FaceSet
from facelesion.data.materials import Materials, all_pairs
from facelesion.data.source import PRACTICE, Source
from facelesion.faces.stimuli import Intact
from facelesion.models import Subject
from facelesion.study.bench import Representations, fitted
from facelesion.study.look import StudyLook
from facelesion.study.pool import Pool
from facelesion.study.staircase import descend, rungs
from facelesion.study.threads import threads
from facelesion.tasks import TASKS, Answers, Task

if TYPE_CHECKING:
    from facelesion.study.levels import Difficulty

#: The role whose people a task tells apart: their likeness and variability are its knobs. Others have noise alone.
PEOPLE: Mapping[str, str] = {"identification": "known", "verification": "new"}
_STEPS = {"likeness": 65, "variability": 33, "noise": 65}
_ENOUGH = 0.01  # nearer than the next people would stand anyway


@dataclass(frozen=True)
class Setting:
    """How one task is set, and what that gave on the people who practise.

    Attributes:
        task: its name.
        likeness, variability: of the people it tells apart; None where the task has no such knob.
        people: how many are enrolled; None where all are.
        noise: on its pictures, in fractions of full brightness; 0 for none.
        level: what was reached on the people who practise.
        before: what it was as the study's pictures are.
        met: whether the level is the one that was asked for, within the tolerance.
    """

    task: str
    level: float
    before: float
    met: bool
    likeness: float | None = None
    variability: float | None = None
    people: int | None = None
    noise: float = 0.0

    @property
    def people_at(self) -> dict[str, float]:
        """What was turned of the people it tells apart."""
        named = {"likeness": self.likeness, "variability": self.variability, "people": self.people}
        return {name: float(value) for name, value in named.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Hard:
    """A study's pictures as hard as was asked.

    Attributes:
        materials: the pictures by role, likeness, variability and number of people turned.
        practice: the same of the people who practise, for whatever else has to be found on them.
        noise: on each task's pictures, by its name.
    """

    materials: Materials
    practice: Materials
    noise: Mapping[str, float]


def find_settings(
    difficulty: Difficulty,
    tasks: Sequence[str],
    subjects: Sequence[Subject],
    source: Source,
    practice: Materials,
    seed: int,
    device: torch.device,
) -> tuple[Setting, ...]:
    """Every task's setting, found on the people who practise.

    Args:
        difficulty: what is asked for.
        tasks: the study's; of those that look into the network, only the ones that the difficulty names.
        subjects: the healthy networks whose mean level counts.
        source: of the pictures, which says what of them can be turned.
        practice: the pictures of people who practise.
        seed: of the study.
        device: where networks run.
    """
    search = _Search(difficulty, subjects, seed, device)
    found: dict[str, Setting] = {}
    # Those that turn people go first: the others show the same pictures.
    for task in sorted(tasks, key=lambda task: task not in PEOPLE):
        if task in difficulty.tasks or (not difficulty.tasks and TASKS[task].ask is Task.ask):
            found[task], practice = search.turned(task, source, practice)
    return tuple(found[task] for task in tasks if task in found)


def make_hard(
    settings: Sequence[Setting], source: Source, materials: Materials, practice: Materials, seed: int
) -> Hard:
    """The study's pictures, and those of the people who practise, at the settings that were found.

    Where new people were turned, those who practise train verification's threshold, so that it is chosen on pairs as
    alike as those that are asked about.
    """
    for each in settings:
        materials = with_people(source, materials, each.task, each.people_at, seed)
        practice = with_people(source, practice, each.task, each.people_at, seed + PRACTICE)
    if any(PEOPLE.get(each.task) == "new" and each.people_at for each in settings):
        materials = _threshold_among(materials, practice.strangers)
    return Hard(materials, practice, {each.task: each.noise for each in settings})


def level_of(task: Task, answers: Answers, scale: str) -> float:
    """Where a network stands: right against one other alternative at a time, or by the task's main measure."""
    if scale == "forced_choice":
        return float(answers.forced_choice.double().mean())
    return float(task.measure(answers)[task.measures[0].name])


def chance_of(task: Task, scale: str) -> float:
    """Where a network stands that knows nothing."""
    return 0.5 if scale == "forced_choice" else task.measures[0].chance


class _Search:
    """The search for one level, on people who practise."""

    def __init__(
        self, difficulty: Difficulty, subjects: Sequence[Subject], seed: int, device: torch.device
    ) -> None:
        self.asked, self.subjects, self.seed, self.device = difficulty, subjects, seed + PRACTICE, device
        for subject in subjects:
            subject.module.to(device).eval()
        self.represent = [Representations(subject, device) for subject in subjects]

    def level(self, task: str, pictures: Materials) -> float:
        """The mean level of the healthy networks."""
        return self._under_noise(task, pictures)(0.0)

    def _under_noise(self, task: str, pictures: Materials) -> Callable[[float], float]:
        """From noise on a task's pictures to the mean level: readouts know no noise, so they are fitted once."""
        clean = Pool.of([TASKS[task]], pictures, self.seed)
        made = [
            fitted([task], subject, pictures, clean, self.seed, represent)[0]
            for subject, represent in zip(self.subjects, self.represent, strict=True)
        ]

        def level(std: float) -> float:
            shown = Pool.of([TASKS[task]], pictures, self.seed, {task: std})
            levels = []
            for subject, represent, one in zip(self.subjects, self.represent, made, strict=True):
                seen, look = represent.of(shown.images), StudyLook(subject, self.device, shown, Intact())
                with threads(1):
                    levels.append(level_of(one, one.ask(seen, look), self.asked.scale))
            return sum(levels) / len(levels)

        return level

    def turned(self, task: str, source: Source, practice: Materials) -> tuple[Setting, Materials]:
        """A task's setting, and the people who practise at it. Knobs go as far as they must, one after the other."""
        wanted = self.asked.level
        before = level = self.level(task, practice)
        values: dict[str, float] = {}
        for knob in self.asked.knobs:
            ladder = self._ladder(knob, task, source, practice, level)
            if not ladder or abs(level - wanted) <= self.asked.tolerance:
                continue

            def turned(value: float, knob: str = knob, pictures: Materials = practice) -> float:
                return self.level(task, with_people(source, pictures, task, {**values, knob: value}, self.seed))

            measure = self._under_noise(task, practice) if knob == "noise" else turned
            # As it stands is known, and one end of the ladder.
            known = {ladder[0]: level} if level > wanted else {ladder[-1]: level}
            found = descend(_knowing(known, measure), ladder, wanted, _ENOUGH)
            values[knob], level = found.value, found.level
            if knob == "noise":
                continue
            practice = with_people(source, practice, task, values, self.seed)
        people = values.get("people")
        setting = Setting(
            task,
            level,
            before,
            abs(level - wanted) <= self.asked.tolerance,
            values.get("likeness"),
            values.get("variability"),
            None if people is None else int(people),
            values.get("noise", 0.0),
        )
        return setting, practice

    def _ladder(
        self, knob: str, task: str, source: Source, practice: Materials, level: float
    ) -> tuple[float, ...]:
        """From mild to severe; empty where there is nothing to turn."""
        asked, easy = self.asked, level < self.asked.level
        if knob == "noise":
            return () if easy else rungs(0, asked.most_noise, _STEPS[knob])
        if task not in PEOPLE:
            return ()
        if knob == "people":
            known = len(set(practice.probes.labels))
            few = task == "identification" and easy and asked.scale == "main"
            return tuple(float(n) for n in range(2, known + 1)) if few else ()
        if knob not in source.knobs:
            return ()
        now, most = float(getattr(source, knob)), getattr(asked, f"most_{knob}")
        if easy:
            return rungs(0.0, now, _STEPS[knob]) if now > 0 else ()
        return rungs(now, most, _STEPS[knob]) if most > now else ()


def _knowing(known: Mapping[float, float], measure: Callable[[float], float]) -> Callable[[float], float]:
    return lambda value: known[value] if value in known else measure(value)


def with_people(
    source: Source, pictures: Materials, task: str, values: Mapping[str, float], seed: int
) -> Materials:
    """Pictures in which the people whom a task tells apart are at these settings of the knobs; drawn by `seed`."""
    role = PEOPLE.get(task)
    knobs = {name: value for name, value in values.items() if name in source.knobs}
    if role is not None and knobs:
        pictures = source.made_harder(pictures, seed, role, **knobs)
    if role != "known" or "people" not in values:
        return pictures
    keep = set(sorted(set(pictures.enrolment.labels))[: int(values["people"])])
    enrolment, probes = (
        faces[[row for row, person in enumerate(faces.labels) if person in keep]]
        for faces in (pictures.enrolment, pictures.probes)
    )
    return replace(pictures, enrolment=enrolment, probes=probes)


def _threshold_among(materials: Materials, people: FaceSet) -> Materials:
    """Verification's threshold chosen on pairs of these people, who join those that train the readouts."""
    training = materials.training
    first, second, same = all_pairs(people.labels)
    joined = FaceSet(
        torch.cat([training.images, people.images]),
        training.labels + people.labels,
        training.names + people.names,
        torch.cat([training.landmarks, people.landmarks]),
        ids=torch.cat([training.ids, people.ids]),
    )
    return replace(materials, training=joined, training_pairs=(first + len(training), second + len(training), same))
