"""Sources of a study's pictures: nobody trains and is tested, and too few people are told with what would fit."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facelesion.data import photographs
from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.from_lfw import LfwPictures
from facelesion.data.from_people import PeoplePictures
from facelesion.data.imagesets import FaceSet
from facelesion.data.materials import LeftOut, Materials, balanced_pairs, split_by_label
from facelesion.data.pairs import NamedPair
from facelesion.data.preparation import prepare
from facelesion.data.sources import SOURCES
from facelesion.errors import Error
from facelesion.faces import landmarks
from facelesion.faces.landmarks import Face
from facelesion.faces.regions import mean_face
from facelesion.settings import SettingError

FEW = {"enrolment_pictures": 1, "probe_pictures": 1, "object_pictures": 1, "object_training_pictures": 2,
       "other_pictures": 3}  # fmt: skip
SMALL = FaceSpacePictures(
    training_people=5, training_pictures=2, enrolled_people=4, new_people=3, new_pictures=2,
    **(FEW | {"enrolment_pictures": 2, "probe_pictures": 2}),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def few_familiar_people():
    """Fewer pictures than the memory test needs, which is not given here: drawing them takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facelesion.data.from_facespace.FAMILIAR_PICTURES", 2)
        yield


class Painted:
    """A backend that finds a mean face in every photograph whose first pixel is bright."""

    name = "painted"
    version = "1"

    def __init__(self, model: object = None) -> None:
        pass

    def find(self, photograph: np.ndarray) -> list[Face]:
        found = Face(mean_face(min(photograph.shape[:2])).numpy() * 0.9, yaw=0.0)
        return [found] if photograph[0, 0, 0] > 100 else []

    def close(self) -> None:
        pass


def paint(path: Path, seed: int, face: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    picture[0, 0] = 200 if face else 0
    Image.fromarray(picture).save(path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Ten people with three photographs each and one with one, prepared; the photographs are gone since."""
    root = tmp_path_factory.mktemp("people")
    for person in range(10):
        for number in range(3):
            paint(root / "photographs" / f"person {person}" / f"{number}.png", 10 * person + number)
    paint(root / "photographs" / "seen once" / "0.png", 500)
    paint(root / "photographs" / "person 3" / "turned away.png", 600, face=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(landmarks.BACKENDS, "painted", Painted)
        prepare(root / "photographs", root / "prepared", landmarks="painted", workers=1, progress=False)
    shutil.rmtree(root / "photographs")
    return root / "prepared"


def check_roles(materials: Materials) -> None:
    """Who trains readouts is asked about nowhere, and no picture is both remembered and asked about."""
    training = set(materials.training.labels)
    for faces in (materials.enrolment, materials.probes, materials.strangers, materials.familiar):
        assert not training & set(faces.labels)
    assert set(materials.probes.labels) == set(materials.enrolment.labels)
    assert not set(materials.probes.names) & set(materials.enrolment.names)
    assert not set(materials.objects.names) & set(materials.training_objects.names)
    assert not set(materials.others.names) & set(materials.training_others.names)
    for faces, (first, second, same) in (
        (materials.training, materials.training_pairs), (materials.strangers, materials.pairs),
    ):  # fmt: skip
        people = [[faces.labels[row] for row in rows.tolist()] for rows in (first, second)]
        assert [a == b for a, b in zip(*people, strict=True)] == same.tolist()
        assert same.any() and not same.all() and (first != second).all()


def digests(materials: Materials) -> dict[str, str]:
    return {role: pictures.digest for role, pictures in materials.sets().items()}


def test_people_of_the_face_space_have_one_role_each():
    materials = SMALL.gather(seed=3, size=112)
    check_roles(materials)
    roles = (materials.training, materials.enrolment, materials.strangers, materials.familiar)
    people = [set(faces.labels) for faces in roles]
    assert [len(each) for each in people[:3]] == [5, 4, 3]
    assert len(set.union(*people)) == sum(map(len, people))
    assert (len(materials.enrolment), len(materials.probes), len(materials.others)) == (8, 8, 3)
    faces = torch.cat([faces.images for faces in roles]).flatten(1)
    assert len(faces.unique(dim=0)) == len(faces)


def test_the_seed_decides_who_is_drawn_from_the_face_space():
    one, again, other = (digests(SMALL.gather(seed, 112)) for seed in (3, 3, 4))
    assert one == again
    assert not set(one.values()) & set(other.values())


def test_the_face_space_says_that_it_is_enlarged_for_larger_networks():
    assert SMALL.gather(seed=0, size=112).remarks == () == SMALL.gather(seed=0, size=64).remarks
    (remark,) = SMALL.gather(seed=0, size=224).remarks
    assert "112 pixels" in remark and "224" in remark


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_tells_apart_what_it_is_from_where_it_lies(name):
    source = SOURCES[name]
    fields = source.__dataclass_fields__
    assert set(source.places) <= set(fields) and "objects" in source.places
    assert "training_people" in fields and "training_people" not in source.places


def test_somebody_who_trains_and_is_tested_is_refused():
    materials = SMALL.gather(seed=0, size=112)
    with pytest.raises(Error, match="both trains the readouts and is tested"):
        Materials(**{**vars(materials), "strangers": materials.training})


def test_a_prepared_folder_needs_neither_model_nor_photographs(prepared, monkeypatch):
    monkeypatch.setattr(photographs, "prepare", lambda *_, **__: pytest.fail("prepared again"))
    monkeypatch.setattr("facelesion.data.preparation.run.hashes_of", lambda *_: pytest.fail("photographs are read"))
    materials = PeoplePictures(root=str(prepared), **FEW).gather(seed=0, size=112)
    check_roles(materials)
    assert materials.left_out == (LeftOut("person 3/turned away.png", "no face found"),)
    counts = [len(set(f.labels)) for f in (materials.training, materials.enrolment, materials.strangers)]
    assert sum(counts) == 10 and min(counts) >= 2
    (remark,) = materials.remarks
    assert f"{counts[0]} train" in remark and f"{counts[1]} are enrolled" in remark and f"{counts[2]} are new" in remark


def test_photographs_that_are_gone_are_read_from_where_they_were_prepared(prepared):
    one = PeoplePictures(root=str(prepared), **FEW).gather(seed=0, size=112)
    gone = PeoplePictures(root=str(prepared.parent / "photographs"), prepared=str(prepared), **FEW)
    assert digests(gone.gather(seed=0, size=112)) == digests(one)


def test_who_has_which_role_hangs_on_names_and_seed_alone(prepared):
    names = [f"person {n}" for n in range(12)]
    source = PeoplePictures(root="anywhere", **FEW)
    labels = [name for name in names for _ in range(3)]
    roles = source.share_out(labels, seed=5)
    shuffled = np.random.default_rng(1).permutation(labels).tolist()
    assert source.share_out(shuffled, seed=5) == roles
    assert source.share_out([*labels, *labels], seed=5) == roles
    assert PeoplePictures(root="elsewhere", **FEW).share_out(labels, seed=5) == roles
    assert source.share_out(labels, seed=6) != roles
    assert sorted(name for people in roles.values() for name in people) == sorted(names)
    assert all(people == sorted(people) for people in roles.values())
    one, again = (PeoplePictures(root=str(prepared), **FEW).gather(seed=2, size=112) for _ in range(2))
    assert digests(one) == digests(again)


@pytest.mark.parametrize("people", range(6, 30))
def test_whatever_the_number_of_people_everybody_who_can_take_part_does(people):
    labels = [f"person {n}" for n in range(people) for _ in range(2)]
    roles = PeoplePictures(root="x", **FEW).share_out(labels, seed=0)
    assert sum(map(len, roles.values())) == people and min(map(len, roles.values())) >= 2


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"new_people": 16}, {"new": 16}),
        ({"training_people": 16}, {"training": 16}),
        ({"enrolled_people": 16}, {"enrolled": 16}),
        ({"enrolled_people": 8, "new_people": 10}, {"enrolled": 8, "training": 2, "new": 10}),
        ({"training_people": 6, "enrolled_people": 6, "new_people": 6}, {"training": 6, "enrolled": 6, "new": 6}),
    ],
)
def test_who_is_asked_for_is_there_and_the_others_make_room(asked, given):
    labels = [f"person {n}" for n in range(20) for _ in range(2)]
    roles = PeoplePictures(root="x", **FEW, **asked).share_out(labels, seed=0)
    assert {role: len(roles[role]) for role in given} == given
    assert min(map(len, roles.values())) >= 2
    assert len({name for people in roles.values() for name in people}) == sum(map(len, roles.values()))


@pytest.mark.parametrize(
    ("people", "asked", "said"),
    [
        (5, {}, "pictures.enrolled_people: 2 people are needed, 1 have 2 photographs or more.*add people"),
        (1, {}, "pictures.enrolled_people: 2 people are needed, 0 have"),
        (12, {"enrolment_pictures": 3}, "pictures.enrolled_people: 2 people are needed, 0 have 4 photographs"),
        (12, {"enrolled_people": 11}, "pictures.enrolled_people: 11 people are needed, 8 .*ask for 2 to 8"),
        (12, {"enrolled_people": 4, "training_people": 7},
         "pictures.(enrolled|training)_people: [47] people are needed, [36] .*ask for 2 to [36]"),
        (12, {"enrolled_people": 4, "training_people": 4, "new_people": 5},
         "pictures.(enrolled|training|new)_people: [45] people are needed, [34] .*ask for 2 to [34]"),
        (12, {"new_people": 100}, "pictures.new_people: 100 people are needed, 8 .*ask for 2 to 8"),
        (12, {"training_people": 100}, "pictures.training_people: 100 people are needed, 8 .*ask for 2 to 8"),
        (12, {"enrolled_people": 1}, "pictures.enrolled_people: 1 people are needed.*ask for 2 to 8"),
    ],
)  # fmt: skip
def test_too_few_people_for_a_role_are_told_with_what_would_fit(people, asked, said):
    labels = [f"person {n}" for n in range(people) for _ in range(3)] + ["seen once"]
    with pytest.raises(Error, match=said) as told:
        PeoplePictures(root="x", **(FEW | asked)).share_out(labels, seed=0)
    assert "\n" not in str(told.value)


def test_a_folder_in_which_hardly_a_face_was_found_is_no_folder_of_faces(tmp_path, monkeypatch):
    monkeypatch.setitem(landmarks.BACKENDS, "painted", Painted)
    for number in range(40):
        paint(tmp_path / "things" / f"thing {number % 8}" / f"{number}.png", number, face=number >= 24)
    prepare(tmp_path / "things", tmp_path / "out", landmarks="painted", workers=1, progress=False)
    with pytest.raises(Error, match="found in only 16 of 40 photographs, which is no folder of faces"):
        PeoplePictures(root=str(tmp_path / "out"), **FEW).gather(seed=0, size=112)
    check_roles(PeoplePictures(root=str(tmp_path / "out"), faces_needed=0.4, **FEW).gather(seed=0, size=112))


@pytest.mark.parametrize("source", [PeoplePictures, LfwPictures])
def test_a_folder_that_is_not_there_is_named(source, tmp_path):
    with pytest.raises(Error, match="nowhere"):
        source(root=str(tmp_path / "nowhere")).gather(seed=0, size=112)


def test_held_out_pictures_are_no_training_pictures_and_every_label_has_both():
    from facelesion.data.objects import builtin_objects

    pictures = builtin_objects(4, seed=0, size=32)
    training, held_out = split_by_label(pictures, 1, seed=0)
    assert not set(training.names) & set(held_out.names)
    assert set(training.labels) == set(held_out.labels) == set(pictures.labels)
    assert len(held_out) == len(set(pictures.labels))
    with pytest.raises(Error, match="has 4 pictures; 5 or more are needed"):
        split_by_label(pictures, 4, seed=0)


def test_pairs_are_halved_between_the_kinds_and_too_few_are_told():
    same = torch.tensor([True] * 5 + [False] * 20)
    rows = balanced_pairs(same, 8, seed=0)
    assert len(rows.unique()) == 8 and int(same[rows].sum()) == 4
    assert balanced_pairs(same, 0, seed=0).tolist() == list(range(25))
    with pytest.raises(Error, match="pictures.pairs is 12: there are 5 and 20"):
        balanced_pairs(same, 12, seed=0)


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
    settings = {
        "root": str(small_lfw / "photographs"), "protocols": str(small_lfw), "prepared": str(tmp_path / "prepared"),
        "landmarker": str(shared / "data" / "face_landmarker.task"), "training_people": 5, "training_pictures": 3,
        "enrolled_people": 6, "pairs": 8, **(FEW | {"enrolment_pictures": 2, "probe_pictures": 2}),
    }  # fmt: skip
    source = LfwPictures(**settings)
    materials = source.gather(seed=0, size=112)
    check_roles(materials)
    assert len(set(materials.training.labels)) == 5
    assert len(set(materials.enrolment.labels)) == 6 and len(materials.probes) == 12
    assert int(materials.pairs[2].sum()) == 4 and len(materials.pairs[2]) == 8
    assert digests(LfwPictures(**(settings | {"landmarker": None})).gather(seed=0, size=112)) == digests(materials)
    with pytest.raises(Error, match="pictures.training_people is 99, but only 8"):
        LfwPictures(**(settings | {"training_people": 99})).gather(seed=0, size=112)


def test_photographs_of_things_that_trained_a_network_are_passed_over(tmp_path):
    for category in ("boats", "lamps"):
        for number in range(6):
            paint(tmp_path / category / f"{number}.png", seed=number, face=False)
    settings = {"objects": str(tmp_path), "object_pictures": 1, "object_training_pictures": 2}
    faces = SMALL.gather(seed=0, size=112).training
    source = dataclasses.replace(SMALL, **settings, objects_passed_over=3)
    found = source.without_faces(0, 112, faces, faces)
    shown = {*found["objects"].names, *found["training_objects"].names}
    assert shown == {f"{category}/{number}.png" for category in ("boats", "lamps") for number in (3, 4, 5)}
    with pytest.raises(Error, match="objects_passed_over is 6, and 'boats' has 6"):
        dataclasses.replace(source, objects_passed_over=6).without_faces(0, 112, faces, faces)
    with pytest.raises(SettingError, match="objects_passed_over does nothing"):
        dataclasses.replace(SMALL, objects_passed_over=3)


class TestRankingOnLfw:
    """Units are ranked on people whom no network was trained on and nobody is tested with; lists and faces made up."""

    @pytest.fixture
    def source(self, monkeypatch):
        people = {part: [f"{part}{number}" for number in range(60)] for part in ("train", "test")}
        labels = [name for names in people.values() for name in names for _ in range(12 if name.endswith("0") else 4)]
        crops = torch.randint(0, 256, (len(labels), 3, 16, 16), generator=torch.Generator().manual_seed(0))
        names = tuple(f"{name}/{row}.jpg" for row, name in enumerate(labels))
        faces = FaceSet(crops.to(torch.uint8), tuple(labels), names, torch.zeros(len(labels), 5, 2))
        first = {name: labels.index(name) for name in people["test"]}

        class Lists:
            root = "nowhere"

            def people(self, part):
                return people[part]

            def pairs(self, part):
                def name(person, number):
                    return f"{person}/{first[person] + number}.jpg"

                some = people["test"][:10]
                return tuple(
                    NamedPair(name(one, 0), name(two, 1), one == two)
                    for one, two in [*zip(some, some, strict=True), *zip(some, some[1:] + some[:1], strict=True)]
                )

        monkeypatch.setattr(LfwPictures, "open", lambda self: Lists())
        monkeypatch.setattr(LfwPictures, "faces", lambda self, root, size: (faces, ()))
        return LfwPictures(root="nowhere", training_people=5, enrolled_people=6, pairs=8, **FEW)

    def test_nobody_has_another_role_and_nobody_trained_the_networks(self, source):
        materials = source.gather(seed=0, size=16)
        ranking, said = source.for_ranking(0, 16, materials)
        ranked = set(ranking["faces"].labels)
        assert len(ranked) == 40 and "40 of LFW's View 1 test people who have no other role" in said
        assert all(name.startswith("test") for name in ranked)
        for role, pictures in materials.sets().items():
            assert not ranked & set(pictures.labels), role
        assert max(ranking["faces"].labels.count(name) for name in ranked) <= 4
        # Whoever has pictures enough to be learned stays for the tests that let faces be learned.
        learnable = {name for name in materials.familiar.labels if materials.familiar.labels.count(name) >= 12}
        assert len(learnable) == 6 and not learnable & ranked
        again, _ = source.for_ranking(0, 16, materials)
        other, _ = source.for_ranking(1, 16, source.gather(seed=1, size=16))
        assert again["faces"].digest == ranking["faces"].digest != other["faces"].digest

    def test_too_few_people_are_told(self, source, monkeypatch):
        materials = source.gather(seed=0, size=16)
        monkeypatch.setattr("facelesion.data.from_lfw.FAMILIAR", 2)
        with pytest.raises(Error, match="0 of LFW's View 1 test people are in no role"):
            source.for_ranking(0, 16, materials)


@pytest.mark.slow
@pytest.mark.shared
def test_people_of_lfw_without_its_protocols_are_shared_out(small_lfw, shared, tmp_path):
    source = PeoplePictures(
        root=str(small_lfw / "photographs"), prepared=str(tmp_path / "prepared"),
        landmarker=str(shared / "data" / "face_landmarker.task"), **FEW,
    )  # fmt: skip
    materials = source.gather(seed=0, size=112)
    check_roles(materials)
    roles = (materials.training, materials.enrolment, materials.strangers)
    assert sum(len(set(faces.labels)) for faces in roles) == 16


@pytest.mark.slow
@pytest.mark.shared
def test_objects_as_people_end_with_the_word_that_there_are_no_faces(shared, tmp_path):
    from facelesion.data.objects import unpack

    unpacked = unpack(shared / "data" / "objects.tgz", tmp_path / "objects")
    (folder, *_) = [path.parent.parent for path in sorted(Path(unpacked).rglob("*.jpg"))]
    things = tmp_path / "things"
    for category in sorted(folder.iterdir())[:8]:
        (things / category.name).mkdir(parents=True)
        for photograph in sorted(category.iterdir())[:3]:
            shutil.copy(photograph, things / category.name)
    source = PeoplePictures(
        root=str(things), prepared=str(tmp_path / "prepared"),
        landmarker=str(shared / "data" / "face_landmarker.task"), **FEW,
    )  # fmt: skip
    with pytest.raises(Error, match="no face") as told:
        source.gather(seed=0, size=112)
    assert "\n" not in str(told.value) and str(things) in str(told.value)


class TestWhereThingsLie:
    def test_a_place_that_is_not_there_is_told_with_where_it_was_looked_for(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SettingError, match="'../photos': no such file or folder at /.*: check") as told:
            PeoplePictures(root="../photos").look()
        assert str(tmp_path.parent / "photos") in str(told.value)

    def test_who_prepares_photographs_says_where_crops_of_them_are_kept(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(landmarks.BACKENDS, "mediapipe", Painted)
        monkeypatch.setenv("FACELESION_CACHE", str(tmp_path / "cache"))
        for number in range(2):
            paint(tmp_path / "photographs" / "Ada" / f"{number}.png", number)
        PeoplePictures(root=str(tmp_path / "photographs")).faces(tmp_path / "photographs", 112)
        (kept,) = (tmp_path / "cache").iterdir()
        assert f"are kept in {kept}\n" in capsys.readouterr().err
        assert (kept / "crops.npy").is_file()

    def test_a_folder_for_crops_beside_photographs_that_are_prepared_is_refused(self, prepared, tmp_path):
        with pytest.raises(SettingError, match="pictures.prepared does nothing"):
            PeoplePictures(root=str(prepared), prepared=str(tmp_path / "other"), **FEW).gather(seed=0, size=112)
