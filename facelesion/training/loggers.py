"""Who else is told how a training goes: Lightning's loggers, by name.

    run: {loggers: [csv, {kind: wandb, project: faces, offline: true}, {kind: mlflow, experiment_name: faces}]}

A name is the class's without `Logger`, in small letters; what stands beside `kind` is what Lightning's class takes.
Unless told otherwise, they write into the run's own folder. `log.csv` and `curves.png` are there whoever is told.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facelesion.errors import Error, one_line
from facelesion.files import nearest
from facelesion.settings import SettingError

#: Where each writes by itself, as its class is told; "." is the run's folder. MLflow's is a file in `_logger`.
_PLACES: dict[str, dict[str, str]] = {
    "tensorboard": {"save_dir": ".", "name": "", "version": "tensorboard"},
    "csv": {"save_dir": ".", "name": "", "version": "csv"},
    "wandb": {"save_dir": "."},
    "lit": {"root_dir": "lit"},
}
_FOLDERS = ("save_dir", "root_dir")
_PACKAGES = {"comet": "comet-ml", "lit": "litlogger"}  # the others are called as their packages


def loggers_of(asked: Sequence[Any] | None, folder: Path) -> list[Any]:
    """Lightning's loggers as settings ask for them.

    Args:
        asked: names, or settings with a `kind`; TensorBoard where it is installed when left out.
        folder: the run's.

    Raises:
        Error: no such logger or setting of one, or a package that is not installed.
    """
    if asked is None:
        with contextlib.suppress(Error):  # not installed
            return [_logger("loggers", "tensorboard", {}, folder)]
        return []
    return [_logger(f"run.loggers.{place}", *_read(each), folder) for place, each in enumerate(asked)]


def check_loggers(asked: Sequence[Any] | None) -> None:
    """Raise unless there are such loggers, with such settings.

    Raises:
        SettingError: there are not.
    """
    kinds = _kinds()
    for place, each in enumerate(asked or ()):
        kind, told = _read(each)
        if kind not in kinds:
            raise SettingError(f"loggers.{place}", f"is {kind!r}, no logger of Lightning's: {nearest(kind, kinds)}")
        known = inspect.signature(kinds[kind]).parameters
        if any(other.kind is other.VAR_KEYWORD for other in known.values()):
            continue  # handed on to the package, which knows
        for key in told:
            if key not in known:
                raise SettingError(f"loggers.{place}.{key}", f"is no setting of {kind}: {nearest(key, known)}")


def close(loggers: Sequence[Any]) -> None:
    """End what goes on after a training by itself: W&B would take the next one for the same run."""
    for logger in loggers:
        for end in ("finish", "end"):  # W&B's and Comet's
            if callable(ended := getattr(logger.experiment, end, None)):
                ended()


def _read(asked: Any) -> tuple[str, dict[str, Any]]:
    """A logger's name and its settings."""
    told = dict(asked) if isinstance(asked, Mapping) else {"kind": asked}
    return str(told.pop("kind", "")), told


def _kinds() -> dict[str, type[Any]]:
    from pytorch_lightning import loggers

    named = {name: getattr(loggers, name) for name in loggers.__all__ if name != "Logger"}
    return {name.removesuffix("Logger").lower(): each for name, each in named.items()}


def _logger(key: str, kind: str, told: dict[str, Any], folder: Path) -> Any:
    given = _PLACES.get(kind, {}) | told
    for name in set(_FOLDERS) & set(given):
        given[name] = str(folder / str(given[name]))  # an absolute path stays as it is
    if kind == "mlflow" and not {"tracking_uri", "save_dir"} & set(told) and "MLFLOW_TRACKING_URI" not in os.environ:
        given["tracking_uri"] = f"sqlite:///{folder.absolute() / 'mlflow.db'}"
        given.setdefault("artifact_location", (folder / "mlflow").absolute().as_uri())
    try:
        logger = _kinds()[kind](**given)
        _ = logger.experiment  # begun now: what cannot be is told before the training
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(kind, kind) if error.name is None else error.name.partition(".")[0]
        raise Error(f"{key}: {kind} needs {package}, which is not installed: pip install {package}") from None
    except Exception as error:  # other people's packages raise what they like
        raise Error(f"{key}: {kind} cannot begin: {one_line(error)[:300]}") from None
    return logger
