"""The command that made the built-in network, in small: photographs in, a network and its figures out."""

import json
from pathlib import Path

import pytest
import torch

from facelesion.data import open_lfw
from facelesion.data.seen import people_seen
from facelesion.models import get
from facelesion.train import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.shared
@pytest.mark.slow
def test_the_built_in_networks_command_runs_from_photographs_to_figures(
    little_lfw: Path, shared: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = [
        "--config", str(ROOT / "configs" / "train" / "builtin.yaml"),
        "--teacher", str(shared / "data" / "mobilefacenet.pt"),
        "--data.root", str(little_lfw), "--data.prepared", str(tmp_path / "prepared"),
        "--data.landmarker", str(shared / "data" / "face_landmarker.task"),
        "--data.held_out_people", "4", "--data.facespace_people", "3", "--data.builtin_objects", "2",
        "--data.nonfaces", "10", "--width", "0.0625", "--schedule.epochs", "2", "--schedule.views_per_epoch", "32",
        "--schedule.batch_size", "16", "--schedule.sizes", "[[0, 64], [1, 112]]",
        "--run.folder", str(run), "--run.progress", "false", "--run.accelerator", "cpu",
    ]  # fmt: skip
    assert main(words) == 0
    reached = json.loads((run / "reached.json").read_text())
    assert reached["pairsDevTest_pairs"] + reached["pairsDevTest_missing"] == 20
    assert 0 <= reached["pairsDevTest_accuracy"] <= 1
    subject = get(str(run / "weights.safetensors"))
    assert subject.about["reached"] == reached and subject.about["width"] == 0.0625
    # The file names those who taught it: none of them is on the test list, and none is taken for unseen.
    lfw = open_lfw(little_lfw)
    assert subject.about["people"] and set(subject.about["people"]) <= set(lfw.people("train"))
    assert people_seen(subject.about, lfw.people("test"), lfw).people == ()
    assert people_seen(subject.about, lfw.people("train"), lfw).people == tuple(sorted(lfw.people("train")))
    pictures = torch.zeros(2, 3, 112, 112, dtype=torch.uint8)
    assert subject.identity(subject.module(subject.preprocess(pictures))).shape == (2, 128)
    assert (run / "curves.png").is_file()
