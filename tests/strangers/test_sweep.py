"""Strangers swept: every lesion's answer is the oracle's, or the sweep refuses as the zoo's table says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest
import torch
from checks import Held
from oracle import RESAMPLE, calibration, cases, expected, once
from torch import Tensor
from zoo import Stranger, whole_zoo

from facelesion.lesions import Calibration, Lesion
from facelesion.sweep import Options, sweep

ZOO = whole_zoo()


def usually(stranger: Stranger) -> Calibration:
    """What is usual at all places of a network together."""
    means: dict[str, Tensor] = {}
    deviations: dict[str, Tensor] = {}
    for place in stranger.places:
        known = calibration(stranger, place)
        means |= known.means
        deviations |= known.deviations
    return Calibration(means, deviations, len(stranger.images))


def swept(stranger: Stranger, lesions: Mapping[str, Lesion | None], batch_size: int) -> dict[str, Tensor]:
    return sweep(
        stranger.build(), lesions, stranger.images, calibration=usually(stranger), readout=stranger.answer,
        options=Options(batch_size=batch_size),
    )  # fmt: skip


def one(stranger: Stranger, lesion: Lesion | None, batch_size: int = 16) -> Tensor:
    return swept(stranger, {"it": lesion}, batch_size)["it"]


@pytest.mark.parametrize("name", ZOO)
@torch.no_grad()
def test_every_lesion_of_a_sweep_is_the_oracles(name: str) -> None:
    stranger = ZOO[name]
    held = Held(stranger, max(1e-4, stranger.tolerance))
    answered: dict[str, Lesion | None] = {"none": None}
    for (place, kind), lesion in cases(stranger).items():
        refused = stranger.why_refused("sweep", kind, place) or stranger.why_refused("alone", kind, place)
        if refused is None:
            answered[f"{kind} at {place.site}"] = lesion
        elif "sweep" not in stranger.refused or kind == "ablate":
            # One of each is enough where the network itself is what cannot be swept.
            held.to(
                f"{kind} at {place.site}",
                partial(one, stranger, lesion),
                partial(expected, name, lesion),
                refused,
            )
    if "sweep" in stranger.refused:
        held.to(
            "none", partial(one, stranger, None), partial(expected, name, None), stranger.refused["sweep"]
        )
        return held.none_wrong()
    for size in (16, 2):
        # For resampling, another image of the batch is another one in smaller batches.
        wanted = {what: each for what, each in answered.items() if size == 16 or RESAMPLE not in what}
        try:
            found = swept(stranger, wanted, size)
        except Exception:
            # One by one, to tell which it was.
            for what, lesion in wanted.items():
                right = partial(expected, name, lesion)
                held.to(f"{what}, {size} at a time", partial(one, stranger, lesion, size), right, None)
            raise AssertionError("\n".join(["together they fail", *held.problems])) from None
        for what, lesion in wanted.items():
            right = partial(expected, name, lesion)
            held.to(f"{what}, {size} at a time", partial(found.__getitem__, what), right, None)
    held.none_wrong()


@pytest.mark.parametrize("name", ZOO)
@torch.no_grad()
def test_a_sweep_leaves_the_network_as_it_was(name: str) -> None:
    stranger = ZOO[name]
    place = stranger.places[0]
    if stranger.why_refused("sweep", "ablate", place) or stranger.why_refused("alone", "ablate", place):
        return
    model, other = stranger.build(), stranger.build()
    once(stranger, model, stranger.images)
    once(stranger, other, stranger.images)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    sweep(
        model,
        {"none": None, "it": cases(stranger)[place, "ablate"]},
        stranger.images,
        readout=stranger.answer,
    )
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())
    assert torch.equal(once(stranger, model, stranger.images), once(stranger, other, stranger.images))
