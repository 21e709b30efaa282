"""The page about training: its tables are those of runs that are kept beside it, in which nobody tested had trained."""

from __future__ import annotations

import re
from pathlib import Path

import pandas
import pytest

from facelesion.data.facespace import FaceSpace
from facelesion.data.lfw import read_people
from facelesion.data.seen import people_seen
from facelesion.models import get
from facelesion.training.files import read_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
TABLES = ROOT / "docs" / "tables"
RIGHT, AS_IT_WAS, RECOVERY = (
    read_table(TABLES / f"{name}.csv") for name in ("notebook_right", "notebook_as_it_was", "recovery")
)
PEOPLE = (TABLES / "notebook_people.txt").read_text(encoding="utf-8").split()
STIMULI = ["intact", "mask eyebrows", "mask eyes", "mask nose", "mask mouth"]
HOW = {"no lesion": "", "damaged": "", "trained with the damage": ", trained with it"}


def per_cent(row: pandas.Series) -> str:
    return f"{100 * row['accuracy']:.0f} ({100 * row['low']:.0f}–{100 * row['high']:.0f})"


@pytest.mark.parametrize("table", [RIGHT, AS_IT_WAS, RECOVERY], ids=["right", "as it was", "recovery"])
def test_nobody_tested_had_trained_the_network_and_every_number_names_its_origin(
    table: pandas.DataFrame,
) -> None:
    assert set(table["people_seen"]) == {"0"}
    for column in ("weights", "lesion_hash", "data", "seed", "people"):
        assert table[column].notna().all()
    assert get("builtin").weights in set(AS_IT_WAS["weights"])


def test_the_people_of_the_tables_are_none_whom_the_built_in_network_says_it_saw() -> None:
    assert len(PEOPLE) == len(set(PEOPLE)) == int(RIGHT[RIGHT["task"] == "identification"]["people"].iloc[0])
    assert not any(name.startswith("person-") for name in PEOPLE), "they are LFW's"
    made_up = FaceSpace.load().draw(1, 1, seed=1_000).labels
    assert people_seen(get("builtin").about, made_up).people == ()


@pytest.mark.shared
def test_the_people_of_the_tables_are_all_on_lfws_test_list(shared: Path) -> None:
    train, test = (
        set(read_people(shared / "data" / f"peopleDev{part}.txt")[0]) for part in ("Train", "Test")
    )
    assert set(PEOPLE) <= test and not set(PEOPLE) & train


@pytest.mark.parametrize("task", ["identification", "detection"])
def test_the_tables_of_the_page_are_those_of_the_run(task: str) -> None:
    rows = RIGHT[(RIGHT["task"] == task) & RIGHT["how"].isin(list(HOW))]
    found = 0
    for (approach, how), part in rows.groupby(["approach", "how"], sort=False):
        cells = [per_cent(part[part["stimulus"] == name].iloc[0]) for name in STIMULI]
        assert f"| {approach}{HOW[how]} | {' | '.join(cells)} |" in PAGE
        found += 1
    assert found == 1 + 2 * 5


def test_what_the_page_says_of_manipulated_units_is_what_the_run_says() -> None:
    moved = RIGHT[RIGHT["how"].isin(["responsible units", "as many other units"])]
    wide = moved.pivot(index=["task", "approach"], columns="how", values="accuracy")
    below = wide["responsible units"] < wide["as many other units"]
    for task in ("identification", "detection"):
        said = f"{int(below[task].sum())} of {len(below[task])} comparisons in {task}"
        assert said in PAGE


def test_the_course_of_recovery_on_the_page_is_that_of_the_run() -> None:
    for state in ("damage in place", "damage taken away", "never damaged"):
        part = RECOVERY[(RECOVERY["state"] == state) & (RECOVERY["injury"] > 0)]
        cells = [
            f"{100 * part[(part['injury'] == injury) & (part['epoch'] == epoch)]['accuracy'].iloc[0]:.1f}"
            for injury in (1, 2)
            for epoch in range(6)
        ]
        assert f"| {state} | {' | '.join(cells)} |" in PAGE
    healthy = RECOVERY[RECOVERY["injury"] == 0]["accuracy"].iloc[0]
    assert f"the healthy network is right in {100 * healthy:.1f} %" in PAGE


def test_the_means_of_the_notebook_as_it_was_are_those_of_the_run() -> None:
    means = AS_IT_WAS[AS_IT_WAS["stimulus"] == "intact"].groupby("approach")["accuracy"].mean()
    for name in ("no lesion", "ablation 1", "noise"):
        assert re.search(rf"{100 * means[name]:.0f} % with {name}\b", PAGE)


def test_grad_cam_can_be_asked_of_every_layer_and_every_stimulus(tiny: str) -> None:
    from facelesion.analysis import class_score, grad_cam
    from facelesion.faces.stimuli import Stimulus

    subject, faces = get(tiny), FaceSpace.load().draw(1, 1, seed=3)
    layers = [alias for alias in subject.module.site_aliases if alias.startswith("conv")]  # type: ignore[union-attr]
    assert len(layers) == 13
    for name in STIMULI:
        images = subject.preprocess(faces.shown(Stimulus.from_dict(name)).images)
        maps = grad_cam(subject.module, images, layers, class_score(lambda representation: representation, 0))
        assert set(maps) == set(layers)
