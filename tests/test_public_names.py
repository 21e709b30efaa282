"""What the package and its rooms promise by name: all of it is there, and nothing heavy comes with it unasked."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import facelesion

ROOT = Path(__file__).resolve().parents[1]
ROOMS = sorted(each.name for each in pkgutil.iter_modules(facelesion.__path__, "facelesion.") if each.ispkg)
OPEN = ["facelesion", *(room for room in ROOMS if hasattr(importlib.import_module(room), "__all__"))]
HEAVY = ("torch", "numpy", "pandas", "pyarrow", "mediapipe", "dlib", "cv2", "captum", "pytorch_lightning", "matplotlib")
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
EXAMPLES = sorted(ROOT.glob("examples/*.py"))


def loaded_by(code: str) -> set[str]:
    """Which of the heavy packages a fresh Python has loaded after this code."""
    code += f"\nimport sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(answer.stdout.split())


@pytest.mark.parametrize("room", OPEN)
def test_every_public_name_is_there(room):
    module = importlib.import_module(room)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None, name
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("room", OPEN)
def test_no_public_name_is_a_module_s_too(room):
    """`from room import name` would give one or the other, by what was imported before."""
    module = importlib.import_module(room)
    modules = {each.name for each in pkgutil.iter_modules(module.__path__)}
    assert not modules & set(module.__all__) - {"functional", "sweep"}  # a module on purpose; a room that can be called


@pytest.mark.parametrize("first", ["from facelesion.sweep import unit_sweep", "import facelesion"])
def test_sweep_sweeps_whatever_was_imported_first(first):
    code = f"""{first}
import torch, facelesion, facelesion.sweep as room
from facelesion import Ablate, sweep
from facelesion.sweep import sweep as function
model, lesions, images = torch.nn.Linear(3, 4), {{"a": Ablate(".", units=[0])}}, torch.rand(2, 3)
answers = [each(model, lesions, images)["a"] for each in (sweep, room, facelesion.sweep, function)]
assert all(torch.equal(each, answers[0]) for each in answers)"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("room", OPEN)
def test_what_is_fetched_when_asked_for_is_what_type_checkers_are_told(room):
    """A lazy package says its names three times: to Python, to type checkers, and in `__all__`."""
    source = (ROOT / room.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    if "lazily(" not in source:
        return
    told, homes = {}, {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            told = {
                name.name: importlib.util.resolve_name("." * each.level + each.module, room)
                for each in node.body
                for name in each.names
            }
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazily":
            homes = {name: f"{room}.{home}" for home, names in ast.literal_eval(node.args[1]).items() for name in names}
    module = importlib.import_module(room)
    assert set(told) == set(homes) <= set(module.__all__)
    for name, place in told.items():
        found = getattr(module, name)
        found = found.sweep if f"{room}.{name}" == "facelesion.sweep" else found  # the room, which is called as it is
        assert getattr(importlib.import_module(place), name) is found


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import facelesion") == set()
    assert loaded_by("from facelesion import Error") == set()
    assert loaded_by("import facelesion.weights.registry, facelesion.weights.fetching") == set()


def test_the_lesion_library_needs_torch_and_nothing_else():
    assert loaded_by("from facelesion import Ablate, lesioned, calibrate") <= {"torch", "numpy"}


def test_a_room_s_names_load_what_they_need_and_no_more():
    assert not loaded_by("from facelesion.data import LeftOut, list_folder") & {"torch", "cv2", "pandas"}
    unasked = {"pandas", "mediapipe", "captum", "matplotlib", "pytorch_lightning"}
    assert not loaded_by("from facelesion import get, Stimulus, sweep") & unasked


def imports(code: str) -> list[tuple[str, str]]:
    """Module and name of every import from the package."""
    found = []
    for line in re.findall(r"^\s*(?:>>> )?from (facelesion[\w.]*) import \(?([^)\n#]+)", code, re.M):
        found += [(line[0], name.strip()) for name in line[1].split(",") if name.strip()]
    return found


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=lambda page: page.name)
def test_pages_and_examples_import_public_names_of_rooms(page):
    for room, name in imports(page.read_text(encoding="utf-8")):
        assert room.count(".") <= 1, f"{page.name} imports from inside a room: {room}"
        module = importlib.import_module(room)
        assert name == "*" or name in getattr(module, "__all__", vars(module)), f"{page.name}: {room} has no {name}"


def test_what_most_programs_need_stands_at_the_top():
    kinds = {"Ablate", "Clamp", "Dropout", "Keep", "Noise", "Prune", "Scale", "Shift"}
    actions = {"calibrate", "get", "lesioned", "run_study", "sites", "sweep", "unit_sweep"}
    values = {"Calibration", "Error", "Lesion", "Series", "Stimulus", "Study", "Subject"}
    assert set(facelesion.__all__) == kinds | actions | values
    assert callable(facelesion.sweep) and callable(facelesion.get)
