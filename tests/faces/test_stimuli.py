"""Stimuli are what OpenCV makes of the same pictures one by one, and the same in every batch."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from testers import StimulusTester

from facelesion.errors import Error
from facelesion.faces.regions import FEATURES, boxes, mean_face, region_mask, upright_boxes
from facelesion.faces.stimuli import (
    KINDS,
    Blur,
    Chain,
    Composite,
    Contrast,
    ControlMask,
    GaussianNoise,
    Greyscale,
    Intact,
    Invert,
    Isolate,
    Mask,
    Painted,
    PartSwap,
    PhaseScramble,
    Stimulus,
    TileScramble,
    gaussian_blur,
)

EVERY = [
    Intact(),
    Mask("eyes"),
    Mask("eyebrows", fill="mean"),
    Mask("nose", fill="noise", seed=4),
    Mask("mouth", shape="polygon"),
    Mask("eyes", scale=(1.0, 2.0)),
    Blur("nose"),
    Blur("mouth", sigma=3, shape="polygon"),
    Isolate("eyes"),
    Isolate("nose", fill="blur"),
    ControlMask("mouth"),
    Painted(("010", "110"), fill="noise", seed=1),
    ControlMask("eyes", fill="noise", seed=2),
    Invert(),
    PhaseScramble(seed=1),
    TileScramble(tiles=7),
    Greyscale(),
    Contrast(by=0.3),
    GaussianNoise(std=0.2),
    Composite(),
    Composite(misalign=0.5),
    PartSwap("nose"),
    PartSwap("mouth", shape="polygon", feather=3),
    Mask("eyes") + Invert(),
    Greyscale() + Blur("eyes") + GaussianNoise(),
]


def levels(images: torch.Tensor) -> np.ndarray:
    """Grey levels as OpenCV takes them: uint8 (N, H, W, 3)."""
    return (images * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def drawn(corners: torch.Tensor, size: int = 224) -> np.ndarray:
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(canvas, np.round(corners.numpy() * 1024).astype(np.int32), 1, shift=10)
    return canvas.astype(bool)


def border(mask: np.ndarray) -> np.ndarray:
    """Pixels at the edge of a mask, where two ways of drawing it may differ."""
    kernel = np.ones((5, 5), np.uint8)
    return (cv2.dilate(mask.astype(np.uint8), kernel) - cv2.erode(mask.astype(np.uint8), kernel)).astype(bool)


class TestStimuli(StimulusTester):
    rows = {str(stimulus): stimulus for stimulus in EVERY}


def test_every_stimulus_there_is_is_tested() -> None:
    """A new stimulus is one more line in `EVERY`."""
    carried = {kind for kind in KINDS.values() if kind.__module__.startswith("facelesion.")}
    checked = {type(part) for stimulus in EVERY for part in (stimulus, *getattr(stimulus, "parts", ()))}
    assert checked >= carried


def test_names_differ_wherever_stimuli_do() -> None:
    assert len({str(stimulus) for stimulus in EVERY}) == len(EVERY)
    assert str(Mask("eyes")) == "mask eyes" and str(Isolate("nose")) == "isolate nose"
    assert str(Mask("eyes") + Invert()) == "mask eyes + invert"


@pytest.mark.parametrize(
    "name", ["intact", "mask eyes", "blur nose + invert", "isolate left_eye", "phase scramble"]
)
def test_a_short_name_reads_back(name: str) -> None:
    assert str(Stimulus.from_dict(name)) == name


@pytest.mark.parametrize("region", FEATURES)
def test_a_mask_blackens_opencvs_rectangle_and_nothing_else(
    region: str, pictures: torch.Tensor, faces: torch.Tensor
) -> None:
    made = levels(Mask(region)(pictures, faces))
    for original, own, corners in zip(levels(pictures), made, boxes(faces, region).corners, strict=True):
        inside = drawn(corners)
        certain = ~border(inside)
        assert (own[inside & certain] == 0).all()
        assert (own[~inside & certain] == original[~inside & certain]).all()


@pytest.mark.parametrize("region", FEATURES)
def test_a_blurred_feature_is_opencvs_51_pixel_blur(
    region: str, pictures: torch.Tensor, faces: torch.Tensor
) -> None:
    made = levels(Blur(region)(pictures, faces)).astype(int)
    for original, own, corners in zip(levels(pictures), made, boxes(faces, region).corners, strict=True):
        inside = drawn(corners)
        certain = ~border(inside)
        expected = np.where(inside[..., None], cv2.GaussianBlur(original, (51, 51), 0), original)
        assert np.abs(own - expected)[certain].max() <= 1


@pytest.mark.parametrize("region", FEATURES)
def test_an_isolated_feature_is_kept_and_the_rest_is_opencvs_21_pixel_blur(
    region: str, pictures: torch.Tensor, faces: torch.Tensor
) -> None:
    made = levels(Isolate(region, fill="blur")(pictures, faces)).astype(int)
    kept = upright_boxes(faces, region, (1.5, 1.5)).corners
    for original, own, corners in zip(levels(pictures), made, kept, strict=True):
        inside = drawn(corners)
        certain = ~border(inside)
        expected = np.where(inside[..., None], original, cv2.GaussianBlur(original, (21, 21), 0))
        assert np.abs(own - expected)[certain].max() <= 1


def test_an_isolated_feature_is_alone(pictures: torch.Tensor, faces: torch.Tensor) -> None:
    made = Isolate("eyes")(pictures, faces)
    kept = region_mask(faces, "eyes", 224, 224, "upright", (1.5, 1.5))
    mean = pictures.mean((2, 3), keepdim=True)
    torch.testing.assert_close(made, torch.where(kept, pictures, mean))
    with pytest.raises(Error, match="sigma 5 does nothing.*fill: blur"):
        Isolate("eyes", sigma=5)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.5, 8.0, 20.0])
@pytest.mark.parametrize("size", [(224, 224), (60, 90), (17, 250)])
def test_the_blur_is_opencvs_at_any_width_even_beyond_the_picture(
    sigma: float, size: tuple[int, int]
) -> None:
    from facelesion.faces.blur import radius_of

    picture = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    length = 2 * radius_of(sigma) + 1
    if length // 2 >= min(size):
        pytest.skip("OpenCV reflects once only")
    expected = cv2.GaussianBlur(picture, (length, length), sigma, borderType=cv2.BORDER_REFLECT_101)
    found = gaussian_blur(torch.from_numpy(picture).permute(2, 0, 1)[None], sigma)
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), expected, atol=2e-4)


def test_a_blur_of_some_rows_is_that_part_of_the_whole(pictures: torch.Tensor) -> None:
    whole = gaussian_blur(pictures, 8.0)
    part = gaussian_blur(pictures, 8.0, slice(5, 40), slice(190, 224))
    torch.testing.assert_close(part, whole[..., 5:40, 190:224], atol=1e-6, rtol=0)


def test_a_blur_far_wider_than_the_picture_gives_its_mean() -> None:
    picture = torch.rand(1, 1, 12, 9)
    assert float(gaussian_blur(picture, 200.0).std()) < 1e-3


def test_the_notebooks_pixels_scale_with_the_picture() -> None:
    picture = torch.rand(1, 3, 14, 14).repeat_interleave(16, 2).repeat_interleave(16, 3)
    small = torch.nn.functional.avg_pool2d(picture, 2)
    large_blur = torch.nn.functional.avg_pool2d(Isolate("nose", fill="blur")(picture, mean_face(224)[None] + 999), 2)
    small_blur = Isolate("nose", fill="blur")(small, mean_face(112)[None] + 999)
    assert (large_blur - small_blur).abs().max() < 0.03


def test_fills_cover_with_the_pictures_own_mean_and_spread(
    pictures: torch.Tensor, faces: torch.Tensor
) -> None:
    inside = region_mask(faces, "face", 224, 224, "polygon")[0, 0]
    mean = Mask("face", fill="mean", shape="polygon")(pictures, faces)[0]
    noise = Mask("face", fill="noise", shape="polygon")(pictures, faces)[0]
    for channel in range(3):
        own = pictures[0, channel]
        torch.testing.assert_close(
            mean[channel][inside], own.mean().expand(int(inside.sum())), atol=1e-5, rtol=0
        )
        assert abs(float(noise[channel][inside].mean() - own.mean())) < 0.01
        assert float(noise[channel][inside].std()) == pytest.approx(float(own.std()), rel=0.05)


def test_another_seed_or_number_gives_other_noise(pictures: torch.Tensor, faces: torch.Tensor) -> None:
    same = pictures[:1].expand(2, -1, -1, -1), faces[:1].expand(2, -1, -1)
    first, second = GaussianNoise(0.1)(*same)
    assert (first - second).std() > 0.05
    assert not torch.equal(GaussianNoise(0.1, seed=1)(*same)[0], first)
    noise = GaussianNoise(0.1)(torch.full((4, 3, 224, 224), 0.5), faces[:4]) - 0.5
    assert float(noise.std()) == pytest.approx(0.1, rel=0.01) and abs(float(noise.mean())) < 1e-3


@pytest.mark.parametrize("region", FEATURES)
def test_a_control_mask_has_the_masks_area_and_lies_where_no_feature_is(
    region: str, faces: torch.Tensor
) -> None:
    white = torch.ones(8, 3, 224, 224)
    mask = Mask(region)(white, faces)[:, 0] == 0
    control = ControlMask(region)(white, faces)[:, 0] == 0
    assert torch.equal(control.sum((1, 2)), mask.sum((1, 2)))
    features = torch.zeros_like(mask)
    for name in FEATURES:
        features |= region_mask(faces, name, 224, 224)[:, 0]
    assert not (control & features).any()


def test_control_masks_vary_with_the_seed_and_do_without_free_room(faces: torch.Tensor) -> None:
    white = torch.ones(8, 3, 224, 224)
    assert not torch.equal(
        ControlMask("mouth", seed=1)(white, faces), ControlMask("mouth", seed=2)(white, faces)
    )
    crowded = ControlMask("face")(white, faces)[:, 0] == 0
    assert torch.equal(crowded.sum((1, 2)), region_mask(faces, "face", 224, 224).sum((1, 2, 3)))


def test_control_masks_work_on_pictures_that_are_not_square() -> None:
    white = torch.ones(2, 3, 112, 160)
    face = mean_face(112)[None].expand(2, -1, -1)
    for seed in range(5):
        control = ControlMask("nose", seed=seed)(white, face)[:, 0] == 0
        assert torch.equal(control.sum((1, 2)), region_mask(face, "nose", 112, 160).sum((1, 2, 3)))


def test_inversion_is_half_a_turn_and_carries_the_landmarks_along(
    pictures: torch.Tensor, faces: torch.Tensor
) -> None:
    expected = np.stack([cv2.rotate(own, cv2.ROTATE_180) for own in levels(pictures)])
    assert np.array_equal(levels(Invert()(pictures, faces)), expected)
    one_way = (Mask("eyes") + Invert())(pictures, faces)
    the_other = (Invert() + Mask("eyes"))(pictures, faces)
    assert (one_way != the_other).float().mean() < 1e-3
    assert torch.equal((Invert() + Invert())(pictures, faces), pictures)


def test_phase_scrambling_keeps_the_spectrum_and_the_mean(faces: torch.Tensor) -> None:
    low = 0.5 + 0.02 * torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    scrambled = PhaseScramble()(low, faces)
    before, after = (np.abs(np.fft.fft2(x.double().numpy())) for x in (low, scrambled))
    assert np.abs(after - before).max() < 1e-3 * before[..., 1:, 1:].max()
    correlation = np.corrcoef(low[0, 0].flatten(), scrambled[0, 0].flatten())[0, 1]
    assert abs(correlation) < 0.05


def test_tile_scrambling_moves_whole_tiles(pictures: torch.Tensor, faces: torch.Tensor) -> None:
    def tiles(images: torch.Tensor) -> set[bytes]:
        own = levels(images)[0]
        return {own[y : y + 28, x : x + 28].tobytes() for y in range(0, 224, 28) for x in range(0, 224, 28)}

    made = TileScramble(tiles=8)(pictures, faces)
    assert tiles(made) == tiles(pictures) and len(tiles(made)) == 64
    with pytest.raises(Error, match="use 2, 4, 7, 8"):
        TileScramble(tiles=5)(pictures, faces)


def test_greyscale_and_contrast_are_the_usual_ones(pictures: torch.Tensor, faces: torch.Tensor) -> None:
    grey = levels(Greyscale()(pictures, faces)).astype(int)
    for own, original in zip(grey, levels(pictures), strict=True):
        assert np.abs(own - cv2.cvtColor(original, cv2.COLOR_RGB2GRAY)[..., None].astype(int)).max() <= 1
    low = Contrast(0.25)(pictures, faces)
    torch.testing.assert_close(low.mean((1, 2, 3)), pictures.mean((1, 2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(low.std((1, 2, 3)), 0.25 * pictures.std((1, 2, 3)))


def test_a_composite_has_one_upper_and_another_lower_half(pictures: torch.Tensor) -> None:
    face = mean_face(224)[None].expand(8, -1, -1)
    others = pictures.roll(1, 0)
    made = Composite()(pictures, face, others=(others, face))
    torch.testing.assert_close(made[..., :130, :], pictures[..., :130, :])
    torch.testing.assert_close(made[..., 156:, :], others[..., 156:, :], atol=1e-4, rtol=0)


def test_the_second_face_is_laid_on_the_first_as_opencv_warps_it(
    pictures: torch.Tensor, faces: torch.Tensor
) -> None:
    from facelesion.faces.alignment import similarity
    from facelesion.faces.stimuli_of_two import five_points

    others, theirs = pictures.roll(1, 0), faces.roll(1, 0)
    made = levels(Composite()(pictures, faces, others=(others, theirs))).astype(int)
    chin = levels(region_mask(faces, "mouth", 224, 224, "polygon").float().expand(-1, 3, -1, -1))[..., 0] > 0
    for i, source in enumerate(levels(others)):
        matrix = similarity(five_points(theirs)[i].numpy(), five_points(faces)[i].numpy())
        expected = cv2.warpAffine(source, matrix, (224, 224), flags=cv2.INTER_LINEAR)
        # OpenCV's warp works in steps of 1/32 pixel.
        assert np.abs(made[i] - expected)[chin[i]].max() <= 3


def test_misaligning_shifts_the_lower_half_along_the_eyes(pictures: torch.Tensor) -> None:
    face = mean_face(224)[None].expand(8, -1, -1)
    width = float(upright_boxes(face, "face").size[0, 0])
    straight = Composite()(pictures, face, others=(pictures, face))
    shifted = Composite(40 / width)(pictures, face, others=(pictures, face))
    torch.testing.assert_close(shifted[..., :130, :], pictures[..., :130, :])
    error = (shifted[..., 160:220, 45:] - straight[..., 160:220, 5:-40]).abs().mean()
    assert error < 0.01 < (shifted - straight)[..., 160:, :].abs().mean()
    assert (shifted[..., 160:, :38] == 0).all()


def test_a_swapped_part_comes_from_the_other_face_and_the_rest_stays(
    pictures: torch.Tensor, faces: torch.Tensor
) -> None:
    moved = faces + torch.tensor([6.0, -4.0])
    others = pictures.roll((-4, 6), (2, 3))
    inside = region_mask(faces, "nose", 224, 224)
    made = PartSwap("nose")(pictures, faces, others=(1 - others, moved))
    torch.testing.assert_close(made, torch.where(inside, 1 - pictures, pictures), atol=1e-4, rtol=0)
    soft = PartSwap("nose", feather=4)(pictures, faces, others=(1 - others, moved))
    assert (soft[~inside.expand_as(soft)] != pictures[~inside.expand_as(soft)]).any()


def test_two_faces_are_asked_for_where_they_are_needed(pictures: torch.Tensor, faces: torch.Tensor) -> None:
    for stimulus in (Composite(), PartSwap("eyes"), Mask("eyes") + Composite()):
        with pytest.raises(Error, match="pass others="):
            stimulus(pictures, faces)
    with pytest.raises(Error, match="make them alike"):
        Composite()(pictures, faces, others=(pictures[:3], faces[:3]))


@given(angle=st.floats(-180, 180))
@settings(max_examples=12, deadline=None)
def test_a_mask_turns_with_the_face(angle: float) -> None:
    face = mean_face(224)[None]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = torch.tensor([[c, s], [-s, c]], dtype=torch.float32)
    turned = (face - 111.5) @ turn + 111.5
    white = torch.ones(1, 3, 224, 224)
    made = (Mask("mouth")(white, turned)[0, 0] == 0).numpy()
    straight = (Mask("mouth")(white, face)[0, 0] == 0).numpy().astype(np.uint8)
    matrix = np.array([[c, -s, 111.5 * (1 - c + s)], [s, c, 111.5 * (1 - c - s)]])
    expected = cv2.warpAffine(straight * 255, matrix, (224, 224)) > 127
    certain = ~border(expected)
    assert (made == expected)[certain].all()


def test_borrowed_landmarks_make_stimuli_of_any_picture(faces: torch.Tensor) -> None:
    noise = torch.rand(8, 3, 224, 224)
    made = Mask("eyes")(noise, faces)
    assert torch.equal(made[:, :1] == 0, region_mask(faces, "eyes", 224, 224) | (noise[:, :1] == 0))


def test_sums_are_flat_and_intact_adds_nothing() -> None:
    total = (Mask("eyes") + Invert()) + (Blur("nose") + Greyscale())
    assert isinstance(total, Chain) and len(total.parts) == 4
    assert Intact() + Mask("eyes") == Mask("eyes") == Mask("eyes") + Intact()
    assert Intact() + Intact() == Intact()


def test_gradients_flow_through_stimuli(pictures: torch.Tensor, faces: torch.Tensor) -> None:
    images = pictures[:2].clone().requires_grad_()
    (Blur("eyes") + Mask("nose"))(images, faces[:2]).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
