"""Strangers under `lesioned`: the oracle's answer, or a refusal that the zoo's table knows of. Nothing else."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest
import torch
from checks import problem
from oracle import CALIBRATED, answers, calibration, cases, once, usual
from torch import Tensor
from zoo import Stranger, whole_zoo

from facelesion.lesions import Lesion, calibrate, lesioned

ZOO = whole_zoo()
NAMES = pytest.mark.parametrize("name", ZOO)
# Who mixes images answers about the batch as it is: only that batch can be compared.
ALONE = pytest.mark.parametrize("name", [name for name, each in ZOO.items() if each.alone])


@functools.cache
def expected(name: str, number: int | None) -> Tensor:
    """The oracle's answer to one case (None: to no lesion), made once."""
    stranger = ZOO[name]
    lesion = None if number is None else list(cases(stranger).values())[number]
    with torch.no_grad():
        return answers(stranger, lesion)


def under(
    stranger: Stranger,
    lesion: Lesion | None | Sequence[Lesion | None],
    batches: Sequence[Sequence[int]],
    **options: object,
) -> Tensor:
    """The answers of a fresh network in one context, batch by batch."""
    model = stranger.build()
    times = len(lesion) if isinstance(lesion, list) else 1
    with lesioned(model, lesion, **options):  # type: ignore[arg-type]
        parts = [once(stranger, model, torch.cat([stranger.images[batch]] * times)) for batch in batches]
    return torch.cat(parts)


@NAMES
@torch.no_grad()
def test_one_lesion_is_the_oracles(name: str) -> None:
    stranger, problems = ZOO[name], []
    numbers = list(range(len(stranger.images)))
    for number, ((place, kind), lesion) in enumerate(cases(stranger).items()):
        usual_values = calibration(stranger, place) if kind in CALIBRATED and place.path is not None else None
        wrong = problem(
            lambda: under(stranger, lesion, [numbers], calibration=usual_values),
            lambda: expected(name, number),
            stranger.why_refused("alone", kind, place),
            stranger.tolerance,
        )
        problems += [f"{kind} at {place.site}: {wrong}"] if wrong else []
    assert not problems, "\n" + "\n".join(problems)


@ALONE
@torch.no_grad()
def test_one_lesion_does_not_depend_on_the_batch(name: str) -> None:
    stranger, problems = ZOO[name], []
    last = len(stranger.images) - 1
    for number, ((place, kind), lesion) in enumerate(cases(stranger).items()):
        if kind == "resample":
            continue
        usual_values = calibration(stranger, place) if kind in CALIBRATED else None
        refused = stranger.why_refused("alone", kind, place)
        wrong = problem(
            lambda: under(stranger, lesion, [[0], [*range(1, last + 1)]], calibration=usual_values),
            lambda: expected(name, number), refused, stranger.tolerance,
        )  # fmt: skip
        problems += [f"{kind} at {place.site}, in two batches: {wrong}"] if wrong else []
        turned = [last, *range(last)]
        wrong = problem(
            lambda: under(stranger, lesion, [turned], calibration=usual_values, ids=turned),
            lambda: expected(name, number)[turned], refused, stranger.tolerance,
        )  # fmt: skip
        problems += [f"{kind} at {place.site}, in another order: {wrong}"] if wrong else []
    assert not problems, "\n" + "\n".join(problems)


@ALONE
@torch.no_grad()
def test_lesions_share_a_batch_with_a_healthy_row(name: str) -> None:
    stranger, problems = ZOO[name], []
    numbers = list(range(len(stranger.images)))
    for place in dict.fromkeys(place for place, _ in cases(stranger)):
        usual_values = None
        together: list[Lesion | None] = [None]
        theirs = [expected(name, None)]
        for number, ((where, kind), lesion) in enumerate(cases(stranger).items()):
            if where != place:
                continue
            if usual_values is None and kind in CALIBRATED:
                usual_values = calibration(stranger, place)
            refused = stranger.why_refused("together", kind, place)
            if refused is None and stranger.why_refused("alone", kind, place) is None:
                together.append(lesion)
                theirs.append(expected(name, number))
            wrong = problem(
                lambda: under(stranger, [None, lesion], [numbers], calibration=usual_values),
                lambda: torch.cat([expected(name, None), expected(name, number)]),
                refused,
                stranger.tolerance,
            )
            problems += [f"None and {kind} at {place.site}: {wrong}"] if wrong else []
        if len(together) > 1:
            wrong = problem(
                lambda: under(stranger, together, [numbers], calibration=usual_values),
                lambda: torch.cat(theirs), None, stranger.tolerance,
            )  # fmt: skip
            problems += [f"all {len(together)} at {place.site}: {wrong}"] if wrong else []
    assert not problems, "\n" + "\n".join(problems)


@NAMES
@torch.no_grad()
def test_afterwards_nothing_has_happened(name: str) -> None:
    stranger = ZOO[name]
    model, other = stranger.build(), stranger.build()
    once(stranger, model, stranger.images), once(stranger, other, stranger.images)
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    lesion = next(
        (
            each
            for (place, kind), each in cases(stranger).items()
            if stranger.why_refused("alone", kind, place) is None
        )
    )
    with lesioned(model, lesion):
        once(stranger, model, stranger.images)
    once(stranger, other, stranger.images)
    assert [
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()
    ] == hooks
    if not stranger.refused.get("sweep", "").startswith("its answer changes"):
        assert torch.equal(once(stranger, model, stranger.images), once(stranger, other, stranger.images))


@NAMES
@torch.no_grad()
def test_units_are_calibrated_as_somebody_who_reads_the_code_would(name: str) -> None:
    stranger, problems = ZOO[name], []
    for place in stranger.places:
        refused = stranger.why_refused("calibrate", "", place) or stranger.why_refused("alone", "", place)
        if stranger.refused.get("sweep") == "a sweep gives a network one batch" or "calls the network" in str(
            stranger.refused
        ):
            continue  # calibrate calls the network itself

        def found() -> Tensor:
            measured = calibrate(stranger.build(), stranger.images, place.site)
            assert measured.images == len(stranger.images)
            return torch.cat([*measured.means.values(), *measured.deviations.values()])

        def right() -> Tensor:
            known = usual(name, place)
            only = slice(None) if place.call is None else slice(place.call, place.call + 1)
            return torch.cat([*known.means[only], *known.deviations[only]])

        wrong = problem(found, right, refused, max(1e-4, stranger.tolerance))
        problems += [f"{place.site}: {wrong}"] if wrong else []
    assert not problems, "\n" + "\n".join(problems)


@NAMES
def test_gradients_are_the_oracles(name: str) -> None:
    stranger, problems = ZOO[name], []
    numbers = list(range(len(stranger.images)))
    for (place, kind), lesion in cases(stranger).items():
        if kind not in ("ablate", "noise", "prune", "two sites") or stranger.why_refused(
            "alone", kind, place
        ):
            continue

        if not stranger.images.is_floating_point():
            continue
        images = stranger.images.clone().requires_grad_()
        theirs = torch.autograd.grad(answers(stranger, lesion, images).float().square().sum(), images)[0]

        def found() -> Tensor:
            own, model = stranger.images.clone().requires_grad_(), stranger.build()
            with lesioned(model, lesion):
                answer = once(stranger, model, own)
                return torch.autograd.grad(answer.float().square().sum(), own)[0]

        wrong = problem(found, lambda: theirs, None, max(1e-4, stranger.tolerance))
        problems += [f"{kind} at {place.site}: {wrong}"] if wrong else []
    assert not problems, "\n" + "\n".join(problems)
