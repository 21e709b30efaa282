"""Pictures that can be taken for faces: no face among them is whole, and the same arguments give the same pictures."""

from __future__ import annotations

import pytest
import torch

from facelesion.data.facespace import FaceSpace
from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.imagesets import FaceSet
from facelesion.data.lookalikes import FACE_LIKE, FEATURELESS, HALF, JUMBLED, KINDS, lookalikes
from facelesion.errors import Error
from facelesion.faces.regions import region_mask


@pytest.fixture(scope="module")
def face() -> FaceSet:
    return FaceSpace.load().draw(1, 1, seed=4)


@pytest.fixture(scope="module")
def made(face):
    """Of one and the same face, so that what was done to it can be told."""
    return lookalikes(16, 3, face)


def of(made, kind: str) -> torch.Tensor:
    return made.images[torch.tensor([label == kind for label in made.labels])].float()


def inside(face: FaceSet, region: str) -> torch.Tensor:
    return region_mask(face.landmarks, region, 112, 112)[0, 0]


def test_there_are_as_many_of_every_kind_and_a_longer_set_begins_with_a_shorter_one_of_its_kinds(made):
    assert [made.labels.count(kind) for kind in KINDS] == [4] * 4 and len(set(made.names)) == 16
    assert lookalikes(3, 0, FaceSpace.load().draw(2, 1)).labels == KINDS[:3]
    with pytest.raises(Error, match="at least one"):
        lookalikes(0, 0, FaceSpace.load().draw(2, 1))


def test_the_same_seed_gives_the_same_pictures_and_another_gives_others(face, made):
    assert lookalikes(16, 3, face).images.equal(made.images)
    assert not lookalikes(16, 4, face).images.equal(made.images)


def test_a_featureless_face_has_skin_where_its_features_were_and_is_the_face_around_them(face, made):
    pictures, original = of(made, FEATURELESS), face.images.float()
    for feature in ("eyes", "mouth"):
        where = inside(face, feature)
        assert pictures[0][:, where].std(1).mean() < 0.5 * original[0][:, where].std(1).mean()
    far = ~region_mask(face.landmarks, "face", 112, 112)[0, 0]
    assert (pictures - original)[..., far].abs().mean() < 2


def test_the_features_of_a_jumbled_face_stand_at_one_another_s_places(face, made):
    original = face.images.float()[0]
    for picture in of(made, JUMBLED):
        for feature in ("eyes", "mouth", "nose"):
            where = inside(face, feature)
            same = torch.corrcoef(torch.stack([picture[:, where].flatten(), original[:, where].flatten()]))[0, 1]
            assert same < 0.9
        assert picture.std() > 0.5 * original.std()


def test_half_a_face_is_a_face_on_one_side_alone(face, made):
    original = face.images.float()[0]
    for picture in of(made, HALF):
        same = ((picture - original).abs().mean(0) < 3).float()
        halves = [same[:40].mean(), same[-30:].mean(), same[:, :40].mean(), same[:, -40:].mean()]
        assert max(halves) > 0.95 and min(halves) < 0.3


def test_a_face_like_object_has_no_pixel_of_a_face(face, made):
    other = lookalikes(16, 3, FaceSpace.load().draw(1, 1, seed=9))
    assert of(made, FACE_LIKE).equal(of(other, FACE_LIKE))


def test_a_study_shows_them_and_trains_no_readout_on_them():
    source = FaceSpacePictures(
        training_people=3, training_pictures=2, enrolled_people=2, new_people=2, new_pictures=2, object_pictures=1,
        object_training_pictures=2, other_pictures=4, lookalike_pictures=8,
    )  # fmt: skip
    materials = source.gather(0, 112)
    assert materials.others is not None
    assert [label in KINDS for label in materials.others.labels] == [False] * 4 + [True] * 8
    assert not set(KINDS) & set(materials.training_others.labels)
