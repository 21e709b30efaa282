"""Which photographs there are, and of whom: a folder of people or a table, as one value."""

from __future__ import annotations

import os
import reprlib
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from facelesion.data.file_kinds import TOOLS_FOLDERS, is_picture, plainly_no_picture, why_unread
from facelesion.errors import Error, one_line
from facelesion.files import LeftOut

_DEEPER = "lies deeper than <person>/<photograph>: move it into the person's folder"
_LOOSE = "lies in no person's folder: put each person's pictures in a folder of their own"


@dataclass(frozen=True)
class Listing:
    """Photographs on disk and the people they show; nothing is opened.

    Attributes:
        root: the folder below which the photographs lie.
        names: each photograph's path below `root`, with forward slashes, unique.
        people: the person each photograph shows, in the same order; their names in one form of Unicode.
        left_out: files below the root that are not taken, and why.

    Raises:
        Error: not one person for each photograph, or a photograph that is listed twice.

    Example:
        >>> listing = Listing(Path("/pictures"), ("Ada/1.jpg", "Ada/2.jpg", "Bo/1.jpg"), ("Ada", "Ada", "Bo"))
        >>> len(listing), listing.by_person["Ada"], listing.of(["Bo"]).names
        (3, ('Ada/1.jpg', 'Ada/2.jpg'), ('Bo/1.jpg',))
    """

    root: Path
    names: tuple[str, ...]
    people: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.people):
            raise Error(f"{len(self.names)} photographs and {len(self.people)} people do not match")
        object.__setattr__(self, "people", tuple(one_form(person) for person in self.people))
        if len(set(self.names)) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise Error(f"{self.root}: {twice!r} is listed twice: list each photograph once")

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
        wanted = {one_form(person) for person in people}
        unknown = sorted(wanted - set(self.by_person))
        if unknown:
            raise Error(f"{self.root}: no photographs of {unknown[0]!r} ({len(unknown)} such people)")
        rows = [i for i, person in enumerate(self.people) if person in wanted]
        left = tuple(each for each in self.left_out if one_form(each[0].partition("/")[0]) in wanted)
        return Listing(
            self.root, tuple(self.names[i] for i in rows), tuple(self.people[i] for i in rows), left
        )


def list_folder(root: str | Path) -> Listing:
    """List a folder of people: `<root>/<person>/<photograph>`, sorted by name.

    Every file below the root is either listed, or among `left_out` with a reason (pictures of a kind that is not read,
    hidden ones, ones that lie deeper or in no person's folder, files of an unknown kind), or plainly no picture (text,
    tables, what file managers leave behind). Names decide; a folder called `x.jpg` or a text file so named is listed,
    and reading it fails with a reason. Links to folders are followed for a person's folder alone.

    Raises:
        Error: no such folder, or no photographs in it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "Ada").mkdir()
        ...     (Path(folder) / "Ada" / "1.jpg").touch()
        ...     (Path(folder) / "Ada" / "2.heic").touch()
        ...     listing = list_folder(folder)
        >>> listing.names, [left.name for left in listing.left_out]
        (('Ada/1.jpg',), ['Ada/2.heic'])
        >>> listing.left_out[0].reason
        'a picture of a kind that is not read (.heic): save it as JPEG or PNG'
    """
    root = Path(root)
    if not os.path.isdir(root):
        raise Error(f"{root}: no such folder: check the path")
    found = _Found()
    for entry in _entries(root, found, ""):
        if _is_folder(entry):
            _look_at_person(entry, found, os.path.realpath(root))
        else:
            found.leave_out(entry.path, entry.name, _LOOSE)
    if not found.names:
        reasons = [reason for _, reason in found.left_out]
        hint = f"{len(reasons)} files left out, the first: {reasons[0]}" if reasons else "empty"
        raise Error(f"{root}: no photographs in <person>/<photograph>.jpg ({hint})")
    return Listing(root, tuple(found.names), tuple(found.people), tuple(sorted(found.left_out)))


def list_table(table: str | Path, root: str | Path | None = None) -> Listing:
    """List photographs named in a CSV or parquet table with the columns `path` and `person`.

    Args:
        table: the file; other columns are ignored.
        root: the folder that the paths start from; the table's own folder when left out. Paths that leave it
            are refused, so a table from elsewhere cannot name files that are none of its business.

    Raises:
        Error: no table or an empty one, a missing column or person, a path that leaves the folder or recurs.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "list.csv").write_text("path,person\\na/1.jpg,Ada\\na/2.jpg,Bo\\n")
        ...     list_table(f"{folder}/list.csv").people
        ('Ada', 'Bo')
    """
    import pandas as pd

    table = Path(table)
    if not os.path.isfile(table):
        raise Error(f"{table}: no such table: check the path")
    try:
        if table.suffix.lower() in (".parquet", ".pq"):
            rows = pd.read_parquet(table)
        else:
            with warnings.catch_warnings():
                # A row with a comma too many would else be read one column farther on.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                # A mark at the beginning, as spreadsheets write it, belongs to no column's name.
                rows = pd.read_csv(
                    table, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True,
                    index_col=False,
                )  # fmt: skip
    except Exception as error:  # pandas and pyarrow fail in many ways on what is no table
        reason = one_line(error)
        raise Error(f"{table}: not a readable CSV or parquet table ({reason})") from None
    rows = rows.rename(columns=lambda name: str(name).strip())
    missing = [column for column in ("path", "person") if list(rows.columns).count(column) != 1]
    if missing:
        raise Error(
            f"{table}: no column {missing[0]!r}, or two of it (it has {', '.join(rows.columns)}): name one so"
        )
    if rows.empty:
        raise Error(f"{table}: the table has no rows")
    folder = Path(root) if root is not None else table.parent
    paths = [_text(value, table, row, "path") for row, value in enumerate(rows["path"].tolist(), 1)]
    people = [_text(value, table, row, "person") for row, value in enumerate(rows["person"].tolist(), 1)]
    names = tuple(_as_on_disk(folder, _below(folder, path, table)) for path in paths)
    return Listing(folder, names, tuple(person.strip() for person in people))


def people_folder(root: Path) -> Path:
    """The folder itself, or the one in it that holds the folders of people: archives often bring one around them.

    What file managers and archivers leave beside it does not count.
    """
    for _ in range(2):
        inside = [entry for entry in _entries(root, _Found(), "") if _is_folder(entry)]
        inside = [entry for entry in inside if not entry.name.startswith(".")]
        if len(inside) != 1:
            break
        below = _entries(Path(inside[0].path), _Found(), "")
        if not any(_is_folder(entry) for entry in below) or any(
            not _is_folder(entry) and is_picture(entry.name) for entry in below
        ):
            break
        root = Path(inside[0].path)
    return root


def one_form(name: str) -> str:
    """A name in the one form of Unicode that names are compared in: a Mac writes é as two characters, others as one.

    Example:
        >>> one_form("Zoe\u0308") == "Zo\u00eb"
        True
    """
    return unicodedata.normalize("NFC", name)


@dataclass
class _Found:
    """What a walk through a folder has found so far."""

    names: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def leave_out(self, path: str, name: str, reason: str) -> None:
        """Note a file that is not taken, unless it is plainly no picture."""
        if not plainly_no_picture(path):
            self.left_out.append(LeftOut(name, why_unread(name) or reason))


def _look_at_person(folder: os.DirEntry[str], found: _Found, root: str) -> None:
    """Take a person's photographs, and note everything else that is there."""
    name = folder.name
    if name.startswith("."):
        return _note_below(folder.path, name, found, "in a hidden folder: rename that")
    if folder.is_symlink() and Path(root).is_relative_to(os.path.realpath(folder.path)):
        return found.left_out.append(LeftOut(name, "a link to a folder that holds it: remove it"))
    for entry in _entries(Path(folder.path), found, name):
        inside = f"{name}/{entry.name}"
        if not entry.name.startswith(".") and is_picture(entry.name):
            found.names.append(inside)
            found.people.append(one_form(name))
        if _is_folder(entry):
            _note_below(entry.path, inside, found, _DEEPER, entry.is_symlink())
        elif inside not in found.names[-1:]:
            found.leave_out(entry.path, inside, "")


def _note_below(path: str, name: str, found: _Found, reason: str, is_link: bool = False) -> None:
    """Note every file in a folder whose pictures are not taken, and in the folders below it."""
    if is_link:
        return found.left_out.append(LeftOut(name, "a link to a folder, which is not followed"))
    waiting = [(path, name)]
    while waiting:
        here, called = waiting.pop()
        for entry in _entries(Path(here), found, called):
            inside = f"{called}/{entry.name}"
            if not _is_folder(entry):
                found.leave_out(entry.path, inside, reason)
            elif entry.is_symlink():
                found.left_out.append(LeftOut(inside, "a link to a folder, which is not followed"))
            else:
                waiting.append((entry.path, inside))


def _entries(folder: Path, found: _Found, name: str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without the folders of tools; one that cannot be read is noted."""
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if not name:
            raise Error(f"{folder}: cannot be read ({error.strerror}): ask for access") from None
        found.left_out.append(LeftOut(name, f"a folder that cannot be read ({error.strerror}): ask for access"))
        return []
    return [entry for entry in inside if entry.name.lower() not in TOOLS_FOLDERS or not _is_folder(entry)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _text(value: object, table: Path, row: int, column: str) -> str:
    """A cell that must hold text or a whole number, as text."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and value.strip():
        return value
    if value == "" and column == "path":
        return ""  # which lies outside the folder, and is refused as such
    said = f"names no {column}" if _is_missing(value) else f"has {reprlib.repr(value)} for its {column}"
    raise Error(f"{table}: row {row} {said}: fill it in as text or remove the row")


def _is_missing(value: object) -> bool:
    import pandas as pd

    return (
        (isinstance(value, str) and not value.strip()) or value is None or value is pd.NA or value != value
    )  # nan


def _as_on_disk(folder: Path, name: str) -> str:
    """The name in the form of Unicode in which the file lies there; as it was where there is none such."""
    if name.isascii() or os.path.lexists(folder / name):
        return name
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return next((form for form in forms if os.path.lexists(folder / form)), name)


def _below(root: Path, path: str, table: Path) -> str:
    """The path relative to the root, or an error when it leads out of it."""
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute() or Path(path).anchor:  # with a drive's letter, where there are drives
        try:
            pure = PurePosixPath(Path(path).relative_to(root.absolute()).as_posix())
        except ValueError:
            pure = PurePosixPath("..")
    if ".." in pure.parts or not pure.parts or "\0" in path:
        raise Error(f"{table}: {path!r} lies outside {root}: name the folder it starts from (root)")
    return str(pure)
