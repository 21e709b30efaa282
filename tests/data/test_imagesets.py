"""Sets of pictures: cut in any way, they stay consistent."""

import pytest
import torch

from facelesion.data import FaceSet, ImageSet
from facelesion.data.imagesets import eight_bits
from facelesion.errors import Error


@pytest.fixture
def faces():
    pixels = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    points = torch.arange(5.0)[:, None, None].expand(-1, 478, 2).contiguous()
    return FaceSet(pixels, tuple("aabbc"), tuple("12345"), points)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ([3, 0], [3, 0]),
        (slice(1, None, 2), [1, 3]),
        (torch.tensor([4, 4]), [4, 4]),
        (torch.tensor([True, False, False, False, True]), [0, 4]),
        ([-1], [4]),
        ([], []),
    ],
)
def test_everything_that_belongs_to_a_picture_goes_with_it(faces, index, expected):
    some = faces[index]
    assert isinstance(some, FaceSet) and len(some) == len(expected)
    assert some.images[:, 0, 0, 0].tolist() == expected and some.landmarks[:, 0, 0].tolist() == expected
    assert some.labels == tuple("aabbc"[i] for i in expected) and some.names == tuple(
        "12345"[i] for i in expected
    )


def test_pictures_labels_names_and_landmarks_must_match(faces):
    with pytest.raises(Error, match="do not match"):
        ImageSet(faces.images, faces.labels[:2], faces.names)
    with pytest.raises(Error, match="uint8"):
        ImageSet(faces.images.float(), faces.labels, faces.names)
    with pytest.raises(Error, match="landmarks"):
        FaceSet(faces.images, faces.labels, faces.names, faces.landmarks[:2])


def test_the_digest_changes_with_pixels_labels_and_names(faces):
    brighter = ImageSet(faces.images + 1, faces.labels, faces.names)
    renamed = ImageSet(faces.images, faces.labels, tuple("54321"))
    relabelled = ImageSet(faces.images, tuple("xxxxx"), faces.names)
    plain = ImageSet(faces.images, faces.labels, faces.names)
    assert len({some.digest for some in (plain, brighter, renamed, relabelled)}) == 4
    assert plain.digest == ImageSet(faces.images.clone(), faces.labels, faces.names).digest


def test_pictures_in_bytes_are_rounded_and_go_no_further_than_bytes_do():
    assert eight_bits(torch.tensor([-0.2, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.2])).tolist() == [0, 0, 0, 1, 255, 255]
