"""Strangers without each single unit: the oracle's answer, or a refusal that the zoo's table knows of."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from checks import Held
from oracle import calibration, expected
from torch import Tensor
from zoo import Place, Stranger, whole_zoo

from facelesion.lesions import Ablate
from facelesion.sweep import unit_sweep

ZOO = whole_zoo()


def without_each(stranger: Stranger, place: Place, to: str) -> Tensor:
    known = calibration(stranger, place) if to == "mean" else None
    (found,) = unit_sweep(
        stranger.build(), place.site, stranger.images, to=to, calibration=known, units=range(3 if to == "zero" else 2)
    ).values()  # fmt: skip
    return found


def by_hand(stranger: Stranger, place: Place, to: str) -> Tensor:
    units = range(3 if to == "zero" else 2)
    return torch.stack([expected(stranger.name, Ablate(place.site, units=[unit], to=to)) for unit in units])


@pytest.mark.parametrize("name", ZOO)
@torch.no_grad()
def test_without_each_unit_the_answer_is_the_oracles(name: str) -> None:
    stranger = ZOO[name]
    held = Held(stranger, max(1e-4, stranger.tolerance))
    for place in stranger.places:
        refused = stranger.why_refused("each unit", "", place)
        if refused is None:
            refused = stranger.why_refused("alone", "", place)
        if stranger.answer is not None:
            refused = "the network's answer is not one tensor with a row per image"
        if place.output or place.call is not None:
            refused = "a unit sweep takes whole modules with one tensor as output"
        for to in ("zero", "mean"):
            held.to(
                f"{place.site} to {to}",
                partial(without_each, stranger, place, to),
                partial(by_hand, stranger, place, to),
                refused,
            )
    held.none_wrong()
