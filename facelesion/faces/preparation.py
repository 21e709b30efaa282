"""From a folder of photographs to aligned faces with landmarks, once: everything later reads the result.

    prepared = prepare("photographs", "prepared")
    faces = load_prepared("prepared")

The result is a folder:

    faces.parquet   one row per face, sorted by name: person, landmarks, pose, sharpness, ... (`COLUMNS`)
    crops.npy       uint8 (N, 3, side, side), RGB, in the rows' order, made to be memory-mapped
    left_out.csv    every photograph that gave no face, and why
    manifest.json   options, versions, counts, hashes

It depends on the photographs, the options and the libraries' versions alone: a run that was killed and run again gives
the same bytes, however many workers there were. Photographs that have not changed are not done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facelesion.data.images import read_image
from facelesion.data.imagesets import FaceSet
from facelesion.data.listing import Listing, list_folder, list_table
from facelesion.errors import Error
from facelesion.faces.align import align, five_points, similarity, template
from facelesion.faces.landmarks import SEARCH, Backend, choose, landmark_backend
from facelesion.weights.fetching import cache_folder, check_writable

FORMAT = 1
MESH_POINTS = 478
_CHUNK = 32
_LARGEST = 4096  # pixels of a crop's side
_MOST_WORKERS = 1024
_JOURNAL = ".journal"

# What faces.parquet says of each face. Pixels are the photograph's unless said otherwise.
COLUMNS = {
    "name": "the photograph's path below the root",
    "person": "who it shows",
    "sha256": "of the photograph's file",
    "width": "of the photograph in pixels",
    "height": "of the photograph in pixels",
    "faces": "how many were found in the photograph",
    "size": "distance between the eyes' middles in pixels",
    "roll": "degrees that the eye line is turned clockwise",
    "yaw": "degrees that the face is turned to the viewer's right; nan where the backend does not say",
    "pitch": "degrees that the face is turned up; nan where the backend does not say",
    "sharpness": "variance of the Laplacian of the crop's grey levels",
    "inside": "fraction of the crop that lies inside the photograph",
    "matrix": "2 x 3, row by row: from the photograph's pixels to the crop's",
    "landmarks": "478 x 2, point by point: x and y in the crop's pixels",
}
_NUMBERS = ("size", "roll", "yaw", "pitch", "sharpness", "inside")


@dataclass(frozen=True)
class LeftOut:
    """A photograph that gave no face, and why."""

    name: str
    reason: str
    sha256: str = ""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did.

    Attributes:
        folder: where the result is.
        faces: how many faces it holds.
        several: how many photographs showed more than one face, of which one was chosen.
        left_out: the photographs that gave none.
        done: how many photographs this run looked at; the others had not changed since an earlier one.
    """

    folder: Path
    faces: int
    several: int
    left_out: tuple[LeftOut, ...]
    done: int

    def __str__(self) -> str:
        lines = [
            f"{self.faces} faces in {self.folder} "
            f"({self.done} photographs looked at, {self.several} with several faces)"
        ]
        if self.left_out:
            lines.append(
                f"{len(self.left_out)} photographs left out (all in {self.folder / 'left_out.csv'}):"
            )
            width = max(len(_printable(left.name)) for left in self.left_out[:20])
            lines += [f"  {_printable(left.name):<{width}}  {left.reason}" for left in self.left_out[:20]]
            if len(self.left_out) > 20:
                lines.append(f"  ... and {len(self.left_out) - 20} more")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Options:
    """What a photograph's result depends on, beside the photograph."""

    landmarks: str
    version: str
    size: int
    margin: int
    format: int = FORMAT

    @property
    def side(self) -> int:
        return self.size + 2 * self.margin


@dataclass(frozen=True)
class _Found:
    """Where a finished photograph's result lies: a row of a journal part or of the earlier result, or a reason."""

    sha256: str
    source: Path | None = None
    row: int = -1
    reason: str = ""


def prepare(
    root: str | Path,
    out: str | Path,
    *,
    landmarks: str = "mediapipe",
    model: str | Path | None = None,
    workers: int | None = None,
    size: int = 112,
    margin: int = 0,
    strict: bool = False,
    progress: bool = True,
) -> Prepared:
    """Find the face in every photograph, align it, and keep crop and landmarks.

    Args:
        root: a folder of people (`<root>/<person>/<photograph>`; whatever else is there that may be a picture is named
            among what was left out), or a CSV or parquet table with the columns `path`
            and `person`, whose paths start from its own folder.
        out: the folder to write; made when it is not there, continued when an earlier run began it.
        landmarks: "mediapipe", "dlib" or "mtcnn".
        model: the backend's model file, where it is not to be found by itself.
        workers: how many processes; one per core when left out.
        size: side of the aligned crops in pixels.
        margin: pixels added around them on every side, at the same scale.
        strict: a photograph left out is an error, raised when everything else is done and written.
        progress: show a progress bar, where a person looks at it: not in a log file.

    Returns:
        What was done, with the table of what was left out; its `str` is fit to be printed.

    Raises:
        Error: nothing to do, a folder that is something else's, a backend that is not there, no face at all;
            with `strict`, any photograph left out.
    """
    if not (_whole(size, 16, _LARGEST) and _whole(margin, 0, _LARGEST)):
        raise Error(
            f"crops of {size} pixels with a margin of {margin}: the size is 16 or more, a margin not negative, "
            f"neither more than {_LARGEST}"
        )
    if workers is not None and not _whole(workers, 1, _MOST_WORKERS):
        raise Error(f"{workers} workers: at least one is needed, and at most {_MOST_WORKERS}")
    if not str(root):
        raise Error("the folder of photographs has no name: name it")
    root, out = Path(root), Path(out) if os.path.isdir(out) and str(out) else check_writable(out)
    listing = list_table(root) if os.path.isfile(root) else list_folder(root)
    # Made here once, so that what is missing is told before any process starts.
    backend = landmark_backend(landmarks, model)
    options = _Options(landmarks, backend.version, size, margin)
    with contextlib.closing(backend), _alone(out):
        _claim(out, options)
        names = sorted(listing.names)
        hashes = _hashes(listing, names)
        known = _known(out, hashes)
        todo = [name for name in names if name not in known]
        count = max(1, min(workers or os.cpu_count() or 1, math.ceil(len(todo) / _CHUNK)))
        chunks = [todo[i : i + _CHUNK] for i in range(0, len(todo), _CHUNK)]
        jobs = [
            _Job(listing.root, tuple(chunk), tuple(hashes[n] for n in chunk), out, options)
            for chunk in chunks
        ]
        with _bar(len(todo), progress) as bar:
            if count == 1:
                for job in jobs:
                    _work(job, backend)
                    bar.update(len(job.names))
            else:
                _work_in_parallel(jobs, count, model, bar)
        known = _known(out, hashes)
        people = dict(zip(listing.names, listing.people, strict=True))
        known |= {name: _Found("", reason=reason) for name, reason in listing.left_out}
        names = sorted([*names, *(name for name, _ in listing.left_out)])
        prepared = _assemble(out, options, names, people, known, len(todo))
    if not prepared.faces:
        raise Error(
            f"{root}: no face in any of {len(names)} photographs: {out / 'left_out.csv'} says why for each"
        )
    if strict and prepared.left_out:
        first = prepared.left_out[0]
        raise Error(
            f"{len(prepared.left_out)} of {len(names)} photographs were left out, such as {_printable(first.name)} "
            f"({first.reason}): mend or remove what {out / 'left_out.csv'} lists"
        )
    return prepared


def prepare_once(
    root: str | Path, size: int, out: str | Path | None = None, model: str | Path | None = None
) -> Prepared:
    """Prepare a folder of photographs where it is kept for good: studies and trainings share one result.

    Args:
        root: the folder of people.
        size: side of the crops in pixels.
        out: the folder to keep it in; one in the user's cache folder, by the photographs' place, when left out.
        model: MediaPipe's model file, needed where something is still to be prepared.
    """
    return prepare(root, out or prepared_place(root, size), model=model, size=size)


def prepared_place(root: str | Path, size: int, landmarks: str = "mediapipe") -> Path:
    """Where photographs are prepared for good when no folder is named: in the user's cache, by their place."""
    place = hashlib.sha256(str(Path(root).resolve()).encode()).hexdigest()[:12]
    return cache_folder() / f"prepared-{place}-{size}-{SEARCH}{'' if landmarks == 'mediapipe' else '-' + landmarks}"


def is_prepared(folder: str | Path) -> bool:
    """Whether a folder holds a finished result of `prepare`."""
    folder = Path(folder)
    return (folder / "faces.parquet").is_file() and folder.is_dir() and _manifest(folder) is not None


def left_out_of(folder: str | Path) -> list[tuple[str, str]]:
    """Name and reason of every photograph that a finished result left out."""
    import pandas as pd

    table = pd.read_csv(Path(folder) / "left_out.csv", dtype=str, keep_default_na=False)
    return list(zip(table["name"], table["reason"], strict=True))


def load_prepared(folder: str | Path) -> FaceSet:
    """Read what `prepare` wrote; the crops stay on disk until they are used (memory-mapped).

    Args:
        folder: as given to `prepare` as `out`.

    Returns:
        The faces in the table's order; labels are the people, names the photographs' paths.

    Raises:
        Error: it is no such folder, or a run that is not finished, or its files do not fit together.
    """
    import pyarrow.parquet as parquet
    import torch

    folder = Path(folder)
    manifest = _manifest(folder)
    if manifest is None:
        raise Error(
            f"{folder}: no finished result of `facelesion prepare`: run it, or run it again"
        )
    _check_unchanged(folder, manifest)
    try:
        table = parquet.read_table(folder / "faces.parquet", columns=["name", "person", "landmarks"])
        # Copy on write: the file stays as it is whatever is done to the tensor.
        crops = np.load(folder / "crops.npy", mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Error(
            f"{folder}: {' '.join(str(error).split())}: run `facelesion prepare` again"
        ) from None
    pictures = crops.dtype == np.uint8 and crops.ndim == 4 and crops.shape[1] == 3
    if not (pictures and len(table) == len(crops) == manifest["faces"]):
        raise Error(
            f"{folder}: table and crops do not fit together: delete the folder and prepare again"
        )
    points = table["landmarks"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return FaceSet(
        images=torch.from_numpy(crops),
        labels=tuple(table["person"].to_pylist()),
        names=tuple(table["name"].to_pylist()),
        landmarks=torch.from_numpy(points.reshape(-1, MESH_POINTS, 2).copy()),
    )


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Nobody else writes to the folder meanwhile; the system lets go when this process ends, however it ends."""
    if os.path.exists(out) and not os.path.isdir(out):
        raise Error(f"{out} is a file: name a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror}): name another folder") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{out}: another process is preparing it, waiting", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _claim(out: Path, options: _Options) -> None:
    """Take the folder, or say why it cannot be had; finish what a run killed at the very end began."""
    journal = out / _JOURNAL
    _finish_swap(out)
    manifest = _manifest(out)
    if manifest is None and not journal.is_dir() and out.is_dir() and any(out.iterdir()):
        raise Error(f"{out} holds something else: name an empty or a new folder")
    stored = journal / "options.json"
    earlier = None
    if manifest is not None:
        _check_unchanged(out, manifest)
        earlier = manifest["options"]
    elif stored.is_file():
        try:
            earlier = dict(json.loads(stored.read_text()))
        except (ValueError, TypeError, RecursionError):
            raise Error(
                f"{stored} is not as it was written: delete {out} and prepare again"
            ) from None
    if earlier is not None and earlier != asdict(options):
        changed = next(
            key for key in {**earlier, **asdict(options)} if earlier.get(key) != asdict(options).get(key)
        )
        raise Error(
            f"{out} was prepared with {changed} {earlier.get(changed)!r}, not {asdict(options).get(changed)!r}: "
            "name another folder, or delete that one"
        )
    try:
        journal.mkdir(parents=True, exist_ok=True)
        _write(stored, json.dumps(asdict(options)).encode())
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror}): name another folder") from None


def _hashes(listing: Listing, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of every photograph; empty where there is nothing that can be read."""

    def digest(name: str) -> str:
        try:
            if not listing.path(name).is_file():
                return ""
            with open(listing.path(name), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""

    with ThreadPoolExecutor(4) as threads:
        return dict(zip(names, threads.map(digest, names), strict=True))


def _known(out: Path, hashes: dict[str, str]) -> dict[str, _Found]:
    """The photographs that are done and have not changed: in the finished result or in an unfinished run's journal."""
    found: list[tuple[str, _Found]] = []
    if _manifest(out) is not None:
        import pandas as pd
        import pyarrow.parquet as parquet

        table = parquet.read_table(out / "faces.parquet", columns=["name", "sha256"]).to_pydict()
        for row, (name, sha) in enumerate(zip(table["name"], table["sha256"], strict=True)):
            found.append((name, _Found(sha, out / "faces.parquet", row)))
        left = pd.read_csv(out / "left_out.csv", dtype=str, keep_default_na=False)
        for name, sha, reason in zip(left["name"], left["sha256"], left["reason"], strict=True):
            found.append((name, _Found(sha, reason=reason)))
    for part in sorted((out / _JOURNAL).glob("*.npz")):
        with np.load(part, allow_pickle=False) as file:
            records = json.loads(bytes(file["records"]))
        row = 0
        for record in records:
            reason = record.get("reason", "")
            where = _Found(record["sha256"], reason=reason) if reason else _Found(record["sha256"], part, row)
            found.append((record["name"], where))
            row += not reason
    return {name: where for name, where in found if hashes.get(name) == where.sha256}


@dataclass(frozen=True)
class _Job:
    """Some photographs for one worker."""

    root: Path
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    out: Path
    options: _Options


def _work(job: _Job, backend: Backend) -> None:
    """Do a job's photographs and add them to the journal, all or none."""
    records: list[dict[str, Any]] = []
    crops, meshes = [], []
    for name, sha in zip(job.names, job.hashes, strict=True):
        record: dict[str, Any] = {"name": name, "sha256": sha}
        try:
            crop, mesh, facts = _one(job, name, backend)
        except Error as error:
            # The reason is kept with the name, so it need not say the path again; nor may it depend on where that is.
            reason = str(error).replace(str(job.root / name), "").lstrip(": ").removeprefix("is ").strip("' ")
            record["reason"] = reason
        else:
            record |= facts
            crops.append(crop)
            meshes.append(mesh)
        records.append(record)
    side = job.options.side
    content = BytesIO()
    np.savez(
        content,
        records=np.frombuffer(json.dumps(records).encode(), np.uint8),
        crops=np.array(crops, np.uint8).reshape(-1, 3, side, side),
        landmarks=np.array(meshes, np.float32).reshape(-1, MESH_POINTS, 2),
    )
    key = hashlib.sha256("\0".join(job.names + job.hashes).encode("utf-8", "surrogateescape")).hexdigest()[
        :24
    ]
    _write(job.out / _JOURNAL / f"{key}.npz", content.getvalue())


def _one(
    job: _Job, name: str, backend: Backend
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], dict[str, Any]]:
    """One photograph: crop (3, side, side), landmarks in the crop's pixels, and what is said of them."""
    import cv2

    path = job.root / name
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Error("the file's name is not valid Unicode: rename it") from None
    # Not `Path.resolve`, which has an error of its own for links that lead in a circle.
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(job.root)):
        raise Error("a link that leads out of the folder of photographs")
    photograph = read_image(path)
    height, width = photograph.shape[:2]
    found = backend.find(photograph)
    face = choose(found, height, width)
    if face is None:
        raise Error("no face found")
    size, margin = job.options.size, job.options.margin
    matrix = similarity(five_points(face.mesh), template(size) + margin)
    if not np.isfinite(matrix).all():
        raise Error("the landmarks do not make a face")
    crop, mesh = align(photograph, face.mesh, size, margin)
    side = job.options.side
    covered = cv2.warpAffine(
        np.ones((height, width), np.uint8), matrix, (side, side), flags=cv2.INTER_NEAREST
    )
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    facts = {
        "width": width,
        "height": height,
        "faces": len(found),
        "size": face.size,
        "roll": face.roll,
        "yaw": None if math.isnan(face.yaw) else face.yaw,
        "pitch": None if math.isnan(face.pitch) else face.pitch,
        "sharpness": float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        "inside": float(covered.mean()),
        "matrix": [float(value) for value in matrix.ravel()],
    }
    return np.ascontiguousarray(crop.transpose(2, 0, 1)), mesh, facts


_worker_backend: Backend | None = None


def _begin_worker(landmarks: str, model: str | None) -> None:
    """In a worker: make the backend, and end when the main process does."""
    global _worker_backend
    import cv2

    cv2.setNumThreads(1)
    if landmarks != "mediapipe":
        import torch

        torch.set_num_threads(1)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    _worker_backend = landmark_backend(landmarks, model)


def _work_here(job: _Job) -> int:
    assert _worker_backend is not None
    _work(job, _worker_backend)
    return len(job.names)


def _work_in_parallel(jobs: Sequence[_Job], count: int, model: str | Path | None, bar: Any) -> None:
    # Processes are started afresh: forking one whose libraries have threads can hang.
    pool: Executor = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(jobs[0].options.landmarks, None if model is None else str(model)),
    )
    try:
        futures: list[Future[int]] = [pool.submit(_work_here, job) for job in jobs]
        for future in as_completed(futures):
            bar.update(future.result())
    except BrokenProcessPool:
        raise Error(
            "a worker process ended unexpectedly (out of memory?): what is done is kept, so run it again, "
            "with fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _assemble(
    out: Path,
    options: _Options,
    names: Iterable[str],
    people: dict[str, str],
    known: dict[str, _Found],
    done: int,
) -> Prepared:
    """Put the finished photographs together, in the names' order, and replace the result in one go."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    kept = [name for name in names if not known[name].reason]
    left = tuple(
        LeftOut(name, known[name].reason, known[name].sha256) for name in names if known[name].reason
    )
    manifest = _manifest(out)
    if manifest is not None and _stands(out, [(name, people[name]) for name in kept], left):
        shutil.rmtree(out / _JOURNAL)
        return Prepared(out, len(kept), manifest["several_faces"], left, done)
    side = options.side
    new = out / _JOURNAL / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    crops = (
        np.lib.format.open_memmap(
            new / "crops.npy", mode="w+", dtype=np.uint8, shape=(len(kept), 3, side, side)
        )
        if kept
        else np.zeros((0, 3, side, side), np.uint8)
    )
    if not kept:
        np.save(new / "crops.npy", crops)
    landmarks = np.zeros((len(kept), MESH_POINTS * 2), np.float32)
    facts: list[dict[str, Any]] = [{}] * len(kept)
    by_source: dict[Path, list[int]] = {}
    for position, name in enumerate(kept):
        source = known[name].source
        assert source is not None
        by_source.setdefault(source, []).append(position)
    for source, positions in by_source.items():
        rows = [known[kept[position]].row for position in positions]
        read_crops, read_landmarks, read_facts = _read_source(out, source)
        for position, row in zip(positions, rows, strict=True):
            crops[position] = read_crops[row]
            landmarks[position] = read_landmarks[row].ravel()
            facts[position] = read_facts[row]
    if isinstance(crops, np.memmap):
        crops.flush()
    several = sum(fact["faces"] > 1 for fact in facts)
    columns: dict[str, Any] = {
        "name": pa.array(kept, pa.string()),
        "person": pa.array([people[name] for name in kept], pa.string()),
        "sha256": pa.array([known[name].sha256 for name in kept], pa.string()),
    }
    for key in ("width", "height", "faces"):
        columns[key] = pa.array([fact[key] for fact in facts], pa.int32())
    for key in _NUMBERS:
        columns[key] = pa.array(
            [math.nan if fact[key] is None else fact[key] for fact in facts], pa.float32()
        )
    matrices = np.array([fact["matrix"] for fact in facts], np.float64).reshape(-1)
    columns["matrix"] = pa.FixedSizeListArray.from_arrays(pa.array(matrices), 6)
    columns["landmarks"] = pa.FixedSizeListArray.from_arrays(pa.array(landmarks.reshape(-1)), MESH_POINTS * 2)
    parquet.write_table(pa.table(columns), new / "faces.parquet", compression="zstd")
    _write(new / "left_out.csv", _csv(left))
    manifest = {
        "format": FORMAT,
        "options": asdict(options),
        "versions": _versions(),
        "faces": len(kept),
        "people": len({people[name] for name in kept}),
        "several_faces": several,
        "left_out": len(left),
        "columns": COLUMNS,
        "sha256": {name: _file_hash(new / name) for name in ("crops.npy", "faces.parquet", "left_out.csv")},
    }
    # The manifest is written last, whole: once it is there, everything is, and the swap can only go forward.
    _write(new / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
    _finish_swap(out)
    return Prepared(out, len(kept), several, left, done)


def _versions() -> dict[str, str]:
    """What pictures are decoded and cut by; the backend's own version is among the options."""
    import cv2
    import PIL

    import facelesion

    return {
        "facelesion": facelesion.__version__, "numpy": np.__version__, "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }  # fmt: skip


def _stands(out: Path, kept: list[tuple[str, str]], left: tuple[LeftOut, ...]) -> bool:
    """Whether the earlier result is already what would be written: nothing new, changed or gone."""
    import pyarrow.parquet as parquet

    if any((out / _JOURNAL).glob("*.npz")):
        return False
    table = parquet.read_table(out / "faces.parquet", columns=["name", "person"]).to_pydict()
    same_faces = list(zip(table["name"], table["person"], strict=True)) == kept
    return same_faces and (out / "left_out.csv").read_bytes() == _csv(left)


def _read_source(
    out: Path, source: Path
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], list[dict[str, Any]]]:
    """Crops, landmarks and facts of a journal part, or of the result that is about to be replaced."""
    if source.suffix == ".npz":
        with np.load(source, allow_pickle=False) as file:
            records = [record for record in json.loads(bytes(file["records"])) if "reason" not in record]
            return file["crops"], file["landmarks"], records
    import pyarrow.parquet as parquet

    table = parquet.read_table(source)
    landmarks = table["landmarks"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    facts = table.drop_columns(["landmarks"]).to_pylist()
    return np.load(out / "crops.npy", mmap_mode="r"), landmarks.reshape(-1, MESH_POINTS, 2), facts


def _finish_swap(out: Path) -> None:
    """Move a complete new result into place; a run killed in the middle is finished by the next."""
    new = out / _JOURNAL / "new"
    if not (new / "manifest.json").is_file():
        return
    for name in ("crops.npy", "faces.parquet", "left_out.csv"):
        if (new / name).is_file():
            os.replace(new / name, out / name)
    # A killed run may leave the manifest of the result before this one: it is replaced with the rest.
    os.replace(new / "manifest.json", out / "manifest.json")
    shutil.rmtree(out / _JOURNAL)


def _manifest(out: Path) -> dict[str, Any] | None:
    """The finished result's manifest; None while there is none, or while a swap is under way."""
    if (out / _JOURNAL / "new" / "manifest.json").is_file():
        return None
    try:
        manifest = json.loads((out / "manifest.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise Error(
            f"{out / 'manifest.json'} cannot be read ({error}): delete the folder"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or "options" not in manifest:
        raise Error(
            f"{out} holds a result of another version: name another folder, or delete that one"
        )
    kinds = {"options": dict, "faces": int, "several_faces": int, "sha256": dict}
    wrong = next((key for key, kind in kinds.items() if not isinstance(manifest.get(key), kind)), None)
    if wrong is not None:
        raise Error(
            f"{out / 'manifest.json'}: {wrong!r} is not as it was written: delete the folder"
        )
    return manifest


def _check_unchanged(out: Path, manifest: dict[str, Any]) -> None:
    """What was edited since cannot be gone on from, nor be believed."""
    for name in ("faces.parquet", "left_out.csv"):
        if not (out / name).is_file() or _file_hash(out / name) != manifest["sha256"].get(name):
            raise Error(
                f"{out / name} is missing or was changed since it was prepared: delete the folder and prepare again"
            )


def _csv(left: Iterable[LeftOut]) -> bytes:
    import csv

    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "reason", "sha256"])
    writer.writerows((item.name, item.reason, item.sha256) for item in left)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _printable(name: str) -> str:
    """A file's name fit for a terminal: control characters, which could rewrite it, are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in name)


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


@contextlib.contextmanager
def _bar(total: int, shown: bool) -> Iterator[Any]:
    from tqdm import tqdm

    # Carriage returns are for a terminal: a log file would keep every one of them.
    quiet = not (shown and sys.stderr.isatty())
    with tqdm(total=total, unit="photograph", desc="faces", disable=quiet, smoothing=0.1) as bar:
        yield bar
