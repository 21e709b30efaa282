"""Individuals are drawn by kind, and telling them apart is what lowers the loss."""

import math

import pytest
import torch

from facelesion.errors import Error
from facelesion.training.distillation import scaled
from facelesion.training.individuals import Individuals, Pictures, contrast, photograph_views
from facelesion.training.participant_learner import told_apart
from facelesion.training.reached import named_by_likeness


def pictures(count: int, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def embeddings(count: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(0)))


def test_the_loss_is_that_of_the_formula_picture_by_picture() -> None:
    values, which = embeddings(7), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    losses = []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        same = [j for j in others if which[j] == which[i]]
        whole = sum(math.exp(float(values[i] @ values[j]) / 0.2) for j in others)
        if same:
            terms = [-math.log(math.exp(float(values[i] @ values[j]) / 0.2) / whole) for j in same]
            losses.append(sum(terms) / len(terms))
    assert float(contrast(values, which, 0.2)) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_the_loss_falls_as_individuals_come_apart_and_has_a_gradient_everywhere() -> None:
    which = torch.arange(3).repeat_interleave(3)
    apart = torch.eye(8)[which]
    assert float(contrast(apart, which, 0.1)) < float(contrast(embeddings(9), which, 0.1)) - 1
    values = embeddings(9).requires_grad_()
    contrast(values, which, 0.1).backward()
    assert bool((values.grad.abs().sum(1) > 0).all()) and bool(values.grad.isfinite().all())
    assert float(contrast(apart, torch.arange(9), 0.1)) == 0


def several() -> Individuals:
    names = [f"{kind}{i}" for kind in ("cup", "car") for i in range(5) for _ in range(4)]
    return Individuals(Pictures.of(pictures(40)), names, [name[:3] for name in names])


def test_a_lesson_shows_several_pictures_of_several_individuals_of_one_kind() -> None:
    things = several()
    kinds = set()
    for seed in range(20):
        rows = things.draw(torch.Generator().manual_seed(seed), 3, 2)
        which = things.which[rows].reshape(3, 2)
        assert len(rows.unique()) == 6 and bool((which[:, 0] == which[:, 1]).all())
        assert len(which[:, 0].unique()) == 3
        (kind,) = {things.kinds[row] for row in rows}
        kinds.add(kind)
    assert kinds == {"cup", "car"}
    again = [things.draw(torch.Generator().manual_seed(7), 3, 2) for _ in range(2)]
    assert torch.equal(*again)


def test_kinds_come_as_often_as_they_are_asked_for() -> None:
    names = [f"{kind}{i}" for kind in ("cup", "car") for i in range(3)]
    kinds = [name[:3] for name in names]
    things = Individuals(Pictures.of(pictures(6)), names, kinds, {"cup": 3.0, "car": 1.0})
    generator = torch.Generator().manual_seed(0)
    drawn = [things.kinds[int(things.draw(generator, 2, 1)[0])] for _ in range(400)]
    assert 0.68 < drawn.count("cup") / 400 < 0.82


def test_one_alone_cannot_be_told_apart_and_nothing_is_of_two_kinds() -> None:
    with pytest.raises(Error, match="one car alone"):
        Individuals(Pictures.of(pictures(3)), ("a", "b", "c"), ("cup", "cup", "car"))
    with pytest.raises(Error, match="is a cup and a car"):
        Individuals(Pictures.of(pictures(3)), ("a", "b", "a"), ("cup", "cup", "car"))


def test_pictures_of_several_places_are_one_row() -> None:
    first, second = pictures(5), pictures(4)
    row = Pictures((first, torch.tensor([4, 0, 2])), (second, torch.tensor([1, 3])))
    expected = torch.cat([first[[4, 0, 2]], second[[1, 3]]])
    assert len(row) == 5 and torch.equal(row[torch.arange(5)], expected)
    assert torch.equal(row[torch.tensor([4, 0, 4])], expected[[4, 0, 4]])
    small = row.scaled(8)
    assert small.size == 8 and torch.equal(small[torch.arange(5)], scaled(expected, 8))
    assert row.scaled(16) is row


def test_views_of_a_photograph_are_parts_of_it_and_follow_one_another() -> None:
    flat = torch.tensor([0, 100, 250], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 16, 16)
    views = photograph_views(flat.contiguous(), 4, seed=1)
    assert torch.equal(views[:, 0, 0, 0], torch.tensor([0, 100, 250], dtype=torch.uint8).repeat_interleave(4))
    shown = photograph_views(pictures(2), 3, seed=1)
    assert len(shown.flatten(1).unique(dim=0)) == 6
    assert torch.equal(shown, photograph_views(pictures(2), 3, seed=1))


def test_naming_by_likeness_is_that_of_a_loop() -> None:
    values = torch.randn(12, 4, generator=torch.Generator().manual_seed(3))
    names = [f"n{i}" for i in range(4) for _ in range(3)]
    unit = torch.nn.functional.normalize(values)
    prototypes = {f"n{i}": unit[3 * i : 3 * i + 2].sum(0) for i in range(4)}
    right = 0
    for i in range(4):
        likeness = {name: float(unit[3 * i + 2] @ mean / mean.norm()) for name, mean in prototypes.items()}
        right += max(likeness, key=likeness.get) == f"n{i}"
    assert named_by_likeness(values, names, enrolled=2) == right / 4
    with pytest.raises(Error, match="one more is needed"):
        named_by_likeness(values, names, enrolled=3)


def test_alternatives_are_those_of_the_same_kind() -> None:
    # A cup that looks like a car is still found among the cups.
    values = torch.tensor(
        [[1.0, 0.0], [0.1, 1.0], [-1.0, 0.1], [-1.0, -0.1], [0.0, 1.0], [0.0, 1.0], [0.0, -1.0], [0.0, -1.0]]
    )
    names = ["cup0", "cup0", "cup1", "cup1", "car0", "car0", "car1", "car1"]
    kinds = [name[:3] for name in names]
    assert told_apart(values, names, kinds, enrolled=1) == 1.0
    assert named_by_likeness(values, names, enrolled=1) < 1.0
