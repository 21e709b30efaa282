"""Answers as a study keeps them: a trial's value speaks for its own target."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from facelesion.analysis.answers import answers_of
from facelesion.tasks.scores import area_under_curve
from facelesion.tasks.task import against_others


def kept(evidence: torch.Tensor, positive: torch.Tensor, lesion: str) -> pd.DataFrame:
    """Trials of detection as `facelesion.study.table.trials_of` writes them."""
    target = np.where(positive, "face", "no face")
    return pd.DataFrame(
        {
            "participant": "net", "lesion": lesion, "dose": float(lesion != "none"), "draw": 0, "stimulus": "intact",
            "task": "detection", "trial": range(len(evidence)), "section": "",
            "person": [f"p{i % 5}" for i in range(len(evidence))],
            "other": "", "target": target, "answer": np.where(evidence > 0, "face", "no face"),
            "value": torch.where(positive, evidence, -evidence).numpy(), "right": ((evidence > 0) == positive).numpy(),
            "forced_choice": against_others(evidence, positive).numpy(),
        }
    )  # fmt: skip


def test_the_score_of_a_yes_no_task_is_the_area_that_the_table_has():
    generator = torch.Generator().manual_seed(0)
    positive = torch.arange(60) % 2 == 0
    # A criterion that lies far off: nearly all is called a face, and yet the two kinds are told apart.
    frames, areas = [], []
    for lesion in ("none", "damage"):
        evidence = torch.randn(60, generator=generator) + positive * 1.5 + 3
        frames.append(kept(evidence, positive, lesion))
        areas.append(area_under_curve(evidence, positive))
    answers = answers_of(pd.concat(frames, ignore_index=True), {"detection": 0.5})["detection"]
    for scale in ("own", "choice"):
        scores = answers.scores(scale)
        found = [scores[lesion].values.mean() for lesion in (("none", 0.0), ("damage", 1.0))]
        assert found == pytest.approx(areas)
