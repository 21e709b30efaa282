"""Stimuli are written, read, and refused in one line where they cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from facelesion.errors import Error
from facelesion.faces.stimuli import (
    Blur,
    Chain,
    ControlMask,
    Invert,
    Isolate,
    Mask,
    PartSwap,
    Stimulus,
)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "maskk", "region": "eyes"}, "did you mean 'mask'"),
        ({"kind": "mask", "region": "eyes", "colour": 1}, "has no 'colour'"),
        ({"kind": "mask"}, "region"),
        ({"region": "eyes"}, "needs a 'kind'"),
        ({"kind": "mask", "region": "ears"}, "no region 'ears'"),
        ({"kind": "mask", "region": "eyes", "fill": "green"}, "no fill 'green'"),
        ({"kind": "blur", "region": "eyes", "sigma": -1}, "sigma -1"),
        ({"kind": "mask", "region": "eyes", "scale": [1, 0]}, "two positive factors"),
        ({"kind": "blur", "region": "eyes", "scale": 2}, "blur: scale 2 must be two positive factors"),
        ({"kind": "tile scramble", "tiles": 1}, "tiles 1"),
        ({"kind": "contrast", "by": "much"}, "by 'much'"),
        ("mask", "needs a region"),
        ("squeeze eyes", "no stimulus 'squeeze eyes'"),
        (7, "needs a 'kind'"),
    ],
)
def test_a_wrong_description_is_one_clear_line(values: object, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        Stimulus.from_dict(values)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [Mask, Blur, Isolate, ControlMask, PartSwap])
@pytest.mark.parametrize("scale", [1.5, "1.5", [1.0, 2.0], (1.0,), (1.0, float("inf")), (1.0, "2")])
def test_a_scale_that_is_no_pair_of_factors_is_refused_when_made(kind: type, scale: object) -> None:
    with pytest.raises(
        Error, match=r"scale .* must be two positive factors, \(width, height\)"
    ) as caught:
        kind("eyes", scale=scale)
    assert "\n" not in str(caught.value)


def test_wrong_pictures_are_one_clear_line(pictures: torch.Tensor, faces: torch.Tensor) -> None:
    for images, landmarks, message in [
        (pictures[0], faces, r"\(N, 3, H, W\)"),
        ((pictures * 255).byte(), faces, "divide by 255"),
        (pictures, faces[:3], "do not match"),
    ]:
        with pytest.raises(Error, match=message):
            Mask("eyes")(images, landmarks)
    with pytest.raises(Error, match="one number each"):
        Mask("eyes")(pictures, faces, ids=torch.arange(3))


def told(values):
    with pytest.raises(Error) as caught:
        Stimulus.from_dict(values)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


NESTED: dict[str, object] = {"kind": "chain", "parts": []}
NESTED["parts"] = [NESTED, NESTED]
LAUGHS: object = "invert"
for _ in range(9):
    LAUGHS = {"kind": "chain", "parts": [LAUGHS] * 9}


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"kind": "chain", "parts": 3}, "must be a list of stimuli"),
        ({"kind": "chain", "parts": "mask eyes"}, "must be a list of stimuli"),
        ({"kind": "chain", "parts": None}, "must be a list of stimuli"),
        ({"kind": "chain", "parts": {"kind": "invert"}}, "must be a list of stimuli"),
        ({"kind": "chain", "parts": []}, "one or more"),
        ({"kind": "chain", "parts": [3]}, "needs a 'kind'"),
        ({"kind": "chain", "parts": [None, "invert"]}, "needs a 'kind'"),
        ({"kind": "chain"}, "needs 'parts'"),
        (NESTED, "deep"),
        (LAUGHS, "more than"),
        ({"kind": "chain", "parts": ["invert"] * 1000}, "more than"),
        ("invert + " * 1000 + "invert", "more than"),
        ({"kind": ["mask"], "region": "eyes"}, "is a name, not"),
        ({"kind": None}, "is a name, not"),
        ({"kind": {"mask": "eyes"}}, "is a name, not"),
        ({"kind": 3}, "is a name, not"),
        ({"kind": "mask"}, "needs 'region'"),
        ({"kind": "mask", "region": None}, "must be a region's name"),
        ({"kind": "mask", "region": ["eyes"]}, "must be a region's name"),
        ({"kind": "mask", "region": {"a": 1}}, "must be a region's name"),
        ({"kind": "mask", "region": 3}, "must be a region's name"),
        ({"kind": "mask", "region": "eyes", 3: 4}, "has no 3"),
        ({"kind": "mask", "region": "eyes", None: 4}, "has no None"),
        ({"kind": "invert", "region": "eyes"}, "has no 'region'"),
        ("noise eyes", "takes no region"),
        ("chain", "needs parts"),
        (None, "needs a 'kind'"),
        ([], "needs a 'kind'"),
        (3.5, "needs a 'kind'"),
        ("", "no stimulus"),
        ("x" * 100_000, "no stimulus"),
    ],
)
def test_values_that_are_no_stimulus_say_so_in_one_line(values, word):
    assert word in told(values)


NAN, INF = float("nan"), float("inf")
SETTINGS = {
    "mask": {"region": "eyes", "fill": "noise", "shape": "box", "scale": [1.2, 1.5], "seed": 3},
    "blur": {"region": "eyes", "sigma": 8.0, "shape": "box", "scale": [1.2, 1.5]},
    "isolate": {
        "region": "eyes", "sigma": 3.5, "shape": "upright", "scale": [1.5, 1.5], "fill": "blur", "seed": 0,
    },
    "control": {"region": "eyes", "fill": "mean", "shape": "box", "scale": [1.2, 1.5], "seed": 3},
    "phase scramble": {"seed": 3},
    "tile scramble": {"tiles": 8, "seed": 3},
    "contrast": {"by": 0.5},
    "noise": {"std": 0.1, "seed": 3},
    "composite": {"misalign": 0.5},
    "swap": {"region": "nose", "shape": "box", "scale": [1.2, 1.5], "feather": 1.0},
    "painted": {"where": ["010", "111"], "fill": "noise", "seed": 3},
}
WRONG = {
    "seed": [-1, 10**30, 1.5, True, None, "3", INF, NAN, [3], {"a": 1}],
    "fill": [None, 3, ["black"], "Black", {}, True, "\0"],
    "shape": [None, 3, ["box"], "round", {}],
    "scale": [3, "1.2", [1.2], [1, 2, 3], [1, "2"], [0, 1], [-1, 1], [NAN, 1], [1, INF], [1, 1e308], [[1], 1],
              [True, 1], [10**400, 1], {"width": 1}],
    "sigma": [0, -1, NAN, INF, 1e308, 10**400, None, "8", [8], True],
    "tiles": [0, 1, -8, 8.0, "8", None, True, 10**30, NAN],
    "by": [-1, NAN, INF, 1e308, None, "half", [1], True, 10**400],
    "std": [-0.1, NAN, INF, 1e308, None, "much", [1], True],
    "misalign": [NAN, INF, -INF, 1e308, None, "left", [1], True],
    "where": [None, 3, "010", [], [3], ["0a"], ["01", "011"], [""], ["1" * 1000], {}, [["0", "1"]]],
    "feather": [-1, NAN, INF, 1e308, None, "soft", [1], True],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind in SETTINGS for key in SETTINGS[kind] if key in WRONG]
)
def test_a_setting_of_another_kind_or_range_is_refused_by_name(kind, key):
    good = {"kind": kind, **SETTINGS[kind]}
    assert Stimulus.from_dict(good).to_dict() == good
    for value in WRONG[key]:
        assert key in told({**good, key: value}), value


def test_every_setting_of_every_stimulus_is_among_these():
    from dataclasses import fields

    from facelesion.faces.stimuli import KINDS

    for kind, cls in KINDS.items():
        if kind not in ("chain", "intact", "invert", "greyscale"):
            assert {field.name for field in fields(cls)} == set(SETTINGS[kind])


def test_a_chain_made_by_hand_is_of_stimuli():
    for parts in ((), (1, 2), [Invert()], None, ("invert",)):
        with pytest.raises(Error, match="one or more stimuli"):
            Chain(parts)


@pytest.mark.parametrize("factor", [255.0, -1.0, float("nan"), float("inf")])
def test_pictures_of_another_range_are_refused(faces, pictures, factor):
    with pytest.raises(Error, match="divide by 255"):
        Mask("eyes")(pictures * factor, faces)


def test_a_stimulus_of_somebody_else_s_that_needs_a_setting_says_so_by_its_short_name_too(monkeypatch):
    from facelesion.faces import stimulus

    monkeypatch.setattr(stimulus, "KINDS", dict(stimulus.KINDS))

    @dataclass(frozen=True)
    class Shaken(Stimulus):
        by: float
        kind: ClassVar[str] = "shaken"

    for written in ("shaken", {"kind": "shaken"}, "invert + shaken"):
        with pytest.raises(Error, match="'shaken' needs 'by', and it is not given"):
            Stimulus.from_dict(written)
    assert Stimulus.from_dict({"kind": "shaken", "by": 2.0}) == Shaken(2.0)
