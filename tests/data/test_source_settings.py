"""Every setting of every source of pictures does what it says: none is taken without a word and left unused."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "preparation"))
from painted import paint

from facelesion.data import photographs
from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.from_lfw import LfwPictures
from facelesion.data.from_people import PeoplePictures
from facelesion.data.imagesets import FaceSet
from facelesion.data.materials import LeftOut
from facelesion.data.pairs import NamedPair
from facelesion.data.sources import SOURCES
from facelesion.errors import Error
from facelesion.faces.regions import mean_face

# Every setting of every source with another value: it changes what is gathered, or is refused.
SHARED = {
    "training_people": 3, "training_pictures": 3, "enrolled_people": 3, "enrolment_pictures": 2, "probe_pictures": 2,
    "object_pictures": 2, "object_training_pictures": 3, "other_pictures": 5, "lookalike_pictures": 3,
    "objects": "things", "objects_passed_over": 1,
}  # fmt: skip
OTHERWISE = {
    "facespace": SHARED | {"new_people": 4, "new_pictures": 3, "variability": 0.9, "likeness": 0.5},
    "people": SHARED | {"new_people": 2, "pairs": 4, "faces_needed": 1.0},
    "lfw": SHARED | {"view": 2, "pairs": 6},
}
# Where photographs lie and what looks for faces in them: they decide what is found, not who has which role.
BEFORE = {"root", "protocols", "prepared", "landmarks", "landmarker"}


def gathered(source) -> dict[str, object]:
    """Everything that a source gives for a seed, to be compared; or what it says against it."""
    try:
        materials = source.gather(seed=0, size=64)
    except Error as error:
        return {"refused": str(error)}
    pairs = {name: [rows.tolist() for rows in getattr(materials, name)] for name in ("training_pairs", "pairs")}
    return {role: pictures.digest for role, pictures in materials.sets().items()} | pairs


class TestEverySettingDoesSomething:
    @pytest.fixture(scope="class")
    def things(self, tmp_path_factory) -> Path:
        folder = tmp_path_factory.mktemp("things")
        for number in range(12):
            paint(folder / ("boats", "lamps")[number % 2] / f"{number}.png", number, faces=0)
        return folder

    @pytest.fixture(scope="class")
    def sources(self):
        """One of each, small enough that every setting can be otherwise; LFW and people have faces that are made up."""
        people = {part: [f"{part}{number}" for number in range(12)] for part in ("train", "test")}
        labels = [name for names in people.values() for name in names for _ in range(6)]
        crops = torch.randint(0, 256, (len(labels), 3, 64, 64), generator=torch.Generator().manual_seed(0))
        names = tuple(f"{name}/{row % 6}.jpg" for row, name in enumerate(labels))
        mesh = mean_face(64)[None].expand(len(labels), -1, -1)
        faces = FaceSet(crops.to(torch.uint8), tuple(labels), names, mesh)

        class Lists:
            root = "nowhere"

            def people(self, part):
                return people[part]

            def pairs(self, part):
                some = people[part]
                same = [NamedPair(f"{name}/0.jpg", f"{name}/1.jpg", True) for name in some]
                turned = zip(some, some[1:] + some[:1], strict=True)
                return (*same, *(NamedPair(f"{one}/0.jpg", f"{two}/0.jpg", False) for one, two in turned))

            def pair_folds(self):
                return self.pairs("test")[3:-3]

        left_out = (LeftOut("test0/7.jpg", "no face found"),)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("facelesion.data.from_facespace.FAMILIAR_PICTURES", 2)  # more take long to draw
            patch.setattr(LfwPictures, "open", lambda self: Lists())
            patch.setattr(photographs.Photographs, "faces", lambda self, root, size: (faces, left_out))
            few = {
                "training_people": 4, "training_pictures": 2, "enrolled_people": 4, "enrolment_pictures": 1,
                "probe_pictures": 1, "object_pictures": 1, "object_training_pictures": 2, "other_pictures": 3,
            }  # fmt: skip
            yield {
                "facespace": FaceSpacePictures(new_people=3, new_pictures=2, **few),
                "people": PeoplePictures(root="nowhere", pairs=8, **few),
                "lfw": LfwPictures(root="nowhere", pairs=8, **few),
            }

    @pytest.mark.parametrize("name", sorted(SOURCES))
    def test_no_setting_of_a_source_is_left_out_here(self, name):
        assert {field.name for field in dataclasses.fields(SOURCES[name])} - BEFORE == set(OTHERWISE[name])

    @pytest.mark.parametrize(
        ("name", "key"), [(name, key) for name, settings in OTHERWISE.items() for key in settings]
    )
    def test_another_value_gives_other_pictures_or_is_refused(self, sources, things, name, key):
        source, settings = sources[name], {key: OTHERWISE[name][key]}
        if key.startswith("object") and key not in ("object_pictures", "object_training_pictures"):
            settings["objects"] = str(things)
            if key == "objects_passed_over":
                source = dataclasses.replace(source, objects=str(things))
        before, after = gathered(source), gathered(dataclasses.replace(source, **settings))
        assert "refused" not in before
        assert after != before

    @pytest.mark.parametrize("name", sorted(SOURCES))
    def test_nobody_has_more_pictures_to_train_readouts_with_than_were_asked_for(self, sources, name):
        for most in (2, 3):
            materials = dataclasses.replace(sources[name], training_pictures=most).gather(seed=0, size=64)
            counts = [materials.training.labels.count(person) for person in set(materials.training.labels)]
            assert set(counts) == {most}
