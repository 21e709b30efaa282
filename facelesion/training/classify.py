"""The recipe of the notebook: a network and a readout learn "face or not", or who it is; healthy or damaged.

A lesion may be in place while the network learns (training with damage, recovery), and either everything is trained,
or the layers after the lesion, or the readout alone. Afterwards the network is tested on every stimulus, with the
lesion and without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import nn

from facelesion.data.modules import Trials
from facelesion.data.seen import people_seen, refuse_seen
from facelesion.errors import Error
from facelesion.faces.stimuli import Stimulus
from facelesion.lesions import Calibration, Lesion, calibrate, lesion_sites
from facelesion.models import Subject, VGGFace, get
from facelesion.ranges import PICTURE_BYTES, OnlyWhen, PathText, Range, Readable, Seed, Size, refuse_endless
from facelesion.settings import check
from facelesion.sweep.arguments import device_of
from facelesion.training.classifier import Classifier, Course, TrialData, readout_of
from facelesion.training.device import placed
from facelesion.training.files import write_table
from facelesion.training.intervals import over_people
from facelesion.training.run import BatchSize, Epochs, LearningRate, RunConfig, check_folder, fit, is_first
from facelesion.training.trials import Roles, shown_as, trials_of
from facelesion.weights import store

if TYPE_CHECKING:
    import pandas as pd

Trained = Literal["everything", "after_lesion", "head"]
Part = Annotated[dict[str, Any], Readable(Lesion.from_dict)]  # of a lesion, as it is written
Shown = Annotated[tuple[Annotated[str, Readable(Stimulus.from_dict)], ...], Size(1, 100, twice=False)]
OfLfw = Annotated[PathText | None, OnlyWhen("source", "lfw")]


@dataclass(frozen=True)
class ClassifyData:
    """Which pictures.

    Attributes:
        source: `facespace` (built-in faces) or `lfw`.
        root, protocols, prepared, landmarker: LFW's place, as in the other recipes.
        objects: a folder of categories with photographs as non-faces; built-in ones when left out.
        people: how many people; of LFW those with most photographs. View 1 is kept to: who is tested, or is to be
            identified, is from its test list, and detection learns from its training list.
        pictures: pictures of each at the most.
        stimuli: how pictures are shown in training and validation, each once in every way. The notebook's damaged
            networks learn from four masked copies. Pictures without a face are shown the same way, by the landmarks
            of a face: a mask says nothing of what is behind it.
        keep: training pictures kept of all these, at random, those without a face counted too; 0 keeps all.
        tests: how pictures are shown in tests.
        seen: what to do where the network was trained on pictures of people to be tested: refuse, or test all the same
            and say so in the results (`people_seen`).
    """

    source: Literal["facespace", "lfw"] = "facespace"
    root: OfLfw = None
    protocols: OfLfw = None
    prepared: OfLfw = None
    landmarker: OfLfw = None
    objects: PathText | None = None
    people: Annotated[int, Range(3, 100_000, bytes_each=PICTURE_BYTES)] = 200
    pictures: Annotated[int, Range(2, 1_000)] = 5
    stimuli: Shown = ("intact",)
    keep: Annotated[int, Range(0, 100_000_000)] = 0
    tests: Shown = ("intact", "mask eyebrows", "mask eyes", "mask nose", "mask mouth")
    seen: Literal["refuse", "say"] = "refuse"

    def __post_init__(self) -> None:
        check(self)
        if self.source == "facespace":  # of photographs there are as many as there are
            refuse_endless({"people": self.people, "pictures": self.pictures}, PICTURE_BYTES)


@dataclass(frozen=True)
class ClassifyConfig:
    """What is trained, on what, and how; the notebook's settings where nothing is said.

    Attributes:
        network: `builtin`, `untrained`, or a file of weights; a readout in the file is gone on with.
        task: `detection` (face or not) or `identification` (who of the people).
        lesion: damage in place while it learns, as a list of `{kind, site, ...}`; none when left out.
        trained: `everything`, `after_lesion` (what comes after the first damaged site) or `head` (the readout alone, on
            features computed once).
        data: which pictures.
        epochs: passes through the training pictures.
        batch_size: pictures in a step.
        learning_rate: of Adam (Kingma & Ba 2015).
        run: where the run is kept; ten epochs without a lower validation loss end it.
        seed: of everything drawn at random.
        weights: the file that is made; in the run's folder when left out.
        course: test before training and after each epoch as well, on intact pictures, into `course.csv`.
        sham: the control: the lesion chooses what is trained, as above, and damages nothing.
        training_only: the lesion acts in training and not in validation or tests, as Keras' noise and dropout do.
        recipe: names this kind of training.

    Example:
        $ python -m facelesion.train --config configs/notebook/healthy.yaml --data.people 300
    """

    network: PathText = "builtin"
    task: Literal["detection", "identification"] = "detection"
    lesion: tuple[Part, ...] = ()
    trained: Trained = "everything"
    data: ClassifyData = field(default_factory=ClassifyData)
    epochs: Epochs = 10
    batch_size: BatchSize = 20
    learning_rate: LearningRate = 1e-3
    run: RunConfig = field(default_factory=lambda: RunConfig(patience=10))
    seed: Seed = 0
    weights: PathText | None = None
    course: bool = False
    sham: Annotated[bool, OnlyWhen("lesion")] = False
    training_only: Annotated[bool, OnlyWhen("lesion")] = False
    recipe: Literal["classify"] = "classify"

    def __post_init__(self) -> None:
        check(self)


def classify(config: ClassifyConfig) -> Path:
    """Train, test, and write the weights, `tests.csv`, `answers.csv` and the curves.

    Returns:
        The weights' file.

    Raises:
        Error: pictures or a network that do not exist; people to be tested whom the network saw; a folder
            that holds another run.
        LesionError: a site that does not exist.
    """
    subject = trainable(config.network, config.seed)
    lesion_sites(subject.module, read_lesion(config.lesion))  # a mistake is told before any work is done
    roles = trials_of(config, subject.size, subject.about)
    check_unseen(config.data, config.network, subject, roles)
    return learn(config, subject, roles)


def trainable(network: str, seed: int) -> Subject:
    """A network that these recipes can train.

    Raises:
        Error: it is of another kind.
    """
    subject = get(network, seed=seed)
    if not isinstance(subject.module, VGGFace):
        raise Error(f"{network}: this recipe trains VGGFace networks, such as builtin")
    if network == "untrained":
        subject = replace(subject, about=subject.about | {"trained_on": "nothing"})
    return subject


def check_unseen(data: ClassifyData, network: str, subject: Subject, roles: Roles) -> None:
    """Raise if people are to be tested whom the network saw, unless `data.seen` is `say`.

    Raises:
        Error: it saw some.
    """
    if data.seen == "refuse":
        refuse_seen(network, subject.about, roles.people("test"), roles.lfw)


def learn(config: ClassifyConfig, subject: Subject, roles: Roles, practice: Practice | None = None) -> Path:
    """Train a network on given trials, test it, and write what `classify` writes.

    Args:
        config: as for `classify`; where its pictures come from does not matter here.
        subject: the network.
        roles: who trains, who validates and who is tested.
        practice: other people, by whom the layers learn in place of `roles`' own training people.

    Returns:
        The weights' file.
    """
    folder = check_folder(
        config.run,
        asdict(config)
        | {"started_from": subject.weights, "practice": None if practice is None else practice.digest},
    )
    taught, stimuli = roles if practice is None else practice.roles, config.data.stimuli
    shown = {
        "train": shown_as(taught.parts["train"], stimuli, config.data.keep, config.seed),
        "validation": shown_as(taught.parts["validation"], stimuli),
    }
    module = Classifier(
        subject,
        roles.classes,
        read_lesion(config.lesion),
        config,
        None if practice is None else practice.readout,
    )
    with placed(config.run, module):
        if module.lesion is not None:
            module.calibration = calibrated(subject, module.lesion, roles.parts["train"], config.seed)
        for name, lesion in module.states().items():
            right = module.right(shown["validation"], lesion, module.taught_by)
            if is_first():
                print(f"before training, {name}: {float(right.float().mean()):.1%} right")
        data = TrialData(shown, config, module)
    note = _note(config, subject, taught)
    watch = []
    if config.course:
        before, after = (facts_of(config.seed, about, roles, "") for about in (subject.about, note))
        watch = [Course(folder / "course.csv", shown_as(roles.parts["test"], ["intact"]), before, after)]
    fit(module, data, config.epochs, config.run, config.seed, watch)
    target = Path(config.weights) if config.weights else folder / "weights.safetensors"
    if not is_first():
        return target
    tensors = module.tensors()
    if "test" in roles.parts:
        facts = facts_of(config.seed, note, roles, store.digest(tensors))
        with placed(config.run, module):
            answers = asked(module, roles.parts["test"], config.data.tests, module.states())
        write_table(folder / "answers.csv", answers)
        write_table(folder / "tests.csv", scored(answers, config.task, module.states(), facts))
    about = note | {
        "architecture": "VGGFace", "size": subject.size, "classes": list(roles.classes), "seed": config.seed,
        "trained_with": "no lesion" if module.lesion is None else str(module.lesion),
        "lesion_in_tests": module.tested is not None,
        "started_from": subject.weights,
    }  # fmt: skip
    store.save_weights(target, tensors, about)
    return target


@dataclass(frozen=True)
class Practice:
    """Other people than those to be identified, and a readout of them that was learned on the healthy network.

    While the network's layers learn by them, both readouts stay as they are: what the layers regain is not fitted to
    anybody who is tested.

    Attributes:
        roles: their pictures, in "train" and "validation".
        readout: from representations to them.
    """

    roles: Roles
    readout: nn.Linear

    @classmethod
    def of(cls, roles: Roles, weights: str) -> Practice:
        """Practice with the readout in a file of weights, as a training with `trained: head` leaves it."""
        return cls(roles, readout_of(get(weights), len(roles.classes), 0, weights))

    @property
    def digest(self) -> str:
        """SHA-256 (12 hex digits) of the readout."""
        return store.digest(self.readout.state_dict())


def _note(config: ClassifyConfig, subject: Subject, taught: Roles) -> dict[str, Any]:
    """What the new weights say of their origin: what the old ones said, and who taught the layers now."""
    note = {key: value for key, value in subject.about.items() if key != "reached"}
    people = taught.people("train", "validation") if config.trained != "head" else ()
    note["people"] = sorted({*note.get("people", ()), *people})
    if people and "trained_on" in note:
        note["trained_on"] += f", then {len(people)} people of {taught.source}"
    return note


def facts_of(seed: int, about: Mapping[str, Any], roles: Roles, weights: str) -> dict[str, Any]:
    """What every number of a run names: the network, the seed, the pictures, and whether it saw the people tested."""
    if "test" not in roles.parts:
        return {}
    people = roles.people("test")
    return {
        "weights": weights, "seed": seed, "data": roles.parts["test"].pictures.digest,
        "people": len(people), "people_seen": str(people_seen(about, people, roles.lfw)),
    }  # fmt: skip


def calibrated(subject: Subject, lesion: Lesion, trials: Trials, seed: int, most: int = 200) -> Calibration:
    """What relative doses are relative to: the healthy network's units over intact pictures, drawn by the seed."""
    order = torch.randperm(len(trials), generator=torch.Generator().manual_seed(seed))[:most].sort().values
    device = device_of(subject.module)
    batches = (subject.preprocess(trials.pictures.images[rows].to(device)) for rows in order.split(32))
    return calibrate(subject.module, batches, lesion)


def read_lesion(parts: Sequence[Mapping[str, Any]]) -> Lesion | None:
    """The lesion that a config's list describes, all parts together; None for an empty list.

    Example:
        >>> print(read_lesion([{"kind": "Ablate", "site": "conv5_3", "fraction": 0.5}]))
        ablate 50% of conv5_3 (seed 0)
    """
    lesion: Lesion | None = None
    for part in parts:
        more = Lesion.from_dict(part)
        lesion = more if lesion is None else lesion + more
    return lesion


def asked(
    module: Classifier, trials: Trials, stimuli: Sequence[str], states: Mapping[str, Lesion | None]
) -> pd.DataFrame:
    """A row per stimulus, state of the network and picture: who or what is on it, the right answer, the answer."""
    import pandas

    tables = []
    for name in stimuli:
        shown = shown_as(trials, [name])
        for state, lesion in states.items():
            answers = module.answers(module.logits_of(shown, lesion))
            tables.append(
                pandas.DataFrame(
                    {
                        "stimulus": name, "network": state, "name": trials.pictures.names, "shows": shown.people,
                        "target": shown.targets.numpy(), "answer": answers.numpy(),
                    }
                )
            )  # fmt: skip
    return pandas.concat(tables, ignore_index=True)


def scored(
    answers: pd.DataFrame, task: str, states: Mapping[str, Lesion | None], facts: Mapping[str, Any]
) -> pd.DataFrame:
    """One row per stimulus and state of `asked`'s answers, which names what it was measured on.

    Returns:
        Accuracy with its 95 % interval over the people shown (and kinds of things, for detection); for detection also
        precision, recall, F1 and the confusion matrix; then lesion, weights, seed, hash of the pictures, how many
        people were tested and how many of them the network saw in training.
    """
    import pandas

    rows: list[dict[str, Any]] = []
    for (stimulus, state), part in answers.groupby(["stimulus", "network"], sort=False):
        given, truth = (torch.tensor(part[key].to_numpy()) for key in ("answer", "target"))
        low, high = over_people(given == truth, list(part["shows"]), truth if task == "detection" else None)
        row: dict[str, Any] = {
            "stimulus": stimulus, "network": state, "pictures": len(part),
            "accuracy": float((given == truth).float().mean()), "low": low, "high": high,
        }  # fmt: skip
        if task == "detection":
            row |= confusion(given.bool(), truth.bool())
        rows.append(row | lesion_facts(states[str(state)]) | dict(facts))
    return pandas.DataFrame(rows)


def lesion_facts(lesion: Lesion | None) -> dict[str, str]:
    """A lesion as a result's columns.

    Example:
        >>> lesion_facts(None)
        {'lesion': 'none', 'lesion_hash': 'none'}
    """
    if lesion is None:
        return {"lesion": "none", "lesion_hash": "none"}
    return {"lesion": str(lesion), "lesion_hash": lesion.hash}


def confusion(answers: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Counts of the four kinds of answers, and what follows from them; 0 where nothing was answered or true.

    Example:
        >>> confusion(torch.tensor([True, True, False]), torch.tensor([True, False, False]))["precision"]
        0.5
    """
    hits, alarms = int((answers & truth).sum()), int((answers & ~truth).sum())
    misses, rejections = int((~answers & truth).sum()), int((~answers & ~truth).sum())
    precision, recall = hits / max(1, hits + alarms), hits / max(1, hits + misses)
    return {
        "precision": precision, "recall": recall, "f1": 2 * hits / max(1, 2 * hits + alarms + misses),
        "true_positive": hits, "false_positive": alarms, "false_negative": misses, "true_negative": rejections,
    }  # fmt: skip
