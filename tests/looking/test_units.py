"""`facelesion units`: tables, profiles and contact sheets of the units that answer to features or domains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from facelesion.analysis.activations import picture_activations
from facelesion.analysis.receptive import receptive_fields
from facelesion.cli import run
from facelesion.data import nonfaces
from facelesion.looking.questions import FEATURES, detection, feature_decision, identification, represent
from facelesion.looking.unit_pictures import Asked
from facelesion.looking.unit_sheets import as_shown, examples, profiles
from facelesion.looking.units import shared_units, told
from facelesion.models import Subject, get
from facelesion.models.subject import Preprocessing

SMALL = ["--participant", "untrained", "--people", "8", "--each", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("units") / "run"
    words = ["--by", "[responsible, first_order]", "--sites", "conv5_3", "--sheets", "1"]
    assert run(["units", *SMALL, *words, "--necessity", "--draws", "3", "--out", str(out)]) == 0
    return out


@pytest.mark.slow
class TestFolder:
    def test_every_unit_of_every_site_has_a_row_for_every_feature_and_way(self, folder: Path) -> None:
        table = pandas.read_csv(folder / "units.csv")
        assert table.groupby(["site", "way", "of"]).size().unstack(0).drop_duplicates().values.tolist() == [[128]]
        assert set(table["of"]) == set(FEATURES) and table["weights"].eq("untrained-seed0").all()
        same = pandas.read_parquet(folder / "units.parquet")
        assert same["score"].to_numpy() == pytest.approx(table["score"].to_numpy(), nan_ok=True)
        assert set(same["ranking"]) == set(json.loads((folder / "settings.json").read_text())["rankings"])

    def test_profiles_give_each_unit_s_mean_for_each_feature(self, folder: Path) -> None:
        table = pandas.read_csv(folder / "profiles.csv")
        assert len(table) == 128 * 4 and set(table["people"]) == {8}
        assert ((table["low"] <= table["mean"]) & (table["mean"] <= table["high"])).all()

    def test_there_is_a_contact_sheet_for_the_first_unit_of_every_ranking(self, folder: Path) -> None:
        first = pandas.read_csv(folder / "units.csv").query("rank == 1")
        wanted = {f"{row.site}_unit_{row.unit}.png" for row in first.itertuples()}
        assert {path.name for path in (folder / "sheets").iterdir()} == wanted

    def test_necessity_asks_other_people_and_has_its_null_bands(self, folder: Path) -> None:
        table = pandas.read_csv(folder / "necessity.csv")
        assert set(table["set"]) == {"intact", "ranked", "random", "matched"}
        assert set(table["question"]) == set(FEATURES)
        assert set(table["way"]) == {"responsible", "first_order"}
        assert len(list(folder.glob("necessity_*.png"))) == 2 * 4

    def test_figures_show_what_features_share(self, folder: Path) -> None:
        shared = pandas.read_csv(folder / "shared.csv")
        assert len(shared) == 2 * 6 and (folder / "shared.svg").stat().st_size > 10_000


def test_shared_units_counts_those_named_for_both() -> None:
    names = {"eyes": [0, 1, 2], "nose": [2, 3]}
    rows = [
        {"site": "a", "way": "responsible", "by": "responsible", "of": of, "unit": unit, "rank": unit + 1,
         "ranking": of, "chosen": unit in chosen}
        for of, chosen in names.items() for unit in range(5)
    ]  # fmt: skip
    (row,) = shared_units(pandas.DataFrame(rows)).to_dict("records")
    assert (row["of_first"], row["of_second"], row["both"], row["jaccard"]) == (3, 2, 1, 0.25)
    assert row["correlation"] == 1.0


def test_a_rule_that_names_no_unit_is_told_as_that() -> None:
    rows = [
        {"site": "a", "way": "selectivity", "by": "selectivity", "of": of, "unit": unit, "rank": unit + 1,
         "ranking": of, "chosen": False, "reliability": 0.9}
        for of in ("eyes", "nose") for unit in range(5)
    ]  # fmt: skip
    table = pandas.DataFrame(rows)
    (line,) = told(table, shared_units(table))
    assert line.endswith("the way's own rule names no unit for any group") and "nan" not in line


def test_examples_are_the_most_and_least_driving_pictures_with_what_the_unit_sees() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1, bias=False), nn.ReLU()).eval()
    with torch.no_grad():
        network[0].weight.fill_(1.0)
    images = torch.zeros(4, 3, 9, 9)
    for row, (y, x) in enumerate([(4, 4), (0, 8), (7, 2), (2, 6)]):
        images[row, :, y, x] = row + 1.0
    people = {"a": ("p", "q", "r", "r")}
    found = {"a": picture_activations(network, "1", images)["1"]}
    most, least = examples(found, people, 0, receptive_fields(network, "1")["1"], (9, 9), count=3)
    assert [each.row for each in most] == [3, 1, 0], "nobody twice"
    assert [each.row for each in least] == [0, 1, 2]
    (top, bottom), (left, right) = most[0].window
    assert top <= 2 < bottom and left <= 6 < right and bottom - top == 3
    mean = found["a"].mean[:, 0]
    by_hand = (mean[0] + mean[1] + mean[2:].mean()) / 3
    assert profiles(found, people)["mean"].item() == pytest.approx(float(by_hand), rel=1e-5)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_pictures_are_shown_as_they_were_before_preprocessing(order: str) -> None:
    pictures = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    preprocess = Preprocessing(16, colour_order=order)
    subject = Subject("x", nn.Identity(), 16, preprocess, nn.Identity(), "x")
    shown = as_shown(subject, preprocess(pictures))
    assert np.abs(shown * 255 - pictures.permute(0, 2, 3, 1).numpy()).max() < 0.01


def test_two_faces_that_differ_in_one_feature_differ_there_alone() -> None:
    question = feature_decision(get("untrained"), "mouth", 2, seed=5, asked=1)
    own, other = question.images[0].float(), question.images[1].float()
    apart = (own - other).abs().amax(0)
    assert apart[70:].max() > 10 and apart[:45].mean() < 1.5
    assert question.people == ("person-5-0",) * 2 + ("person-5-2",) * 2


def test_a_question_s_loss_falls_as_its_margin_grows() -> None:
    subject = get("untrained")
    faces = Asked(people=4, pictures=4).faces(112)
    question = identification(subject, faces)
    representation, numbers = represent(subject, question.images), torch.arange(len(question.images))
    margins, losses = question.margin(representation, numbers), question.loss(representation, numbers)
    assert torch.equal(margins.argsort(), losses.argsort(descending=True))
    assert question.right(representation, numbers).tolist() == (margins > 0).float().tolist()


def test_saying_always_face_is_right_in_half_and_nobody_learns_the_readout_that_asks_them() -> None:
    subject, faces = get("untrained"), Asked(people=8, pictures=3).faces(112)
    others = nonfaces(40, seed=1, faces=faces)
    question = detection(subject, faces, others)
    people = set(question.people)
    assert len(people & set(faces.labels)) == 4 == len(people - set(faces.labels))
    assert question.chance == 0.5 and len(question.people) == 4 * 3 + 4


@pytest.mark.slow
def test_units_are_found_and_tested_on_different_people() -> None:
    asked = Asked(people=8, pictures=2)
    assert not set(asked.faces(112).labels) & set(asked.faces(112, test=True).labels)
    subject = get("untrained")
    one, two = (asked.questions(subject, test)["eyes"] for test in (False, True))
    assert not set(one.people) & set(two.people)


def test_a_ranking_of_a_file_is_for_no_feature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ranking.csv").write_text("site,unit\nconv5_3,3\nconv5_3,1\n")
    words = ["units", "--by", "file", "--ranking", str(tmp_path / "ranking.csv"), "--sites", "conv5_3"]
    words += ["--participant", "untrained", "--people", "8", "--each", "2", "--sheets", "1"]
    assert run([*words, "--out", str(tmp_path / "out")]) == 0
    table = pandas.read_csv(tmp_path / "out" / "units.csv")
    assert set(table["of"]) == {"file"} == set(table["way"])
    assert table.sort_values("rank")["unit"].tolist()[:2] == [3, 1]
    assert [path.name for path in (tmp_path / "out" / "sheets").iterdir()] == ["conv5_3_unit_3.png"]


def test_a_file_that_is_no_ranking_is_told_before_pictures_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(self: Asked, subject: Subject) -> None:
        raise AssertionError("pictures were made")

    monkeypatch.setattr(Asked, "gather", made)
    (tmp_path / "ranking.csv").write_text("site,unit\nconv5_3,900\n")
    words = ["units", "--by", "file", "--ranking", str(tmp_path / "ranking.csv"), "--sites", "conv5_3"]
    assert run([*words, "--participant", "untrained", "--out", str(tmp_path / "out")]) == 2
    assert "unit 900 is none of its" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--sites", "conv9_9"], "sites:"),
        (["--by", "[responsable]"], "responsible"),
        (["--by", "[file]"], "ranking and by: file"),
        (["--of", "domains", "--fill", "mean"], "fill"),
        (["--draws", "5"], "draws"),
        (["--people", "3"], "8 to 5,000"),
        (["--of", "domains", "--by", "[causal]", "--people", "8", "--each", "3"], "set each to 4 or more"),
        (["--out", "/dev/null/units"], "nothing can be written"),
        (["--participant", "nobody"], "no network is called"),
        (["--by", "[file]", "--ranking", "/nowhere.csv", "--people", "8", "--each", "2"], "no such file"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = [] if "--participant" in words else ["--participant", "untrained"]
    assert run(["units", *more, *words]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1 and not list(tmp_path.rglob("*.csv"))


def test_features_of_photographs_cannot_be_ranked_by_a_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--by", "[causal]", "--participant", "untrained", "--out", str(tmp_path / "out")]
    assert run(["units", str(tmp_path), *words]) == 2
    assert "facespace" in capsys.readouterr().err
