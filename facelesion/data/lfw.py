"""Labeled Faces in the Wild (Huang et al. 2007): its photographs and its protocols.

LFW is a folder of people, `<root>/<name>/<name>_0001.jpg`, with text files that say who trains, who tests and
which pairs are asked about. View 1 (`peopleDevTrain` ... `pairsDevTest`) is for building a model, View 2
(`people`, `pairs`, ten folds) for reporting. It can lie anywhere; `open_lfw` takes the folder or its archive.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facelesion.data.archives import is_archive, unpack
from facelesion.data.listing import Listing, list_folder, one_form, people_folder
from facelesion.data.pairs import NamedPair
from facelesion.errors import Error
from facelesion.files import cache_folder, file_hash
from facelesion.weights.fetching import fetch

Part = Literal["train", "test"]

PROTOCOL_FILES = (
    "peopleDevTrain.txt",
    "peopleDevTest.txt",
    "pairsDevTrain.txt",
    "pairsDevTest.txt",
    "people.txt",
    "pairs.txt",
)

_HOME = "http://vis-www.cs.umass.edu/lfw"
_MIRROR = "https://ndownloader.figshare.com/files"
# Archive and protocol files: where they can be had, and what they must be.
ARCHIVES = {
    "funneled": (
        "lfw-funneled.tgz",
        f"{_MIRROR}/5976015",
        "sha256:b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
    ),
    "original": (
        "lfw.tgz",
        f"{_MIRROR}/5976018",
        "sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
    ),
    "deepfunneled": (
        "lfw-deepfunneled.tgz",
        f"{_HOME}/lfw-deepfunneled.tgz",
        "md5:68331da3eb755a505a502b5aacb3c201",
    ),
}
_PROTOCOLS = {
    "pairsDevTrain.txt": (
        f"{_MIRROR}/5976012",
        "sha256:1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa",
    ),
    "pairsDevTest.txt": (
        f"{_MIRROR}/5976009",
        "sha256:7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c",
    ),
    "pairs.txt": (
        f"{_MIRROR}/5976006",
        "sha256:ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592",
    ),
    "peopleDevTrain.txt": (
        f"{_HOME}/peopleDevTrain.txt",
        "sha256:2e58df13ba4cc143189336e001cc2c195f1dfa5b29a6475c02857be353c2a2fa",
    ),
    "peopleDevTest.txt": (
        f"{_HOME}/peopleDevTest.txt",
        "sha256:c3ed1f90499473401542101a56c14c1d82396bb8218c67a356d7460601047555",
    ),
    "people.txt": (
        f"{_HOME}/people.txt",
        "sha256:bc8fa2b7f25c895cf7efb6de4f4fc27ca8b8d1cfa63350ad8b96eae2b198d365",
    ),
}


@dataclass(frozen=True)
class LFW:
    """LFW on disk.

    Attributes:
        photographs: all of them, with the people.
        protocols: the folder of the protocol files, or None when they were not found.

    Raises:
        Error: what is asked for is in a protocol file that is missing or none.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in (1, 2):
        ...         path = Path(folder) / "lfw" / "Ada_Lovelace" / f"Ada_Lovelace_000{number}.jpg"
        ...         path.parent.mkdir(parents=True, exist_ok=True)
        ...         Image.new("RGB", (8, 8)).save(path)
        ...     _ = (Path(folder) / "peopleDevTrain.txt").write_text("1\\nAda_Lovelace\\t2\\n")
        ...     open_lfw(folder).people("train")
        ('Ada_Lovelace',)
    """

    photographs: Listing
    protocols: Path | None

    @property
    def root(self) -> Path:
        """The folder of the people's folders."""
        return self.photographs.root

    def people(self, part: Part) -> tuple[str, ...]:
        """View 1: who is for training (4,038 people) or for testing (1,711); nobody is in both."""
        return tuple(read_people(self._protocol(f"peopleDev{part.capitalize()}.txt"))[0])

    def part(self, part: Part) -> Listing:
        """View 1: the photographs of the training or the test people who are on disk."""
        here = self.photographs.by_person
        return self.photographs.of(person for person in self.people(part) if person in here)

    def pairs(self, part: Part) -> tuple[NamedPair, ...]:
        """View 1: 2,200 training or 1,000 test pairs, half of them the same person. One fold."""
        return read_pairs(self._protocol(f"pairsDev{part.capitalize()}.txt"))

    def people_folds(self) -> tuple[tuple[str, ...], ...]:
        """View 2: the people of each of the ten folds."""
        return read_people(self._protocol("people.txt"))

    def pair_folds(self) -> tuple[NamedPair, ...]:
        """View 2: 6,000 pairs; `fold` is 0 to 9. Report the mean and standard error over the ten folds."""
        return read_pairs(self._protocol("pairs.txt"))

    def _protocol(self, name: str) -> Path:
        if self.protocols is None or not (self.protocols / name).is_file():
            where = self.protocols or self.root
            raise Error(f"{where / name}: LFW's protocol file is missing: put it there, or name its folder")
        return self.protocols / name


def open_lfw(root: str | Path, protocols: str | Path | None = None) -> LFW:
    """Open LFW wherever it is.

    Args:
        root: the folder of people; a folder that holds that folder; or the archive (`lfw-deepfunneled.tgz`),
            which is unpacked once into the cache folder ($FACELESION_CACHE, else the user's).
        protocols: the folder of the text files; left out, they are looked for in `root`, beside it and beside
            the archive.

    Raises:
        Error: no such folder, no photographs in it, or an archive that is damaged or unsafe.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     person = Path(folder) / "lfw" / "Ada_Lovelace"
        ...     person.mkdir(parents=True)
        ...     (person / "Ada_Lovelace_0001.jpg").touch()
        ...     open_lfw(folder).photographs.people
        ('Ada_Lovelace',)
    """
    root = Path(root)
    if not os.path.exists(root):
        raise Error(f"{root}: no such folder or archive: check the path to LFW")
    places = [root, root.parent]
    if os.path.isfile(root):
        if not is_archive(root):
            raise Error(f"{root}: neither a folder nor a tar or zip archive: give LFW's folder of people")
        root = unpack(root, cache_folder() / f"lfw-{file_hash(root)[:12]}")
        places.append(root)
    root = people_folder(root)
    places += [root, root.parent]
    if protocols is not None:
        places = [Path(protocols)]
        if not os.path.isdir(places[0]):
            raise Error(f"{protocols}: no such folder of LFW's protocol files: check the path")
    folder = next(
        (place for place in places if any((place / name).is_file() for name in PROTOCOL_FILES)), None
    )
    if protocols is not None and folder is None:
        raise Error(f"{protocols}: none of LFW's protocol files ({', '.join(PROTOCOL_FILES)}) is there")
    return LFW(list_folder(root), folder)


def download_lfw(
    variant: Literal["funneled", "original", "deepfunneled"] = "funneled", folder: str | Path | None = None
) -> LFW:
    """Download LFW and its protocols from public mirrors, check their hashes, unpack, open.

    What is there already is not fetched again. A protocol file that cannot be had is left out, and asking for
    it says so.

    Args:
        variant: which alignment of the photographs; the prepared crops are aligned by landmarks anyway.
        folder: where to; the cache folder when left out.

    Raises:
        Error: no network, the mirror is gone, or what came is not what it should be.

    Example:
        >>> download_lfw("deep")
        Traceback (most recent call last):
        facelesion.errors.Error: LFW has no variant 'deep': take one of funneled, original, deepfunneled
    """
    if variant not in ARCHIVES:
        raise Error(f"LFW has no variant {variant!r}: take one of {', '.join(ARCHIVES)}")
    folder = Path(folder) if folder is not None else cache_folder() / "lfw"
    name, address, known = ARCHIVES[variant]
    archive = fetch(address, folder / name, checksum=known, advice=f"give the path of a {name} you have")
    for protocol, (where, hashed) in _PROTOCOLS.items():
        with contextlib.suppress(Error):
            fetch(where, folder / protocol, checksum=hashed)
    return open_lfw(unpack(archive, folder / Path(name).stem), folder)


def read_people(path: str | Path) -> tuple[tuple[str, ...], ...]:
    """Read a `people` file: the people of each set, one tuple per set (View 1's files have one).

    Raises:
        Error: a file that is missing, cut short, names nobody or is none of these.
    """
    path = Path(path)
    lines = list(_lines(path))
    sets: list[tuple[str, ...]] = []
    # View 2's file opens with the number of sets; every set opens with its length.
    position = 1 if len(lines) > 1 and len(lines[0]) == len(lines[1]) == 1 else 0
    try:
        while position < len(lines):
            (length,) = lines[position]
            block = lines[position + 1 : position + 1 + int(length)]
            if len(block) != int(length) or any(len(row) != 2 for row in block):
                raise ValueError
            sets.append(tuple(row[0] for row in block))
            position += 1 + int(length)
    except ValueError:
        raise Error(f"{path}: not one of LFW's people files near line {position + 1}: get it again") from None
    if not all(sets) or not sets:
        raise Error(f"{path}: the file names nobody: get it again")
    return tuple(sets)


def read_pairs(path: str | Path) -> tuple[NamedPair, ...]:
    """Read a `pairs` file: per fold, the pairs of the same person, then as many of two people.

    Raises:
        Error: a file that is missing, cut short or none of these.
    """
    path = Path(path)
    lines = list(_lines(path))
    try:
        head = [int(value) for value in lines[0]]
        folds, half = head if len(head) == 2 else (1, *head)
        if min(folds, half) < 1:
            raise ValueError
    except (ValueError, IndexError):
        raise Error(
            f"{path}: not one of LFW's pairs files (it opens with no number of pairs): get it again"
        ) from None
    pairs = []
    for number, row in enumerate(lines[1:]):
        same = number % (2 * half) < half
        try:
            if len(row) != (3 if same else 4):
                raise ValueError
            first, second = (
                ((row[0], row[1]), (row[0], row[2])) if same else ((row[0], row[1]), (row[2], row[3]))
            )
            pairs.append(NamedPair(_name(*first), _name(*second), same, number // (2 * half)))
        except ValueError:
            asked = "a person and two numbers" if same else "two people, a number behind each"
            raise Error(
                f"{path}: pair {number + 1} is {' '.join(row)!r}, not {asked}: get it again"
            ) from None
    if len(pairs) != 2 * folds * half:
        raise Error(
            f"{path}: {len(pairs)} pairs, where its first line promises {2 * folds * half}: get it again"
        )
    return tuple(pairs)


def _name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}.jpg"


def _lines(path: Path) -> Iterator[Sequence[str]]:
    """The lines that say something, as their fields; marks of encoding and blanks at the ends say nothing."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        raise Error(f"{path}: cannot be read as text: get LFW's protocol file again") from None
    for line in text.splitlines():
        if line.strip():
            fields = line.strip().split("\t") if "\t" in line.strip() else line.split()
            yield [one_form(field.strip()) for field in fields]
