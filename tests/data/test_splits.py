"""Splits keep people or photographs apart, whatever the order of the pictures."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facelesion.data import ImageSet
from facelesion.data.listing import Listing
from facelesion.data.splits import balanced, gallery, split
from facelesion.errors import Error


def people_with(*counts):
    labels = tuple(f"person-{i}" for i, count in enumerate(counts) for _ in range(count))
    names = tuple(f"{label}/{k}" for k, label in enumerate(labels))
    return ImageSet(torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8), labels, names)


def labels_of(pictures, rows):
    return {pictures.labels[row] for row in rows}


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 6), min_size=3, max_size=30), seed=st.integers(0, 9))
def test_by_person_nobody_is_in_two_parts_and_nothing_is_lost(counts, seed):
    pictures = people_with(*counts)
    parts = split(pictures, by="person", seed=seed).parts
    people = [labels_of(pictures, rows) for rows in parts.values()]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
    assert sorted(row for rows in parts.values() for row in rows) == list(range(len(pictures)))


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(3, 9), min_size=1, max_size=20), seed=st.integers(0, 9))
def test_by_photograph_everybody_is_in_every_part_and_no_photograph_in_two(counts, seed):
    pictures = people_with(*counts)
    parts = split(pictures, by="photograph", seed=seed).parts
    assert sorted(row for rows in parts.values() for row in rows) == list(range(len(pictures)))
    for rows in parts.values():
        assert labels_of(pictures, rows) == set(pictures.labels)


def test_shares_are_kept():
    chosen = split(people_with(*[2] * 1000), {"train": 0.7, "validation": 0.1, "test": 0.2})
    assert dict(chosen.people) == {"train": 700, "validation": 100, "test": 200}


def test_someone_with_two_photographs_trains_and_tests():
    parts = split(people_with(2, 5), by="photograph").parts
    pictures = people_with(2, 5)
    assert "person-0" in labels_of(pictures, parts["train"]) & labels_of(pictures, parts["test"])


def test_the_order_of_the_pictures_does_not_matter():
    pictures = people_with(*[3] * 20)
    turned = pictures[torch.arange(len(pictures)).flip(0)]
    for by in ("person", "photograph"):
        one, other = split(pictures, by=by, seed=4), split(turned, by=by, seed=4)
        assert one.digests == other.digests
        for part in one.parts:
            names = [
                {chosen.names[row] for row in rows}
                for chosen, rows in ((pictures, one[part]), (turned, other[part]))
            ]
            assert names[0] == names[1]


def test_another_seed_gives_another_split():
    pictures = people_with(*[3] * 20)
    assert split(pictures, seed=1).digests != split(pictures, seed=2).digests


def test_a_listing_on_disk_is_split_like_its_pictures(tmp_path):
    pictures = people_with(*[3] * 20)
    listing = Listing(tmp_path, pictures.names, pictures.labels)
    assert split(listing, seed=3) == split(pictures, seed=3)


def test_the_manifest_says_how_and_can_be_written():
    manifest = split(people_with(*[3] * 20), by="person", seed=3).manifest()
    assert manifest["by"] == "person" and manifest["seed"] == 3
    assert manifest["parts"]["train"]["people"] == 14 and len(manifest["parts"]["test"]["digest"]) == 12
    assert json.loads(json.dumps(manifest)) == manifest


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"shares": {"train": 0.5, "test": 0.4}}, "add up to 1"),
        ({"shares": {"train": 1.5, "test": -0.5}}, "above 0"),
        ({"shares": {}}, "add up"),
        ({"by": "moon"}, "'person' or 'photograph'"),
        ({"shares": {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}}, "nothing left for 'd'"),
    ],
)
def test_splits_that_cannot_be_made_say_why(options, word):
    with pytest.raises(Error, match=word):
        split(people_with(2, 2, 2), **options)


def test_an_unknown_part_names_those_there_are():
    with pytest.raises(Error, match="train, validation, test"):
        split(people_with(2, 2, 2))["tests"]


def test_a_gallery_enrols_and_probes_everybody_alike_with_different_pictures():
    pictures = people_with(*[1, 2, 5, 6, 7, 9] * 4)
    chosen = gallery(pictures, people=10, enrolment=3, probes=2, seed=1)
    assert len(chosen.people) == 10 and not set(chosen.enrolment) & set(chosen.probes)
    for rows, each in ((chosen.enrolment, 3), (chosen.probes, 2)):
        labels = [pictures.labels[row] for row in rows]
        assert all(labels.count(person) == each for person in chosen.people) and len(labels) == 10 * each
    assert gallery(pictures, 10, seed=1) == chosen != gallery(pictures, 10, seed=2)


def test_a_gallery_of_too_many_people_says_how_many_there_are():
    with pytest.raises(Error, match="2 have so many"):
        gallery(people_with(1, 5, 5), people=3)
    with pytest.raises(Error, match="at least 2, 1, 1"):
        gallery(people_with(5, 5), people=1)


def test_balancing_cuts_the_longer_set():
    few, many = people_with(3), people_with(10)
    one, other = balanced(few, many, seed=1)
    assert len(one) == len(other) == 3 and one is few
    assert balanced(few, many, seed=1)[1].names == other.names != balanced(few, many, seed=2)[1].names
    with pytest.raises(Error, match="empty"):
        balanced(few, many[[]])
