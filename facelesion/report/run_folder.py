"""The folder of one run: what a study leaves behind, and all that a report is made from.

    runs/<name>/
      config.yaml      the resolved settings
      table.parquet    one row per condition and measure (`docs/table.md`)
      trials.parquet   one row per condition and trial (`docs/table.md`)
      pictures.csv     who and what had which role
      manifest.json    versions, hashes, times, the command, the images left out
      rankings.parquet optional: how units were ranked, where lesions take them by a ranking
      controls.csv     optional: what chosen units did beside sets of other units
      contrasts.csv    optional: what the study's contrasts came to
      single_cases.csv, curves.csv, curves_compared.csv    written with the report
      stimuli.npz      optional: example faces of every stimulus
      confusion.npz    optional: confusion matrices, intact and damaged
      gradcam.npz      optional: Grad-CAM of one face, intact and damaged
      training.csv     optional: the log of the network's training

Files appear whole or not at all: each is written beside its place and then moved there. Nothing is pickled. What is
read is checked where it is read: a folder that was edited gives one line that names the file and the key.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from facelesion.errors import Error
from facelesion.files import LeftOut, write_bytes, write_whole
from facelesion.report.checks import kind_of, mapping, number, sequence, text
from facelesion.report.tables import (
    CONTRASTS_NEEDED,
    CONTROLS_NEEDED,
    PICTURES_NEEDED,
    RANKINGS_NEEDED,
    check_trials,
    read_trials,
    with_columns,
)
from facelesion.report.tables import check_table as check_table

if TYPE_CHECKING:
    import pandas as pd

CONFIG, TABLE, MANIFEST, TRIALS = "config.yaml", "table.parquet", "manifest.json", "trials.parquet"
RANKINGS, CONTROLS, CONTRASTS = "rankings.parquet", "controls.csv", "contrasts.csv"
PICTURES = "pictures.csv"
CASES, CURVES, CURVES_COMPARED = "single_cases.csv", "curves.csv", "curves_compared.csv"  # written by the report
UNCHANGED = "intact"  # the stimulus that changes nothing
STIMULI, CONFUSION, GRADCAM, TRAINING = "stimuli.npz", "confusion.npz", "gradcam.npz", "training.csv"


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
        tasks: what each task asks, in a sentence, by name; may be empty.
        remarks: what a reader of the results has to know of the pictures, in sentences.
        groups: participants that were trained alike, by the name of their group.

    Raises:
        Error: a value of another kind; the key is named.
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
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        text(self.study, "study", empty=False)
        for key in ("command", "created", "device", "question"):
            text(getattr(self, key), key)
        for key in ("seconds", "seeds"):
            for name, value in mapping(getattr(self, key), key).items():
                number(value, f"{key}.{name}")
        for key in ("versions", "hashes", "tasks"):
            for name, value in mapping(getattr(self, key), key).items():
                text(value, f"{key}.{name}")
        for place, remark in enumerate(sequence(self.remarks, "remarks")):
            text(remark, f"remarks[{place}]")
        for name, members in mapping(self.groups, "groups").items():
            for place, member in enumerate(sequence(members, f"groups.{name}")):
                text(member, f"groups.{name}[{place}]", empty=False)
        for place, item in enumerate(sequence(self.left_out, "left_out")):
            if not isinstance(item, LeftOut):
                raise Error(f"left_out[{place}] must be a LeftOut, not {kind_of(item)}")
            text(item.name, f"left_out[{place}].name")
            text(item.reason, f"left_out[{place}].reason")


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
        text(self.task, "task of a confusion", empty=False)
        text(self.condition, f"condition of a confusion of {self.task}")
        if not self.labels or self.matrix.shape != (len(self.labels), len(self.labels)):
            raise Error(
                f"confusion of {self.task} ({self.condition}): the matrix is {self.matrix.shape}"
                f" but there are {len(self.labels)} labels; it must be (labels, labels)"
            )
        if (
            self.matrix.dtype.kind not in "iuf"
            or not (self.matrix >= 0).all()
            or not np.isfinite(self.matrix).all()
        ):
            raise Error(
                f"confusion of {self.task} ({self.condition}): the matrix must hold counts, 0 or more"
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
            raise Error(
                f"Grad-CAM's heat is {self.heat.shape}; it must be (conditions, layers, H, W), here {wanted}"
            )
        if not self.conditions or not self.layers:
            raise Error("Grad-CAM needs a condition and a layer, one of each at least")
        if self.heat.dtype.kind != "f" or not np.isfinite(self.heat).all():
            raise Error("Grad-CAM's heat must be finite numbers from 0 to 1")


@dataclass(frozen=True)
class Run:
    """Everything in a run folder; what is optional and absent is None or empty.

    `table` has the lesions themselves, `sets` the control sets' main measures under unchanged pictures. `trials` are
    those under unchanged pictures alone: all of them may be more than memory holds
    (`facelesion.report.tables.TrialFile` reads them piece by piece).
    """

    folder: Path
    config: Mapping[str, Any]
    table: pd.DataFrame
    manifest: Manifest
    stimuli: StimulusExamples | None = None
    confusions: tuple[Confusion, ...] = ()
    gradcam: GradCamMaps | None = None
    training: pd.DataFrame | None = None
    trials: pd.DataFrame | None = None
    controls: pd.DataFrame | None = None
    contrasts: pd.DataFrame | None = None
    sets: pd.DataFrame | None = None
    rankings: pd.DataFrame | None = None
    pictures: pd.DataFrame | None = None


def write_config(folder: str | Path, config: Mapping[str, Any]) -> Path:
    """Write the resolved settings as YAML, keys in the order given."""
    import yaml

    text = yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True, width=100)
    return write_bytes(Path(folder) / CONFIG, text.encode())


def write_table(folder: str | Path, table: pd.DataFrame) -> Path:
    """Write the result table as parquet, columns in the order of `TABLE_COLUMNS`, further columns after them.

    Raises:
        Error: a column is missing, a value is not finite or of another kind, or a row is there twice.
    """
    checked = check_table(table)
    return write_whole(Path(folder) / TABLE, lambda file: checked.to_parquet(file, index=False))


def write_trials(folder: str | Path, trials: pd.DataFrame) -> Path:
    """Write the answers trial by trial as parquet, columns in the order of `TRIAL_COLUMNS`, others after them.

    Raises:
        Error: as for `write_table`.
    """
    checked = check_trials(trials)
    return write_whole(Path(folder) / TRIALS, lambda file: checked.to_parquet(file, index=False))


def write_rankings(folder: str | Path, tables: Sequence[pd.DataFrame]) -> Path:
    """Write how every participant's units were ranked, as parquet: one row per unit and ranking."""
    import pandas as pd

    whole = pd.concat(tables, ignore_index=True)
    return write_whole(Path(folder) / RANKINGS, lambda file: whole.to_parquet(file, index=False))


def write_controls(folder: str | Path, table: pd.DataFrame) -> Path:
    """Write what chosen units did beside their control sets (`facelesion.analysis.against_controls`), as CSV."""
    return write_bytes(Path(folder) / CONTROLS, table.to_csv(index=False, lineterminator="\n").encode())


def write_manifest(folder: str | Path, manifest: Manifest) -> Path:
    """Write the manifest as JSON."""
    stored = asdict(manifest) | {"left_out": [left._asdict() for left in manifest.left_out]}
    text = json.dumps(_plain(stored), indent=2, ensure_ascii=False) + "\n"
    return write_bytes(Path(folder) / MANIFEST, text.encode())


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
    for place, confusion in enumerate(confusions):
        arrays[f"matrix_{place}"] = np.asarray(confusion.matrix, dtype=np.int64)
        arrays[f"labels_{place}"] = np.array(confusion.labels, dtype=np.str_)
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
    return write_bytes(Path(folder) / TRAINING, data)


def read_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises:
        Error: the folder or one of its three main files is missing or cannot be read.
    """
    import pandas as pd

    root = Path(folder)
    if not os.path.isdir(root):  # which has no error of its own for a name that none can be
        raise Error(f"no run folder at {root}; give a folder that `facelesion study` wrote")
    for name in (CONFIG, TABLE, MANIFEST):
        if not (root / name).is_file():
            raise Error(f"{root} has no {name}; run the study again, it did not finish there")

    config = _read(root / CONFIG, _config)
    whole = _read(root / TABLE, lambda path: check_table(pd.read_parquet(path)))
    table, sets = _read(root / TABLE, lambda _: _parted(whole))
    manifest = read_manifest(root)

    def pictures(path: Path) -> pd.DataFrame:
        return with_columns(PICTURES_NEEDED, pd.read_csv(path, dtype=str, keep_default_na=False))

    def optional(name: str, read: Callable[[Path], Any]) -> Any:
        return _read(root / name, read) if (root / name).is_file() else None

    return Run(
        root,
        config,
        table,
        manifest,
        optional(STIMULI, _stimuli),
        optional(CONFUSION, _confusions) or (),
        optional(GRADCAM, _gradcam),
        optional(TRAINING, pd.read_csv),
        optional(TRIALS, lambda path: read_trials(path, UNCHANGED)),
        optional(CONTROLS, lambda path: with_columns(CONTROLS_NEEDED, pd.read_csv(path))),
        optional(CONTRASTS, lambda path: with_columns(CONTRASTS_NEEDED, pd.read_csv(path))),
        sets,
        optional(RANKINGS, lambda path: with_columns(RANKINGS_NEEDED, pd.read_parquet(path))),
        optional(PICTURES, pictures),
    )


def _parted(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The lesions themselves, and of the sets of other units their main measures under unchanged pictures."""
    own = table["control"] == ""
    if not own.any():
        raise Error("column control is filled in every row: there are control sets, and nothing that they belong to")
    sets = table[~own & table["main"] & (table["stimulus"] == UNCHANGED)]
    return table[own].reset_index(drop=True), sets.reset_index(drop=True) if len(sets) else None


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    def save(file: BinaryIO) -> None:
        np.savez_compressed(file, allow_pickle=False, **dict(arrays))

    return write_whole(path, save)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes its reader raise becomes one line that names the file."""
    try:
        yield
    except Error as error:  # it was read, and holds what it must not
        raise Error(f"{path}: {error}") from None
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Error(f"{path} cannot be read ({reason}); run the study again") from error


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    with reading(path):
        return read(path)


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a run folder.

    Raises:
        Error: it is missing, or holds what it must not.
    """
    manifest: Manifest = _read(Path(folder) / MANIFEST, _manifest)
    return manifest


def _config(path: Path) -> Mapping[str, Any]:
    import yaml

    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    if stored is not None and not isinstance(stored, Mapping):
        raise Error(f"settings must be a table of keys and values, not {kind_of(stored)}")
    return stored or {}


def _manifest(path: Path) -> Manifest:
    stored = dict(mapping(json.loads(path.read_text(encoding="utf-8")), "the manifest"))
    if "study" not in stored:
        raise Error("study, the name of the study, is missing")
    left_out = []
    for place, item in enumerate(sequence(stored.pop("left_out", ()), "left_out")):
        entry = mapping(item, f"left_out[{place}]")
        words = (text(entry.get(key), f"left_out[{place}].{key}") for key in ("name", "reason"))
        left_out.append(LeftOut(*words))
    if "remarks" in stored:
        stored["remarks"] = tuple(sequence(stored["remarks"], "remarks"))
    known = {item.name for item in fields(Manifest)}
    return Manifest(
        **{name: value for name, value in stored.items() if name in known}, left_out=tuple(left_out)
    )


def _stimuli(path: Path) -> StimulusExamples:
    stored = _Arrays(path)
    return StimulusExamples(stored.strings("names"), stored["images"])


def _confusions(path: Path) -> tuple[Confusion, ...]:
    stored = _Arrays(path)
    tasks, names = stored.strings("tasks"), stored.strings("names")
    if len(tasks) != len(names):
        raise Error(f"{len(tasks)} tasks do not match {len(names)} names")
    return tuple(
        Confusion(task, name, stored[f"matrix_{i}"], stored.strings(f"labels_{i}"))
        for i, (task, name) in enumerate(zip(tasks, names, strict=True))
    )


def _gradcam(path: Path) -> GradCamMaps:
    stored = _Arrays(path)
    heat = stored["heat"]
    if heat.dtype.kind != "f":
        raise Error(f"heat must hold fractions, not {heat.dtype}")
    (score,) = stored.strings("score", ndim=0)
    return GradCamMaps(
        stored.strings("names"), stored.strings("layers"), heat.astype(np.float32), stored["image"], score
    )


class _Arrays:
    """The arrays of an .npz file, by name; one that is missing or no list of texts is told."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as stored:
            if not hasattr(stored, "files"):
                raise Error("it holds one array and must hold several by name")
            self._stored = {name: stored[name] for name in stored.files}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._stored:
            raise Error(f"the array {name} is missing")
        return self._stored[name]

    def strings(self, name: str, ndim: int = 1) -> tuple[str, ...]:
        array = self[name]
        if array.ndim != ndim or (array.dtype.kind != "U" and array.size):
            raise Error(
                f"{name} must be {'a list of texts' if ndim else 'a text'}, not {array.dtype} {array.shape}"
            )
        return tuple(text(str(word), name) for word in np.atleast_1d(array).tolist())


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
    wanted = images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] == 3 and len(images) == count
    if not wanted or not images.size:
        raise Error(
            f"{what} must be uint8 RGB of shape ({count}, H, W, 3), not {images.dtype} {images.shape}"
        )
