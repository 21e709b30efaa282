"""How much a lesion changed its sites: measured as it acts, for every kind."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from facelesion.lesions import (
    Ablate,
    Changes,
    Clamp,
    Dropout,
    Keep,
    LesionError,
    Noise,
    Prune,
    Scale,
    Shift,
    lesioned,
    relative_change,
    slots,
)

EVERY_KIND = [
    Ablate("conv", fraction=0.5),
    Ablate("conv", to="resample"),
    Keep("conv", units=[1, 2]),
    Noise("conv", std=0.5),
    Dropout("conv", p=0.4),
    Clamp("conv", max=0.1),
    Shift("conv", by=0.3, units=[2]),
    Scale("conv", by=1.5),
    Prune("conv", fraction=0.4),
    Prune("conv", fraction=0.4) + Scale("conv", by=2) + Shift("conv", by=1),
]


def outputs(model, images, path, lesion=None):
    """What a module puts out, under a lesion."""
    seen = []
    with lesioned(model, lesion):
        handle = model.get_submodule(path).register_forward_hook(lambda m, i, o: seen.append(o.clone()))
        model(images)
        handle.remove()
    return seen


def expected(before, after):
    return float(
        sum((a - b).double().square().sum() for a, b in zip(after, before, strict=True)).sqrt()
    ) / float(sum(b.double().square().sum() for b in before).sqrt())


@pytest.mark.parametrize("lesion", EVERY_KIND, ids=str)
@torch.no_grad()
def test_every_kind_says_how_much_its_site_changed(toy, images, lesion):
    changes = Changes()
    with lesioned(toy, lesion, changes=changes):
        answer = toy(images)
    before, after = outputs(toy, images, "conv"), outputs(toy, images, "conv", lesion)
    assert changes.relative() == [{"conv": pytest.approx(expected(before, after), rel=1e-5)}]
    with lesioned(toy, lesion):
        assert torch.equal(toy(images), answer)  # it only looks


@torch.no_grad()
def test_each_lesion_of_a_list_has_its_own_over_all_batches_and_contexts(toy, images):
    changes = Changes()
    lesions = [None, Ablate("conv", units=[1]), Scale("deep", by=0.5), Scale("deep", by=3)]
    for part in (images[:2], images[2:]):
        with lesioned(toy, lesions, changes=changes):
            toy(part.repeat(4, 1, 1, 1))
    alone = Changes()
    with lesioned(toy, lesions[1], changes=alone):
        toy(images)
    found = changes.relative()
    assert found[0] == {} and found[2:] == [{"deep": pytest.approx(0.5)}, {"deep": pytest.approx(2.0)}]
    assert found[1] == {"conv": pytest.approx(alone.relative()[0]["conv"])}
    assert relative_change(changes.squares[1]) == found[1]


@torch.no_grad()
def test_calls_of_a_reused_module_are_counted_as_the_lesion_names_them(toy, images):
    changes = Changes()
    lesion = Ablate("relu[1]", units=[0, 1, 2]) + Scale("relu", by=0.5)
    with lesioned(toy, lesion, changes=changes):
        toy(images)
    # What is without damage at a later call is measured in the same pass, behind the damage of the earlier one.
    found = changes.relative()[0]
    assert list(found) == ["relu[1]", "relu"] and found["relu[1]"] > found["relu"] > 0.5


@torch.no_grad()
def test_attention_heads_are_measured_before_they_are_mixed():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.MultiheadAttention(8, 4, batch_first=True)), torch.randn(3, 5, 8)
    model[0].register_forward_pre_hook(lambda m, args: (args[0], args[0], args[0]))
    changes = Changes()
    with lesioned(model, Scale("0.heads", by=0.25) + Scale("0", by=2), changes=changes):
        model(x)
    assert changes.relative()[0]["0.heads"] == pytest.approx(0.75)


def test_silent_sites_are_said_to_have_changed_by_nothing_or_by_everything():
    model, x = nn.Sequential(nn.Identity()), torch.zeros(2, 3)
    found = []
    for lesion in (Ablate("0"), Shift("0", by=1)):
        changes = Changes()
        with lesioned(model, lesion, changes=changes):
            model(x)
        found.append(changes.relative()[0]["0"])
    assert found == [0.0, math.inf]


def test_half_precision_does_not_overflow():
    model, changes = nn.Sequential(nn.Identity()), Changes()
    with lesioned(model, Scale("0", by=0.5), changes=changes):
        model(torch.full((2, 3000), 500.0, dtype=torch.float16))
    assert changes.relative()[0]["0"] == pytest.approx(0.5)


def test_gradients_are_not_held_and_not_disturbed(toy, images):
    changes = Changes()
    with lesioned(toy, Scale("conv", by=0.5), changes=changes):
        toy(images).sum().backward()
    assert toy.conv.weight.grad is not None
    assert not any(sums.requires_grad for squares in changes.squares for sums in squares.values())


def test_other_lesions_need_changes_of_their_own(toy, images):
    changes = Changes()
    with lesioned(toy, Scale("conv", by=0.5), changes=changes):
        toy(images)
    with (
        pytest.raises(LesionError, match="of its own"),
        lesioned(toy, Scale("deep", by=0.5), changes=changes),
    ):
        pass


def test_slots_say_that_they_measure_nothing():
    model = nn.Sequential(nn.Linear(4, 4))
    slots(model, "0", torch.rand(2, 4))
    with pytest.raises(LesionError, match="no changes"), lesioned(model, Ablate("0"), changes=Changes()):
        pass


@torch.no_grad()
def test_each_of_two_nested_contexts_measures_its_own(toy, images):
    outer, inner = Changes(), Changes()
    one, two = Prune("conv", fraction=0.4), Prune("conv", fraction=0.4, seed=1)
    with lesioned(toy, one, changes=outer), lesioned(toy, two, changes=inner):
        toy(images)
    both = outputs(toy, images, "conv", one + two)
    for changes, other in ((outer, two), (inner, one)):
        before = outputs(toy, images, "conv", other)
        assert changes.relative() == [{"conv": pytest.approx(expected(before, both), rel=1e-5)}]


@torch.no_grad()
def test_what_another_hook_changes_in_between_is_not_counted_or_refused(toy, images):
    before, pruned = outputs(toy, images, "conv"), outputs(toy, images, "conv", Prune("conv", fraction=0.4))
    toy.conv.register_forward_hook(lambda m, i, o: o + 100)
    changes = Changes()
    with lesioned(toy, Prune("conv", fraction=0.4), changes=changes):
        toy(images)
    assert changes.relative() == [{"conv": pytest.approx(expected(before, pruned), rel=1e-5)}]
    lesion = Prune("conv", fraction=0.4) + Scale("conv", by=2)
    with pytest.raises(LesionError, match="another hook"), lesioned(toy, lesion, changes=Changes()):
        toy(images)


@torch.no_grad()
def test_it_is_the_same_for_any_batch_and_layout(toy, images):
    found = []
    for batches in ([images], images.split(2), [images.contiguous(memory_format=torch.channels_last)]):
        changes = Changes()
        with lesioned(toy, Noise("conv", std=0.5) + Prune("deep", fraction=0.5), changes=changes):
            for batch in batches:
                toy(batch)
        found.append(changes.relative()[0])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize("size", [1e-30, 1e-21, 1.0, 1e18, 1e30])
@pytest.mark.parametrize("shape", [(6,), (6, 4), (6, 3, 8, 8), (2, 64, 160, 160)], ids=str)
def test_sums_of_squares_are_exact_whatever_their_size(shape, size):
    values = (0.1 + torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 1e-3) * size
    values[0] = 0
    changes = Changes()
    changes.expect([["a"], ["a"]])
    changes.add("a", values, values * 3)
    halves = values.double().split(len(values) // 2)
    for found, half in zip(changes.squares, halves, strict=True):
        exact = float(half.square().sum())
        assert found["a"].tolist() == [pytest.approx(4 * exact, rel=3e-6), pytest.approx(exact, rel=3e-6)]
