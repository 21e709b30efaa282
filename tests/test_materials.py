"""Which pictures a study of real photographs shows: LFW's own protocol, kept apart by person."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from facelesion.errors import FacelesionError
from facelesion.materials import DataConfig, gather, split_by_label


@pytest.fixture(scope="module")
def small_lfw(lfw: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training and eight test people of LFW, four photographs each, with protocol files to match."""
    root = tmp_path_factory.mktemp("lfw")
    parts = {}
    for part in ("Train", "Test"):
        lines = (shared / "data" / f"peopleDev{part}.txt").read_text().splitlines()[1:]
        people = [name for name, count in (line.split("\t") for line in lines) if int(count) >= 4][:8]
        parts[part] = people
        for name in people:
            (root / "photographs" / name).mkdir(parents=True)
            for number in range(1, 5):
                file = f"{name}/{name}_{number:04d}.jpg"
                shutil.copy(lfw / file, root / "photographs" / file)
        (root / f"peopleDev{part}.txt").write_text(
            "\n".join([str(len(people)), *(f"{n}\t4" for n in people)])
        )
    test = parts["Test"]
    same = [f"{name}\t1\t2" for name in test]
    different = [f"{a}\t1\t{b}\t1" for a, b in zip(test, test[1:] + test[:1], strict=True)]
    (root / "pairsDevTest.txt").write_text("\n".join([str(len(same)), *same, *different]))
    return root


@pytest.mark.slow
@pytest.mark.shared
def test_the_people_of_lfw_keep_to_their_roles(small_lfw, shared, tmp_path):
    config = DataConfig(
        source="lfw",
        root=str(small_lfw / "photographs"),
        protocols=str(small_lfw),
        prepared=str(tmp_path / "prepared"),
        landmarker=str(shared / "data" / "face_landmarker.task"),
        training_people=5,
        training_pictures=3,
        enrolled_people=6,
        enrolment_pictures=2,
        probe_pictures=2,
        pairs=8,
        object_pictures=1,
        object_training_pictures=2,
        other_pictures=4,
    )
    materials = gather(config, seed=0, size=112)
    training = set(materials.training.labels)
    tested = set(materials.probes.labels) | set(materials.strangers.labels)
    assert len(training) == 5 and not training & tested
    assert not set(materials.enrolment.names) & set(materials.probes.names)
    assert len(set(materials.enrolment.labels)) == 6 and len(materials.probes) == 12
    first, second, same = materials.pairs
    people = materials.strangers.labels
    assert int(same.sum()) == 4 and len(same) == 8
    assert [people[i] == people[j] for i, j in zip(first, second, strict=True)] == same.tolist()
    assert gather(config, seed=0, size=112).probes.digest == materials.probes.digest
    with pytest.raises(FacelesionError, match="training_people is 99"):
        gather(DataConfig(**{**vars(config), "training_people": 99}), seed=0, size=112)


def test_lfw_without_a_folder_says_what_to_give():
    with pytest.raises(FacelesionError, match="--data.root"):
        gather(DataConfig(source="lfw"), seed=0, size=112)


def test_held_out_pictures_are_no_training_pictures_and_every_label_has_both():
    from facelesion.data.objects import builtin_objects

    pictures = builtin_objects(4, seed=0, size=32)
    training, held_out = split_by_label(pictures, 1, seed=0)
    assert not set(training.names) & set(held_out.names)
    assert set(training.labels) == set(held_out.labels) == set(pictures.labels)
    assert len(held_out) == len(set(pictures.labels))
    with pytest.raises(FacelesionError, match="has 4 pictures; 5 or more are needed"):
        split_by_label(pictures, 4, seed=0)
