"""Where weights lie: the folders that are searched, and the one in which new files are put."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from facelesion.errors import Error
from facelesion.extras import install
from facelesion.files import cache_folder

_PACKAGE = Path(__file__).resolve().parent.parent


def _package_of_weights() -> tuple[Path, ...]:
    """The folder of the package `facelesion-weights`, where it is installed: weights alone, and no code."""
    spec = importlib.util.find_spec("facelesion_weights")
    return tuple(map(Path, (spec.submodule_search_locations or []) if spec else []))


# The installed package's list of weights; all of it in the project's own folder; the weights, where they are installed.
CARRIED = (_PACKAGE / "_weights", _PACKAGE.parent / "weights", *_package_of_weights())


def weights_folder() -> Path:
    """Where weights are put that are fetched or converted: $FACELESION_WEIGHTS, else in the cache folder.

    Example:
        >>> isinstance(weights_folder(), Path)
        True
    """
    chosen = os.environ.get("FACELESION_WEIGHTS")
    return Path(chosen) if chosen else cache_folder() / "weights"


def weights_folders() -> tuple[Path, ...]:
    """Folders searched for weights, in order: $FACELESION_WEIGHTS, what the package brings, the cache folder."""
    fetched = cache_folder() / "weights"
    return tuple(dict.fromkeys((weights_folder(), *CARRIED, fetched)))


def weights_path(name: str) -> Path:
    """The file of this name among the weights.

    Raises:
        Error: it is in none of the folders.

    Example:
        >>> weights_path("builtin.safetensors").name
        'builtin.safetensors'
    """
    found = find_weights(name)
    if found is None:
        from facelesion.weights import registry  # which looks for files here

        if any(each.carried and each.file == name for each in registry.entries().values()):
            raise Error(f"{name} is not installed: {install('study')}")
        raise Error(
            f"weights {name!r} are not in {' or '.join(map(str, weights_folders()))}: put the file there, "
            "or name its folder in FACELESION_WEIGHTS"
        )
    return found


def find_weights(name: str) -> Path | None:
    """The file of this name among the weights, or None."""
    return next((folder / name for folder in weights_folders() if os.path.isfile(folder / name)), None)
