"""A sweep that grows part by part on disk, survives being killed, and can be shared by processes and machines.

A folder holds `sweep.json` (what is being swept) and `parts/*.parquet`. Every part is written under another name and
moved into place whole, so that a reader never sees half of one; its name says which batch of images it is of, and the
hash of its bytes. So no lock is needed: a part is whole or it does not count, and who does a batch twice adds nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from facelesion.engines.contract import Engine
from facelesion.engines.processes import Processes
from facelesion.lesions import Calibration, Lesion, relative_change
from facelesion.main_guard import refuse_in_unguarded_main
from facelesion.sweep import arguments, columns
from facelesion.sweep.batches import Batch, sweep_elsewhere, sweep_here
from facelesion.sweep.errors import SweepError
from facelesion.sweep.fingerprint import fingerprint
from facelesion.sweep.folder import PARTS, claim, manifest_of, note_of, whole
from facelesion.sweep.identity import healthy, identity
from facelesion.sweep.measures import Squares, tiled
from facelesion.sweep.options import Options, at_least_one
from facelesion.sweep.precision import Rounding, measured
from facelesion.sweep.request import Request
from facelesion.sweep.trial import tried

if TYPE_CHECKING:
    import pandas

# Rows are written once this much has come together, so that a killed sweep loses little and parts are not tiny.
PART_BYTES = 16 << 20


def sweep_to_folder(
    folder: str | Path,
    model: nn.Module,
    lesions: Mapping[str, Lesion | None],
    images: torch.Tensor,
    *,
    seed: int = 0,
    calibration: Calibration | None = None,
    ids: Sequence[int] | torch.Tensor | None = None,
    processes: int = 1,
    engine: Engine | None = None,
    progress: bool = False,
    readout: Callable[[Any], torch.Tensor] | None = None,
    options: Options | None = None,
    changes: bool = False,
    part_bytes: int = PART_BYTES,
) -> None:
    """Runs a sweep into a folder, or goes on with the one that is there. Read it with `read_sweep`.

    In a lower precision (`options.autocast`), what that costs is measured on a sample and written down.
    `read_rounding` gives it.
    What is there already is not computed again, as long as network, readout, lesions, images, seed and code are the
    same; what is missing is. Outputs keep their type. It may be killed at any moment, and several processes may run
    it on one folder at once.

    Args:
        folder: made where it is not there.
        processes: how many processes of this machine share the work; on a machine with GPUs each takes the next one.
            They are started afresh, so a script needs `if __name__ == "__main__":`, and the model must be picklable.
        engine: where batches are done, such as `facelesion.engines.Ray()`, instead of `processes`.
        changes: keep as well by how much each lesion changed its sites; read it with `read_changes`.
        part_bytes: write a part when its outputs have grown to this size.
        model, lesions, images, seed, calibration, ids, progress, readout, options: as in `sweep`.

    Raises:
        SweepError: the folder belongs to another sweep, or the disk is full; what was written stays.

    Example:
        >>> import tempfile
        >>> from facelesion.lesions import Ablate
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> lesions, images = {"none": None, "unit 2": Ablate("1", units=[2])}, torch.rand(5, 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sweep_to_folder(folder, network, lesions, images, changes=True)
        ...     outputs, table, changes = read_sweep(folder), read_table(folder), read_changes(folder)
        >>> tuple(outputs["unit 2"].shape), len(table), list(changes["unit 2"])
        ((5, 2), 10, ['1'])
    """
    refuse_in_unguarded_main()
    request = Request(
        model, lesions, arguments.one_tensor(images), seed, calibration, ids, readout,
        arguments.options_of(options), changes,
    )  # fmt: skip
    at_least_one("processes", processes)
    at_least_one("part_bytes", part_bytes)
    if engine is not None and processes != 1:
        raise SweepError("processes and engine both say where to work: leave one of them out")
    folder = Path(folder)
    trial = tried(
        request.model, images[: request.options.batch_size], request.reader, rows=request.options.trace
    )
    told = identity(request, trial)
    digests = [
        fingerprint(image, int(number))
        for _, ids_here, batch in request.images()
        for image, number in zip(batch, ids_here, strict=True)
    ]
    claimed = functools.partial(
        claim, folder, told, healthy(trial), request.lesions, digests, lambda: _rounded(request)
    )
    claimed()
    task = fingerprint(told)
    cells = [
        Batch(number, fingerprint(task, number, batch, ids_here))
        for number, (_, ids_here, batch) in enumerate(request.images())
    ]
    if engine is None and processes == 1:
        sweep_here(request, cells, folder, part_bytes, progress, trial)
        return
    sweep_elsewhere(request, cells, folder, part_bytes, progress, engine or Processes(processes))
    # Another command may have written its own lesions there at the same time, on a file system without locks.
    claimed()


def _rounded(request: Request) -> dict[str, Any] | None:
    """What a lower precision costs, where one is asked for."""
    return measured(request).to_dict() if request.options.lower else None


def read_sweep(folder: str | Path) -> dict[str, torch.Tensor]:
    """What a folder holds so far: lesion to outputs (N, ...), rows in the images' order.

    Raises:
        SweepError: no sweep is there, or some lesion still lacks images.
    """
    folder = Path(folder)
    told = manifest_of(folder)
    names, count = told["lesions"], len(told["images"])
    found: dict[str, dict[int, torch.Tensor]] = {name: {} for name in names}
    for table, told_of in _tables(folder):
        names_here, places = (table.column(name).to_pylist() for name in ("lesion", "image"))
        outputs = columns.read(table.column("output").combine_chunks(), told_of)
        for lesion, image, output in zip(names_here, places, outputs, strict=True):
            # Two processes may have done the same batch; their numbers are the same, and one is kept.
            found.setdefault(lesion, {}).setdefault(image, output)
    short = [name for name in names if len(found[name]) < count]
    if short:
        raise SweepError(
            f"{folder}: the sweep is not finished, {short[0]!r} lacks images: run it again to go on"
        )
    return {name: torch.stack([rows[image] for image in sorted(rows)]) for name, rows in found.items()}


def read_rounding(folder: str | Path) -> Rounding | None:
    """How far a folder's answers lie from full precision's, as it was measured on a sample; None: they are in full.

    Raises:
        SweepError: no sweep is there, or what it says of its rounding cannot be read.

    Example:
        >>> import tempfile
        >>> from facelesion.lesions import Ablate
        >>> network, lesions = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), {"0": Ablate("1", units=[0])}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     half = Options(autocast=torch.bfloat16)
        ...     sweep_to_folder(folder, network.eval(), lesions, torch.rand(5, 4), options=half)
        ...     found = read_rounding(folder)
        >>> found.dtype, found.lesions, found.images
        ('torch.bfloat16', 1, 4)
    """
    told = manifest_of(Path(folder)).get("rounding")
    try:
        return None if told is None else Rounding(**told)
    except TypeError:
        raise SweepError(f"{Path(folder) / 'sweep.json'}: its 'rounding' cannot be read") from None


def read_changes(folder: str | Path) -> dict[str, dict[str, float]]:
    """By how much each lesion changed its sites, of a sweep that was run with `changes=True`.

    Returns:
        Lesion to site to ‖damaged − healthy‖ / ‖healthy‖ over all images, as `sweep(changes=)` gives it.

    Raises:
        SweepError: no sweep is there, or the changes of some images are missing.
    """
    folder = Path(folder)
    told = manifest_of(folder)
    found: dict[str, dict[tuple[int, int], Squares]] = {name: {} for name in told["lesions"]}
    for _, note in _parts(folder):
        for name, squares in (note.get("changes") or {}).items():
            sums = {site: torch.tensor(each, dtype=torch.float64) for site, each in squares.items()}
            found.setdefault(name, {}).setdefault(tuple(note["images"]), sums)
    try:
        return {name: relative_change(tiled(found[name], len(told["images"]))) for name in told["lesions"]}
    except SweepError as problem:
        raise SweepError(f"{folder}: {problem}") from None


def read_table(folder: str | Path) -> pandas.DataFrame:
    """The same as one table: a row per lesion and image, sorted; columns lesion, lesion_hash, image, id, output.

    Outputs are flat; half precision stands as float32, and complex numbers as real and imaginary part in turn.
    """
    import pandas
    import pyarrow

    tables = [table for table, _ in _tables(Path(folder))]
    if not tables:
        return pandas.DataFrame(columns=["lesion", "lesion_hash", "image", "id", "output"])
    frame = pyarrow.concat_tables(tables).replace_schema_metadata().to_pandas()
    order = {name: place for place, name in enumerate(manifest_of(Path(folder))["lesions"])}
    frame = frame.drop_duplicates(["lesion", "image"])
    frame = frame.sort_values(
        ["lesion", "image"], key=lambda column: column.map(order) if column.name == "lesion" else column
    )
    return frame.reset_index(drop=True)


def _parts(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every part with what it says of itself.

    Raises:
        SweepError: one is not whole.
    """
    for path in sorted((folder / PARTS).glob("*.parquet")):
        note = note_of(path) if whole(path) else None
        if note is None:
            raise SweepError(f"{path} is no part of a sweep, or not whole: run the sweep again, to do it anew")
        yield path, note


def _tables(folder: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    import pyarrow.parquet as parquet

    manifest_of(folder)
    for path, told in _parts(folder):
        yield parquet.read_table(path), told
