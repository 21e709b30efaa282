"""Task likeness: the two likenesses to health are means of its trials, at every stage."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from testers import Asked, small_materials

from facelesion.analysis import likeness_to_health
from facelesion.analysis.likeness import order_kept
from facelesion.errors import Error
from facelesion.tasks import Answers, Likeness
from facelesion.tasks.task import Trials

PICTURES = 9


def units(seed: int, count: int = 6) -> torch.Tensor:
    return torch.randn(PICTURES, count, generator=torch.Generator().manual_seed(seed))


class Seen:
    """Looks into a network of one stage."""

    def __init__(self, stage: torch.Tensor) -> None:
        self.stage = stage

    def activations(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"early": self.stage[rows]}


@pytest.fixture
def task() -> Likeness:
    sections = [f"{kind} {stage}" for stage in ("early", "representation") for kind in ("rdm", "cka")]
    names = tuple(f"picture {number}" for number in range(PICTURES))
    trials = Trials(
        item=names * 4, person=names * 4, target=("as in health",) * (4 * PICTURES),
        section=tuple(section for section in sections for _ in names),
    )  # fmt: skip
    return Likeness({"early": units(0), "representation": units(1)}, torch.arange(PICTURES), trials)


def test_both_likenesses_are_what_the_function_gives_of_the_same_units(task):
    early, end = units(0) + 0.6 * units(2), units(1) + 1.5 * units(3)
    answers = task.ask(end, Seen(early))
    measured = task.measure(answers)
    for name, healthy, seen in (("_early", units(0), early), ("", units(1), end)):
        oracle = likeness_to_health(healthy, seen, list("abcdefghi"))
        assert measured[f"rdm{name}"] == pytest.approx(oracle["rdm"], abs=1e-6)
        assert measured[f"cka{name}"] == pytest.approx(oracle["cka"], abs=1e-6)
    by_section = {section: [] for section in task.trials.section}
    for section, value in zip(task.trials.section, answers.value.tolist(), strict=True):
        by_section[section].append(value)
    means = {section: sum(values) / len(values) for section, values in by_section.items()}
    assert means["rdm representation"] == pytest.approx(measured["rdm"], abs=1e-6)
    assert means["cka early"] == pytest.approx(measured["cka_early"], abs=1e-6)


def test_each_measure_says_of_what_stage_it_is(task):
    words = {measure.name: measure.words for measure in task.measures}
    assert set(words) == {"rdm", "cka", "rdm_early", "cka_early"}
    for name, told in words.items():
        assert told.endswith("early" if name.endswith("_early") else "the representation"), name


def asked_of(pictures: int) -> Asked:
    probes = small_materials().probes
    return Asked(Likeness, replace(small_materials(), probes=probes[torch.arange(pictures)]))


def test_every_picture_is_a_trial_at_every_stage_for_either_likeness():
    trials = asked_of(3).task.trials
    stages = ("rdm coarser", "cka coarser", "rdm representation", "cka representation")
    assert trials.section == tuple(section for section in stages for _ in range(3))
    assert len(trials) == 12 and trials.item[:3] * 4 == trials.item and set(trials.target) == {"as in health"}


def test_two_pictures_cannot_lie_to_one_another():
    said = "^task likeness needs three pictures or more to lie to one another, and there are 2$"
    with pytest.raises(Error, match=said):
        asked_of(2)


def test_its_answers_alone_are_not_enough(task):
    with pytest.raises(Error, match="^task likeness looks into the network"):
        task.answer(units(1))


def test_health_is_like_itself_whatever_its_scale_and_a_dead_network_is_like_nothing(task):
    for scale in (0.5, 1e-3):
        same = task.ask(3 * units(1), Seen(scale * units(0)))
        assert all(value == pytest.approx(1.0, abs=1e-6) for value in task.measure(same).values())
        assert same.right.all() and (same.forced_choice == 1).all()
    dead = task.ask(torch.zeros(PICTURES, 6), Seen(torch.ones(PICTURES, 6)))
    assert all(value == pytest.approx(0.0, abs=1e-6) for value in task.measure(dead).values())
    assert not dead.right.any() and (dead.forced_choice == 0.5).all() and isinstance(dead, Answers)


def test_order_kept_is_what_a_loop_over_pairs_gives():
    healthy, seen = units(4).double(), (units(4) + units(5)).double()
    found = order_kept(healthy, seen)

    def distance(x: torch.Tensor, one: int, two: int) -> float:
        return 1 - float(torch.corrcoef(x[[one, two]])[0, 1])

    for picture in range(PICTURES):
        kept = [
            (distance(healthy, picture, a) < distance(healthy, picture, b))
            == (distance(seen, picture, a) < distance(seen, picture, b))
            for a, b in itertools.combinations([other for other in range(PICTURES) if other != picture], 2)
        ]
        assert float(found[picture]) == pytest.approx(sum(kept) / len(kept))
