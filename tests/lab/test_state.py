"""The page as a value."""

from __future__ import annotations

import json

import pytest

from facelesion.errors import Error
from facelesion.lab.known import known_network
from facelesion.lab.state import MOST_LESIONS, Damage, Picture, State

FULL = State(
    network="untrained",
    picture=Picture(person=3, likeness=0.5, caricature=1.5, looks=(("smile", 1.0), ("bright", -1))),
    stimulus="mask eyes + invert", painted=("010", "000"), second="other", site="conv4_3", map_of="identity",
    damage=(
        Damage(kind="Noise", dose=1.5, units="all", options=(("relative", True),)),
        Damage(site="conv5_*", units="faces", dose=0.2, seed=4), Damage(units="picked", picked=(7, 3)),
    ),
)  # fmt: skip


THING = State(picture=Picture(source="thing", thing="cup"))


@pytest.mark.parametrize("state", [State(), FULL, State(damage=()), THING])
def test_a_state_goes_through_json_and_through_a_link(state):
    assert State.from_dict(json.loads(json.dumps(state.to_dict()))) == state
    assert State.from_link(state.to_link()) == state


def test_a_link_is_made_of_letters_that_need_no_care():
    assert set(FULL.to_link()) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def test_a_photograph_is_in_no_link():
    photograph = Picture(source="photograph", pixels="iVBOR" * 100)
    state = State(picture=photograph, photograph=photograph, second="photograph", stimulus="mask eyes")
    assert "iVBOR" not in json.dumps(State.from_link(state.to_link()).to_dict())
    assert State.from_link(state.to_link()) == State(second="other", stimulus="mask eyes")
    assert "iVBOR" not in repr(state)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "values by name"), ({"pictur": {}}, "did you mean 'picture'"), ({"stimulus": "mask eye"}, "eyes"),
        ({"damage": [{"kind": "Explode"}]}, "Ablate"), ({"damage": [{"dose": float("nan")}]}, "dose"),
        ({"damage": [{}] * (MOST_LESIONS + 1)}, "at the most"), ({"damage": [{"picked": [-1]}]}, "picked"),
        ({"damage": [{"options": {"colour": 1}}]}, "Ablate has no 'colour'"), ({"damage": {}}, "list of lesions"),
        ({"picture": {"person": 10**9}}, "person"), ({"picture": {"looks": {"grim": 1}}}, "no look 'grim'"),
        ({"picture": {"source": "/etc/passwd"}}, "take one of"),
        ({"picture": {"source": "photograph"}}, "no photograph"),
        ({"picture": {"points": [1, 2]}}, "478 points"), ({"picture": {"pixels": "x" * 10**6}}, "letters"),
        ({"painted": ["0", "11"]}, "equally long"), ({"network": 3}, "give a name"), ({"second": "twin"}, "lookalike"),
        ({"damage": [{"seed": True}]}, "seed"), ({"picture": {"caricature": "1"}}, "caricature"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_one_line(values, words):
    with pytest.raises(Error) as told:
        State.from_dict(values)
    assert words in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("letters", ["", "!!", "AAAA", "W10", "x" * 5000, "eyJhIjp7fX0="])
def test_a_damaged_link_is_told_so(letters):
    with pytest.raises(Error):
        State.from_link(letters)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "mine.safetensors", "../builtin", "torchvision/resnet50:DEFAULT", "torchvision/regnet_y_128gf", ""],
)
def test_the_page_can_name_no_file_and_nothing_that_must_be_fetched(name):
    with pytest.raises(Error, match="no network"):
        known_network(name)
    assert known_network("mine.safetensors", ("mine.safetensors",))


def test_networks_by_name_can_be_asked_for():
    assert known_network("builtin") and known_network("torchvision/resnet18", ("torchvision/resnet18",))
