"""The generator: the published numbers, the right distributions, and nothing that depends on what was drawn before."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from sizes import Sizes
from torch.overrides import TorchFunctionMode

from facelesion.lesions.philox import key_of, normal, philox, ranks, splitmix, uniform


def keys(*names):
    return torch.tensor([key_of(name) for name in names])


# Known answers of Random123, the authors' library.
@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_gives_the_published_words(counter, key, words):
    made = philox(tuple(torch.tensor(word) for word in counter), tuple(torch.tensor(word) for word in key))
    assert " ".join(f"{int(word):08x}" for word in made) == words


def test_splitmix_gives_the_published_words():
    """The first five of SplitMix64 begun at 1234567, which implementations in several languages print."""
    states = (torch.arange(1, 6) * (0x9E3779B97F4A7C15 - 2**64)) + 1234567
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    assert [word % 2**64 for word in splitmix(states).tolist()] == published


def test_uniform_and_normal_have_their_distributions():
    many = keys(*map(str, range(30)))
    u = uniform(many, torch.arange(5), torch.arange(20), 51).flatten(1)
    n = normal(many, torch.arange(5), torch.arange(20), 51).flatten(1)
    assert 0 <= u.min() and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.003 and abs(u.var() - 1 / 12) < 0.001
    assert abs(n.mean()) < 0.01 and abs(n.var() - 1) < 0.015
    assert abs(stats.skew(n.flatten().numpy())) < 0.02 and abs(stats.kurtosis(n.flatten().numpy())) < 0.04
    # Over many keys the Kolmogorov-Smirnov test's own p values are uniform when the numbers are right.
    for draws, law in ((u, "uniform"), (n, "norm")):
        values = [stats.kstest(each.double().numpy(), law).pvalue for each in draws]
        assert stats.kstest(values, "uniform").pvalue > 0.005


def test_neighbours_are_unrelated():
    n = normal(keys("a", "b"), torch.arange(40), torch.arange(40), 40)
    pairs = {
        "keys": (n[0], n[1]),
        "images": (n[0, :-1], n[0, 1:]),
        "units": (n[0, :, :-1], n[0, :, 1:]),
        "places": (n[0, ..., :-1], n[0, ..., 1:]),
        "halves of one word": (n[0, ..., 0::2], n[0, ..., 1::2]),
    }
    for what, (first, second) in pairs.items():
        r = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
        assert abs(r) < 4 / first.numel() ** 0.5, what


def test_tails_are_as_heavy_as_they_should_be():
    n = normal(keys(*map(str, range(8))), torch.arange(50), torch.arange(50), 200).flatten()
    for limit in (2.0, 3.0, 4.0):
        expected = 2 * stats.norm.sf(limit) * n.numel()
        assert abs(float((n.abs() > limit).sum()) - expected) < 4.5 * expected**0.5, limit
    assert n.isfinite().all() and 4.7 < n.abs().max() < 5.5


@pytest.mark.parametrize("bit", [0, 1, 7, 12, 23])
def test_every_bit_of_a_uniform_number_is_fair_along_every_axis(bit):
    u = uniform(keys(*map(str, range(6))), torch.arange(12), torch.arange(30), 101)
    bits = ((u.double() * 2**24).long() >> bit & 1).double() - 0.5
    assert abs(bits.mean()) < 4 * 0.5 / bits.numel() ** 0.5
    for axis in range(4):
        length = bits.shape[axis] - 1
        together = bits.narrow(axis, 0, length) * bits.narrow(axis, 1, length)
        assert abs(together.mean()) < 4 * 0.25 / together.numel() ** 0.5, axis
    # Sums along the places vary as sums of independent bits do.
    sums = bits.sum(-1).flatten()
    assert abs(sums.var() / (101 / 4) - 1) < 4 * (2 / sums.numel()) ** 0.5


def test_a_number_depends_on_its_own_key_image_unit_and_place_alone():
    whole = normal(keys("a", "b"), torch.tensor([7, 3, 2**40]), torch.arange(9), 10)
    assert torch.equal(
        normal(keys("b"), torch.tensor([2**40]), torch.tensor([4, 2]), 10)[0, 0], whole[1, 2, [4, 2]]
    )
    assert torch.equal(normal(keys("a"), torch.tensor([3]), torch.arange(9), 6)[0, 0], whole[0, 1, :, :6])
    assert not torch.equal(whole[0, 0], whole[0, 2])


def test_large_draws_are_cut_in_pieces_that_nobody_sees(monkeypatch):
    whole = uniform(keys("a", "b"), torch.arange(5), torch.arange(7), 33)
    monkeypatch.setattr("facelesion.lesions.philox.CHUNK", 20)
    assert torch.equal(uniform(keys("a", "b"), torch.arange(5), torch.arange(7), 33), whole)


def test_ranks_are_distinct_and_their_order_is_fair():
    first = torch.stack([ranks(20, "seed", seed).argsort()[0] for seed in range(400)])
    assert ranks(1000, "x").unique().numel() == 1000
    assert stats.chisquare(first.bincount(minlength=20).numpy()).pvalue > 0.001


@pytest.mark.gpu
def test_numbers_agree_between_cpu_and_gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    given = (torch.arange(5), torch.arange(7), 33)
    assert torch.equal(uniform(keys("a").cuda(), *given).cpu(), uniform(keys("a"), *given))
    assert torch.allclose(normal(keys("a").cuda(), *given).cpu(), normal(keys("a"), *given), atol=1e-5)


@pytest.mark.parametrize("law", [uniform, normal])
@pytest.mark.parametrize("shape", [(4, 16, 64, 784), (1, 3, 2, 70_001), (2, 9, 5000, 1)])
def test_no_operation_is_so_long_that_threads_would_share_it(law, shape):
    """Each of a hundred would wait for the slower thread, and beside a busy process that is long."""
    count, images, units, places = shape
    with Sizes() as sizes:
        law(keys(*map(str, range(count))), torch.arange(images), torch.arange(units), places)
    assert max(sizes.largest.values()) < 2**15  # from here on PyTorch shares elementwise operations out
    assert sizes.largest["erfinv_"] <= 2048  # and MKL this one


def test_what_watches_torch_functions_does_not_see_the_arithmetic():
    class Watch(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            Watch.seen += 1
            return function(*args, **(kwargs or {}))

    with Watch():
        normal(keys("a"), torch.arange(8), torch.arange(64), 784)
    assert 0 < Watch.seen < 150


def test_counters_of_every_shape_broadcast_to_the_same_words():
    shape = (2, 3, 4)
    counter = (torch.arange(4), torch.arange(3)[:, None], torch.tensor(7), torch.arange(2)[:, None, None])
    key = (torch.arange(2)[:, None, None], 9)
    whole = [part.expand(shape).contiguous() for part in counter]
    before = [part.clone() for part in whole]
    for one, other in zip(philox(counter, key), philox(tuple(whole), key), strict=True):
        assert one.shape == shape and torch.equal(one, other)
    assert all(map(torch.equal, whole, before))
