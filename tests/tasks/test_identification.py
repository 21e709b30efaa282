"""Naming one of many: what is answered, and what is told of the answers."""

from __future__ import annotations

import pytest
import torch

from facelesion.tasks.identification import naming_measures, naming_scores, nearest
from facelesion.tasks.task import Trials

PEOPLE = 11


@pytest.mark.parametrize(("people", "names"), [
    (9, ["accuracy", "forced_choice"]), (10, ["accuracy", "top5_accuracy", "forced_choice"]),
])  # fmt: skip
def test_the_five_likeliest_are_told_of_ten_or_more(people, names):
    measures = {measure.name: measure for measure in naming_measures(people)}
    assert list(measures) == names
    chances = {"accuracy": 1 / people, "top5_accuracy": 5 / people, "forced_choice": 0.5}
    assert all(measure.chance == chances[name] and measure.ceiling == 1 for name, measure in measures.items())


@pytest.mark.parametrize("people", [9, 10, PEOPLE])
def test_naming_is_told_as_means_over_people_of_what_is_counted_trial_by_trial(people):
    """Each person in one more picture than the one before."""
    who = [person for person in range(people) for _ in range(person + 1)]
    similarity = torch.rand(len(who), people, generator=torch.Generator().manual_seed(people))
    names = tuple(f"p{person}" for person in who)
    told = naming_scores(nearest(similarity, torch.tensor(who)), Trials(names, names, names), people)
    ahead = [sum(value > row[person] for value in row) for row, person in zip(similarity.tolist(), who, strict=True)]

    def mean(values: list[float]) -> float:
        own = [[value for value, of in zip(values, who, strict=True) if of == person] for person in range(people)]
        return sum(sum(each) / len(each) for each in own) / people

    wanted = {"accuracy": mean([nearer == 0 for nearer in ahead])}
    if people >= 10:
        wanted["top5_accuracy"] = mean([nearer < 5 for nearer in ahead])
    wanted["forced_choice"] = mean([1 - nearer / (people - 1) for nearer in ahead])
    assert told == pytest.approx(wanted, abs=1e-6) and list(told) == list(wanted)


def test_the_target_at_half_a_tie_with_the_sixth_is_not_among_the_five():
    similarity = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0, 1.0, *[0.0] * 5]]).repeat(2, 1)
    answers = nearest(similarity, torch.tensor([3, 4]))
    told = naming_scores(answers, Trials(("1", "2"), ("d", "e"), ("d", "e")), PEOPLE)
    assert told["top5_accuracy"] == 0.5 and told["accuracy"] == 0


def test_the_first_of_equally_near_ones_is_named():
    answers = nearest(torch.zeros(2, 3), torch.tensor([0, 2]))
    assert answers.answer.tolist() == [0, 0] and answers.right.tolist() == [True, False]
    assert answers.forced_choice.tolist() == [0.5, 0.5] and answers.value.tolist() == [0, 0]
