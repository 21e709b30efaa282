"""The whole Keras notebook that this project began with: once as it was, and once as it should have been.

As it was: nearly every label says "face", the tests ask a network whose readout was never trained, and no lesion acts.
It is a demonstration of why such numbers mean nothing. As it should have been: half of the pictures show no face, it is
asked who it is as well, readouts are fixed before damage, lesions act, in several draws, and manipulated units have
controls of the same number.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch

from facelesion.analysis import random_units, responsible_units
from facelesion.data import FaceSet
from facelesion.data.modules import Trials
from facelesion.errors import Error
from facelesion.faces.stimuli import Isolate
from facelesion.lesions import Calibration, Lesion, Shift, calibrate, lesion_sites
from facelesion.models import Subject, get
from facelesion.ranges import Label, OnlyWhen, PathText, Range, Seed, Size
from facelesion.settings import check, refuse_idle
from facelesion.sweep.arguments import device_of
from facelesion.training.classifier import Classifier
from facelesion.training.classify import (
    ClassifyConfig,
    ClassifyData,
    Part,
    asked,
    calibrated,
    check_unseen,
    facts_of,
    read_lesion,
    scored,
    trainable,
)
from facelesion.training.device import placed
from facelesion.training.files import read_table, write_parquet, write_table
from facelesion.training.intervals import over_people
from facelesion.training.notebook_facts import (
    CONTROL,
    DAMAGED,
    FEATURES,
    HEALTHY,
    INTACT,
    MANIPULATED,
    MASKED,
    STIMULI,
    TRAINED,
)
from facelesion.training.notebook_figures import draw_manipulated, draw_notebook
from facelesion.training.run import Epochs, LearningRate, RunConfig, claim_for_stages, stage_of
from facelesion.training.stages import PRACTICE, once, practice_people, practised
from facelesion.training.trials import Roles, trials_of

if TYPE_CHECKING:
    import pandas as pd

Parts = tuple[dict[str, Any], ...]


Asked = Annotated[tuple[Literal["identification", "detection"], ...], Size(1, twice=False)]


@dataclass(frozen=True)
class NotebookConfig:
    """What is damaged and tested, and whether the notebook's mistakes are made.

    Attributes:
        mistakes: make them: a share of `missed` labels says "no face" and all others "face", every test draws a new
            readout, lesions do not act in tests, the mouth is tested on pictures without a nose.
        network: `builtin`, `untrained`, or a file of weights such as VGG-Face's.
        approaches: kinds of damage by name, each a list of `{kind, site, ...}`.
        manipulated: sites whose responsible units are excited and inhibited.
        by: by how many of each unit's own standard deviations; the notebook added 0, and so it is 0 with mistakes.
        practice_people: without mistakes: so many other people than those to be identified, of whom nobody is tested:
            by their masked pictures the damaged networks learn, while the readouts stay as they are. As many as are
            tested when left out; 0 lets them learn by the tested people's other pictures, and `people_seen` says so.
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

    Example:
        $ python -m facelesion.train --config configs/notebook/right.yaml --data.people 300
    """

    mistakes: bool = False
    network: PathText = "builtin"
    approaches: dict[Label, tuple[Part, ...]] = field(default_factory=dict)
    manipulated: Annotated[tuple[Label, ...], Size(0, 1_000, twice=False)] = ()
    by: Annotated[float, Range(-1_000, 1_000), OnlyWhen("manipulated")] = 3.0
    practice_people: Annotated[int | None, Range(0, 100_000), OnlyWhen("mistakes", False)] = None
    tasks: Annotated[Asked, OnlyWhen("mistakes", False)] = ("identification", "detection")
    runs: Annotated[int, Range(1, 10_000)] = 5
    data: ClassifyData = field(default_factory=ClassifyData)
    missed: Annotated[float, Range(0, 1), OnlyWhen("mistakes", True)] = 0.007
    epochs: Epochs = 10
    damaged_epochs: Epochs = 5
    learning_rate: LearningRate = 1e-3
    run: RunConfig = field(default_factory=lambda: RunConfig("runs/notebook"))
    seed: Seed = 0
    recipe: Literal["notebook"] = "notebook"

    def __post_init__(self) -> None:
        check(self)
        shown = "the notebook says how pictures are shown"
        idle = {"data.stimuli": shown, "data.tests": shown, "run.patience": "every stage runs to its end"}
        refuse_idle(self, idle)


def notebook(config: NotebookConfig) -> Path:
    """Train and test everything; write `notebook.csv`, `notebook.png` and, with units manipulated, `manipulated.png`.

    Without mistakes it leaves `summary.csv` (a row per condition, over all draws) and `answers.parquet` (a row per
    picture) as well. Then the network is looked into (`looks/`), and all of it is written as a page, `notebook.html`,
    beside what the notebook printed.

    Returns:
        The page.

    Raises:
        Error: no runs, units manipulated by nothing, people to be tested whom the network saw, or a folder
            that holds another run.
        LesionError: a site that does not exist.
    """
    from facelesion.training.notebook_as_it_was import as_it_was
    from facelesion.training.notebook_page.looks import look
    from facelesion.training.notebook_page.page import page_of

    _check(config)
    subject = trainable(config.network, config.seed)
    for parts in config.approaches.values():
        lesion_sites(subject.module, read_lesion(parts))
    for site in config.manipulated:
        if len(found := lesion_sites(subject.module, Shift(site, by=config.by or 1.0))) != 1:
            raise Error(f"manipulated: {site} means {len(found)} sites: name them one by one")
    settings = dataclasses.asdict(config) | {"started_from": subject.weights}
    tasks = []
    if config.mistakes:
        folder = claim_for_stages(config.run, settings)
        table = as_it_was(config, subject, folder)
    else:
        tasks = [_Task(config, task, subject) for task in config.tasks]
        folder = claim_for_stages(config.run, settings)
        rows = [row for task in tasks for row in task.run(folder)]
        table = _joined([tests for tests, _ in rows])
        answers = _joined([answers for _, answers in rows])
        write_parquet(folder / "answers.parquet", answers)
        write_table(folder / "summary.csv", summary(table, answers))
    write_table(folder / "notebook.csv", table)
    draw_notebook(table, folder / "notebook.png")
    if (table["how"] == MANIPULATED).any():
        draw_manipulated(table, folder / "manipulated.png")
    look(config, subject, {task.task: task.roles for task in tasks}, folder, again=True)
    return page_of(folder)


def roles_of(config: NotebookConfig, subject: Subject) -> dict[str, Roles]:
    """Who trains, who validates and who is tested, by task, in a run without mistakes."""
    return {task: _Task(config, task, subject).roles for task in config.tasks}


def _check(config: NotebookConfig) -> None:
    if config.runs < 1:
        raise Error(f"runs is {config.runs}: test at least once")
    if not config.tasks:
        raise Error("tasks is empty: take identification, detection or both")
    if config.manipulated and config.mistakes and config.by:
        raise Error(f"by is {config.by}: with mistakes units are moved by nothing, as in the notebook: by: 0")
    if config.manipulated and not config.mistakes and not (math.isfinite(config.by) and config.by > 0):
        raise Error(
            f"by is {config.by}: units would be neither excited nor inhibited: take some of their own standard "
            "deviations, such as 3, or leave manipulated empty"
        )
    if config.practice_people and (config.mistakes or "identification" not in config.tasks):
        raise Error(f"practice_people is {config.practice_people}, but nobody is identified: leave it out")


Rows = tuple["pd.DataFrame", "pd.DataFrame"]  # scores as in `notebook.csv`, and the answers they come from


class _Task:
    """One task: the healthy readout first; then every damage as it is, and after training with it."""

    def __init__(self, config: NotebookConfig, task: Any, subject: Subject) -> None:
        self.config, self.task, self.start = config, task, subject
        place = Path(config.run.folder) / file_name(f"{task} {HEALTHY}")
        self.healthy = ClassifyConfig(
            network=config.network, task=task, trained="head", epochs=config.epochs, batch_size=20, learning_rate=1e-2,
            data=dataclasses.replace(config.data, stimuli=(INTACT,), tests=STIMULI, keep=0),
            run=stage_of(config.run, place), seed=config.seed,
        )  # fmt: skip
        self.roles = trials_of(self.healthy, subject.size, subject.about)
        check_unseen(config.data, config.network, subject, self.roles)
        wanted = config.practice_people if task == "identification" else None
        self.practised = practice_people(wanted, task, "everything", config.data.people)
        self.known: dict[tuple[str, ...], Calibration] = {}

    def run(self, folder: Path) -> Iterator[Rows]:
        """Every test, trained for where it has to be."""
        config, task = self.config, self.task
        self.weights = once(self.healthy, self.start, self.roles)
        self.subject = get(self.weights)
        practice = None
        if self.practised:
            place = folder / f"{task}-{PRACTICE}"
            practice = practised(self.healthy, self.start, self.practised, place)
        yield self.damaged(None, HEALTHY, HEALTHY, 0, STIMULI)
        for name, lesion in config.approaches.items():
            if not lesion:
                continue
            for run in range(config.runs):
                seed = {"seed": config.seed * 1000 + run}
                drawn = tuple(part | (seed if "fraction" in part else {}) for part in lesion)
                yield self.damaged(read_lesion(drawn), name, DAMAGED, run, STIMULI)
            stage = folder / file_name(f"{task} {name}")
            learning = dataclasses.replace(
                learning_of(config, lesion, lesion, stage, self.weights), task=task
            )
            once(learning, get(self.weights), self.roles, practice)
            yield self.named(*_left_by(stage), name, TRAINED, 0)
        for site in config.manipulated:
            yield from self.manipulated(site)

    def manipulated(self, site: str) -> Iterator[Rows]:
        """Responsible units excited and inhibited, and beside them as many others, matched in number alone."""
        config = self.config
        seen = faces_to_find_units_on(self.roles.parts["train"], self.task)
        with placed(config.run, self.subject.module):
            count = len(_means(self.subject, seen.images[:1], site))
            found = responsible(self.subject, seen, site)
        for feature, units in found.items():
            others = random_units(count, len(units), config.runs, seed=config.seed, exclude=units)
            for by, word in ((config.by, "excited"), (-config.by, "inhibited")):
                name = f"{units_name(site, feature)} {word}"
                sets = [(MANIPULATED, 0, units), *((CONTROL, run, other) for run, other in enumerate(others))]
                for how, run, chosen in sets:
                    shift = Shift(site, by=by, units=tuple(chosen.tolist()), relative=True)
                    yield self.damaged(shift, name, how, run, (INTACT,))

    def damaged(
        self, lesion: Lesion | None, approach: str, how: str, run: int, stimuli: Sequence[str]
    ) -> Rows:
        """Tests of the healthy network, damaged; noise is drawn by the run."""
        seed, states = self.config.seed + run, {"damaged": lesion}
        settings = dataclasses.replace(self.healthy, seed=seed)
        module = Classifier(self.subject, self.roles.classes, None, settings)
        with placed(self.config.run, module):
            if lesion is not None:
                module.calibration = self.calibration(lesion)
            answers = asked(module, self.roles.parts["test"], stimuli, states)
        facts = facts_of(seed, self.subject.about, self.roles, self.subject.weights)
        return self.named(scored(answers, self.task, states, facts), answers, approach, how, run)

    def calibration(self, lesion: Lesion) -> Calibration:
        """By pictures that nothing is tested on; each set of sites is measured once."""
        sites = tuple(sorted(set(lesion_sites(self.subject.module, lesion))))
        if sites not in self.known:
            self.known[sites] = calibrated(self.subject, lesion, self.roles.parts["train"], self.config.seed)
        return self.known[sites]

    def named(self, tests: pd.DataFrame, answers: pd.DataFrame, approach: str, how: str, run: int) -> Rows:
        """Which part of the notebook rows belong to."""
        place = {"task": self.task, "approach": approach, "how": how}
        tests = tests.drop(columns="network").assign(run=run, chance=1 / len(self.roles.classes), **place)
        first = ["task", "approach", "how", "stimulus", "run"]
        tests = tests[first + [column for column in tests.columns if column not in first]]
        return tests, answers.drop(columns="network").assign(run=run, **place)


def summary(table: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """A row per condition, over all draws of its damage.

    Args:
        table: as in `notebook.csv`: what each draw was measured on.
        answers: as in `answers.parquet`: task, approach, how, run, stimulus, name, shows, target, answer.

    Returns:
        The mean accuracy, its 95 % interval over draws and the people (or kinds of things) shown, crossed, and how many
        of each there are. One draw (a network trained once, say) has an interval over people alone. Then lesions,
        weights, seeds, the pictures' hash and how many people the network saw, of all draws.
    """
    import pandas

    rows = []
    for place, part in answers.groupby(["task", "approach", "how", "stimulus"], sort=False):
        part = part.sort_values(["run", "name"], kind="stable")
        draws = part["run"].nunique()
        right = torch.tensor((part["answer"] == part["target"]).to_numpy()).view(draws, -1)
        one = part.iloc[: right.shape[1]]
        kinds = torch.tensor(one["target"].to_numpy()) if place[0] == "detection" else None
        low, high = over_people(right, list(one["shows"]), kinds)
        rows.append(
            dict(zip(("task", "approach", "how", "stimulus"), place, strict=True))
            | {"accuracy": float(right.float().mean()), "low": low, "high": high, "draws": draws,
               "pictures": len(one), "shown": one["shows"].nunique(), **_origin(table, place)}
        )  # fmt: skip
    return pandas.DataFrame(rows)


def _origin(table: pd.DataFrame, place: Sequence[str]) -> dict[str, Any]:
    """What the draws of one condition were measured on: each thing once."""
    keys = ("task", "approach", "how", "stimulus")
    rows = table[(table[list(keys)] == list(place)).all(axis=1)]
    named = ("chance", "lesion_hash", "weights", "seed", "data", "people", "people_seen")
    return {name: " ".join(dict.fromkeys(map(str, rows[name]))) for name in named}


def units_name(site: str, feature: str) -> str:
    """What a set of responsible units is called."""
    return f"{site}: units of {feature}"


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
        isolated = Isolate(feature, fill="blur")
        alone = isolated(faces.images.float() / 255, faces.landmarks, ids=faces.ids)
        found[feature] = responsible_units(_means(subject, alone, site)[None])
    return found


def _means(subject: Subject, images: torch.Tensor, site: str) -> torch.Tensor:
    device = device_of(subject.module)
    batches = (subject.preprocess(part.to(device)) for part in images.split(32))
    means = calibrate(subject.module, batches, site).means
    return next(iter(means.values()))


def faces_to_find_units_on(trials: Trials, task: str, most: int = 64) -> FaceSet:
    """Training pictures that show a face, on which responsible units are found."""
    faces = trials.pictures
    assert isinstance(faces, FaceSet)
    rows = torch.nonzero(trials.targets)[:, 0] if task == "detection" else torch.arange(len(trials))
    return faces[rows[:most]]


def learning_of(
    config: NotebookConfig, meant: Parts, acting: Parts, stage: Path, network: str
) -> ClassifyConfig:
    """A training as the notebook has it: ten epochs of 20 intact pictures, or five of 32 masked ones."""
    return ClassifyConfig(
        network=network, lesion=acting, trained="everything",
        data=dataclasses.replace(config.data, stimuli=MASKED if meant else (INTACT,), tests=STIMULI),
        epochs=config.damaged_epochs if meant else config.epochs, batch_size=32 if meant else 20,
        learning_rate=config.learning_rate, run=stage_of(config.run, stage), seed=config.seed,
    )  # fmt: skip


def _left_by(stage: Path) -> Rows:
    """Scores and answers that a training with the damage in place left, with the damage in place."""
    tables = [read_table(stage / name) for name in ("tests.csv", "answers.csv")]
    tests, answers = (table[table["network"] == "damaged"] for table in tables)
    return tests, answers


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas

    return pandas.concat(tables, ignore_index=True)


def file_name(words: str) -> str:
    """A stage's folder.

    Example:
        >>> file_name("train all three")
        'train-all-three'
    """
    return words.replace(" ", "-").replace(",", "")
