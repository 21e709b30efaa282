"""Several devices and nodes: Lightning's where a recipe takes them, one line where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from facelesion.errors import Error
from facelesion.train import main
from facelesion.training.run import RunConfig, claim_for_stages, fit, one_device

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (RunConfig(devices=2), "run.devices is 2: this recipe runs on one device"),
        (RunConfig(devices="auto"), "run.devices is auto: this recipe runs on one device"),
        (RunConfig(num_nodes=2), "run.num_nodes is 2: this recipe runs on one device of one machine"),
    ],
)
def test_a_recipe_of_one_device_refuses_more_in_one_line(tmp_path, run, said):
    with pytest.raises(Error, match=f"^{said}$"):
        one_device(run)
    with pytest.raises(Error, match=said):  # the recipes of several stages: recovery, notebook, participant
        claim_for_stages(run, {"run": {}})


@pytest.mark.parametrize("words", [["--run.num_nodes", "2"], ["--run.devices", "2"]], ids=" ".join)
def test_recovery_says_so_and_writes_nothing(tmp_path, capsys, words):
    config = str(ROOT / "configs" / "train" / "recovery.yaml")
    assert main(["--config", config, "--run.folder", str(tmp_path / "run"), *words]) == 2
    told = capsys.readouterr().err
    assert "this recipe runs on one device" in told.splitlines()[-1] and not (tmp_path / "run").exists()


def test_nodes_are_lightning_s_to_start(tmp_path, monkeypatch):
    import pytorch_lightning

    asked = {}

    class Trainer:
        def __init__(self, **settings: object) -> None:
            asked.update(settings)
            raise ValueError("no second node here")

    monkeypatch.setattr(pytorch_lightning, "Trainer", Trainer)
    run = RunConfig(folder=str(tmp_path), num_nodes=2, devices=4, strategy="ddp", progress=False)
    with pytest.raises(Error, match="devices 4, num_nodes 2, strategy ddp: no second node here"):
        fit(None, None, 1, run, 0)  # type: ignore[arg-type]
    assert (asked["num_nodes"], asked["devices"], asked["strategy"]) == (2, 4, "ddp")
