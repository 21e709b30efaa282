"""What every training run shares: its folder, its log, its checkpoints, its curves, and going on after a stop."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar

from facelesion.errors import FacelesionError
from facelesion.training.curves import draw_curves
from facelesion.training.machine import keep_freed_memory


@dataclass(frozen=True)
class RunConfig:
    """Where a run is kept and on what it runs.

    Attributes:
        folder: the run's own folder: resolved config, log, checkpoints, curves, weights.
        resume: go on from the last checkpoint in the folder, exactly as if there had been no stop.
        overwrite: throw away what an earlier run left in the folder.
        patience: stop after so many epochs in a row without a lower validation loss; 0 never stops early.
        accelerator: `cpu`, `gpu`, or `auto`.
        devices: how many, or `auto`.
        strategy: Lightning's name for how several devices share the work.
        precision: `32-true`, or `bf16-mixed` and `16-mixed` where the device is quicker with them.
        progress: show a progress bar.
    """

    folder: str = "runs/train"
    resume: bool = False
    overwrite: bool = False
    patience: int = 0
    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    strategy: str = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    progress: bool = True


def check_folder(config: RunConfig) -> Path:
    """The run's folder, ready: new, emptied of an earlier run, or with a checkpoint to go on from.

    Raises:
        FacelesionError: it holds another run, or nothing to resume.
    """
    folder = Path(config.folder)
    checkpoints = folder / "checkpoints"
    if config.resume:
        if not (checkpoints / "last.ckpt").is_file():
            raise FacelesionError(
                f"{checkpoints / 'last.ckpt'}: nothing to resume from: leave out run.resume to start afresh"
            )
        return folder
    if checkpoints.exists() and any(checkpoints.iterdir()):
        if not config.overwrite:
            raise FacelesionError(
                f"{folder}: holds an earlier run: set run.resume true to go on with it, run.overwrite true to "
                "throw it away, or choose another run.folder"
            )
        shutil.rmtree(checkpoints)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def claim_for_stages(config: RunConfig, settings: dict[str, Any]) -> Path:
    """The folder of a run of several stages, new, or with what an earlier start of the same run left.

    Args:
        config: the run's.
        settings: everything that decides what comes out, ready for JSON, with `config` as `run`.

    Raises:
        FacelesionError: it holds a run with other settings.
    """
    folder = Path(config.folder)
    note = folder / "settings.json"
    for name in ("resume", "overwrite", "progress"):
        del settings["run"][name]
    text = json.dumps(settings, indent=1, sort_keys=True)
    if note.is_file() and note.read_text(encoding="utf-8") != text:
        if not config.overwrite:
            raise FacelesionError(
                f"{folder}: holds a run with other settings: choose another run.folder, or set run.overwrite true"
            )
        for checkpoints in folder.glob("*/checkpoints"):
            shutil.rmtree(checkpoints.parent)
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(text, encoding="utf-8")
    return folder


def stage_of(config: RunConfig, folder: Path) -> RunConfig:
    """The run of one stage: new, or going on where it was stopped."""
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
    own: list[Callback] = [EpochLog(log), *callbacks, best, last]
    if config.patience:
        own.append(EarlyStopping("val_loss", mode="min", patience=config.patience))
    if config.progress:
        own.append(TQDMProgressBar(refresh_rate=10, leave=True))
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=own, logger=_tensorboard(folder), accelerator=config.accelerator,
        devices=config.devices, strategy=config.strategy, precision=config.precision,
        enable_progress_bar=config.progress, enable_model_summary=False, num_sanity_val_steps=0,
        deterministic=True,
    )  # fmt: skip
    resumed = str(checkpoints / "last.ckpt") if config.resume else None
    trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
    kept = Path(best.best_model_path)
    if trainer.is_global_zero:
        draw_curves(log, folder / "curves.png")
    module.load_state_dict(torch.load(kept, map_location="cpu", weights_only=True)["state_dict"])
    return kept


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
        table.to_csv(self.path, index=False)


def _quieten() -> None:
    """Leave out what Lightning says to developers: its tips, and that parts of a network are kept as they are."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",
        ".*in eval mode at the start of training.*",
        ".*does not have many workers.*",
    ):
        warnings.filterwarnings("ignore", message)


def _tensorboard(folder: Path) -> Any:
    """TensorBoard's logger where it is installed."""
    try:
        from pytorch_lightning.loggers import TensorBoardLogger

        return TensorBoardLogger(folder, name="", version="tensorboard")
    except ModuleNotFoundError:
        return False
