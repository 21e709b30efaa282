"""The wheels are small and whole, and what they declare is what they need: tried where nothing else is.

A fresh environment would fetch gigabytes. Instead, of the distributions installed beside these tests, it is shown those
that the wheel's requirements lead to, each by links, and no other: pip then finds them installed, in the versions that
the wheel asks for, and installs what is left from the folder of built wheels, without an index.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from facelesion.weights import registry

pytest.importorskip("build", reason="needs the package build: pip install build")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 2**20
OWN = {"facelesion", "facelesion-weights"}


def ran(*words: str | Path, cwd: Path = ROOT) -> str:
    """What a command prints, without this project or another environment in its way."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FACELESION", "PIP_"))}
    kept["PYTHONPYCACHEPREFIX"] = str(cwd / "bytecode")  # through the links, it would lie beside what they lead to
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Both projects, each as source and wheel."""
    folder = tmp_path_factory.mktemp("dist")
    for project in (ROOT, ROOT / "weights"):
        ran(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, project)
    return folder


def wheel(built: Path, name: str) -> Path:
    (found,) = built.glob(f"{name}-*.whl")
    return found


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(requirements: list[str], extras: set[str]) -> dict[str, metadata.Distribution]:
    """The distributions that requirements lead to, from what is installed here."""
    from packaging.requirements import Requirement

    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    left = [(Requirement(each), extra) for each in requirements for extra in {"", *extras}]
    while left:
        needed, extra = left.pop()
        name = plain(needed.name)
        if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
            continue
        if name in OWN:  # an extra that names another
            left += [(Requirement(each), inner) for each in requirements for inner in needed.extras - {extra}]
            continue
        for inner in {"", *needed.extras} - {inner for told, inner in seen if told == name}:
            seen.add((name, inner))
            found[name] = metadata.distribution(name)
            left += [(Requirement(each), inner) for each in found[name].requires or []]
    return found


def environment(folder: Path, built: Path, extra: str = "") -> Path:
    """A fresh environment with the wheel installed; the folder's Python."""
    with zipfile.ZipFile(wheel(built, "facelesion")) as archive:
        (place,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        told = archive.read(place).decode()
    shown = closure(re.findall(r"^Requires-Dist: (.+)$", told, re.M), {extra} if extra else set())
    ran(sys.executable, "-m", "venv", "--without-pip", folder)
    places = {name: sysconfig.get_path(name, "venv", {"base": str(folder)}) for name in ("purelib", "scripts")}
    packages, python = Path(places["purelib"]), Path(places["scripts"], "python")
    hidden = {
        Path(file).parts[0]
        for each in metadata.distributions()
        if plain(each.metadata["Name"]) not in shown
        for file in each.files or []
    }
    for each in shown.values():
        for file in each.files or []:
            # A folder that others put files into too is shown file by file.
            shared = file.parts[0] in hidden
            link = packages.joinpath(*file.parts if shared else file.parts[:1])
            if ".." not in file.parts and "__pycache__" not in file.parts and not os.path.lexists(link):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path(str(each.locate_file(file if shared else file.parts[0]))).resolve())
    pip = (sys.executable, "-m", "pip", "--python", python)
    asked = f"facelesion[{extra}]" if extra else "facelesion"
    ran(*pip, "install", "--quiet", "--no-index", "--find-links", built, asked, cwd=folder)
    assert "No broken requirements" in ran(*pip, "check", cwd=folder)
    return python


def test_the_index_would_take_them(built):
    pytest.importorskip("twine", reason="needs the package twine: pip install twine")
    assert len(list(built.iterdir())) == 4
    ran(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())


def test_the_plain_wheel_is_small_and_the_weights_are_those_of_the_registry(built):
    assert wheel(built, "facelesion").stat().st_size < MEGABYTE
    names = zipfile.ZipFile(wheel(built, "facelesion_weights")).namelist()
    carried = {entry.file for entry in registry.entries().values() if entry.carried}
    files = {name.partition("/")[2] for name in names if ".dist-info/" not in name and not name.endswith(".csv")}
    assert files == carried


def test_every_file_of_the_package_is_in_the_wheel(built):
    tracked = {f"facelesion/{path.relative_to(ROOT / 'facelesion')}" for path in (ROOT / "facelesion").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
    assert tracked <= set(zipfile.ZipFile(wheel(built, "facelesion")).namelist())


LESION = """
import sys
import torch
import facelesion
from facelesion import Ablate, Noise, lesioned, sites, sweep, unit_sweep
from facelesion.sweep import greedy_ranking, read_sweep, read_table, sweep_to_folder

assert "site-packages" in facelesion.__file__, facelesion.__file__
for name in ("torchvision", "pandas", "scipy", "matplotlib", "cv2", "PIL", "pytorch_lightning"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is there")

class Block(torch.nn.Module):  # as torchvision's ResNets are built
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(width, width, 3, padding=1, bias=False), torch.nn.BatchNorm2d(width)
        self.relu = torch.nn.ReLU(inplace=True)
        self.conv2, self.bn2 = torch.nn.Conv2d(width, width, 3, padding=1, bias=False), torch.nn.BatchNorm2d(width)

    def forward(self, x):
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + x)

torch.manual_seed(0)
model = torch.nn.Sequential()
model.stem = torch.nn.Conv2d(3, 8, 3)
model.layer1 = torch.nn.Sequential(Block(8), Block(8))
model.pool, model.flat, model.fc = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 4)
model.eval()
images = torch.rand(4, 3, 16, 16)
healthy = model(images)
with lesioned(model, Ablate("layer1.*.conv2", fraction=0.5, seed=3) + Noise("layer1.0", std=0.5)):
    assert not torch.equal(model(images), healthy)
assert torch.equal(model(images), healthy)
swept = sweep(model, {"none": None, "all": Ablate("layer1.*.conv2", fraction=0.5)}, images)
assert torch.allclose(swept["none"], healthy, atol=1e-5) and not torch.allclose(swept["all"], healthy, atol=1e-5)
sweep_to_folder("swept", model, {"none": None, "all": Ablate("layer1.*.conv2", fraction=0.5)}, images)
assert torch.allclose(read_sweep("swept")["all"], swept["all"], atol=1e-5)
assert facelesion.get("untrained").module is not None
for more in (
    lambda: read_table("swept"),
    lambda: facelesion.get("torchvision/resnet18"),
    lambda: facelesion.run_study,
    lambda: facelesion.get("builtin"),
):
    try:
        more()
    except facelesion.Error as error:
        print(error)
"""


def test_the_core_alone_lesions_and_sweeps_a_network(built, tmp_path):
    python = environment(tmp_path / "core", built)
    said = ran(python, "-c", LESION, cwd=tmp_path).splitlines()
    assert said == [
        f"{name} is not installed: pip install 'facelesion[study]'"
        for name in ("pandas", "torchvision", "scipy", "builtin.safetensors")
    ]
    command = python.with_name("facelesion")
    assert "facelesion study" in ran(command, "--help", cwd=tmp_path)
    done = subprocess.run([command, "study", "default"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "facelesion: error: scipy is not installed: pip install 'facelesion[study]'\n"


STUDY = """
name: tiny
participants: [builtin, untrained]
pictures: {training_people: 8, training_pictures: 2, enrolled_people: 4, probe_pictures: 2}
lesions: {ablation: [{kind: Ablate, site: conv5_3, fraction: [0.2, 0.5]}]}
stimuli: [intact, mask eyes]
tasks: [detection, identification, objects]
"""


def test_a_study_runs_from_the_wheels_alone(built, tmp_path):
    python = environment(tmp_path / "study", built, "study")
    (tmp_path / "tiny.yaml").write_text(STUDY)
    said = ran(python.with_name("facelesion"), "study", "tiny.yaml", cwd=tmp_path)
    assert said.strip().endswith("report.html")
    report = (tmp_path / "runs" / "tiny" / "report.html").read_text(encoding="utf-8")
    assert "builtin" in report and "identification" in report
    ran(python.with_name("facelesion"), "export", "runs/tiny", cwd=tmp_path)
    assert (tmp_path / "runs" / "tiny" / "csv" / "table.csv").is_file()
    alone = """if True:
        import facelesion, facelesion_weights, importlib.util
        assert "site-packages" in facelesion.__file__
        assert not any(map(importlib.util.find_spec, ("mediapipe", "pytorch_lightning", "pytest")))"""
    ran(python, "-c", alone, cwd=tmp_path)
