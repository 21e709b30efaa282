"""Verification: pairs as trials, the threshold that is fixed in health, and what is answered and told of pairs."""

from __future__ import annotations

import math

import pytest
import torch
from sizes import largest

from facelesion.data.imagesets import ImageSet
from facelesion.errors import Error
from facelesion.tasks import Verification, ten_fold_accuracy
from facelesion.tasks.task import Trials
from facelesion.tasks.verification import best_threshold, pair_cosines, pair_trials, same_or_different

# What six pairs' likeness is, and what is true of them: at 0.5 two of three are known for the same.
COSINES = torch.tensor([0.9, 0.75, 0.25, 0.45, 0.6, -0.2])
SAME = torch.tensor([True, True, True, False, False, False])


def verification(same: torch.Tensor = SAME) -> tuple[Verification, torch.Tensor]:
    """A task of these pairs, each a picture beside the first, and the embedding in which they are so alike."""
    names = tuple("abcdef")
    trials = Trials(item=names, person=names, target=names)
    task = Verification(
        torch.nn.Identity(), 0.5, torch.zeros(6, dtype=torch.int64), torch.arange(1, 7), same, trials
    )
    beside = torch.stack([COSINES, (1 - COSINES**2).sqrt()], 1)
    return task, torch.cat([torch.tensor([[1.0, 0.0]]), 3 * beside])  # length says nothing


def test_what_is_told_is_counted_from_the_answers():
    task, embedding = verification()
    answers = task.answer(embedding)
    assert answers.answer.tolist() == [0, 0, 1, 1, 0, 1] and answers.right.tolist() == [True] * 2 + [False, True] * 2
    assert answers.value.tolist() == pytest.approx([0.4, 0.25, -0.25, 0.05, -0.1, 0.7], abs=1e-6)
    told = task.measure(answers)
    assert told["hit_rate"] == pytest.approx(2 / 3) and told["false_alarm_rate"] == pytest.approx(1 / 3)
    assert told["auc"] == pytest.approx(7 / 9) and told["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("alike", [True, False])
def test_a_likeness_at_the_threshold_is_different_by_the_answers_and_by_the_measures(alike):
    cosines = torch.tensor([0.5, 0.75, 0.25])
    answers = same_or_different(cosines, 0.5, torch.tensor([alike, True, False]))
    assert answers.answer.tolist() == [1, 0, 1] and answers.right.tolist() == [not alike, True, True]


def test_a_pair_at_the_threshold_counts_as_called_different():
    answers = same_or_different(torch.tensor([0.9, 0.75, 0.5, 0.25, 0.5, -0.25]), 0.5, SAME)
    told = verification()[0].measure(answers)
    assert told["hit_rate"] == pytest.approx(2 / 3) and told["false_alarm_rate"] == 0


def test_pairs_are_told_by_both_pictures_and_both_people():
    pictures = ImageSet(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), ("ada", "ada", "bo", "cy"), tuple("1234"))
    first, second = torch.tensor([0, 2, 1]), torch.tensor([1, 0, 3])
    trials = pair_trials(pictures, first, second, torch.tensor([True, False, False]), section=("x", "y", "z"))
    assert trials.item == ("1 | 2", "3 | 1", "2 | 4") and trials.target == ("same", "different", "different")
    assert trials.person == ("ada", "bo", "ada") and trials.other == ("ada", "ada", "cy")
    assert trials.section == ("x", "y", "z")


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_of_pairs_alone_is_refused(kind):
    said = "^verification needs pairs of both kinds: with one kind alone any answer is right$"
    with pytest.raises(Error, match=said):
        verification(same=torch.full((6,), kind))


@pytest.mark.parametrize("seed", range(40))
def test_the_threshold_is_the_best_of_all_that_could_be_tried(seed):
    """Few same pairs among many different ones, with ties: every place between two cosines tried by itself."""
    generator = torch.Generator().manual_seed(seed)
    same = torch.arange(24) < (4 if seed % 2 else 20)
    apart = 3.2 if seed % 3 else -3.2
    cosines = (4 * torch.randn(24, generator=generator) + apart * same).round().clamp(-9, 9) / 10

    def gained(threshold: float) -> float:
        yes = cosines > threshold
        return float(yes[same].double().mean() - yes[~same].double().mean())

    values = [1.01, *sorted(set(cosines.tolist()), reverse=True)]
    tried = [(upper + lower) / 2 for upper, lower in zip(values, values[1:], strict=False)]
    found = best_threshold(cosines, same)
    assert min(abs(found - each) for each in tried) < 1e-6
    assert gained(found) == pytest.approx(max(map(gained, tried)))


def test_where_nothing_can_be_gained_everything_is_different():
    assert best_threshold(torch.tensor([0.9, 0.1]), torch.tensor([False, True])) == pytest.approx(0.955)


def test_each_fold_is_tried_with_the_threshold_of_the_others():
    generator = torch.Generator().manual_seed(0)
    folds = torch.tensor([0] * 8 + [1] * 12 + [2] * 6 + [5] * 10)
    same = torch.rand(36, generator=generator) > 0.5
    cosines = torch.randn(36, generator=generator) * 0.2 + 0.15 * same + 0.1 * folds
    shares = []
    for fold in (0, 1, 2, 5):
        threshold = best_threshold(cosines[folds != fold], same[folds != fold])
        rows = [row for row in range(36) if folds[row] == fold]
        shares.append(sum(bool(cosines[row] > threshold) == bool(same[row]) for row in rows) / len(rows))
    mean = sum(shares) / 4
    deviation = math.sqrt(sum((share - mean) ** 2 for share in shares) / 3)
    assert len(set(shares)) > 2
    found = ten_fold_accuracy(cosines, same, folds)
    assert found == pytest.approx((mean, deviation / 2), abs=1e-7)
    assert found[0] == float(torch.tensor(shares, dtype=torch.float32).double().mean())


def test_a_likeness_at_the_threshold_of_the_other_folds_is_different():
    cosines = torch.tensor([0.75, 0.25, 0.5, 0.875])
    same = torch.tensor([True, False, False, True])
    assert ten_fold_accuracy(cosines, same, torch.tensor([0, 0, 1, 1])) == (1.0, 0.0)


@pytest.mark.parametrize("count", [0, 1, 8192, 8193, 50_000])
def test_cosines_are_those_of_each_pair_alone_however_many_there_are(count):
    drawn = torch.Generator().manual_seed(0)
    embedding = torch.randn(400, 16, generator=drawn)
    first, second = torch.randint(0, 400, (2, count), generator=drawn)
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    assert torch.allclose(pair_cosines(embedding, first, second), (unit @ unit.T)[first, second], atol=1e-6)


def test_the_vectors_of_many_pairs_do_not_lie_in_memory_at_once():
    embedding, (first, second) = torch.randn(600, 128), torch.randint(0, 600, (2, 200_000))
    assert largest(lambda: pair_cosines(embedding, first, second)) < 200_000 * 128 / 20
