"""What the test of a single case found, as a sentence that anybody can read."""

from __future__ import annotations

import math

from facelesion.analysis.bayesian_cases import BayesianTest
from facelesion.analysis.single_cases import LEAST_CONTROLS, CaseTest

OTHERS = "networks trained alike"


def standing(test: CaseTest | BayesianTest, others: str = OTHERS) -> str:
    """Where a case stands among its controls: the share of their population that it lies below or above.

    Args:
        test: of one task.
        others: what the controls are, in the plural.

    Returns:
        Words that go on from "Identification is ...". With fewer than ten controls "not testable": the test of a
        deficit holds with fewer if scores are normal, which so few cannot show.

    Example:
        >>> from facelesion.analysis import crawford_howell
        >>> controls = [0.90, 0.93, 0.88, 0.95, 0.91, 0.89, 0.92, 0.94, 0.90, 0.91, 0.93]
        >>> standing(crawford_howell(0.85, controls))
        'below 99.2 % of networks trained alike (95 % interval 94.0 to 99.9 %)'
        >>> standing(crawford_howell(0.85, controls[:3]))
        'not testable against 3 networks trained alike: it takes 10'
    """
    count = _controls(test)
    if count < LEAST_CONTROLS:
        return _too_few(count, others)
    low, high = _bounds(test)
    lies, share = ("below", 1 - test.below) if test.below <= 0.5 else ("above", test.below)
    low, high = (1 - high, 1 - low) if test.below <= 0.5 else (low, high)
    told = f"{lies} {_more_or_less(share)} % of {others}"
    if math.isnan(low) or _percent(low) == _percent(high):
        return told
    return f"{told} (95 % interval {_percent(low)} to {_percent(high)} %)"


def coming_apart(
    test: CaseTest | BayesianTest | None, tasks: tuple[str, str], count: int, others: str = OTHERS
) -> str:
    """How two tasks come apart in a case, beside what they do in its controls.

    Args:
        test: of the difference of two tasks; None where it was not testable.
        tasks: their names, in the order of the test.
        count: how many controls there are.
        others: what the controls are, in the plural.

    Example:
        >>> from facelesion.analysis import revised_standardised_difference_from_summary
        >>> test = revised_standardised_difference_from_summary((-3.857, -1.875), correlation=0.68, n=20)
        >>> coming_apart(test, ("identification", "detection"), 20)
        'identification lies further below detection than in 98.4 % of networks trained alike (p = 0.033)'
        >>> coming_apart(None, ("identification", "detection"), 3)
        'not testable against 3 networks trained alike: it takes 10'
    """
    if test is None or count < LEAST_CONTROLS:
        return _too_few(count, others)
    one, two = tasks if test.effect <= 0 else (tasks[1], tasks[0])
    share = 1 - min(test.below, 1 - test.below) if not math.isnan(test.below) else 1 - test.p / 2
    p = f"p = {test.p:.3f}" if test.p >= 0.001 else "p < 0.001"
    return f"{one} lies further below {two} than in {_more_or_less(share)} % of {others} ({p})"


def _too_few(count: int, others: str) -> str:
    return f"not testable against {count} {others}: it takes {LEAST_CONTROLS}"


def _controls(test: CaseTest | BayesianTest) -> int:
    return test.controls if isinstance(test, BayesianTest) else test.freedom + 1


def _bounds(test: CaseTest | BayesianTest) -> tuple[float, float]:
    from scipy import stats

    if isinstance(test, BayesianTest):
        return test.below_low, test.below_high
    return float(stats.norm.cdf(test.low)), float(stats.norm.cdf(test.high))


def _percent(share: float) -> str:
    """A share that is never shown as all or nothing."""
    return f"{min(max(100 * share, 0.1), 99.9):.1f}"


def _more_or_less(share: float) -> str:
    return ("more than " if share > 0.999 else "less than " if share < 0.001 else "") + _percent(share)
