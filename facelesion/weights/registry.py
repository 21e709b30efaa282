"""The weights that facelesion knows of: what they are, whether they are here, and how to get them.

`weights/registry.toml` is the list; it comes with the package.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facelesion.errors import Error
from facelesion.files import file_hash, write_bytes
from facelesion.weights import fetching, places

State = Literal["here", "can be fetched", "needs conversion", "missing"]
_CONVERTED = "vgg_face.safetensors"


@dataclass(frozen=True)
class Entry:
    """Weights, and what is known of them; what nobody published is None or empty.

    Attributes:
        name: what the command line calls them.
        what: a line on what they are.
        file: the file's name.
        licence: their terms.
        network: the name for `facelesion.models.get`; empty where they are no network.
        addresses: where they can be had, the best first; empty for what is carried or converted.
        checksum: `sha256:` or `md5:` and hex digits.
        size: in bytes.
        input_size: side of the network's pictures in pixels.
        colour_order: of the pictures that these weights were trained with, "RGB" or "BGR".
        mean: what is taken off them, red, green and blue, of 0 to 255.
        trained_on: the people or objects.
        carried: whether the project brings them.
        group: networks that were trained alike, by the name that a study gives them; empty where there are none.
        convert: the file to give to `facelesion weights convert`, inside an archive where there is one; empty where
            they load as they are.
    """

    name: str
    what: str
    file: str
    licence: str
    network: str = ""
    addresses: tuple[str, ...] = ()
    checksum: str | None = None
    size: int | None = None
    input_size: int | None = None
    colour_order: str | None = None
    mean: tuple[float, ...] | None = None
    trained_on: str = ""
    carried: bool = False
    convert: str = ""
    group: str = ""

    def find(self) -> Path | None:
        """Where the file is, or None."""
        return places.find_weights(self.file)

    def state(self) -> State:
        """Whether the weights can be used, and what to do where they cannot."""
        if self.file == _CONVERTED and self.find() is None:
            return "needs conversion"
        if self.find() is None:
            return "can be fetched" if self.addresses else "missing"
        return "needs conversion" if self.convert and places.find_weights(_CONVERTED) is None else "here"


@functools.cache
def entries() -> dict[str, Entry]:
    """All weights by name, in the registry's order.

    Raises:
        Error: the list is not where the package brings it.

    Example:
        >>> entries()["mobilefacenet"].size
        4135271
    """
    path = next(
        (folder / "registry.toml" for folder in places.CARRIED if (folder / "registry.toml").is_file()), None
    )
    if path is None:
        raise Error(f"registry.toml is not in {places.CARRIED[0]}: install facelesion again")
    with open(path, "rb") as file:
        return read(tomllib.load(file), str(path))


def read(content: dict[str, dict[str, object]], source: str) -> dict[str, Entry]:
    """The registry from its parsed TOML, checked.

    Raises:
        Error: a key that is unknown or missing.
    """
    known = {field.name: field for field in dataclasses.fields(Entry)}
    needed = {"what", "file", "licence"}
    found = {}
    for name, values in content.items():
        if wrong := sorted(set(values) - set(known)) + sorted(needed - set(values)):
            raise Error(f"{source}: [{name}]: {wrong[0]!r} is unknown or missing: mend the entry")
        ready = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        found[name] = Entry(name=name, **ready)  # type: ignore[arg-type]
    return found


def entry(name: str) -> Entry:
    """The weights of this name.

    Raises:
        Error: there are none; the nearest names are told.

    Example:
        >>> entry("builtin").licence, entry("builtin").input_size
        ('research only (learned from LFW and Caltech-101)', 112)
        >>> entry("buildin")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.errors.Error: no weights are called 'buildin': nearest are builtin, ...
    """
    if name not in entries():
        raise Error(f"no weights are called {name!r}: {nearest(name, entries())}")
    return entries()[name]


def groups() -> dict[str, tuple[str, ...]]:
    """Networks that were trained alike, by the name of their group, in the registry's order.

    Example:
        >>> groups()["trained alike"][:2]
        ('builtin', 'builtin_seed1')
    """
    found: dict[str, list[str]] = {}
    for each in entries().values():
        if each.group:
            found.setdefault(each.group, []).append(each.network)
    return {name: tuple(networks) for name, networks in found.items()}


def nearest(name: str, known: Iterable[str]) -> str:
    """Advice on a name that is none: those that look like it, or all.

    Example:
        >>> nearest("vgg_fase", ["builtin", "vgg_face"])
        'nearest is vgg_face'
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}"
    return f"take one of {', '.join(known)}"


def path(name: str) -> Path:
    """Where the file of these weights is.

    Raises:
        Error: it is not here; one line says what to put where.
    """
    found = entry(name).find()
    if found is None:
        raise Error(f"{entry(name).file} is not here: {how_to_get(name)}")
    return found


def how_to_get(name: str) -> str:
    """What to do so that these weights are here, in half a line."""
    one = entry(name)
    place = places.weights_folder() / one.file
    if one.file == _CONVERTED:
        return (
            "facelesion weights fetch vgg_face_dag (or another vgg_face_..., see facelesion weights list), "
            f"then facelesion weights convert THAT_FILE --to {place}"
        )
    if not one.addresses:
        return f"put it at {place}"
    return f"facelesion weights fetch {name}, or get {' or '.join(one.addresses)} and put it at {place}"


def fetch(name: str, to: str | Path | None = None) -> Path:
    """Fetch weights, unless they are here and as they should be.

    Where nobody published a hash, the one of the first fetch is kept beside the file (`NAME.sha256`), and later ones
    are held to it.

    Args:
        name: as in the registry.
        to: the folder to put them in; by default $FACELESION_WEIGHTS, else the user's cache folder.

    Raises:
        Error: they cannot be fetched; one line says what to put where.
    """
    one = entry(name)
    here = one.find() if to is None else None
    if here is not None and fetching.fits(here, one.checksum or recorded(here), one.size):
        return here
    if not one.addresses:
        return path(name)
    target = (Path(to) if to is not None else places.weights_folder()) / one.file
    fetching.fetch(
        one.addresses,
        target,
        checksum=one.checksum or recorded(target),
        size=one.size,
        advice=f"get {' or '.join(one.addresses)} and put it at {target}",
    )
    if one.checksum is None and recorded(target) is None:
        write_bytes(_note(target), f"{file_hash(target)}  {target.name}\n".encode())
    return target


def path_or_fetch(name: str, otherwise: str = "") -> Path:
    """Where the file of these weights is, after fetching it if it is not here.

    Args:
        name: as in the registry.
        otherwise: what else can be done where that fails, said at the end of the error.

    Raises:
        Error: no such weights, or they cannot be fetched.
    """
    found = entry(name).find()
    if found is not None:
        return found
    try:
        return fetch(name)
    except Error as error:
        raise Error(f"{error}{f', {otherwise}' if otherwise else ''}") from None


def recorded(file: Path) -> str | None:
    """The checksum that the first fetch of a file wrote down, or None."""
    try:
        digits = _note(file).read_text(encoding="utf-8-sig").split()[0]
    except (OSError, IndexError, ValueError):
        return None
    return f"sha256:{digits}"


def _note(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")
