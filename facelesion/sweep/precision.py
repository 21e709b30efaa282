"""How far a lower precision's answers lie from full precision's, measured on a sample of a sweep's own lesions.

Half precision answers more lesions in the same time, each a little wrong: enough to see which lesions matter, and to
run those again in full. How wrong depends on the network and the lesions, so it is measured and not promised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from facelesion.lesions import Calibration, Lesion
from facelesion.sweep.answers import answered
from facelesion.sweep.errors import SweepError
from facelesion.sweep.options import Options
from facelesion.sweep.request import Request

# How many lesions and images are run in both precisions.
LESIONS, IMAGES = 16, 4


@dataclass(frozen=True)
class Rounding:
    """How far answers in a lower precision lie from those in full precision.

    Attributes:
        dtype: the lower precision, such as "torch.bfloat16" or "tf32".
        lesions: how many lesions were run in both, spread evenly over those of the sweep, the healthy network apart.
        images: how many images of the first batch were.
        largest: the largest difference, as a share of the largest number in full precision.
        typical: the root mean square of all differences, as a share of that of all answers.
        of_damage: the same, as a share of what the lesions changed; at 1 a lesion cannot be told from rounding.
    """

    dtype: str
    lesions: int
    images: int
    largest: float
    typical: float
    of_damage: float

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


def rounding(
    model: nn.Module,
    lesions: Mapping[str, Lesion | None],
    images: torch.Tensor,
    *,
    options: Options,
    seed: int = 0,
    calibration: Calibration | None = None,
    ids: Sequence[int] | torch.Tensor | None = None,
    readout: Callable[[Any], torch.Tensor] | None = None,
) -> Rounding:
    """Runs a sample of a sweep in the lower precision that `options` ask for and in full, and compares.

    Args:
        options: as for the sweep, with `autocast` or `tf32`.
        model, lesions, images, seed, calibration, ids, readout: as in `sweep`.

    Raises:
        SweepError: `options` name no lower precision; or as `sweep`.

    Example:
        >>> from facelesion.lesions import Ablate
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).eval()
        >>> lesions = {f"unit {unit}": Ablate("1", units=[unit]) for unit in range(4)}
        >>> found = rounding(network, lesions, torch.rand(5, 3, 8, 8), options=Options(autocast=torch.bfloat16))
        >>> found.lesions, found.images, 0 < found.typical < 0.05
        (4, 4, True)
    """
    if not options.lower:
        raise SweepError("options name no lower precision: give autocast, such as torch.bfloat16, or tf32")
    return measured(
        Request(
            model, lesions, images, seed=seed, calibration=calibration, ids=ids, readout=readout, options=options
        )
    )


def measured(request: Request) -> Rounding:
    """What `rounding` returns."""
    options, lesions = request.options, request.lesions
    names = [name for name, lesion in lesions.items() if lesion is not None]
    places = torch.linspace(0, max(0, len(names) - 1), min(LESIONS, len(names))).round().long().tolist()
    sample: dict[str, Lesion | None] = {str(number): lesions[names[place]] for number, place in enumerate(places)}
    sample["healthy"] = None
    few = replace(request.some(0, IMAGES), lesions=sample)
    full, rough = (
        torch.stack(list(answered(replace(few, options=each)).values())).double()
        for each in (replace(options, autocast=None, tf32=False), options)
    )
    error, damage = rough - full, full[:-1] - full[-1:]
    return Rounding(
        options.lower, len(places), full.shape[1], _share(error.abs().max(), full.abs().max()),
        _share(_size(error), _size(full)), _share(_size(error), _size(damage)),
    )  # fmt: skip


def _size(values: torch.Tensor) -> torch.Tensor:
    return values.square().mean().sqrt() if values.numel() else values.new_zeros(())


def _share(part: torch.Tensor, of: torch.Tensor) -> float:
    return float(part / of) if of else float("inf") if part else 0.0
