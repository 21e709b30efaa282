"""A run folder with a made-up table, so that the report can be tested without a study."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facelesion.report import run_folder

sys.path.insert(0, str(Path(__file__).parent))
from made_up import DOSES, NETWORKS, SERIES, STIMULI, build_study, build_table


@pytest.fixture(scope="session")
def study_tables():
    return build_study()


@pytest.fixture(scope="session")
def study_run(tmp_path_factory, study_tables):
    """A run with answers, contrasts, chosen units and their control sets, and a group of networks trained alike."""
    from facelesion.analysis import Contrast, against_controls
    from facelesion.study import Participant, Study
    from facelesion.study.contrasted import contrasts_of

    table, trials = study_tables
    folder = tmp_path_factory.mktemp("study") / "small"
    crossed = Contrast("who against what", tasks=("who", "what"), lesions=("face units", "noise"),
                       participants=("one", "two"), primary=True)  # fmt: skip
    lesions = {
        "face units": [{"kind": "Ablate", "site": "conv5_1", "units": {"by": "selectivity", "of": "faces"},
                        "fraction": [*SERIES["face units"]]}],
        "noise": [{"kind": "Noise", "site": "conv5_1", "std": [*SERIES["noise"]]}],
    }  # fmt: skip
    # The tasks are made up, so the study is told of its contrast only once it stands.
    study = Study(participants=[Participant("untrained", name) for name in NETWORKS], lesions=lesions)
    object.__setattr__(study, "contrasts", (crossed,))
    run_folder.write_config(
        folder,
        {"name": "small", "seed": 7, "participants": list(NETWORKS), "pictures": {"source": "facespace",
        "variability": 0.75},
         "contrasts": [{"name": "who against what", "tasks": ["who", "what"], "lesions": ["face units", "noise"]}]},
    )  # fmt: skip
    run_folder.write_table(folder, table)
    run_folder.write_trials(folder, trials)
    run_folder.write_controls(folder, against_controls(table))
    contrasts_of(study, trials).to_csv(folder / run_folder.CONTRASTS, index=False)
    ranked = [
        pd.DataFrame(
            dict(participant=name, series="face units", site="conv5_1", unit=range(20), rank=range(1, 21), by=by,
                of="faces",
                 against="objects", settings="{}", score_is="d'", reliability=0.8, pictures=160, people=40)
        )
        for name in ("one", "two") for by in ("selectivity", "causal")
    ]  # fmt: skip
    run_folder.write_rankings(folder, ranked)
    (folder / "pictures.csv").write_text("role,picture,label\nprobes,a,x\nprobes,b,y\ntraining,c,z\n")
    run_folder.write_manifest(
        folder,
        run_folder.Manifest(
            study="small", created="2026-02-03T12:00:00+00:00", versions={"facelesion": "0.1.0", "torch": "2.15.0"},
            hashes={"study": "c0ffee001122"}, seeds={"pictures and lesions": 7}, tasks={"who": "Who is it?"},
            groups={"trained alike": ["one", "two"]}, remarks=("Units were ranked on 40 people.",),
        ),
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return build_table()


@pytest.fixture(scope="session")
def arrays() -> dict:
    """Pictures, confusion matrices and heat maps of plausible shape, without any photograph."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[-1:1:112j, -1:1:112j]
    face = np.stack([255 * np.exp(-(x**2 * 1.6 + y**2)) * tone for tone in (1.0, 0.8, 0.7)], -1)
    for eye in (-0.35, 0.35):
        face[np.hypot(x - eye, y + 0.25) < 0.12] = 30
    face = face.clip(0, 255).astype(np.uint8)
    images = np.stack([face] * len(STIMULI))
    images[1:, 30:50, 20:92] //= 3
    people = tuple(f"person {i:02d}" for i in range(40))
    intact = np.diag(random.integers(8, 11, 40)) + (random.random((40, 40)) < 0.02)
    damaged = np.diag(random.integers(2, 6, 40)) + random.integers(0, 2, (40, 40))
    layers = ("conv1_2", "conv3_3", "conv5_3")
    heat = np.stack(
        [
            [
                np.exp(-((x - dx * (c + 1) / 3) ** 2 + (y + 0.2) ** 2) * (6 - i))
                for i, dx in enumerate((0.4, 0.2, 0.0))
            ]
            for c in range(3)
        ]
    )
    return dict(
        stimuli=(STIMULI, images),
        confusions=(
            run_folder.Confusion("identification", "intact", intact.astype(int), people),
            run_folder.Confusion("identification", "ablation conv5_3, 40 % of units", damaged.astype(int), people),
            run_folder.Confusion("detection", "intact", np.array([[197, 3], [2, 198]]), ("no face", "face")),
            run_folder.Confusion("detection", "ablation conv5_3, 40 % of units",
                                 np.array([[170, 30], [21, 179]]), ("no face", "face")),
        ),
        gradcam=run_folder.GradCamMaps(
            ("intact", "ablation 0.4", "noise 1.0"), layers, heat.astype(np.float32), face
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def manifest() -> run_folder.Manifest:
    return run_folder.Manifest(
        study="default",
        command="facelesion study configs/default.yaml",
        created="2026-01-01T12:00:00+00:00",
        seconds={"faces": 21.5, "readouts": 12.0, "sweep": 312.25, "report": 9.0},
        versions={"facelesion": "0.1.0", "python": "3.11.9", "torch": "2.15.0"},
        hashes={"weights": "3f2a9c01b7de", "identification images": "a1b2c3d4e5f6"},
        seeds={"study": 0, "face space": 7},
        left_out=(run_folder.LeftOut("Ann_Example/Ann_Example_0002.jpg", "no face found"),),
    )


@pytest.fixture
def run(tmp_path, table, arrays, manifest):
    """A complete run folder on disk."""
    folder = tmp_path / "default"
    run_folder.write_config(
        folder, {"name": "default", "seed": 0, "participants": ["vgg_small"], "draws": 5, "lesions": DOSES}
    )
    run_folder.write_table(folder, table)
    run_folder.write_manifest(folder, manifest)
    run_folder.write_stimuli(folder, *arrays["stimuli"])
    run_folder.write_confusions(folder, arrays["confusions"])
    run_folder.write_gradcam(folder, arrays["gradcam"])
    log = folder / "log.csv"
    steps = pd.DataFrame({"epoch": np.repeat(range(6), 2), "step": range(12)})
    steps["train_loss"] = np.where(steps.index % 2 == 0, 2 * np.exp(-steps.epoch / 2) + 0.1, np.nan)
    steps["val_loss"] = np.where(steps.index % 2 == 1, 2 * np.exp(-steps.epoch / 3) + 0.3, np.nan)
    steps.to_csv(log, index=False)
    run_folder.write_training_log(folder, log)
    log.unlink()
    return folder
