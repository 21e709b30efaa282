"""A study's task that looks into the network: the same noise as in the sweep, and evidence as a table of its own."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from facelesion.analysis import class_score, grad_cam
from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.faces.division import PARTS
from facelesion.faces.stimuli import Intact, Invert, Mask
from facelesion.lesions import Ablate, Noise, lesioned
from facelesion.models import get
from facelesion.study import Study, run_study
from facelesion.study.attention import ATTENTION_COLUMNS
from facelesion.study.look import StudyLook
from facelesion.study.pool import Pool
from facelesion.sweep import sweep
from facelesion.tasks.attention import Attention

PICTURES = {
    "training_people": 4, "training_pictures": 2, "enrolled_people": 5, "new_people": 2, "object_training_pictures": 2,
    "object_pictures": 1, "other_pictures": 2, "variability": 0.3,
}  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool.of([Attention], FaceSpacePictures(**PICTURES).gather(0, 112), 0)


def looks(pool: Pool, stimulus=None, lesion=None) -> StudyLook:
    return StudyLook(get("untrained"), CPU, pool, stimulus or Intact(), lesion)


def test_a_picture_meets_the_same_noise_as_in_the_sweep(pool):
    lesion, subject = Noise("conv4_3", std=0.5), get("untrained")
    swept = sweep(subject.module, {"noise": lesion}, [subject.preprocess(pool.images)], ids=pool.ids)["noise"]
    seen: list[torch.Tensor] = []

    def scores(chosen: torch.Tensor):
        def score(representation: torch.Tensor) -> torch.Tensor:
            seen.append(representation.detach())
            return representation[:, 0]

        return score

    rows = torch.tensor([3, 0, 5])
    looks(pool, lesion=lesion).maps(scores, rows)
    assert torch.allclose(torch.cat(seen), swept[rows], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(swept[rows], subject.module(subject.preprocess(pool.images[rows])), atol=1e-4)


def test_its_maps_are_grad_cam_s_of_the_damaged_network_under_the_stimulus(pool):
    subject, lesion, stimulus = get("untrained"), Ablate("conv4_3", fraction=0.5), Mask("eyes")
    rows, classes = torch.tensor([1, 4]), torch.tensor([7, 3])
    found = looks(pool, stimulus, lesion).maps(lambda chosen: class_score(lambda x: x, classes[chosen]), rows)
    images = stimulus(pool.images[rows].float() / 255, pool.landmarks[rows], ids=pool.ids[rows])
    expected = grad_cam(
        subject.module, subject.preprocess(images), ["conv5_3"], class_score(lambda x: x, classes),
        damage=lambda: lesioned(subject.module, lesion), normalise=False,
    )["conv5_3"]  # fmt: skip
    assert found.shape == (2, 112, 112)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-8)


def test_the_features_of_a_picture_upside_down_are_looked_for_where_they_are(pool):
    rows = torch.tensor([0, 2])
    upright, inverted = looks(pool).landmarks(rows), looks(pool, Invert()).landmarks(rows)
    assert torch.allclose(upright, pool.landmarks[rows], atol=1e-3)
    assert torch.allclose(inverted, 111 - upright, atol=1e-3)


def test_where_the_evidence_lies_is_in_the_table_and_what_moved_it_in_one_of_its_own(tmp_path):
    study = Study(
        name="where", participants=["untrained"], pictures=FaceSpacePictures(**PICTURES), tasks=["attention"],
        lesions={"late": [Ablate("conv5_3", fraction=0.3), Ablate("conv5_3", fraction=0.6)],
                 "silent": Ablate("conv5_3", fraction=1.0)},
        stimuli=["intact", "mask eyes"], draws=2, device="cpu", output=str(tmp_path),
    )  # fmt: skip
    run_study(study)
    table = pd.read_parquet(tmp_path / "where" / "table.parquet").set_index(["lesion", "dose", "draw", "stimulus"])
    healthy = table.loc[("none", 0.0, 0, "intact")].set_index("metric").value
    assert healthy["overlap"] == pytest.approx(1, abs=1e-5)
    assert healthy[list(PARTS)].sum() == pytest.approx(1, abs=1e-4)
    dead = table.loc[("silent", 1.0, 0, "intact")].set_index("metric").value
    assert dead["evident"] == 0 and dead["agreement"] == 0.5
    moved = pd.read_csv(tmp_path / "where" / "attention.csv")
    assert list(moved.columns) == list(ATTENTION_COLUMNS)
    assert len(moved) == 2 * 3 * len(PARTS)
    # The change is the difference of the two tables' shares.
    late = table.loc["late"].loc[0.6]
    share = late[late.metric == "nose"].xs("mask eyes", level="stimulus").value.mean()
    masked = table.loc[("none", 0.0, 0, "mask eyes")].set_index("metric").value
    found = moved.set_index(["stimulus", "lesion", "dose", "part"]).change.loc["mask eyes", "late", 0.6, "nose"]
    assert found == pytest.approx(share - masked["nose"], abs=1e-4)
    assert (moved.low <= moved.change).all() and (moved.change <= moved.high).all()
