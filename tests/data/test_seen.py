"""Whom a network saw in training: what its file says is understood, and nothing is taken for innocent that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from facelesion.data import LFW, open_lfw
from facelesion.data.facespace import FaceSpace
from facelesion.data.seen import TEACHING_SEEDS, people_seen, refuse_seen
from facelesion.errors import Error
from facelesion.models import get


@pytest.fixture
def little(tmp_path: Path) -> LFW:
    """Four people without protocols' other files: two train, two are tested."""
    for person in ("Ann", "Bob", "Cid", "Dee"):
        (tmp_path / "lfw" / person).mkdir(parents=True)
        (tmp_path / "lfw" / person / f"{person}_0001.jpg").touch()
    (tmp_path / "peopleDevTrain.txt").write_text("2\nAnn\t1\nBob\t1\n")
    (tmp_path / "peopleDevTest.txt").write_text("2\nCid\t1\nDee\t1\n")
    return open_lfw(tmp_path / "lfw")


@pytest.mark.parametrize("name", ["builtin", "builtin_seed1", "builtin_seed2"])
def test_the_networks_that_the_project_brings_saw_lfws_training_people_and_no_others(
    name: str, little: LFW
) -> None:
    about = get(name).about
    found = people_seen(about, ["Ann", "Cid", "Bob", "Dee"], little)
    assert found.people == ("Ann", "Bob") and found.complete
    refuse_seen(name, about, ["Cid", "Dee"], little)
    with pytest.raises(Error, match="pictures of 1 of the 2 people to be tested"):
        refuse_seen(name, about, ["Ann", "Cid"], little)


def test_made_up_people_who_taught_a_network_are_known_by_their_seed() -> None:
    labels = FaceSpace.load().draw(1, 1, seed=TEACHING_SEEDS + 1).labels
    assert people_seen(get("builtin_seed1").about, labels).people == labels
    others = FaceSpace.load().draw(2, 1, seed=3).labels
    assert str(people_seen(get("builtin").about, others)) == "0"


def test_without_the_list_of_training_people_nobody_is_called_unseen(little: LFW) -> None:
    assert str(people_seen(get("builtin").about, ["Cid"])) == "unknown"
    assert little.protocols is not None
    (little.protocols / "peopleDevTrain.txt").unlink()
    with pytest.raises(Error, match="peopleDevTrain.txt"):
        people_seen(get("builtin").about, ["Cid"], little)


def test_who_taught_a_network_later_counts_as_well() -> None:
    about = get("builtin").about
    about = about | {
        "people": ["person-7-0"],
        "trained_on": about["trained_on"] + ", then 1 people of the face space",
    }
    found = people_seen(about, ["person-7-0", "person-7-1"])
    assert found.people == ("person-7-0",) and found.complete


def test_a_network_that_learned_from_a_part_of_the_training_people_saw_those_it_names(little: LFW) -> None:
    about = {
        "trained_on": "named LFW View 1 training people, the built-in face space, objects",
        "people": ["Ann"],
        "validation_people": ["Bob"],
    }
    assert people_seen(about, ["Ann", "Cid"], little).people == ("Ann",)
    assert people_seen(about, ["Bob"], little).people == ("Bob",)
    without = people_seen(about | {"validation_people": []}, ["Bob", "Cid", f"person-{TEACHING_SEEDS + 3}-0"])
    assert without.people == (f"person-{TEACHING_SEEDS + 3}-0",) and without.complete
    assert str(people_seen({"trained_on": about["trained_on"]}, ["Cid"], little)) == "unknown"


@pytest.mark.parametrize(
    ("about", "column"),
    [
        ({}, "unknown"),
        ({"trained_on": "MS-Celeb-1M"}, "unknown"),
        ({"trained_on": "objects, MS-Celeb-1M"}, "unknown"),
        ({"trained_on": "MS-Celeb-1M", "people": ["Cid"]}, "at least 1"),
        ({"trained_on": "nothing"}, "0"),
        ({"trained_on": "VGG Face data set, 2,622 people (Parkhi et al. 2015); non-commercial use"}, "0"),
        ({"trained_on": "VGG Face data set, 2,622 people (Parkhi et al. 2015)", "names": ["Dee"]}, "1"),
    ],
)
def test_a_file_that_does_not_say_whom_it_saw_is_not_taken_for_one_that_saw_nobody(
    about: dict[str, object], column: str, little: LFW
) -> None:
    assert str(people_seen(about, ["Cid", "Dee"], little)) == column


def test_every_network_of_the_registry_gives_an_answer(little: LFW) -> None:
    from facelesion.weights.registry import entries

    said = {
        one.name: str(people_seen({"trained_on": one.trained_on}, ["Cid"], little))
        for one in entries().values()
    }
    assert {said[name] for name in said if name.startswith(("builtin", "vgg_face", "facespace"))} == {"0"}
    assert said["mobilefacenet"] == "unknown"
