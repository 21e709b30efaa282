"""A run folder with a made-up table, so that the report can be tested without a study."""

import itertools
import zlib

import numpy as np
import pandas as pd
import pytest

from facelesion.report import run_folder

DOSES = {
    "ablation": (0.1, 0.2, 0.4, 0.6, 0.8),
    "noise": (0.25, 0.5, 1.0, 2.0, 4.0),
    "dropout": (0.1, 0.3, 0.5, 0.7, 0.9),
    "combined": (0.1, 0.2, 0.4, 0.6, 0.8),
}
TASKS = {
    # task: (measure, chance, intact, how quickly it falls with the dose's rank)
    "detection": ("accuracy", 0.5, 0.985, 0.15),
    "identification": ("accuracy", 0.025, 0.94, 0.9),
    "verification": ("auc", 0.5, 0.97, 0.55),
    "objects": ("accuracy", 0.125, 0.91, 0.35),
}
SPEED = {"none": 0.0, "ablation": 1.0, "noise": 0.6, "dropout": 1.5, "combined": 2.0}
REGIONS = ("eyebrows", "eyes", "nose", "mouth")
STIMULI = ("intact", *(f"{kind} {region}" for kind in ("mask", "blur", "isolate") for region in REGIONS))
WORDS = {"accuracy": "right answers", "auc": "area under the ROC curve"}
MEANINGS = {"ablation": "share of the units removed", "noise": "standard deviation of the noise",
            "dropout": "probability of a loss", "combined": "share of the units removed"}  # fmt: skip
LOSS = {"intact": 0.0, "mask": 0.15, "blur": 0.08, "isolate": 0.6}
REGION_WEIGHT = {"eyebrows": 0.8, "eyes": 1.4, "nose": 0.6, "mouth": 1.0}


def build_table(draws: int = 3, seed: int = 0, **changes: object) -> pd.DataFrame:
    """A table in which performance falls with dose, fastest in identification, with noise over draws."""
    random = np.random.default_rng(seed)
    rows = []

    def row(lesion, damage, dose, rank, draw, stimulus, task):
        metric, chance, intact, speed = TASKS[task]
        kind, _, region = stimulus.partition(" ")
        kept = np.exp(-speed * SPEED[lesion] * rank / 2) * (1 - LOSS[kind] * REGION_WEIGHT.get(region, 0)) * (
            1 + (random.normal(0, 0.05) if rank else 0)
        )  # fmt: skip
        value = float(np.clip(chance + (intact - chance) * kept, 0, 1))
        rows.append(
            dict(
                study="default", participant="vgg_small", weights="3f2a9c01b7de", lesion=lesion, damage=damage,
                damage_hash=f"{zlib.crc32(f'{damage} {draw}'.encode()):012x}", sites="conv4_3,conv5_1,conv5_2",
                step=rank, dose=dose, meaning=MEANINGS.get(lesion, ""), draw=draw, control="",
                mismatch=np.nan, seed=draw, change=0.1 * rank, changes="{}",
                stimulus=stimulus, task=task, metric=metric, words=WORDS[metric], main=True, value=value,
                n=400, chance=chance, ceiling=1.0, better="higher", share=metric == "accuracy", data="a1b2c3d4e5f6",
            )
        )  # fmt: skip

    stimuli_of = {
        task: STIMULI if task in ("identification", "verification") else ("intact",) for task in TASKS
    }
    for task in TASKS:
        for stimulus in stimuli_of[task]:
            row("none", "none", 0.0, 0, 0, stimulus, task)
            for (lesion, doses), draw in itertools.product(DOSES.items(), range(draws)):
                for rank, dose in enumerate(doses, start=1):
                    row(
                        lesion,
                        f"{lesion} conv4_3, conv5_1, conv5_2 {dose:g}",
                        dose,
                        rank,
                        draw,
                        stimulus,
                        task,
                    )
    return pd.DataFrame(rows).assign(**changes)


NETWORKS = {"one": "aaaa00000001", "two": "bbbb00000002", "untrained": "untrained-seed0"}
SERIES = {"face units": (0.05, 0.1, 0.3), "noise": (0.25, 0.5, 2.0)}  # the first is drawn once and has control sets
ASKED = {"who": (10, 2, 2.6), "what": (8, 2, 2.0)}  # people or kinds, pictures of each, how far they lie from others


def build_study(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of three networks whose chosen units carry who it is, with control sets, and of their answers."""
    random = np.random.default_rng(seed)
    trials, rows = [], []
    for name, weights in NETWORKS.items():
        cells = [("none", 0, 0.0, 0, "")]
        for lesion, doses in SERIES.items():
            for step, dose in enumerate(doses, start=1):
                cells += [(lesion, step, dose, draw, "") for draw in range(1 if lesion == "face units" else 3)]
                if lesion == "face units":
                    cells += [(lesion, step, dose, draw, kind) for kind in ("random", "matched") for draw in range(6)]
        for task, (people, pictures, far) in ASKED.items():
            chance = 1 / people
            ease = random.normal(0, 0.5, people)
            for lesion, step, dose, draw, control in cells:
                strong = {"face units": 3.0 if task == "who" and not control else 0.8, "noise": 1.4,
                "none": 0.0}[lesion]
                sharp = (0.0 if name == "untrained" else far) - strong * step / 3 + random.normal(0, 0.1) * (step > 0)
                evidence = random.normal(size=(people * pictures, people))
                target = np.repeat(np.arange(people), pictures)
                evidence[np.arange(len(target)), target] += sharp + ease[target]
                answer = evidence.argmax(1)
                mine = evidence[np.arange(len(target)), target]
                beaten = (evidence < mine[:, None]).sum(1) / (people - 1)
                told = dict(participant=name, lesion=lesion, dose=dose, draw=draw, control=control, task=task)
                trials.append(
                    pd.DataFrame(
                        dict(
                            **told, stimulus="intact", trial=np.arange(len(target)), section="", item="picture",
                            person=[f"{task} {each}" for each in target], other="",
                            target=[f"{task} {each}" for each in target], answer=[f"{task} {each}" for each in answer],
                            value=mine, right=answer == target, forced_choice=beaten,
                        )
                    )
                )  # fmt: skip
                for stimulus, cost in (("intact", 0.0), ("mask eyes", 0.1)) if not control else (("intact", 0.0),):
                    rows.append(
                        dict(
                            study="small", **told, weights=weights, damage=f"{lesion} {dose:g}",
                            damage_hash=f"{zlib.crc32(f'{lesion} {dose} {draw} {control}'.encode()):012x}",
                            sites="conv5_1" if step else "", step=step,
                            meaning={"face units": "share of the units removed", "noise": "deviation",
                            "none": ""}[lesion],
                            mismatch=0.01 if control == "matched" else np.nan, seed=7, change=0.1 * step, changes="{}",
                            stimulus=stimulus, metric="accuracy", words="right names", main=True,
                            value=max(0.0, float((answer == target).mean()) - cost), n=len(target), chance=chance,
                            ceiling=1.0, better="higher", share=True, data="a1b2c3d4e5f6",
                        )
                    )  # fmt: skip
    return pd.DataFrame(rows), pd.concat(trials, ignore_index=True)


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
