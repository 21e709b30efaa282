"""What is not installed is told in one line that names the extra which brings it, wherever it is first needed."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

import facelesion
from facelesion.cli import run
from facelesion.extras import EXTRAS, NotInstalled, install, need, tell_what_is_missing
from facelesion.lab.command import lab_command
from facelesion.train import main as train

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = {package: extra for extra, packages in EXTRAS.items() for package in packages}
#: Distributions that nothing imports: data, and what another package hands on to.
UNIMPORTED = {"facelesion-weights", "face-recognition-models", "facelesion"}
#: What core packages themselves bring, and code asks for where it can do without.
BROUGHT = {"certifi", "lightning"}


def distributions(requirements: list[str]) -> set[str]:
    """The names that requirements begin with."""
    return {plain(re.split(r"[^\w.-]", each)[0]) for each in requirements}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> list[tuple[str, str, str]]:
    """Every import of another package in facelesion: the module, the package and the line."""
    found = []
    for path in sorted((ROOT / "facelesion").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for each in node.body
            for inner in ast.walk(each)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) and node not in typing:
                found += [(module, name.name.partition(".")[0], f"import {name.name}") for name in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node not in typing:
                found.append((module, str(node.module).partition(".")[0], ast.unparse(node)))
    return [each for each in found if each[1] not in sys.stdlib_module_names | {"facelesion"}]


IMPORTS = imported()


def test_whatever_is_imported_is_of_the_core_or_of_one_extra():
    homes = {package: set(map(plain, names)) for package, names in metadata.packages_distributions().items()}
    core = distributions(PROJECT["dependencies"])
    for package in sorted({package for _, package, _ in IMPORTS} - BROUGHT):
        if package in OPTIONAL and package not in homes:
            continue  # not installed here: nothing says what brings it
        extra = OPTIONAL.get(package)
        declared = core if extra is None else distributions(PROJECT["optional-dependencies"][extra])
        assert homes[package] & declared, f"{package}: {homes[package]} is not declared"


def test_whatever_an_extra_declares_is_imported():
    homes = {package: set(map(plain, names)) for package, names in metadata.packages_distributions().items()}
    used = {name for _, package, _ in IMPORTS for name in homes.get(package, ())}
    used |= {"cloudpickle", "submitit", "ray"}  # imported by name, through importlib
    here = {name for names in homes.values() for name in names}
    for extra in ["", *EXTRAS]:
        declared = distributions(PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"])
        assert (declared & here) - used - UNIMPORTED == set(), extra


def test_every_extra_is_part_of_all():
    (everything,) = PROJECT["optional-dependencies"]["all"]
    named = set(everything.partition("[")[2].rstrip("]").split(","))
    assert named == set(PROJECT["optional-dependencies"]) - {"all", "dev", "docs"} and set(EXTRAS) <= named


@pytest.mark.parametrize("package", sorted(OPTIONAL))
def test_every_line_that_imports_a_package_tells_its_extra_where_it_is_absent(absent, package):
    absent(package)
    lines = [(module, line) for module, name, line in IMPORTS if name == package]
    lines = lines or [("facelesion.engines.words", f"importlib.import_module({package!r})")]
    for module, line in lines:
        with pytest.raises(NotInstalled) as told:
            exec(line, {"__name__": module, "importlib": importlib})
        assert str(told.value) == f"{package} is not installed: {install(OPTIONAL[package])}"
        assert told.value.name == package


def test_other_code_misses_packages_as_it_always_did(absent):
    absent("pandas")
    with pytest.raises(ModuleNotFoundError) as told:
        exec("import pandas", {"__name__": "somebody.elses"})
    assert not isinstance(told.value, NotInstalled)
    with pytest.raises(ModuleNotFoundError) as told:
        exec("import nothing_of_this_name", {"__name__": "facelesion.cli"})
    assert not isinstance(told.value, NotInstalled)


def test_what_is_missing_is_an_import_error_and_the_user_s_to_mend(absent):
    absent("pandas")
    for kind in (ImportError, facelesion.Error):
        with pytest.raises(kind, match=r"pip install 'facelesion\[study\]'"):
            need("torch", "pandas")


def test_the_finder_is_there_once_and_asked_last():
    before = list(sys.meta_path)
    tell_what_is_missing()
    assert sys.meta_path == before
    assert [type(each).__module__ for each in before].count("facelesion.extras") == 1


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2))


def guided() -> object:
    from facelesion.analysis.attribution import guided_grad_cam

    def scores(rows: torch.Tensor) -> object:
        return lambda output: output[rows, 0]

    return guided_grad_cam(network(), torch.rand(2, 3, 8, 8), ["1"], scores)


def objects() -> object:
    from facelesion.data import builtin_objects

    return builtin_objects(1, size=32)


def photograph() -> object:
    from facelesion.data import read_image

    return read_image(ROOT / "docs" / "pictures" / "objects.jpg")


def keras_weights() -> object:
    from facelesion.models.convert import convert

    Path("w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    return convert("w.h5", "w.safetensors")


def run_a_study() -> object:
    return facelesion.run_study(facelesion.Study(output="runs"))


def sweep_s_table() -> object:
    from facelesion.sweep import read_table, sweep_to_folder

    sweep_to_folder("swept", network(), {"none": None}, torch.rand(2, 3, 8, 8))
    return read_table("swept")


def landmarks(name: str) -> object:
    from facelesion.faces import landmark_backend

    Path("model.task").write_bytes(b"no model")
    return landmark_backend(name, None if name == "mtcnn" else "model.task")


def facelesion_hub() -> Any:
    return importlib.import_module("facelesion.hub")


TINY = """
participants: [untrained]
pictures: {training_people: 4, training_pictures: 2, enrolled_people: 3}
lesions: {ablation: [{kind: Ablate, site: conv5_3, fraction: [0.5]}]}
tasks: [objects]
"""
#: Where each package is first needed: from Python, and in words of the command line.
FIRST = {
    "PIL": (photograph, "faces --people 2 --out faces.png"),
    "captum": (guided, "gradcam facespace:2 --method guided-gradcam --sites conv5_3 --out found"),
    "cv2": (objects, "study tiny.yaml"),
    "h5py": (keras_weights, "weights convert w.h5 --to w.safetensors"),
    "jinja2": (run_a_study, "study default"),
    "matplotlib": (run_a_study, "units --by selectivity"),
    "pandas": (sweep_s_table, "study default"),
    "scipy": (lambda: importlib.import_module("facelesion.tasks"), "study default"),
    "torchvision": (lambda: facelesion.get("torchvision/resnet18"), "sites torchvision/resnet18"),
    "facenet_pytorch": (lambda: landmarks("mtcnn"), "prepare photographs --landmarks mtcnn"),
    "mediapipe": (lambda: landmarks("mediapipe"), "prepare photographs --landmarks mediapipe --model model.task"),
    "pytorch_lightning": (lambda: importlib.import_module("facelesion.training.run"), "train --recipe distil"),
    "dlib": (lambda: landmarks("dlib"), "prepare photographs --landmarks dlib --model model.task"),
    "timm": (lambda: facelesion.get("timm/resnet18"), "sites timm/resnet18"),
    "ray": (lambda: importlib.import_module("facelesion.engines").Ray().look(), "study default --engine ray"),
    "huggingface_hub": (lambda: facelesion_hub().fetch_weights("ann/small"), "hub fetch ann/small"),
    "starlette": (lambda: importlib.import_module("facelesion.lab.server"), "lab --no-browser --port 0"),
    "uvicorn": (lambda: lab_command(["--no-browser", "--port", "0"]), "lab --no-browser --port 0"),
    "submitit": (lambda: importlib.import_module("facelesion.engines").Slurm().look(), "study default --engine slurm"),
}
#: Imported with the modules that need them, which other tests have loaded.
AT_THE_TOP = {
    "scipy": ("tasks", "study"), "starlette": ("lab.server",),
    "pytorch_lightning": ("training", "data.modules", "lesions.callback"),
}  # fmt: skip


@pytest.fixture
def gone(absent, monkeypatch, tmp_path):
    """Takes a package away in an empty folder; what has imported it at its top is as if it were not loaded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photographs" / "ann").mkdir(parents=True)
    (tmp_path / "photographs" / "ann" / "1.jpg").write_bytes((ROOT / "docs" / "pictures" / "objects.jpg").read_bytes())
    (tmp_path / "model.task").write_bytes(b"no model")
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))

    def away(package: str) -> None:
        absent(package)
        for name in [each for each in sys.modules if each.startswith(tuple(
            f"facelesion.{room}" for room in AT_THE_TOP.get(package, ())
        ))]:
            monkeypatch.delitem(sys.modules, name)

    return away


def test_every_package_has_a_first_need():
    assert set(FIRST) == set(OPTIONAL) - {"cloudpickle"}  # which comes with what needs it, and pickle stands in


@pytest.mark.parametrize("package", sorted(FIRST))
def test_where_a_package_is_first_needed_python_is_told_its_extra(gone, package):
    gone(package)
    with pytest.raises(NotInstalled, match=rf"^{package} is not installed: pip install 'facelesion\[\w+\]'$"):
        FIRST[package][0]()


@pytest.mark.parametrize("package", sorted(FIRST))
def test_where_a_package_is_first_needed_the_command_line_is_told_its_extra(gone, capsys, package):
    gone(package)
    first, *words = FIRST[package][1].split()
    assert (train(words) if first == "train" else run([first, *words])) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"facelesion: error: {package} is not installed: {install(OPTIONAL[package])}"
