"""The face space: new people on demand, the same for the same seed, with landmarks that are exact."""

from __future__ import annotations

import dataclasses
import gc
import signal
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from sizes import largest

from facelesion.data.facespace import CROP, MARGIN, FaceSpace, flatten_texture, unflatten_texture
from facelesion.data.facespace_learning import covariance_factors, learn_face_space
from facelesion.data.facespace_tools import distractors
from facelesion.errors import Error

FILE = Path(__file__).resolve().parents[2] / "weights" / "facespace.npz"


@pytest.fixture(scope="module")
def space() -> FaceSpace:
    return FaceSpace.load(FILE)


def test_the_same_seed_gives_the_same_pixels_and_another_seed_other_people(space):
    once, again, other = space.draw(2, 2, seed=1), space.draw(2, 2, seed=1), space.draw(2, 2, seed=2)
    assert once.digest == again.digest != other.digest
    assert torch.equal(once.landmarks, again.landmarks)
    assert set(once.labels).isdisjoint(other.labels)


def test_a_person_does_not_depend_on_how_many_are_drawn(space):
    few, many = space.draw(2, 3, seed=4), space.draw(5, 3, seed=4)
    assert torch.equal(few.images, many.images[:6])


def test_pictures_are_the_same_however_many_are_rendered_at_once_and_few_are(space):
    vectors = space.pictures(space.people(20, seed=4), 1, seed=4).reshape(20, -1)
    images, landmarks = space.render(vectors)
    for size in (1, 7, 64):
        again, places = space.render(vectors, batch_size=size)
        assert torch.equal(again, images) and torch.equal(places, landmarks)
    assert largest(lambda: space.render(vectors)) < largest(lambda: space.render(vectors, batch_size=20)) / 2


def test_a_person_without_variability_looks_the_same_in_every_picture(space):
    faces = space.draw(2, 2, seed=1, variability=0)
    assert torch.equal(faces.images[0], faces.images[1])
    assert not torch.equal(faces.images[1], faces.images[2])


def test_pictures_of_one_person_are_nearer_than_pictures_of_two(space):
    vectors = space.pictures(space.people(30, seed=1), 2, seed=1, variability=0.6).reshape(30, 2, -1)
    scale = vectors.reshape(60, -1).std(0) + 1e-6
    same = np.linalg.norm((vectors[:, 0] - vectors[:, 1]) / scale, axis=1)
    different = np.linalg.norm((vectors[:, 0] - np.roll(vectors[:, 1], 1, 0)) / scale, axis=1)
    assert (same < different).mean() > 0.9


def test_landmarks_lie_where_the_picture_shows_them(space):
    """Paint a dot on the mean texture at a landmark: in the rendered picture it must lie at the drawn landmark."""
    vectors = space.pictures(space.people(4, seed=9), 1, seed=9, variability=1.0)
    axis = torch.arange(-MARGIN, CROP + MARGIN, dtype=torch.float32)
    pixels = torch.arange(CROP, dtype=torch.float32)
    for point in (1, 33, 263, 61, 291, 468, 105):
        x, y = torch.from_numpy(space.shape_mean[point])
        dot = 255 * torch.exp(-((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / 4)
        dotted = dataclasses.replace(
            space,
            texture_mean=flatten_texture(dot.expand(1, 3, -1, -1))[0],
            texture_components=0 * space.texture_components,
        )
        images, landmarks = dotted.render(vectors)
        picture = images[:, 0].float()
        mass = picture.sum((1, 2))
        found = torch.stack(
            [(picture.sum(1) * pixels).sum(1) / mass, (picture.sum(2) * pixels).sum(1) / mass], 1
        )
        assert (found - landmarks[:, point]).norm(dim=1).max() < 0.6  # the dot itself is stretched a little


def test_encoding_a_rendered_face_gives_its_shape_and_most_of_its_texture_back(space):
    vectors = 0.7 * space.people(3, seed=5)
    back = space.encode(*space.render(vectors))
    texture, shape = slice(0, 40), slice(space.texture_count, space.texture_count + 10)
    assert np.corrcoef(back[:, texture].ravel(), vectors[:, texture].ravel())[0, 1] > 0.95
    assert np.corrcoef(back[:, shape].ravel(), vectors[:, shape].ravel())[0, 1] > 0.95


def test_a_texture_survives_flattening_up_to_the_resolution_of_its_colour():
    smooth = torch.linspace(20, 220, CROP + 2 * MARGIN).expand(1, 3, CROP + 2 * MARGIN, -1).clone()
    smooth[:, 1] = smooth[:, 1].flip(-1)
    back = unflatten_texture(torch.from_numpy(flatten_texture(smooth)))
    assert (back - smooth).abs().max() < 1.0


def test_saving_and_loading_changes_nothing_that_can_be_seen(space, tmp_path):
    space.save(tmp_path / "copy.npz")
    again = FaceSpace.load(tmp_path / "copy.npz")
    before, after = space.draw(1, 2, seed=3).images.float(), again.draw(1, 2, seed=3).images.float()
    assert (before - after).abs().max() <= 1


def test_components_of_any_eight_bits_are_saved_without_loss(space, tmp_path):
    eight = np.random.default_rng(0).integers(-127, 128, space.texture_components.shape)
    eight[:, 0] = 127  # the scale is by the largest
    rough = dataclasses.replace(space, texture_components=eight.astype(np.float32))
    rough.save(tmp_path / "rough.npz")
    assert np.array_equal(FaceSpace.load(tmp_path / "rough.npz").texture_components, eight)


def test_what_was_saved_once_is_saved_again_without_loss(space, tmp_path):
    space.save(tmp_path / "copy.npz")
    again = FaceSpace.load(tmp_path / "copy.npz")
    for field in dataclasses.fields(FaceSpace):
        assert np.array_equal(getattr(again, field.name), getattr(space, field.name)), field.name


def test_a_file_that_holds_the_components_themselves_is_read_as_well(space, tmp_path):
    with np.load(FILE) as file:
        arrays = {name: file[name] for name in file.files if name != "texture_differences"}
    components = np.round(space.texture_components / arrays["texture_scale"][:, None]).astype(np.int8)
    np.savez(tmp_path / "older.npz", texture_components=components, **arrays)
    older = FaceSpace.load(tmp_path / "older.npz")
    assert np.array_equal(older.texture_components, space.texture_components)


def test_it_is_read_once_while_it_is_held_and_let_go_afterwards(tmp_path):
    path = tmp_path / "own.npz"
    path.write_bytes(FILE.read_bytes())
    held = FaceSpace.load(path)
    assert FaceSpace.load(str(path)) is held
    watched = weakref.ref(held)
    held.draw(2, 1, likeness=0.5)
    distractors(held, held.people(1)[0], 2, similarity=0.5)  # with all that is worked out of it
    del held
    gc.collect()
    assert watched() is None
    assert FaceSpace.load(path).dimensions



def test_a_file_that_is_no_face_space_is_named(tmp_path):
    with pytest.raises(Error, match="no face space at"):
        FaceSpace.load(tmp_path / "absent.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(Error, match="broken.npz is not a face space"):
        FaceSpace.load(tmp_path / "broken.npz")


def test_vectors_of_the_wrong_length_are_refused(space):
    with pytest.raises(Error, match="face vectors must be"):
        space.render(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    "people, pictures, spread", [(-1, 2, 1.0), (2.5, 2, 1.0), (2, -1, 1.0), (2, True, 1.0), (2, 2, -1.0)]
)
def test_numbers_that_no_faces_can_have_are_refused(space, people, pictures, spread):
    with pytest.raises(Error, match="give a"):
        space.draw(people, pictures, 0, spread)
    with pytest.raises(Error, match="variability nan"):
        space.draw(2, 2, 0, float("nan"))


def test_covariances_are_found_again_from_draws():
    """People and pictures drawn from known covariances: the estimates come back, the between-person one unbiased."""
    rng = np.random.default_rng(0)
    between, within = np.diag([3.0, 1.0, 0.0]), np.diag([1.0, 1.0, 2.0])
    people = rng.multivariate_normal(np.zeros(3), between, 4000)
    pictures = np.repeat(people, 2, 0) + rng.multivariate_normal(np.zeros(3), within, 8000)
    names = [str(i // 2) for i in range(8000)]
    b, w = covariance_factors(pictures.astype(np.float32), names)
    np.testing.assert_allclose(b @ b.T, between, atol=0.2)
    np.testing.assert_allclose(w @ w.T, within, atol=0.2)


def test_a_face_space_can_be_learned_from_pictures(space):
    """Learn from rendered faces; the leading directions explain rendered faces of new people."""
    faces = space.draw(60, 2, seed=21, variability=1.0)
    canvases = torch.nn.functional.pad(faces.images.float(), [MARGIN] * 4, mode="replicate").to(torch.uint8)
    learned = learn_face_space(
        canvases.permute(0, 2, 3, 1).numpy(),
        faces.landmarks.numpy(),
        faces.labels,
        texture_count=30,
        shape_count=8,
    )
    images, landmarks = learned.render(learned.people(3, seed=0))
    assert images.shape == (3, 3, CROP, CROP) and images.float().std() > 10
    assert (landmarks.mean(0) - torch.from_numpy(space.shape_mean)).norm(dim=1).mean() < 3
    restored = learned.render(learned.encode(faces.images[:8], faces.landmarks[:8]))[0].float()
    average = learned.render(np.zeros((8, learned.dimensions), np.float32))[0].float()
    target = faces.images[:8].float()
    assert (restored - target).square().mean() < 0.5 * (average - target).square().mean()


def test_no_photograph_is_in_the_file():
    """Components are many fewer than photographs, and no array has one row per photograph."""
    with np.load(FILE) as file:
        assert max(array.shape[0] for array in map(file.__getitem__, file.files) if array.ndim > 1) <= 478
    assert {f.name for f in dataclasses.fields(FaceSpace)} == {
        "texture_mean", "texture_components", "shape_mean", "shape_components", "between", "within",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.shared
def test_an_independent_recogniser_tells_people_of_the_face_space_apart(space, shared):
    from facelesion.models.mobilefacenet import MobileFaceNet
    from facelesion.tasks.scores import area_under_curve

    judge = MobileFaceNet().eval()
    judge.load_state_dict(
        torch.load(shared / "data" / "mobilefacenet.pt", map_location="cpu", weights_only=True)
    )
    faces = space.draw(60, 3, seed=77)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        pixels = (faces.images / 255 - mean[:, None, None]) / deviation[:, None, None]
        embedding = torch.nn.functional.normalize(judge(pixels), dim=1)
    first, second = torch.combinations(torch.arange(len(faces))).T
    same = torch.tensor([faces.labels[i] == faces.labels[j] for i, j in zip(first, second, strict=True)])
    assert area_under_curve((embedding[first] * embedding[second]).sum(1), same) >= 0.95


@pytest.mark.slow
@pytest.mark.shared
def test_mediapipe_finds_a_face_in_every_picture(space, shared):
    mediapipe = pytest.importorskip("mediapipe")
    signal.signal(
        signal.SIGPROF, signal.SIG_IGN
    )  # its library sends this to itself, and others reset the handler
    from mediapipe.tasks import python as tasks

    options = tasks.vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(shared / "data" / "face_landmarker.task"))
    )
    faces = space.draw(50, 4, seed=78)
    found, distances = 0, []
    with tasks.vision.FaceLandmarker.create_from_options(options) as landmarker:
        for image, landmarks in zip(faces.images, faces.landmarks, strict=True):
            framed = np.pad(image.permute(1, 2, 0).numpy(), ((40, 40), (40, 40), (0, 0)), mode="edge")
            picture = mediapipe.Image(
                image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(framed)
            )
            result = landmarker.detect(picture).face_landmarks
            if result:
                found += 1
                mesh = np.array([(p.x * 192 - 40, p.y * 192 - 40) for p in result[0]])
                between_eyes = np.linalg.norm(landmarks[468] - landmarks[473])
                distances.append(np.linalg.norm(mesh - landmarks.numpy(), axis=1).mean() / between_eyes)
    assert found >= 0.98 * len(faces)
    assert np.mean(distances) < 0.05  # in distances between the eyes
