"""A family of tests keeps its error rate, and the primary contrast comes first."""

import math

import numpy as np
import pytest

from facelesion.analysis import adjust, false_discovery_rate, holm
from facelesion.errors import Error

P = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}


def test_without_a_primary_test_all_are_one_family():
    assert [one.adjusted for one in adjust(P)] == pytest.approx(list(holm(list(P.values()))))
    found = adjust(P, correction="benjamini-hochberg")
    assert [one.adjusted for one in found] == pytest.approx(list(false_discovery_rate(list(P.values()))))
    assert {one.how for one in found} == {"Benjamini–Hochberg over 4 tests"}


def test_the_primary_test_is_first_and_uncorrected_and_the_others_come_after_it():
    found = adjust(P, primary="c")
    assert [one.name for one in found] == ["c", "a", "b", "d"]
    assert found[0].primary and found[0].adjusted == 0.03 and found[0].how == "primary, uncorrected"
    assert [one.adjusted for one in found[1:]] == pytest.approx([0.03, 0.04, 0.03])
    assert found[1].how == "Holm over 3 tests, after the primary"


@pytest.mark.parametrize("p", [0.06, math.nan])
def test_nothing_is_called_where_the_primary_test_is_not(p):
    assert not any(one.called for one in adjust({**P, "first": p}, primary="first"))


def test_a_test_that_could_not_be_made_is_shown_and_not_counted():
    found = adjust({**P, "e": math.nan})
    assert [one.name for one in found] == [*P, "e"]
    assert math.isnan(found[-1].adjusted) and not found[-1].called
    assert [one.adjusted for one in found[:-1]] == [one.adjusted for one in adjust(P)]


@pytest.mark.parametrize("true", [0, 1, 3])
def test_any_false_call_in_the_family_is_as_rare_as_one_test_s(true):
    """`true` of six tests are of effects that are there, the primary being one of them if any is."""
    random = np.random.default_rng(true)
    wrong = []
    for _ in range(2000):
        p = random.uniform(size=6)
        p[:true] = random.beta(0.1, 4, true)
        found = adjust({str(number): float(value) for number, value in enumerate(p)}, primary="0")
        wrong.append(any(one.called for one in found if int(one.name) >= true))
    assert np.mean(wrong) <= 0.062


@pytest.mark.parametrize(
    ("tests", "arguments", "complaint"),
    [
        ({}, {}, "none were given"),
        ({"a": 1.2}, {}, "a: p must be"),
        (P, {"primary": "x"}, "no test of this family 'x'"),
        (P, {"correction": "none"}, "correction"),
        (P, {"alpha": 5}, "alpha"),
    ],
)
def test_what_is_no_family_is_refused(tests, arguments, complaint):
    with pytest.raises(Error, match=complaint):
        adjust(tests, **arguments)
