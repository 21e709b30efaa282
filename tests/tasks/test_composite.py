"""Composite: aligned and misaligned pairs are judged apart."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from testers import Asked, many_people, small_materials

from facelesion.data.imagesets import FaceSet
from facelesion.errors import Error
from facelesion.faces.stimuli import Composite as CompositeStimulus
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


def shown(probes: FaceSet) -> FaceSet:
    composites = Composite.shows(replace(small_materials(), probes=probes, enrolment=probes), seed=0)["composites"]
    assert isinstance(composites, FaceSet)
    return composites


def test_a_composite_is_what_its_name_says():
    probes = small_materials().probes
    place = {name: row for row, name in enumerate(probes.names)}
    composites = shown(probes)
    assert len(composites) == 48 and len(set(composites.names)) == 48
    for row, name in enumerate(composites.names):
        halves, _, misaligned = name.partition(", ")
        assert misaligned in ("", "misaligned")
        upper, lower = (slice(place[each], place[each] + 1) for each in halves.split(" over "))
        others = (probes.images[lower].float() / 255, probes.landmarks[lower])
        stimulus = CompositeStimulus(misalign=0.5 if misaligned else 0.0)
        alone = stimulus(probes.images[upper].float() / 255, probes.landmarks[upper], others=others)
        assert torch.equal((alone * 255).round().clamp(0, 255).to(torch.uint8)[0], composites.images[row]), name
        assert composites.labels[row] == probes.labels[place[halves.split(" over ")[0]]]
        assert torch.equal(composites.landmarks[row], probes.landmarks[upper][0])


def test_a_pair_has_upper_halves_of_one_or_two_people_and_lower_halves_of_two_others():
    probes = small_materials().probes
    person = dict(zip(probes.names, probes.labels, strict=True))
    trials = asked().task.trials
    for item, same, section in zip(trials.item, trials.target, trials.section, strict=True):
        both = [each.removesuffix(", misaligned").split(" over ") for each in item.split(" | ")]
        assert [each.endswith(", misaligned") for each in item.split(" | ")] == [section == "misaligned"] * 2
        (upper, lower), (other, beneath) = both
        assert (person[upper] == person[other]) == (same == "same") and upper != other
        assert len({person[lower], person[beneath]} - {person[upper], person[other]}) == 2


def test_everybody_is_paired_with_themselves_and_with_the_third_after_them():
    """By the design: a first picture gets the lower half of the next person, a second that of the next but one."""
    probes, wanted = small_materials().probes, []
    pictures = [[name for name, label in zip(probes.names, probes.labels, strict=True) if label == person]
                for person in dict.fromkeys(probes.labels)]  # fmt: skip

    def composite(person: int, picture: int) -> str:
        lower = pictures[(person + 1 + picture) % len(pictures)][0]
        return f"{pictures[person % len(pictures)][picture]} over {lower}"

    for shifted in ("", ", misaligned"):
        for further in (0, 3):
            for person in range(len(pictures)):
                wanted.append(f"{composite(person, 0)}{shifted} | {composite(person + further, 1)}{shifted}")
    assert list(asked().task.trials.item) == wanted


def test_four_people_with_two_pictures_are_enough_and_three_are_not():
    probes = small_materials().probes
    assert len(shown(probes[:8])) == 16
    # One picture more of somebody, and one alone of somebody else, make no fourth person.
    said = "^task composite needs four people with two pictures each, there are 3: add probe pictures$"
    with pytest.raises(Error, match=said):
        shown(probes[:7])


def test_the_first_two_dozen_people_are_shown():
    probes = many_people(26)
    composites = shown(probes)
    assert set(composites.labels) == set(list(dict.fromkeys(probes.labels))[:24]) and len(composites) == 96
