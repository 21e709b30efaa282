"""Made-up tables of runs, so that a report can be tested without a study."""

import itertools
import zlib

import numpy as np
import pandas as pd

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
