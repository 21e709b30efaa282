"""Tasks: each is one class that plugs into the same checks; scores and readouts are what their definitions say."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import torch
from elsewhere import Elsewhere
from testers import Asked, TaskTester, small_materials
from testers.tasks import coarse_pixels

from facelesion.errors import Error
from facelesion.faces.division import PARTS
from facelesion.tasks import TASKS, Answers, Detection, Healthy, Task, Verification, ten_fold_accuracy
from facelesion.tasks.identification import nearest
from facelesion.tasks.readouts import Prototypes, fit_linear_readout
from facelesion.tasks.scores import area_under_curve, yes_no_scores
from facelesion.tasks.task import Groups, Trials, against_others, forced_choice, margin
from facelesion.tasks.verification import best_threshold

PEOPLE, PICTURES, SIZE = 8, 4, 16


@pytest.fixture
def population() -> tuple[torch.Tensor, list[str]]:
    """Representations of eight people, four pictures each: a person's pictures lie close together."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(PEOPLE, 1, SIZE, generator=generator)
    pictures = centres + 0.1 * torch.randn(PEOPLE, PICTURES, SIZE, generator=generator)
    return pictures.reshape(-1, SIZE), [f"p{i}" for i in range(PEOPLE) for _ in range(PICTURES)]


class TestTasks(TaskTester):
    rows = TASKS
    # Of the memory test's 72 items each place holds the target 24 times; within a section that need not be so.
    uneven = ("top5_accuracy", "same_view", "novel_views", "noise")
    unreached = ("overlap",)  # of the evidence with where it lay in health, which right answers do not say


# What is no proportion of right answers: areas, effects, likenesses, and where evidence lies.
NO_SHARE = re.compile("auc|d_prime|holistic_effect|whole_advantage|overlap|(rdm|cka).*|" + "|".join(PARTS))


@pytest.mark.parametrize("name", TASKS)
def test_proportions_of_right_answers_are_told_as_per_cent_and_nothing_else_is(name):
    shares = {measure.name: measure.share for measure in fitted(name).task.measures}
    assert shares == {measure: not NO_SHARE.fullmatch(measure) for measure in shares}


@functools.cache
def fitted(name: str) -> Asked:
    return Asked(TASKS[name], small_materials())


# Roles of pictures that a task makes or takes for itself; all others are those of the materials.
OWN_ROLES = {"composite": "composites", "exemplars": "exemplars", "memory": "memory", "parts": "parts"}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_shows_pictures_by_the_role_that_they_have_in_a_study(name):
    materials = small_materials()
    shown = TASKS[name].shows(materials, seed=0)
    if name in OWN_ROLES:
        assert list(shown) == [OWN_ROLES[name]]
    else:
        assert shown and all(pictures is getattr(materials, role) for role, pictures in shown.items())


def test_a_task_says_how_many_pictures_it_looks_into_the_network_with():
    materials = small_materials()
    looked = {"attention": len(set(materials.probes.labels)), "representation": len(materials.probes)}
    assert {name: task.looked_at(materials) for name, task in TASKS.items()} == dict.fromkeys(TASKS, 0) | looked


def test_a_task_of_ones_own_that_shows_nothing_is_told_so():
    class Dreaming(Task):
        name, question = "dreaming", "What is there with the eyes closed?"

    with pytest.raises(Error, match="^task dreaming: it does not say which pictures it shows$"):
        Dreaming.shows(small_materials(), seed=0)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.ask is not Task.ask])
def test_a_task_that_looks_into_the_network_says_so_where_it_cannot(name):
    with pytest.raises(Error, match=f"^task {name} looks into the network"):
        fitted(name).task.answer(torch.zeros(1, 1))
    blind = Healthy(small_materials(), torch.nn.Identity(), coarse_pixels, lambda role: torch.arange(1), 0, None)
    with pytest.raises(Error, match=f"^task {name} looks into the network"):
        TASKS[name].fit(blind)


class Reads(torch.nn.Module):
    """A readout of identity with a matrix of its own."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, representation: torch.Tensor) -> torch.Tensor:
        return representation @ self.weight


@pytest.mark.parametrize("lies", [Elsewhere, torch.Tensor.half])
def test_what_reads_identity_comes_to_main_memory_and_the_network_s_own_stays_where_it_is(lies):
    weight = torch.rand(3, 2)
    identity = Reads(lies(weight))
    own = identity.weight

    def represent(pictures):
        return Elsewhere(torch.ones(len(pictures), 3, dtype=own.dtype))

    healthy = Healthy(small_materials(), identity, represent, lambda role: torch.arange(1))
    found = healthy.embedding(small_materials().probes)
    assert found.device.type == "cpu" and found.dtype == torch.float32 and identity.weight is own
    assert torch.allclose(found[0], weight.sum(0), atol=1e-2)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.confusion is not Task.confusion])
def test_what_is_confused_is_counted_trial_by_trial(name):
    asked = fitted(name)
    generator = torch.Generator().manual_seed(3)
    noisy = asked.representation + torch.randn(asked.representation.shape, generator=generator)
    for seen in (noisy, torch.zeros_like(noisy)):
        answers = asked.answers(seen)
        names, cells = asked.task.confusion(answers)
        said = [asked.task.alternatives[number] for number in answers.answer.tolist()]
        pairs = list(zip(asked.task.trials.target, said, strict=True))
        assert cells.tolist() == [[pairs.count((shown, named)) for named in names] for shown in names]
        assert 0 < int(cells.trace()) == int(answers.right.sum()) < len(pairs)


@pytest.mark.parametrize(
    ("name", "one", "other", "more"),
    [
        ("composite", "aligned", "misaligned", {"accuracy": 0.5, "holistic_effect": -1.0}),
        ("parts", "whole", "part", {"accuracy": 0.5, "whole_advantage": 1.0}),
    ],
)
def test_what_is_told_of_a_section_hangs_on_its_trials_alone(name, one, other, more):
    task = fitted(name).task
    sections = [section.partition(",")[0] for section in task.trials.section]
    assert set(sections) == {one, other} and sections.count(one) == sections.count(other)
    within = torch.tensor([section == one for section in sections])
    for right, sign in ((within, 1), (~within, -1)):
        answers = Answers((~right).long(), right.double() - 0.5, right, right.double())
        told = {f"accuracy_{one}": float(sign > 0), f"accuracy_{other}": float(sign < 0)}
        turned = {name: value if name == "accuracy" else sign * value for name, value in more.items()}
        assert dict(task.measure(answers)) == pytest.approx(told | turned)


def test_a_pair_of_composites_is_in_the_section_of_its_pictures():
    trials = fitted("composite").task.trials
    assert [f", {section}" in item for item, section in zip(trials.item, trials.section, strict=True)] == [
        section == "misaligned" for section in trials.section
    ]


def test_a_good_representation_names_everybody(population):
    x, labels = population
    memory = Prototypes.learn(x, labels)
    answers = nearest(memory.likeness(x), memory.targets(labels))
    assert answers.right.all() and (answers.forced_choice == 1).all()


def test_one_kind_of_trial_is_refused(population):
    x, labels = population
    everything = torch.ones(len(x), dtype=torch.bool)
    trials = Trials(tuple(labels), tuple(labels), tuple(labels))
    with pytest.raises(Error, match="one kind alone"):
        Detection(fit_linear_readout(x, labels), torch.arange(len(x)), everything, trials)
    with pytest.raises(Error, match="one kind alone"):
        Verification(torch.nn.Identity(), 0.5, torch.arange(4), torch.arange(4), everything[:4], trials)


def test_trials_say_as_much_of_each_as_of_the_others():
    two = {"item": ("a", "b"), "person": ("x", "y"), "target": ("x", "y")}
    assert Trials(**two).other == Trials(**two).section == ("", "")
    nothing = dict.fromkeys(two, ())
    for wrong in (two | {"person": ("x",)}, two | {"target": ()}, two | {"section": ("one",)}, nothing):
        with pytest.raises(Error, match="need an item, a person, a target each"):
            Trials(**wrong)


def test_a_probe_who_was_never_enrolled_is_named(population):
    x, labels = population
    with pytest.raises(Error, match="'stranger' is probed"):
        Prototypes.learn(x, labels).targets(["stranger"])


def test_groups_weigh_alike_however_many_trials_they_have():
    assert Groups.of(["a", "a", "a", "b"]).mean(torch.tensor([1.0, 1, 1, 0])) == 0.5


def test_forced_choice_counts_the_alternatives_that_the_target_beats():
    scores = torch.tensor([[3.0, 2, 1, 0], [0.0, 2, 1, 0]])
    assert forced_choice(scores, torch.tensor([1, 0])).tolist() == pytest.approx([2 / 3, 1 / 6])
    assert margin(scores, torch.tensor([0, 3])).tolist() == [1.0, -2.0]


def test_forced_choice_of_yes_and_no_averages_to_the_area_under_the_curve():
    generator = torch.Generator().manual_seed(2)
    evidence = torch.randint(0, 5, (50,), generator=generator).float()
    positive = torch.rand(50, generator=generator) > 0.4
    shares = against_others(evidence, positive)
    area = area_under_curve(evidence, positive)
    assert float(shares[positive].mean()) == pytest.approx(area)
    assert float(shares[~positive].mean()) == pytest.approx(area)


def test_answers_of_memory_learned_before_the_damage_do_not_move_with_what_is_learned_under_it():
    tester = Asked(TASKS["memory"], small_materials())
    healthy = tester.task.answer(tester.representation)
    damaged = tester.task.answer(tester.representation.flip(1))
    half = len(healthy.right) // 2
    # The second half learns under the damage: a change that keeps all likenesses leaves it as it was.
    assert torch.equal(healthy.answer[half:], damaged.answer[half:])
    assert not torch.equal(healthy.answer[:half], damaged.answer[:half])


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


def test_sensitivity_is_finite_and_one_trial_is_shared_out_by_the_kinds_numbers():
    truth = torch.tensor([True, True, True, False])
    # Hits 3.75 of 4.5 and false alarms 0.25 of 1.5, whose normal quantiles lie 0.9674 to either side of 0.
    assert yes_no_scores(truth, truth)["d_prime"] == pytest.approx(2 * 0.9674, abs=1e-4)
    for constant in (True, False):
        assert yes_no_scores(torch.full((4,), constant), truth)["d_prime"] == pytest.approx(0, abs=1e-12)


def test_sensitivity_is_the_difference_of_the_normal_quantiles():
    answers = torch.tensor([True] * 80 + [False] * 20 + [True] * 10 + [False] * 90)
    truth = torch.arange(200) < 100
    scores = yes_no_scores(answers, truth)
    assert scores["hit_rate"] == 0.8 and scores["false_alarm_rate"] == 0.1
    assert scores["accuracy"] == pytest.approx(0.85)
    # Φ⁻¹(80.5/101) - Φ⁻¹(10.5/101), from a table of the normal distribution
    assert scores["d_prime"] == pytest.approx(0.8292 + 1.2591, abs=0.01)
    assert np.isfinite(list(scores.values())).all()
