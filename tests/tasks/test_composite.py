"""Composite: aligned and misaligned pairs are judged apart."""

from __future__ import annotations

import functools

import pytest
import torch
from testers import Asked, small_materials

from facelesion.tasks.composite import Composite
from facelesion.tasks.verification import pair_cosines


@functools.cache
def asked() -> Asked:
    return Asked(Composite, small_materials())


def test_a_pair_is_compared_with_pairs_of_its_own_section():
    task, seen = asked().task, torch.randn(asked().representation.shape, generator=torch.Generator().manual_seed(0))
    answers = asked().answers(seen)
    cosines = pair_cosines(seen, task.first, task.second).tolist()
    for pair, (mine, section) in enumerate(zip(task.trials.target, task.trials.section, strict=True)):
        others = [
            value
            for value, target, of in zip(cosines, task.trials.target, task.trials.section, strict=True)
            if of == section and target != mine
        ]
        wins = [(cosines[pair] > other) == (mine == "same") for other in others]
        assert float(answers.forced_choice[pair]) == pytest.approx(sum(wins) / len(wins))
        says_same = cosines[pair] > task.threshold
        assert bool(answers.right[pair]) == (says_same == (mine == "same"))


def test_aligned_pairs_come_first_and_are_half_of_all():
    section = asked().task.trials.section
    half = len(section) // 2
    assert section == ("aligned",) * half + ("misaligned",) * half
