"""Attention: a part is answered for by its share of the evidence beside its size, as in health or not."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
from testers import Asked, small_materials
from testers.tasks import CoarseLook, coarse_pixels

from facelesion.analysis.evidence import evidence_shares
from facelesion.faces.division import PARTS, divided
from facelesion.tasks import Attention, Healthy


@functools.cache
def asked() -> Asked:
    return Asked(Attention, small_materials())


def test_every_part_of_every_picture_is_a_trial_and_health_is_the_answer():
    task = asked().task
    assert task.trials.section == PARTS * Attention.looked_at(small_materials())
    told = ["more" if more else "less" for more in (task.healthy > task.area).flatten().tolist()]
    assert list(task.trials.target) == told and set(told) == {"more", "less"}
    answers = asked().answers(asked().representation)
    assert answers.right.all() and (answers.forced_choice == 1).all()
    measured = task.measure(answers)
    assert measured["overlap"] == pytest.approx(1, abs=1e-5) and measured["evident"] == 1
    for place, part in enumerate(PARTS):
        assert measured[part] == pytest.approx(float(task.healthy[:, place].mean()), abs=1e-6)


def test_a_picture_without_evidence_is_answered_by_half_a_guess_and_told_of():
    tester, task = asked(), asked().task
    seen = tester.representation.clone()
    seen[task.rows[0]] = 0.0
    answers = tester.answers(seen)
    first, rest = answers.value.view(-1, len(PARTS))[0], answers.value.view(-1, len(PARTS))[1:]
    assert not first.any() and rest.all()
    half = answers.forced_choice.view(-1, len(PARTS))
    assert (half[0] == 0.5).all() and (half[1:] == 1).all() and not answers.right[: len(PARTS)].any()
    measured, count = task.measure(answers), len(half)
    assert measured["evident"] == pytest.approx((count - 1) / count)
    assert measured["agreement"] == pytest.approx((count - 0.5) / count)
    spread = torch.cat([task.area[:1], task.healthy[1:]])
    assert measured["overlap"] == pytest.approx(float(spread.minimum(task.healthy).sum(1).mean()), abs=1e-5)


def shares(task: Attention, look: CoarseLook) -> torch.Tensor:
    """Where the evidence of this look lies (M, parts); that network's maps hang on no score."""
    maps = look.maps(lambda chosen: lambda x: x[:, 0], task.rows)
    return evidence_shares(maps, divided(look.landmarks(task.rows), 112, 112)).share


def test_chance_is_evidence_that_is_spread_evenly():
    task = asked().task
    measures = {measure.name: measure for measure in task.measures}
    even = sum(min(a, b) for a, b in zip(task.area.flatten().tolist(), task.healthy.flatten().tolist(), strict=True))
    assert measures["overlap"].chance == pytest.approx(even / len(task.rows)) and measures["overlap"].ceiling == 1
    for place, part in enumerate(PARTS):
        told = measures[part]
        assert told.words == f"share of the evidence on {' '.join(part.split('_'))}"
        assert told.chance == pytest.approx(sum(task.area[:, place].tolist()) / len(task.rows))
        assert told.ceiling == 1 and told.better == ""


def test_under_damage_each_part_is_judged_by_its_own_share():
    tester, task = asked(), asked().task
    seen = torch.randn(tester.representation.shape, generator=torch.Generator().manual_seed(0))
    answers = tester.answers(seen)
    share = shares(task, CoarseLook(tester.pool, seen))
    right, overlap = [], 0.0
    for picture, part in itertools.product(range(len(share)), range(len(PARTS))):
        now, before, size = (float(of[picture, part]) for of in (share, task.healthy, task.area))
        right.append((now > size) == (before > size))
        overlap += min(now, before) / len(share)
    assert answers.right.tolist() == right and 0 < sum(right) < len(right)
    assert answers.value.abs().tolist() == pytest.approx((share - task.area).abs().flatten().tolist(), abs=1e-6)
    measured = task.measure(answers)
    assert measured["overlap"] == pytest.approx(overlap, abs=1e-5) and overlap < 0.999
    assert measured["agreement"] == pytest.approx(sum(right) / len(right))
    assert measured["nose"] == pytest.approx(float(share[:, PARTS.index("nose")].mean()), abs=1e-6)


def test_a_map_without_evidence_in_health_counts_as_spread_evenly():
    blind = CoarseLook(asked().pool, torch.zeros_like(asked().representation))
    rows = {role: torch.arange(len(asked().pool))[place] for role, place in asked().pool.rows.items()}
    task = Attention.fit(
        Healthy(small_materials(), torch.nn.Identity(), coarse_pixels, rows.__getitem__, 0, blind)
    )
    assert torch.equal(task.healthy, task.area) and set(task.trials.target) == {"less"}
    look = CoarseLook(asked().pool, asked().representation)
    answers = task.ask(asked().representation, look)
    assert answers.right.tolist() == (shares(task, look) < task.area).flatten().tolist()
    assert answers.right.any() and not answers.right.all()
