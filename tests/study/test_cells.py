"""A study's cells: the same trials however they are shared out, however often they are killed; on a tiny network."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.materials import Materials
from facelesion.engines import Parts
from facelesion.errors import Error
from facelesion.faces.stimuli import Stimulus
from facelesion.models import Subject
from facelesion.models.subject import Preprocessing
from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS
from facelesion.study import Study, cells, run, run_study
from facelesion.study.pool import Pool
from facelesion.tasks import TASKS, Answers

pytestmark = pytest.mark.usefixtures("no_figures")
KEYS = ["participant", "lesion", "dose", "draw", "stimulus", "task"]
SMALL = FaceSpacePictures(
    training_people=6, training_pictures=2, enrolled_people=5, enrolment_pictures=1, probe_pictures=2, new_people=3,
    new_pictures=2, object_pictures=1, object_training_pictures=2, other_pictures=4,
)  # fmt: skip
FOUR = ["detection", "identification", "verification", "objects"]
LESIONS = {
    "ablation": [{"kind": "Ablate", "site": "0", "fraction": [0.25, 0.5]}],
    "noise": [{"kind": "Noise", "site": {"mine": "2", "wide": "0"}, "std": [0.5, 2], "relative": True}],
    "both": [
        {"kind": "Scale", "site": "0", "by": 0.5},
        {"kind": "Dropout", "site": "2", "p": [0.3], "per": "channel"},
    ],
}
EVERY_KIND = {
    "to mean": {"kind": "Ablate", "site": "0", "fraction": 0.5, "to": "mean"},
    "to another image": {"kind": "Ablate", "site": "0", "fraction": 0.5, "to": "resample"},
    "at places": {"kind": "Ablate", "site": "0", "units": [0, 1], "where": ["10", "00"]},
    "kept": {"kind": "Keep", "site": "0", "fraction": 0.5},
    "multiplicative": {"kind": "Noise", "site": "0", "std": 1.0, "multiplicative": True},
    "relative": {"kind": "Noise", "site": "2", "std": 1.0, "relative": True},
    "per channel": {"kind": "Dropout", "site": "2", "p": 0.5, "per": "channel"},
    "held": {"kind": "Clamp", "site": "0", "max": 0.0},
    "excited": {"kind": "Shift", "site": "2", "by": 1, "relative": True},
    "weakened": {"kind": "Scale", "site": "0", "by": 0.5},
    "pruned": {"kind": "Prune", "site": "2", "fraction": 0.5},
}


def tiny(seed: int = 0, width: int = 8, size: int = 24) -> Subject:
    """A network of two layers that takes pictures of `size` pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
    return Subject(
        "tiny", network.eval(), size, Preprocessing(size), nn.Identity(), f"tiny-{seed}-{width}-{size}", {}
    )


@pytest.fixture(scope="module")
def pictures() -> Materials:
    return SMALL.gather(seed=0, size=112)


@pytest.fixture(scope="module")
def participants() -> dict[str, Subject]:
    return {"mine": tiny(0), "wide": tiny(1, width=12, size=32)}


def study_in(folder: Path) -> Study:
    return Study(
        name="cells",
        participants=["mine", "wide"],
        lesions=LESIONS,
        stimuli=["intact", {"kind": "noise", "std": 0.2}],
        tasks=FOUR,
        draws=2,
        output=str(folder),
        device="cpu",
    )


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return study_in(tmp_path / "runs")


@pytest.fixture
def cells_of_three(monkeypatch) -> None:
    """Cells small enough that a study has several."""
    monkeypatch.setattr(run, "SHARD", 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, participants, pictures, no_figures) -> Study:
    """The study done in cells of three by one process that nobody disturbed: what every other must equal."""
    study = study_in(tmp_path_factory.mktemp("whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "SHARD", 3)
        run_study(study, participants=participants, pictures=pictures)
    return study


def read(study: Study, name: str) -> pd.DataFrame:
    return pd.read_parquet(Path(study.output) / study.name / f"{name}.parquet")


def elsewhere(study: Study, folder: Path, **changes: object) -> Study:
    return dataclasses.replace(study, output=str(folder), **changes)


def alone(participants: dict[str, Subject]) -> dict[str, Subject]:
    return {"mine": participants["mine"]}


def alone_in(study: Study) -> Study:
    return dataclasses.replace(
        study, participants=["mine"], lesions={"x": LESIONS["ablation"]}, stimuli=["intact"], tasks=["detection"]
    )


def same_tables(one: Study, other: Study) -> None:
    for name in ("trials", "table"):
        pd.testing.assert_frame_equal(read(one, name), read(other, name), check_exact=True)


@pytest.mark.slow
def test_every_condition_is_in_both_tables_for_every_participant(study, participants, pictures):
    run_study(study, participants=participants, pictures=pictures)
    table, trials = read(study, "table"), read(study, "trials")
    assert list(table) == list(TABLE_COLUMNS) and list(trials) == list(TRIAL_COLUMNS)
    planned = {
        (name, p.series, p.dose, p.draw, str(stimulus), task)
        for name in participants
        for p in study.planned(name)
        for stimulus in study.stimuli
        for task in FOUR
    }
    assert len(planned) == 2 * 2 * 4 * (1 + 4 + 4 + 2)
    for frame in (table, trials):
        assert set(frame[KEYS].itertuples(index=False, name=None)) == planned
    assert not table.duplicated([*KEYS, "metric"]).any() and not trials.duplicated([*KEYS, "trial"]).any()
    sizes = trials.groupby(KEYS, observed=True).size()
    named = table.drop_duplicates(KEYS).set_index(KEYS).n
    assert (sizes.reindex(named.index) == named).all()
    assert dict(zip(table.participant, table.weights, strict=True)) == {
        "mine": "tiny-0-8-24", "wide": "tiny-1-12-32",
    }  # fmt: skip
    noise = table[table.lesion == "noise"].groupby("participant").sites.unique()
    assert {name: list(sites) for name, sites in noise.items()} == {"mine": ["2"], "wide": ["0"]}
    assert (table.main.groupby(table.task).sum() > 0).all()


@pytest.mark.slow
def test_measures_can_be_computed_from_the_trials_of_every_task(study, participants, pictures):
    everything = dataclasses.replace(
        study, participants=["mine"], tasks=list(TASKS), lesions={"ablation": LESIONS["ablation"]}, draws=1
    )
    own = alone(participants)
    run_study(everything, participants=own, pictures=pictures)
    bench = run.gather(everything, own, pictures).bench("mine", torch.device("cpu"))
    table = read(everything, "table").set_index([*KEYS[1:], "metric"]).value
    tasks = {task.name: task for task in bench.tasks}
    seen = set()
    for key, trials in read(everything, "trials").groupby(KEYS[1:], observed=True):
        task = tasks[key[-1]]
        trials = trials.sort_values("trial")
        answers = Answers(
            torch.tensor([task.alternatives.index(answer) for answer in trials.answer]),
            torch.tensor(trials.value.to_numpy().copy()),
            torch.tensor(trials.right.to_numpy().copy()),
            torch.tensor(trials.forced_choice.to_numpy().copy()),
        )
        said, target = trials.answer.astype(str), trials.target.astype(str)
        assert ((said == target) == trials.right).all()
        assert tuple(trials.item) == task.trials.item and tuple(trials.section) == task.trials.section
        for metric, value in task.measure(answers).items():
            assert table[(*key, metric)] == pytest.approx(value, abs=1e-6, nan_ok=True), (key, metric)
            seen.add((task.name, metric))
    assert seen == {(task.name, measure.name) for task in bench.tasks for measure in task.measures}


@pytest.mark.slow
def test_every_kind_of_damage_runs_in_a_study_and_its_row_says_what_it_did(study, participants, pictures):
    kinds = dataclasses.replace(
        study, participants=["mine"], lesions={name: [part] for name, part in EVERY_KIND.items()}, draws=1,
        tasks=["detection"],
    )  # fmt: skip
    run_study(kinds, participants=alone(participants), pictures=pictures)
    table = read(kinds, "table")
    assert set(table.lesion) == {"none", *EVERY_KIND}
    intact = table.lesion == "none"
    assert (table.change[intact] == 0.0).all() and (table.changes[intact] == "{}").all()
    change = table[~intact].groupby(["lesion", "stimulus"]).change.min()
    assert (change > 0.01).all(), change
    assert change["weakened"].tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert change["at places"].max() < change["kept"].min()
    assert (table.meaning[~intact] != "").all() and table.damage_hash.nunique() == len(EVERY_KIND) + 1


@pytest.mark.slow
def test_the_change_says_every_site_and_grows_with_the_dose(study, participants, pictures):
    import json

    run_study(study, participants=participants, pictures=pictures)
    table = read(study, "table")
    ablation = table[table.lesion == "ablation"].groupby(["participant", "stimulus", "draw", "dose"]).change.first()
    small, large = (ablation.xs(dose, level="dose") for dose in (0.25, 0.5))
    assert (large > small).all()
    both = table[(table.lesion == "both") & (table.participant == "mine")]
    for told, mean in zip(both.changes, both.change, strict=True):
        sites = json.loads(told)
        assert set(sites) == {"0", "2"} and min(sites.values()) > 0
        assert mean == pytest.approx(sum(sites.values()) / 2, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"batch_size": 1}, {"batch_size": 7}, {"batch_size": 32, "processes": 2}, {"processes": 2}],
    ids=str,
)
def test_neither_batches_nor_processes_change_a_bit(
    whole, participants, pictures, tmp_path, changes, cells_of_three
):
    # 36 pictures: seven at a time, one is left over.
    other = elsewhere(whole, tmp_path / "other", **changes)
    run_study(other, participants=participants, pictures=pictures)
    pd.testing.assert_frame_equal(read(whole, "trials"), read(other, "trials"), check_exact=True)
    scores = [read(each, "table").drop(columns=["change", "changes"]) for each in (whole, other)]
    pd.testing.assert_frame_equal(*scores, check_exact=True)
    changed = [read(each, "table").change for each in (whole, other)]
    pd.testing.assert_series_equal(*changed, rtol=1e-6)


@pytest.mark.slow
def test_random_stimuli_do_not_hang_on_the_batch(pictures):
    pool = Pool.of([TASKS["detection"]], pictures, seed=0)
    kinds = [
        {"kind": "noise", "std": 0.2}, {"kind": "phase scramble"}, {"kind": "tile scramble", "tiles": 4},
        {"kind": "composite"}, {"kind": "mask", "region": "eyes", "fill": "noise"},
    ]  # fmt: skip
    for plain in kinds:
        stimulus = Stimulus.from_dict(plain)
        whole, *others = (
            torch.cat(list(pool.under(stimulus, size, torch.device("cpu")))) for size in (64, 1, 7, 32)
        )
        assert all(torch.equal(whole, other) for other in others), plain
        assert not torch.equal(whole, pool.images.float() / 255)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [1, 2, 5])
def test_a_study_interrupted_anywhere_ends_with_the_same_tables(
    study, whole, participants, pictures, monkeypatch, cells_of_three, ending
):
    original, kept = Parts.keep, []

    def dies(parts, name, content):
        if len(kept) == ending:
            raise KeyboardInterrupt
        original(parts, name, content)
        kept.append(name)

    monkeypatch.setattr(Parts, "keep", dies)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, participants=participants, pictures=pictures)
    again = []
    monkeypatch.setattr(Parts, "keep", lambda parts, name, *rest: (again.append(name), original(parts, name, *rest)))
    run_study(study, participants=participants, pictures=pictures)
    assert not set(kept) & set(again)
    # Eleven lesions in threes, for two participants under two stimuli.
    assert len(kept) + len(again) == 2 * 2 * 4
    same_tables(study, whole)
    assert not (Path(study.output) / "cells" / "parts").exists()


@pytest.mark.slow
@pytest.mark.parametrize("left", ["nothing", "its beginning", "zeros at its end", "a bit turned"])
def test_a_part_that_is_not_whole_is_done_again(
    study, whole, participants, pictures, monkeypatch, cells_of_three, left
):
    """What a file system leaves of a file whose machine lost its power."""
    original, kept = Parts.keep, []

    def dies(parts, name, content):
        if len(kept) == 3:
            raise KeyboardInterrupt
        original(parts, name, content)
        kept.append(parts.path / name)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "keep", dies)
        with pytest.raises(KeyboardInterrupt):
            run_study(study, participants=participants, pictures=pictures)
    data = kept[1].read_bytes()
    half = len(data) // 2
    torn = {
        "nothing": b"", "its beginning": data[:half], "zeros at its end": data[:half] + bytes(len(data) - half),
        "a bit turned": data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
    }  # fmt: skip
    kept[1].write_bytes(torn[left])
    run_study(study, participants=participants, pictures=pictures)
    same_tables(study, whole)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_study_that_is_killed_outright_goes_on(study, pictures, tmp_path, processes):
    """kill -9 between two cells: nothing is tidied up, and the rest is done by the next run."""
    import yaml

    plain = study.to_dict() | {
        "participants": ["untrained"], "stimuli": ["intact", "invert", "greyscale"], "processes": processes,
        "lesions": {"x": [{"kind": "Ablate", "site": "conv5_*", "fraction": [0.2, 0.5]}]},
        "tasks": ["detection"],
    }  # fmt: skip
    plain["pictures"] |= {name: getattr(SMALL, name) for name in vars(SMALL)} | {"source": "facespace"}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(plain))
    program = "from facelesion.study import read_study, run_study; run_study(read_study('study.yaml'))"
    if processes > 1:
        program = "if __name__ == '__main__':\n    " + program
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    root = Path(__file__).resolve().parents[2]
    begun = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    parts = tmp_path / "runs" / "cells" / "parts"
    try:
        deadline = time.monotonic() + 240
        while not list(parts.glob("*.cell")) and begun.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.killpg(begun.pid, signal.SIGKILL)
        begun.wait()
    assert begun.returncode == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in parts.glob("*.cell")}
    assert 1 <= len(done) < 3

    from facelesion.study import read_study

    resumed, whole = (dataclasses.replace(read_study(file), processes=1) for _ in range(2))
    resumed = dataclasses.replace(resumed, output=str(tmp_path / "runs"))
    run_study(resumed)
    whole = elsewhere(whole, tmp_path / "whole")
    run_study(whole)
    same_tables(resumed, whole)


@pytest.mark.slow
def test_a_finished_study_is_not_run_again_nor_replaced_unasked(
    study, participants, pictures, monkeypatch, capsys
):
    own = {"participants": participants, "pictures": pictures}
    run_study(study, **own)
    before = read(study, "table")
    monkeypatch.setattr(cells, "answered", lambda *_, **__: pytest.fail("computed again"))
    run_study(dataclasses.replace(study, batch_size=5, processes=2, question="Why?"), **own)
    assert "already" in capsys.readouterr().err
    changed = [dataclasses.replace(study, seed=1), dataclasses.replace(study, tasks=FOUR[:3])]
    for other in changed:
        with pytest.raises(Error, match="holds another study.*--overwrite true"):
            run_study(other, **own)
    with pytest.raises(Error, match="holds another study"):
        run_study(study, participants={**participants, "mine": tiny(7)}, pictures=pictures)
    with pytest.raises(Error, match="holds another study"):
        run_study(study, participants=participants, pictures=SMALL.gather(seed=1, size=112))
    pd.testing.assert_frame_equal(read(study, "table"), before)


@pytest.mark.slow
def test_another_study_is_replaced_when_that_is_asked_for(study, participants, pictures):
    own = {"participants": alone(participants), "pictures": pictures}
    small = alone_in(study)
    run_study(small, **own)
    run_study(dataclasses.replace(small, draws=1, overwrite=True), **own)
    assert read(small, "table").draw.max() == 0


@pytest.mark.slow
def test_a_run_whose_parts_were_not_tidied_away_is_finished_all_the_same(
    study, participants, pictures, monkeypatch
):
    """Killed while it deleted its parts: everything is written, so nothing is computed again."""
    own = {"participants": alone(participants), "pictures": pictures}
    small = alone_in(study)
    unlink = Path.unlink

    def dies_at_the_key(path: Path, *args: object, **kwargs: object) -> None:
        if path.name == "key":
            raise KeyboardInterrupt
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", dies_at_the_key)
    with pytest.raises(KeyboardInterrupt):
        run_study(small, **own)
    monkeypatch.setattr(Path, "unlink", unlink)
    before = read(small, "table")
    monkeypatch.setattr(cells, "answered", lambda *_, **__: pytest.fail("computed again"))
    page = run_study(small, **own)
    pd.testing.assert_frame_equal(read(small, "table"), before)
    assert page.is_file() and not (page.parent / "parts").exists()


@pytest.mark.parametrize("inside", ["a file", "a folder", "another manifest", "no folder at all"])
def test_what_is_no_run_is_left_alone(study, participants, pictures, inside):
    folder = Path(study.output) / study.name
    folder.parent.mkdir(parents=True)
    if inside == "no folder at all":
        thesis = folder
    else:
        names = {"a file": "thesis.doc", "a folder": "parts/thesis.doc", "another manifest": "manifest.json"}
        thesis = folder / names[inside]
        thesis.parent.mkdir(parents=True)
    thesis.write_text("three years of work")
    for overwrite in (False, True):
        with pytest.raises(Error, match="is no run of a study"):
            run_study(
                dataclasses.replace(study, overwrite=overwrite), participants=participants, pictures=pictures
            )
    assert thesis.read_text() == "three years of work"
    assert len(list(folder.parent.rglob("*.*"))) == (1 if thesis.suffix else 0)


def test_a_network_of_ones_own_that_the_study_does_not_name_is_told(study, participants, pictures):
    with pytest.raises(Error, match="participants: 'mien' takes no part.*did you mean 'mine'"):
        run_study(study, participants={**participants, "mien": tiny(3)}, pictures=pictures)
    assert not Path(study.output).exists()


def test_a_site_that_a_participant_lacks_is_told_before_anything_is_written(study, participants, pictures):
    with pytest.raises(ValueError, match="layer9"):
        run_study(
            dataclasses.replace(study, lesions={"x": [{"kind": "Ablate", "site": "layer9", "fraction": [0.1]}]}),
            participants=participants, pictures=pictures,
        )  # fmt: skip
    assert not Path(study.output).exists()
