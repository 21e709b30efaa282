"""The same seed gives the same tables, with all that a study can choose for itself: units, controls, levels, doses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from facelesion.analysis import Contrast
from facelesion.data import FaceSpacePictures
from facelesion.models import Preprocessing, Subject
from facelesion.study import Study, run_study
from facelesion.study.choice import Controls
from facelesion.study.levels import Difficulty, Losses

pytestmark = pytest.mark.usefixtures("no_figures")
TABLES = ("trials.parquet", "table.parquet", "rankings.parquet", "contrasts.csv", "controls.csv", "found.json")


def tiny(seed: int) -> Subject:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )  # fmt: skip
    return Subject("tiny", network.eval(), 24, Preprocessing(24), nn.Identity(), f"tiny-{seed}", {})


def design(output: Path) -> Study:
    def part(of: str) -> dict[str, object]:
        return {"kind": "Ablate", "site": "2", "units": {"by": "selectivity", "of": of}, "fraction": 0.25}

    return Study(
        name="again",
        participants=["one", "two"],
        pictures=FaceSpacePictures(
            training_people=8, training_pictures=2, enrolled_people=5, enrolment_pictures=1, probe_pictures=2,
            new_people=3, new_pictures=2, object_pictures=1, object_training_pictures=2, other_pictures=0,
            lookalike_pictures=4,
        ),
        difficulty=Difficulty(level=0.7, tasks=["identification", "objects"], on=["one", "two"]),
        lesions={
            "faces": [part("faces")],
            "objects": [part("objects")],
            "noise": [{"kind": "Noise", "site": "2", "std": {"for_loss": [0.3, 0.6]}, "relative": True}],
        },
        losses=Losses(on=["two"], draws=2),
        controls=Controls(random=4, matched=3, stimuli=["intact"]),
        stimuli=["intact", "invert"],
        tasks=["detection", "identification", "objects"],
        contrasts=[
            Contrast("crossed", lesions=("faces", "objects"), tasks=("identification", "objects"), primary=True),
            Contrast("inversion", task="identification", of="intact", less="invert"),
        ],
        draws=2,
        output=str(output),
        device="cpu",
    )  # fmt: skip


def test_the_same_seed_gives_the_same_tables_twice_and_on_two_processes(tmp_path):
    subjects = {"one": tiny(1), "two": tiny(2)}
    runs = {
        "first": design(tmp_path / "first"),
        "second": design(tmp_path / "second"),
        "shared": dataclasses.replace(design(tmp_path / "shared"), processes=2, batch_size=7),
    }
    for study in runs.values():
        run_study(study, participants=subjects)
    for table in TABLES:
        found = {name: (Path(study.output) / "again" / table).read_bytes() for name, study in runs.items()}
        assert found["first"] == found["second"], table
        if table.endswith(".parquet"):  # where its rows are cut into groups is no part of a table
            first, shared = (pd.read_parquet(Path(runs[name].output) / "again" / table) for name in ("first", "shared"))
            pd.testing.assert_frame_equal(first, shared)
        else:
            assert found["first"] == found["shared"], table
    told = json.loads((tmp_path / "first" / "again" / "found.json").read_text())
    assert {"difficulty", "losses", "tested"} <= set(told)
    other = dataclasses.replace(design(tmp_path / "other"), seed=1)
    run_study(other, participants=subjects)
    mine = pd.read_parquet(tmp_path / "other" / "again" / "trials.parquet")
    assert not mine["value"].equals(pd.read_parquet(tmp_path / "first" / "again" / "trials.parquet")["value"])
