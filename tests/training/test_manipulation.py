"""Units of each feature moved over doses, beside controls: what each number comes from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from facelesion.lesions import lesioned
from facelesion.models import get
from facelesion.train import main
from facelesion.training.files import read_table
from facelesion.training.manipulation import crossed, moved
from facelesion.training.notebook_facts import FEATURES, MASKED

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "notebook" / "manipulation.yaml"
SMALL = [
    "--sites", "[features.29]", "--shifts", "[-2, 2]", "--holds", "[0]", "--masked_shifts", "[-2, 3]",
    "--controls", "2",
    "--people", "4", "--pictures", "4", "--finding_people", "8", "--fraction", "0.1", "--run.progress", "false",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    out = tmp_path_factory.mktemp("manipulation") / "run"
    assert main(["--config", str(CONFIG), "--network", tiny, "--run.folder", str(out), *SMALL]) == 0
    return out


@pytest.mark.slow
class TestRun:
    def test_every_set_is_moved_in_every_way_and_has_controls_of_its_number(self, folder: Path) -> None:
        table = read_table(folder / "manipulation.csv")
        intact = table[(table["stimulus"] == "intact") & (table["set"] != "healthy")]
        # Two tasks, four features, one set and two at random, three shifts and one hold; sets as active that differ.
        assert len(intact[intact["set"] != "matched"]) == 2 * 4 * 3 * 4
        assert 1 <= len(intact[intact["set"] == "matched"]) / (2 * 4 * 4) <= 2
        assert set(zip(intact["move"], intact["dose"], strict=True)) == {
            ("shifted", -2), ("shifted", 2), ("shifted", 3), ("held", 0)
        }  # fmt: skip
        assert intact.groupby(["feature"])["count"].nunique().eq(1).all()
        found = intact[intact["set"] == "found"].groupby("feature")["units"].first()
        for row in intact[intact["set"] != "found"].itertuples():
            assert not set(row.units.split()) & set(found[row.feature].split())
        assert intact[intact["set"] == "matched"]["mismatch"].notna().all()

    def test_features_are_masked_under_the_shifts_that_were_asked_for(self, folder: Path) -> None:
        table = read_table(folder / "manipulation.csv")
        masked = table[table["stimulus"].isin(MASKED) & (table["set"] != "healthy")]
        assert len(masked[masked["set"] != "matched"]) == 4 * 2 * 4 * 3 * 2 and set(masked["dose"]) == {-2, 3}

    def test_the_interaction_is_that_of_the_table(self, folder: Path) -> None:
        table = read_table(folder / "manipulation.csv")
        tested = pandas.read_csv(folder / "interaction.csv")
        assert len(tested) == 2 * 2
        row = tested.iloc[0]
        part = table[(table["task"] == row.task) & table["stimulus"].isin(MASKED)]
        healthy = part[part["set"] == "healthy"].set_index("stimulus")["right"]
        cells = part[(part["set"] == "found") & (part["dose"] == row.dose)].set_index(["feature", "stimulus"])["right"]
        effect = np.array([[cells[f, g] - healthy[g] for g in MASKED] for f in FEATURES])
        assert row["statistic"] == pytest.approx(crossed(effect), abs=1e-9)
        assert row["p_matched"] >= 1 / 3 and row["low"] <= row["high"]

    def test_the_notebook_s_table_stands_beside_what_it_printed(self, folder: Path) -> None:
        layers = pandas.read_csv(folder / "layers.csv")
        assert len(layers) == 2 * 4 * 2 and set(layers["site"]) == {"conv5_3"}, "by the name of the literature"
        assert layers[layers["feature"] == "eyes"]["notebook"].unique().tolist() == [0.4585]
        for name in ("manipulation", "layers", "interaction"):
            assert (folder / f"{name}.png").stat().st_size > 10_000

    def test_a_run_that_was_stopped_goes_on_and_ends_the_same(
        self, folder: Path, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        copy = tmp_path / "run"
        shutil.copytree(folder, copy)
        for name in ("manipulation.csv", "layers.csv", "interaction.csv"):
            (copy / name).unlink()
        kept = sorted((copy / "parts").iterdir())
        assert len(kept) == 2 * 5
        for part in kept[3:]:
            part.unlink()
        before = kept[0].stat().st_mtime_ns
        note = copy / "settings.json"
        note.write_text(note.read_text().replace(str(folder), str(copy)))
        words = ["--config", str(CONFIG), "--network", tiny, "--run.folder", str(copy), *SMALL]
        assert main([*words, "--people", "5"]) == 2 and "other settings" in capsys.readouterr().err
        assert main(words) == 0 and kept[0].stat().st_mtime_ns == before
        for name in ("manipulation.csv", "layers.csv", "interaction.csv"):
            assert (copy / name).read_bytes() == (folder / name).read_bytes()

    def test_every_number_names_its_origin(self, folder: Path, tiny: str) -> None:
        table = read_table(folder / "manipulation.csv")
        assert set(table["weights"]) == {get(tiny).weights}
        moved_rows = table[table["set"] != "healthy"]
        assert moved_rows["lesion_hash"].str.len().eq(12).all() and moved_rows["units"].notna().all()


def test_units_are_moved_in_their_own_deviations_and_do_not_fall_below_zero() -> None:
    from facelesion.lesions import Calibration

    network = torch.nn.Sequential(torch.nn.Identity())
    images = torch.tensor([[1.0, 2.0, 3.0]])
    means, deviations = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.0, 2.0])
    usual = Calibration({"0": means}, {"0": deviations}, 9)
    wanted = {
        ("shifted", 2.0, True): [2.0, 2.0, 7.0], ("shifted", -3.0, True): [0.0, 2.0, 0.0],
        ("shifted", -3.0, False): [-0.5, 2.0, -3.0], ("held", 1.0, True): [1.5, 2.0, 5.0],
        ("held", -4.0, True): [0.0, 2.0, 0.0],
    }  # fmt: skip
    for (move, dose, floor), values in wanted.items():
        with lesioned(network, moved("0", [0, 2], move, dose, means, deviations, floor), calibration=usual):
            assert network(images)[0].tolist() == values


def test_the_crossed_interaction_ignores_what_rows_and_columns_do_alone() -> None:
    rng = np.random.default_rng(0)
    additive = rng.normal(size=(4, 1)) + rng.normal(size=(1, 4))
    assert crossed(additive) == pytest.approx(0)
    assert crossed(additive + np.eye(4)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--shifts", "[0, 1]"], "moves no unit"),
        (["--shifts", "[]", "--holds", "[]"], "nothing would be manipulated"),
        (["--sites", "[conv9_9]"], "sites:"),
        (["--sites", "[conv5_*]"], "name them one by one"),
        (["--by", "greedy"], "greedy"),
        (["--controls", "1"], "2 to 1,000"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], says: str, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--config", str(CONFIG), "--network", tiny, "--run.folder", str(tmp_path / "run"), *words]
    assert main(given) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
