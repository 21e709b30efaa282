"""Before a study begins: the difficulty of its tasks and the doses of its lesions are found on people who practise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from facelesion.models import Subject
from facelesion.study.cells import say
from facelesion.study.difficulty import Setting, find_settings, make_hard
from facelesion.study.doses import find_doses, with_found
from facelesion.study.pool import Pool
from facelesion.study.run import Gathered
from facelesion.study.settled import Found, read_found, write_found
from facelesion.tasks import TASKS


def settle(gathered: Gathered, parts: Path, device: torch.device) -> Gathered:
    """The study with everything found that it asks for; as it is where it asks for nothing.

    What was found is kept in `parts`, so that a killed study goes on with it.

    Raises:
        Error: nobody is left to practise on, or the healthy networks have nothing to lose.
    """
    study = gathered.study
    if study.difficulty is None and not study.sought:
        return gathered
    found, source = read_found(parts), gathered.source
    practice = source.practice(gathered.materials, study.seed)
    if found is None:
        settings: tuple[Setting, ...] = ()
        if study.difficulty is not None:
            say(f"Difficulty: every task to {study.difficulty.level:.0%}, on people who are not tested")
            healthy = list(_counted(gathered, study.difficulty.on).values())
            settings = find_settings(
                study.difficulty, study.tasks, healthy, source, practice, study.seed, device
            )
        found = Found(settings)
    hard = make_hard(found.settings, source, gathered.materials, practice, study.seed)
    if study.sought and not found.doses:
        say(f"Doses by what they cost {study.losses.task}, on people who are not tested: {', '.join(study.sought)}")
        chosen = _counted(gathered, study.losses.on)
        found = replace(found, doses=find_doses(study, chosen, hard.practice, hard.noise, device, gathered.chosen))
    write_found(parts, study, found)
    for line in found.sentences(study):
        say(f"  {line}")
    pool = Pool.of([TASKS[task] for task in study.tasks], hard.materials, study.seed, hard.noise)
    return replace(
        gathered, study=with_found(study, found.doses), materials=hard.materials, pool=pool, found=found,
        practice=hard.practice,
    )  # fmt: skip


def _counted(gathered: Gathered, named: Sequence[str]) -> dict[str, Subject]:
    """The participants whose mean counts: the first where none is named."""
    names = named or (gathered.study.people[0].name,)
    return {name: gathered.subjects[name] for name in names}
