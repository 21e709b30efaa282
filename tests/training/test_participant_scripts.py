"""The loop over seeds passes over what is done; the table says what the CSV says."""

import argparse
import importlib.util
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch

from facelesion.errors import Error
from facelesion.files import file_hash
from facelesion.locks import locked
from facelesion.models import get
from facelesion.training.reached import likeness_of
from facelesion.weights import registry, store

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "--data.people", "none", "--data.things", "3", "--data.thing_pictures", "3", "--data.builtin_objects", "2",
    "--data.nonfaces", "6", "--width", "0.0625", "--measure", "false", "--schedule.epochs", "1",
    "--schedule.views_per_epoch", "16", "--schedule.batch_size", "8", "--schedule.sizes", "[[0, 32]]",
    "--run.progress", "false", "--run.accelerator", "cpu", "--run.precision", "32-true",
]  # fmt: skip


@pytest.fixture(autouse=True)
def scripts_see_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where one is run: its own folder comes first."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def script(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text("recipe: participant\n")
    return path


def test_seeds_are_numbers_and_ranges() -> None:
    seeds_of = script("train_participants").seeds_of
    assert seeds_of("3-5,9, 4") == [3, 4, 5, 9]
    for bad in ("a", "5-3", "3-", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            seeds_of(bad)


def test_seeds_that_are_done_or_with_somebody_else_are_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, trained = script("train_participants"), []

    def train(seed: int, config: Path, folder: Path, words: list[str]) -> int:
        trained.append(seed)
        if seed == 6:
            return 1
        (folder / f"seed{seed}").mkdir()
        (folder / f"seed{seed}" / "weights.safetensors").touch()
        return 0

    monkeypatch.setattr(module, "train", train)
    with locked(tmp_path / "seed4.lock"):
        assert module.train_all([3, 4], tmp_path, tmp_path, []) == [] and trained == [3]
    assert "seed 4: another process trains it" in capfd.readouterr().out
    assert module.train_all([3, 4, 6, 7], tmp_path, tmp_path, []) == [6] and trained == [3, 4, 6, 7]
    assert "seed 3: done before" in capfd.readouterr().out


@pytest.mark.slow
def test_a_seed_is_trained_by_the_command_and_a_mistake_ends_the_loop(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, folder = script("train_participants"), tmp_path / "runs"
    (tmp_path / "facelesion").mkdir()  # where the command is called lies another one's code
    (tmp_path / "facelesion" / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    folder.mkdir()
    assert module.train_all([3], config, folder, TINY) == []
    assert get(str(folder / "seed3" / "weights.safetensors")).about["seed"] == 3
    with pytest.raises(SystemExit, match="see .*seed5.log"):
        module.train_all([5], config, folder, ["--data.things", "0"])
    assert "data.things is 0" in (folder / "seed5.log").read_text()


def test_the_table_holds_what_the_csv_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("measure_participants")
    rows = [
        {"name": f"seed{seed}", "seed": seed, "weights": f"00{seed}", "teacher": teacher, "people": 3200}
        | {"pairsDevTest_accuracy": accuracy, "things_cup": 0.8}
        for seed, teacher, accuracy in (
            (3, "MobileFaceNet", 0.94),
            (4, "MobileFaceNet", 0.95),
            (5, "none", 0.7),
        )
    ]
    monkeypatch.setattr(module, "CSV", tmp_path / "p.csv")
    monkeypatch.setattr(module, "PAGE", tmp_path / "p.md")
    monkeypatch.setattr(module, "REGISTRY", tmp_path / "registry.toml")
    (tmp_path / "registry.toml").write_text("[seed3]\ngroup = 'taught'\n[seed4]\ngroup = 'taught'\n")
    monkeypatch.setattr(module, "LIKENESS", tmp_path / "l.csv")
    (tmp_path / "l.csv").write_text(
        "first,second,people_shared,likeness_of_faces,likeness_of_things\n"
        "seed3,seed4,0.9,0.6,0.8\nseed3,untrained,,0.1,0.02\nseed4,untrained,,0.2,0.04\n"
    )
    frame = pd.DataFrame(rows).reindex(
        columns=[*rows[0], *(k for _, k in module.COLUMNS if k not in rows[0])]
    )
    frame.to_csv(tmp_path / "p.csv", index=False)
    marks = [f"<!-- {name}: -->\nold\n<!-- {name} end -->\n" for name in ("participants", "likeness")]
    (tmp_path / "p.md").write_text(f"before\n{marks[0]}between\n{marks[1]}after\n")
    monkeypatch.setattr(sys, "argv", ["measure_participants", "--table"])
    for _ in range(2):
        module.main()
    page = (tmp_path / "p.md").read_text()
    assert page.startswith("before\n") and page.endswith("after\n") and "old" not in page
    first, second = (
        [line for line in part.splitlines() if line.startswith("|")] for part in page.split("between")
    )
    assert len(first) == 2 + 3 + 2 and len(second) == 2 + 2
    lines = first
    assert "| `seed3` | 3,200 | 94.0 |" in lines[2] and "`003`" in lines[2]
    assert "| `seed5`, not carried | 3,200 | 70.0 |" in lines[4]
    assert "| mean, taught |  | 94.5 |" in lines[5]  # those without a teacher are another group
    assert second[2:] == [
        "| taught, with one another | 1 | 0.60 | 0.80 | 0.90 |",
        "| taught, with untrained | 2 | 0.15 (0.10 to 0.20) | 0.03 (0.02 to 0.04) |  |",
    ]


def test_a_table_goes_between_its_own_marks_and_a_page_without_them_stays(tmp_path: Path) -> None:
    page, write_table = tmp_path / "page.md", script("page_tables").write_table
    text = "a\n<!-- one: from one.csv -->\n\nold\n\n<!-- one end -->\nb\n<!-- two: -->\n\nother\n\n<!-- two end -->\n"
    page.write_text(text)
    for table in (r"new \1", "old"):
        write_table(page, "one", table)
        assert page.read_text() == text.replace("old", table)
    with pytest.raises(Error, match="page.md has no place for the table: put in the lines <!-- three: --> and"):
        write_table(page, "three", "new")
    assert page.read_text() == text


def test_likeness_is_measured_of_every_two_networks_and_people_only_where_both_saw_some(tiny: str) -> None:
    one, untrained = get(tiny), get("untrained")
    other = replace(one, about=one.about | {"people": ["ann", "eve", "flo", "gus"]})
    same = replace(one, about=one.about | {"people": ["ann", "bob"]})
    pairs = script("measure_participants").likeness({"other": other, "same": same, "untrained": untrained})
    assert pairs[["first", "second"]].agg(" ".join, axis=1).tolist() == [
        "other same", "other untrained", "same untrained"
    ]  # fmt: skip
    assert pairs["people_shared"].tolist()[0] == 0.5 and pairs["people_shared"].isna().tolist() == [False, True, True]
    for column in ("likeness_of_faces", "likeness_of_things"):
        assert pairs[column][0] == pytest.approx(1, abs=1e-3) and pairs[column][1] == pairs[column][2] < 0.9


def test_the_page_of_the_weights_shows_the_table_of_all_participants_that_are_carried_and_of_others() -> None:
    module = script("measure_participants")
    rows = pd.read_csv(module.CSV, dtype={"weights": str})
    assert module.table(rows) in module.PAGE.read_text(encoding="utf-8")
    pairs, networks = pd.read_csv(module.LIKENESS), module.networks_carried()
    assert module.likeness_table(pairs, networks) in module.PAGE.read_text(encoding="utf-8")
    assert {*pairs["first"], *pairs["second"]} == networks.keys()
    assert len(pairs) == len(networks) * (len(networks) - 1) / 2
    entries = registry.entries()
    carried = {name: entry.checksum for name, entry in entries.items() if name.startswith("participant_")}
    listed = dict(zip(rows["name"], (f"sha256:{each}" for each in rows["sha256"]), strict=True))
    assert len(listed) == len(rows) and carried.items() <= listed.items()
    # Those whom a study can ask for by group; controls of other kinds may be listed alone.
    taught = rows[rows["teacher"] != "none"]["name"]
    assert set(taught) == {name for name in carried if entries[name].group == "taught things too"}


def test_half_precision_is_half_the_bytes_and_the_same_network_but_for_rounding(
    tmp_path: Path, tiny: str
) -> None:
    module = script("measure_participants")
    tensors, about = store.read_weights(tiny)
    store.save_weights(tmp_path / "whole.safetensors", tensors, about | {"seed": 5})
    half = module.halved(tmp_path / "whole.safetensors", tmp_path)
    assert half.name == "participant_seed5.safetensors"
    assert half.stat().st_size < 0.6 * Path(tiny).stat().st_size
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    answers = [get(str(path)).module(pictures) for path in (tmp_path / "whole.safetensors", half)]
    torch.testing.assert_close(*answers, rtol=0.02, atol=1e-3)
    assert module.differences({"a": 0.5, "b": 1.0, "n": "x"}, {"a": 0.5, "b": 0.75, "n": "y"}) == {"b": -0.25}


def test_minutes_are_those_of_all_starts(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("epoch,seconds\n0,60\n1,120\n2,30\n3,90\n")
    assert script("measure_participants").minutes(log) == (120 + 90) / 60
    assert script("measure_participants").minutes(tmp_path / "none.csv") is None


def test_a_second_part_takes_the_place_of_the_first_with_the_time_of_both(
    tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script("measure_participants")
    monkeypatch.setattr(module, "CSV", tmp_path / "participants.csv")
    told = {"name": "n", "seed": 5, "teacher": "none"}
    monkeypatch.setattr(module, "measured", lambda path: told | {"weights": get(str(path)).weights})
    tensors, about = store.read_weights(tiny)
    for part, extra in (("one", {}), ("two", {"started_from": store.digest(tensors)})):
        folder = tmp_path / part
        (folder / "learning").mkdir(parents=True)
        (folder / "learning" / "log.csv").write_text("epoch,seconds\n0,60\n1,120\n")
        moved = {name: value * (0.5 if extra else 1.0) for name, value in tensors.items()}
        store.save_weights(folder / "weights.safetensors", moved, about | {"seed": 5} | extra)
        monkeypatch.setattr(sys, "argv", ["measure_participants", str(folder / "weights.safetensors")])
        module.main()
        rows = pd.read_csv(tmp_path / "participants.csv", dtype={"weights": str})
        assert rows["weights"].tolist() == [store.digest(moved)]
        assert rows["minutes"].tolist() == [4.0 if extra else 2.0]
    assert module.total([1.0, None]) is None


def test_likeness_is_that_of_distances_and_not_of_axes() -> None:
    pictures = torch.randint(
        0, 256, (12, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    network = get("untrained")
    turn = torch.linalg.qr(torch.randn(128, 128, generator=torch.Generator().manual_seed(1)))[0]
    turned = torch.nn.Linear(128, 128)
    turned.load_state_dict({"weight": 3 * turn, "bias": torch.ones(128)})
    same = replace(network, module=torch.nn.Sequential(network.module, turned))
    found = likeness_of([network, same, get("builtin")], pictures)
    torch.testing.assert_close(found.diagonal(), torch.ones(3).double())
    assert float(found[0, 1]) == pytest.approx(1, abs=1e-4)
    assert found[0, 2] < 0.9 and float(found[0, 2]) == pytest.approx(float(found[1, 2]), abs=1e-4)


@pytest.mark.parametrize(
    ("about", "group", "trained_on"),
    [
        ({"people": ["ada"], "teacher": "m.pt"}, "taught things too", "taught by MobileFaceNet"),
        ({"people": ["ada"], "teacher": None}, "taught without a teacher", "LFW View 1"),
        ({}, "taught things alone", "built-in things, Caltech-101"),
    ],
)
def test_a_copy_that_is_registered_is_carried_under_its_name_once(
    about: dict[str, object], group: str, trained_on: str, tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script("measure_participants")
    listed = (module.REGISTRY).read_text(encoding="utf-8")
    (tmp_path / "registry.toml").write_text(listed, encoding="utf-8")
    monkeypatch.setattr(module, "REGISTRY", tmp_path / "registry.toml")
    tensors, _ = store.read_weights(tiny)
    file = tmp_path / "participant_seed99.safetensors"
    store.save_weights(file, tensors, about | {"seed": 99})
    assert module.registered(file) and not module.registered(file)
    found = registry.read(tomllib.loads((tmp_path / "registry.toml").read_text(encoding="utf-8")), "registry.toml")
    entry = found["participant_seed99"]
    assert (entry.network, entry.group, entry.carried, entry.file) == (file.stem, group, True, file.name)
    assert entry.checksum == f"sha256:{file_hash(file)}" and entry.size == file.stat().st_size
    assert trained_on in entry.trained_on and ("taught by" in entry.trained_on) == (group == "taught things too")
    # Another file of that name takes its place, and nothing else is changed.
    store.save_weights(file, {name: value * 0.5 for name, value in tensors.items()}, about | {"seed": 99})
    before = (tmp_path / "registry.toml").read_text(encoding="utf-8")
    assert module.registered(file) and not module.registered(file)
    after = (tmp_path / "registry.toml").read_text(encoding="utf-8")
    assert after.replace(file_hash(file), entry.checksum.removeprefix("sha256:")) == before != after
    assert len(found) == 1 + len(tomllib.loads(listed)) and list(found).index("participant_seed99") < list(
        found
    ).index("facespace")


def test_what_is_registered_is_a_copy_in_half_precision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["measure_participants", "--register", "a.safetensors"])
    with pytest.raises(SystemExit, match="2"):
        script("measure_participants").main()
    assert "--half" in capsys.readouterr().err


def test_what_damage_leaves_is_a_line_for_each_damage_and_a_column_for_the_group() -> None:
    module = script("damaged_participants")
    levels = {"builtin": 0.9, "participant_seed3": 0.8, "participant_seed4": 0.6, "untrained": 0.5}
    rows = [
        {"participant": name, "lesion": lesion, "dose": dose, "draw": draw, "stimulus": stimulus, "task": task}
        | {"metric": metric, "value": level - 0.1 * dose + 0.01 * (2 * draw - 1) - (stimulus != "intact")}
        for name, level in levels.items()
        for lesion, dose in (*module.DAMAGE, ("ablation", 0.4))
        for draw in (0, 1)
        for stimulus in ("intact", "mask eyes")
        for task in module.TASKS
        for metric in ("accuracy", "auc", "d_prime")
    ]
    made = module.damaged(pd.DataFrame(rows), ["participant_seed3", "participant_seed4"]).splitlines()
    assert made[0].startswith("| damage | `builtin` | `participant_seed3` to `4` | `untrained` | area of detection")
    assert len(made) == 2 + len(module.DAMAGE)
    assert made[2] == (
        "| none | 90 / 90 / 90 | 60 to 80 / 60 to 80 / 60 to 80 | 50 / 50 / 50 | 60, 50 |"
    )
    assert made[-1] == "| noise of 1 | 80 / 80 / 80 | 50 to 70 / 50 to 70 / 50 to 70 | 40 / 40 / 40 | 50, 40 |"
    with pytest.raises(Error, match="no accuracy of detection under noise of 1: run"):
        module.damaged(pd.DataFrame(rows).query("lesion != 'noise'"), ["participant_seed3", "participant_seed4"])


def test_the_page_of_the_weights_has_a_place_for_it() -> None:
    module = script("damaged_participants")
    page = module.PAGE.read_text(encoding="utf-8")
    made = page[page.index("<!-- damaged: ") : page.index("<!-- damaged end -->")].strip().splitlines()
    assert made[2].startswith("| damage | `builtin` |") and len(made) == 2 + 2 + len(module.DAMAGE)
