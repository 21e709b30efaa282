"""The built-in networks are those that their page describes, and know faces of nobody they were shown."""

import hashlib
from pathlib import Path

import pytest
import torch

from facelesion.data.facespace import FaceSpace
from facelesion.models import get
from facelesion.tasks.scores import area_under_curve
from facelesion.weights import registry, weights_path

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ("builtin", "builtin_seed1", "builtin_seed2")
CARRIED = [entry.network for entry in registry.entries().values() if entry.carried and entry.network]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_page_and_the_file_agree(name: str) -> None:
    page = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    path = ROOT / "weights" / f"{name}.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in page
    assert path.stat().st_size < 10_000_000
    subject = get(str(path))
    reached = subject.about["reached"]
    assert subject.weights in page and f"{reached['pairsDevTest_accuracy']:.1%}".replace("%", " %") in page
    assert weights_path(f"{name}.safetensors").is_file()


def test_the_networks_are_of_one_kind_and_three_seeds() -> None:
    subjects = [get(name) for name in NETWORKS]
    assert [subject.about["seed"] for subject in subjects] == [0, 1, 2]
    assert len({subject.weights for subject in subjects}) == 3
    assert len({subject.about["width"] for subject in subjects}) == 1


@pytest.mark.parametrize("name", CARRIED)
def test_no_unit_weighs_out_of_proportion_in_the_readout_of_identity(name: str) -> None:
    """One that is silent on faces would drown the others in damage that wakes it, however small its dose."""
    weights = get(name).identity.state_dict()["weight"].norm(dim=0)
    assert weights.max() < 30 * weights.median()


def test_all_that_is_carried_stays_small() -> None:
    files = [*(ROOT / "weights").glob("builtin*.safetensors"), ROOT / "weights" / "facespace.npz"]
    assert sum(file.stat().st_size for file in files) < 20_000_000


def test_people_of_the_face_space_are_told_apart() -> None:
    faces = FaceSpace.load().draw(people=20, pictures=2, seed=99)

    def area(name: str) -> float:
        subject = get(name)
        embedding = subject.identity(subject.module(subject.preprocess(faces.images)))
        embedding = torch.nn.functional.normalize(embedding)
        first, second = torch.combinations(torch.arange(len(faces))).T
        same = torch.tensor([faces.labels[i] == faces.labels[j] for i, j in zip(first, second, strict=True)])
        return area_under_curve((embedding[first] * embedding[second]).sum(1), same)

    untrained = area("untrained")
    for name in NETWORKS:
        assert area(name) > 0.95 > untrained
