"""Intervals of shares of right answers: over people and draws, not over pictures."""

from __future__ import annotations

import pytest
import torch

from facelesion.training.intervals import over_people


def test_pictures_of_one_person_count_as_one() -> None:
    right = torch.tensor([True] * 50 + [False] * 50)
    few = over_people(right, [f"p{i // 10}" for i in range(100)])
    many = over_people(right, [f"p{i}" for i in range(100)])
    assert few[1] - few[0] > 2.5 * (many[1] - many[0])
    assert many == pytest.approx((0.4, 0.6), abs=0.02)  # as the binomial has it


def test_draws_vary_too() -> None:
    torch.manual_seed(0)
    shares = torch.tensor([0.2, 0.5, 0.8])[:, None]
    right = torch.rand(3, 400) < shares
    people = [f"p{i}" for i in range(400)]
    crossed, alone = over_people(right, people), over_people(right[1], people)
    assert crossed[1] - crossed[0] > 3 * (alone[1] - alone[0])


def test_intervals_cover_what_they_should() -> None:
    """People differ, each has several pictures: about 95 of 100 intervals hold the truth."""
    held = 0
    for trial in range(100):
        generator = torch.Generator().manual_seed(trial)
        chance = torch.rand(40, 1, generator=generator)
        right = torch.rand(40, 5, generator=generator) < chance
        low, high = over_people(right.flatten(), [f"p{i}" for i in range(40) for _ in range(5)], samples=400)
        held += low <= 0.5 <= high
    assert held >= 88


def test_where_every_answer_is_the_same_the_number_of_people_speaks() -> None:
    low, high = over_people(torch.ones(40, dtype=torch.bool), [f"p{i // 4}" for i in range(40)])
    assert high == 1.0 and low == pytest.approx(0.722, abs=0.001)  # Wilson for 10 of 10
    assert over_people(torch.zeros(1, dtype=torch.bool), ["a"])[0] == pytest.approx(0.0)


def test_one_wrong_answer_does_not_make_an_interval_narrower_than_none_does() -> None:
    people = [f"p{i // 5}" for i in range(200)]
    right = torch.ones(200, dtype=torch.bool)
    lows = []
    for wrong in range(0, 30, 5):
        right[:wrong] = False
        lows.append(over_people(right, people)[0])
    assert lows[0] == max(lows) and all(
        later < before + 0.02 for before, later in zip(lows, lows[1:], strict=False)
    )


def test_faces_and_other_pictures_are_drawn_apart() -> None:
    right, kinds = torch.tensor([True] * 20 + [False] * 20), torch.tensor([1] * 20 + [0] * 20)
    people = [f"p{i}" for i in range(40)]
    assert over_people(right, people, kinds) == (0.5, 0.5)
