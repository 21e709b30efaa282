"""How weights are written and read: safetensors with a note of what they are; plain state dicts are read too."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facelesion.errors import Error, one_line
from facelesion.outputs import writable_file

# What training wraps around a network puts its own name before every other: DataParallel's and torch.compile's.
WRAPPERS = ("module.", "_orig_mod.")
_PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a PyTorch state dict; code in the file is never run, and a wrapper's prefix (`module.`) is taken off.

    Raises:
        Error: no such file, or anything else than plain tensors by name.
    """
    tensors = load_plain(path)
    if not isinstance(tensors, dict) or not all(isinstance(v, torch.Tensor) for v in tensors.values()):
        raise Error(f"{path}: not a plain state dict (it holds something else): get the file again")
    return unwrapped(checked({str(name): value for name, value in tensors.items()}, str(path)))[0]


def load_plain(path: str | Path) -> Any:
    """What `torch.save` wrote, read as numbers and containers of them alone.

    Raises:
        Error: no such file, one with code in it, damaged or cut short.
    """
    if not os.path.isfile(path):
        raise Error(f"{path}: no such file: give the path of a PyTorch state dict")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch fails in many ways on damaged files; none of them is a fault of ours
        reason = (" ".join(str(error).split("\n")[0].split()) or type(error).__name__)[:200]
        raise Error(f"{path}: not a plain state dict ({reason}): get it again") from None


def unwrapped(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str]:
    """Tensors under the network's own names, and the prefix that was before all of them.

    Example:
        >>> unwrapped({"module.conv.weight": torch.zeros(1)})
        ({'conv.weight': tensor([0.])}, 'module.')
    """
    named, taken = dict(tensors), ""
    while prefix := next((w for w in WRAPPERS if named and all(name.startswith(w) for name in named)), ""):
        named, taken = {name.removeprefix(prefix): value for name, value in named.items()}, taken + prefix
    return named, taken


def checked(tensors: dict[str, torch.Tensor], source: str) -> dict[str, torch.Tensor]:
    """The same tensors, if they are plain: numbers that lie in memory, one for each place.

    Raises:
        Error: a tensor that is sparse, quantised, nested, without content (meta), or of numbers neither
            whole nor float16 to float64; it says how to save it instead.
    """
    for name, value in tensors.items():
        kind = str(value.dtype).removeprefix("torch.")
        odd = (
            f"is {'quantised' if value.is_quantized else 'nested or sparse'}"
            if value.is_quantized or value.is_nested or value.layout != torch.strided
            else "has no content (device meta)"
            if value.device.type == "meta"
            else f"holds {kind} numbers"
            if value.dtype not in (*_PLAIN, *_WHOLE)
            else ""
        )
        if odd:
            raise Error(f"{source}: {name} {odd}: save it as a plain tensor of float32")
    return tensors


def _unwritten(path: Path, error: Exception) -> Error:
    reason = getattr(error, "strerror", None) or one_line(error)
    return Error(f"{path}: cannot be written ({reason}): make room, or choose another place")


def save_weights(path: str | Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a note (JSON values) to a safetensors file, all or nothing.

    The note is one JSON text, so the file's bytes depend on the content alone.

    Raises:
        Error: the path is a folder, leads through a file, or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "mine.safetensors"
        ...     save_weights(path, {"weight": torch.ones(2)}, {"trained_on": "nothing"})
        ...     read_weights(path)
        ({'weight': tensor([1., 1.])}, {'trained_on': 'nothing'})
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = writable_file(path)
    note = {"about": json.dumps(dict(about), sort_keys=True)}
    values = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    unfinished = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(values, unfinished, metadata=note)
        os.chmod(unfinished, 0o644)  # the library makes files that only their owner can read
        os.replace(unfinished, path)
    except (OSError, SafetensorError) as error:
        raise _unwritten(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a safetensors file: its tensors as float32 (whatever they are kept as) and its note.

    Raises:
        Error: no such file, not a whole safetensors file, tensors that are no float16, bfloat16, float32 or
            float64, or a note that is no mapping.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not os.path.isfile(path):
        raise Error(f"{path}: no such weights file: check the path")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            note = (file.metadata() or {}).get("about", "{}")
    except (SafetensorError, ValueError, OSError, AttributeError, KeyError) as error:
        reason = one_line(error)
        raise Error(f"{path}: not a whole safetensors file ({reason}): get it again") from None
    return {name: _float32(name, value, path) for name, value in tensors.items()}, _about(note, path)


def _float32(name: str, value: torch.Tensor, path: Path) -> torch.Tensor:
    if value.dtype not in _PLAIN:
        kind = str(value.dtype).removeprefix("torch.")
        raise Error(f"{path}: {name} holds {kind} numbers: save it as a plain tensor of float32")
    return value.float()


def _about(note: str, path: Path) -> dict[str, Any]:
    """A file's note, which must be a mapping."""
    try:
        about = json.loads(note)
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise Error(
            f"{path}: its note (the metadata 'about') is {reprlib.repr(note)}, not a mapping: "
            "convert or train the weights with facelesion"
        )
    return about


def fit(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Load tensors into a module, every one of its own and no other; one on the meta device gets its memory then.

    Raises:
        Error: something is missing, left over, of another shape, or not a number; says the first of each.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    extra = sorted(tensors.keys() - own.keys())
    wrong = [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    # By shape first: a file may claim tensors larger than any memory.
    fitting = [] if missing or extra or wrong else list(own)
    bad = [name for name in fitting if not bool(torch.isfinite(tensors[name]).all())]
    reasons = [
        *([f"{len(missing)} missing ({missing[0]} ...)"] if missing else []),
        *([f"{len(extra)} too many ({extra[0]} ...)"] if extra else []),
        *wrong[:1],
        *([f"{bad[0]} holds values that are no numbers"] if bad else []),
    ]
    if reasons:
        raise Error(f"{source}: weights do not fit: {'; '.join(reasons)}: take weights made for this network")
    if any(value.is_meta for value in own.values()):
        module.to_empty(device="cpu")
    module.load_state_dict(dict(tensors))


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (12 hex digits) over names, shapes and float32 values, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().float().cpu().contiguous()
        sha.update(f"{name}{tuple(value.shape)}".encode())
        sha.update(value.numpy().tobytes())
    return sha.hexdigest()[:12]
