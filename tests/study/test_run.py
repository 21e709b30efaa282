"""A study: every condition is in the tables, a killed one goes on, and nothing is overwritten by mistake."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.engines import Parts
from facelesion.errors import Error
from facelesion.models import get
from facelesion.study import Study, dry_run, run_study

SMALL = FaceSpacePictures(
    training_people=6, training_pictures=2, enrolled_people=5, enrolment_pictures=1, probe_pictures=1, new_people=3,
    new_pictures=2, object_pictures=1, object_training_pictures=2, other_pictures=4,
)  # fmt: skip
TASKS = ["detection", "identification", "verification", "objects"]


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(
        name="small",
        participants=["untrained"],
        pictures=SMALL,
        stimuli=["intact", {"kind": "noise", "std": 0.2}],
        lesions={
            "ablation": [{"kind": "Ablate", "site": "conv4_3, conv5_1", "fraction": [0.2, 0.8]}],
            "combined": [
                {"kind": "Ablate", "site": "conv5_3", "fraction": 0.3},
                {"kind": "Noise", "site": "conv5_3", "std": 1.0, "relative": True},
            ],
        },
        tasks=TASKS,
        draws=2,
        output=str(tmp_path / "runs"),
        device="cpu",
    )


def read(study: Study, name: str) -> pd.DataFrame:
    return pd.read_parquet(f"{study.output}/{study.name}/{name}.parquet")


@pytest.mark.slow
def test_both_tables_hold_every_condition_and_the_report_is_written(study):
    page = run_study(study)
    table, trials = read(study, "table"), read(study, "trials")
    keys = ["lesion", "dose", "draw", "stimulus", "task"]
    assert len(table.groupby(keys).size()) == len(trials.groupby(keys, observed=True).size()) == 7 * 2 * 4
    assert (table.weights == "untrained-seed0").all() and table.data.nunique() == 1
    assert page.name == "report.html" and "<html" in page.read_text(encoding="utf-8").lower()
    # Measures are what the trials say.
    right = trials[trials.task == "identification"].groupby(keys, observed=True).right.mean()
    accuracy = table[(table.task == "identification") & (table.metric == "accuracy")].set_index(keys).value
    assert (right.reindex(accuracy.index) - accuracy).abs().max() < 1e-9
    # Every row says what the lesion did to its site.
    assert (table.change[table.lesion == "none"] == 0).all() and (table.change[table.lesion != "none"] > 0.05).all()
    strong, weak = (table[(table.lesion == "ablation") & (table.step == step)].change.min() for step in (2, 1))
    assert strong > weak


@pytest.mark.slow
def test_neither_batches_nor_processes_nor_threads_change_a_trial(study, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run_study(study)
    torch.set_num_threads(max(2, before))
    whole = read(study, "trials")
    for number, changes in enumerate(({"batch_size": 7}, {"batch_size": 32, "processes": 2})):
        other = dataclasses.replace(study, output=str(tmp_path / str(number)), **changes)
        run_study(other)
        pd.testing.assert_frame_equal(read(other, "trials"), whole, check_exact=True)
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_killed_study_goes_on_where_it_was_and_ends_with_the_same_tables(study, tmp_path, monkeypatch):
    whole = dataclasses.replace(study, output=str(tmp_path / "whole"))
    run_study(whole)
    original, calls = Parts.keep, []

    def dies_at_the_second(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(Parts, "keep", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_study(study)
    monkeypatch.setattr(Parts, "keep", original)
    run_study(study)
    for name in ("table", "trials"):
        pd.testing.assert_frame_equal(read(study, name), read(whole, name))
    monkeypatch.setattr(Parts, "keep", lambda *_: pytest.fail("computed again"))
    run_study(study)
    with pytest.raises(Error, match="holds another study.*--overwrite true"):
        run_study(dataclasses.replace(study, seed=1))


@pytest.mark.slow
def test_networks_and_pictures_of_ones_own_take_part(study):
    mine = dataclasses.replace(get("untrained", 5), name="mine")
    own = dataclasses.replace(study, participants=["mine", "untrained"], stimuli=["intact"], tasks=["detection"])
    materials = SMALL.gather(seed=3, size=112)
    run_study(own, participants={"mine": mine}, pictures=materials)
    table = read(own, "table")
    assert set(zip(table.participant, table.weights, strict=True)) == {
        ("mine", "untrained-seed5"), ("untrained", "untrained-seed0"),
    }  # fmt: skip


def test_a_folder_that_is_no_run_is_left_alone(study, tmp_path):
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    (folder / "thesis.doc").write_text("three years of work")
    with pytest.raises(Error, match="is no run of a study"):
        run_study(dataclasses.replace(study, overwrite=True))
    assert (folder / "thesis.doc").read_text() == "three years of work"


def test_a_dry_run_tells_design_and_cost_and_writes_nothing(study, tmp_path):
    told = dry_run(dataclasses.replace(study, stimuli=["intact"], tasks=["detection"]))
    assert "share of the units removed" in told and "multiply-adds" in told
    assert not (tmp_path / "runs").exists()


def test_the_cost_counts_the_passes_of_tasks_that_look_into_the_network(study):
    """Each of their pictures goes through the whole network under every lesion, once or there and back."""
    from facelesion.study.cost import estimate
    from facelesion.study.run import gather
    from facelesion.sweep import make_plan

    asked = dataclasses.replace(study, stimuli=["intact", "invert"])
    device = torch.device("cpu")

    def work(*tasks):
        gathered = gather(dataclasses.replace(asked, tasks=list(tasks)))
        (cost, *_) = estimate(gathered, device)
        return gathered, cost

    gathered, plain = work("identification")
    bench = gathered.bench(study.people[0].name, device, asked=False)
    image = bench.subject.preprocess(bench.pool.images[:1])
    one = make_plan(bench.subject.module, {"": None}, image).multiply_adds
    probes, lesions = gathered.materials.probes, len(bench.planned)
    for task, passes in (("attention", 2 * len(set(probes.labels))), ("representation", len(probes))):
        _, cost = work("identification", task)
        assert cost.multiply_adds - plain.multiply_adds == pytest.approx(one * passes * lesions * 2, rel=1e-6)
        assert cost.seconds > 0


def test_the_time_expected_is_that_of_the_quickest_piece_and_the_same_for_networks_alike(study, monkeypatch):
    """Whatever else the machine is at: most pieces are held up."""
    from facelesion.study import cost
    from facelesion.study.run import gather

    clock, taken = [0.0], iter([9.0, 7.0, 2.0, 30.0, 5.0])  # the first to warm up

    def held_up(network, lesions, images, **more):
        clock[0] += next(taken)

    monkeypatch.setattr(cost, "sweep", held_up)
    monkeypatch.setattr(cost, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    two = ["untrained", {"network": "untrained", "seed": 1}]
    asked = dataclasses.replace(study, participants=two, stimuli=["intact"], tasks=["identification"])
    gathered = gather(asked)
    one, other = cost.estimate(gathered, torch.device("cpu"))
    assert one.seconds == other.seconds == 2.0 / 4 * len(gathered.pool)  # of pieces of four pictures


def test_nobody_is_in_two_roles_and_the_same_seed_gathers_the_same_pictures():
    materials = SMALL.gather(seed=3, size=112)
    roles = [set(faces.labels) for faces in (materials.training, materials.enrolment, materials.strangers)]
    assert not (roles[0] & roles[1] or roles[0] & roles[2] or roles[1] & roles[2])
    assert not set(materials.probes.names) & set(materials.enrolment.names)
    again, other = SMALL.gather(seed=3, size=112), SMALL.gather(seed=4, size=112)
    assert materials.probes.digest == again.probes.digest != other.probes.digest


@pytest.mark.slow
def test_the_builtin_network_does_every_task_well_before_it_is_damaged():
    """What is to be lost must first be there: the default study's pictures, before its tasks are made harder."""
    from facelesion.arguments import config_path
    from facelesion.study import read_study
    from facelesion.study.run import gather

    asked = read_study(config_path("default"))
    easy = dataclasses.replace(asked.pictures, lookalike_pictures=0, other_pictures=8)
    plain = {"contrasts": (), "controls": None, "difficulty": None, "pictures": easy}
    study = dataclasses.replace(asked, participants=["builtin"], **plain)
    gathered = gather(study)
    bench = gathered.bench("builtin", torch.device("cpu"))
    found, _ = bench.represent(study.stimuli[0], study.planned("builtin")[:1], progress=False)
    scores = {task.name: dict(task.measure(task.answer(found["0"].float()))) for task in bench.tasks}
    assert scores["detection"]["accuracy"] >= 0.95
    assert scores["identification"]["accuracy"] >= 0.90
    assert scores["verification"]["auc"] >= 0.95
    assert scores["objects"]["accuracy"] >= 0.90
    assert scores["exemplars"]["accuracy"] >= 10 / 40
