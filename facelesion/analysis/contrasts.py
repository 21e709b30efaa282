"""Contrasts as values: what a study compares, named before it is run and written as it is read.

    contrasts:
      - {name: inversion effect, task: identification, of: intact, less: invert}
      - {name: identity against exemplars, lesion: face units, tasks: [identification, exemplars], primary: true}
      - {name: double dissociation, lesions: [face units, object units], tasks: [identification, objects]}
      - {name: eyes, task: identification, lesion: face units, of: control eyes, less: mask eyes}
      - {name: patient, task: identification, lesion: face units, participant: builtin}

Each is a product of differences: of two tasks, two stimuli, the healthy and the damaged network or two lesions, one
participant and the others. What it comes to on trials, `contrast_tests` says.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from facelesion.files import nearest
from facelesion.ranges import Label, Range, Size
from facelesion.settings import SettingError, check

INTACT_STIMULUS, NO_LESION = "intact", "none"


class Cell(NamedTuple):
    """What is measured: a task under a lesion and a stimulus."""

    task: str
    lesion: str
    stimulus: str


@dataclass(frozen=True)
class Contrast:
    """What is compared with what, on one scale for all tasks.

    Attributes:
        name: of the contrast, in tables and figures.
        task: one task; one section of a task is written `memory/novel views`, and all that have a word in common
            `memory/learned under damage`.
        tasks: two tasks; the second is subtracted from the first.
        lesion: a series of damage; the contrast is then of what it takes, healthy less damaged.
        lesions: two series; what the first takes, less what the second takes.
        step: number of the dose within the series, from 1; left out, the mean over its doses.
        of: a stimulus, from which the other is subtracted.
        less: the stimulus that is subtracted.
        stimulus: under which all is measured; `intact` if left out.
        participant: one participant, from which the mean of the others is subtracted.
        participants: in which it is measured; all if left out.
        scale: `choice`, the share of right choices between two, or `sensitivity`, the d′ that belongs to it.
        primary: it is tested first, by itself.

    Raises:
        SettingError: nothing that is compared, two of what excludes one another, or one compared with itself.

    Example:
        >>> print(Contrast("inversion effect", task="identification", of="intact", less="invert"))
        identification: intact − invert
        >>> print(Contrast("crossed", tasks=("identification", "objects"), lesions=("face units", "object units")))
        (identification − objects) × (taken by face units − taken by object units)
    """

    name: Label
    task: Label | None = None
    tasks: Annotated[Sequence[Label], Size(0, 2, twice=False)] = ()
    lesion: Label | None = None
    lesions: Annotated[Sequence[Label], Size(0, 2, twice=False)] = ()
    step: Annotated[int, Range(1, 1000)] | None = None
    of: Label | None = None
    less: Label | None = None
    stimulus: Label | None = None
    participant: Label | None = None
    participants: Annotated[Sequence[Label], Size(0, 1000, twice=False)] = ()
    scale: Literal["choice", "sensitivity"] = "choice"
    primary: bool = False

    def __post_init__(self) -> None:
        check(self)
        for name in ("tasks", "lesions", "participants"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for one, two in (("task", "tasks"), ("lesion", "lesions")):
            if getattr(self, one) and getattr(self, two):
                raise SettingError(one, f"and {two} exclude one another: leave one of them out")
            if len(getattr(self, two)) == 1:
                raise SettingError(two, f"must name two, of which the second is subtracted; for one write `{one}`")
        if not self.task and not self.tasks:
            raise SettingError("task", "is missing: name the task, or two as `tasks`")
        if (self.of is None) != (self.less is None):
            missing = "less" if self.less is None else "of"
            raise SettingError(missing, "is missing: a difference of stimuli needs `of` and `less`")
        if self.of is not None and self.of == self.less:
            raise SettingError("less", f"is {self.less!r}, which is what it is subtracted from: name another stimulus")
        if self.of is not None and self.stimulus is not None:
            raise SettingError("stimulus", "does nothing beside `of` and `less`: leave it out")
        damage = [self.lesion] if self.lesion else list(self.lesions)
        if NO_LESION in damage:
            key = "lesion" if self.lesion else "lesions"
            raise SettingError(key, "names none, the intact network: `lesion` is compared with it by itself")
        if self.step is not None and not damage:
            raise SettingError("step", "does nothing without a lesion: leave it out, or name a `lesion`")
        if not (damage or len(self.tasks) == 2 or self.of or self.participant):
            raise SettingError("task", "alone compares nothing: add `lesion`, `tasks`, `of` and `less`, or more")
        if self.participant in self.participants and len(self.participants) == 1:
            raise SettingError("participants", f"holds {self.participant!r} alone: name others to compare it with")

    @property
    def damage(self) -> tuple[str, ...]:
        """The series of damage in it."""
        return (self.lesion,) if self.lesion else tuple(self.lesions)

    def weights(self) -> dict[Cell, float]:
        """What is added up in a participant, and with which weight.

        Example:
            >>> {tuple(cell): weight for cell, weight in Contrast("loss", task="who", lesion="noise").weights().items()}
            {('who', 'none', 'intact'): 1, ('who', 'noise', 'intact'): -1}
        """
        tasks = {self.task: 1} if self.task else dict(zip(self.tasks, (1, -1), strict=True))
        lesions = {NO_LESION: 1}
        if self.lesion:
            lesions = {NO_LESION: 1, self.lesion: -1}
        elif self.lesions:  # taken by the first less taken by the second: healthy cancels
            lesions = {self.lesions[1]: 1, self.lesions[0]: -1}
        stimuli = {self.stimulus or INTACT_STIMULUS: 1}
        if self.of is not None and self.less is not None:
            stimuli = {self.of: 1, self.less: -1}
        return {
            Cell(str(task), lesion, stimulus): tasks[task] * lesions[lesion] * stimuli[stimulus]
            for task, lesion, stimulus in itertools.product(tasks, lesions, stimuli)
        }

    def __str__(self) -> str:
        tasks = self.task or " − ".join(self.tasks)
        parts = [f"taken by {self.lesion}"] if self.lesion else []
        if self.lesions:
            parts.append(" − ".join(f"taken by {lesion}" for lesion in self.lesions))
        if self.of:
            parts.append(f"{self.of} − {self.less}")
        if self.participant:
            parts.append(f"{self.participant} − others")
        told = " × ".join(f"({part})" if len(parts) > 1 or self.tasks else part for part in parts)
        words = f"({tasks}) × {told}" if self.tasks and told else f"{tasks}: {told}" if told else tasks
        if self.stimulus not in (None, INTACT_STIMULUS):
            words += f", under {self.stimulus}"
        return words + (f", step {self.step}" if self.step is not None else "")


def check_contrasts(
    contrasts: Sequence[Contrast],
    *,
    tasks: Sequence[str],
    lesions: Sequence[str],
    stimuli: Sequence[str],
    participants: Sequence[str],
    key: str = "contrasts",
) -> None:
    """Refuse contrasts of what a study does not have, two of one name, and more than one that is primary.

    Args:
        contrasts: of one study.
        tasks, lesions, stimuli, participants: what the study has, by name.
        key: where the contrasts were written.

    Raises:
        SettingError: at the key of what is wrong, such as `contrasts.1.lesion`.

    Example:
        >>> wanted = [Contrast("inversion", task="identification", of="intact", less="invert")]
        >>> there = {"tasks": ["identification"], "lesions": ["noise"], "participants": ["builtin"]}
        >>> check_contrasts(wanted, stimuli=["intact", "invert"], **there)
        >>> check_contrasts(wanted, stimuli=["intact"], **there)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.settings.SettingError: contrasts.0.less is 'invert', no stimulus of this study: ...
    """
    known = {
        "task": ("no task of this study", tasks),
        "lesion": ("no series of damage of this study", lesions),
        "stimulus": ("no stimulus of this study", stimuli),
        "participant": ("nobody who takes part", participants),
    }

    for number, each in enumerate(contrasts):
        named: list[tuple[str, str, str | None]] = [
            ("task", "task", _task_of(each.task)),
            *((f"tasks.{place}", "task", _task_of(task)) for place, task in enumerate(each.tasks)),
            ("lesion", "lesion", each.lesion),
            *((f"lesions.{place}", "lesion", lesion) for place, lesion in enumerate(each.lesions)),
            ("of", "stimulus", each.of),
            ("less", "stimulus", each.less),
            ("stimulus", "stimulus", each.stimulus),
            ("participant", "participant", each.participant),
            *((f"participants.{place}", "participant", one) for place, one in enumerate(each.participants)),
        ]
        for field, kind, value in named:
            said, names = known[kind]
            if value is not None and value not in names:
                raise SettingError(f"{key}.{number}.{field}", f"is {value!r}, {said}: {nearest(value, names)}")
        if each.name in [other.name for other in contrasts[:number]]:
            raise SettingError(f"{key}.{number}.name", f"is {each.name!r}, as another contrast is called: rename one")
        if each.primary and any(other.primary for other in contrasts[:number]):
            raise SettingError(f"{key}.{number}.primary", "makes a second primary contrast: one alone comes first")
        if each.participant and not set(each.participants or participants) - {each.participant}:
            raise SettingError(f"{key}.{number}.participant", "has nobody to be compared with: name somebody else too")


def _task_of(name: str | None) -> str | None:
    """A task without its section."""
    return None if name is None else name.partition("/")[0]
