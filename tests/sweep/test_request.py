"""What is asked of a sweep is one value, from which every part of the room takes what it needs."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest
import torch

import facelesion.sweep
from facelesion.lesions import Ablate, Noise, calibrate
from facelesion.sweep import Options, SweepError
from facelesion.sweep.answers import answered
from facelesion.sweep.request import Request

LESIONS = {"none": None, "a": Ablate("conv4_1", fraction=0.3), "n": Noise("conv5_1", std=0.5, relative=True)}


@pytest.fixture
def request_of(vgg, images):
    calibration = calibrate(vgg, images, ["conv5_1"])

    def made(**values):
        given = {"seed": 2, "calibration": calibration, "options": Options(batch_size=2)} | values
        return Request(vgg, LESIONS, images, **given)

    return made


def test_a_request_that_travelled_is_answered_the_same(request_of):
    request = request_of(ids=[5, 6, 7, 8, 9])
    there = pickle.loads(pickle.dumps(request))
    for name, output in answered(request).items():
        assert torch.equal(output, answered(there)[name])


def test_the_answers_to_some_images_are_those_to_all(request_of, close):
    for request in (request_of(), request_of(ids=[9, 8, 7, 6, 5])):
        whole = answered(request)
        for begin, end in ((0, 2), (2, 4), (4, 6)):
            for name, output in answered(request.some(begin, end)).items():
                close(output, whole[name][begin:end])


def test_a_request_that_makes_no_sense_is_refused_where_it_is_made(vgg, images):
    for values, line in (({"seed": None}, "seed"), ({"ids": [1]}, "ids names 1 images"), ({"readout": 3}, "readout")):
        with pytest.raises(SweepError, match=line):
            Request(vgg, LESIONS, images, **values)
    with pytest.raises(SweepError, match="lesions is empty"):
        Request(vgg, {}, images)


def test_the_room_s_modules_import_one_another_in_one_direction():
    folder = Path(facelesion.sweep.__file__).parent
    imports = {path.stem: _siblings(path) for path in folder.glob("*.py") if path.stem != "__init__"}
    assert imports["engine"] > {"planner", "request", "trace"}  # so they are seen
    left = dict(imports)
    while free := [name for name, wanted in left.items() if not wanted & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"these import one another in a circle, or import those that do: {sorted(left)}"


def _siblings(path: Path) -> set[str]:
    """The room's modules that a module imports, for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("facelesion.sweep"):
            inside = node.module.split(".")[2:3]
            found |= set(inside) if inside else {each.name for each in node.names}
    return found
