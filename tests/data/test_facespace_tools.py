"""The face space as an instrument: what is asked for changes, and as far as can be nothing else."""

import numpy as np
import pytest
import torch

from facelesion.data.facespace import FaceSpace
from facelesion.data.facespace_tools import (
    LOOKS,
    SHEETS,
    anti_face,
    caricature,
    distractors,
    draw_sheet,
    exchange_feature,
    likeness,
    look_direction,
    morph,
    with_looks,
)
from facelesion.errors import Error
from facelesion.faces.regions import region


@pytest.fixture(scope="module")
def space():
    return FaceSpace.load()


@pytest.fixture(scope="module")
def people(space):
    return space.people(8, seed=9)


def test_a_caricature_keeps_the_direction_and_an_anti_face_turns_it(space, people):
    assert np.allclose(likeness(space, caricature(people, 1.7), people), 1, atol=1e-4)
    assert np.allclose(likeness(space, anti_face(people), people), -1, atol=1e-4)
    average = space.render(np.zeros((1, space.dimensions)))[0]
    assert torch.equal(space.render(caricature(people[:1], 0))[0], average)


def test_a_caricature_is_further_from_the_average_face_in_pixels_and_landmarks(space, people):
    strengths = (0.5, 1.0, 1.5)
    average, middle = space.render(np.zeros((1, space.dimensions)))
    drawn = [space.render(caricature(people, strength)) for strength in strengths]
    pixels = [float((images.float() - average.float()).square().mean()) for images, _ in drawn]
    points = [float((landmarks - middle).square().mean()) for _, landmarks in drawn]
    assert pixels == sorted(pixels) and points == sorted(points)


def test_a_morph_goes_from_one_to_the_other(people):
    way = morph(people[0], people[1], 5)
    assert np.allclose(way[0], people[0]) and np.allclose(way[-1], people[1])
    assert np.allclose(way[2], (people[0] + people[1]) / 2, atol=1e-5)
    assert np.allclose(morph(people[0], people[1], [0.25])[0], way[1])
    with pytest.raises(Error, match="two ends"):
        morph(people[0], people[1], 1)


@pytest.mark.parametrize("similarity", [-1.0, -0.3, 0.0, 0.5, 0.9, 1.0])
def test_distractors_are_exactly_as_like_the_target_as_asked_and_as_distinctive(space, people, similarity):
    found = distractors(space, people[0], 4, similarity, seed=5)
    assert np.allclose(likeness(space, found, people[0]), similarity, atol=1e-3)
    inverse = np.linalg.pinv(space.between.astype(np.float64), rcond=1e-5).T
    lengths = np.linalg.norm(np.concatenate([people[:1], found]) @ inverse, axis=1)
    assert np.allclose(lengths, lengths[0], rtol=1e-3)


def test_distractors_are_different_people_and_the_same_for_the_same_seed(space, people):
    one, again, other = (distractors(space, people[0], 3, 0.5, seed) for seed in (5, 5, 6))
    assert np.array_equal(one, again) and not np.allclose(one, other)
    assert likeness(space, one[0], one[1]) < 0.6
    with pytest.raises(Error, match="between -1 and 1"):
        distractors(space, people[0], 1, 1.5)


@pytest.mark.parametrize("look", list(LOOKS))
def test_every_look_moves_what_it_is_called_after(space, look):
    gradient = LOOKS[look](space)
    direction = look_direction(space, look)
    # By one standard deviation of the number it changes, over the pictures of one person.
    assert gradient @ direction == pytest.approx(np.linalg.norm(space.within.T @ gradient), rel=1e-4)


def test_looks_are_seen_in_the_rendered_face(space):
    average = np.zeros((1, space.dimensions), np.float32)

    def rendered(look, amount):
        images, landmarks = space.render(with_looks(space, average, {look: amount}))
        return images[0].float().mean(0), landmarks[0]

    def change(look, measure):
        return measure(*rendered(look, 2.0)) - measure(*rendered(look, -2.0))

    assert change("mouth open", lambda image, points: points[14, 1] - points[13, 1]) > 3
    assert change("smile", lambda image, points: points[291, 0] - points[61, 0]) > 3
    assert change("brows up", lambda image, points: points[159, 1] - points[105, 1]) > 1
    assert change("turned right", lambda image, points: points[1, 0] - points[[234, 454], 0].mean()) > 5
    assert change("bright", lambda image, points: image[20:92, 20:92].mean()) > 30
    right = change(
        "light from the right", lambda image, points: image[30:80, 62:90].mean() - image[30:80, 22:50].mean()
    )
    above = change(
        "light from above", lambda image, points: image[20:50, 30:82].mean() - image[70:100, 30:82].mean()
    )
    assert right > 20 and above > 10


def test_looks_leave_the_person_mostly_alone(space, people):
    changed = with_looks(space, people[:1], {"smile": 1.0, "light from the right": 1.0})
    assert not np.allclose(changed, people[:1])
    with pytest.raises(Error, match="no look 'grin'"):
        with_looks(space, people, {"grin": 1})


@pytest.mark.parametrize("feature", ["eyebrows", "eyes", "nose", "mouth"])
def test_an_exchanged_shape_moves_the_feature_and_little_else(space, people, feature):
    receivers, donors = people[:4], people[4:]
    before, target = space.render(receivers)[1], space.render(donors)[1]
    after = exchange_feature(space, receivers, donors, feature, texture=False)[1]
    points = list(region(feature).points)
    wanted = (target - before)[:, points]
    wanted = wanted - wanted.mean(1, keepdim=True)
    moved = (after - before)[:, points]
    assert (moved - wanted).square().mean() < 0.5 * wanted.square().mean()
    distance = np.linalg.norm(space.shape_mean[:, None] - space.shape_mean[points], axis=-1).min(1)
    elsewhere = (after - before)[:, distance > 12].square().mean()
    assert elsewhere < 0.06 * (target - before)[:, distance > 12].square().mean()


@pytest.mark.parametrize("feature", ["eyes", "mouth"])
def test_an_exchanged_texture_changes_no_landmark_and_no_pixel_elsewhere(space, people, feature):
    receivers, donors = people[:2], people[4:6]
    images, landmarks = space.render(receivers)
    changed, moved = exchange_feature(space, receivers, donors, feature, shape=False)
    assert torch.equal(landmarks, moved)
    difference = (changed.float() - images.float()).abs().amax(1)
    points = landmarks[:, list(region(feature).points)]
    y, x = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
    for row in range(2):
        low, high = points[row].amin(0) - 12, points[row].amax(0) + 12
        outside = (x < low[0]) | (x > high[0]) | (y < low[1]) | (y > high[1])
        assert difference[row][outside].max() == 0 and difference[row][~outside].max() > 10


def test_exchanging_with_oneself_changes_nothing(space, people):
    images, landmarks = space.render(people[:2])
    same, points = exchange_feature(space, people[:2], people[:2], "nose")
    assert (same.int() - images.int()).abs().max() <= 1 and torch.allclose(points, landmarks, atol=1e-3)


def test_exchanges_that_cannot_be_meant_say_why(space, people):
    with pytest.raises(Error, match="neither shape nor texture"):
        exchange_feature(space, people[:1], people[1:2], "nose", shape=False, texture=False)
    with pytest.raises(Error, match="as many of both"):
        exchange_feature(space, people[:1], people[1:3], "nose")
    with pytest.raises(Error, match="did you mean 'nose'"):
        exchange_feature(space, people[:1], people[1:2], "noze")


@pytest.mark.parametrize("kind", list(SHEETS))
def test_every_sheet_is_drawn(space, kind):
    page = draw_sheet(space, kind, people=2, pictures=3)
    assert page.dtype == np.uint8 and page.shape[0] == 18 + 2 * 112 and page.shape[1] % 112 == 0
    assert page[:18].min() < 100, "titles"
    assert page[18:].reshape(2, 112, -1).std() > 20


def test_sheets_can_be_enlarged_and_unknown_ones_are_refused(space):
    assert draw_sheet(space, "people", 1, 2, scale=2).shape == (18 + 224, 448, 3)
    with pytest.raises(Error, match="no sheet 'zoo'"):
        draw_sheet(space, "zoo")
    with pytest.raises(Error, match="at least 1 and 2"):
        draw_sheet(space, "people", people=0)


@pytest.mark.shared
@pytest.mark.slow
def test_an_independent_recogniser_finds_distractors_the_more_alike_the_more_alike_they_are(space, shared):
    from facelesion.models.mobilefacenet import read_mobilefacenet

    network = read_mobilefacenet(shared / "data" / "mobilefacenet.pt").eval()
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def embedded(vectors):
        with torch.no_grad():
            return torch.nn.functional.normalize(network((space.render(vectors)[0] / 255 - mean) / deviation))

    targets = space.people(10, seed=9)
    own = embedded(targets)
    cosines = []
    for similarity in (0.9, 0.5, 0.0, -1.0):
        found = [distractors(space, target, 1, similarity, 100 + i) for i, target in enumerate(targets)]
        cosines.append(float((embedded(np.concatenate(found)) * own).sum(1).mean()))
    assert cosines == sorted(cosines, reverse=True) and cosines[0] > cosines[-1] + 0.4
