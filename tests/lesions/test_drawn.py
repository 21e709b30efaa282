"""Random numbers that lesions share are drawn once, and are those that would be drawn each time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.lesions import Dropout, Noise, lesioned, philox, steps
from facelesion.lesions.drawn import Kept, drawn, keeping
from facelesion.sweep import Options, sweep

KEYS = torch.tensor([philox.key_of("a"), philox.key_of("b"), philox.key_of("a", 1)])
IMAGES, UNITS, PLACES = torch.arange(3), torch.arange(4), 5
BYTES = 3 * 4 * 5 * 4  # of one key's draws


@pytest.fixture
def law():
    """The uniform law, and how many keys' numbers it was asked for."""

    def counted(keys, *rest):
        counted.keys += len(keys)
        return philox.uniform(keys, *rest)

    counted.keys = 0
    return counted


def test_they_are_those_of_the_law_however_many_keys_are_asked_for(law):
    kept = Kept(10_000)
    for keys in (KEYS[:1], KEYS, KEYS[1:], KEYS[[2, 0]]):
        assert torch.equal(kept.drawn(law, keys, IMAGES, UNITS, PLACES), philox.uniform(keys, IMAGES, UNITS, PLACES))
    assert law.keys == 3


@pytest.mark.parametrize(
    "other",
    [(KEYS[1:2], IMAGES, UNITS, PLACES), (KEYS[:1], IMAGES + 1, UNITS, PLACES), (KEYS[:1], IMAGES, UNITS[1:], PLACES),
     (KEYS[:1], IMAGES[:2], UNITS, PLACES), (KEYS[:1], IMAGES, UNITS, PLACES + 1)],
    ids=["key", "images", "units", "number of images", "places"],
)  # fmt: skip
def test_nothing_is_shared_by_what_differs(other, law):
    kept = Kept(10_000)
    kept.drawn(law, KEYS[:1], IMAGES, UNITS, PLACES)
    assert torch.equal(kept.drawn(law, *other), philox.uniform(*other))
    assert law.keys == 2


def test_laws_are_kept_apart():
    kept = Kept(10_000)
    kept.drawn(philox.uniform, KEYS, IMAGES, UNITS, PLACES)
    normal = kept.drawn(philox.normal, KEYS, IMAGES, UNITS, PLACES)
    assert torch.equal(normal, philox.normal(KEYS, IMAGES, UNITS, PLACES))


@pytest.mark.parametrize("law", [philox.uniform, philox.normal])
def test_numbers_with_units_last_are_the_same_and_lie_otherwise(law):
    expected = law(KEYS, IMAGES, UNITS, PLACES)
    with keeping(Kept(10_000)):
        for _ in range(2):
            last, plain = (drawn(law, KEYS, IMAGES, UNITS, PLACES, units_last=last) for last in (True, False))
            assert torch.equal(last, expected) and torch.equal(plain, expected)
            assert last.stride(2) == 1 and plain.stride(3) == 1
    assert drawn(law, KEYS, IMAGES, UNITS, PLACES, units_last=True).stride(2) == 1


@pytest.mark.parametrize("units", [None, [1, 5]])
@pytest.mark.parametrize("lesion", [Noise, Dropout])
@torch.no_grad()
def test_a_lesion_draws_in_the_layout_of_what_it_meets(lesion, units, monkeypatch):
    seen = []

    def told(*given):
        seen.append(given[-1])
        return drawn(*given)

    monkeypatch.setattr(steps, "drawn", told)
    network, images = nn.Identity(), torch.rand(3, 8, 5, 5)
    answers = []
    for given in (images, images.contiguous(memory_format=torch.channels_last)):
        with lesioned(network, lesion(".", 0.4, units=units)):
            answers.append(network(given))
    assert torch.equal(*answers) and answers[1].stride(1) == 1
    assert seen == [False, units is None]


def test_what_somebody_wrote_into_is_drawn_anew(law):
    kept = Kept(10_000)
    kept.drawn(law, KEYS[:1], IMAGES, UNITS, PLACES).mul_(2)
    again = kept.drawn(law, KEYS[:1], IMAGES, UNITS, PLACES)
    assert torch.equal(again, philox.uniform(KEYS[:1], IMAGES, UNITS, PLACES)) and law.keys == 2
    assert kept.held == BYTES


def test_no_more_is_held_than_there_is_room_for_and_what_was_asked_for_last_stays(law):
    kept = Kept(2 * BYTES)
    for place in (0, 1, 0, 2):  # the last takes the place of the second
        kept.drawn(law, KEYS[place : place + 1], IMAGES, UNITS, PLACES)
        assert kept.held <= kept.room
    assert law.keys == 3
    kept.drawn(law, KEYS[:1], IMAGES, UNITS, PLACES)
    assert law.keys == 3
    kept.drawn(law, KEYS[1:2], IMAGES, UNITS, PLACES)
    assert law.keys == 4


def test_what_has_no_room_is_drawn_each_time(law):
    kept = Kept(BYTES - 1)
    for _ in range(2):
        kept.drawn(law, KEYS[:1], IMAGES, UNITS, PLACES)
    assert law.keys == 2 and kept.held == 0


def test_what_cannot_say_whether_it_was_written_into_is_not_kept(law):
    kept = Kept(10_000)
    with torch.inference_mode():
        kept.drawn(law, KEYS[:1], IMAGES, UNITS, PLACES)
    assert kept.held == 0


def test_nobody_keeps_anything_unless_asked(law):
    with keeping(Kept(10_000)):
        for _ in range(2):
            drawn(law, KEYS[:1], IMAGES, UNITS, PLACES)
    assert law.keys == 1
    for _ in range(2):
        drawn(law, KEYS[:1], IMAGES, UNITS, PLACES)
    assert law.keys == 3


@torch.no_grad()
def test_doses_of_a_sweep_are_drawn_for_once_though_they_run_one_after_the_other(monkeypatch):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten()).eval()
    images = torch.rand(6, 3, 8, 8)
    lesions = {f"noise {std} {seed}": Noise("0", std=std, seed=seed) for std in (0.1, 0.2, 0.4) for seed in (0, 1)}
    lesions |= {f"dropout {p} {seed}": Dropout("1", p=p, seed=seed) for p in (0.1, 0.2, 0.4) for seed in (0, 1)}
    asked = []

    def noted(law):
        def draw(keys, *rest):
            asked.extend((law, *key) for key in keys.tolist())
            return law(keys, *rest)

        return draw

    for law in (philox.uniform, philox.normal):
        monkeypatch.setattr(philox, law.__name__, noted(law))
    found = sweep(network, lesions, images, options=Options(rows=6))
    assert len(asked) == len(set(asked)) == 4
    for name, lesion in lesions.items():
        with lesioned(network, lesion):
            torch.testing.assert_close(found[name], network(images), rtol=1e-6, atol=1e-6)
