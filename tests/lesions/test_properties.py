"""What holds for any lesion that anybody might compose."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from facelesion.lesions import (
    Ablate,
    Clamp,
    Dropout,
    Keep,
    Lesion,
    Noise,
    Prune,
    Scale,
    Shift,
    calibrate,
    lesioned,
)

SITES = st.sampled_from(["0", "1", "2", "3", "0, 2", "?"])
SEEDS = st.integers(0, 5)
DOSES = st.floats(0.2, 0.85)
CHOICE = st.one_of(
    st.builds(lambda f, s: {"fraction": f, "seed": s}, DOSES, SEEDS),
    st.builds(lambda u: {"units": u}, st.lists(st.integers(0, 4), min_size=1, max_size=3)),
    st.just({}),
)
PARTS = st.one_of(
    st.builds(lambda s, c: Ablate(s, **c), SITES, CHOICE),
    st.builds(lambda s, c: Keep(s, **(c or {"units": [1]})), SITES, CHOICE),
    st.builds(lambda s, c, x, m: Noise(s, std=x, multiplicative=m, **c), SITES, CHOICE, DOSES, st.booleans()),
    st.builds(lambda s, c, r: Dropout(s, p=0.4, rescale=r, **c), SITES, CHOICE, st.booleans()),
    st.builds(lambda s, c, x: Clamp(s, max=x, **c), SITES, CHOICE, DOSES),
    st.builds(lambda s, c, x: Shift(s, by=x, **c), SITES, CHOICE, DOSES),
    st.builds(lambda s, c, x: Scale(s, by=x, **c), SITES, CHOICE, DOSES),
    st.builds(lambda x, s: Prune("0", fraction=x, seed=s), DOSES, SEEDS),
)
LESIONS = st.lists(PARTS, min_size=1, max_size=3).map(
    lambda parts: parts[0] if len(parts) == 1 else sum_of(parts)
)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sum_of(parts):
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.Tanh())


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def run(network, inputs, lesion, **options):
    with torch.no_grad(), lesioned(network, lesion, **options):
        return network(inputs)


@few
@given(lesions=st.lists(st.one_of(st.none(), LESIONS), min_size=1, max_size=4), seed=SEEDS)
def test_together_is_one_by_one(network, inputs, lesions, seed):
    with torch.no_grad(), lesioned(network, lesions, seed=seed):
        together = network(inputs.repeat(len(lesions), 1)).chunk(len(lesions))
    for lesion, answer in zip(lesions, together, strict=True):
        assert torch.allclose(run(network, inputs, lesion, seed=seed), answer, atol=1e-5)


@few
@given(lesion=LESIONS)
def test_written_and_read_back_it_is_the_same(network, inputs, lesion):
    again = Lesion.from_dict(lesion.to_dict())
    assert again == lesion and again.hash == lesion.hash
    assert torch.equal(run(network, inputs, again), run(network, inputs, lesion))


@few
@given(lesion=LESIONS)
def test_afterwards_nothing_has_happened(network, inputs, lesion):
    before = run(network, inputs, None)
    run(network, inputs, lesion)
    assert torch.equal(run(network, inputs, None), before)


@few
@given(small=st.floats(0.1, 0.98), large=st.floats(0.1, 0.98), seed=SEEDS)
def test_doses_nest_and_keep_is_the_complement(small, large, seed):
    small, large = sorted((small, large))
    identity, ones = nn.Sequential(nn.Identity()), torch.ones(1, 40)
    less, more = (run(identity, ones, Ablate("0", fraction=f, seed=seed)) == 0 for f in (small, large))
    assert not (less & ~more).any()
    kept = run(identity, ones, Keep("0", fraction=large, seed=seed)) != 0
    assert torch.equal(kept, more)


@few
@given(small=DOSES, large=DOSES, seed=SEEDS, relative=st.booleans())
def test_noise_of_another_dose_is_the_same_noise_scaled(network, inputs, small, large, seed, relative):
    known = calibrate(network, inputs, Noise("0", std=1))
    healthy = run(network[:1], inputs, None)
    less, more = (
        run(network[:1], inputs, Noise("0", std=std, seed=seed, relative=relative), calibration=known) - healthy
        for std in (small, large)
    )
    assert torch.allclose(more, less * (large / small), atol=1e-5)


@few
@given(st.floats(0.01, 0.98), st.floats(0.01, 0.98), SEEDS, st.sampled_from(["activation", "channel"]))
def test_what_a_smaller_dose_drops_a_larger_one_drops_too(small, large, seed, per):
    small, large = sorted((small, large))
    identity, ones = nn.Sequential(nn.Identity()), torch.ones(2, 8, 5, 5)
    less, more = (
        run(identity, ones, Dropout("0", p=p, seed=seed, per=per, rescale=False)) == 0 for p in (small, large)
    )
    assert not (less & ~more).any()


@few
@given(first=SITES, other=SITES, seed=SEEDS, dose=DOSES)
def test_the_spelling_of_a_pattern_changes_no_noise(network, inputs, first, other, seed, dose):
    def at_zero(sites):
        seen = []
        hook = network[0].register_forward_hook(lambda module, args, output: seen.append(output))
        run(network, inputs, Noise(sites, std=dose, seed=seed))
        hook.remove()
        return seen[0]

    assert torch.equal(at_zero(f"0, {first}"), at_zero(f"{other}, 0"))


@few
@given(std=st.tuples(DOSES, DOSES), seed=SEEDS)
def test_two_lesions_of_one_kind_and_seed_at_one_site_draw_apart(std, seed):
    silent, zeros = nn.Sequential(nn.Identity()), torch.zeros(4, 500)
    both = run(silent, zeros, Noise("0", std=std[0], seed=seed) + Noise("?", std=std[1], seed=seed))
    assert both.std() == pytest.approx((std[0] ** 2 + std[1] ** 2) ** 0.5, rel=0.1)


@few
@given(count=st.integers(1, 39), seed=SEEDS)
def test_a_count_is_the_fraction_that_comes_to_as_many(count, seed):
    identity, ones = nn.Sequential(nn.Identity()), torch.ones(1, 40)
    counted = run(identity, ones, Ablate("0", count=count, seed=seed)) == 0
    assert int(counted.sum()) == count
    assert torch.equal(counted, run(identity, ones, Ablate("0", fraction=count / 40, seed=seed)) == 0)
    assert torch.equal(run(identity, ones, Keep("0", count=count, seed=seed)) != 0, counted)


@few
@given(by=st.floats(0.5, 3), gain=st.floats(1.5, 3))
def test_order_matters_where_it_should(by, gain):
    identity, ones = nn.Sequential(nn.Identity()), torch.ones(1, 4)
    shift, scale = Shift("0", by=by), Scale("0", by=gain)
    first, second = run(identity, ones, shift + scale), run(identity, ones, scale + shift)
    assert torch.allclose(first, (ones + by) * gain) and torch.allclose(second, ones * gain + by)
    assert not torch.allclose(first, second)
