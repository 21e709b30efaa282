"""What comes with which extra, told where a package that is not there is first needed.

`pip install facelesion` brings what lesions and sweeps need; the rest of the package needs more, by extra. Whichever
line of facelesion imports a package that is not installed, the error is one line that names the extra:

    matplotlib is not installed: pip install 'facelesion[study]'

Nothing has to be asked at the imports themselves: `tell_what_is_missing` puts a last finder behind Python's own, which
is asked when all others found nothing. It speaks up for facelesion's own imports alone; those of other code, and
modules that facelesion never needs, are missing as they always are.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from types import FrameType

from facelesion.errors import Error

#: The packages that each extra brings beside those of the core, as they are imported. `pyproject.toml` says the same.
EXTRAS: dict[str, tuple[str, ...]] = {
    "study": ("PIL", "captum", "cv2", "h5py", "jinja2", "matplotlib", "pandas", "scipy", "torchvision"),
    "faces": ("facenet_pytorch", "mediapipe"),
    "train": ("pytorch_lightning",),
    "dlib": ("dlib",),
    "timm": ("timm",),
    "ray": ("ray",),
    "slurm": ("cloudpickle", "submitit"),
    "hub": ("huggingface_hub",),
}


_EXTRA_OF = {package: extra for extra, packages in EXTRAS.items() for package in packages}


class NotInstalled(Error, ModuleNotFoundError):
    """A package that is not installed; says which extra brings it. `except ImportError` catches it too."""


def install(extra: str) -> str:
    """How to get an extra.

    Example:
        >>> install("study")
        "pip install 'facelesion[study]'"
    """
    return f"pip install 'facelesion[{extra}]'"


def need(*packages: str) -> None:
    """Refuse to begin long work for whose last step a package is missing.

    Raises:
        NotInstalled: the first of these that is not there.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise _missing(package)


def _missing(package: str) -> NotInstalled:
    error = NotInstalled(f"{package} is not installed: {install(_EXTRA_OF[package])}")
    error.name = package
    return error


class _Last:
    """The finder that is asked when no other has found a module."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name in _EXTRA_OF and _importer(sys._getframe(1)).partition(".")[0] == "facelesion":
            raise _missing(name)


def _importer(frame: FrameType | None) -> str:
    """The module whose line imports: the nearest that is no part of Python's way of importing."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in ("importlib", "_frozen_importlib"):
            return module
        frame = frame.f_back
    return ""


def tell_what_is_missing() -> None:
    """Put the finder where it is asked last; once is enough."""
    if not any(isinstance(finder, _Last) for finder in sys.meta_path):
        sys.meta_path.append(_Last())
