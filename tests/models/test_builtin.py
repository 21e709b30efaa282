"""The built-in network is the one its page describes, and knows faces of nobody it was shown."""

import hashlib
from pathlib import Path

import torch

from facelesion.data.facespace import FaceSpace
from facelesion.models import get, weights_path
from facelesion.tasks.scores import area_under_curve

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_and_the_file_agree() -> None:
    page = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    path = ROOT / "weights" / "builtin.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in page
    assert path.stat().st_size < 10_000_000
    subject = get(str(path))
    reached = subject.about["reached"]
    assert subject.weights in page and f"{reached['pairsDevTest_accuracy']:.1%}".replace("%", " %") in page
    assert weights_path("builtin.safetensors").is_file()


def test_people_of_the_face_space_are_told_apart() -> None:
    faces = FaceSpace.load().draw(people=20, pictures=2, seed=99)

    def area(name: str) -> float:
        subject = get(name)
        embedding = subject.identity(subject.module(subject.preprocess(faces.images)))
        embedding = torch.nn.functional.normalize(embedding)
        first, second = torch.combinations(torch.arange(len(faces))).T
        same = torch.tensor([faces.labels[i] == faces.labels[j] for i, j in zip(first, second, strict=True)])
        return area_under_curve((embedding[first] * embedding[second]).sum(1), same)

    assert area("builtin") > 0.95
    assert area("untrained") < area("builtin")
