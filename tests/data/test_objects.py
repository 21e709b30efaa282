"""Built-in objects and non-faces: many kinds, told apart by shape alone, the same for the same seed."""

import signal
import tarfile
import time

import numpy as np
import pytest
import torch
from PIL import Image

from facelesion.data import FaceSet, ImageSet
from facelesion.data import objects as objects_module
from facelesion.data.objects import (
    CATEGORIES,
    PHASE,
    TEXTURE,
    TILES,
    builtin_exemplars,
    builtin_objects,
    nonfaces,
    object_folder,
    phase_scramble,
    tile_scramble,
)
from facelesion.data.shapes import MAKERS
from facelesion.errors import Error


@pytest.fixture(scope="module")
def objects():
    return builtin_objects(30, seed=5)


@pytest.fixture
def faces():
    pixels = torch.randint(
        0, 256, (4, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return FaceSet(pixels, tuple("abcd"), tuple("1234"), torch.zeros(4, 478, 2))


def test_every_category_has_as_many_pictures_as_the_next(objects):
    assert len(CATEGORIES) >= 10 and len(objects) == 30 * len(CATEGORIES)
    assert {label: objects.labels.count(label) for label in CATEGORIES} == dict.fromkeys(CATEGORIES, 30)
    assert len(set(objects.names)) == len(objects) and objects.images.shape[1:] == (3, 112, 112)


def test_one_seed_gives_one_set_and_another_another():
    assert builtin_objects(2, seed=3).digest == builtin_objects(2, seed=3).digest
    assert builtin_objects(2, seed=3).digest != builtin_objects(2, seed=4).digest
    assert nonfaces(20, seed=3).digest == nonfaces(20, seed=3).digest != nonfaces(20, seed=4).digest


def test_a_longer_set_starts_like_a_shorter_one():
    short, long = builtin_objects(1, seed=3), builtin_objects(2, seed=3)
    assert torch.equal(short.images, long[slice(0, None, 2)].images)


def test_no_picture_comes_twice(objects):
    assert len(objects.images.flatten(1).unique(dim=0)) == len(objects)


def accuracy_of_nearest_mean(features, labels):
    """Accuracy of telling categories by the nearest category mean, halves trained and tested."""
    features = (features - features.mean(0)) / features.std(0).clamp_min(1e-9)
    labels = np.array(labels)
    train = np.arange(len(labels)) % 2 == 0
    means = torch.stack([features[train & (labels == category)].mean(0) for category in CATEGORIES])
    answers = torch.cdist(features[~train], means).argmin(1)
    return float((np.array(CATEGORIES)[answers] == labels[~train]).mean())


def test_colour_does_not_tell_categories_apart(objects):
    pixels = objects.images.float().flatten(2)
    colours = torch.cat([pixels.mean(2), pixels.std(2)], 1)
    chance = 1 / len(CATEGORIES)
    assert accuracy_of_nearest_mean(colours, objects.labels) < 3.5 * chance


def test_size_position_and_ground_vary_within_a_category(objects):
    for category in CATEGORIES:
        some = objects[[i for i, label in enumerate(objects.labels) if label == category]].images.float()
        assert some.std(0).mean() > 30, category


def test_edges_are_smooth():
    # Drawn without averaging, a picture would hold few grey levels along its edges.
    cups = builtin_exemplars(3, 1, categories=("cup", "key")).images
    assert all(len(picture.flatten().unique()) > 100 for picture in cups)


def test_exemplars_keep_their_colours_while_pictures_differ():
    pictures = builtin_exemplars(6, 4, seed=2, categories=("car",))
    assert len(set(pictures.labels)) == 6 and len(pictures.images.flatten(1).unique(dim=0)) == 24
    assert pictures.labels[:4] == ("car-2-0000",) * 4


def test_an_exemplar_is_the_same_thing_whoever_else_is_drawn():
    alone = builtin_exemplars(1, 2, seed=2, categories=("shoe",))
    among = builtin_exemplars(1, 2, seed=2, categories=("car", "shoe"))
    assert torch.equal(alone.images, among[[2, 3]].images)


def test_sizes_can_be_chosen():
    assert builtin_objects(1, size=64).size == 64
    with pytest.raises(Error, match="16 are needed"):
        builtin_objects(1, size=4)
    with pytest.raises(Error, match="no built-in object 'zebra'"):
        builtin_exemplars(1, 1, categories=("zebra",))


def test_nonfaces_are_of_four_kinds_in_fixed_shares(faces):
    made = nonfaces(50, seed=1, faces=faces)
    counts = {kind: made.labels.count(kind) for kind in (TEXTURE, PHASE, TILES)}
    assert counts == {TEXTURE: 10, PHASE: 10, TILES: 10}
    assert sum(label in CATEGORIES for label in made.labels) == 20
    assert len(set(made.names)) == 50
    without = nonfaces(50, seed=1)
    assert without.labels.count(TEXTURE) == 20 and PHASE not in without.labels


def test_nonfaces_show_other_objects_than_the_object_task(faces):
    together = torch.cat([nonfaces(200, seed=5).images, builtin_objects(20, seed=5).images]).flatten(1)
    assert len(together.unique(dim=0)) == len(together)


def test_nonfaces_of_faces_of_another_size(faces):
    assert nonfaces(10, size=64, faces=faces).images.shape == (10, 3, 64, 64)
    with pytest.raises(Error, match="at least one"):
        nonfaces(0)


def test_phase_scrambling_keeps_amplitudes_and_moves_phases():
    y, x = np.mgrid[0:64, 0:64]
    picture = 128 + 40 * np.sin(x / 5) * np.cos(y / 7)
    images = torch.from_numpy(np.stack([picture, picture * 0.9, picture * 0.8])).to(torch.uint8)[None]
    scrambled = phase_scramble(images, seed=1)
    before, after = (torch.fft.rfft2(pixels.float()) for pixels in (images, scrambled))
    strong = before.abs() > 2000
    assert ((after.abs() - before.abs())[strong].abs() / before.abs()[strong]).max() < 0.05
    turned = torch.angle(after / before)[strong]
    assert turned.abs().max() > 0.5
    # Every channel turns alike, so hues stay.
    ratio = scrambled[0, 1].float() / scrambled[0, 0].float().clamp_min(1)
    assert (ratio - 0.9).abs().median() < 0.02


def test_tile_scrambling_only_moves_tiles(faces):
    scrambled = tile_scramble(faces.images, seed=1, tiles=8)
    assert not torch.equal(scrambled, faces.images)
    for before, after in zip(faces.images, scrambled, strict=True):
        cells = [
            sorted(cell.numpy().tobytes() for cell in tiles_of(picture, 14)) for picture in (before, after)
        ]
        assert cells[0] == cells[1]
    assert tile_scramble(faces.images, tiles=9).shape == faces.images.shape


def tiles_of(picture, side):
    for top in range(0, picture.shape[1], side):
        for left in range(0, picture.shape[2], side):
            yield picture[:, top : top + side, left : left + side].contiguous()


def test_making_pictures_is_quick_enough_to_do_on_the_fly():
    builtin_objects(1)
    start = time.process_time()
    builtin_objects(6)
    per_second = 96 / (time.process_time() - start)
    assert per_second > 60  # 400 on an idle core; the bound leaves room for a slow and busy machine


@pytest.fixture
def folder(tmp_path):
    for category, count in {"cup": 3, "car": 2}.items():
        (tmp_path / "objects" / category).mkdir(parents=True)
        for number in range(count):
            picture = Image.new("RGB", (60 + number, 40), (10 * number, 20, 30))
            picture.save(tmp_path / "objects" / category / f"image_{number:04d}.png")
    return tmp_path / "objects"


def test_a_folder_or_archive_of_photographs_is_read(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FACELESION_CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "objects.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "objects")
    for given in (folder, archive):
        read = object_folder(given, size=32)
        assert read.labels == ("car", "car", "cup", "cup", "cup") and read.images.shape == (5, 3, 32, 32)
        assert read.names[0] == "car/image_0000.png" and read.images[1, :, 16, 16].tolist() == [10, 20, 30]
    assert object_folder(folder, per_category=2).labels == ("car", "car", "cup", "cup")


def test_a_photograph_that_cannot_be_read_is_named(folder):
    (folder / "cup" / "image_9999.png").write_text("no picture")
    with pytest.raises(Error, match=r"image_9999\.png: not a picture"):
        object_folder(folder)
    with pytest.raises(Error, match="no such folder"):
        object_folder(folder / "nowhere")


@pytest.mark.parametrize("scramble", [phase_scramble, tile_scramble])
def test_fractions_of_brightness_are_not_scrambled_to_black(scramble):
    for images in (torch.rand(1, 3, 16, 16), torch.zeros(1, 3, 16, 16, dtype=torch.int64), torch.zeros(3, 16, 16)):
        with pytest.raises(Error, match="uint8"):
            scramble(images, 0)


@pytest.mark.shared
def test_the_research_objects_are_twenty_categories_of_sixty(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("FACELESION_CACHE", str(tmp_path / "cache"))
    read = object_folder(shared / "data" / "objects.tgz", size=32, per_category=5)
    assert isinstance(read, ImageSet) and len(read) == 100 and len(set(read.labels)) == 20


@pytest.mark.shared
@pytest.mark.slow
def test_a_face_detector_sees_faces_in_practically_no_nonface(shared):
    import cv2
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    from facelesion.data.facespace import FaceSpace

    model = BaseOptions(model_asset_path=str(shared / "data" / "face_landmarker.task"))
    options = vision.FaceLandmarkerOptions(base_options=model)
    faces = FaceSpace.load().draw(people=40, pictures=1, seed=11)
    made = nonfaces(300, seed=11, faces=faces)
    # MediaPipe's library sends this signal, which ends a program that does not ignore it.
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    with vision.FaceLandmarker.create_from_options(options) as detector:

        def found(image):
            picture = cv2.copyMakeBorder(image.permute(1, 2, 0).numpy(), *[28] * 4, cv2.BORDER_REPLICATE)
            return bool(detector.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, picture)).face_landmarks)

        assert sum(map(found, made.images)) <= 6
        assert sum(map(found, faces.images)) >= 38, "the detector itself must see faces"


def what_the_parts_show(category, number, picture):
    """Mean colour and share of the area of each of an exemplar's four colours, by somebody who knows where they are."""
    exemplar = (91, CATEGORIES.index(category), number)
    shown = objects_module.object_picture(category, exemplar, picture, 112).astype(np.float32) / 255
    who = np.random.default_rng([*exemplar, 0xC0FFEE])
    shape = MAKERS[category](who)
    now = np.random.default_rng([*exemplar, picture, 0xBEEF])
    objects_module.textured_ground(now, 112)
    marks = np.array([[40, 0, 0], [80, 0, 0], [120, 0, 0], [160, 0, 0]], np.float32)
    roles, cover = objects_module.drawn_shape(objects_module.posed_shape(shape, now), marks, 112)
    colours, shares = [], []
    for mark in marks[:, 0]:
        here = (cover > 0.9) & (np.abs(roles[..., 0] - mark) < 1)
        colour = shown[here].mean(0) if here.any() else np.zeros(3)
        colours.append(colour - colour.mean())
        shares.append(here.sum() / (cover > 0.5).sum())
    return np.concatenate(colours), np.array(shares)


@pytest.mark.parametrize("category", ["car", "chair", "cup", "house"])
def test_an_exemplar_can_be_told_in_new_views_by_its_colours_and_by_its_shape(category):
    from facelesion.tasks.exemplars import within_class_whitening
    from facelesion.training.reached import named_by_likeness

    found = [what_the_parts_show(category, number, picture) for number in range(40) for picture in range(5)]
    names = [str(number) for number in range(40) for _ in range(5)]
    for values, least in ((np.array([each[0] for each in found]), 0.75), (np.array([each[1] for each in found]), 0.4)):
        features = torch.from_numpy(values).float()
        features = features / features.std(0).clamp_min(1e-6)
        own, asked = features[:100], features[100:]  # of twenty things each: how pictures differ is learned from others
        centre, whitening = within_class_whitening(own, tuple(names[:100]), 0.01)
        assert named_by_likeness((asked - centre) @ whitening, names[100:], 3) >= least  # chance is 0.05
