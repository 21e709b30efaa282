"""Tasks: a good network passes, a constant answer cannot, and readouts do not move."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facelesion.errors import FacelesionError
from facelesion.tasks import Detection, Identification, Objects, Verification, ten_fold_accuracy
from facelesion.tasks.readouts import fit_linear_readout
from facelesion.tasks.scores import area_under_curve, yes_no_scores
from facelesion.tasks.verification import best_threshold

PEOPLE, PICTURES, SIZE = 8, 4, 16


@pytest.fixture
def population() -> tuple[torch.Tensor, list[str]]:
    """Representations of eight people, four pictures each: a person's pictures lie close together."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(PEOPLE, 1, SIZE, generator=generator)
    pictures = centres + 0.1 * torch.randn(PEOPLE, PICTURES, SIZE, generator=generator)
    return pictures.reshape(-1, SIZE), [f"p{i}" for i in range(PEOPLE) for _ in range(PICTURES)]


def every_task(population: tuple[torch.Tensor, list[str]]) -> list:
    x, labels = population
    is_face = torch.arange(len(x)) % 8 < 4
    rows = torch.arange(len(x))
    pairs = torch.combinations(rows)
    same = torch.tensor([labels[i] == labels[j] for i, j in pairs.tolist()])
    asked = (pairs[:, 0], pairs[:, 1], same)
    identity = torch.nn.Identity()
    return [
        Detection.fit(x, is_face, rows, is_face),
        Identification.fit(x, labels, identity, rows, labels),
        Verification.fit(x, asked, identity, asked),
        Objects.fit(x, labels, rows, labels),
    ]


@pytest.mark.parametrize("number", range(4), ids=["detection", "identification", "verification", "objects"])
def test_a_good_representation_passes(population, number):
    task = every_task(population)[number]
    assert all(
        score.value > 0.99 for score in task.score(population[0]) if score.metric in ("accuracy", "auc")
    )


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("number", range(4), ids=["detection", "identification", "verification", "objects"])
def test_no_task_can_be_passed_by_a_constant_answer(population, number, constant):
    task = every_task(population)[number]
    for score in task.score(torch.full_like(population[0], constant)):
        if score.metric in ("accuracy", "auc"):
            assert score.value == pytest.approx(score.chance), score
        if score.metric == "d_prime":
            assert abs(score.value) < 0.6, score


@pytest.mark.parametrize("number", range(4), ids=["detection", "identification", "verification", "objects"])
def test_scoring_leaves_the_readout_as_it_was(population, number):
    task = every_task(population)[number]
    before = task.score(population[0])
    task.score(torch.randn_like(population[0]))
    assert task.score(population[0]) == before


def test_one_kind_of_trial_is_refused(population):
    x, labels = population
    everything = torch.ones(len(x), dtype=torch.bool)
    readout = fit_linear_readout(x, labels)
    with pytest.raises(FacelesionError, match="one kind alone"):
        Detection(readout, torch.arange(len(x)), everything)
    with pytest.raises(FacelesionError, match="one kind alone"):
        Verification(torch.nn.Identity(), 0.5, torch.arange(4), torch.arange(4), everything[:4])


def test_a_probe_who_was_never_enrolled_is_named(population):
    x, labels = population
    with pytest.raises(FacelesionError, match="'stranger' is probed"):
        Identification.fit(x, labels, torch.nn.Identity(), torch.arange(1), ["stranger"])


def test_identification_counts_people_alike_however_many_probes_they_have():
    prototypes = torch.eye(2)
    rows, targets = torch.arange(4), torch.tensor([0, 0, 0, 1])
    task = Identification(("a", "b"), prototypes, torch.nn.Identity(), rows, targets)
    always_a = torch.tensor([[1.0, 0]] * 4)
    assert task.score(always_a)[0].value == 0.5
    assert task.confusion(always_a)[1].tolist() == [[3, 0], [1, 0]]


def test_the_area_under_the_curve_equals_the_count_of_rightly_ordered_pairs():
    generator = torch.Generator().manual_seed(1)
    scores = torch.randint(0, 6, (60,), generator=generator).float()
    positive = torch.rand(60, generator=generator) > 0.6
    a, b = scores[positive][:, None], scores[~positive][None]
    by_hand = ((a > b).float() + 0.5 * (a == b).float()).mean()
    assert area_under_curve(scores, positive) == pytest.approx(float(by_hand))


def test_the_linear_readout_is_at_the_minimum_of_its_loss(population):
    """At the minimum of a convex loss the gradient, computed here by autograd, vanishes."""
    x, labels = population
    readout = fit_linear_readout(x, labels, penalty=0.01)
    x = x.double()
    scale = float((x - x.mean(0)).numpy().std())
    weight = (readout.weight.double() * scale).requires_grad_()
    bias = (readout.bias.double() + readout.weight.double() @ x.mean(0)).requires_grad_()
    logits = (x - x.mean(0)) / scale @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(logits, readout.targets(labels)) + 0.005 * (weight**2).sum()
    loss.backward()
    assert weight.grad.abs().max() < 1e-4 and bias.grad.abs().max() < 1e-4


def test_rare_classes_weigh_as_much_as_common_ones():
    x = torch.tensor([[0.0]] * 99 + [[1.0]])
    readout = fit_linear_readout(x, ["common"] * 99 + ["rare"], penalty=1e-4)
    assert [readout.classes[i] for i in readout.logits(torch.tensor([[0.0], [1.0]])).argmax(1)] == [
        "common",
        "rare",
    ]


def test_the_threshold_lies_between_two_different_cosines():
    assert abs(best_threshold(torch.zeros(4), torch.tensor([True, False, True, False]))) == pytest.approx(0.505)
    cosines = torch.tensor([0.9, 0.8, 0.1, 0.0])
    assert best_threshold(cosines, cosines > 0.5) == pytest.approx(0.45)


def test_ten_folds_give_the_accuracy_on_unseen_folds():
    folds = torch.arange(10).repeat_interleave(20)
    same = torch.arange(200) % 2 == 0
    accuracy, error = ten_fold_accuracy(same.float(), same, folds)
    assert (accuracy, error) == (1.0, 0.0)
    generator = torch.Generator().manual_seed(0)
    accuracy, error = ten_fold_accuracy(torch.rand(200, generator=generator), same, folds)
    assert 0.35 < accuracy < 0.65 and error > 0


def test_sensitivity_is_the_difference_of_the_normal_quantiles():
    answers = torch.tensor([True] * 80 + [False] * 20 + [True] * 10 + [False] * 90)
    truth = torch.arange(200) < 100
    scores = {score.metric: score.value for score in yes_no_scores(answers, truth)}
    assert scores["hit_rate"] == 0.8 and scores["false_alarm_rate"] == 0.1
    assert scores["accuracy"] == pytest.approx(0.85)
    # Φ⁻¹(80.5/101) - Φ⁻¹(10.5/101), from a table of the normal distribution
    assert scores["d_prime"] == pytest.approx(0.8292 + 1.2591, abs=0.01)
    assert np.isfinite(list(scores.values())).all()
