"""Every format of files that is read or written passes the same checks (`testers.FormatTester`)."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from testers import Format, FormatTester
from testers.formats import every
from torch import nn

from facelesion import arguments, files, yaml_files
from facelesion.data import images, lfw
from facelesion.data.facespace import FaceSpace
from facelesion.data.preparation import load_prepared
from facelesion.engines import runs
from facelesion.engines.parts import Parts
from facelesion.faces import landmarks
from facelesion.lesions import Ablate
from facelesion.models import MobileFaceNet, VGGFace, subject
from facelesion.models.convert import convert
from facelesion.models.formats import hdf5, matconvnet, pytorch, t7, torch7
from facelesion.models.mobilefacenet import read_mobilefacenet
from facelesion.report import export, run_folder, tables
from facelesion.study import Study, design, settled
from facelesion.sweep import (
    columns,
    read_changes,
    read_rounding,
    read_sweep,
    read_table,
    sweep,
    sweep_to_folder,
)
from facelesion.training import files as training_files
from facelesion.weights import store

ROOT = Path(__file__).resolve().parents[1]
for room in ("models", "report", "data/preparation"):
    sys.path.append(str(ROOT / "tests" / room))
import painted  # noqa: E402
from made_up import build_study  # noqa: E402
from published import FORMATS, SMALL, drawn, torch_layers, torchvision_name  # noqa: E402

TENSORS = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([0.1, -2.0])}


def kept() -> Path:
    """A folder that goes with this process."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


def put(path: Path, text: str) -> None:
    files.write_bytes(path, text.encode())


def write_weights(path: Path) -> Any:
    store.save_weights(path, TENSORS, {"trained_on": "nothing"})
    return TENSORS, {"trained_on": "nothing"}


def write_tensors(path: Path) -> Any:
    torch.save(TENSORS, path)
    return TENSORS


@functools.cache
def small_vgg() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return VGGFace(0.0625, outputs=None).state_dict()


def write_network(path: Path) -> Any:
    about = {"architecture": "VGGFace", "width": 0.0625, "size": 112, "mean": [0.5] * 3, "std": [0.5] * 3}
    store.save_weights(path, small_vgg(), about)
    return dict(small_vgg()), 112


def read_network(path: Path) -> Any:
    found = subject.from_file(path, "mine")
    return dict(found.module.state_dict()), found.size


def write_mobilefacenet(path: Path) -> Any:
    torch.manual_seed(0)
    network = MobileFaceNet()
    torch.save(network.state_dict(), path)
    return dict(network.state_dict())


def published(name: str, *uses: Any) -> Format:
    """VGG-Face's weights as a project publishes them: converted they are what was published, in RGB."""
    file, colours, write = FORMATS[name]

    def written(path: Path) -> dict[str, torch.Tensor]:
        weights = {layer: parts for layer, parts in drawn(SMALL).items() if layer.startswith("conv")}
        write(drawn(SMALL), path)
        wanted = torch_layers(weights, torchvision_name)
        if colours == "BGR":
            wanted["features.0.weight"] = wanted["features.0.weight"].flip(1)
        return dict(sorted(wanted.items()))

    def read(path: Path) -> dict[str, torch.Tensor]:
        convert(path, path.parent / "out" / "converted.safetensors", layout=SMALL, known_as="vgg-face")
        found, _ = store.read_weights(path.parent / "out" / "converted.safetensors")
        return dict(sorted(found.items()))

    return Format(file, written, read, (convert, *uses), ours=False)


def write_face_space(path: Path) -> Any:
    generator = np.random.default_rng(0)
    whole = FaceSpace.load()
    components = generator.integers(-127, 128, (2, whole.texture_components.shape[1])).astype(np.float32)
    components[:, 0] = 127
    few = dataclasses.replace(
        whole, texture_components=components, texture_mean=whole.texture_mean.astype(np.float16).astype(np.float32),
        shape_components=whole.shape_components[:2].astype(np.float16).astype(np.float32),
        between=whole.between[:4], within=whole.within[:4],
    )  # fmt: skip
    few.save(path)
    return few


def write_picture(path: Path) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
    return pixels


def write_people(path: Path) -> Any:
    put(path, "2\nAda\t3\nBo\t1\n")
    return (("Ada", "Bo"),)


def write_pairs(path: Path) -> Any:
    put(path, "1\nAda\t1\t2\nAda\t1\tBo\t1\n")
    return [(each.same, str(each)) for each in lfw.read_pairs(path)]


def write_parts(path: Path) -> Any:
    Parts(path).keep("cell", b"trials" * 9)
    return b"trials" * 9


def write_plain(path: Path) -> Any:
    files.write_whole(path / "a.bin", lambda file: file.write(b"1"))
    files.write_bytes(path / "b.bin", b"2")
    files.write_surely(path / "c.bin", b"3")
    return [b"1", b"2", b"3"]


def write_plan(path: Path) -> Any:
    put(path / "parts" / "key", "of a study")
    runs.write_plan(path / "parts", {"cell.part": "images 0 and on"})
    return read_plan(path)


def read_plan(path: Path) -> str:
    return runs.status(path).removeprefix(str(path))


@functools.cache
def photographs() -> Path:
    folder = kept()
    for number in range(3):
        painted.paint(folder / f"person {number % 2}" / f"{number}.png", number)
    return folder


def write_prepared(path: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(landmarks.BACKENDS, "painted", painted.Painted)
        painted.run(photographs(), path)
    return read_prepared(path)


def read_prepared(path: Path) -> Any:
    found = load_prepared(path)
    return found.names, found.labels, found.images.clone(), torch.as_tensor(found.landmarks)


@functools.cache
def study_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    table, trials = build_study()
    return table, trials


def write_run(path: Path) -> Any:
    """A run with all that it can hold, but for what is computed from its tables."""
    table, trials = study_tables()
    heat = np.linspace(0, 1, 16).astype(np.float16).reshape(1, 1, 4, 4)
    image = np.zeros((4, 4, 3), np.uint8)
    ranks = pd.DataFrame(
        dict(participant="one", series="face units", site="conv5_1", unit=range(3), rank=range(1, 4), by="selectivity",
             of="faces", against="objects", settings="{}", score_is="d'", reliability=0.8, pictures=160, people=40)
    )  # fmt: skip
    log = path.parent / f"{path.name} log.csv"
    run_folder.write_config(path, {"name": "small", "seed": 7})
    run_folder.write_table(path, table)
    run_folder.write_trials(path, trials)
    run_folder.write_rankings(path, [ranks])
    run_folder.write_controls(path, against_controls())
    run_folder.write_manifest(path, run_folder.Manifest(study="small", created="2026-02-03T12:00:00+00:00"))
    run_folder.write_stimuli(path, ["intact"], image[None])
    run_folder.write_confusions(path, [run_folder.Confusion("who", "intact", np.eye(2, dtype=int), ("a", "b"))])
    run_folder.write_gradcam(path, run_folder.GradCamMaps(("intact",), ("conv5_1",), heat, image))
    log.write_text("epoch,train_loss\n0,1.5\n")
    run_folder.write_training_log(path, log)
    log.unlink()
    return ["small", {"name": "small", "seed": 7}, len(table), ("intact",), np.eye(2, dtype=int), heat, [[0, 1.5]], 3]


@functools.cache
def against_controls() -> pd.DataFrame:
    from facelesion.analysis import against_controls

    return against_controls(study_tables()[0])


def read_run(path: Path) -> Any:
    found = run_folder.read_run(path)
    told = [found.manifest.study, dict(found.config), len(found.table) + sum(found_controls(path))]
    assert found.stimuli and found.gradcam and found.training is not None and found.rankings is not None
    return [
        *told, found.stimuli.names, found.confusions[0].matrix, found.gradcam.heat,
        found.training.to_numpy().tolist(), len(found.rankings),
    ]  # fmt: skip


def found_controls(path: Path) -> list[bool]:
    return (pd.read_parquet(path / run_folder.TABLE).control != "").tolist()


@functools.cache
def finished_run() -> tuple[Path, int]:
    """A run that can be exported."""
    run = kept() / "run"
    table, trials = (each[(each.lesion == "none") & (each.stimulus == "intact")] for each in study_tables())
    run_folder.write_config(run, {})
    run_folder.write_table(run, table)
    run_folder.write_trials(run, trials)
    run_folder.write_manifest(run, run_folder.Manifest(study="default", created="2026-02-03T12:00:00+00:00"))
    return run, len(table)


def write_export(path: Path) -> Any:
    run, rows = finished_run()
    export.export_run(run, path, "csv")
    return rows


def read_export(path: Path) -> Any:
    with run_folder.reading(path / "table.csv"):
        return len(pd.read_csv(path / "table.csv"))


NETWORK = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
LESIONS = {"none": None, "unit 2": Ablate("1", units=[2])}


def write_sweep(path: Path) -> Any:
    images, changes = torch.linspace(0, 1, 15).view(5, 3), {}
    sweep_to_folder(path, NETWORK, LESIONS, images, changes=True)
    return sweep(NETWORK, LESIONS, images, changes=changes), changes, 10, None


def read_swept(path: Path) -> Any:
    return read_sweep(path), read_changes(path), len(read_table(path)), read_rounding(path)


def write_found(path: Path) -> Any:
    found = settled.Found()
    settled.write_found(path, Study(), found)
    return found


SCORES = pd.DataFrame({"lesion_hash": ["123456789012", "12e345678901"], "value": [0.5, 0.25]})


def write_scores(path: Path) -> Any:
    training_files.write_table(path / "scores.csv", SCORES)
    training_files.write_parquet(path / "scores.parquet", SCORES)
    return [SCORES, SCORES]


def read_scores(path: Path) -> Any:
    with run_folder.reading(path):
        return [training_files.read_table(path / "scores.csv"), pd.read_parquet(path / "scores.parquet")]


def write_study(path: Path) -> Any:
    put(path, "name: mine\ndraws: 2\nlesions:\n  gain: [{kind: Scale, site: conv5_1, by: [0.5, 0.2]}]\n")
    return "mine", 2, ["gain"]


def read_study(path: Path) -> Any:
    study = design.read_study(path)
    return study.name, study.draws, list(study.lesions)


def write_settings(path: Path) -> Any:
    put(path, "draws: 2\n")
    return ["draws"]


class TestFormats(FormatTester):
    rows: Mapping[str, Format] = {
        "weights": Format(
            "mine.safetensors", write_weights, store.read_weights, (store.save_weights, store.read_weights)
        ),
        "a state dict": Format(
            "mine.pt", write_tensors, store.read_state_dict, (store.read_state_dict, store.load_plain), ours=False
        ),
        "a network's file": Format("net.safetensors", write_network, read_network, (subject.from_file,)),
        "MobileFaceNet's file": Format(
            "mobilefacenet.pt", write_mobilefacenet, lambda path: dict(read_mobilefacenet(path).state_dict()),
            (read_mobilefacenet,), ours=False,
        ),
        "VGG-Face for PyTorch": published("dag", pytorch.read_pytorch),
        "VGG-Face for Keras": published("keras", hdf5.read_keras),
        "VGG-Face for MATLAB": published("matconvnet", matconvnet.read_matconvnet),
        "VGG-Face for Torch7": published("torch7", torch7.read_torch7, t7.read_t7),
        "a face space": Format(
            "space.npz", write_face_space, FaceSpace.load.__func__.__get__(FaceSpace), (FaceSpace.save, FaceSpace.load)
        ),
        "a picture": Format(
            "picture.png", write_picture, lambda path: images.read_image(path), (images.read_image,), ours=False
        ),
        "LFW's people": Format("people.txt", write_people, lfw.read_people, (lfw.read_people,), ours=False),
        "LFW's pairs": Format(
            "pairs.txt", write_pairs, lambda path: [(each.same, str(each)) for each in lfw.read_pairs(path)],
            (lfw.read_pairs,), ours=False,
        ),
        "parts": Format(
            "parts", write_parts, lambda path: Parts(path).read("cell"), (Parts.write, Parts.read),
            unread=lambda found: found is None,
        ),
        "a plan of parts": Format(
            "run", write_plan, read_plan, (runs.write_plan,), unread=lambda found: "no cell yet" in found
        ),
        "a prepared folder": Format("faces", write_prepared, read_prepared, (load_prepared,)),
        "plain files": Format(
            "plain", write_plain, lambda path: [each.read_bytes() for each in sorted(path.glob("*"))],
            (files.write_whole, files.write_bytes, files.write_surely), unread=lambda found: not found,
        ),
        "a run": Format(
            "run", write_run, read_run,
            (
                run_folder.write_config, run_folder.write_table, run_folder.write_trials, run_folder.write_rankings,
                run_folder.write_controls, run_folder.write_manifest, run_folder.write_stimuli,
                run_folder.write_confusions, run_folder.write_gradcam, run_folder.write_training_log,
                run_folder.read_run, run_folder.read_manifest, tables.read_trials,
            ),
        ),
        "a run for other programs": Format("csv", write_export, read_export, (export.export_run,)),
        "a sweep": Format(
            "sweep", write_sweep, read_swept,
            (sweep_to_folder, read_sweep, read_changes, read_table, read_rounding, columns.read),
        ),
        "what was found before a study": Format(
            "study", lambda path: (path.mkdir(exist_ok=True), write_found(path))[1], settled.read_found,
            (settled.write_found, settled.read_found), unread=lambda found: found is None,
        ),
        "tables of training": Format(
            "training", write_scores, read_scores,
            (training_files.write_table, training_files.read_table, training_files.write_parquet),
        ),
        "a study": Format("mine.yaml", write_study, read_study, (design.read_study, yaml_files.read_yaml)),
        "settings": Format(
            "settings.yaml", write_settings, lambda path: list(arguments.read_settings(path).value),
            (arguments.read_settings, yaml_files.read_yaml),
        ),
    }  # fmt: skip


# What is no format of its own, or is tested where it is made: why, and by which file.
ELSEWHERE = {
    "facelesion.arguments.read_arguments": "words of a command line: tests/test_cli.py",
    "facelesion.arguments.read_words": "words of a command line: tests/test_bad_input.py",
    "facelesion.data.preparation.journal.read_source": "what a killed run left: tests/data/preparation/test_killed.py",
    "facelesion.engines.parts.Carried.read": "carried in memory: tests/engines/test_ray.py",
    "facelesion.engines.parts.Carried.write": "carried in memory: tests/engines/test_ray.py",
    "facelesion.engines.shares.Array.write": "told to SLURM: tests/engines/test_slurm.py",
    "facelesion.report.html.write_figures": "looked at, not read: tests/report/test_report.py",
    "facelesion.report.html.write_report": "looked at, not read: tests/report/test_report.py",
    "facelesion.study.attention.write_attention": "computed from a run's tables: tests/study/test_attention.py",
    "facelesion.study.choice.Choice.read": "a value of a study's file: tests/study/test_chosen.py",
    "facelesion.study.contrasted.write_contrasts": "computed from a run's tables: tests/study/test_contrasted.py",
    "facelesion.study.table.read_some": "what this very run has just written: tests/study/test_table.py",
    "facelesion.training.classify.read_lesion": "words of a command line: tests/training/test_command.py",
    "facelesion.training.files.write_figure": "looked at, not read: tests/training/test_files.py",
    "facelesion.training.notebook_page.page.write_notebook": "looked at: tests/training/test_notebook_page.py",
    "facelesion.training.page.write_page": "looked at, not read: tests/training/test_page.py",
    "facelesion.weights.registry.read": "carried by the package: tests/weights/test_registry.py",
}


def test_every_reader_and_writer_is_tested() -> None:
    """A new format is one more row of `TestFormats`; functions that read or write files are called so."""
    named = re.compile(r"(read|write|save|load|export|convert|import)(_|$)|.*(to|from)_(folder|file)$")
    there = set(every(lambda name: bool(named.match(name)), ROOT / "facelesion"))
    rows = {f"{use.__module__}.{use.__qualname__}" for row in TestFormats.rows.values() for use in row.uses}
    assert there - rows - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) <= there - rows, "told of, and no longer there or tested as a format"
    for name, told in ELSEWHERE.items():
        file = ROOT / told.rpartition(": ")[2]
        assert file.is_file(), (name, told)
