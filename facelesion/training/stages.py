"""Recipes of several trainings: what one stage takes over from another, and what a second start need not do again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from facelesion.errors import Error
from facelesion.models import Subject
from facelesion.training.classify import ClassifyConfig, Practice, Trained, learn
from facelesion.training.run import at_least_one, stage_of
from facelesion.training.trials import Roles, practice_of

PRACTICE = "practice"


def practice_people(asked: int | None, task: str, trained: Trained, people: int) -> int:
    """How many people of whom nobody is tested the layers learn by; 0 where there are none.

    Args:
        asked: the setting; None for as many as are tested.
        task: only identification needs them: detection never shows anybody in two parts.
        trained: where the layers stay as they are, nobody is practised on.
        people: how many are tested.

    Raises:
        Error: they are asked for where nobody would learn by them, or there is only one.
    """
    if task != "identification" or trained == "head":
        if asked:
            reason = "task is detection" if task != "identification" else "trained is head"
            raise Error(f"practice_people is {asked}, but {reason}: nobody would learn by them: leave it out")
        return 0
    many = people if asked is None else asked
    if many < 0 or many == 1:
        raise Error(f"practice_people is {many}: it must be 0, or 2 or more")
    return many


def practised(healthy: ClassifyConfig, subject: Subject, people: int, folder: Path) -> Practice:
    """Other people, and their readout, learned on the healthy network.

    Args:
        healthy: the training of the healthy network's own readout, which this one is like.
        subject: the healthy network.
        people: how many.
        folder: where that training is kept.
    """
    at_least_one("practice_people", people)
    settings = dataclasses.replace(healthy, run=stage_of(healthy.run, folder), course=False)
    roles = practice_of(settings, subject.size, people)
    return Practice.of(roles, once(settings, subject, roles))


def once(config: ClassifyConfig, subject: Subject, roles: Roles, practice: Practice | None = None) -> str:
    """Train, unless an earlier start has done so; the file of weights."""
    weights = Path(config.run.folder) / "weights.safetensors"
    return str(weights if weights.is_file() else learn(config, subject, roles, practice))
