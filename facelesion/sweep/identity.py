"""What a folder's sweep is of: all that decides its numbers, told part by part, so that a difference can be named."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facelesion.sweep.fingerprint import attributes, fingerprint
from facelesion.sweep.request import Request
from facelesion.sweep.trial import Trial, agree, answer_of
from facelesion.sweep.untouched import untouched

# How many numbers of the healthy answer are written down.
_NUMBERS = 256


def identity(request: Request, trial: Trial) -> dict[str, str]:
    """Hashes of all that decides a result but lesions and images, by what they are of.

    Args:
        request: what is swept; of its network buffers, attributes and hooks count as well.
        trial: what the healthy network answers.
    """
    calibration, options = request.calibration, request.options
    device = trial.images.device.type
    arithmetic = (
        options.autocast,
        options.winograd,
        torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device),
        "high" if options.tf32 else "highest",
    )
    return {
        "network": _network(request.model, trial),
        "readout": fingerprint(request.readout),
        "seed": str(int(request.seed)),
        "calibration": fingerprint(
            None if calibration is None else dict(sorted(calibration.to_dict().items()))
        ),
        "precision": fingerprint(*map(str, arithmetic)),
        "version of the code": _code(),
    }


def _network(model: nn.Module, trial: Trial) -> str:
    """The network's hash. What each forward notes down on it, such as its last attention, is no part of it."""
    with untouched(model):
        answer_of(model, trial.images[:1], trial.readout)
        first = attributes(model)
        answer_of(model, trial.images[-1:], trial.readout)
        second = attributes(model)
        passing = {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)}
        return fingerprint(model, without=passing)


def healthy(trial: Trial) -> dict[str, Any]:
    """What the healthy network was seen to answer, to be written down: some of the numbers, and of which images.

    Example:
        >>> told = healthy(Trial(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]), lambda output: output))
        >>> told["numbers"], alike(told, told)
        ([1.0, 3.0], True)
    """
    answer: Tensor = trial.answer
    flat = torch.view_as_real(answer.resolve_conj()) if answer.is_complex() else answer
    flat = flat.detach().cpu().reshape(-1)
    places = torch.linspace(0, max(0, len(flat) - 1), min(_NUMBERS, len(flat))).round().long()
    return {
        "images": fingerprint(trial.images),
        "shape": list(answer.shape[1:]),
        "dtype": str(answer.dtype),
        "numbers": [float(number) for number in flat[places].double().nan_to_num(0.0, 1e30, -1e30)],
    }


def alike(known: Mapping[str, Any], told: Mapping[str, Any], share: float = 1e-3) -> bool:
    """Whether two healthy answers are the same but for rounding; answers to other images cannot be compared."""
    if known["images"] != told["images"]:
        return True
    if (known["shape"], known["dtype"]) != (told["shape"], told["dtype"]):
        return False
    one, other = (torch.tensor(each["numbers"], dtype=torch.float64) for each in (known, told))
    if one.shape != other.shape:
        return False
    if not ("float" in known["dtype"] or "complex" in known["dtype"]):
        return agree(one.long(), other.long())
    share = 0.1 if "16" in known["dtype"] or "8" in known["dtype"] else share
    scale = float(one.abs().max()) if len(one) else 0.0
    return bool(((one - other).abs() <= share * scale).all())


@functools.cache
def _code() -> str:
    """A hash of the code that computes results."""
    here = Path(__file__).parent
    files = sorted([*here.glob("*.py"), *(here.parent / "lesions").glob("*.py")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
