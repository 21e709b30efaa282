"""Regions sit where the feature is, whatever the angle, the size or the backend."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facelesion.errors import Error
from facelesion.faces.regions import (
    REGIONS,
    Boxes,
    boxes,
    complete,
    eye_axis,
    eye_centres,
    least_rectangle,
    mean_face,
    outlines,
    region,
    region_mask,
    upright_boxes,
)

NAMES = sorted(REGIONS)
angles = st.floats(-180, 180)


def turned(points: torch.Tensor, degrees: float, about: float = 111.5) -> torch.Tensor:
    """Points turned clockwise, as seen on a screen, about the middle of a picture of 224 pixels."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (points - about) @ torch.tensor([[c, s], [-s, c]], dtype=points.dtype) + about


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def same_rectangle(a: Boxes, b: Boxes, tolerance: float) -> None:
    torch.testing.assert_close(a.centre, b.centre, atol=tolerance, rtol=0)
    torch.testing.assert_close(a.size, b.size, atol=tolerance, rtol=0)
    torch.testing.assert_close(a.along, b.along, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_least_rectangle_is_opencvs(faces: torch.Tensor, name: str) -> None:
    points = faces[:, list(region(name).points)]
    found = least_rectangle(points, eye_axis(faces))
    for area, own in zip(found.size.prod(1), points, strict=True):
        (_, size, _) = cv2.minAreaRect(own.numpy())
        assert float(area) == pytest.approx(size[0] * size[1], rel=1e-4)
    assert found.contains(points, margin=1e-2).all()


@given(
    angle=angles, points=st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=3, max_size=12)
)
@settings(max_examples=60, deadline=None)
def test_no_rectangle_at_any_angle_is_smaller(angle: float, points: list[tuple[float, float]]) -> None:
    cloud = torch.tensor([points], dtype=torch.float64)
    axis = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    least = float(least_rectangle(cloud, axis).size.prod())
    low, high = turned(cloud, angle, 0).aminmax(dim=1)
    assert least <= float((high - low).prod()) + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_a_box_holds_its_landmarks_and_its_width_lies_along_the_eyes(faces: torch.Tensor, name: str) -> None:
    box = boxes(faces, name, scale=(1, 1))
    assert box.contains(faces[:, list(region(name).points)], margin=0.01).all()
    assert ((box.along * eye_axis(faces)).sum(1) >= 0.707).all()


def test_the_notebooks_scale_factors_are_the_defaults(faces: torch.Tensor) -> None:
    for name, factors in {
        "eyebrows": (1.2, 1.5),
        "eyes": (1.4, 1.2),
        "nose": (1.2, 1.4),
        "mouth": (1.4, 1.2),
    }.items():
        larger, own = boxes(faces, name), boxes(faces, name, scale=(1, 1))
        torch.testing.assert_close(larger.size, own.size * torch.tensor(factors))


def test_the_box_of_the_nose_does_not_lean() -> None:
    face = mean_face(224)[None]
    assert abs(float(boxes(face, "nose").angle)) < 2
    points = face[:, list(region("nose").points)]
    exact = least_rectangle(points, eye_axis(face))
    assert float(boxes(face, "nose", (1, 1)).size.prod()) <= 1.1 * float(exact.size.prod())


@given(angle=angles)
@settings(max_examples=25, deadline=None)
def test_turning_a_face_turns_its_boxes(faces: torch.Tensor, angle: float) -> None:
    for name in ("eyebrows", "eyes", "nose", "mouth"):
        before, after = boxes(faces, name), boxes(turned(faces, angle), name)
        torch.testing.assert_close(after.size, before.size, atol=0.05, rtol=0)
        torch.testing.assert_close(after.centre, turned(before.centre, angle), atol=0.05, rtol=0)
        torch.testing.assert_close(after.along, turned(before.along, angle, 0), atol=2e-3, rtol=0)


@given(factor=st.floats(0.2, 8))
@settings(max_examples=25, deadline=None)
def test_scaling_a_face_scales_its_boxes(faces: torch.Tensor, factor: float) -> None:
    for name in NAMES:
        before, after = boxes(faces, name), boxes(faces * factor, name)
        same_rectangle(
            after, Boxes(before.centre * factor, before.along, before.size * factor), 0.02 * factor
        )


def mirror_pairs() -> torch.Tensor:
    """For each mesh point the one it becomes in a mirror, by place on the mean face."""
    face = mean_face(224)
    left, right = eye_centres(face[None])
    middle = float((left + right)[0, 0] / 2)
    mirrored = face.clone()
    mirrored[:, 0] = 2 * middle - mirrored[:, 0]
    return torch.cdist(mirrored, face).argmin(1)


@pytest.mark.parametrize("name", NAMES)
def test_the_regions_of_the_two_halves_mirror_each_other(name: str) -> None:
    twin = name.replace("left", "?").replace("right", "left").replace("?", "right")
    pairs = mirror_pairs()
    mirrored = {int(pairs[point]) for point in region(name).points}
    shared = mirrored & set(region(twin).points)
    assert len(shared) >= 0.8 * len(set(region(twin).points))


@pytest.mark.parametrize("name", NAMES)
def test_flipping_a_face_flips_its_boxes(faces: torch.Tensor, name: str) -> None:
    flipped = torch.stack([223 - faces[..., 0], faces[..., 1]], -1)
    before, after = boxes(faces, name), boxes(flipped, name)
    centre = torch.stack([223 - before.centre[:, 0], before.centre[:, 1]], -1)
    torch.testing.assert_close(after.centre, centre, atol=0.02, rtol=0)
    torch.testing.assert_close(after.size, before.size, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_box_is_filled_as_opencv_fills_it(large_faces: torch.Tensor, name: str) -> None:
    box = boxes(large_faces, name)
    masks = box.mask(896, 896)[:, 0].numpy()
    for corners, mask in zip(box.corners.numpy(), masks, strict=True):
        drawn = np.zeros((896, 896), np.uint8)
        cv2.fillConvexPoly(drawn, np.round(corners * 1024).astype(np.int32), 1, shift=10)
        # One row of pixels more or less is 2 % of a single closed eye.
        assert overlap(mask, drawn.astype(bool)) >= (0.98 if name.endswith("_eye") else 0.99)


@pytest.mark.parametrize("name", NAMES)
def test_an_outline_is_filled_as_opencv_fills_it(large_faces: torch.Tensor, name: str) -> None:
    masks = region_mask(large_faces, name, 896, 896, "polygon")[:, 0].numpy()
    rings = outlines(large_faces, name)
    for i, mask in enumerate(masks):
        drawn = np.zeros((896, 896), np.uint8)
        cv2.fillPoly(
            drawn, [np.round(ring[i].numpy() * 1024).astype(np.int32) for ring in rings], 1, shift=10
        )
        # Which pixels a line runs through is a matter of taste, and thin outlines are mostly line.
        drawn_core, own_core = (
            cv2.erode(m.astype(np.uint8), np.ones((3, 3))).astype(bool) for m in (drawn, mask)
        )
        assert mask[drawn_core].all() and (drawn == 1)[own_core].all()
        assert overlap(mask, drawn == 1) >= (0.96 if "eye" in name or name == "forehead" else 0.99)


def test_the_contour_is_the_face_without_its_inner_part(faces: torch.Tensor) -> None:
    contour, inner, face = (
        region_mask(faces, name, 224, 224, "polygon") for name in ("contour", "inner_face", "face")
    )
    edge = contour & inner
    assert edge.sum() < 0.06 * inner.sum()
    assert ((contour | inner) == face).float().mean() > 0.999


def test_features_lie_in_the_inner_face_and_not_in_forehead_or_cheeks() -> None:
    face = mean_face(448)[None]
    masks = {name: region_mask(face, name, 448, 448, "polygon") for name in NAMES}
    for name in ("eyebrows", "eyes", "nose", "mouth"):
        assert (masks[name] & masks["inner_face"]).sum() > 0.97 * masks[name].sum()
        for bare in ("forehead", "cheeks"):
            assert (masks[name] & masks[bare]).sum() == 0


def test_a_region_partly_or_wholly_outside_the_picture_is_cut() -> None:
    face = mean_face(112)[None]
    assert not region_mask(face + 1000, "eyes", 112, 112).any()
    assert not region_mask(face + 1000, "face", 112, 112, "polygon").any()
    half = region_mask(face - torch.tensor([56.0, 0]), "face", 112, 112, "polygon")
    assert 0 < half.sum() < region_mask(face, "face", 112, 112, "polygon").sum()


def test_landmarks_that_coincide_give_boxes_without_extent() -> None:
    box = boxes(torch.full((2, 478, 2), 5.0), "eyes")
    assert torch.isfinite(box.corners).all() and (box.size == 0).all()


def test_no_faces_give_no_masks() -> None:
    for shape in ("box", "upright", "polygon"):
        assert region_mask(torch.zeros(0, 478, 2), "eyes", 16, 16, shape).shape == (0, 1, 16, 16)


@pytest.mark.parametrize("count", [5, 68])
def test_fewer_points_are_completed_to_the_mesh_and_give_the_same_regions(count: int) -> None:
    from facelesion.faces import regions

    few = torch.from_numpy(regions.mean_shapes()[f"points{count}"]).float()[None]
    torch.testing.assert_close(complete(few)[0], mean_face(112), atol=0.05, rtol=0)
    for name in NAMES:
        mine, mesh = boxes(few, name), boxes(mean_face(112)[None], name)
        # Half the box's width is far more than backends differ by, and far less than features lie apart.
        assert (mine.centre - mesh.centre).norm() < 4
        assert ((mine.size[:, 0] / mesh.size[:, 0]).log().abs() < 0.35).all()


@pytest.mark.parametrize("count", [5, 68])
@given(angle=angles, factor=st.floats(0.5, 20), shift=st.floats(-3000, 3000))
@settings(max_examples=25, deadline=None)
def test_completion_follows_turns_scales_and_shifts(
    count: int, angle: float, factor: float, shift: float
) -> None:
    from facelesion.faces import regions

    few = torch.from_numpy(regions.mean_shapes()[f"points{count}"]).float()[None]
    few = few + torch.sin(torch.arange(2.0 * count)).view(1, count, 2)
    moved = complete(turned(few, angle) * factor + shift)
    torch.testing.assert_close(
        moved, turned(complete(few), angle) * factor + shift, atol=0.02 * factor, rtol=1e-4
    )


def test_many_faces_go_in_turns_with_the_same_result(
    faces: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = boxes(faces, "contour")
    monkeypatch.setattr("facelesion.faces.regions.MOST_NUMBERS", 3 * 36 * 630)
    torch.testing.assert_close(boxes(faces, "contour").corners, at_once.corners)


def test_an_upright_box_is_the_bounding_box_of_an_upright_face() -> None:
    face = mean_face(224)[None]
    axis = eye_axis(face)
    level = turned(face, -float(torch.rad2deg(torch.atan2(axis[0, 1], axis[0, 0]))))
    box = upright_boxes(level, "mouth")
    low, high = level[:, list(region("mouth").points)].aminmax(dim=1)
    torch.testing.assert_close(box.size, high - low, atol=1e-3, rtol=0)
    torch.testing.assert_close(box.centre, (low + high) / 2, atol=1e-3, rtol=0)


def test_wrong_names_and_shapes_are_named() -> None:
    face = mean_face()[None]
    with pytest.raises(Error, match="did you mean 'eyebrows'"):
        boxes(face, "eyebrow_s")
    with pytest.raises(Error, match=r"\(N, 478, 2\)"):
        boxes(face[0], "eyes")
    with pytest.raises(Error, match=r"\(1, 7, 2\)"):
        boxes(face[:, :7], "eyes")
    with pytest.raises(Error, match="int64"):
        boxes(face.long(), "eyes")
    with pytest.raises(Error, match="no shape 'circle'"):
        region_mask(face, "eyes", 9, 9, "circle")
    with pytest.raises(Error, match="two equal factors"):
        region_mask(face, "eyes", 9, 9, "polygon", (1, 2))
