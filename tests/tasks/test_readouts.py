"""Readouts: what is fitted once on the healthy network, and what is refused before it is."""

from __future__ import annotations

import pytest
import torch

from facelesion.errors import Error
from facelesion.tasks.readouts import LinearReadout, Prototypes, fit_linear_readout, unit_vectors

GENERATOR = torch.Generator().manual_seed(0)
SEEN = torch.randn(30, 4, generator=GENERATOR) + 0.5 * torch.arange(30)[:, None].remainder(3)
LABELS = [("cat", "ant", "bee")[row % 3] for row in range(30)]


def test_a_linear_readout_knows_its_classes_by_their_sorted_names():
    readout = fit_linear_readout(SEEN, LABELS)
    assert readout.classes == ("ant", "bee", "cat") and all(type(name) is str for name in readout.classes)
    assert readout.targets(["cat", "ant", "cat"]).tolist() == [2, 0, 2]
    assert readout.weight.dtype == readout.bias.dtype == torch.float32
    said = "^the readout was never shown 'dog': it knows ant, bee, cat$"
    with pytest.raises(Error, match=said):
        readout.targets(["cat", "eel", "dog"])


def test_logits_are_weights_times_the_representation_and_a_bias():
    readout = LinearReadout(("a", "b"), torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([0.5, 0.0]))
    assert readout.logits(torch.tensor([[1.0, 1.0], [0.0, 3.0]])).tolist() == [[3.5, -1.0], [6.5, -3.0]]


def test_the_usual_penalty_is_a_thousandth():
    usual, named, strong = (fit_linear_readout(SEEN, LABELS, **of) for of in ({}, {"penalty": 1e-3}, {"penalty": 1.0}))
    assert torch.equal(usual.weight, named.weight) and not torch.allclose(usual.weight, strong.weight, rtol=0.1)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_and_the_place_of_a_representation_change_no_answer(scale):
    plain, moved = fit_linear_readout(SEEN, LABELS), fit_linear_readout(scale * (SEEN + 7), LABELS)
    assert torch.allclose(plain.logits(SEEN), moved.logits(scale * (SEEN + 7)), atol=0.01)


def test_a_readout_of_a_dead_network_says_all_classes_alike():
    logits = fit_linear_readout(torch.full((30, 4), 2.0), LABELS).logits(torch.full((1, 4), 2.0))
    assert logits.isfinite().all() and torch.allclose(logits, torch.zeros(1, 3), atol=1e-6)


@pytest.mark.parametrize(
    ("seen", "labels", "said"),
    [
        (SEEN, ["one"] * 30, "^a readout needs two classes or more to tell apart, not 1$"),
        (
            SEEN.where(SEEN < 1, torch.inf),
            LABELS,
            "^the healthy network's representation is not finite: check its weights and preprocessing$",
        ),
    ],
)
def test_what_no_readout_can_be_fitted_to_is_told(seen, labels, said):
    with pytest.raises(Error, match=said):
        fit_linear_readout(seen, labels)


def test_a_prototype_is_the_direction_of_the_mean_of_directions():
    embedding = torch.tensor([[3.0, 0.0], [0.0, 0.5], [-2.0, 0.0]])
    memory = Prototypes.learn(embedding, ["b", "b", "a"])
    assert memory.names == ("a", "b")
    assert torch.allclose(memory.vectors, torch.tensor([[-1.0, 0.0], [0.5**0.5, 0.5**0.5]]))
    assert torch.allclose(memory.likeness(torch.tensor([[0.0, 4.0]])), torch.tensor([[0.0, 0.5**0.5]]))
    assert memory.targets(["b", "a", "b"]).tolist() == [1, 0, 1]


def test_a_memory_refuses_too_few_and_whom_it_never_saw():
    with pytest.raises(Error, match="^a memory needs two people or things or more, not 1$"):
        Prototypes.learn(SEEN, ["one"] * 30)
    said = "^'dan' is probed but was never enrolled: give each person pictures for both$"
    with pytest.raises(Error, match=said):
        Prototypes.learn(SEEN, LABELS).targets(["cat", "eve", "dan"])


def test_a_zero_vector_has_no_direction():
    assert unit_vectors(torch.tensor([[0.0, 0.0], [0.0, 2.0]])).tolist() == [[0, 0], [0, 1]]
