"""Strangers swept: every lesion's answer is the oracle's, or the sweep refuses as the zoo's table says."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from checks import Held
from oracle import RESAMPLE, answers, calibration, cases, once
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


def swept(stranger: Stranger, lesions: dict[str, Lesion | None], batch_size: int) -> dict[str, Tensor]:
    return sweep(
        stranger.build(), lesions, stranger.images, calibration=usually(stranger), readout=stranger.answer,
        options=Options(batch_size=batch_size),
    )  # fmt: skip


def _healthy(stranger: Stranger, wanted: dict[str, Lesion | None], size: int) -> Tensor:
    return swept(stranger, wanted, size)["none"]


@pytest.mark.parametrize("name", ZOO)
@torch.no_grad()
def test_every_lesion_of_a_sweep_is_the_oracles(name: str) -> None:
    stranger = ZOO[name]
    held = Held(stranger, max(1e-4, stranger.tolerance))
    lesions: dict[str, Lesion | None] = {"none": None}
    for (place, kind), lesion in cases(stranger).items():
        refused = stranger.why_refused("sweep", kind, place)
        if refused is None:
            refused = stranger.why_refused("alone", kind, place)
        label = f"{kind} at {place.site}"
        if refused is None:
            lesions[label] = lesion
        else:
            held.to(
                label,
                lambda lesion=lesion: swept(stranger, {"it": lesion}, 16)["it"],
                partial(answers, stranger, lesion),
                refused,
            )
    right = {label: answers(stranger, lesion) for label, lesion in lesions.items()}
    several = {size: stranger.alone and size < len(stranger.images) for size in (16, 2)}
    for size in (16, 2) if stranger.alone else (16,):
        # Another image of the batch is another image in smaller batches.
        wanted = {label: each for label, each in lesions.items() if not (several[size] and RESAMPLE in label)}
        refused = stranger.refused.get("sweep")
        try:
            found = swept(stranger, wanted, size)
        except Exception:
            # One by one, to tell which it was.
            for label, lesion in wanted.items():
                held.to(
                    f"{label}, {size} at a time",
                    lambda lesion=lesion, size=size: swept(stranger, {"it": lesion}, size)["it"],
                    partial(right.__getitem__, label),
                    refused,
                )
            if not held.problems and refused is None:
                held.to(
                "all together", partial(_healthy, stranger, wanted, size), partial(right.__getitem__, "none"), None
            )
            continue
        for label in wanted:
            held.to(
                f"{label}, {size} at a time",
                partial(found.__getitem__, label),
                partial(right.__getitem__, label),
                refused,
            )
    held.none_wrong()


@pytest.mark.parametrize("name", ZOO)
@torch.no_grad()
def test_a_sweep_leaves_the_network_as_it_was(name: str) -> None:
    stranger = ZOO[name]
    model, other = stranger.build(), stranger.build()
    once(stranger, model, stranger.images)
    once(stranger, other, stranger.images)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    place = stranger.places[0]
    if (
        stranger.why_refused("sweep", "ablate", place) is None
        and stranger.why_refused("alone", "ablate", place) is None
    ):
        sweep(
            model,
            {"none": None, "it": cases(stranger)[place, "ablate"]},
            stranger.images,
            readout=stranger.answer,
        )
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())
        assert torch.equal(once(stranger, model, stranger.images), once(stranger, other, stranger.images))
