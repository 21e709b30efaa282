"""Where weights lie, and how they are written: safetensors with a note of what they are."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facelesion.errors import FacelesionError
from facelesion.fetching import cache_folder

_PACKAGE = Path(__file__).resolve().parent.parent


# What the installed package brings, and the same in the project's own folder.
CARRIED = (_PACKAGE / "_weights", _PACKAGE.parent / "weights")


def weights_folder() -> Path:
    """Where weights are put that are fetched or converted: $FACELESION_WEIGHTS, else in the cache folder."""
    chosen = os.environ.get("FACELESION_WEIGHTS")
    return Path(chosen) if chosen else cache_folder() / "weights"


def weights_folders() -> tuple[Path, ...]:
    """Folders searched for weights, in order: $FACELESION_WEIGHTS, what the package brings, the cache folder."""
    fetched = cache_folder() / "weights"
    return tuple(dict.fromkeys((weights_folder(), *CARRIED, fetched)))


def weights_path(name: str) -> Path:
    """The file of this name among the weights.

    Raises:
        FacelesionError: it is in none of the folders.
    """
    found = find_weights(name)
    if found is None:
        raise FacelesionError(
            f"weights {name!r} are not in {' or '.join(map(str, weights_folders()))}: put the file there, "
            "or name its folder in FACELESION_WEIGHTS"
        )
    return found


def find_weights(name: str) -> Path | None:
    """The file of this name among the weights, or None."""
    return next((folder / name for folder in weights_folders() if (folder / name).is_file()), None)


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a PyTorch state dict; code in the file is never run.

    Raises:
        FacelesionError: no such file, or anything else than tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise FacelesionError(f"{path}: no such file: give the path of a PyTorch state dict")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(tensors, dict) or not all(isinstance(v, torch.Tensor) for v in tensors.values()):
            raise ValueError("it holds something else")
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise FacelesionError(f"{path}: not a plain state dict ({reason}): get the file again") from None
    return dict(tensors)


def writable(path: str | Path) -> Path:
    """The path, where a file can be put: asked before long work, so that it is not done for nothing.

    Raises:
        FacelesionError: it is a folder, or leads through a file.
    """
    path = Path(path)
    if path.is_dir():
        raise FacelesionError(f"{path} is a folder: give a file in it, such as {path / 'face.safetensors'}")
    blocked = next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), None)
    if blocked is not None:
        raise FacelesionError(f"{path}: {blocked} is a file, not a folder: choose another place")
    return path


def save_weights(path: str | Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a note (JSON values) to a safetensors file, all or nothing.

    The note is one JSON text, so the file's bytes depend on the content alone.

    Raises:
        FacelesionError: the path is a folder, or leads through a file.
    """
    from safetensors.torch import save_file

    path = writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
            unfinished,
            metadata={"about": json.dumps(dict(about), sort_keys=True)},
        )
        os.chmod(unfinished, 0o644)  # the library makes files that only their owner can read
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a safetensors file: its tensors as float32 (whatever they are kept as) and its note.

    Raises:
        FacelesionError: no such file, or not a whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FacelesionError(f"{path}: no such weights file: check the path")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
            about = json.loads((file.metadata() or {}).get("about", "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise FacelesionError(f"{path}: not a whole safetensors file ({error}): get it again") from None
    return tensors, about


def fit(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Load tensors into a module, every one of its own and no other.

    Raises:
        FacelesionError: something is missing, left over, of another shape, or not a number; says the first of each.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    extra = sorted(tensors.keys() - own.keys())
    wrong = [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    bad = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    reasons = [
        *([f"{len(missing)} missing ({missing[0]} ...)"] if missing else []),
        *([f"{len(extra)} too many ({extra[0]} ...)"] if extra else []),
        *wrong[:1],
        *([f"{bad[0]} holds values that are no numbers"] if bad else []),
    ]
    if reasons:
        raise FacelesionError(
            f"{source}: weights do not fit: {'; '.join(reasons)}: take weights made for this network"
        )
    module.load_state_dict(dict(tensors))


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (12 hex digits) over names, shapes and float32 values, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().float().cpu().contiguous()
        sha.update(f"{name}{tuple(value.shape)}".encode())
        sha.update(value.numpy().tobytes())
    return sha.hexdigest()[:12]
