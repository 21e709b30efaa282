"""What cannot be is told before anything heavy is done: before networks are loaded or photographs looked at."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from facelesion.cli import run as command
from facelesion.data.source import Source
from facelesion.errors import Error
from facelesion.models import Subject
from facelesion.models.subject import Preprocessing
from facelesion.study import Study, dry_run, run, run_study
from facelesion.study.run import rehearse

WRITTEN = """\
name: early
participants: [untrained]
pictures: {source: facespace}
lesions:
  ablation:
    - {kind: Ablate, site: conv5_3, fraction: [0.1, 0.2]}
  noise:
    - {kind: Noise, site: conv3_2, std: [0.5, 1], relative: true}
tasks: [detection]
device: cpu
"""


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures cost minutes: whoever gathers them before the mistake is told has lost."""
    for source in Source.__subclasses__():
        monkeypatch.setattr(source, "gather", lambda *_: pytest.fail("pictures were gathered"))


@pytest.fixture
def no_networks(monkeypatch, no_pictures):
    monkeypatch.setattr(run, "get", lambda *_: pytest.fail("a network was loaded"))


def told(tmp_path: Path, capsys, old: str, new: str, *words: str) -> str:
    assert old in WRITTEN
    file = tmp_path / "study.yaml"
    file.write_text(WRITTEN.replace(old, new, 1) + f"output: {tmp_path / 'runs'}\n", encoding="utf-8")
    assert command(["study", str(file), *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "runs").exists()
    return said


@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[untrained]", "[untrained, 1]", "line 2: participants.1 cannot take part: no network is called '1'"),
        ("[untrained]", "[untraind]", "line 2: participants.0 cannot take part.*nearest are untrained"),
        ("[untrained]", "[nowhere/mine.safetensors]", "participants.0.*no such weights file"),
        ("{source: facespace}", "{source: people, root: nowhere}", "line 3: pictures.root is 'nowhere': no such file"),
        ("{source: facespace}", "{source: facespace, objects: nowhere}", "line 3: pictures.objects is 'nowhere'"),
        ("{source: facespace}", "{source: lfw, root: ., protocols: nowhere}", "line 3: pictures.protocols is 'no"),
        ("{source: facespace}", "{source: people, root: ., landmarker: no.task}", "line 3: pictures.landmarker"),
        ("device: cpu", "device: cuda:77", "device 'cuda:77' cannot be used"),
    ],
)  # fmt: skip
def test_names_and_files_before_any_network_is_loaded(tmp_path, capsys, no_networks, old, new, said, words):
    import re

    assert re.search(said, told(tmp_path, capsys, old, new, *words))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("conv5_3", "conv9_9", "line 5: lesions.ablation cannot be done to untrained: .*conv9_9"),
        ("conv3_2", "conv9_9", "line 7: lesions.noise cannot be done to untrained: .*conv9_9"),
        ("fraction: [0.1, 0.2]", "units: [3, 4000]", "line 5: lesions.ablation cannot be done .*no unit 4000"),
        ("fraction: [0.1, 0.2]", "fraction: [0.2, 0.0001]", "line 5: lesions.ablation.*less than half a unit"),
    ],
)  # fmt: skip
def test_sites_and_units_before_any_picture_is_gathered(tmp_path, capsys, no_pictures, old, new, said):
    import re

    assert re.search(said, told(tmp_path, capsys, old, new))


def test_the_folder_before_anything(tmp_path, no_networks):
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "thesis.doc").write_text("three years of work")
    with pytest.raises(Error, match="is no run of a study"):
        run_study(Study(name="early", participants=["untrained"], tasks=["detection"], output=str(tmp_path)))


def test_a_dry_run_looks_at_the_device_first(no_networks):
    with pytest.raises(Error, match="cannot be used"):
        dry_run(Study(participants=["untrained"], tasks=["detection"], device="cuda:77"))


def test_a_rehearsal_leaves_the_network_as_it_was():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 8)).eval()
    mine = Subject("mine", network, 24, Preprocessing(24), nn.Identity(), "w", {})
    before, pictures = {name: each.clone() for name, each in network.state_dict().items()}, torch.rand(2, 3, 24, 24)
    healthy, drawn = network(pictures), torch.get_rng_state()
    lesions = {
        "swap": [{"kind": "Ablate", "site": "0", "fraction": [0.5], "to": "resample"}],
        "noise": [{"kind": "Noise", "site": "1", "std": [1], "relative": True}],
    }
    study = Study(participants=["mine"], lesions=lesions, tasks=["detection"])
    rehearse(study, "mine", mine)
    assert network(pictures).equal(healthy) and torch.get_rng_state().equal(drawn)
    assert all(each.equal(before[name]) for name, each in network.state_dict().items())
    rehearse(dataclasses.replace(study, lesions={}), "mine", mine)


class TestTheFolderOfAKilledStudy:
    """A kill between two steps of taking the folder leaves something that the next run takes for its own."""

    @pytest.mark.parametrize("left", ["nothing", "no parts yet", "no key yet", "half a key"])
    def test_is_taken_again(self, tmp_path, left):
        folder = tmp_path / "runs" / "mine"
        if left != "nothing":
            folder.mkdir(parents=True)
        if left in ("no key yet", "half a key"):
            (folder / "parts").mkdir()
        if left == "half a key":
            (folder / "parts" / ".key.abc.part").write_text("12")
        run.check_ours(folder)
        assert run.claim(folder, "123456", overwrite=False) is False
        assert (folder / "parts" / "key").read_text() == "123456\n"
        assert run.claim(folder, "123456", overwrite=False) is False

    @pytest.mark.parametrize("left", ["thesis.doc", "parts/thesis.doc", "parts/.hidden", ".table.parquet.x.part"])
    def test_but_not_what_is_somebody_s(self, tmp_path, left):
        folder = tmp_path / "mine"
        (folder / left).parent.mkdir(parents=True)
        (folder / left).write_text("three years of work")
        for overwrite in (False, True):
            with pytest.raises(Error, match="is no run of a study"):
                run.claim(folder, "123456", overwrite)
        assert (folder / left).read_text() == "three years of work"

    def test_a_half_written_table_goes_when_it_goes_on(self, tmp_path):
        run.claim(tmp_path, "123456", overwrite=False)
        (tmp_path / ".trials.parquet.xyz.part").write_bytes(b"half")
        (tmp_path / "notes.txt").write_text("mine")
        run.claim(tmp_path, "123456", overwrite=False)
        assert {path.name for path in tmp_path.iterdir()} == {"parts", "notes.txt"}

    def test_one_that_is_replaced_is_whole_or_gone(self, tmp_path, monkeypatch):
        folder = tmp_path / "mine"
        run.claim(folder, "one", overwrite=False)
        (folder / "table.parquet").write_bytes(b"results")
        original = run.shutil.rmtree

        def dies(path, **options):
            if not options:
                raise KeyboardInterrupt
            original(path, **options)

        monkeypatch.setattr(run.shutil, "rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            run.claim(folder, "two", overwrite=True)
        assert not folder.exists()
        monkeypatch.setattr(run.shutil, "rmtree", original)
        assert run.claim(folder, "two", overwrite=True) is False
        run.claim(folder, "three", overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]
