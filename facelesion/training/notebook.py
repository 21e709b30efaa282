"""The whole Keras notebook that this project began with: once as it was, and once as it should have been.

As it was: nearly every label says "face", the tests ask a network whose readout was never trained, and no lesion acts.
It is a demonstration of why such numbers mean nothing. As it should have been: half of the pictures show no face, it is
asked who it is as well, readouts are fixed before damage, lesions act, in several draws, and manipulated units have
controls of the same number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from facelesion.analysis import random_units, responsible_units
from facelesion.data import FaceSet
from facelesion.data.modules import Trials
from facelesion.errors import FacelesionError
from facelesion.faces.stimuli import Stimulus
from facelesion.lesions import Calibration, Lesion, Shift, calibrate, lesion_sites
from facelesion.models import Subject, get
from facelesion.training.classify import (
    Classifier,
    ClassifyConfig,
    ClassifyData,
    asked,
    calibrated,
    classify,
    faces_of,
    learn,
    read_lesion,
    shown_as,
    trainable,
    trials_of,
)
from facelesion.training.distil import represent
from facelesion.training.run import RunConfig, claim_for_stages, stage_of

if TYPE_CHECKING:
    import pandas as pd

FEATURES = ("eyebrows", "eyes", "nose", "mouth")
MASKED = tuple(f"mask {feature}" for feature in FEATURES)
INTACT = "intact"
STIMULI = (INTACT, *MASKED)
HEALTHY = "no lesion"
# What the notebook printed, in per cent, for each of STIMULI in turn; what it did not run or broke off is left out. It
# tested manipulated units on intact faces alone.
PRINTED: Mapping[str, tuple[float | None, ...]] = {
    HEALTHY: (72.98, 61.59, 54.25, 68.96, 50.28),
    "ablation 1": (44.40, 45.85, 54.01, 58.36, None),
    "noise": (37.96, 31.24, 72.80, 73.55, 55.27),
    "dropout": (46.94, 36.69, 60.24, 65.61, 40.11),
    "all three": (22.67, 39.44, 33.28, 28.56, 21.00),
    "conv5_3: units of eyebrows": (63.13,),
    "conv5_3: units of eyes": (45.85,),
    "conv5_3: units of nose": (52.26,),
    "conv5_3: units of mouth": (70.83,),
    "conv3_2: units of eyebrows": (56.94,),
    "conv3_2: units of eyes": (57.49,),
    "conv3_2: units of nose": (50.49,),
    "conv3_2: units of mouth": (46.66,),
    "conv4_2: units of eyebrows": (66.55,),
    "conv4_2: units of eyes": (58.56,),
    "conv4_2: units of nose": (36.16,),
    "conv4_2: units of mouth": (47.59,),
}
AS_IT_WAS, DAMAGED, TRAINED = "as it was", "damaged", "trained with the damage"
MANIPULATED, CONTROL = "responsible units", "as many other units"
Parts = tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class NotebookConfig:
    """What is damaged and tested, and whether the notebook's mistakes are made.

    Attributes:
        mistakes: make them: a share of `missed` labels says "no face" and all others "face", every test draws a new
            readout, lesions do not act in tests, the mouth is tested on pictures without a nose.
        network: `builtin`, `untrained`, or a file of weights such as VGG-Face's.
        approaches: kinds of damage by name, each a list of `{kind, site, ...}`.
        manipulated: sites whose responsible units are excited and inhibited.
        by: by how many of each unit's own standard deviations; the notebook added 0.
        tasks: what is asked, without mistakes; with them it is detection, as in the notebook.
        runs: tests of each; with mistakes so many readouts, without so many draws of the damaged units.
        data: which pictures; `stimuli` and `tests` are the notebook's.
        missed: share of faces that the notebook's detector did not find.
        epochs: of the undamaged network; without mistakes, of its readout.
        damaged_epochs: of each damaged network, on masked faces.
        learning_rate: of Adam, where the whole network learns.
        run: where the run is kept; a run that was stopped goes on by the same command.
        seed: of everything drawn at random.
        recipe: names this kind of training.
    """

    mistakes: bool = False
    network: str = "builtin"
    approaches: dict[str, Parts] = field(default_factory=dict)
    manipulated: tuple[str, ...] = ()
    by: float = 3.0
    tasks: tuple[Literal["identification", "detection"], ...] = ("identification", "detection")
    runs: int = 5
    data: ClassifyData = field(default_factory=ClassifyData)
    missed: float = 0.007
    epochs: int = 10
    damaged_epochs: int = 5
    learning_rate: float = 1e-3
    run: RunConfig = field(default_factory=lambda: RunConfig("runs/notebook"))
    seed: int = 0
    recipe: str = "notebook"


def notebook(config: NotebookConfig) -> Path:
    """Train and test everything; write `notebook.csv`, `notebook.png` and, with units manipulated, `manipulated.png`.

    Returns:
        The picture.

    Raises:
        FacelesionError: a site that does not exist, no runs, or a folder that holds another run.
    """
    if config.runs < 1:
        raise FacelesionError(f"runs is {config.runs}: test at least once")
    if not config.tasks:
        raise FacelesionError("tasks is empty: take identification, detection or both")
    subject = trainable(config.network, config.seed)
    for parts in config.approaches.values():
        lesion_sites(subject.module, read_lesion(parts))
    for site in config.manipulated:
        if len(found := lesion_sites(subject.module, Shift(site, by=config.by))) != 1:
            raise FacelesionError(f"manipulated: {site} means {len(found)} sites: name them one by one")
    folder = claim_for_stages(config.run, dataclasses.asdict(config) | {"started_from": subject.weights})
    table = _as_it_was(config, subject, folder) if config.mistakes else _right(config, folder)
    table.to_csv(folder / "notebook.csv", index=False)
    draw_notebook(table, folder / "notebook.png")
    if (table["how"] == MANIPULATED).any():
        draw_manipulated(table, folder / "manipulated.png")
    return folder / "notebook.png"


def _as_it_was(config: NotebookConfig, subject: Subject, folder: Path) -> pd.DataFrame:
    """The notebook's trainings, and its tests, which use nothing of them."""
    faces = faces_of(config.data, subject.size, config.seed)
    labels = torch.ones(len(faces), dtype=torch.int64)
    labels[_order(len(faces), config.seed)[: max(1, round(config.missed * len(faces)))]] = 0
    trials = Trials(faces, labels)
    order = _order(len(faces), config.seed + 1)
    fifth, tenth = len(faces) // 5, max(1, len(faces) * 8 // 100)
    rows = {
        "test": order[:fifth],
        "validation": order[fifth : fifth + tenth],
        "train": order[fifth + tenth :],
    }
    for name, parts in config.approaches.items():
        # Keras' noise and dropout act in training and not in tests; the ablation never did.
        acting = tuple(part for part in parts if part["kind"] in ("Noise", "Dropout"))
        stage = folder / _file_name(f"train {name}")
        if not (stage / "weights.safetensors").is_file():
            learn(
                dataclasses.replace(
                    _learning(config, parts, acting, stage, config.network), training_only=True
                ),
                trainable(config.network, config.seed),
                {part: Trials(faces[chosen], labels[chosen]) for part, chosen in rows.items()},
                ("no face", "face"),
            )
    return _table(_untrained_readouts(config, subject, trials))


def _untrained_readouts(config: NotebookConfig, subject: Subject, trials: Trials) -> Iterator[dict[str, Any]]:
    seen = {name: represent(subject, shown_as(trials, [name]).pictures.images) for name in STIMULI}
    tests = [(approach, stimulus) for stimulus in STIMULI for approach in config.approaches]
    tests += [(_units(site, feature), INTACT) for site in config.manipulated for feature in FEATURES]
    seed = config.seed * 1_000_000
    for approach, stimulus in tests:
        rows = _order(len(trials), config.seed + 2 + STIMULI.index(stimulus))[: max(1, len(trials) // 5)]
        shown = seen["mask nose" if stimulus == "mask mouth" else stimulus][rows]
        for run in range(config.runs):
            seed += 1
            answers = _new_readout(shown.shape[1], seed)(shown)[:, 0] > 0
            right = int((answers == trials.targets[rows].bool()).sum())
            yield _row("detection", approach, AS_IT_WAS, stimulus, run, right, len(rows), 0.5)


def _row(
    task: str, approach: str, how: str, stimulus: str, run: int, right: int, pictures: int, chance: float
) -> dict[str, Any]:
    """A test's row, with the 95 % interval over pictures (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(right, pictures).proportion_ci(method="wilson")
    return {
        "task": task, "approach": approach, "how": how, "stimulus": stimulus, "run": run,
        "accuracy": right / pictures, "low": float(interval.low), "high": float(interval.high),
        "pictures": pictures, "chance": chance,
    }  # fmt: skip


def _units(site: str, feature: str) -> str:
    return f"{site}: units of {feature}"


def _new_readout(inputs: int, seed: int) -> nn.Linear:
    """A sigmoid unit as Keras draws one (Glorot & Bengio 2010)."""
    readout = nn.Linear(inputs, 1).requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nn.init.xavier_uniform_(readout.weight)
    nn.init.zeros_(readout.bias)
    return readout


def _right(config: NotebookConfig, folder: Path) -> pd.DataFrame:
    return _table(row for task in config.tasks for row in _one_task(config, task, folder))


def _one_task(config: NotebookConfig, task: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """The healthy readout first; then every damage as it is, and after training with it."""
    healthy = ClassifyConfig(
        network=config.network, task=task, trained="head", epochs=config.epochs, batch_size=20, learning_rate=1e-2,
        data=dataclasses.replace(config.data, stimuli=(INTACT,), tests=STIMULI, keep=0),
        run=stage_of(config.run, folder / _file_name(f"{task} {HEALTHY}")), seed=config.seed,
    )  # fmt: skip
    weights = _once(healthy)
    subject = get(weights)
    parts, classes = trials_of(healthy, subject.size)

    def rows(table: pd.DataFrame, approach: str, how: str, run: int) -> Iterator[dict[str, Any]]:
        for one in table.to_dict("records"):
            right, chance = round(one["accuracy"] * one["pictures"]), 1 / len(classes)
            row = _row(task, approach, how, one["stimulus"], run, right, one["pictures"], chance)
            yield row | {key: one[key] for key in ("precision", "recall", "f1") if key in one}

    known: dict[tuple[str, ...], Calibration] = {}

    def calibration(lesion: Lesion) -> Calibration:
        sites = tuple(sorted(set(lesion_sites(subject.module, lesion))))
        if sites not in known:
            known[sites] = calibrated(subject, lesion, parts["train"], config.seed)
        return known[sites]

    def damaged(lesion: Lesion | None, run: int, stimuli: Sequence[str]) -> pd.DataFrame:
        module = Classifier(subject, classes, None, dataclasses.replace(healthy, seed=config.seed + run))
        if lesion is not None:
            module.calibration = calibration(lesion)
        return asked(module, parts["test"], stimuli, {"damaged": lesion})

    yield from rows(damaged(None, 0, STIMULI), HEALTHY, HEALTHY, 0)
    for name, lesion in config.approaches.items():
        if not lesion:
            continue
        for run in range(config.runs):
            drawn = tuple(part | ({"seed": config.seed * 1000 + run} if "fraction" in part else {}) for part in lesion)
            yield from rows(damaged(read_lesion(drawn), run, STIMULI), name, DAMAGED, run)
        stage = folder / _file_name(f"{task} {name}")
        learning = dataclasses.replace(_learning(config, lesion, lesion, stage, weights), task=task)
        _once(learning)
        yield from rows(_tests(stage, "damaged"), name, TRAINED, 0)
    for site in config.manipulated:
        seen = _some_faces(parts["train"], task)
        count = len(_means(subject, seen.images[:1], site))
        for feature, units in responsible(subject, seen, site).items():
            others = random_units(count, len(units), config.runs, seed=config.seed, exclude=units)
            for by, word in ((config.by, "excited"), (-config.by, "inhibited")):
                name = f"{_units(site, feature)} {word}"
                sets = [(MANIPULATED, 0, units), *((CONTROL, run, other) for run, other in enumerate(others))]
                for how, run, chosen in sets:
                    shift = Shift(site, by=by, units=tuple(chosen.tolist()), relative=True)
                    yield from rows(damaged(shift, run, (INTACT,)), name, how, run)


def responsible(subject: Subject, faces: FaceSet, site: str) -> dict[str, torch.Tensor]:
    """The units that answer most when one feature is sharp and the rest of the face blurred (the notebook, part 19).

    Args:
        subject: the network.
        faces: faces that nothing is tested on.
        site: where.

    Returns:
        By feature (eyebrows, eyes, nose, mouth), int64 (units,): those whose mean activation is at least three
        quarters of the site's largest.
    """
    found = {}
    for feature in FEATURES:
        alone = Stimulus.from_dict(f"isolate {feature}")(faces.images.float() / 255, faces.landmarks)
        found[feature] = responsible_units(_means(subject, alone, site)[None])
    return found


def _means(subject: Subject, images: torch.Tensor, site: str) -> torch.Tensor:
    means = calibrate(subject.module, (subject.preprocess(part) for part in images.split(32)), site).means
    return next(iter(means.values()))


def _some_faces(trials: Trials, task: str, most: int = 64) -> FaceSet:
    """Training pictures that show a face."""
    faces = trials.pictures
    assert isinstance(faces, FaceSet)
    rows = torch.nonzero(trials.targets)[:, 0] if task == "detection" else torch.arange(len(trials))
    return faces[rows[:most]]


def _learning(
    config: NotebookConfig, meant: Parts, acting: Parts, stage: Path, network: str
) -> ClassifyConfig:
    """A training as the notebook has it: ten epochs of 20 intact pictures, or five of 32 masked ones."""
    return ClassifyConfig(
        network=network, lesion=acting, trained="everything",
        data=dataclasses.replace(config.data, stimuli=MASKED if meant else (INTACT,), tests=STIMULI),
        epochs=config.damaged_epochs if meant else config.epochs, batch_size=32 if meant else 20,
        learning_rate=config.learning_rate, run=stage_of(config.run, stage), seed=config.seed,
    )  # fmt: skip


def _once(config: ClassifyConfig) -> str:
    """Train, unless an earlier start has done so; the file of weights."""
    weights = Path(config.run.folder) / "weights.safetensors"
    return str(weights if weights.is_file() else classify(config))


def _tests(stage: Path, state: str) -> pd.DataFrame:
    import pandas

    table = pandas.read_csv(stage / "tests.csv")
    return table[table["network"] == state]


def _table(rows: Iterator[dict[str, Any]]) -> pd.DataFrame:
    import pandas

    return pandas.DataFrame(list(rows))


def _order(count: int, seed: int) -> torch.Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _file_name(words: str) -> str:
    return words.replace(" ", "-").replace(",", "")


def draw_notebook(table: pd.DataFrame, target: Path) -> None:
    """Draw every test as a dot: a row of panels per task, a panel per stimulus, a line per approach."""
    from matplotlib.figure import Figure

    looks = {
        AS_IT_WAS: ("#d55e00", "o", 0.0), HEALTHY: ("black", "D", 0.0), DAMAGED: ("#d55e00", "o", 0.16),
        TRAINED: ("#0072b2", "s", -0.16),
    }  # fmt: skip
    table = table[table["how"].isin(list(looks))]
    wrong = bool((table["how"] == AS_IT_WAS).all())
    tasks, approaches = list(dict.fromkeys(table["task"])), list(dict.fromkeys(table["approach"]))
    figure = Figure(figsize=(11, 0.9 + (0.7 + 0.34 * len(approaches)) * len(tasks)), layout="constrained")
    panels = figure.subplots(len(tasks), len(STIMULI), sharex=True, sharey=True, squeeze=False)
    for row, task in enumerate(tasks):
        for axis, (column, stimulus) in zip(panels[row], enumerate(STIMULI), strict=True):
            part = table[(table["task"] == task) & (table["stimulus"] == stimulus)]
            axis.axvline(
                100 * float(table[table["task"] == task]["chance"].iloc[0]), color="#999999", linestyle=":"
            )
            for how, (colour, marker, aside) in looks.items():
                these = part[part["how"] == how]
                if these.empty:
                    continue
                places = [approaches.index(name) - aside for name in these["approach"]]
                axis.plot(
                    100 * these["accuracy"], places, marker, color=colour, markersize=5, alpha=0.7,
                    label=how if not (row or column) else None,
                )  # fmt: skip
            printed = [
                (PRINTED[name][column], place)
                for place, name in enumerate(approaches)
                if wrong and name in PRINTED and column < len(PRINTED[name]) and PRINTED[name][column] is not None
            ]
            if printed:
                axis.plot(
                    *zip(*printed, strict=True), "x", color="black", markersize=7,
                    label=None if row or column else "mean that the notebook printed",
                )  # fmt: skip
            axis.set(xlim=(-4, 104), title=stimulus if not row else "")
            axis.set_yticks(range(len(approaches)), approaches)
            axis.set_ylim(len(approaches) - 0.5, -0.5)
            axis.grid(axis="x", alpha=0.3)
            if row == len(tasks) - 1:
                axis.set_xlabel("% right")
        panels[row][0].set_ylabel(task)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(target, dpi=110)


def draw_manipulated(table: pd.DataFrame, target: Path) -> None:
    """Draw each manipulation as a dot beside those of its controls: a panel per task."""
    from matplotlib.figure import Figure

    looks = {CONTROL: ("#999999", "o"), MANIPULATED: ("#0072b2", "D")}
    tasks = list(dict.fromkeys(table["task"]))
    approaches = list(dict.fromkeys(table[table["how"] == MANIPULATED]["approach"]))
    figure = Figure(figsize=(5 + 3 * len(tasks), 0.9 + 0.25 * len(approaches)), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axis, task in zip(panels, tasks, strict=True):
        part = table[table["task"] == task]
        healthy = part[(part["how"] == HEALTHY) & (part["stimulus"] == INTACT)]
        for accuracy in healthy["accuracy"]:
            axis.axvline(100 * accuracy, color="black", linewidth=0.8, label=HEALTHY)
        axis.axvline(100 * float(part["chance"].iloc[0]), color="#999999", linestyle=":", label="chance")
        for how, (colour, marker) in looks.items():
            these = part[part["how"] == how]
            places = [approaches.index(name) for name in these["approach"]]
            axis.plot(
                100 * these["accuracy"], places, marker, color=colour, markersize=5, alpha=0.7, label=how
            )
        axis.set(xlim=(-4, 104), xlabel="% right", title=task)
        axis.set_yticks(range(len(approaches)), approaches, fontsize="small")
        axis.set_ylim(len(approaches) - 0.5, -0.5)
        axis.grid(axis="x", alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(target, dpi=110)
