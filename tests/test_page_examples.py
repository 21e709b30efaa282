"""Blocks of pages that speak of a run, of pictures or of a network: run as they stand, beside a small one of each."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from facelesion import Ablate, Study, get, run_study
from facelesion.data import FaceSpace, FaceSpacePictures

ROOT = Path(__file__).resolve().parents[1]
TRAINED = ["builtin", "builtin_seed1", "builtin_seed2"]


def run_page(name: str, given: dict[str, object]) -> dict[str, object]:
    """Run a page's Python from top to bottom, with what it takes for granted; the names it leaves."""
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if ">>>" not in block]
    assert blocks
    for block in blocks:
        exec(compile(block, f"docs/{name}.md", "exec"), given)
    return given


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Where a small study lies in `runs/default`, with what the default study has: chosen units, controls, doses."""
    folder = tmp_path_factory.mktemp("study")
    sites = "conv4_3, conv5_1"
    lesions: dict[str, object] = {
        f"{of[:-1]} units": [
            {"kind": "Ablate", "site": sites, "units": {"by": "selectivity", "of": of}, "fraction": 0.2}
        ]
        for of in ("faces", "objects")
    }
    lesions["ablation"] = [{"kind": "Ablate", "site": sites, "fraction": [0.05, 0.1, 0.2, 0.4]}]
    run_study(
        Study(
            name="default", participants=TRAINED, lesions=lesions, draws=2,
            controls={"random": 9, "matched": 9, "stimuli": ["intact"]},
            stimuli=["intact", "mask eyes"], tasks=["detection", "identification", "objects", "exemplars"],
            pictures=FaceSpacePictures(
                training_people=12, enrolled_people=8, new_people=3, object_pictures=1, object_training_pictures=4,
                other_pictures=0,
            ),
            output=str(folder / "runs"),
        )
    )  # fmt: skip
    return folder


@pytest.mark.slow
def test_the_page_on_reports_runs(runs, monkeypatch):
    monkeypatch.chdir(runs)
    found = run_page("report", {})
    assert set(found["chosen"]["metric"]) == {"accuracy"}


@pytest.mark.slow
def test_the_page_on_statistics_runs(runs, monkeypatch):
    from facelesion.report import read_run

    monkeypatch.chdir(runs)
    random = np.random.default_rng(0)
    given = {
        "accuracy_of_each_draw": random.uniform(0.4, 0.6, 20), "right": random.random(60) < 0.7,
        "person": np.repeat(np.arange(20), 3), "lesioned": 0.4, "after_random_lesions": random.uniform(0.5, 0.9, 99),
        "identification": 0.5, "detection": 0.9, "of_control_networks": random.normal(0.9, 0.03, (12, 2)),
        "p_of_all_layers_and_doses": [0.01, 0.2, 0.5], "table": read_run("runs/default").table,
        "of_faces": torch.rand(30, 64), "of_objects": torch.rand(30, 64) + torch.linspace(-1, 1, 64),
        "mean_activation": torch.rand(64),
    }  # fmt: skip
    found = run_page("statistics", given)
    assert found["found"].over == "people × draws"  # of one network
    assert found["controls"].units.shape[0] == 200


@pytest.mark.slow
def test_the_page_on_networks_runs():
    found = run_page("models", {"images": FaceSpace.load().draw(2, 1, seed=0).images})
    assert tuple(found["identity"].shape) == (2, 128)


def test_the_page_on_sweeps_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = torch.rand(4, 3, 32, 32)
    found = run_page(
        "sweeps",
        {
            "network": get("untrained").module, "images": images,
            "loss": lambda outputs, numbers: outputs.square().mean(1),
        },
    )  # fmt: skip
    assert set(found["outputs"]) == {"none", "a fifth", "noise"}
    assert found["lesions"]["a fifth"] == Ablate("conv4_3", fraction=0.2)
