"""The commands `stimuli` and `gradcam`: what they write, and one line for what cannot be done."""

from __future__ import annotations

import itertools
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from facelesion.analysis import grad_cam
from facelesion.analysis.mapped_sites import MapSite
from facelesion.cli import run
from facelesion.data.facespace import FaceSpace
from facelesion.faces.division import PARTS
from facelesion.faces.landmarks import BACKENDS, Face
from facelesion.faces.regions import mean_face
from facelesion.lesions import Ablate, lesioned
from facelesion.looking.maps import EVIDENCE_COLUMNS, Maps
from facelesion.looking.sheets import evidence_sheet
from facelesion.models import VGGFace, get
from facelesion.weights import store

QUICK = ("--participant", "untrained", "--stimuli", "intact", "mask eyes")


def refused(capsys, *words: str) -> str:
    """The one line of an error, after checking that it is one, and that the exit status is 2."""
    assert run([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("facelesion: error: ") and not any("Traceback" in line for line in lines)
    return lines[-1]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stimuli_writes_a_sheet_and_every_single_picture(here, capsys):
    words = ["stimuli", "facespace:0", "facespace:4", "--stimuli", "intact", "mask eyes + invert"]
    assert run([*words, "--out", "sheet.svg", "--each", "singles", "--size", "64"]) == 0
    assert capsys.readouterr().out.split() == ["singles", "sheet.svg"]
    assert (here / "sheet.svg").read_text().startswith("<?xml")
    names = sorted(path.name for path in (here / "singles").iterdir())
    assert names == [
        f"facespace_{number}_{name}.png" for number in (0, 4) for name in ("intact", "mask_eyes_invert")
    ]
    picture = np.asarray(Image.open(here / "singles" / "facespace_0_intact.png"))
    masked = np.asarray(Image.open(here / "singles" / "facespace_0_mask_eyes_invert.png"))
    assert picture.shape == (64, 64, 3)
    kept = (masked[::-1, ::-1] == picture).all(-1)
    assert 0.85 < kept.mean() < 0.99 and not masked[::-1, ::-1][~kept].any()


def test_gradcam_writes_sheets_arrays_and_a_table_that_agree(here, capsys):
    words = ["gradcam", "facespace:0", "facespace:3", *QUICK, "--lesion", "noise 0.5 on conv4_3"]
    assert run([*words, "--sites", "conv4_*", "conv5_3", "--out", "found"]) == 0
    said = capsys.readouterr().out
    assert "conv5_3, damaged" in said and said.rstrip().endswith("found")
    for name in ("facespace_0.png", "facespace_0.svg", "facespace_3.png", "evidence.csv", "settings.json"):
        assert (here / "found" / name).stat().st_size > 500, name
    with np.load(here / "found" / "maps.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["sites"].tolist() == ["conv4_1", "conv4_2", "conv4_3", "conv5_3"]
    assert arrays["networks"].tolist() == ["healthy", "damaged"]
    assert arrays["map conv4_1"].shape == (2, 2, 2, 14, 14) and arrays["map conv5_3"].shape == (2, 2, 2, 7, 7)
    assert arrays["pictures"].shape == (2, 2, 112, 112, 3)
    table = pd.read_parquet(here / "found" / "evidence.parquet")
    assert list(table.columns) == list(EVIDENCE_COLUMNS)
    assert len(table) == 2 * 2 * 2 * 4 * len(PARTS)
    assert list(pd.read_csv(here / "found" / "evidence.csv").columns) == list(EVIDENCE_COLUMNS)
    row = table[
        (table.face == "facespace:3") & (table.stimulus == "mask eyes") & (table.network == "damaged")
        & (table.site == "conv5_3") & (table.part == "nose")
    ]  # fmt: skip
    share = float(arrays["share"][1, 1, 1, 3, PARTS.index("nose")])
    assert float(row.share.iloc[0]) == pytest.approx(share, nan_ok=True)
    assert set(table[table.network == "healthy"].damage) == {"none"}
    assert set(table[table.network == "damaged"].damage) == {"noise std 0.5 at conv4_3"}
    settings = json.loads((here / "found" / "settings.json").read_text())
    assert settings["lesion"]["kind"] == "Noise" and settings["weights"] == "untrained-seed0"


def test_the_arrays_are_what_the_library_computes_and_do_not_hang_on_who_else_is_looked_at(here, capsys):
    words = [*QUICK, "--lesion", "ablate 50% of conv4_3", "--sites", "conv4_2", "conv5_1", "--sheets", "0"]
    assert run(["gradcam", "facespace:2", *words, "--out", "one"]) == 0
    assert run(["gradcam", "facespace:1", "facespace:2", *words, "--out", "two"]) == 0
    one, two = (np.load(here / name / "maps.npz") for name in ("one", "two"))
    subject, space = get("untrained"), FaceSpace.load()
    images, _ = space.render(space.people(3)[-1:])
    given = subject.preprocess(images)
    with torch.no_grad():
        own = torch.nn.functional.normalize(subject.identity(subject.module(given)), dim=1)

    def along(representation: torch.Tensor) -> torch.Tensor:
        return (subject.identity(representation) * own).sum(1)

    lesion = Ablate("conv4_3", fraction=0.5)
    for number, damage in enumerate((None, lesion)):
        for site in ("conv4_2", "conv5_1"):
            expected = grad_cam(
                subject.module, given, [site], along, damage=lambda: lesioned(subject.module, damage),  # noqa: B023
                normalise=False, resize=False,
            )[site]  # fmt: skip
            assert np.allclose(one[f"map {site}"][0, 0, number], expected[0], rtol=1e-4, atol=1e-8)
            assert np.allclose(one[f"map {site}"][0], two[f"map {site}"][1], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("method", ["guided-gradcam", "integrated-gradients", "occlusion"])
def test_other_methods_write_the_same_things(here, capsys, method):
    words = ["gradcam", "facespace:0", "--participant", "untrained", "--stimuli", "intact", "--method", method]
    words += ["--sites", "conv5_3"] if method == "guided-gradcam" else []
    assert run([*words, "--lesion", "dropout 0.5 on conv4_3", "--out", "found"]) == 0
    table = pd.read_parquet(here / "found" / "evidence.parquet")
    assert set(table.method) == {method} and len(table) == 2 * len(PARTS)
    assert set(table.site) == {"conv5_3" if method == "guided-gradcam" else "input"}


def test_a_readout_for_faces_speaks_for_a_face_and_less_for_a_scrambled_one(here, capsys):
    words = ["gradcam", "facespace:0", "facespace:1", "--stimuli", "intact", "tile scramble", "--of", "detection"]
    words += ["--lesion", "noise 2 relative on conv4_3"]  # both ask for pictures to refer to
    assert run([*words, "--sites", "conv5_3", "--sheets", "0", "--out", "found"]) == 0
    scores = np.load(here / "found" / "maps.npz")["scores"]
    assert (scores[:, 0, 0] > 0).all() and (scores[:, 1, 0] < scores[:, 0, 0]).all()
    assert (scores[:, :, 1] != scores[:, :, 0]).all()


def test_likeness_to_a_reference_is_a_cosine_with_its_healthy_embedding(here, capsys):
    words = ["gradcam", "facespace:0", *QUICK, "--of", "facespace:5", "--sites", "conv5_3", "--out", "found"]
    assert run([*words, "--lesion", "ablate 50% of conv5_3"]) == 0
    subject, space = get("untrained"), FaceSpace.load()
    images, _ = space.render(space.people(6)[[0, 5]])
    given = subject.preprocess(images)
    with torch.no_grad():
        healthy = subject.identity(subject.module(given))
        with lesioned(subject.module, Ablate("conv5_3", fraction=0.5)):
            damaged = subject.identity(subject.module(given[:1]))
    found = np.load(here / "found" / "maps.npz")["scores"][0, 0]
    cosine = torch.nn.functional.cosine_similarity
    assert found[0] == pytest.approx(float(cosine(healthy[0], healthy[1], 0)), abs=1e-5)
    assert found[1] == pytest.approx(float(cosine(damaged[0], healthy[1], 0)), abs=1e-5)


@pytest.mark.parametrize("key", ["names", "classes"])
def test_a_person_whom_the_network_s_own_readout_names_is_a_unit_of_it(here, capsys, key):
    """`names` stands in converted weights, `classes` in those that a recipe of training left."""
    torch.manual_seed(0)
    network = VGGFace(0.0625, outputs=None)
    head = torch.nn.Linear(32, 3)
    tensors = dict(network.state_dict()) | {f"head.{name}": each for name, each in head.state_dict().items()}
    about = {"architecture": "VGGFace", "width": 0.0625, "size": 112, key: ["Ada", "Bo", "Cy"]}
    store.save_weights(here / "named.safetensors", tensors, about)
    words = ["gradcam", "facespace:2", "--participant", "named.safetensors", *QUICK[2:], "--sites", "conv5_3"]
    assert run([*words, "--of", "Bo", "--lesion", "ablate 50% of conv5_3", "--out", "found"]) == 0
    found = np.load(here / "found" / "maps.npz")
    assert str(found["of"]) == "the network's answer Bo (logit)"
    subject = get(str(here / "named.safetensors"))
    images, _ = FaceSpace.load().render(FaceSpace.load().people(3)[2:])
    with torch.no_grad():
        healthy = head(subject.module(subject.preprocess(images)))[0, 1]
        with lesioned(subject.module, Ablate("conv5_3", fraction=0.5)):
            damaged = head(subject.module(subject.preprocess(images)))[0, 1]
    assert found["scores"][0, 0].tolist() == pytest.approx([float(healthy), float(damaged)], rel=1e-4)
    line = refused(capsys, *words, "--of", "Boo", "--out", "none")
    assert "its answers are people, but none is 'Boo' (did you mean 'Bo'" in line


class Drawn:
    """Finds the mean face in every picture that has any colour, at once and without a model."""

    name, version = "mediapipe", "drawn"

    def __init__(self, model=None) -> None:
        pass

    def find(self, photograph: np.ndarray) -> list[Face]:
        return [] if photograph.std() < 1 else [Face(mean_face(photograph.shape[0]).numpy())]

    def close(self) -> None:
        pass


@pytest.fixture
def photographs(here, monkeypatch):
    """A folder of three people with two photographs each, which are found without a model."""
    monkeypatch.setitem(BACKENDS, "mediapipe", Drawn)
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    faces = FaceSpace.load().draw(3, 2, seed=4, variability=0.3)
    for image, name in zip(faces.images, faces.names, strict=True):
        path = here / "people" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return here / "people"


def test_a_person_of_known_photographs_is_a_target_and_who_is_looked_at_is_not_enrolled(photographs, capsys):
    words = ["gradcam", "facespace:0", "--participant", "untrained", "--stimuli", "intact", "--sites", "conv5_3"]
    words += ["--known", "people", "--sheets", "0", "--of", "person-4-1", "--out", "found"]

    def enrolled() -> str:
        assert run(words) == 0
        return json.loads((photographs.parent / "found" / "settings.json").read_text())["of"]

    assert enrolled() == "likeness to person-4-1 (cosine with 2 enrolled pictures)"
    words[1] = "people/person-4-1/0.png"
    assert enrolled() == "likeness to person-4-1 (cosine with 1 enrolled picture)"
    words[1:2] = ["people/person-4-1/0.png", "people/person-4-1/1.png"]
    assert "no other picture of person-4-1" in refused(capsys, *words)
    words[words.index("person-4-1")] = "person-4-l"
    assert "people has no person of that name: did you mean 'person-4-" in refused(capsys, *words)


def test_photographs_are_looked_at_and_a_reference_may_be_another_one(photographs, capsys):
    words = ["gradcam", "people/person-4-0/0.png", "people/person-4-1/0.png", *QUICK, "--sites", "conv5_3"]
    assert run([*words, "--of", "people/person-4-0/1.png", "--out", "found"]) == 0
    assert (photographs.parent / "found" / "person-4-0_0.png").is_file()
    assert np.load("found/maps.npz")["faces"].tolist() == ["person-4-0/0", "person-4-1/0"]
    assert "its likeness to itself" in refused(capsys, *words, "--of", "people/person-4-1/0.png")


def test_photographs_of_one_name_are_told_apart_by_their_folders(photographs, capsys):
    for number, place in enumerate(("p/a", "q/a", "q/b")):
        (photographs.parent / place).mkdir(parents=True)
        shutil.copy(photographs / "person-4-0" / f"{number % 2}.png", photographs.parent / place / "x.png")
    words = ["gradcam", "p/a/x.png", "q/a/x.png", "q/b/x.png", *QUICK, "--sites", "conv5_3", "--out", "found"]
    assert run(words) == 0
    assert np.load("found/maps.npz")["faces"].tolist() == ["p/a/x", "q/a/x", "b/x"]
    assert {path.stem for path in (photographs.parent / "found").glob("*.png")} == {"p_a_x", "q_a_x", "b_x"}
    words[2] = "q/../p/a/x.png"
    assert "p/a/x is given twice" in refused(capsys, *words)


@pytest.mark.filterwarnings("error")
def test_a_name_that_no_font_has_is_no_warning(photographs, capsys):
    shutil.copy(photographs / "person-4-0" / "0.png", "Zoë 🙂 名.png")
    assert run(["stimuli", "Zoë 🙂 名.png", "--stimuli", "intact", "--size", "64", "--out", "sheet.png"]) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize("stimuli", [1, 2, 5])
def test_the_words_on_a_sheet_stay_on_it(stimuli):
    draw = np.random.default_rng(0).random
    maps = Maps(
        ("a photograph with a long name",), tuple(f"stimulus {number}" for number in range(stimuli)),
        ("healthy", "damaged"), (MapSite("conv5_3", 7, 7, "late"),), np.zeros((1, stimuli, 8, 8, 3), np.uint8),
        {"conv5_3": draw((1, stimuli, 2, 7, 7), np.float32)}, np.ones((1, stimuli, 2), np.float32),
        np.ones((1, stimuli, 2, 1, len(PARTS)), np.float32), np.ones((1, stimuli, len(PARTS)), np.float32),
        "integrated-gradients", "likeness to Maximiliane Featherstonehaugh-Beauchamp (cosine with 12 of her pictures)",
        "ablate units 3,7 of conv5_3 + noise std 0.5 relative on 20% of conv3_2 (seed 0) + scale 0.5 at conv4_3",
    )  # fmt: skip
    figure = evidence_sheet(maps, 0, ["conv5_3"])
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    words = [text.get_window_extent() for text in figure.texts]
    assert all(0 <= box.x0 and box.x1 <= width and 0 <= box.y0 and box.y1 <= height for box in words)
    assert not any(one.overlaps(two) for one, two in itertools.combinations(words, 2))


def test_a_folder_that_was_prepared_gives_all_its_faces(photographs, capsys, monkeypatch):
    assert run(["prepare", "people", "--out", "ready", "--workers", "1"]) == 0
    monkeypatch.setattr("facelesion.looking.commands.SEVERAL", 5)
    assert "6 faces, and nobody looks at a sheet of more than 5" in refused(capsys, "stimuli", "ready")
    assert not (photographs.parent / "stimuli.png").exists()
    words = ["ready", *QUICK, "--sites", "conv5_3", "--sheets", "1", "--out", "found"]
    assert run(["gradcam", *words]) == 0
    assert len(np.load("found/maps.npz")["faces"]) == 6
    assert len(list((photographs.parent / "found").glob("*.png"))) == 1


def test_photographs_without_a_face_and_files_that_are_none_are_told(photographs, capsys):
    Image.new("RGB", (64, 64), (90, 90, 90)).save("grey.png")
    (photographs.parent / "broken.jpg").write_bytes(b"no picture")
    assert "grey.png: no face found" in refused(capsys, "gradcam", "grey.png", *QUICK)
    assert "broken.jpg" in (line := refused(capsys, "stimuli", "broken.jpg")) and "not a picture" in line
    assert "people is a folder" in refused(capsys, "stimuli", "people")


def test_what_cannot_be_looked_at_is_one_line_and_nothing_is_written(here, capsys):
    Image.new("RGB", (64, 64), (90, 90, 90)).save(here / "grey.png")
    start = ("gradcam", "facespace:0", *QUICK)
    for words, said in (
        ([*start, "--of", "Ann"], "the network's answer names no people"),
        ([*start, "--sites", "conv6_1"], "no site 'conv6_1'; did you mean"),
        ([*start, "--sites", "pool"], "pool has no map to show"),
        ([*start, "--lesion", "ablte 20% of conv5_3"], "did you mean 'ablate'"),
        ([*start, "--lesion", "ablate 20% of conv9_9"], "no site 'conv9_9'"),
        ([*start, "--lesion", "resample-ablate conv5_3"], "takes from other pictures"),
        ([*start, "--lesion", "absent.yaml"], "absent.yaml"),
        ([*start, "--of", "facespace:0"], "take --of identity"),
        ([*start, "--participant", "bultin"], "no network is called 'bultin'"),
        (["gradcam", "absent.jpg"], "absent.jpg: no such file"),
        (["gradcam", "facespace:x"], "write facespace:NUMBER"),
        (["gradcam", "facespace:0", "facespace:0"], "given twice"),
        (["gradcam", "facespace:0", "--stimuli", "mask eyes"], "begin with intact"),
        (["gradcam", "facespace:0", "--stimuli", "intact", "mask ears"], "no region 'ears'"),
        (["gradcam", "facespace:0", "--stimuli", "intact", "{kind: swap, region: eyes}"], "made of two faces"),
        ([*start, "--of", "detection", "--known", "people"], "known does nothing with of detection"),
        ([*start, "--of", "facespace:1", "--known", "people"], "known does nothing with of facespace:1"),
        ([*start, "--method", "occlusion", "--sites", "conv5_3"], "sites does nothing with method occlusion"),
        ([*start, "--sites", "zzz*"], "error: no site 'zzz*' in VGGFace"),
        ([*start, "--lesion", "ablate units 3,700 of conv5_3"], "conv5_3 (features.29) has"),
        (["gradcam"], "photographs"),
        (["gradcam", str(here)], "is a folder"),
        (["stimuli", "facespace:0", "--out", "sheet.txt"], "end it in .png"),
        (["stimuli", "facespace:0", "--stimuli", "intact", "intact"], "is there twice"),
        (["stimuli", "grey.png", "--model", "absent.task"], "no model at absent.task"),
    ):
        assert said in refused(capsys, *words, *(["--out", "found"] if words[0] == "gradcam" else [])), words
        assert not (here / "found").exists() or not list((here / "found").iterdir())
        assert not list(here.glob("*.svg")) and not (here / "stimuli.png").exists()


def test_a_network_of_another_size_and_cut_has_its_regions_where_its_pictures_are(here, capsys):
    words = ["gradcam", "facespace:0", "--participant", "torchvision/resnet18", "--stimuli", "intact"]
    assert run([*words, "--sites", "conv5_2", "--sheets", "0", "--out", "found"]) == 0
    arrays = np.load(here / "found" / "maps.npz")
    assert arrays["pictures"].shape[2:] == (224, 224, 3)
    # 256 pixels of which the middle 224 are cut out: what is outside the face is cut away before anything else.
    run(["gradcam", "facespace:0", "--participant", "untrained", "--stimuli", "intact", "--sites", "conv5_3",
         "--sheets", "0", "--out", "whole"])  # fmt: skip
    whole = np.load(here / "whole" / "maps.npz")["area"][0, 0]
    cut = arrays["area"][0, 0]
    assert cut[PARTS.index("outside")] < whole[PARTS.index("outside")]
    assert cut[PARTS.index("nose")] == pytest.approx(whole[PARTS.index("nose")] * (256 / 224) ** 2, rel=0.05)


def test_help_shows_what_to_type(capsys):
    for command in ("stimuli", "gradcam"):
        with pytest.raises(SystemExit):
            run([command, "--help"])
        assert f"usage: facelesion {command} PHOTOGRAPHS ..." in capsys.readouterr().out
    assert "facelesion.looking" in sys.modules
