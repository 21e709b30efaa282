"""The face memory test: 72 items as published, not to be passed by guessing."""

import pytest
import torch

from facelesion.data import FaceSet, ImageSet
from facelesion.data.face_memory import CHANCE, HUMAN_MEANS, ITEMS, build_memory_test
from facelesion.errors import Error


def faces_of(people, pictures, landmarks=True):
    generator = torch.Generator().manual_seed(people * 100 + pictures)
    count = people * pictures
    pixels = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)
    labels = tuple(f"person-{i // pictures}" for i in range(count))
    names = tuple(f"{label}/{i % pictures}" for i, label in enumerate(labels))
    if not landmarks:
        return ImageSet(pixels, labels, names)
    return FaceSet(pixels, labels, names, torch.randn(count, 478, 2, generator=generator))


@pytest.fixture
def test():
    return build_memory_test(faces_of(20, 12), seed=3)


def people_embeddings(test, noise=0.0, seed=0):
    people = sorted(set(test.pictures.labels))
    one_hot = torch.eye(len(people))[[people.index(label) for label in test.pictures.labels]]
    return one_hot + noise * torch.randn(one_hot.shape, generator=torch.Generator().manual_seed(seed))


def test_there_are_72_items_18_same_30_novel_24_under_noise(test):
    assert ITEMS == 72 and tuple(test.items.shape) == (72, 3) and CHANCE == 24
    assert test.section.bincount().tolist() == [18, 30, 24]
    for target in range(6):
        assert test.section[test.target == target].bincount().tolist() == [3, 5, 4]


def test_every_item_shows_one_target_and_two_other_people(test):
    labels = test.pictures.labels
    targets = {labels[row] for row in test.study.flatten().tolist()}
    assert len(targets) == 6
    for item, answer, target in zip(
        test.items.tolist(), test.answer.tolist(), test.target.tolist(), strict=True
    ):
        shown = [labels[row] for row in item]
        assert len(set(shown)) == 3
        assert shown[answer] == labels[int(test.study[target, 0])]
        assert not set(shown[:answer] + shown[answer + 1 :]) & targets


def test_studied_pictures_come_back_only_in_the_first_section(test):
    studied = set(test.study.flatten().tolist())
    right = test.items[torch.arange(72), test.answer]
    for picture, section in zip(right.tolist(), test.section.tolist(), strict=True):
        assert (picture in studied) is (section == 0)


def test_right_pictures_are_new_in_every_item(test):
    right = test.items[torch.arange(72), test.answer]
    names = [test.pictures.names[row].removesuffix("+noise") for row in right.tolist()]
    assert len(set(names)) == 72


def test_noise_is_on_the_pictures_of_the_last_section_alone(test):
    for item, section in zip(test.items.tolist(), test.section.tolist(), strict=True):
        assert all(test.pictures.names[row].endswith("+noise") is (section == 2) for row in item)
    faces = faces_of(20, 12)
    for row, name in enumerate(test.pictures.names):
        source = faces.names.index(name.removesuffix("+noise"))
        same = torch.equal(test.pictures.images[row], faces.images[source])
        assert same is not name.endswith("+noise")


def test_the_right_place_is_each_of_the_three_24_times(test):
    assert test.answer.bincount().tolist() == [24, 24, 24]


def test_an_observer_who_knows_everybody_gets_72_and_one_who_knows_nobody_24(test):
    assert test.score(people_embeddings(test)).correct == 72
    for blind in (torch.zeros, torch.ones):
        score = test.score(blind(len(test.pictures), 8))
        assert score.correct == CHANCE
    assert test.score(torch.full((len(test.pictures), 8), torch.nan)).correct == CHANCE


def test_whoever_only_knows_pictures_passes_the_first_section_alone(test):
    # Every picture its own direction: studied pictures are recognised, people are not.
    score = test.score(torch.eye(len(test.pictures)))
    assert score.by_section["same view"] == 18
    assert score.by_section["novel views"] + score.by_section["noise"] < 35


def test_scores_fall_as_embeddings_get_noisy(test):
    scores = [test.score(people_embeddings(test, noise)).correct for noise in (0.1, 0.5, 5.0)]
    assert scores[0] == 72 and scores[0] >= scores[1] > scores[2]
    assert abs(scores[2] - CHANCE) < 18


def test_scores_by_section_add_up(test):
    score = test.score(people_embeddings(test, 0.8))
    assert sum(score.by_section.values()) == score.correct == int((score.answers == test.answer).sum())


def test_what_was_learned_before_the_damage_can_be_kept(test):
    healthy = people_embeddings(test)
    dead = torch.zeros_like(healthy)
    assert test.score(dead, memory=healthy).correct == CHANCE
    assert test.score(healthy, memory=dead).correct == CHANCE
    turned = healthy.roll(1, dims=1)
    assert test.score(turned).correct == 72, "both learned and seen alike"
    assert test.score(turned, memory=healthy).correct < 72, "no longer what was learned"


def test_one_seed_gives_one_test_and_another_another():
    faces = faces_of(20, 12)
    one, again, other = (build_memory_test(faces, seed) for seed in (1, 1, 2))
    assert torch.equal(one.items, again.items) and one.manifest() == again.manifest()
    assert one.manifest() != other.manifest()


def test_eight_pictures_of_six_people_and_two_others_are_enough():
    for faces in (faces_of(8, 8), faces_of(8, 8, landmarks=False)):
        test = build_memory_test(faces)
        assert len(test.items) == 72 and test.score(people_embeddings(test)).correct == 72
        assert type(test.pictures) is type(faces)
    with pytest.raises(Error, match="6 people with 8 pictures"):
        build_memory_test(faces_of(20, 7))
    with pytest.raises(Error, match="2 others"):
        build_memory_test(faces_of(7, 12))


def test_landmarks_go_with_their_pictures(test):
    faces = faces_of(20, 12)
    for row, name in enumerate(test.pictures.names):
        source = faces.names.index(name.removesuffix("+noise"))
        assert torch.equal(test.pictures.landmarks[row], faces.landmarks[source])


def test_wrong_alternatives_are_seen_from_the_side_the_target_is():
    faces = faces_of(40, 12)
    # Each picture is one of three views.
    view = torch.arange(len(faces)) % 3
    seen = torch.zeros(len(faces), 478, 2)
    seen[:, 0, 0] = 100.0 * view
    faces = FaceSet(faces.images, faces.labels, faces.names, seen)
    test = build_memory_test(faces)
    shown = test.pictures.landmarks[:, 0, 0][test.items]
    alike = (shown == shown.gather(1, test.answer[:, None])).float().mean()
    assert alike > 0.9


def test_embeddings_of_the_wrong_number_are_refused(test):
    with pytest.raises(Error, match="pictures"):
        test.score(torch.zeros(3, 8))


def test_people_are_better_than_prosopagnosics_who_are_better_than_guessing():
    assert 72 > HUMAN_MEANS["upright"] > HUMAN_MEANS["inverted"] > HUMAN_MEANS["prosopagnosics"] > CHANCE
