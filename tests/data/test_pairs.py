"""Verification pairs: balanced, distinct, and the same for the same seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facelesion.data import FaceSet, ImageSet
from facelesion.data.pairs import NamedPair, draw_pairs, find_pairs
from facelesion.errors import Error


def people_with(*counts):
    labels = tuple(f"person-{i}" for i, count in enumerate(counts) for _ in range(count))
    names = tuple(f"{label}/{k}" for k, label in enumerate(labels))
    return ImageSet(torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8), labels, names)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=12).filter(lambda counts: max(counts) > 1),
    half=st.integers(1, 8),
    seed=st.integers(0, 5),
)
def test_pairs_are_balanced_distinct_and_true(counts, half, seed):
    pictures = people_with(*counts)
    try:
        pairs = draw_pairs(pictures, 2 * half, seed)
    except Error as error:
        assert "ask for fewer" in str(error)
        return
    assert int(pairs.same.sum()) == half == int((~pairs.same).sum())
    assert (
        len({frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)})
        == 2 * half
    )
    for first, second, same in zip(
        pairs.first.tolist(), pairs.second.tolist(), pairs.same.tolist(), strict=True
    ):
        assert first != second and (pictures.labels[first] == pictures.labels[second]) is same


def test_every_last_pair_can_be_drawn():
    pictures = people_with(3, 2)
    pairs = draw_pairs(pictures, 8)
    assert len(pairs) == 8
    with pytest.raises(Error, match="only 4 same"):
        draw_pairs(pictures, 10)


def test_folds_are_balanced():
    pairs = draw_pairs(people_with(*[4] * 30), 200)
    for fold in range(10):
        assert pairs.same[pairs.fold == fold].float().mean() == 0.5 and (pairs.fold == fold).sum() == 20


def test_one_seed_gives_one_set_of_pairs_and_another_another():
    pictures = people_with(*[4] * 30)
    one, again, other = (draw_pairs(pictures, 100, seed) for seed in (1, 1, 2))
    assert torch.equal(one.first, again.first) and torch.equal(one.second, again.second)
    assert not torch.equal(one.first, other.first)


def test_a_person_with_many_pictures_does_not_fill_the_pairs():
    pictures = people_with(60, *[4] * 20)
    same = draw_pairs(pictures, 100)
    share = (same.first[same.same] < 60).float().mean()
    assert share < 0.25


@pytest.mark.parametrize(
    ("counts", "count", "word"),
    [
        ((1, 1, 1), 2, "nobody has two"),
        ((5,), 2, "only one person"),
        ((2, 2), 3, "even number"),
        ((2, 2), 0, "even"),
    ],
)
def test_pairs_that_cannot_be_made_say_why(counts, count, word):
    with pytest.raises(Error, match=word):
        draw_pairs(people_with(*counts), count)


def test_a_protocols_pairs_are_found_by_name_and_the_missing_ones_are_listed():
    pictures = people_with(2, 2)
    asked = [
        NamedPair(pictures.names[0], pictures.names[1], True, 3),
        NamedPair(pictures.names[3], pictures.names[0], False, 4),
        NamedPair(pictures.names[0], "gone/1", False, 4),
    ]
    pairs, missing = find_pairs(pictures, asked)
    assert pairs.first.tolist() == [0, 3] and pairs.second.tolist() == [1, 0]
    assert pairs.same.tolist() == [True, False] and pairs.fold.tolist() == [3, 4]
    assert missing == (asked[2],)
    with pytest.raises(Error, match="none of 1 pairs"):
        find_pairs(pictures, asked[2:])


def test_pairs_can_be_cut_like_a_set_of_pictures():
    pairs = draw_pairs(people_with(3, 3), 6)
    assert pairs[pairs.same].same.tolist() == [True] * 3 and len(pairs[:2]) == 2


def test_pairs_work_on_faces_with_landmarks():
    pictures = people_with(3, 3)
    faces = FaceSet(pictures.images, pictures.labels, pictures.names, torch.zeros(6, 478, 2))
    assert len(draw_pairs(faces, 4)) == 4
