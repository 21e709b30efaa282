"""Parts: a choice between two pictures, one of them the person's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from testers import Asked, many_people, small_materials

from facelesion.data.imagesets import FaceSet
from facelesion.errors import Error
from facelesion.faces.stimuli import Isolate, PartSwap
from facelesion.tasks.parts import Parts


def test_of_two_that_are_equally_alike_neither_is_chosen_rightly():
    asked = Asked(Parts, small_materials())
    answers = asked.answers(torch.ones_like(asked.representation))
    assert not answers.right.any() and (answers.answer == 1).all() and (answers.forced_choice == 0.5).all()


def test_a_trial_is_a_picture_of_the_person_beside_one_with_anothers_feature():
    trials = Asked(Parts, small_materials()).task.trials
    probes = small_materials().probes
    owner = dict(zip(probes.names, probes.labels, strict=True))
    for item, person, section in zip(trials.item, trials.person, trials.section, strict=True):
        where, feature = section.split(", ")
        own, foil = item.split(" | ")
        name = own if where == "whole" else own.removesuffix(f", {feature} alone")
        alone = " alone" if where == "part" else ""
        assert owner[name] == person and foil == f"{name}, another's {feature}{alone}"


def shown(probes: FaceSet) -> FaceSet:
    parts = Parts.shows(replace(small_materials(), probes=probes, enrolment=probes), seed=0)["parts"]
    assert isinstance(parts, FaceSet)
    return parts


def test_a_picture_is_what_its_name_says():
    """Every face, feature by feature, with the next person's; made here one by one."""
    probes = small_materials().probes
    people = list(dict.fromkeys(probes.labels))
    first = {person: probes.labels.index(person) for person in people}
    parts = shown(probes)
    assert len(parts) == 10 * len(people) and len(set(parts.names)) == len(parts)
    for row, name in enumerate(parts.names):
        picture, _, what = name.partition(", ")
        person = parts.labels[row]
        mine, next_one = first[person], first[people[(people.index(person) + 1) % len(people)]]
        assert picture == probes.names[mine] and torch.equal(parts.landmarks[row], probes.landmarks[mine])
        one, landmarks = probes.images[[mine]].float() / 255, probes.landmarks[[mine]]
        feature = what.removeprefix("another's ").removesuffix(" alone")
        if what.startswith("another's"):
            others = (probes.images[[next_one]].float() / 255, probes.landmarks[[next_one]])
            one = PartSwap(feature)(one, landmarks, others=others)
        if what.endswith("alone"):
            one = Isolate(feature, fill="mean")(one, landmarks)
        made = (one * 255).round().clamp(0, 255).to(torch.uint8)[0]
        assert torch.equal(made, parts.images[row]), name


def test_everybody_is_asked_about_every_feature_whole_and_alone():
    trials = Asked(Parts, small_materials()).task.trials
    people = tuple(dict.fromkeys(small_materials().probes.labels))
    sections = [f"{how}, {what}" for what in ("eyes", "nose", "mouth") for how in ("whole", "part")]
    assert trials.section == tuple(section for section in sections for _ in people)
    assert trials.person == people * 6


def test_two_people_are_enough_and_one_is_not():
    probes = small_materials().probes
    assert len(shown(probes[:3])) == 20
    with pytest.raises(Error, match="^task parts needs two enrolled people, there are 1$"):
        shown(probes[:2])


def test_the_first_sixteen_people_are_shown():
    probes = many_people(18)
    parts = shown(probes)
    assert set(parts.labels) == set(list(dict.fromkeys(probes.labels))[:16]) and len(parts) == 160
