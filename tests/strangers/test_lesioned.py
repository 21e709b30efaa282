"""Strangers under `lesioned`: the oracle's answer, or a refusal that the zoo's table knows of. Nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from checks import Held
from oracle import CALIBRATED, answers, calibration, cases, expected, once, usual
from torch import Tensor
from zoo import Place, Stranger, whole_zoo

from facelesion.lesions import Calibration, Lesion, calibrate, lesioned

ZOO = whole_zoo()
NAMES = pytest.mark.parametrize("name", ZOO)
# Who mixes images answers about the batch as it is: only that batch can be compared.
ALONE = pytest.mark.parametrize("name", [name for name, each in ZOO.items() if each.alone])


def usually(stranger: Stranger, place: Place, kind: str) -> Calibration | None:
    return calibration(stranger, place) if kind in CALIBRATED else None


def under(
    stranger: Stranger,
    lesion: Lesion | None | Sequence[Lesion | None],
    calibration: Calibration | None,
    batches: Sequence[Sequence[int]],
    ids: Sequence[int] | None = None,
) -> Tensor:
    """The answers of a fresh network in one context, batch by batch."""
    model = stranger.build()
    times = len(lesion) if isinstance(lesion, list) else 1
    with lesioned(model, lesion, calibration=calibration, ids=ids):
        parts = [once(stranger, model, torch.cat([stranger.images[batch]] * times)) for batch in batches]
    return torch.cat(parts)


def joined(name: str, lesions: Sequence[Lesion | None]) -> Tensor:
    return torch.cat([expected(name, lesion) for lesion in lesions])


@NAMES
@torch.no_grad()
def test_one_lesion_is_the_oracles(name: str) -> None:
    stranger = ZOO[name]
    held, every = Held(stranger), list(range(len(stranger.images)))
    for (place, kind), lesion in cases(stranger).items():
        held.to(
            f"{kind} at {place.site}",
            partial(under, stranger, lesion, usually(stranger, place, kind), [every]),
            partial(expected, name, lesion),
            stranger.why_refused("alone", kind, place),
        )
    held.none_wrong()


@ALONE
@torch.no_grad()
def test_one_lesion_does_not_depend_on_the_batch(name: str) -> None:
    stranger = ZOO[name]
    held, last = Held(stranger), len(stranger.images) - 1
    turned = [last, *range(last)]
    for (place, kind), lesion in cases(stranger).items():
        if kind == "resample":
            continue
        refused, known = stranger.why_refused("alone", kind, place), usually(stranger, place, kind)
        held.to(
            f"{kind} at {place.site}, in two batches",
            partial(under, stranger, lesion, known, [[0], [*range(1, last + 1)]]),
            partial(expected, name, lesion),
            refused,
        )
        held.to(
            f"{kind} at {place.site}, in another order",
            partial(under, stranger, lesion, known, [turned], turned),
            lambda lesion=lesion: expected(name, lesion)[turned],
            refused,
        )
    held.none_wrong()


@ALONE
@torch.no_grad()
def test_lesions_share_a_batch_with_a_healthy_row(name: str) -> None:
    stranger = ZOO[name]
    held, every = Held(stranger), list(range(len(stranger.images)))
    for place in dict.fromkeys(place for place, _ in cases(stranger)):
        together: list[Lesion | None] = [None]
        known = calibration(stranger, place)
        for (where, kind), lesion in cases(stranger).items():
            if where != place:
                continue
            refused = stranger.why_refused("together", kind, place) or stranger.why_refused(
                "alone", kind, place
            )
            if refused is None:
                together.append(lesion)
            held.to(
                f"None and {kind} at {place.site}",
                partial(under, stranger, [None, lesion], known, [every]),
                partial(joined, name, [None, lesion]),
                refused,
            )
        held.to(
            f"{len(together)} lesions at {place.site}",
            partial(under, stranger, together, known, [every]),
            partial(joined, name, together),
            None,
        )
    held.none_wrong()


@NAMES
@torch.no_grad()
def test_afterwards_nothing_has_happened(name: str) -> None:
    stranger = ZOO[name]
    model, other = stranger.build(), stranger.build()
    once(stranger, model, stranger.images)
    once(stranger, other, stranger.images)

    def hooks() -> list[int]:
        return [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()]

    before = hooks()
    for (place, kind), lesion in cases(stranger).items():
        if stranger.why_refused("alone", kind, place) is None and kind not in CALIBRATED:
            with lesioned(model, lesion):
                once(stranger, model, stranger.images)
            once(stranger, other, stranger.images)
            break
    assert hooks() == before
    state, wanted = model.state_dict(), other.state_dict()
    if "changes" not in stranger.refused.get("sweep", ""):
        assert all(torch.equal(state[key], wanted[key]) for key in state) and list(state) == list(wanted)
        assert torch.equal(once(stranger, model, stranger.images), once(stranger, other, stranger.images))


@NAMES
@torch.no_grad()
def test_units_are_calibrated_as_a_reader_of_the_code_would(name: str) -> None:
    stranger = ZOO[name]
    held = Held(stranger, max(1e-4, stranger.tolerance))

    def measured(place: Place) -> Tensor:
        found = calibrate(stranger.build(), stranger.images, place.site)
        assert found.images == len(stranger.images), f"{found.images} images were counted"
        return torch.cat([*found.means.values(), *found.deviations.values()])

    def right(place: Place) -> Tensor:
        known = usual(name, place)
        return torch.cat([*known.means, *known.deviations])

    for place in stranger.places:
        refused = stranger.why_refused("calibrate", "", place) or stranger.why_refused("alone", "", place)
        held.to(place.site, partial(measured, place), partial(right, place), refused)
    held.none_wrong()


@NAMES
def test_gradients_are_the_oracles(name: str) -> None:
    stranger = ZOO[name]
    held = Held(stranger, max(1e-4, stranger.tolerance))
    if not stranger.images.is_floating_point():
        return

    def slope(answer: Tensor, images: Tensor) -> Tensor:
        return torch.autograd.grad(answer.float().square().sum(), images)[0]

    def found(lesion: Lesion) -> Tensor:
        images, model = stranger.images.clone().requires_grad_(), stranger.build()
        with lesioned(model, lesion):
            return slope(once(stranger, model, images), images)

    def right(lesion: Lesion) -> Tensor:
        images = stranger.images.clone().requires_grad_()
        return slope(answers(stranger, lesion, images), images)

    for (place, kind), lesion in cases(stranger).items():
        if (
            kind in ("ablate", "noise", "prune", "two sites")
            and stranger.why_refused("alone", kind, place) is None
        ):
            held.to(f"{kind} at {place.site}", partial(found, lesion), partial(right, lesion), None)
    held.none_wrong()
