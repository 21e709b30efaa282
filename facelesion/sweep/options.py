"""How a sweep runs."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch

from facelesion.sweep import memory
from facelesion.sweep.errors import SweepError

# Images walked through the healthy network at once.
BATCH_SIZE = 16


@dataclass(frozen=True)
class Options:
    """How a sweep runs; none of it changes what it computes, but for `autocast` and `tf32`.

    Attributes:
        batch_size: images at a time, where one tensor holds them all.
        rows: rows of a batch run at once after a cut; None: as many as fit the budget and still gain.
        budget: bytes for activations and what is kept beside them; None: half of what is free, measured when the sweep
            starts.
        channels_last: lay feature maps out channels last: the same arithmetic with other rounding, and up to twice as
            fast on processors. None: on a processor yes, on a GPU no. Networks whose answer hangs on the layout
            keep their own.
        winograd: on a processor, compute 3 × 3 convolutions of 256 channels or more by four times fewer products: other
            rounding (a few 1e-6 of a layer's largest value), 1.2 to 1.9 times as fast, four times the weights' memory
            (of a `budget` a quarter at the most: what has no room in it is computed as ever).
        autocast: a lower precision for convolutions and products, such as torch.bfloat16, to see which lesions matter
            before those are run in full; `rounding` measures how wrong it is, about 1e-2 of an answer.
        tf32: let a GPU round the factors of float32's products to 10 bits, as newer ones do by themselves: quicker, and
            measured by `rounding` too. Otherwise they are computed in full, whatever PyTorch is told elsewhere.
        trace: cut the network; False runs it whole for every lesion, on the user's own batches.

    Raises:
        SweepError: a number or type that makes no sense.

    Example:
        >>> from facelesion.lesions import Ablate
        >>> from facelesion.sweep import sweep
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
        >>> lesions, images = {"unit 2": Ablate("1", units=[2])}, torch.rand(5, 3)
        >>> few = sweep(network, lesions, images, options=Options(rows=1))["unit 2"]
        >>> torch.allclose(few, sweep(network, lesions, images)["unit 2"], atol=1e-6)
        True
    """

    batch_size: int = BATCH_SIZE
    rows: int | None = None
    budget: int | None = None
    channels_last: bool | None = None
    winograd: bool = True
    autocast: torch.dtype | None = None
    tf32: bool = False
    trace: bool = True

    def __post_init__(self) -> None:
        for name in ("batch_size", "rows", "budget"):
            value = getattr(self, name)
            if value is not None or name == "batch_size":
                # A plain int, also where numpy counted.
                object.__setattr__(self, name, at_least_one(name, value))
        if self.autocast is not None and not (
            isinstance(self.autocast, torch.dtype) and self.autocast.is_floating_point
        ):
            raise SweepError(
                f"autocast is a floating point type such as torch.bfloat16, not {self.autocast!r}"
            )
        for name in ("channels_last", "winograd", "tf32", "trace"):
            value = getattr(self, name)
            if not isinstance(value, bool) and not (value is None and name == "channels_last"):
                raise SweepError(f"{name} is True or False, not {value!r}")

    @property
    def lower(self) -> str:
        """The lower precision that is asked for, in PyTorch's words; empty where there is none."""
        return str(self.autocast) if self.autocast is not None else "tf32" if self.tf32 else ""

    @property
    def room_for_kernels(self) -> int | None:
        """Bytes for what `winograd` makes of weights; None: what they take.

        It hangs on no free memory: then a sweep that goes on would round otherwise than it began.
        """
        return None if self.budget is None else self.budget // 4

    def budget_on(self, device: torch.device) -> int:
        """Bytes for activations and what is kept beside them: as asked, or a share of what is free there now."""
        return self.budget if self.budget is not None else int(memory.free_bytes(device) * memory.SHARE)


def at_least_one(name: str, value: object) -> int:
    """A whole number of at least one; everything else is refused by the argument's name."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise SweepError(f"{name} is a whole number of at least 1, not {value!r}")
    return int(value)
