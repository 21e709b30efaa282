"""`notebook.html`: the notebook's parts in their order, ours beside what it printed, from the folders of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from facelesion.arguments import read_arguments
from facelesion.errors import Error
from facelesion.files import write_bytes
from facelesion.outputs import writable_folder
from facelesion.ranges import PathText, Size
from facelesion.report.html import numbered, template, write_figures
from facelesion.settings import build
from facelesion.training.files import read_table, write_table
from facelesion.training.notebook_page import looks
from facelesion.training.notebook_page.contents import Section, in_short, sections
from facelesion.training.notebook_page.tables import Results
from facelesion.training.notebook_page.words import FAULTS
from facelesion.yaml_files import parse_yaml

if TYPE_CHECKING:
    import pandas as pd

    from facelesion.training.notebook import NotebookConfig

PAGE, FOLDER = "notebook.html", "notebook"


@dataclass(frozen=True, eq=False)
class NotebookRun:
    """A finished run of the recipe `notebook`.

    Attributes:
        folder: where it lies.
        settings: as it noted them.
        table: `notebook.csv`.
    """

    folder: Path
    settings: Mapping[str, Any]
    table: pd.DataFrame

    @property
    def mistakes(self) -> bool:
        """Whether the notebook's mistakes were made."""
        return bool(self.settings["mistakes"])

    @property
    def config(self) -> NotebookConfig:
        """Its settings; as far as they change results."""
        from facelesion.training.notebook import NotebookConfig

        known = {key: value for key, value in self.settings.items() if key != "started_from"}
        return build(NotebookConfig, parse_yaml(json.dumps(known), str(self.folder / "settings.json")))


def notebook_command(argv: Sequence[str]) -> None:
    """`facelesion notebook RUN ...`."""

    def notebook(runs: Annotated[Sequence[PathText], Size(1, 3, twice=False)], again: bool = False) -> None:
        """Write a run of the recipe notebook as a page, notebook.html: its parts in order, beside what it printed.

        Args:
            runs: the run's folder, such as runs/notebook-right; after it, where there are such runs, that of
                as_it_was.yaml, for its training curves, and that of manipulation.yaml, for its controls.
            again: look into the network again (stimuli, maps, units), which needs the run's network and pictures.

        Example:
            $ facelesion notebook runs/notebook-right runs/notebook-as-it-was
        """
        print(write_notebook(runs, again))

    notebook(**read_arguments(notebook, argv, "facelesion notebook"))


def write_notebook(runs: Sequence[str | Path], again: bool = False) -> Path:
    """Write `notebook.html` into the first of the runs' folders, its tables and figures into `notebook/` beside it.

    Args:
        runs: folders of the recipe `notebook`, one without mistakes or one with them or both, and of `manipulation`.
        again: make the looks into the network anew.

    Returns:
        The page.

    Raises:
        Error: a folder that holds no finished run of these recipes, or two of a kind; a network or photographs that are
            no longer there, where they have to be looked into.
    """
    own: dict[str, NotebookRun] = {}
    manipulation: Path | None = None
    for each in runs:
        found = _read(Path(each))
        if isinstance(found, Path):
            if manipulation is not None:
                raise Error(f"{each}: a second run of the recipe manipulation: give one")
            manipulation = found
            continue
        kind = "with" if found.mistakes else "without"
        if kind in own:
            raise Error(f"{each}: a second run {kind} the notebook's mistakes: give one of each kind")
        own[kind] = found
    if not own:
        raise Error(f"{runs[0]}: give a run of the recipe notebook first, such as runs/notebook-right")
    main = own.get("without") or own["with"]
    target = writable_folder(Path(runs[0]) if _is_one_of(Path(runs[0]), own) else main.folder, "runs")
    place = _looked_into(main, again)
    return _write(main, own.get("with"), manipulation, place, target)


def page_of(folder: Path) -> Path:
    """The page of a run that was just finished and looked into."""
    found = _read(folder)
    assert isinstance(found, NotebookRun)
    return _write(found, found if found.mistakes else None, None, folder / looks.FOLDER, folder)


def _is_one_of(folder: Path, own: Mapping[str, NotebookRun]) -> bool:
    return any(folder == run.folder for run in own.values())


def _read(folder: Path) -> NotebookRun | Path:
    """A run of the recipe notebook, or the folder of one of manipulation."""
    if not folder.is_dir():
        raise Error(f"{folder}: no such folder: give a run's, such as runs/notebook-right")
    if (folder / "layers.csv").is_file() and (folder / "manipulation.csv").is_file():
        return folder
    note, table = folder / "settings.json", folder / "notebook.csv"
    if not note.is_file():
        raise Error(f"{folder}: no run of the recipe notebook: it has no settings.json")
    try:
        settings = json.loads(note.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Error(f"{note}: not whole ({error}): run the recipe again") from None
    recipe = settings.get("recipe") if isinstance(settings, dict) else None
    if recipe != "notebook":
        what = f"a run of the recipe {recipe}" if recipe else "no recipe's run"
        raise Error(f"{folder}: {what}: give one of the recipe notebook")
    if not table.is_file():
        raise Error(f"{folder}: the run is not finished (no notebook.csv): start the same command again")
    return NotebookRun(folder, settings, read_table(table))


def _looked_into(run: NotebookRun, again: bool) -> Path:
    if (run.folder / looks.FOLDER / looks.NOTE).is_file() and not again:
        return run.folder / looks.FOLDER
    from facelesion.training.classify import trainable
    from facelesion.training.notebook import roles_of

    config = run.config
    subject = trainable(config.network, config.seed)
    if subject.weights != run.settings["started_from"]:
        raise Error(
            f"{run.folder}: the run began with weights {run.settings['started_from']}, and {config.network} now has "
            f"{subject.weights}: put the old ones back, or run the recipe again"
        )
    roles = {} if config.mistakes else roles_of(config, subject)
    return looks.look(config, subject, roles, run.folder, again)


def _write(
    main: NotebookRun, mistakes: NotebookRun | None, manipulation: Path | None, place: Path, target: Path
) -> Path:
    import pandas

    tables = {path.stem: read_table(path) for path in sorted(place.glob("*.csv"))}
    without = None if main.mistakes else main
    results = Results(
        repeated=tables["as_it_was"] if mistakes is None else mistakes.table,
        right=None if without is None else without.table,
        summary=None if without is None else read_table(without.folder / "summary.csv"),
        answers=None if without is None else pandas.read_parquet(without.folder / "answers.parquet"),
        looks=tables,
        moved=None if manipulation is None else read_table(manipulation / "layers.csv"),
    )
    note = json.loads((place / looks.NOTE).read_text(encoding="utf-8"))
    folders = {
        "own": main.folder, **({"mistakes": mistakes.folder} if mistakes is not None and mistakes is not main else {}),
        **({} if manipulation is None else {"manipulation": manipulation}),
    }  # fmt: skip
    parts = sections(results, main.settings, note, place, folders)
    (shown,) = numbered([[picture for part in parts for picture in part.pictures]], many=True)
    made = [table for part in parts for table in part.tables]
    page = template("notebook.html.j2", Path(__file__).parent).render(**_context(main, results, note, parts))
    for table in made:
        write_table(target / FOLDER / f"{table.name}.csv", table.data)
    write_figures(target / FOLDER / "figures", shown)
    return write_bytes(target / PAGE, page.encode())


def _context(
    run: NotebookRun, results: Results, note: Mapping[str, Any], parts: Sequence[Section]
) -> dict[str, Any]:
    import facelesion

    settings = run.settings
    own = run.table
    return {
        "mistakes": run.mistakes,
        "settings": settings,
        "parts": parts,
        "short": in_short(results),
        "faults": FAULTS,
        "weights": settings["started_from"],
        "data": ", ".join(dict.fromkeys(map(str, own["data"]))),
        "people": int(own["people"].max()),
        "source": "Labeled Faces in the Wild" if settings["data"]["source"] == "lfw" else "the built-in face space",
        "tests": len(own),
        "faces": note["faces"],
        "config": json.dumps(settings, indent=1, ensure_ascii=False),
        "folder": run.folder,
        "cite": f"facelesion {facelesion.__version__}",
    }
