"""What every training run shares: its folder, its log, its checkpoints, its curves, and going on after a stop."""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from facelesion.errors import Error, one_line
from facelesion.extras import need
from facelesion.files import write_bytes
from facelesion.outputs import writable_folder
from facelesion.products import float32_products
from facelesion.ranges import Label, OnlyWhen, PathText, Range, Size
from facelesion.settings import check
from facelesion.training.curves import draw_curves
from facelesion.training.files import write_table
from facelesion.training.loggers import check_loggers, close, loggers_of
from facelesion.training.machine import keep_freed_memory

Epochs = Annotated[int, Range(1, 100_000)]
BatchSize = Annotated[int, Range(1, 65_536)]
LearningRate = Annotated[float, Range(0, 10, above=True)]


@dataclass(frozen=True)
class RunConfig:
    """Where a run is kept and on what it runs.

    Attributes:
        folder: the run's own folder: resolved config, log, checkpoints, curves, weights.
        resume: go on from the last checkpoint in the folder, exactly as if there had been no stop; only `epochs` may
            differ from what was asked for then.
        overwrite: throw away what an earlier run left in the folder.
        patience: stop after so many epochs in a row without a lower validation loss; 0 never stops early.
        accelerator: `cpu`, `gpu`, or `auto`.
        devices: how many, or `auto` for all there are; recipes of several stages, and distillation, take one.
        num_nodes: machines that train together, each with as many devices; a SLURM job starts one process a device.
        strategy: Lightning's name for how several devices share the work.
        precision: `32-true`; `tf32`, float32 whose products newer GPUs round; or `bf16-mixed` and `16-mixed` where the
            device is quicker with them. Tests are asked in full precision.
        progress: show a progress bar.
        loggers: who else is told how it goes: Lightning's loggers by name (csv, tensorboard, wandb, mlflow, comet), or
            with settings, {kind: wandb, project: faces, offline: true}; TensorBoard, where there is one, when left out.

    Example:
        >>> RunConfig("runs/mine", patience=10).precision
        '32-true'
        >>> RunConfig(patience=-1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.settings.SettingError: patience is -1: it must be 0 to 100,000 (stop after so ...
    """

    folder: PathText = "runs/train"
    resume: bool = False
    overwrite: Annotated[bool, OnlyWhen("resume", False)] = False
    patience: Annotated[int, Range(0, 100_000)] = 0
    accelerator: Label = "auto"
    devices: Annotated[int, Range(1, 1024)] | Literal["auto"] = 1
    num_nodes: Annotated[int, Range(1, 4096)] = 1
    strategy: Label = "auto"
    precision: Literal["32-true", "tf32", "bf16-mixed", "16-mixed"] = "32-true"
    progress: bool = True
    loggers: Annotated[Sequence[Any] | None, Size(0, 10)] = None

    def __post_init__(self) -> None:
        check(self)
        check_loggers(self.loggers)


def at_least_one(name: str, value: int) -> None:
    """Raise unless a setting is 1 or more.

    Raises:
        Error: it is less.
    """
    if value < 1:
        raise Error(f"{name} is {value}: it must be 1 or more")


_SETTINGS = "settings.json"
# What changes no result:
_OF_A_START = ("resume", "overwrite", "progress", "accelerator", "devices", "num_nodes", "strategy", "loggers")


def check_folder(config: RunConfig, settings: dict[str, Any] | None = None) -> Path:
    """The run's folder, ready: new, emptied of an earlier run, or with a checkpoint to go on from.

    Args:
        config: the run's.
        settings: everything that decides what comes out, with `config` as `run`; noted in the folder, and compared
            when the run goes on.

    Raises:
        Error: it holds another run, nothing to resume, a checkpoint that cannot be read, or a run with other
            settings.
    """
    need("pandas", "matplotlib")  # for the curves at the end
    folder = writable_folder(config.folder, "run.folder")
    checkpoints, note = folder / "checkpoints", folder / _SETTINGS
    if config.resume:
        last = checkpoints / "last.ckpt"
        if not last.is_file():
            raise Error(f"{last}: nothing to resume from: leave out run.resume to start afresh")
        _whole(last)
        if settings is not None and note.is_file():
            _same_settings(folder, json.loads(note.read_text(encoding="utf-8")), _noted(settings))
        return folder
    if checkpoints.exists() and any(checkpoints.iterdir()):
        if not config.overwrite:
            raise Error(
                f"{folder}: holds an earlier run: set run.resume true to go on with it, run.overwrite true to "
                "throw it away, or choose another run.folder"
            )
        shutil.rmtree(checkpoints)
    folder.mkdir(parents=True, exist_ok=True)
    if settings is not None:
        _write_settings(note, _noted(settings))
    return folder


def is_first() -> bool:
    """Whether this process is the one that writes: of several that train together, the first."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _noted(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as the folder keeps them: without what changes no result, and as JSON reads them back."""
    run = {key: value for key, value in settings["run"].items() if key not in _OF_A_START}
    return json.loads(json.dumps(settings | {"run": run}))


def _write_settings(note: Path, settings: dict[str, Any]) -> None:
    write_bytes(note, f"{json.dumps(settings, indent=1, sort_keys=True)}\n".encode())


def _same_settings(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    differ = [key for key in sorted(before | now) if before.get(key) != now.get(key) and key != "epochs"]
    if differ:
        key = differ[0]
        raise Error(
            f"{folder}: the run there has {key} {before.get(key)!r}, not {now.get(key)!r}: resume with the same "
            "settings, or choose another run.folder"
        )


def _whole(checkpoint: Path) -> None:
    """Raise unless a checkpoint can be read."""
    try:
        torch.load(checkpoint, map_location="meta", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError) as error:
        raise Error(
            f"{checkpoint}: not a whole checkpoint ({type(error).__name__}): start afresh with run.overwrite true"
        ) from None


def claim_for_stages(config: RunConfig, settings: dict[str, Any]) -> Path:
    """The folder of a run of several stages, new, or with what an earlier start of the same run left.

    Args:
        config: the run's.
        settings: everything that decides what comes out, with `config` as `run`.

    Raises:
        Error: it holds a run with other settings; more than one device.
    """
    one_device(config)
    folder = writable_folder(config.folder, "run.folder")
    note, now = folder / _SETTINGS, _noted(settings)
    if config.overwrite:
        for checkpoints in folder.glob("*/checkpoints"):
            shutil.rmtree(checkpoints.parent)
    elif note.is_file() and json.loads(note.read_text(encoding="utf-8")) != now:
        raise Error(
            f"{folder}: holds a run with other settings: choose another run.folder, or set run.overwrite true"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _write_settings(note, now)
    return folder


def claim_for_parts(place: str, settings: dict[str, Any]) -> Path:
    """The folder of a run that is kept part by part, new, or with the parts of an earlier start of the same run.

    Args:
        place: where.
        settings: everything that decides what comes out.

    Raises:
        Error: it holds a run with other settings.
    """
    folder = writable_folder(place, "run.folder")
    note, now = folder / _SETTINGS, _noted(settings)
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) != now:
        raise Error(f"{folder}: holds a run with other settings: choose another run.folder")
    folder.mkdir(parents=True, exist_ok=True)
    _write_settings(note, now)
    return folder


def one_device(config: RunConfig) -> None:
    """Raise unless the run is on one device.

    Raises:
        Error: it is on several, or on all there are.
    """
    if config.devices != 1:
        raise Error(f"run.devices is {config.devices}: this recipe runs on one device")
    if config.num_nodes != 1:
        raise Error(f"run.num_nodes is {config.num_nodes}: this recipe runs on one device of one machine")


def stage_of(config: RunConfig, folder: Path) -> RunConfig:
    """The run of one stage, new, or going on where it was stopped; a stage goes through all its epochs."""
    begun = (folder / "checkpoints" / "last.ckpt").is_file()
    return replace(config, folder=str(folder), resume=begun, overwrite=not begun, patience=0)


def fit(
    module: lightning.LightningModule,
    data: lightning.LightningDataModule,
    epochs: int,
    config: RunConfig,
    seed: int,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train, keep the checkpoint with the lowest `val_loss`, put its weights back into the module, draw the curves.

    Returns:
        The best checkpoint.

    Raises:
        Error: a device or strategy that this machine does not have; a folder that holds another run; a loss
            that is no number.
    """
    folder = check_folder(config)
    keep_freed_memory()
    _quieten()
    lightning.seed_everything(seed, verbose=False)
    checkpoints = folder / "checkpoints"
    best = ModelCheckpoint(
        checkpoints, filename="best", monitor="val_loss", mode="min", save_on_train_epoch_end=True,
        enable_version_counter=False,
    )  # fmt: skip
    # Apart from the best: what a stopped run goes on from is where it was, not where it was best.
    last = ModelCheckpoint(
        checkpoints, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
    )
    log = folder / "log.csv"
    loggers = loggers_of(config.loggers, folder)
    own: list[Callback] = [EpochLog(log), *callbacks, best, last]
    if config.patience:
        own.append(EarlyStopping("val_loss", mode="min", patience=config.patience))
    if config.progress:
        own.append(TQDMProgressBar(refresh_rate=10, leave=True))
    resumed = str(checkpoints / "last.ckpt") if config.resume else None
    with _set_back(), float32_products(rounded=config.precision == "tf32"):
        trainer = _trainer(config, epochs, own, loggers or False)
        trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
    close(loggers)
    if not best.best_model_path:
        raise Error(f"{folder}: no epoch had a validation loss that is a number: learn more slowly")
    kept = Path(best.best_model_path)
    if trainer.is_global_zero:
        draw_curves(log, folder / "curves.png")
    module.load_state_dict(torch.load(kept, map_location="cpu", weights_only=True)["state_dict"])
    return kept


@contextlib.contextmanager
def _set_back() -> Iterator[None]:
    """What Lightning sets for a run and leaves: afterwards other networks of the process run as before."""
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


def _trainer(config: RunConfig, epochs: int, callbacks: list[Callback], loggers: Any) -> lightning.Trainer:
    try:
        return lightning.Trainer(
            max_epochs=epochs, callbacks=callbacks, logger=loggers, accelerator=config.accelerator,
            devices=config.devices, num_nodes=config.num_nodes, strategy=config.strategy,
            precision="32-true" if config.precision == "tf32" else config.precision,
            enable_progress_bar=config.progress, enable_model_summary=False, num_sanity_val_steps=0, deterministic=True,
        )  # fmt: skip
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise Error(
            f"run.accelerator {config.accelerator}, devices {config.devices}, num_nodes {config.num_nodes}, "
            f"strategy {config.strategy}: "
            f"{one_line(error)}"
        ) from None


class EpochLog(Callback):
    """One row per epoch in a CSV file: epoch, seconds since the start, and everything that was logged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        import time

        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        import time

        import pandas

        if not trainer.is_global_zero:
            return
        row = {"epoch": trainer.current_epoch, "seconds": round(time.monotonic() - self._start, 1)}
        row |= {
            name: float(value)
            for name, value in sorted(trainer.callback_metrics.items())
            if not name.endswith("_now")
        }
        table = pandas.DataFrame([row])
        if self.path.exists() and trainer.current_epoch:
            # A resumed run repeats the epochs after its checkpoint: theirs are the rows that count.
            before = pandas.read_csv(self.path)
            table = pandas.concat([before[before["epoch"] < trainer.current_epoch], table])
        write_table(self.path, table)


def _quieten() -> None:
    """Leave out what Lightning says to developers: its tips, and that parts of a network are kept as they are."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",
        ".*in eval mode at the start of training.*",
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", message)
