"""Memory: 72 items, each answered with what was learned in health and with what was learned under the damage."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from testers import Asked, small_materials

from facelesion.data.face_memory import build_memory_test
from facelesion.errors import Error
from facelesion.tasks import Answers, Memory

SECTIONS = ("same view", "novel views", "noise")


@functools.cache
def asked() -> Asked:
    return Asked(Memory, small_materials())


def test_a_trial_names_its_three_pictures_who_is_the_target_and_its_section():
    trials, pictures = asked().task.trials, asked().task.test.pictures
    person = dict(zip(pictures.names, pictures.labels, strict=True))
    place = {"first": 0, "second": 1, "third": 2}
    assert len(trials) == 144 and len({trials.person[trial] for trial in range(144)}) == 6
    for trial in range(144):
        shown = trials.item[trial].split(" | ")
        assert len(set(shown)) == 3 and person[shown[place[trials.target[trial]]]] == trials.person[trial]
    assert trials.item[:72] == trials.item[72:] and trials.target[:72] == trials.target[72:]
    sections = trials.section
    assert {each: sections[:72].count(each) for each in sections[:72]} == dict(zip(SECTIONS, (18, 30, 24), strict=True))
    assert sections[72:] == tuple(f"{section}, learned under damage" for section in sections[:72])


@pytest.mark.parametrize(("section", "name"), [
    ("same view", "same_view"), ("novel views", "novel_views"), ("noise", "noise"),
])  # fmt: skip
def test_what_is_told_of_a_section_hangs_on_its_items_alone(section, name):
    task = asked().task
    right = torch.tensor([each == section for each in task.trials.section])
    told = task.measure(Answers((~right).long(), right.double(), right, right.double()))
    share = task.trials.section.count(section) / 72
    names = ("same_view", "novel_views", "noise")
    assert {each: told[each] for each in names} == {each: each == name for each in names}
    assert told["accuracy"] == pytest.approx(share) and told["accuracy_both_damaged"] == 0


@pytest.mark.parametrize("seed", [0, 3])
def test_the_test_is_built_of_familiar_people_by_the_studys_seed(seed):
    materials = small_materials()
    built = build_memory_test(materials.familiar, seed, 0.12)
    assert torch.equal(Memory.shows(materials, seed)["memory"].images, built.pictures.images)


def test_chance_is_one_of_three():
    assert {measure.chance for measure in asked().task.measures} == {1 / 3}


def test_people_with_too_few_pictures_cannot_be_learned():
    said = "^task memory needs people with eight pictures or more, and this source has none: leave the task out$"
    with pytest.raises(Error, match=said):
        Memory.shows(replace(small_materials(), familiar=None), seed=0)
