"""Levels and doses found on people who are never tested: what halving finds, all rungs tried would find too."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest
import torch
from torch import nn

from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.materials import Materials, all_pairs
from facelesion.data.source import PRACTICE, GivenPictures
from facelesion.errors import Error
from facelesion.faces.stimuli import Intact
from facelesion.models import Subject
from facelesion.models.subject import Preprocessing
from facelesion.settings import SettingError
from facelesion.study import Study, run_study, settling
from facelesion.study.bench import Bench
from facelesion.study.difficulty import Setting, find_settings, make_hard
from facelesion.study.doses import find_doses, with_found
from facelesion.study.levels import Difficulty, sought_in
from facelesion.study.pool import Pool
from facelesion.tasks import TASKS

SMALL = FaceSpacePictures(
    training_people=16, training_pictures=3, enrolled_people=8, enrolment_pictures=2, probe_pictures=2, new_people=5,
    new_pictures=2, object_pictures=1, object_training_pictures=2, other_pictures=4,
)  # fmt: skip
CPU = torch.device("cpu")
ABLATION = {"kind": "Ablate", "site": "2", "fraction": {"for_loss": [0.3, 0.6]}}
NOISE = {"kind": "Noise", "site": "2", "std": {"for_loss": [0.3, 0.6]}, "relative": True}


def tiny(seed: int, width: int = 8) -> Subject:
    """A network of two layers with random weights: good at detection, fair at faces, at chance for objects."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
    return Subject("tiny", network.eval(), 24, Preprocessing(24), nn.Identity(), f"tiny-{seed}-{width}", {})


@pytest.fixture(scope="module")
def pictures() -> Materials:
    return SMALL.gather(seed=0, size=112)


@pytest.fixture(scope="module")
def practice(pictures) -> Materials:
    return SMALL.practice(pictures, 0)


def study(**settings) -> Study:
    values = {"participants": ["mine"], "pictures": SMALL, "tasks": ["identification"], "draws": 2, "device": "cpu"}
    return Study(**(values | settings))


def test_nobody_who_practises_is_tested_or_trains_a_readout(pictures, practice):
    for own, other in ((pictures.probes, practice.probes), (pictures.strangers, practice.strangers)):
        assert not set(own.labels) & set(other.labels) and not set(other.labels) & set(pictures.training.labels)
    assert pictures.training.digest == practice.training.digest and pictures.objects.digest != practice.objects.digest


def test_photographs_give_half_of_those_who_train_readouts_to_practise(pictures):
    practice = GivenPictures(other_pictures=4, object_pictures=1).practice(pictures, 0)
    training = set(pictures.training.labels)
    roles = [set(each.labels) for each in (practice.training, practice.probes, practice.strangers)]
    assert set().union(*roles) == training and sum(map(len, roles)) == len(training)
    assert set(practice.enrolment.labels) == roles[1] and not set(practice.enrolment.names) & set(practice.probes.names)
    with pytest.raises(Error, match="8 or more are needed"):
        training = pictures.training[:12]
        few = dataclasses.replace(pictures, training=training, training_pairs=all_pairs(training.labels))
        GivenPictures().practice(few, 0)


def test_likeness_brings_people_nearer_to_each_other_and_none_nearer_to_the_average_face():
    from facelesion.data.facespace import FaceSpace
    from facelesion.data.facespace_tools import likeness

    space = FaceSpace.load()
    for wanted in (0.0, 0.5, 0.9):
        people = space.people(12, 3, wanted)
        alike = [likeness(space, people[i], people[j]) for i in range(12) for j in range(i)]
        assert abs(sum(alike) / len(alike) - wanted) < 0.1
    assert (space.people(3, 3) == space.people(3, 3, 0.0)).all()


def test_the_setting_found_is_the_one_that_trying_every_noise_finds(pictures, practice):
    asked = Difficulty(level=0.7, knobs=("noise",), most_noise=1.0, tolerance=0.02)
    network = tiny(0)
    (found,) = find_settings(asked, ["verification"], [network], SMALL, practice, 0, CPU)

    def level(noise: float) -> float:
        pool = Pool.of([TASKS["verification"]], practice, PRACTICE, {"verification": noise})
        plain = study(tasks=["verification"], seed=PRACTICE)
        bench = Bench.build("mine", network, plain, practice, pool, plain.planned("mine"), CPU)
        shown, _ = bench.represent(Intact(), plain.planned("mine"), progress=False)
        return float(bench.tasks[0].answer(shown["0"]).forced_choice.double().mean())

    assert found.noise > 0 and level(found.noise) == pytest.approx(found.level, abs=1e-6)
    assert level(0.0) == pytest.approx(found.before, abs=1e-6) and found.met == (abs(found.level - 0.7) <= 0.02)
    # A small network's levels do not fall from rung to rung, so a level that is met is what counts.
    best = min(abs(level(float(f"{step / 64:.4g}")) - 0.7) for step in range(0, 65, 8))
    assert abs(found.level - 0.7) <= best + 0.03


def test_people_are_turned_alike_for_those_who_practise_and_those_who_are_tested(pictures, practice):
    known, new = Setting("identification", 0.8, 1, True, 0.9), Setting("verification", 0.8, 1, True, 0.8, 1.2)
    hard = make_hard((known, new), SMALL, pictures, practice, 0)
    assert hard.materials.probes.digest == SMALL.made_harder(pictures, 0, "known", likeness=0.9).probes.digest
    assert hard.practice.probes.digest != practice.probes.digest
    # The threshold is chosen on the alike pairs of those who practise.
    first, _, _ = hard.materials.training_pairs
    assert {hard.materials.training.labels[int(row)] for row in first} <= set(practice.strangers.labels)


def test_noise_is_on_the_task_s_own_pictures_and_on_no_other_s(pictures):
    tasks = [TASKS[name] for name in ("detection", "identification", "objects")]
    pool = Pool.of(tasks, pictures, 0, {"objects": 0.2})
    assert set(pool.rows) == {"probes", "strangers", "objects", "others", "objects (objects)"}
    clean, own = pool.of_task("objects", "detection"), pool.of_task("objects", "objects")
    assert pool.images[clean].equal(pictures.objects.images) and not pool.images[own].equal(pictures.objects.images)
    assert pool.ids[own].equal(pool.ids[clean])
    assert pool.of_task("probes", "identification").equal(pool.of_task("probes", "detection"))


@pytest.mark.parametrize("scale", ["forced_choice", "main"])
def test_doses_found_cost_what_trying_every_dose_says(practice, scale):
    losses = {"task": "identification", "scale": scale, "draws": 2}
    asked = study(lesions={"noise": [NOISE]}, tasks=["identification"], losses=dict(losses))
    found = find_doses(asked, {"mine": tiny(0, width=12)}, practice, {}, CPU)
    assert [each.loss for each in found] == [0.3, 0.6]
    small, large = (each.doses[0]["std"] for each in found)
    assert 0 < small < large
    # The same doses, as a list in a study of its own, with the draws that were used.
    ladder = sorted({*sought_in(NOISE).ladder[::4], small, large})
    plain = study(lesions={"noise": [{**NOISE, "std": ladder}]}, tasks=["identification"], seed=PRACTICE, draws=2)
    pool, planned = Pool.of([TASKS["identification"]], practice, PRACTICE), plain.planned("mine")
    bench = Bench.build("mine", tiny(0, width=12), plain, practice, pool, planned, CPU)
    shown, _ = bench.represent(Intact(), planned, progress=False)
    (task,) = bench.tasks

    def level(number: int) -> float:
        answers = task.answer(shown[str(number)])
        return float(answers.forced_choice.mean()) if scale == "forced_choice" else task.measure(answers)["accuracy"]

    chance = 0.5 if scale == "forced_choice" else task.measures[0].chance
    left = {dose: sum(level(n) for n, each in enumerate(planned) if each.dose == dose) / 2 for dose in ladder}
    cost = {dose: (level(0) - kept) / (level(0) - chance) for dose, kept in left.items()}
    for each in found:
        assert cost[each.doses[0]["std"]] == pytest.approx(each.reached, abs=1e-6)
        # Sixteen pictures, two draws: what is lost is no finer than that, and need not fall from dose to dose.
        assert abs(each.reached - each.loss) <= min(abs(value - each.loss) for value in cost.values()) + 0.1


def test_a_series_that_lists_its_doses_is_left_as_it_is(practice):
    listed = [{"kind": "Scale", "site": "0", "by": [0.5, 0.2]}]
    asked = study(lesions={"ablation": [ABLATION], "gain": listed}, losses={"draws": 1})
    assert asked.sought == ("ablation",)
    done = with_found(asked, find_doses(asked, {"mine": tiny(0)}, practice, {}, CPU))
    assert not done.sought and done.lesions["gain"] == tuple(listed)
    assert len(done.lesions["ablation"][0]["fraction"]) == 2


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"kind": "Ablate", "site": "0", "fraction": {"for_loss": [0.5, 0.2]}}, "growing"),
        ({"kind": "Ablate", "site": "0", "fraction": {"for_loss": [1.5]}}, "above 0 and below 1"),
        ({"kind": "Ablate", "site": "0", "fraction": {"for": [0.5]}}, "for_loss: \\[0.25, 0.5\\]"),
        ({"kind": "Shift", "site": "0", "by": {"for_loss": 0.5}}, "between"),
        ({"kind": "Noise", "site": "0", "std": {"for_loss": 0.5, "between": [1]}}, "two different doses"),
        ({"kind": "Noise", "site": "0", "std": {"for_loss": 0.5}, "fraction": {"for_loss": 0.5}}, "one dose is sought"),
    ],
)
def test_a_loss_that_cannot_be_asked_for_is_told_in_a_line(part, told):
    with pytest.raises(Error, match=told) as error:
        study(lesions={"series": [part]})
    assert "lesions.series.0" in str(error.value) and "\n" not in str(error.value)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(SettingError, match="difficulty.tasks.0 is 'objects'"):
        study(difficulty={"tasks": ["objects"]})
    with pytest.raises(SettingError, match="takes no part"):
        study(difficulty={"on": ["yours"]})
    with pytest.raises(SettingError, match="losses.draws does nothing here"):
        study(losses={"draws": 2})
    with pytest.raises(Error, match="unlike losses"):
        study(lesions={"both": [ABLATION, {**ABLATION, "fraction": {"for_loss": [0.1, 0.2]}}]})
    with pytest.raises(Error, match="list beside a dose that is sought"):
        study(lesions={"both": [ABLATION, {"kind": "Scale", "site": "0", "by": [0.5, 0.4]}]})


def test_every_dose_of_the_library_that_has_ends_can_be_sought():
    ends = {("Keep", "fraction"): 0.99, ("Scale", "by"): 0.99, ("Dropout", "p"): 0.01, ("Noise", "std"): 0.03}
    for (kind, field), mild in ends.items():
        ladder = sought_in({"kind": kind, "site": "0", field: {"for_loss": 0.5}}).ladder
        assert ladder[0] == pytest.approx(mild, abs=0.01) and len(set(ladder)) == len(ladder) > 100


@pytest.mark.slow
def test_a_killed_study_goes_on_with_what_it_found_and_says_what_was_reached(pictures, tmp_path, monkeypatch):
    asked = study(
        lesions={"ablation": [ABLATION]}, tasks=["identification", "verification"], stimuli=["intact"],
        difficulty={"level": 0.8, "tasks": ["verification"]}, losses={"draws": 1}, output=str(tmp_path),
    )  # fmt: skip
    own = {"participants": {"mine": tiny(0)}, "pictures": pictures}
    monkeypatch.setattr("facelesion.engines.parts.Parts.keep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_study(asked, **own)
    monkeypatch.undo()
    monkeypatch.setattr(settling, "find_settings", lambda *_: pytest.fail("searched again"))
    monkeypatch.setattr(settling, "find_doses", lambda *_: pytest.fail("searched again"))
    run_study(asked, **own)
    folder = tmp_path / asked.name
    found = json.loads((folder / "found.json").read_text())
    table = pd.read_parquet(folder / "table.parquet")
    doses = [each["doses"][0]["fraction"] for each in found["losses"]["doses"]]
    assert sorted(table[table.lesion == "ablation"].dose.unique()) == doses
    intact = table[(table.lesion == "none") & (table.task == "verification") & (table.metric == "auc")].value
    assert found["tested"]["levels"]["mine"]["verification"] == pytest.approx(float(intact.iloc[0]), abs=1e-5)
    assert [each["dose"] for each in found["tested"]["losses"]["mine"]["ablation"]] == doses
    assert any("not tested" in line for line in json.loads((folder / "manifest.json").read_text())["remarks"])
    listed = pd.read_csv(folder / "pictures.csv", dtype=str)
    practised = listed.role.str.startswith("practice ")
    assert {"practice probes", "practice strangers"} <= set(listed.role[practised])
    tested = listed.role.isin(["probes", "enrolled", "strangers"])
    assert not set(listed.label[practised]) & set(listed.label[tested])
