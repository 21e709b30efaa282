"""Every kind of lesion, in very different networks, held to an oracle of plain hooks written out by hand."""

from __future__ import annotations

import copy
import io
import itertools

import pytest
import torch
from torch import nn

from facelesion.lesions import (
    Ablate,
    Clamp,
    Dropout,
    Keep,
    Lesion,
    LesionError,
    Noise,
    Prune,
    Scale,
    Shift,
    calibrate,
    lesion_sites,
    lesioned,
    philox,
    sites,
    slots,
)
from facelesion.lesions.functional import how_many
from facelesion.lesions.locate import find

KINDS = {
    "ablate": lambda s, w: Ablate(s, fraction=0.4, seed=2),
    "ablate to mean": lambda s, w: Ablate(s, units=[0, 3], to="mean"),
    "keep": lambda s, w: Keep(s, fraction=0.3),
    "noise": lambda s, w: Noise(s, std=0.7),
    "relative noise": lambda s, w: Noise(s, std=0.7, relative=True, units=[1, 2, 4]),
    "multiplicative noise": lambda s, w: Noise(s, std=0.5, multiplicative=True, fraction=0.5),
    "dropout": lambda s, w: Dropout(s, p=0.6),
    "channel dropout": lambda s, w: Dropout(s, p=0.6, per="channel", rescale=False),
    "clamp": lambda s, w: Clamp(s, min=0.1, max=0.3, fraction=0.8),
    "hold": lambda s, w: Clamp(s, value=0.4, units=[1]),
    "shift": lambda s, w: Shift(s, by=0.9, units=[0, 2]),
    "relative shift": lambda s, w: Shift(s, by=-1.0, relative=True),
    "scale": lambda s, w: Scale(s, by=0.3),
    "prune": lambda s, w: Prune(w, fraction=0.5, seed=1),
    "several": lambda s, w: (
        Noise(s, std=0.5) + Ablate(s, fraction=0.3) + Prune(w, fraction=0.2) + Noise(s, std=0.5)
    ),
}


# What becomes of one unit's output `y` for one image, given the unit's own random numbers, mean and deviation.
BY_HAND = {
    Ablate: lambda p, y, draw, mean, std: 0 * y + (mean if p.to == "mean" else 0),
    Keep: lambda p, y, draw, mean, std: 0 * y,
    Noise: lambda p, y, draw, mean, std: (
        y + p.std * draw * (y if p.multiplicative else std if p.relative else 1)
    ),
    Dropout: lambda p, y, draw, mean, std: torch.where(
        (draw if p.per == "activation" else draw.view(-1)[0]) < p.p, 0, y / (1 - p.p if p.rescale else 1)
    ),
    Clamp: lambda p, y, draw, mean, std: y.clamp(p.min, p.max) if p.value is None else 0 * y + p.value,
    Shift: lambda p, y, draw, mean, std: y + p.by * (std if p.relative else 1),
    Scale: lambda p, y, draw, mean, std: y * p.by,
}


def oracle(case, lesion, calibration, seed=0):
    """The answers with plain hooks: one lesion, one image, one unit after the other, on a copy of the network."""
    answers = []
    for number, image in enumerate(case.images):
        model = copy.deepcopy(case.model)
        for place, part in enumerate(lesion.parts):
            for path in lesion_sites(model, part):
                # How often the same kind with the same seed came here before: each draws anew, whatever its dose.
                turn = sum(
                    (type(other), other.seed) == (type(part), part.seed) and path in lesion_sites(model, other)
                    for other in lesion.parts[:place]
                    if hasattr(other, "seed")
                )
                module = model.get_submodule(path)
                if isinstance(part, Prune):
                    module.weight.detach().view(-1)[drawn(module.weight.numel(), part, "prune", path)] = 0
                else:
                    module.register_forward_hook(by_hand(case, part, turn, number, calibration, seed))
        answers.append(model(image[None]))
    return torch.cat(answers)


def drawn(count, part, purpose, path):
    """Which of `count` things a fraction takes: those with the smallest random ranks."""
    order = philox.ranks(count, purpose, part.seed, path).argsort()
    return order[: how_many(part.fraction, count)].tolist()


def by_hand(case, part, turn, number, calibration, seed):
    calls = itertools.count()
    site = find(case.model, part.site)[0]

    def hook(module, inputs, output):
        call = next(calls)
        if site.call not in (None, call):
            return None
        y = (output[0] if isinstance(output, tuple) else output).clone()
        # The LSTM's time and the tokens of the transformer are places, like height and width.
        units = y.select(case.batch, 0).movedim(case.axis - 1, 0)
        every = range(len(units))
        chosen = part.units or (
            every if part.fraction is None else drawn(len(units), part, "units", site.path)
        )
        law = philox.uniform if isinstance(part, Dropout) else philox.normal
        key = torch.tensor([philox.key_of(seed, type(part).__name__, part.seed, turn, f"{site.path}[{call}]")])
        draws = law(key, torch.tensor([number]), torch.arange(len(units)), units[0].numel())[0, 0]
        mean, std = calibration.of(site, call)
        for unit in set(every) - set(chosen) if isinstance(part, Keep) else chosen:
            old = units[unit].clone()
            draw = draws[unit].view(old.shape)
            units[unit] = BY_HAND[type(part)](part, old, draw, mean[unit], std[unit])
        return (y, *output[1:]) if isinstance(output, tuple) else y

    return hook


@pytest.fixture(scope="module")
def calibration(case):
    return calibrate(case.model, case.images, case.site)


@pytest.fixture(scope="module")
def expected(case, calibration):
    """The oracle's answers, made once for each network."""
    with torch.no_grad():
        return {
            name: oracle(case, make(case.site, case.weights), calibration) for name, make in KINDS.items()
        }


def close(first, second, tolerance=1e-4):
    scale = float(second.abs().max()) or 1.0
    return torch.allclose(first, second, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("name", KINDS)
class TestEveryKind:
    @pytest.fixture
    def lesion(self, case, name):
        return KINDS[name](case.site, case.weights)

    @torch.no_grad()
    def test_equals_the_oracle_and_leaves_no_trace(self, case, calibration, expected, lesion, name):
        healthy, state = case.model(case.images), {k: v.clone() for k, v in case.model.state_dict().items()}
        with lesioned(case.model, lesion, calibration=calibration):
            damaged = case.model(case.images)
        assert close(damaged, expected[name])
        # Random networks have dead units: a lesion of them changes nothing, by the oracle's word too.
        assert close(damaged, healthy, 1e-6) == close(expected[name], healthy, 1e-6)
        assert torch.equal(case.model(case.images), healthy)
        after = case.model.state_dict()
        assert list(after) == list(state) and all(torch.equal(after[key], state[key]) for key in state)

    @torch.no_grad()
    def test_does_not_depend_on_batch_size(self, case, calibration, expected, lesion, name):
        with lesioned(case.model, lesion, calibration=calibration):
            damaged = torch.cat([case.model(case.images[:1]), case.model(case.images[1:])])
        with lesioned(case.model, lesion, calibration=calibration, ids=[2, 0, 1]):
            turned = case.model(case.images[[2, 0, 1]])
        assert close(damaged, expected[name])
        assert close(turned, expected[name][[2, 0, 1]])

    @torch.no_grad()
    def test_survives_writing_and_reading(self, case, calibration, expected, lesion, name):
        with lesioned(case.model, Lesion.from_dict(lesion.to_dict()), calibration=calibration):
            assert close(case.model(case.images), expected[name])

    def test_lets_gradients_through(self, case, calibration, lesion, name):
        images = case.images.clone().requires_grad_()
        with lesioned(case.model, lesion, calibration=calibration):
            answer = case.model(images).square().sum()
        wanted = [images, *(p for p in case.model.parameters() if p.requires_grad)]
        gradients = torch.autograd.grad(answer, wanted, allow_unused=True)
        assert all(each is None or each.isfinite().all() for each in gradients)
        assert any(each is not None and each.abs().sum() > 0 for each in gradients[1:])

    @torch.no_grad()
    def test_keeps_half_precision_under_autocast(self, case, calibration, expected, lesion, name):
        seen = []
        path = lesion_sites(case.model, lesion)[0]
        with torch.autocast("cpu", torch.bfloat16):
            case.model(case.images)
            with lesioned(case.model, lesion, calibration=calibration):
                handle = case.model.get_submodule(path).register_forward_hook(lambda m, i, o: seen.append(o))
                damaged = case.model(case.images)
                handle.remove()
        y = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
        assert damaged.isfinite().all()
        assert y.dtype == torch.bfloat16 or not isinstance(
            case.model.get_submodule(path), nn.Conv2d | nn.Linear
        )


@torch.no_grad()
def test_all_lesions_share_one_forward(case, calibration, expected):
    lesions = [None, *(make(case.site, case.weights) for make in KINDS.values())]
    with lesioned(case.model, lesions, calibration=calibration):
        answers = case.model(torch.cat([case.images] * len(lesions))).chunk(len(lesions))
    assert close(answers[0], case.model(case.images))
    for name, answer in zip(KINDS, answers[1:], strict=True):
        assert close(answer, expected[name]), name


@torch.no_grad()
def test_resampling_gives_units_the_output_of_another_image(case):
    seen = []
    path = lesion_sites(case.model, Ablate(case.site))[0]
    call = find(case.model, case.site)[0].call or 0

    def see(module, inputs, output):
        y = output[0] if isinstance(output, tuple) else output
        seen.append(y.clone().movedim((case.batch, case.axis), (0, 1)))

    module = case.model.get_submodule(path)
    handle = module.register_forward_hook(see)
    case.model(case.images)
    before = seen[call]
    handle.remove()
    seen.clear()
    with lesioned(case.model, Ablate(case.site, units=[0, 1], to="resample")):
        handle = module.register_forward_hook(see)
        case.model(case.images)
        handle.remove()
    after = seen[call]
    assert torch.equal(after[:, 2:], before[:, 2:])
    for image in range(3):
        donors = [torch.equal(after[image, :2], before[other, :2]) for other in range(3) if other != image]
        assert any(donors)


@torch.no_grad()
def test_copies_and_pickles_of_a_damaged_network_are_healthy(case):
    healthy = case.model(case.images)
    with lesioned(case.model, Ablate(case.site)):
        twin = copy.deepcopy(case.model)
        stored = io.BytesIO()
        if "<locals>" not in type(case.model).__qualname__:
            torch.save(case.model, stored)
        case.model(case.images)
    assert torch.equal(twin(case.images), healthy)
    if stored.tell():
        stored.seek(0)
        assert torch.equal(torch.load(stored, weights_only=False)(case.images), healthy)


NOT_IN_SLOTS = {"prune", "several"}


def calls(case) -> int:
    """How often the site's module runs in one forward."""
    ran: list[int] = []
    path = sites(case.model, case.site)[0].split("[")[0]
    handle = case.model.get_submodule(path).register_forward_hook(lambda *_: ran.append(1))
    case.model(case.images)
    handle.remove()
    return len(ran)


@torch.no_grad()
def test_every_kind_acts_in_a_compiled_network_without_compiling_again(case, calibration, expected):
    if calls(case) > 1:
        with pytest.raises(LesionError, match="called once"):
            slots(case.model, case.site, case.images)
        return
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    places = slots(case.model, case.site, case.images, random=True)
    try:
        counter = CompileCounterWithBackend("eager")
        compiled = torch.compile(case.model, backend=counter)
        healthy = compiled(case.images)
        assert close(healthy, case.model(case.images))  # attention may take another path when it is compiled
        frames = counter.frame_count
        for name, make in KINDS.items():
            if name not in NOT_IN_SLOTS:
                with lesioned(compiled, make(case.site, case.weights), calibration=calibration):
                    assert close(compiled(case.images), expected[name]), name
        assert torch.equal(compiled(case.images), healthy)
        assert counter.frame_count == frames
    finally:
        places.remove()
