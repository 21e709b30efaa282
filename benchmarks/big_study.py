"""What a big study keeps on disk and needs of memory: 5 participants × 100 lesions × 13 stimuli × 6 tasks.

    python benchmarks/big_study.py [--folder FOLDER] [--participants 5] [--draws 5] [--report]

The pictures, tasks, trials, cells, tables, export and report are a study's own; only the damage is made up: what a
network answers is the healthy representation, with noise that grows with the step. Each stage runs in a process of its
own, so that its peak of memory (resident set) is its own; what is imported before anything is done is told
first.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

STIMULI = ("intact", *(f"{kind} {region}" for kind in ("mask", "blur", "isolate")
           for region in ("eyebrows", "eyes", "nose", "mouth")))  # fmt: skip
TASKS = ("detection", "identification", "verification", "objects", "exemplars", "memory")


def study_of(given: argparse.Namespace) -> Any:
    """The design: five kinds of damage in four doses, so that 5 draws make 100 lesions."""
    from facelesion.data import FaceSpacePictures
    from facelesion.study import Study

    site = "conv5_*"
    return Study(
        name="big",
        participants=[{"network": "untrained", "name": f"network {i}", "seed": i} for i in range(given.participants)],
        pictures=FaceSpacePictures(new_people=12, object_pictures=2, other_pictures=8),
        lesions={
            "ablation": [{"kind": "Ablate", "site": site, "fraction": [0.05, 0.1, 0.2, 0.4]}],
            "noise": [{"kind": "Noise", "site": site, "std": [0.25, 0.5, 1, 2], "relative": True}],
            "dropout": [{"kind": "Dropout", "site": site, "p": [0.1, 0.2, 0.4, 0.6]}],
            "synapses": [{"kind": "Prune", "site": site, "fraction": [0.05, 0.1, 0.2, 0.4]}],
            "channels": [{"kind": "Dropout", "site": site, "p": [0.1, 0.2, 0.4, 0.6], "per": "channel"}],
        },
        draws=given.draws,
        stimuli=STIMULI,
        tasks=TASKS,
        output=given.folder,
        device="cpu",
    )


def cells(given: argparse.Namespace) -> str:
    """Every cell: answers, trials and measures, written part by part."""
    import torch

    from facelesion.engines import Parts
    from facelesion.study import run
    from facelesion.study.cells import answered

    study = study_of(given)
    gathered = run.gather(study)
    folder = Path(study.output) / study.name
    run.claim(folder, gathered.key, overwrite=True)
    parts = Parts(folder / "parts")
    for participant in study.people:
        bench = gathered.bench(participant.name, torch.device("cpu"))
        with torch.inference_mode():
            healthy = torch.cat([
                bench.subject.module(bench.subject.preprocess(pictures)).float()
                for pictures in bench.pool.under(study.stimuli[0], 64, bench.device)
            ])  # fmt: skip
        object.__setattr__(bench, "represent", _made_up(healthy))
        for cell in gathered.cells():
            if cell.participant == participant.name:
                parts.keep(cell.part, answered(study, bench, cell))
    sizes = [path.stat().st_size for path in (folder / "parts").glob("*.cell")]
    return f"{len(sizes)} cells, {sum(sizes) / 1e6:.0f} MB; representation {tuple(healthy.shape)} per lesion"


def _made_up(healthy: torch.Tensor) -> Callable[..., Any]:
    import torch

    generator = torch.Generator().manual_seed(0)

    def represent(stimulus: object, planned: Any, progress: bool) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
        found = {}
        for number, each in enumerate(planned):
            noise = torch.randn(healthy.shape, generator=generator) * healthy.std()
            found[str(number)] = healthy + 0.5 * each.step * noise
        return found, {str(number): {"conv5_3": 0.1 * each.step} for number, each in enumerate(planned)}

    return represent


def tables(given: argparse.Namespace) -> str:
    """Both tables from the parts."""
    from facelesion import report
    from facelesion.study import run, table

    study = study_of(given)
    gathered = run.gather(study)
    folder = Path(study.output) / study.name
    table.gather_trials(run.parts_of(gathered, folder / "parts"), folder / "trials.parquet")
    rows = table.gather_rows(run.parts_of(gathered, folder / "parts"))
    report.write_table(folder, rows)
    report.write_config(folder, study.to_dict())
    report.write_manifest(folder, report.Manifest(study=study.name, hashes={"study": gathered.key}))
    import pyarrow.parquet as parquet

    count = parquet.ParquetFile(folder / "trials.parquet").metadata.num_rows
    size = (folder / "trials.parquet").stat().st_size
    return (
        f"trials.parquet {size / 1e6:.0f} MB for {count:,} trials ({8 * size / count:.1f} bits each), "
        f"table.parquet {(folder / 'table.parquet').stat().st_size / 1e6:.1f} MB for {len(rows):,} rows"
    )


def export(given: argparse.Namespace) -> str:
    """`facelesion export`."""
    from facelesion.report import export_run

    target = Path(given.folder) / "csv"
    shutil.rmtree(target, ignore_errors=True)
    export_run(Path(given.folder) / "big", target)
    size = sum(path.stat().st_size for path in target.iterdir())
    shutil.rmtree(target)
    return f"{size / 1e6:.0f} MB of CSV"


def page(given: argparse.Namespace) -> str:
    """The report."""
    from facelesion.report import write_report

    path = write_report(Path(given.folder) / "big")
    return f"{path.stat().st_size / 1e6:.1f} MB"


def damage(given: argparse.Namespace) -> str:
    """One cell of the built-in network in earnest: pictures, lesions, answers."""
    import torch

    from facelesion.study import run
    from facelesion.study.cells import answered

    study = dataclasses.replace(study_of(given), participants=["builtin"], name="earnest")
    gathered = run.gather(study)
    bench = gathered.bench("builtin", torch.device("cpu"))
    before = _peak()
    answered(study, bench, gathered.cells()[0])
    lesions = len(study.planned("builtin"))
    return f"{lesions} lesions × {len(bench.pool)} pictures; {before:.0f} MB before the first cell"


def nothing(given: argparse.Namespace) -> str:
    """What is imported, and no more."""
    import pandas  # noqa: F401
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401

    import facelesion.report.html
    import facelesion.study  # noqa: F401

    return "imports alone"


def _peak() -> float:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _stage(work: Callable[[argparse.Namespace], str], given: argparse.Namespace, told: Any) -> None:
    started = time.monotonic()
    said = work(given)
    told.put(f"{work.__name__:<10}{_peak():>8.0f} MB {time.monotonic() - started:>7.0f} s   {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="/tmp/facelesion-big")
    parser.add_argument("--participants", type=int, default=5)
    parser.add_argument("--draws", type=int, default=5, help="20 lesions each")
    parser.add_argument("--report", action="store_true", help="the report as well: some minutes")
    parser.add_argument("--stages", default="", help="only these, by commas; the earlier ones must have run")
    given = parser.parse_args()
    stages = [nothing, damage, cells, tables, export, *([page] if given.report else [])]
    if given.stages:
        named = given.stages.split(",")
        stages = [stage for stage in (nothing, damage, cells, tables, export, page) if stage.__name__ in named]
    context = multiprocessing.get_context("spawn")
    print(f"{'stage':<10}{'peak':>11}{'time':>9}")
    for stage in stages:
        told = context.Queue()
        process = context.Process(target=_stage, args=(stage, given, told))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{stage.__name__} ended with status {process.exitcode}")
        print(told.get(), flush=True)


if __name__ == "__main__":
    main()
