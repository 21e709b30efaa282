"""Whom a network saw while it was trained, as its file says it, and whether anybody who is tested is among them.

A test on people whose photographs trained the network says what it remembers of them, not what it can do. Weights that
this project makes carry two notes for this: `trained_on`, in words, and `people`, the names of those whose pictures
its layers learned from in later trainings.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from facelesion.data.lfw import LFW
from facelesion.errors import Error

# What `trained_on` may say, part by part; whatever else it says names nobody.
_LFW_TRAINING = "LFW View 1 training people"
_FACE_SPACE = ("the built-in face space", "the face space")
# Those of them whom the file's `people` and `validation_people` name, and no others.
NAMED_TRAINING = "named LFW View 1 training people"
_NOBODY = ("objects", "Caltech-101", "nothing")
# Its authors took out everybody who is in LFW (Parkhi et al. 2015); nobody in it is made up.
_VGG_FACE = "VGG Face data set"
# The face space's people that taught the built-in networks were drawn with seeds from here on, one per network.
TEACHING_SEEDS = 7_000_001
_NETWORKS = 1_000_000
_MADE_UP = re.compile(r"person-(\d+)-\d+")


@dataclass(frozen=True)
class Seen:
    """Who among the people to be tested trained a network.

    Attributes:
        people: their names, sorted.
        complete: whether the file says of everything that trained the network whom it showed. Where it does not, there
            may be more.

    As text it is a result's column: a number, "at least" a number, or "unknown".
    """

    people: tuple[str, ...]
    complete: bool

    def __str__(self) -> str:
        if self.complete:
            return str(len(self.people))
        return f"at least {len(self.people)}" if self.people else "unknown"


def people_seen(about: Mapping[str, Any], people: Collection[str], lfw: LFW | None = None) -> Seen:
    """Those among `people` whose pictures trained a network.

    Args:
        about: the note of the network's file (`Subject.about`).
        people: the names of those who are to be tested, as `FaceSet.labels` has them.
        lfw: where the photographs are from LFW: its lists say who "View 1 training people" are.

    Raises:
        Error: the network saw LFW's training people, and their list is not there.

    Example:
        >>> note = {"trained_on": "the built-in face space, objects", "people": ["person-5-0"]}
        >>> people_seen(note, ["person-5-0", "person-5-1", "person-7000001-3"]).people
        ('person-5-0', 'person-7000001-3')
        >>> str(people_seen(note, ["person-1-0"])), str(people_seen({}, ["person-1-0"]))
        ('0', 'unknown')
    """
    named = {*about.get("people", ()), *about.get("validation_people", ()), *about.get("names", ())}
    found = {person for person in people if person in named}
    said = [part.strip() for part in re.split(r"[,;]", str(about.get("trained_on", ""))) if part.strip()]
    complete = bool(said)
    made_up = {person for person in people if _MADE_UP.fullmatch(person)}
    for part in said:
        if part == _LFW_TRAINING:
            # Made-up people are in no photograph, so the list is needed for the others only.
            if others := set(people) - made_up:
                complete = complete and lfw is not None
                found |= others & set(lfw.people("train")) if lfw is not None else set()
        elif part == NAMED_TRAINING:
            complete = complete and bool(about.get("people"))
        elif part in _FACE_SPACE:
            found |= {person for person in made_up if _taught(person)}
        elif part.startswith(_VGG_FACE):
            break  # the rest is its number of people and its source
        elif part not in _NOBODY and not part.startswith(("taught by ", "then ")):
            complete = False
    return Seen(tuple(sorted(found)), complete)


def refuse_seen(
    network: str, about: Mapping[str, Any], people: Collection[str], lfw: LFW | None = None
) -> None:
    """Raise if a network saw any of these people while it was trained.

    Args:
        network: what the error calls it.
        about, people, lfw: as for `people_seen`.

    Raises:
        Error: it saw some of them; or LFW's list of training people is needed and not there.

    Example:
        >>> refuse_seen("mine", {"people": ["Ada"]}, ["Bo"])
        >>> refuse_seen("mine", {"people": ["Ada"]}, ["Ada", "Bo"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.errors.Error: mine was trained on pictures of 1 of the 2 people to be tested ...
    """
    seen = people_seen(about, people, lfw).people
    if seen:
        raise Error(
            f"{network} was trained on pictures of {len(seen)} of the {len(set(people))} people to be tested "
            f"(such as {seen[0]}): test others, or take a network that saw none of them"
        )


def _taught(person: str) -> bool:
    found = _MADE_UP.fullmatch(person)
    return found is not None and 0 <= int(found[1]) - TEACHING_SEEDS < _NETWORKS
