"""A study: every condition is in the table, a killed one goes on, and nothing is overwritten by mistake."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
import torch

from facelesion import study
from facelesion.errors import FacelesionError
from facelesion.materials import DataConfig, gather
from facelesion.study import Damage, StudyConfig, conditions, run_study

SMALL = DataConfig(
    training_people=6, training_pictures=2, enrolled_people=5, enrolment_pictures=1, probe_pictures=1, new_people=3,
    new_pictures=2, object_pictures=1, object_training_pictures=2, other_pictures=4,
)  # fmt: skip


@pytest.fixture
def config(tmp_path) -> StudyConfig:
    return StudyConfig(
        name="small",
        model="untrained",
        data=SMALL,
        stimuli=["intact", "mask eyes"],
        approaches={
            "ablation": [Damage("ablate", ["conv4_3", "conv5_1"], [0.2, 0.8])],
            "combined": [Damage("ablate", ["conv5_3"], [0.3]), Damage("noise", ["conv5_3"], [1.0])],
        },
        draws=2,
        output=str(tmp_path / "runs"),
        device="cpu",
    )


def table_of(config: StudyConfig) -> pd.DataFrame:
    return pd.read_parquet(f"{config.output}/{config.name}/table.parquet")


def test_nobody_is_in_two_roles_and_the_same_seed_gathers_the_same_pictures():
    materials = gather(SMALL, seed=3, size=112)
    roles = [set(faces.labels) for faces in (materials.training, materials.enrolment, materials.strangers)]
    assert not (roles[0] & roles[1] or roles[0] & roles[2] or roles[1] & roles[2])
    assert set(materials.probes.labels) == roles[1]
    assert not set(materials.probes.names) & set(materials.enrolment.names)
    assert not set(materials.objects.names) & set(materials.training_objects.names)
    again, other = gather(SMALL, seed=3, size=112), gather(SMALL, seed=4, size=112)
    assert materials.probes.digest == again.probes.digest != other.probes.digest


def test_every_step_of_an_approach_takes_the_doses_at_its_place(config):
    lesions = conditions(config)
    assert [(c.approach, c.dose, c.draw) for c in lesions] == [
        ("none", 0.0, 0),
        ("ablation", 0.2, 0), ("ablation", 0.2, 1), ("ablation", 0.8, 0), ("ablation", 0.8, 1),
        ("combined", 0.3, 0), ("combined", 0.3, 1),
    ]  # fmt: skip
    assert len({c.lesion.hash for c in lesions[1:]}) == 6
    assert "noise" in str(lesions[-1].lesion) and "ablate" in str(lesions[-1].lesion)


@pytest.mark.slow
def test_the_table_holds_every_condition_and_the_report_is_written(config):
    page = run_study(config)
    table = table_of(config)
    per_condition = table.groupby(["approach", "dose", "draw", "stimulus", "task"]).size()
    assert len(per_condition) == 7 * 2 * 4
    assert set(table.metric[table.task == "verification"]) >= {"auc", "accuracy"}
    assert (table.weights == "untrained-seed0").all() and table.data.nunique() == 1
    assert table.loc[table.approach == "none", "lesion"].unique().tolist() == ["none"]
    assert page.name == "report.html" and "<html" in page.read_text(encoding="utf-8").lower()
    assert {path.name for path in page.parent.iterdir()} >= {"config.yaml", "manifest.json", "table.parquet"}
    damaged = table[(table.approach == "ablation") & (table.dose == 0.8)]
    intact = table[table.approach == "none"]
    merged = damaged.merge(intact, on=["stimulus", "task", "metric"])
    assert (merged.value_x != merged.value_y).any()


@pytest.mark.slow
def test_a_killed_study_goes_on_where_it_was_and_ends_with_the_same_table(config, tmp_path, monkeypatch):
    whole = dataclasses.replace(config, output=str(tmp_path / "whole"))
    run_study(whole)
    original, calls = study.sweep, []

    def dies_at_the_second(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(study, "sweep", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_study(config)
    monkeypatch.setattr(study, "sweep", original)
    run_study(config)
    pd.testing.assert_frame_equal(table_of(config), table_of(whole))


@pytest.mark.slow
def test_a_finished_study_is_not_run_again_nor_replaced_unasked(config, monkeypatch, capsys):
    run_study(config)
    before = table_of(config)
    monkeypatch.setattr(study, "sweep", lambda *a, **k: pytest.fail("computed again"))
    run_study(config)
    assert "already" in capsys.readouterr().err
    with pytest.raises(FacelesionError, match="holds another study.*--overwrite true"):
        run_study(dataclasses.replace(config, seed=1))
    pd.testing.assert_frame_equal(table_of(config), before)


def test_a_folder_that_is_no_run_is_left_alone(config, tmp_path):
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    (folder / "thesis.doc").write_text("three years of work")
    with pytest.raises(FacelesionError, match="is no run of a study"):
        run_study(dataclasses.replace(config, overwrite=True))
    assert (folder / "thesis.doc").read_text() == "three years of work"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"approaches": {}}, "approaches is empty"),
        ({"stimuli": ["mask eyes"]}, "begin with `intact`"),
        ({"stimuli": ["intact", "intact"]}, "nothing twice"),
        ({"draws": 0}, "draws is 0"),
        ({"name": "../elsewhere"}, "cannot be a folder's name"),
        (
            {"approaches": {"both": [Damage("ablate", ["a"], [0.1]), Damage("noise", ["a"], [1.0, 2.0])]}},
            "equally many doses",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, change, message):
    with pytest.raises(FacelesionError, match=message):
        dataclasses.replace(config, **change)


def test_too_few_people_are_refused():
    with pytest.raises(FacelesionError, match="enrolled_people is 1"):
        DataConfig(enrolled_people=1)


@pytest.mark.slow
def test_the_builtin_network_does_every_task_well_before_it_is_damaged():
    """The default study's own pictures: what is to be lost must first be there."""
    from facelesion.arguments import read_arguments
    from facelesion.models import get

    config = StudyConfig(**read_arguments(StudyConfig, ["default"], "study", config=True))
    subject = get("builtin")
    bench = study._Bench.build(subject, gather(config.data, config.seed, subject.size), config)
    (representation,) = bench.represent_all(study.Stimulus.from_dict("intact"), conditions(config)[:1])
    scores = {(task.name, s.metric): s.value for task in bench.tasks for s in task.score(representation)}
    assert scores["detection", "accuracy"] >= 0.95
    assert scores["identification", "accuracy"] >= 0.90
    assert scores["verification", "auc"] >= 0.95
    assert scores["objects", "accuracy"] >= 0.90
    assert torch.isfinite(representation).all()
