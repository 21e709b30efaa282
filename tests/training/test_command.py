"""`python -m facelesion.train` trains from a YAML file, and says in one line what it cannot do."""

import fnmatch
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import torch

from facelesion.lesions import aliases
from facelesion.models import get
from facelesion.study import read_study
from facelesion.train import main

ROOT = Path(__file__).resolve().parents[2]
OTHERS = ("as_it_was", "right", "manipulation")  # of other recipes: test_notebook.py, test_manipulation.py
CONFIGS = sorted(path for path in (ROOT / "configs" / "notebook").glob("*.yaml") if path.stem not in OTHERS)
SMALL = [
    "--data.people", "8", "--data.pictures", "4", "--data.stimuli", "[intact]", "--data.tests", "[intact]",
    "--epochs", "2", "--run.progress", "false", "--run.accelerator", "cpu",
]  # fmt: skip


def train(tmp_path: Path, config: str, *more: str) -> int:
    path = str(ROOT / "configs" / "notebook" / config)
    return main(["--config", path, *SMALL, "--run.folder", str(tmp_path / "run"), *more])


def test_a_network_trained_with_a_lesion_in_place_is_tested_with_and_without_it(
    tmp_path: Path, tiny: str
) -> None:
    assert train(tmp_path, "combined.yaml", "--network", tiny) == 0
    tests = pandas.read_csv(tmp_path / "run" / "tests.csv")
    assert tests["network"].tolist() == ["healthy", "damaged"]
    assert (tests["true_positive"] + tests["false_negative"] == tests["pictures"] / 2).all()
    log = pandas.read_csv(tmp_path / "run" / "log.csv")
    assert {"train_loss", "val_loss", "val_accuracy", "val_accuracy_without_lesion"} <= set(log.columns)
    trained = get(str(tmp_path / "run" / "weights.safetensors"))
    assert "ablate" in trained.about["trained_with"] and "head.weight" in trained.extra
    before = get(tiny)
    assert not torch.equal(trained.module.features[0].weight, before.module.features[0].weight)  # type: ignore


def test_the_best_epoch_is_what_is_kept(tmp_path: Path, tiny: str) -> None:
    # A rate at which it gets worse and worse: the first epoch is the best.
    assert train(tmp_path, "healthy.yaml", "--network", tiny, "--learning_rate", "3", "--epochs", "3") == 0
    log = pandas.read_csv(tmp_path / "run" / "log.csv")
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == int(log["val_loss"].idxmin())
    kept = get(str(tmp_path / "run" / "weights.safetensors"))
    assert torch.equal(kept.extra["head.weight"], best["state_dict"]["head.weight"])


def test_head_only_training_leaves_the_network_alone(tmp_path: Path, tiny: str) -> None:
    assert train(tmp_path, "noise.yaml", "--network", tiny, "--trained", "head") == 0
    trained, before = get(str(tmp_path / "run" / "weights.safetensors")), get(tiny)
    for one, other in zip(trained.module.parameters(), before.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_after_the_lesion_means_after_it(tmp_path: Path, tiny: str) -> None:
    lesion = "[{kind: Ablate, site: conv4_3, fraction: 0.5}]"
    assert train(
        tmp_path, "healthy.yaml", "--network", tiny, "--trained", "after_lesion", "--lesion", lesion
    ) == 0  # fmt: skip
    trained, before = get(str(tmp_path / "run" / "weights.safetensors")), get(tiny)
    changed = {
        name
        for (name, one), other in zip(
            trained.module.named_parameters(), before.module.parameters(), strict=True
        )
        if not torch.equal(one, other)
    }
    assert changed and {int(name.split(".")[1]) for name in changed} <= {24, 26, 28}


def test_identification_learns_who_it_is(tmp_path: Path, tiny: str) -> None:
    assert train(tmp_path, "healthy.yaml", "--network", tiny, "--task", "identification") == 0
    assert get(str(tmp_path / "run" / "weights.safetensors")).extra["head.weight"].shape == (8, 32)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_notebook_can_be_read(config: Path) -> None:
    from facelesion.arguments import read_arguments
    from facelesion.training.classify import ClassifyConfig, read_lesion

    values = ClassifyConfig(**read_arguments(ClassifyConfig, [str(config)], "train", config=True))
    assert (read_lesion(values.lesion) is None) == (config.stem == "healthy")
    # The notebook's own: ten, and two where it trained the second set of layers.
    assert values.learning_rate == 1e-3 and values.run.patience == (
        2 if config.stem == "ablation_set2" else 10
    )


# Approach 4 of the notebook: each approach keeps its own layers.
ALL_THREE = {
    "ablate": ["conv3_2", "conv4_3", "conv5_3"],
    "noise": ["conv3_2", "conv4_2", "conv5_3"],
    "dropout": ["conv4_3", "conv5_1", "conv5_2", "conv5_3"],
}


@pytest.mark.parametrize("name", ["combined", "as_it_was", "right"])
def test_all_three_approaches_together_keep_their_own_layers(name: str) -> None:
    import yaml

    content = yaml.safe_load((ROOT / "configs" / "notebook" / f"{name}.yaml").read_text())
    parts = content["lesion"] if name == "combined" else content["approaches"]["all three"]
    sites: dict[str, list[str]] = {}
    for part in parts:
        sites.setdefault(part["kind"].lower(), []).append(part["site"])
    assert sites == ALL_THREE
    if name != "combined":
        for kind in ("noise", "dropout"):
            assert [part["site"] for part in content["approaches"][kind]] == ALL_THREE[kind]


@pytest.mark.parametrize("name", ["features", "lfw"])
def test_studies_combine_the_same_layers(name: str) -> None:
    known = aliases(get("untrained").module)
    found = {
        part["kind"].lower(): sorted(site for each in part["site"].split(", ") for site in fnmatch.filter(known, each))
        for part in read_study(ROOT / "configs" / f"{name}.yaml").lesions["combined"]
    }
    assert found == ALL_THREE


OBJECTS_ONLY = ["--recipe", "participant", "--data.people", "none"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "none.yaml"], "no config file at none.yaml"),
        (["--recipe", "cooking"], "no recipe is called 'cooking'"),
        (["--recipe", "classify", "--epochz", "3"], "epochz"),
        (["--recipe", "classify", "--network", "none.safetensors"], "no such weights file"),
        (["--recipe", "classify", "--data.source", "lfw"], "data.root is missing"),
        (
            ["--recipe", "classify", "--data.source", "lfw", "--data.root", "nowhere"],
            "nowhere: no such folder",
        ),
        (["--recipe", "classify", "--lesion", "[{kind: Ablate, site: conv9_9, fraction: 0.5}]"], "conv9_9"),
        (["--recipe", "distil", "--teacher", "none.pt", "--data.root", "nowhere"], "none.pt: no such file"),
        (["--recipe", "participant"], "data is missing"),
        (["--recipe", "participant", "--data.root", "nowhere"], "nowhere: no such"),
        ([*OBJECTS_ONLY, "--data.objects", "nowhere"], "objects nowhere: no such"),
        ([*OBJECTS_ONLY, "--data.facespace_people", "3"], "does nothing with people none"),
        ([*OBJECTS_ONLY, "--data.kinds", "[cup, cup]"], "'cup' stands there twice"),
        (
            ["--recipe", "participant", "--data.root", "x", "--teacher", "t", "--people.weight", "2"],
            "does nothing with teacher t",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    words: list[str], message: str, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if "classify" in words and "--network" not in words:
        words = [*words, "--network", tiny]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert message in told and len(told.strip().splitlines()) == 1 and "Traceback" not in told
    if "participant" in words:  # it would refuse to go on with other settings
        assert not list(tmp_path.rglob("settings.json"))


def test_help_needs_nothing_heavy() -> None:
    heavy = ("torch", "pytorch_lightning", "pandas", "matplotlib")
    code = f"from facelesion.train import main; main(['--help']); import sys; print(set({heavy}) & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "recipe" in told and told.splitlines()[-1] == "set()"
