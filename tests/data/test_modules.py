"""Data modules: no task leaks people or pictures between its parts, none can be passed by one answer."""

import json

import pytest
import torch

from facelesion.data import FaceSet, ImageSet
from facelesion.data.modules import DetectionData, IdentificationData, ObjectsData, VerificationData
from facelesion.errors import Error

PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def faces():
    labels = tuple(f"person-{i // 6}" for i in range(180))
    names = tuple(f"{label}/{i % 6}" for i, label in enumerate(labels))
    pixels = torch.arange(180, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16).contiguous()
    return FaceSet(pixels, labels, names, torch.zeros(180, 478, 2))


@pytest.fixture(scope="module")
def things():
    labels = tuple(f"kind-{i // 40}" for i in range(200))
    pixels = torch.zeros(200, 3, 16, 16, dtype=torch.uint8)
    return ImageSet(pixels, labels, tuple(f"thing/{i}" for i in range(200)))


def assert_apart(sets):
    assert all(sets)
    assert len(set().union(*sets)) == sum(map(len, sets))


def test_detection_keeps_people_and_things_apart_and_halves_every_part(faces, things):
    data = DetectionData(faces, things, batch_size=16)
    people = [
        {label for label in data.parts[part].pictures.labels if label.startswith("person")} for part in PARTS
    ]
    names = [set(data.parts[part].pictures.names) for part in PARTS]
    assert_apart(people)
    assert_apart(names)
    for part in PARTS:
        assert data.parts[part].targets.float().mean() == 0.5
        for row, target in enumerate(data.parts[part].targets.tolist()):
            assert data.parts[part].pictures.labels[row].startswith("person") is (target == 1)


def test_identification_knows_everybody_it_probes_from_other_pictures(faces):
    data = IdentificationData(faces, people=10, enrolment=3, probes=2, validation=1)
    assert_apart([set(data.parts[part].pictures.names) for part in PARTS])
    for part, each in zip(PARTS, (3, 1, 2), strict=True):
        trials = data.parts[part]
        assert trials.targets.bincount().tolist() == [each] * 10, "a constant answer is right one time in ten"
        assert [data.classes[target] for target in trials.targets.tolist()] == list(trials.pictures.labels)


def test_verification_keeps_people_apart_and_halves_every_part(faces):
    data = VerificationData(faces, {"train": 60, "validation": 12, "test": 20})
    assert_apart([set(data.parts[part].pictures.labels) for part in PARTS])
    for part in PARTS:
        pairs, pictures = data.parts[part].pairs, data.parts[part].pictures
        assert pairs.same.float().mean() == 0.5
        for first, second, same in zip(
            pairs.first.tolist(), pairs.second.tolist(), pairs.same.tolist(), strict=True
        ):
            assert (pictures.labels[first] == pictures.labels[second]) is same
    with pytest.raises(Error, match="'test' has no counterpart"):
        VerificationData(faces, {"train": 60, "validation": 12})


def test_objects_keep_pictures_apart_and_every_kind_in_every_part(things):
    data = ObjectsData(things)
    assert_apart([set(data.parts[part].pictures.names) for part in PARTS])
    for part, each in zip(PARTS, (28, 4, 8), strict=True):
        assert data.parts[part].targets.bincount().tolist() == [each] * 5
    with pytest.raises(Error, match="two kinds"):
        ObjectsData(things[list(range(40))])


def test_batches_carry_pictures_targets_landmarks_and_positions(faces):
    data = IdentificationData(faces, people=10, batch_size=8)
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (8, 3, 16, 16) and batch["image"].dtype == torch.uint8
    assert batch["landmarks"].shape == (8, 478, 2) and batch["index"].tolist() == list(range(8))
    trials = data.parts["test"]
    assert torch.equal(batch["image"], trials.pictures.images[:8]) and torch.equal(
        batch["target"], trials.targets[:8]
    )


def test_batches_of_pairs_carry_both_pictures(faces):
    data = VerificationData(faces, {"train": 60, "validation": 12, "test": 20}, batch_size=20)
    batch = next(iter(data.test_dataloader()))
    trials = data.parts["test"]
    assert torch.equal(batch["first"], trials.pictures.images[batch["first_index"]])
    assert torch.equal(batch["second"], trials.pictures.images[batch["second_index"]])
    assert torch.equal(batch["target"], trials.pairs.same)


def test_training_is_shuffled_the_same_way_for_the_same_seed(things):
    orders = [
        torch.cat([batch["index"] for batch in ObjectsData(things, seed=seed).train_dataloader()]).tolist()
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0]) and sorted(orders[0]) == list(range(140))


def test_pictures_of_two_sizes_are_refused(faces, things):
    small = ImageSet(torch.zeros(30, 3, 8, 8, dtype=torch.uint8), things.labels[:30], things.names[:30])
    with pytest.raises(Error, match="same size"):
        DetectionData(faces, small)


def test_manifests_say_what_was_split_and_how(faces, things):
    for data in (
        DetectionData(faces, things),
        IdentificationData(faces, people=10),
        VerificationData(faces, {"train": 60, "validation": 12, "test": 20}),
        ObjectsData(things),
    ):
        manifest = data.manifest()
        assert manifest["task"] and json.loads(json.dumps(manifest)) == manifest


def test_lightning_takes_them(faces, things):
    from pytorch_lightning import LightningModule, Trainer

    class Probe(LightningModule):
        def __init__(self):
            super().__init__()
            self.readout = torch.nn.Linear(3, 2)

        def training_step(self, batch, _):
            logits = self.readout(batch["image"].float().mean((2, 3)) / 255)
            return torch.nn.functional.cross_entropy(logits, batch["target"])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Probe(), datamodule=DetectionData(faces, things))
    assert trainer.global_step > 0
