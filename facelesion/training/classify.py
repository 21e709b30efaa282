"""The recipe of the notebook: a network and a readout learn "face or not", or who it is; healthy or damaged.

A lesion may be in place while the network learns (training with damage, recovery), and either everything is trained,
or the layers after the lesion, or the readout alone. Afterwards the network is tested on every stimulus, with the
lesion and without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytorch_lightning as lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from facelesion.data import FaceSet, ImageSet, builtin_objects, nonfaces, object_folder, open_lfw
from facelesion.data.modules import IdentificationData, Trials
from facelesion.data.splits import balanced, split
from facelesion.errors import FacelesionError
from facelesion.faces.stimuli import Stimulus
from facelesion.lesions import Calibration, Lesion, calibrate, lesion_sites, lesioned
from facelesion.models import Subject, VGGFace, get, store
from facelesion.training.photographs import aligned_photographs
from facelesion.training.run import RunConfig, at_least_one, check_folder, fit, is_first

if TYPE_CHECKING:
    import pandas as pd

Trained = Literal["everything", "after_lesion", "head"]
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ClassifyData:
    """Which pictures.

    Attributes:
        source: `facespace` (built-in faces) or `lfw`.
        root, protocols, prepared, landmarker: LFW's place, as in the other recipes.
        objects: a folder of categories with photographs as non-faces; built-in ones when left out.
        people: how many people; of LFW those with most photographs.
        pictures: pictures of each at the most.
        stimuli: how pictures are shown in training and validation, each once in every way. The notebook's damaged
            networks learn from four masked copies. Pictures without a face are shown the same way, by the landmarks
            of a face: a mask says nothing of what is behind it.
        keep: training pictures kept of all these, at random, those without a face counted too; 0 keeps all.
        tests: how pictures are shown in tests.
    """

    source: Literal["facespace", "lfw"] = "facespace"
    root: str | None = None
    protocols: str | None = None
    prepared: str | None = None
    landmarker: str | None = None
    objects: str | None = None
    people: int = 200
    pictures: int = 5
    stimuli: tuple[str, ...] = ("intact",)
    keep: int = 0
    tests: tuple[str, ...] = ("intact", "mask eyebrows", "mask eyes", "mask nose", "mask mouth")

    def __post_init__(self) -> None:
        for name in ("people", "pictures"):
            at_least_one(f"data.{name}", getattr(self, name))
        for name in ("stimuli", "tests"):
            if not getattr(self, name):
                raise FacelesionError(f"data.{name} is empty: name at least one, such as intact")
            for stimulus in getattr(self, name):
                Stimulus.from_dict(stimulus)


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
        epochs, batch_size, learning_rate: of Adam (Kingma & Ba 2015).
        run: where the run is kept; ten epochs without a lower validation loss end it.
        seed: of everything drawn at random.
        weights: the file that is made; in the run's folder when left out.
        course: test before training and after each epoch as well, on intact pictures, into `course.csv`.
        sham: the control: the lesion chooses what is trained, as above, and damages nothing.
        training_only: the lesion acts in training and not in validation or tests, as Keras' noise and dropout do.
        recipe: names this kind of training.
    """

    network: str = "builtin"
    task: Literal["detection", "identification"] = "detection"
    lesion: tuple[dict[str, Any], ...] = ()
    trained: Trained = "everything"
    data: ClassifyData = field(default_factory=ClassifyData)
    epochs: int = 10
    batch_size: int = 20
    learning_rate: float = 1e-3
    run: RunConfig = field(default_factory=lambda: RunConfig(patience=10))
    seed: int = 0
    weights: str | None = None
    course: bool = False
    sham: bool = False
    training_only: bool = False
    recipe: Literal["classify"] = "classify"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            at_least_one(name, getattr(self, name))
        if not self.learning_rate > 0:
            raise FacelesionError(f"learning_rate is {self.learning_rate}: it must be above 0")


def classify(config: ClassifyConfig) -> Path:
    """Train, test, and write the weights, `tests.csv` and the curves.

    Returns:
        The weights' file.

    Raises:
        FacelesionError: pictures, a network or a site that do not exist; a folder that holds another run.
    """
    subject = trainable(config.network, config.seed)
    lesion_sites(subject.module, read_lesion(config.lesion))  # a mistake is told before any work is done
    return learn(config, subject, *trials_of(config, subject.size))


def trainable(network: str, seed: int) -> Subject:
    """A network that these recipes can train.

    Raises:
        FacelesionError: it is of another kind.
    """
    subject = get(network, seed=seed)
    if not isinstance(subject.module, VGGFace):
        raise FacelesionError(f"{network}: this recipe trains VGGFace networks, such as builtin")
    return subject


def learn(
    config: ClassifyConfig, subject: Subject, parts: Mapping[str, Trials], classes: Sequence[str]
) -> Path:
    """Train a network on given trials, test it, and write what `classify` writes.

    Args:
        config: as for `classify`; where its pictures come from does not matter here.
        subject: the network.
        parts: "train", "validation" and "test".
        classes: what the trials' targets mean.

    Returns:
        The weights' file.
    """
    folder = check_folder(config.run, asdict(config) | {"started_from": subject.weights})
    stimuli = config.data.stimuli
    shown = {
        "train": shown_as(parts["train"], stimuli, config.data.keep, config.seed),
        "validation": shown_as(parts["validation"], stimuli),
    }
    module = Classifier(subject, classes, read_lesion(config.lesion), config)
    if module.lesion is not None:
        module.calibration = calibrated(subject, module.lesion, parts["train"], config.seed)
    before = module.accuracies(shown["validation"])
    for name, accuracy in before.items() if is_first() else ():
        print(f"before training, {name}: {accuracy:.1%} right")
    data = _TrialData(shown, config, module)
    watch = [Course(folder / "course.csv", parts["test"])] if config.course else []
    fit(module, data, config.epochs, config.run, config.seed, watch)
    target = Path(config.weights) if config.weights else folder / "weights.safetensors"
    if not is_first():
        return target
    asked(module, parts["test"], config.data.tests, module.states()).to_csv(folder / "tests.csv", index=False)
    about = {
        **{key: value for key, value in subject.about.items() if key != "reached"},
        "architecture": "VGGFace", "size": subject.size, "classes": list(classes), "seed": config.seed,
        "trained_with": "no lesion" if module.lesion is None else str(module.lesion),
        "lesion_in_tests": module.tested is not None,
        "started_from": subject.weights,
    }  # fmt: skip
    tensors = {
        **subject.module.state_dict(),
        **{f"identity.{key}": value for key, value in subject.identity.state_dict().items()},
        **{f"head.{key}": value for key, value in module.head.state_dict().items()},
    }
    store.save_weights(target, tensors, about)
    return target


def calibrated(subject: Subject, lesion: Lesion, trials: Trials, seed: int, most: int = 200) -> Calibration:
    """What relative doses are relative to: the healthy network's units over intact pictures, drawn by the seed."""
    order = torch.randperm(len(trials), generator=torch.Generator().manual_seed(seed))[:most].sort().values
    batches = (subject.preprocess(trials.pictures.images[rows]) for rows in order.split(32))
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


def faces_of(data: ClassifyData, size: int, seed: int) -> FaceSet:
    """The faces that a config names: uint8 RGB of `size` pixels.

    Raises:
        FacelesionError: a size that the face space does not draw, or photographs that are not there.
    """
    if data.source == "facespace":
        from facelesion.data.facespace import CROP, FaceSpace

        if size != CROP:
            raise FacelesionError(
                f"the face space draws {CROP} pixels, the network wants {size}: use data.source lfw"
            )
        return FaceSpace.load().draw(data.people, data.pictures, seed=1_000 + seed)
    if data.root is None:
        raise FacelesionError(
            "data.root is missing: give LFW's folder of people or its archive with --data.root PATH"
        )
    lfw = open_lfw(data.root, data.protocols)
    return _most_photographed(aligned_photographs(lfw, size, data.prepared, data.landmarker), data)


def _most_photographed(faces: FaceSet, data: ClassifyData) -> FaceSet:
    rows: dict[str, list[int]] = {}
    for row, person in enumerate(faces.labels):
        rows.setdefault(person, []).append(row)
    people = sorted(rows, key=lambda person: (-len(rows[person]), person))[: data.people]
    return faces[[row for person in people for row in rows[person][: data.pictures]]]


def trials_of(config: ClassifyConfig, size: int) -> tuple[dict[str, Trials], tuple[str, ...]]:
    """The trials "train", "validation" and "test" of a config, and what their targets mean.

    Raises:
        FacelesionError: photographs that are not there, too few people or pictures.
    """
    faces = faces_of(config.data, size, config.seed)
    if config.task == "detection":
        return _detection(faces, config.data, config.seed), ("no face", "face")
    each = config.data.pictures
    if each < 4:
        raise FacelesionError(
            f"data.pictures is {each}: identification needs 4 or more (train, validate, test)"
        )
    data = IdentificationData(
        faces, len(set(faces.labels)), enrolment=each - 2, probes=1, validation=1, seed=config.seed
    )
    return {name: trials for name, trials in data.parts.items() if isinstance(trials, Trials)}, data.classes


def _detection(faces: FaceSet, data: ClassifyData, seed: int) -> dict[str, Trials]:
    """Face or not, half and half; nobody is in two parts, not even scrambled, and no object either.

    Pictures without a face borrow the landmarks of one, so that they are masked like the others.
    """
    photographs = object_folder(data.objects, size=faces.size) if data.objects else None
    apart = split(photographs, by="photograph", seed=seed) if photographs is not None else None
    parts = {}
    for number, (name, rows) in enumerate(split(faces, by="person", seed=seed).parts.items()):
        if photographs is not None and apart is not None:
            others = photographs[apart[name]]
        else:
            others = _made_up(faces[rows], seed * 10 + number)
        own, others = balanced(faces[rows], others, seed=seed)
        assert isinstance(own, FaceSet)
        together = FaceSet(
            torch.cat([own.images, others.images]), own.labels + others.labels, own.names + others.names,
            torch.cat([own.landmarks, own.landmarks]),
        )  # fmt: skip
        parts[name] = Trials(together, torch.arange(len(together)).lt(len(own)).long())
    return parts


def _made_up(faces: FaceSet, seed: int) -> ImageSet:
    """Pictures without a face, at least as many as there are faces: objects, textures, these faces scrambled."""
    wanted = len(faces)
    objects = builtin_objects(wanted // 32 + 1, seed=seed, size=faces.size)
    rest = nonfaces(wanted - wanted // 2, seed=seed, size=faces.size, faces=faces)
    names = tuple(f"object/{name}" for name in objects.names) + rest.names
    return ImageSet(torch.cat([objects.images, rest.images]), objects.labels + rest.labels, names)


def shown_as(trials: Trials, stimuli: Sequence[str], keep: int = 0, seed: int = 0) -> Trials:
    """Every trial once per stimulus, or `keep` of all these, drawn by the seed; only what is kept is made."""
    old, count = trials.pictures, len(trials)
    assert isinstance(old, FaceSet)
    chosen = torch.arange(count * len(stimuli))
    if 0 < keep < len(chosen):
        order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))
        chosen = order[:keep].sort().values
    images = old.images.new_empty(len(chosen), *old.images.shape[1:])
    for number, name in enumerate(stimuli):
        stimulus = Stimulus.from_dict(name)
        for places in torch.nonzero(chosen // count == number)[:, 0].split(256):
            rows = chosen[places] % count
            seen = stimulus(old.images[rows].float() / 255, old.landmarks[rows])
            images[places] = (seen * 255).round().clamp(0, 255).to(torch.uint8)
    origin, kind = (chosen % count).tolist(), (chosen // count).tolist()
    names = tuple(f"{old.names[row]} ({stimuli[which]})" for row, which in zip(origin, kind, strict=True))
    labels = tuple(old.labels[row] for row in origin)
    return Trials(FaceSet(images, labels, names, old.landmarks[origin]), trials.targets[origin])


class Classifier(lightning.LightningModule):
    """A network and its readout at work."""

    def __init__(
        self, subject: Subject, classes: Sequence[str], lesion: Lesion | None, config: ClassifyConfig
    ) -> None:
        super().__init__()
        self.subject, self.lesion, self.config = subject, None if config.sham else lesion, config
        self.tested = None if config.training_only else self.lesion
        self.network = subject.module
        self.calibration: Calibration | None = None
        outputs = 1 if config.task == "detection" else len(classes)
        self.head = _head(subject, outputs, config)
        _choose_trained(self.network, lesion, config.trained)

    def states(self) -> dict[str, Lesion | None]:
        """What is damaged in tests: nothing, and, where a lesion acts in them, that."""
        return {"healthy": None} | ({"damaged": self.tested} if self.tested is not None else {})

    def damage(
        self, lesion: Lesion | None, ids: torch.Tensor, seed: int
    ) -> contextlib.AbstractContextManager[Any]:
        """A context in which the network is damaged; `ids` are the pictures' numbers, for what is drawn at random."""
        if lesion is None:
            return contextlib.nullcontext()
        return lesioned(self.network, lesion, seed=seed, calibration=self.calibration, ids=ids)

    def represent(
        self, images: torch.Tensor, lesion: Lesion | None, ids: torch.Tensor, seed: int
    ) -> torch.Tensor:
        """Representations of uint8 pictures under a lesion."""
        with self.damage(lesion, ids, seed):
            return self.network(self.subject.preprocess(images))

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy of one logit, or cross-entropy of (N, classes), against class numbers (N,)."""
        if self.config.task == "detection":
            return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets.float())
        return nn.functional.cross_entropy(logits, targets)

    def answers(self, logits: torch.Tensor) -> torch.Tensor:
        """The class number (N,) that each row of logits says."""
        return (logits[:, 0] > 0).long() if self.config.task == "detection" else logits.argmax(1)

    def training_step(self, batch: Batch, step: int) -> torch.Tensor:
        # Noise is drawn anew in every epoch, and the same again when a stopped run goes on.
        seed = self.config.seed * 10_000 + self.current_epoch
        logits = self.head(self._seen(batch, self.lesion, seed))
        loss = self.loss(logits, batch["target"])
        right = (self.answers(logits) == batch["target"]).float().mean()
        self.log_dict(
            {"train_loss": loss, "train_accuracy": right},
            on_epoch=True,
            on_step=False,
            batch_size=len(logits),
            sync_dist=True,
        )
        return loss

    def validation_step(self, batch: Batch, step: int) -> None:
        logits = self.head(self._seen(batch, self.tested, self.config.seed))
        values = {
            "val_loss": self.loss(logits, batch["target"]),
            "val_accuracy": (self.answers(logits) == batch["target"]).float().mean(),
        }
        if self.tested is not None:
            healthy = self.head(self._seen(batch, None, 0, "healthy"))
            values["val_accuracy_without_lesion"] = (self.answers(healthy) == batch["target"]).float().mean()
        self.log_dict(values, prog_bar=True, batch_size=len(logits), sync_dist=True)

    def _seen(self, batch: Batch, lesion: Lesion | None, seed: int, cached: str = "seen") -> torch.Tensor:
        if cached in batch:
            return batch[cached]
        return self.represent(batch["image"], lesion, batch["index"], seed)

    @torch.no_grad()
    def logits_of(self, trials: Trials, lesion: Lesion | None, batch_size: int = 64) -> torch.Tensor:
        """Logits (N, outputs) of trials on the CPU, made in evaluation mode where the network is."""
        self.eval()
        device = self.head.weight.device
        made = []
        for rows in torch.arange(len(trials)).split(batch_size):
            images, ids = trials.pictures.images[rows].to(device), rows.to(device)
            made.append(self.head(self.represent(images, lesion, ids, self.config.seed)).cpu())
        return torch.cat(made)

    def accuracies(self, trials: Trials) -> dict[str, float]:
        """Share of right answers in each of `states`."""
        return {
            name: float((self.answers(self.logits_of(trials, lesion)) == trials.targets).float().mean())
            for name, lesion in self.states().items()
        }

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            [value for value in self.parameters() if value.requires_grad], lr=self.config.learning_rate
        )


def _head(subject: Subject, outputs: int, config: ClassifyConfig) -> nn.Linear:
    """The readout of the weights' file where it has one that fits, else a new one."""
    width = int(subject.module(torch.zeros(1, 3, subject.size, subject.size)).shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = nn.Linear(width, outputs)
    known = {
        key.removeprefix("head."): value for key, value in subject.extra.items() if key.startswith("head.")
    }
    if known and known["weight"].shape == head.weight.shape:
        store.fit(head, known, config.network)
    return head


def _choose_trained(network: nn.Module, lesion: Lesion | None, trained: Trained) -> None:
    """Let gradients reach what is to be trained, and nothing else."""
    if trained == "after_lesion" and lesion is None:
        raise FacelesionError(
            "trained is after_lesion, but there is no lesion: name one, or train everything"
        )
    network.requires_grad_(trained == "everything")
    if trained == "after_lesion":
        damaged = set(lesion_sites(network, lesion))
        after = False
        for name, module in network.named_modules():
            if after and not list(module.children()):
                module.requires_grad_(True)
            after = after or name in damaged


# How the network is asked in a course: with the lesion in place, and without it.
IN_PLACE, TAKEN_AWAY = "damage in place", "damage taken away"


class Course(lightning.Callback):
    """Tests before training and after each epoch, as rows of a CSV file."""

    def __init__(self, target: Path, trials: Trials) -> None:
        self.target, self.trials = target, trials

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.current_epoch == 0 and trainer.is_global_zero:
            self._add(module, 0)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            self._add(module, trainer.current_epoch + 1)

    def _add(self, module: lightning.LightningModule, epoch: int) -> None:
        import pandas

        assert isinstance(module, Classifier)
        mode = module.training
        names = {"healthy": TAKEN_AWAY, "damaged": IN_PLACE}
        rows = [
            {
                "epoch": epoch, "state": names[state], "accuracy": accuracy, "pictures": len(self.trials),
                "chance": 1 / max(2, module.head.out_features),
            }
            for state, accuracy in module.accuracies(self.trials).items()
        ]  # fmt: skip
        module.train(mode)
        table = pandas.DataFrame(rows)
        if epoch and self.target.exists():
            # A resumed run repeats the epochs after its checkpoint: theirs are the rows that count.
            before = pandas.read_csv(self.target)
            table = pandas.concat([before[before["epoch"] < epoch], table])
        table.to_csv(self.target, index=False)


@dataclass(frozen=True)
class _Rows(Dataset[Batch]):
    """Trials as batches: one item is a list of positions."""

    tensors: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(self.tensors["target"])

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        chosen = torch.as_tensor(rows)
        return {name: values[chosen] for name, values in self.tensors.items()}


class _Shuffled(Sampler[list[int]]):
    """Batches of positions in an order that depends on (seed, epoch) alone, so that a resumed run sees the same.

    The order is made when the first batch is asked for, and not before: where a run goes on, Lightning makes the
    iterator before it knows which epoch it is.
    """

    def __init__(self, count: int, batch_size: int, seed: int | None, epoch: Callable[[], int]) -> None:
        self.count, self.batch_size, self.seed, self.epoch = count, batch_size, seed, epoch

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.arange(self.count)
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
            order = torch.randperm(self.count, generator=generator)
        for rows in order.split(self.batch_size):
            yield rows.tolist()


class _TrialData(lightning.LightningDataModule):
    def __init__(self, parts: Mapping[str, Trials], config: ClassifyConfig, module: Classifier) -> None:
        super().__init__()
        self.config = config
        self.parts = {
            name: _Rows(self._tensors(trials, config, module, module.lesion if name == "train" else module.tested))
            for name, trials in parts.items()
        }

    @staticmethod
    def _tensors(
        trials: Trials, config: ClassifyConfig, module: Classifier, lesion: Lesion | None
    ) -> dict[str, torch.Tensor]:
        ids = torch.arange(len(trials))
        tensors = {"target": trials.targets, "index": ids}
        if config.trained != "head":
            return tensors | {"image": trials.pictures.images}
        # The network stays as it is, so each picture goes through it once and not once per epoch.
        module.eval()
        states = {"seen": lesion} | ({"healthy": None} if lesion is not None else {})
        with torch.no_grad():
            for name, lesion in states.items():
                tensors[name] = torch.cat(
                    [
                        module.represent(trials.pictures.images[rows], lesion, rows, config.seed)
                        for rows in ids.split(64)
                    ]
                )
        return tensors

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader("train", self.config.batch_size, self.config.seed)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader("validation", 64, None)

    def _loader(self, part: str, batch_size: int, seed: int | None) -> DataLoader[Batch]:
        rows = self.parts[part]
        batches = _Shuffled(len(rows), batch_size, seed, self._epoch)
        return DataLoader(rows, batch_size=None, sampler=batches)

    def _epoch(self) -> int:
        assert self.trainer is not None
        return self.trainer.current_epoch


def asked(
    module: Classifier, trials: Trials, stimuli: Sequence[str], states: Mapping[str, Lesion | None]
) -> pd.DataFrame:
    """One row per stimulus and state: accuracy, and for detection precision, recall, F1 and the confusion matrix."""
    import pandas

    rows: list[dict[str, Any]] = []
    for name in stimuli:
        shown = shown_as(trials, [name])
        for state, lesion in states.items():
            answers = module.answers(module.logits_of(shown, lesion))
            row = {"stimulus": name, "network": state, "pictures": len(shown)}
            row["accuracy"] = float((answers == shown.targets).float().mean())
            if module.config.task == "detection":
                row |= _confusion(answers.bool(), shown.targets.bool())
            rows.append(row)
    return pandas.DataFrame(rows)


def _confusion(answers: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Counts of the four kinds of answers, and what follows from them; 0 where nothing was answered or true.

    Example:
        >>> _confusion(torch.tensor([True, True, False]), torch.tensor([True, False, False]))["precision"]
        0.5
    """
    hits, alarms = int((answers & truth).sum()), int((answers & ~truth).sum())
    misses, rejections = int((~answers & truth).sum()), int((~answers & ~truth).sum())
    precision, recall = hits / max(1, hits + alarms), hits / max(1, hits + misses)
    return {
        "precision": precision, "recall": recall, "f1": 2 * hits / max(1, 2 * hits + alarms + misses),
        "true_positive": hits, "false_positive": alarms, "false_negative": misses, "true_negative": rejections,
    }  # fmt: skip
