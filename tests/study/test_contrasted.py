"""A study's contrasts: named before the run, measured on its trials, in a table beside; on a tiny network."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from facelesion.analysis import Contrast, contrast_against_controls, measure_contrast
from facelesion.data import FaceSpacePictures
from facelesion.models import Preprocessing, Subject
from facelesion.settings import SettingError
from facelesion.study import Study, read_study, run_study
from facelesion.study.choice import Controls
from facelesion.study.contrasted import CONTRAST_COLUMNS, contrasts_of

SMALL = FaceSpacePictures(
    training_people=6, training_pictures=2, enrolled_people=5, enrolment_pictures=1, probe_pictures=2, new_people=3,
    new_pictures=2, object_pictures=1, object_training_pictures=2, other_pictures=4,
)  # fmt: skip
CROSSED = Contrast("crossed", lesions=("faces", "objects"), tasks=("identification", "objects"), primary=True)
LOSS = Contrast("loss", task="identification", lesion="noise")
INVERSION = Contrast("inversion", task="identification", of="intact", less="invert")


def tiny(seed: int) -> Subject:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return Subject("tiny", network.eval(), 24, Preprocessing(24), nn.Identity(), f"tiny-{seed}", {})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    def part(of: str) -> dict[str, object]:
        return {"kind": "Ablate", "site": "0", "units": {"by": "selectivity", "of": of}, "count": [1, 2]}

    return Study(
        name="contrasted",
        participants=["one", "two"],
        lesions={
            "faces": [part("faces")],
            "objects": [part("objects")],
            "noise": [{"kind": "Noise", "site": "0", "std": [0.5, 1.0]}],
        },
        controls=Controls(random=4, matched=3),
        stimuli=["intact", "invert"],
        tasks=["identification", "objects"],
        contrasts=[LOSS, CROSSED, INVERSION],
        draws=3,
        output=str(tmp_path / "runs"),
        device="cpu",
    )


def test_the_table_holds_what_each_contrast_comes_to_and_the_report_says_the_primary_one_first(study):
    page = run_study(study, participants={"one": tiny(0), "two": tiny(1)}, pictures=SMALL.gather(seed=0, size=112))
    folder = Path(study.output) / study.name
    table = pd.read_csv(folder / "contrasts.csv", keep_default_na=False, na_values=[""])
    trials = pd.read_parquet(folder / "trials.parquet")
    assert list(table.columns) == list(CONTRAST_COLUMNS)
    together = table[table.participant.isna()].set_index("contrast")
    assert list(together.index) == ["loss", "crossed", "inversion"] and len(table) == 3 * 3
    for which in (LOSS, CROSSED, INVERSION):
        oracle = measure_contrast(which, trials, undrawn=["none", "faces", "objects"])
        row = together.loc[which.name]
        assert row.estimate == pytest.approx(oracle.estimate, rel=1e-4, abs=1e-6)
        assert row.p == pytest.approx(oracle.p, rel=1e-4) and row.over == oracle.over
        assert math.isnan(oracle.crossover) == math.isnan(row.crossover)
    assert together.loc["crossed"].adjusted == together.loc["crossed"].p  # it stands by itself
    each = table[table.participant.notna()].set_index(["contrast", "participant"])
    oracle = contrast_against_controls(CROSSED, trials, "random")
    assert each.loc[("crossed", "one")].p_random == pytest.approx(oracle["one"].p, rel=1e-4)
    fewer = min(contrast_against_controls(CROSSED, trials, kind)["two"].n for kind in ("random", "matched"))
    assert each.loc[("crossed", "two")].sets == fewer <= 5 * 5 - 1  # pairs of four sets and the chosen one
    # What is drawn once varies over people alone.
    assert [each.loc[(name, "one")].over for name in ("crossed", "loss", "inversion")] == [
        "people", "people × draws", "people",
    ]  # fmt: skip
    assert math.isnan(each.loc[("loss", "one")].p_random) and math.isnan(each.loc[("inversion", "one")].p_matched)
    text = page.read_text(encoding="utf-8")
    assert text.index("Primary: crossed") < text.index("<b>loss</b>") < text.index("<b>inversion</b>")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ("{name: a, task: identificatoin, lesion: x}", r"contrasts\.0\.task.*identification"),
        ("{name: a, task: identification, lesion: y}", r"contrasts\.0\.lesion"),
        ("{name: a, task: identification, of: intact, less: invert}", r"contrasts\.0\.less"),
        ("{name: a, task: identification}", "compares nothing"),
        ("{task: identification, lesion: x}", r"contrasts\.0\.name"),
        ("{name: a, task: identification, lesion: x, primry: true}", "did you mean primary"),
    ],
)
def test_a_contrast_of_what_the_study_does_not_have_is_told_by_its_key_and_line(tmp_path, changes, says):
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: s\ntasks: [identification]\nlesions: {x: [{kind: Scale, site: conv5_3, by: 0.5}]}\n"
        f"contrasts:\n  - {changes}\n"
    )
    with pytest.raises(SettingError, match=says) as told:
        read_study(file)
    assert "study.yaml, line " in str(told.value)


def test_contrasts_are_written_down_and_read_back(study):
    written = study.to_dict()["contrasts"]
    assert written[1] == {
        "name": "crossed", "lesions": ["faces", "objects"], "tasks": ["identification", "objects"], "primary": True,
    }  # fmt: skip
    assert [Contrast(**each) for each in written] == list(study.contrasts)


def test_a_contrast_of_chosen_units_is_called_only_beside_control_sets(study):
    """Without such, as under a stimulus that has none, it may stand in every network and is not called."""
    eyes = Contrast("under a stimulus", task="identification", lesion="faces", stimulus="invert")
    plain = Contrast("unchanged", task="identification", lesion="faces")
    some = dataclasses.replace(
        study, contrasts=(plain, eyes), controls=dataclasses.replace(study.controls, stimuli=["intact"])
    )
    run_study(some, participants={"one": tiny(0), "two": tiny(1)}, pictures=SMALL.gather(seed=0, size=112))
    trials = pd.read_parquet(Path(some.output) / some.name / "trials.parquet")
    # Everybody falls from right to wrong: nobody could differ more clearly.
    hurt = trials["lesion"] == "faces"
    noise = np.random.default_rng(0).uniform(0, 0.05, len(trials))
    trials["forced_choice"] = np.where(hurt & (trials["control"] == ""), 0.1, 0.9) + noise
    found = contrasts_of(some, trials)
    together = found[found["participant"] == ""].set_index("contrast")
    assert (together["adjusted"] < 0.05).all()
    assert math.isnan(together.loc[eyes.name, "adjusted_controls"]) and not together.loc[eyes.name, "called"]
    assert together.loc["unchanged", "adjusted_controls"] > 0.05  # so few sets
