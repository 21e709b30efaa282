"""Which photographs there are, and of whom: a folder of people or a table, as one value."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from facelesion.data.images import SUFFIXES
from facelesion.errors import FacelesionError


@dataclass(frozen=True)
class Listing:
    """Photographs on disk and the people they show; nothing is opened.

    Attributes:
        root: the folder below which the photographs lie.
        names: each photograph's path below `root`, with forward slashes, unique.
        people: the person each photograph shows, in the same order.

    Raises:
        FacelesionError: not one person for each photograph, or a photograph that is listed twice.

    Example:
        >>> listing = Listing(Path("/pictures"), ("Ada/1.jpg", "Ada/2.jpg", "Bo/1.jpg"), ("Ada", "Ada", "Bo"))
        >>> len(listing), listing.by_person["Ada"], listing.of(["Bo"]).names
        (3, ('Ada/1.jpg', 'Ada/2.jpg'), ('Bo/1.jpg',))
    """

    root: Path
    names: tuple[str, ...]
    people: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.people):
            raise FacelesionError(f"{len(self.names)} photographs and {len(self.people)} people do not match")
        if len(set(self.names)) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise FacelesionError(f"{self.root}: {twice!r} is listed twice: list each photograph once")

    def __len__(self) -> int:
        return len(self.names)

    def path(self, name: str) -> Path:
        """Where a photograph lies."""
        return self.root / name

    @cached_property
    def by_person(self) -> dict[str, tuple[str, ...]]:
        """The photographs of each person, people and photographs in the listing's order."""
        found: dict[str, list[str]] = {}
        for name, person in zip(self.names, self.people, strict=True):
            found.setdefault(person, []).append(name)
        return {person: tuple(names) for person, names in found.items()}

    def of(self, people: Iterable[str]) -> Listing:
        """Only these people's photographs, in the listing's order; an unknown person is an error."""
        wanted = set(people)
        unknown = sorted(wanted - set(self.by_person))
        if unknown:
            raise FacelesionError(
                f"{self.root}: no photographs of {unknown[0]!r} ({len(unknown)} such people)"
            )
        rows = [i for i, person in enumerate(self.people) if person in wanted]
        return Listing(self.root, tuple(self.names[i] for i in rows), tuple(self.people[i] for i in rows))

    def at_least(self, photographs: int) -> Listing:
        """Only people with so many photographs or more; nobody left is an error."""
        kept = [person for person, names in self.by_person.items() if len(names) >= photographs]
        if not kept:
            raise FacelesionError(
                f"{self.root}: nobody has {photographs} photographs: add more per person, or ask for fewer"
            )
        return self.of(kept)


def list_folder(root: str | Path) -> Listing:
    """List a folder of people: `<root>/<person>/<photograph>`, sorted by name.

    Only names are looked at (`.jpg`, `.png`, ...): a folder called `x.jpg` or a text file so named is listed,
    and reading it fails with a reason. Hidden files, and folders below a person's, are not looked at.

    Raises:
        FacelesionError: no such folder, or no photographs in it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "Ada").mkdir()
        ...     (Path(folder) / "Ada" / "1.jpg").touch()
        ...     list_folder(folder).names
        ('Ada/1.jpg',)
    """
    root = Path(root)
    if not root.is_dir():
        raise FacelesionError(f"{root}: no such folder: check the path")
    names, people = [], []
    for person in _visible(root):
        if not person.is_dir():
            continue
        for photograph in _visible(person.path):
            if photograph.name.lower().endswith(SUFFIXES):
                names.append(f"{person.name}/{photograph.name}")
                people.append(person.name)
    if not names:
        loose = any(entry.name.lower().endswith(SUFFIXES) for entry in _visible(root))
        hint = "pictures lie in it directly: put each person's in a folder of their own" if loose else "empty"
        raise FacelesionError(f"{root}: no photographs in <person>/<photograph>.jpg ({hint})")
    return Listing(root, tuple(names), tuple(people))


def list_table(table: str | Path, root: str | Path | None = None) -> Listing:
    """List photographs named in a CSV or parquet table with the columns `path` and `person`.

    Args:
        table: the file; other columns are ignored.
        root: the folder that the paths start from; the table's own folder when left out. Paths that leave it
            are refused, so a table from elsewhere cannot name files that are none of its business.

    Raises:
        FacelesionError: no table or an empty one, a missing column or person, a path that leaves the folder or recurs.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "list.csv").write_text("path,person\\na/1.jpg,Ada\\na/2.jpg,Bo\\n")
        ...     list_table(f"{folder}/list.csv").people
        ('Ada', 'Bo')
    """
    import pandas as pd

    table = Path(table)
    if not table.is_file():
        raise FacelesionError(f"{table}: no such table: check the path")
    try:
        if table.suffix.lower() in (".parquet", ".pq"):
            rows = pd.read_parquet(table)
        else:
            rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    except Exception as error:  # pandas and pyarrow fail in many ways on what is no table
        reason = " ".join(str(error).split())
        raise FacelesionError(f"{table}: not a readable CSV or parquet table ({reason})") from None
    missing = [column for column in ("path", "person") if column not in rows]
    if missing:
        raise FacelesionError(
            f"{table}: no column {missing[0]!r} (it has {', '.join(map(str, rows.columns))}): name it so"
        )
    if rows.empty:
        raise FacelesionError(f"{table}: the table has no rows")
    folder = Path(root) if root is not None else table.parent
    names = tuple(_below(folder, str(path), table) for path in rows["path"])
    people = tuple(str(person) for person in rows["person"])
    blank = next((i for i, person in enumerate(people) if not person.strip()), None)
    if blank is not None:
        raise FacelesionError(f"{table}: row {blank + 1} names no person: fill it in or remove the row")
    return Listing(folder, names, people)


def _visible(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(
            (entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name
        )


def _below(root: Path, path: str, table: Path) -> str:
    """The path relative to the root, or an error when it leads out of it."""
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute():
        try:
            pure = PurePosixPath(Path(path).relative_to(root.absolute()).as_posix())
        except ValueError:
            pure = PurePosixPath("..")
    if ".." in pure.parts or not pure.parts or "\0" in path:
        raise FacelesionError(f"{table}: {path!r} lies outside {root}: name the folder it starts from (root)")
    return str(pure)
