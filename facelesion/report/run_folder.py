"""The folder of one run: what a study leaves behind, and all that a report is made from.

    runs/<name>/
      config.yaml      the resolved settings
      table.parquet    one row per condition and measure (`docs/table.md`)
      trials.parquet   one row per condition and trial (`docs/table.md`)
      pictures.csv     who and what had which role
      manifest.json    versions, hashes, times, the command, the images left out
      stimuli.npz      optional: example faces of every stimulus
      confusion.npz    optional: confusion matrices, intact and damaged
      gradcam.npz      optional: Grad-CAM of one face, intact and damaged
      training.csv     optional: the log of the network's training

Files appear whole or not at all: each is written beside its place and then moved there. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from facelesion.errors import FacelesionError
from facelesion.report.columns import TABLE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

CONFIG, TABLE, TRIALS, MANIFEST = "config.yaml", "table.parquet", "trials.parquet", "manifest.json"
STIMULI, CONFUSION, GRADCAM, TRAINING = "stimuli.npz", "confusion.npz", "gradcam.npz", "training.csv"


@dataclass(frozen=True)
class LeftOut:
    """One image that was kept out of the study, and why.

    Example:
        >>> LeftOut("Ann/Ann_0001.jpg", "no face found").reason
        'no face found'
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """What is needed to trust a run and to repeat it.

    Attributes:
        study: its name.
        command: what to type to get the run again.
        created: when it ended, ISO 8601 with the time zone.
        seconds: how long each stage took, by name.
        versions: libraries and their versions, facelesion and Python among them.
        hashes: what was used, by name: the weights, the images of each task, the settings.
        seeds: every seed, by what it decides.
        left_out: images that were kept out, and why.
        device: where it ran.
        question: what the study asks, in plain sentences; may be empty.
        tasks: what each task asks, by its name.
        remarks: what a reader of the results has to know of the pictures, in sentences.
    """

    study: str
    command: str = ""
    created: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    left_out: Sequence[LeftOut] = ()
    device: str = "cpu"
    question: str = ""
    tasks: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class StimulusExamples:
    """One face under every stimulus: names, and uint8 RGB images (S, H, W, 3) in the same order."""

    names: tuple[str, ...]
    images: np.ndarray

    def __post_init__(self) -> None:
        _pictures("example images", self.images, len(self.names))


@dataclass(frozen=True)
class Confusion:
    """What was answered to what was shown.

    Attributes:
        task: 'identification', 'detection', ...
        condition: 'intact', or the lesion in words.
        matrix: counts (K, K); rows are what was shown, columns what was answered.
        labels: the K classes, in the order of rows and columns.
    """

    task: str
    condition: str
    matrix: np.ndarray
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.labels), len(self.labels)):
            raise FacelesionError(
                f"confusion of {self.task} ({self.condition}): the matrix is {self.matrix.shape}"
                f" but there are {len(self.labels)} labels; it must be (labels, labels)"
            )


@dataclass(frozen=True)
class GradCamMaps:
    """Grad-CAM of one face, by condition and layer.

    Attributes:
        conditions: 'intact', and lesions in words.
        layers: site aliases from early to late.
        heat: float in [0, 1] (conditions, layers, H, W).
        image: the face, uint8 RGB (H, W, 3).
        score: what was explained, in words ("the score of the right person").
    """

    conditions: tuple[str, ...]
    layers: tuple[str, ...]
    heat: np.ndarray
    image: np.ndarray
    score: str = "the score of the right person"

    def __post_init__(self) -> None:
        _pictures("the face of Grad-CAM", self.image[None], 1)
        wanted = (len(self.conditions), len(self.layers), *self.image.shape[:2])
        if self.heat.shape != wanted:
            raise FacelesionError(
                f"Grad-CAM's heat is {self.heat.shape}; it must be (conditions, layers, H, W), here {wanted}"
            )


@dataclass(frozen=True)
class Run:
    """Everything in a run folder; what is optional and absent is None or empty."""

    folder: Path
    config: Mapping[str, Any]
    table: pd.DataFrame
    manifest: Manifest
    stimuli: StimulusExamples | None = None
    confusions: tuple[Confusion, ...] = ()
    gradcam: GradCamMaps | None = None
    training: pd.DataFrame | None = None


def write_config(folder: str | Path, config: Mapping[str, Any]) -> Path:
    """Write the resolved settings as YAML, keys in the order given."""
    import yaml

    text = yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True, width=100)
    return replace_file(Path(folder) / CONFIG, text.encode())


def write_table(folder: str | Path, table: pd.DataFrame) -> Path:
    """Write the result table as parquet, columns in the order of `TABLE_COLUMNS`, further columns after them.

    Raises:
        FacelesionError: a column is missing, a value is not finite, or a row is there twice.
    """
    checked = check_table(table)
    return _write(Path(folder) / TABLE, lambda file: checked.to_parquet(file, index=False))


def write_manifest(folder: str | Path, manifest: Manifest) -> Path:
    """Write the manifest as JSON."""
    text = json.dumps(_plain(asdict(manifest)), indent=2, ensure_ascii=False) + "\n"
    return replace_file(Path(folder) / MANIFEST, text.encode())


def write_stimuli(folder: str | Path, names: Sequence[str], images: np.ndarray) -> Path:
    """Write one face under every stimulus: names, uint8 RGB images (S, H, W, 3)."""
    examples = StimulusExamples(tuple(names), np.asarray(images))
    return _write_arrays(
        Path(folder) / STIMULI, {"names": np.array(examples.names), "images": examples.images}
    )


def write_confusions(folder: str | Path, confusions: Sequence[Confusion]) -> Path:
    """Write confusion matrices; for each task give the intact network's first."""
    arrays = {
        "names": np.array([confusion.condition for confusion in confusions], dtype=np.str_),
        "tasks": np.array([confusion.task for confusion in confusions], dtype=np.str_),
    }
    for number, confusion in enumerate(confusions):
        arrays[f"matrix_{number}"] = np.asarray(confusion.matrix, dtype=np.int64)
        arrays[f"labels_{number}"] = np.array(confusion.labels, dtype=np.str_)
    return _write_arrays(Path(folder) / CONFUSION, arrays)


def write_gradcam(folder: str | Path, maps: GradCamMaps) -> Path:
    """Write Grad-CAM's maps; the heat is kept as float16, which is finer than any screen."""
    return _write_arrays(
        Path(folder) / GRADCAM,
        {
            "names": np.array(maps.conditions),
            "layers": np.array(maps.layers),
            "heat": np.asarray(maps.heat, dtype=np.float16),
            "image": maps.image,
            "score": np.array(maps.score),
        },
    )


def write_training_log(folder: str | Path, csv: str | Path) -> Path:
    """Copy the CSV log of the training of the network under study into the run folder."""
    data = Path(csv).read_bytes()
    return replace_file(Path(folder) / TRAINING, data)


def read_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises:
        FacelesionError: the folder or one of its three main files is missing or cannot be read.
    """
    import pandas as pd
    import yaml

    root = Path(folder)
    if not root.is_dir():
        raise FacelesionError(f"no run folder at {root}; give a folder that `facelesion study` wrote")
    for name in (CONFIG, TABLE, MANIFEST):
        if not (root / name).is_file():
            raise FacelesionError(f"{root} has no {name}; run the study again, it did not finish there")

    config = _read(root / CONFIG, lambda path: yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    table = check_table(_read(root / TABLE, pd.read_parquet))
    manifest = _read(root / MANIFEST, _manifest)

    stimuli = confusions = gradcam = training = None
    if (root / STIMULI).is_file():
        stored = _read(root / STIMULI, _arrays)
        stimuli = StimulusExamples(_strings(stored["names"]), stored["images"])
    if (root / CONFUSION).is_file():
        stored = _read(root / CONFUSION, _arrays)
        confusions = tuple(
            Confusion(task, condition, stored[f"matrix_{i}"], _strings(stored[f"labels_{i}"]))
            for i, (task, condition) in enumerate(
                zip(_strings(stored["tasks"]), _strings(stored["names"]), strict=True)
            )
        )
    if (root / GRADCAM).is_file():
        stored = _read(root / GRADCAM, _arrays)
        gradcam = GradCamMaps(
            _strings(stored["names"]),
            _strings(stored["layers"]),
            stored["heat"].astype(np.float32),
            stored["image"],
            str(stored["score"]),
        )
    if (root / TRAINING).is_file():
        training = _read(root / TRAINING, pd.read_csv)
    return Run(root, config, _as_shown(table), manifest, stimuli, confusions or (), gradcam, training)


def _as_shown(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(
        columns={"lesion": "approach", "damage": "lesion", "damage_hash": "lesion_hash", "participant": "model"}
    )


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns in order, after checks that it can be what it says.

    Raises:
        FacelesionError: no rows, a missing column, a value that is not a finite number, or the same
            condition and metric twice.
    """
    missing = [name for name in TABLE_COLUMNS if name not in table.columns]
    if missing:
        raise FacelesionError(
            f"the result table lacks {', '.join(missing)}; a study writes all of its columns"
        )
    if table.empty:
        raise FacelesionError("the result table has no rows; the study measured nothing")
    bad = table[~np.isfinite(table["value"].to_numpy(dtype=float))]
    if len(bad):
        first = bad.iloc[0]
        raise FacelesionError(
            f"{len(bad)} values are not finite, the first: {first['task']} {first['metric']}, "
            f"{first['lesion']}, {first['stimulus']}; a measure without an answer must not be written"
        )
    key = [
        "participant",
        "weights",
        "lesion",
        "damage_hash",
        "dose",
        "draw",
        "seed",
        "stimulus",
        "task",
        "metric",
    ]
    twice = table.duplicated([*key, "data"])
    if twice.any():
        row = table[twice].iloc[0]
        raise FacelesionError(
            f"{int(twice.sum())} rows are there twice, the first: {row['lesion']}, {row['stimulus']}, "
            f"{row['task']} {row['metric']}, draw {row['draw']}; write each condition once"
        )
    extra = [name for name in table.columns if name not in TABLE_COLUMNS]
    return table[[*TABLE_COLUMNS, *extra]].reset_index(drop=True)


def replace_file(path: str | Path, data: bytes) -> Path:
    """Put a file in its place whole: a reader sees the old one or the new one, never a part."""
    return _write(Path(path), lambda file: file.write(data))


def _write(path: Path, write: Callable[[BinaryIO], Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o644)  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    def save(file: BinaryIO) -> None:
        np.savez_compressed(file, allow_pickle=False, **dict(arrays))

    return _write(path, save)


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except Exception as error:  # whatever a damaged file makes its reader raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FacelesionError(f"{path} cannot be read ({reason}); run the study again") from error


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _strings(array: np.ndarray) -> tuple[str, ...]:
    return tuple(str(text) for text in array.tolist())


def _manifest(path: Path) -> Manifest:
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["left_out"] = tuple(LeftOut(**item) for item in stored.get("left_out", ()))
    known = {item.name for item in fields(Manifest)}
    return Manifest(**{name: value for name, value in stored.items() if name in known})


def _plain(value: Any) -> Any:
    """The same value made of dicts, lists, strings, numbers and None alone, for YAML and JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def _pictures(what: str, images: np.ndarray, count: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or len(images) != count:
        raise FacelesionError(
            f"{what} must be uint8 RGB of shape ({count}, H, W, 3), not {images.dtype} {images.shape}"
        )
