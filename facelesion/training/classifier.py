"""A network and its readout at work: training steps, answers, and how they go from epoch to epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from facelesion.errors import Error
from facelesion.lesions import Calibration, Lesion, lesion_sites, lesioned
from facelesion.models import Subject
from facelesion.sweep.arguments import device_of
from facelesion.training.files import read_table, write_table
from facelesion.training.intervals import over_people
from facelesion.training.trials import Shown
from facelesion.weights import store

if TYPE_CHECKING:
    from facelesion.training.classify import ClassifyConfig, Trained

Batch = dict[str, torch.Tensor]


class Classifier(lightning.LightningModule):
    """A network and its readout at work.

    Args:
        subject: the network; a readout in its file is gone on with.
        classes: what the readout says.
        lesion: damage in place.
        config: the recipe's.
        practice: a fixed readout of other people, by whom the layers learn. Then the network's own readout stays as it
            is too, and is what tests ask.
    """

    def __init__(
        self,
        subject: Subject,
        classes: Sequence[str],
        lesion: Lesion | None,
        config: ClassifyConfig,
        practice: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.subject, self.lesion, self.config = subject, None if config.sham else lesion, config
        self.tested = None if config.training_only else self.lesion
        self.network = subject.module
        self.calibration: Calibration | None = None
        outputs = 1 if self.binary else len(classes)
        self.head = readout_of(subject, outputs, config.seed, config.network)
        self.practice = practice
        if practice is not None:
            self.head.requires_grad_(False)
            practice.requires_grad_(False)
        _choose_trained(self.network, lesion, config.trained)

    @property
    def taught_by(self) -> nn.Linear:
        """The readout by whose answers the layers learn."""
        return self.head if self.practice is None else self.practice

    @property
    def binary(self) -> bool:
        """Whether it is asked for a face or none."""
        return self.config.task == "detection"

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
        if self.binary:
            return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets.float())
        return nn.functional.cross_entropy(logits, targets)

    def answers(self, logits: torch.Tensor) -> torch.Tensor:
        """The class number (N,) that each row of logits says."""
        return (logits[:, 0] > 0).long() if self.binary else logits.argmax(1)

    def training_step(self, batch: Batch, step: int) -> torch.Tensor:
        # Noise is drawn anew in every epoch, and the same again when a stopped run goes on.
        seed = self.config.seed * 10_000 + self.current_epoch
        logits = self.taught_by(self._seen(batch, self.lesion, seed))
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
        logits = self.taught_by(self._seen(batch, self.tested, self.config.seed))
        values = {
            "val_loss": self.loss(logits, batch["target"]),
            "val_accuracy": (self.answers(logits) == batch["target"]).float().mean(),
        }
        if self.tested is not None:
            healthy = self.taught_by(self._seen(batch, None, 0, "healthy"))
            values["val_accuracy_without_lesion"] = (self.answers(healthy) == batch["target"]).float().mean()
        self.log_dict(values, prog_bar=True, batch_size=len(logits), sync_dist=True)

    def _seen(self, batch: Batch, lesion: Lesion | None, seed: int, cached: str = "seen") -> torch.Tensor:
        if cached in batch:
            return batch[cached]
        return self.represent(batch["image"], lesion, batch["index"], seed)

    @torch.no_grad()
    def logits_of(
        self, shown: Shown, lesion: Lesion | None, readout: nn.Linear | None = None, batch_size: int = 64
    ) -> torch.Tensor:
        """Logits (N, outputs) of trials on the CPU, made in evaluation mode where the network is."""
        self.eval()
        readout = self.head if readout is None else readout
        device = device_of(readout)
        made = []
        for rows in torch.arange(len(shown)).split(batch_size):
            images, ids = shown.images(rows).to(device), shown.ids[rows].to(device)
            made.append(readout(self.represent(images, lesion, ids, self.config.seed)).cpu())
        return torch.cat(made)

    def right(self, shown: Shown, lesion: Lesion | None, readout: nn.Linear | None = None) -> torch.Tensor:
        """Whether each answer is right, bool (N,)."""
        return self.answers(self.logits_of(shown, lesion, readout)) == shown.targets

    def tensors(self) -> dict[str, torch.Tensor]:
        """What the file of weights holds."""
        return {
            **self.network.state_dict(),
            **{f"identity.{key}": value for key, value in self.subject.identity.state_dict().items()},
            **{f"head.{key}": value for key, value in self.head.state_dict().items()},
        }

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            [value for value in self.parameters() if value.requires_grad], lr=self.config.learning_rate
        )


def readout_of(subject: Subject, outputs: int, seed: int, source: str) -> nn.Linear:
    """The readout of the weights' file where it has one that fits, else a new one."""
    blank = torch.zeros(1, 3, subject.size, subject.size, device=device_of(subject.module))
    width = int(subject.module(blank).shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(width, outputs)
    known = {
        key.removeprefix("head."): value for key, value in subject.extra.items() if key.startswith("head.")
    }
    if known and known["weight"].shape == head.weight.shape:
        store.fit(head, known, source)
    return head


def _choose_trained(network: nn.Module, lesion: Lesion | None, trained: Trained) -> None:
    """Let gradients reach what is to be trained, and nothing else."""
    if trained == "after_lesion" and lesion is None:
        raise Error("trained is after_lesion, but there is no lesion: name one, or train everything")
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

    def __init__(
        self, target: Path, shown: Shown, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        """`before` and `after` training: what rows name besides; the hash of the weights is each epoch's own."""
        self.target, self.shown, self.before, self.after = target, shown, dict(before), dict(after)

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
        weights, rows = store.digest(module.tensors()), []
        for state, lesion in module.states().items():
            right = module.right(self.shown, lesion)
            low, high = over_people(right, self.shown.people, self.shown.targets if module.binary else None)
            rows.append(
                {
                    "epoch": epoch, "state": names[state], "accuracy": float(right.float().mean()),
                    "low": low, "high": high, "pictures": len(right), "people": len(set(self.shown.people)),
                    "chance": 1 / max(2, module.head.out_features),
                    "lesion": "none" if lesion is None else str(lesion),
                    "lesion_hash": "none" if lesion is None else lesion.hash,
                    **(self.after if epoch else self.before), "weights": weights,
                }
            )  # fmt: skip
        module.train(mode)
        table = pandas.DataFrame(rows)
        if epoch and self.target.exists():
            # A resumed run repeats the epochs after its checkpoint: theirs are the rows that count.
            before = read_table(self.target)
            table = pandas.concat([before[before["epoch"] < epoch], table])
        write_table(self.target, table)


@dataclass(frozen=True)
class _Rows(Dataset[Batch]):
    """Trials as batches: one item is a list of positions. Pictures are made then, and not kept."""

    tensors: dict[str, torch.Tensor]
    shown: Shown | None = None

    def __len__(self) -> int:
        return len(self.tensors["target"])

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        chosen = torch.as_tensor(rows)
        batch = {name: values[chosen] for name, values in self.tensors.items()}
        return batch if self.shown is None else batch | {"image": self.shown.images(chosen)}


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


class TrialData(lightning.LightningDataModule):
    """Training and validation trials as Lightning wants them."""

    def __init__(self, parts: Mapping[str, Shown], config: ClassifyConfig, module: Classifier) -> None:
        super().__init__()
        self.config = config
        self.parts = {
            name: self._rows(shown, config, module, module.lesion if name == "train" else module.tested)
            for name, shown in parts.items()
        }

    @staticmethod
    def _rows(shown: Shown, config: ClassifyConfig, module: Classifier, lesion: Lesion | None) -> _Rows:
        tensors = {"target": shown.targets, "index": shown.ids}
        if config.trained != "head":
            return _Rows(tensors, shown)
        # The network stays as it is, so each picture goes through it once and not once per epoch.
        module.eval()
        states = {"seen": lesion} | ({"healthy": None} if lesion is not None else {})
        made: dict[str, list[torch.Tensor]] = {name: [] for name in states}
        device = device_of(module.network)
        with torch.no_grad():
            for rows in torch.arange(len(shown)).split(64):
                images, ids = shown.images(rows).to(device), shown.ids[rows].to(device)
                for name, damage in states.items():
                    made[name].append(module.represent(images, damage, ids, config.seed).cpu())
        return _Rows(tensors | {name: torch.cat(parts) for name, parts in made.items()})

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
