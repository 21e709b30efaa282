"""A level found by halving is the one that trying every rung finds."""

from __future__ import annotations

import random

import pytest

from facelesion.study.staircase import descend, descend_together, rungs


def brute_force(levels: dict[float, float], wanted: float) -> float:
    """Every rung tried: the nearest, the milder of two."""
    return min(levels, key=lambda rung: (abs(levels[rung] - wanted), list(levels).index(rung)))


@pytest.mark.parametrize("seed", range(40))
def test_halving_a_falling_measure_finds_what_trying_all_rungs_finds(seed):
    draw = random.Random(seed)
    ladder = rungs(0, draw.uniform(0.5, 3), draw.randint(2, 70))
    falling = sorted((draw.choice([draw.random(), 0.5]) for _ in ladder), reverse=True)
    levels = dict(zip(ladder, falling, strict=True))
    for wanted in (draw.random(), 0.5, 0.0, 1.0):
        found = descend(levels.__getitem__, ladder, wanted)
        assert abs(found.level - wanted) == abs(levels[brute_force(levels, wanted)] - wanted)
        assert found.level == levels[found.value] and len(found.tried) <= 9


def test_a_ladder_that_goes_down_works_as_one_that_goes_up():
    assert descend(lambda gain: gain, rungs(1, 0, 101), 0.3).value == 0.3


def test_searches_side_by_side_find_what_each_finds_alone_and_try_no_rung_twice():
    ladders = {"a": rungs(0, 1, 33), "b": rungs(0.1, 10, 20, ratio=True)}
    curves = {"a": lambda x: 1 - x**2, "b": lambda x: 1 / (1 + x)}
    wanted = {"a": (0.9, 0.5, 0.2), "b": (0.5, 0.05)}
    tried: list[tuple[str, float]] = []

    def measure(asked):
        tried.extend((name, value) for name, values in asked.items() for value in values)
        return {name: {value: curves[name](value) for value in values} for name, values in asked.items()}

    found = descend_together(measure, ladders, wanted)
    assert len(tried) == len(set(tried))
    for name, levels in wanted.items():
        for level, each in zip(levels, found[name], strict=True):
            assert each.value == descend(curves[name], ladders[name], level).value


def test_a_level_beyond_the_ladder_is_told_by_its_end():
    ladder = rungs(0, 1, 11)
    assert descend(lambda x: 0.4 - x / 10, ladder, 0.9).value == 0.0
    assert descend(lambda x: 1 - x / 10, ladder, 0.5).value == 1.0
