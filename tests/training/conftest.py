"""What tests of training share: a network so small that an epoch takes no time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from facelesion.models import VGGFace
from facelesion.weights import store


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a network of a sixteenth of VGG16's width, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = dict(VGGFace(0.0625, outputs=None).state_dict())
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    store.save_weights(path, network, {"architecture": "VGGFace", "width": 0.0625, "size": 112})
    return str(path)


@pytest.fixture
def little_lfw(lfw: Path, tmp_path: Path) -> Path:
    """Sixteen training and ten test people with two photographs each, and protocols to match."""
    people = [folder.name for folder in sorted(lfw.iterdir()) if len(list(folder.glob("*.jpg"))) >= 2][:26]
    root = tmp_path / "lfw"
    for person in people:
        (root / person).mkdir(parents=True)
        for number in (1, 2):
            name = f"{person}_{number:04d}.jpg"
            shutil.copy(lfw / person / name, root / person / name)
    train, test = people[:16], people[16:]
    for part, names in (("Train", train), ("Test", test)):
        lines = [str(len(names)), *(f"{name}\t2" for name in names)]
        (tmp_path / f"peopleDev{part}.txt").write_text("\n".join(lines) + "\n")
    same = [f"{name}\t1\t2" for name in test]
    different = [f"{name}\t1\t{other}\t1" for name, other in zip(test, test[1:] + test[:1], strict=True)]
    (tmp_path / "pairsDevTest.txt").write_text("\n".join([str(len(test)), *same, *different]) + "\n")
    return root


CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "notebook"
SMALL = [
    "--runs", "2", "--data.people", "8", "--data.pictures", "5", "--data.keep", "20", "--epochs", "1",
    "--damaged_epochs", "1", "--run.progress", "false", "--run.accelerator", "cpu",
]  # fmt: skip


def _run(folder: Path, config: str, network: str, *more: str) -> int:
    from facelesion.train import main

    words = ["--config", str(CONFIGS / config), "--network", network, "--run.folder", str(folder)]
    return main([*words, *SMALL, *more])


@pytest.fixture(scope="session")
def as_it_was(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    folder = tmp_path_factory.mktemp("notebook") / "run"
    assert _run(folder, "as_it_was.yaml", tiny) == 0
    return folder


@pytest.fixture(scope="session")
def right(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    folder = tmp_path_factory.mktemp("notebook") / "run"
    assert _run(folder, "right.yaml", tiny, "--manipulated", "[conv5_3]") == 0
    return folder


@pytest.fixture(scope="session")
def run_notebook() -> Callable[..., int]:
    """Runs the recipe `notebook` by one of its configs, as small as it can be: folder, config, network, more words."""
    return _run
