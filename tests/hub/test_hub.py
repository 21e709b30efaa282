"""Weights and studies go to the hub and come back as they were, with cards that say what they are."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pandas
import pytest
import torch
import yaml

pytest.importorskip("huggingface_hub", reason="the extra [hub] is not installed: pip install 'facelesion[hub]'")

import huggingface_hub.constants as constants

from facelesion import Error, get
from facelesion.cli import run
from facelesion.hub import fetch_study, fetch_weights, model_card, push_study, push_weights
from facelesion.report import run_folder
from facelesion.weights import read_weights, save_weights

sys.path.insert(0, str(Path(__file__).parent))
fake = importlib.import_module("fake")

ABOUT = {
    "architecture": "VGGFace", "width": 0.0625, "size": 112, "seed": 3,
    "trained_on": "the face space | and no person", "reached": {"pairs_accuracy": 0.81},
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine, its token in the environment, and an empty cache."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_TOKEN", fake.TOKEN)
    there = fake.Hub()
    monkeypatch.setattr(constants, "ENDPOINT", there.address)
    template = there.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the hub's own storage: large files go the older way
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    yield there
    there.server.shutdown()
    there.server.server_close()


@pytest.fixture
def weights(tmp_path) -> Path:
    from facelesion.models import VGGFace

    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    save_weights(path, dict(VGGFace(0.0625, outputs=None).state_dict()), ABOUT)
    return path


@pytest.fixture
def study(tmp_path) -> Path:
    """What a finished study leaves, as far as the hub looks at it."""
    folder = tmp_path / "runs" / "eyes"
    folder.mkdir(parents=True)
    run_folder.write_config(folder, {"name": "eyes", "pictures": {"source": "facespace"}})
    manifest = run_folder.Manifest(
        study="eyes", question="Are eyes\n needed?", command="facelesion study eyes.yaml",
        created="2026-01-01T12:00:00+00:00", versions={"facelesion": "0.1.0"}, tasks={"identification": "Who is it?"},
    )  # fmt: skip
    run_folder.write_manifest(folder, manifest)
    for name in ("table", "trials"):
        pandas.DataFrame({"participant": ["one"], "n": [3]}).to_parquet(folder / f"{name}.parquet")
    (folder / "contrasts.csv").write_text("a,b\n1,2\n")
    (folder / "report.html").write_text("<html>")
    (folder / "figures").mkdir()
    (folder / "figures" / "kept.svg").write_text("<svg/>")
    (folder / "parts").mkdir()
    (folder / "parts" / "cell.part").write_bytes(b"x")
    return folder


def head(card: bytes) -> dict:
    return yaml.safe_load(card.decode().split("---\n")[1])


def test_weights_come_back_as_they_were(hub, weights, tmp_path):
    assert weights.stat().st_size > fake.LARGE  # the way of large files
    assert push_weights(weights, "ann/small") == f"{hub.address}/ann/small"
    assert hub.repositories["model", "ann/small"].private
    found = fetch_weights("ann/small")
    assert found.read_bytes() == weights.read_bytes() and read_weights(found)[1] == ABOUT
    assert fetch_weights("ann/small", tmp_path / "mine.safetensors").read_bytes() == weights.read_bytes()
    assert get(str(found)).about["trained_on"] == ABOUT["trained_on"]


def test_a_card_says_what_the_file_says_of_itself(hub, weights):
    push_weights(weights, "ann/small", licence="cc-by-4.0")
    card = hub.repositories["model", "ann/small"].files["README.md"]
    assert head(card)["license"] == "cc-by-4.0" and head(card)["library_name"] == "facelesion"
    assert b"| trained on | the face space \\| and no person |\n" in card
    assert b"| reached: pairs accuracy | 0.81 |\n" in card and b'fetch_weights("ann/small")' in card


def test_a_card_cannot_be_broken_by_what_a_file_says():
    card = model_card("ann/x", {"trained_on": "a\n---\n# b | c\n", "more": {"deep": {"er": [1, 2]}}})
    assert "| trained on | a --- # b \\| c |" in card and "| more: deep: er | 1, 2 |" in card
    assert card.count("\n---\n") == 1


def test_a_card_counts_the_people_that_a_network_saw_and_names_none_of_them():
    card = model_card("ann/x", {"people": [f"Ann Example {number}" for number in range(40)], "mean": [0.5, 0.4, 0.3]})
    assert "| people | 40, named in the file |" in card and "Ann Example" not in card
    assert "| mean taken off | 0.5, 0.4, 0.3 |" in card


def test_a_public_repository_is_seen_without_a_token_and_a_private_one_is_not(hub, weights, monkeypatch):
    push_weights(weights, "ann/open", public=True)
    push_weights(weights, "ann/closed")
    monkeypatch.delenv("HF_TOKEN")
    assert fetch_weights("ann/open").is_file()
    with pytest.raises(Error, match="ann/closed: the hub has no such repository, or not for you"):
        fetch_weights("ann/closed")
    with pytest.raises(Error, match="ann/more: the hub"):
        push_weights(weights, "ann/more")


def test_weights_are_sent_again_to_the_same_repository(hub, weights):
    for _ in range(2):
        push_weights(weights, "ann/small")
    assert hub.repositories["model", "ann/small"].commits == 2


def test_nothing_private_goes_where_all_can_see_it(hub, weights):
    push_weights(weights, "ann/open", public=True)
    with pytest.raises(Error, match="ann/open is there already, for all to see: say so with --public"):
        push_weights(weights, "ann/open")
    assert hub.repositories["model", "ann/open"].commits == 1


def test_of_several_files_one_must_be_said(hub, weights, tmp_path):
    push_weights(weights, "ann/two")
    other = tmp_path / "other.safetensors"
    save_weights(other, {"a": torch.ones(2)}, {"seed": 1})
    push_weights(other, "ann/two")
    with pytest.raises(Error, match=r"ann/two has 2 safetensors files \(small.safetensors, other.safetensors\)"):
        fetch_weights("ann/two")
    assert read_weights(fetch_weights("ann/two", file="other.safetensors"))[1] == {"seed": 1}
    with pytest.raises(Error, match=r"ann/two has no third.safetensors"):
        fetch_weights("ann/two", file="third.safetensors")


def test_what_is_no_weights_is_refused(hub, tmp_path):
    hub.repositories["model", "ann/bad"] = fake.Repository(False, {"w.safetensors": b"no weights", "w.pt": b"pickle"})
    with pytest.raises(Error, match="not a whole safetensors file"):
        fetch_weights("ann/bad")
    hub.repositories["model", "ann/code"] = fake.Repository(False, {"w.pt": b"pickle"})
    with pytest.raises(Error, match="ann/code has 0 safetensors files"):
        fetch_weights("ann/code")
    assert not [path for verb, path in hub.asked if path.endswith("w.pt")]


def test_a_study_comes_back_without_its_parts(hub, study, tmp_path):
    assert push_study(study, "ann/eyes") == f"{hub.address}/datasets/ann/eyes"
    back = fetch_study("ann/eyes", tmp_path / "back")
    sent = {path.relative_to(study) for path in study.rglob("*") if path.is_file()} - {Path("parts/cell.part")}
    came = {path.relative_to(back) for path in back.rglob("*") if path.is_file()}
    assert came == sent | {Path("README.md")}
    assert all((back / path).read_bytes() == (study / path).read_bytes() for path in sent)
    assert run_folder.read_manifest(back) == run_folder.read_manifest(study)


def test_a_study_s_card_names_its_tables_for_the_hub_and_every_column(hub, study):
    from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS

    push_study(study, "ann/eyes")
    card = hub.repositories["dataset", "ann/eyes"].files["README.md"].decode()
    assert [each["data_files"] for each in head(card.encode())["configs"]] == ["table.parquet", "trials.parquet"]
    assert "Are eyes needed?" in card and "`facelesion study eyes.yaml`" in card
    assert all(f"| `{name}` |" in card for name in {**TABLE_COLUMNS, **TRIAL_COLUMNS})


@pytest.mark.parametrize("pictures", [{"source": "lfw"}, {"source": "people", "root": "album"}, None])
def test_what_shows_people_s_photographs_stays_unless_it_is_asked_for(hub, study, pictures):
    run_folder.write_config(study, {"name": "eyes"} | ({"pictures": pictures} if pictures else {}))
    push_study(study, "ann/eyes")
    files = hub.repositories["dataset", "ann/eyes"].files
    assert "report.html" not in files and "figures/kept.svg" not in files and "contrasts.csv" in files
    assert "Not here, as they show people's photographs: figures/kept.svg, report.html." in files["README.md"].decode()
    push_study(study, "ann/all", with_pictures=True)
    assert {"report.html", "figures/kept.svg"} <= set(hub.repositories["dataset", "ann/all"].files)


def test_a_fetched_folder_is_whole_or_not_there(hub, study, tmp_path):
    hub.repositories["dataset", "ann/other"] = fake.Repository(False, {"config.yaml": b"name: x\n"})
    with pytest.raises(Error, match=r"ann/other has no manifest.json: it is no study"):
        fetch_study("ann/other", tmp_path / "other")
    push_study(study, "ann/eyes")
    hub.repositories["dataset", "ann/eyes"].files["manifest.json"] = json.dumps({"study": 3}).encode()
    with pytest.raises(Error, match=r"manifest\.json"):
        fetch_study("ann/eyes", tmp_path / "other")
    assert not [path for path in tmp_path.iterdir() if "other" in path.name]
    with pytest.raises(Error, match="is there already"):
        fetch_study("ann/eyes", study)


def test_the_command_line_sends_and_fetches(hub, weights, study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["hub", "push", str(weights), "--to", "ann/small", "--public"]) == 0
    assert run(["hub", "fetch", "ann/small", "--to", "mine.safetensors"]) == 0
    assert run(["hub", "push", str(study), "--to", "ann/eyes2"]) == 0
    assert run(["hub", "fetch", "ann/eyes2", "--kind", "study"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{hub.address}/ann/small", "mine.safetensors", f"{hub.address}/datasets/ann/eyes2", "runs/eyes2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hub", "say facelesion hub push"),
        ("hub psuh x", "say facelesion hub push"),
        ("hub push absent.safetensors --to ann/x", "absent.safetensors: no such weights file"),
        ("hub push . --to ann/x", "has no config.yaml: give the folder of a finished study"),
        ("hub fetch ann/nothing", "ann/nothing: the hub has no such repository"),
        ("hub fetch a/b/c/d", "a/b/c/d"),
        ("hub fetch ann/x --kind study --file y", "file"),
    ],
)
def test_a_mistake_is_one_line(hub, tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert run(words.split()) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


@pytest.mark.slow  # its client tries for 20 seconds
def test_a_hub_that_is_not_there_is_one_line(hub, capsys):
    hub.server.shutdown()
    hub.server.server_close()
    assert run(["hub", "fetch", "ann/small"]) == 2
    told = capsys.readouterr().err
    assert "ann/small: the hub was not reached" in told and told.count("\n") == 1
