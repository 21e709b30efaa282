"""The kinds of lesion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from . import functional
from .lesion import KINDS, Compound, Lesion, Material, SiteLesion, UnitLesion, kind_called
from .values import told

__all__ = [
    "KINDS", "Ablate", "Clamp", "Compound", "Dropout", "Keep", "Lesion", "Material", "Noise", "Prune", "Scale", "Shift",
    "SiteLesion", "UnitLesion", "kind_called",
]  # fmt: skip


@dataclass(frozen=True, repr=False)
class Ablate(UnitLesion):
    """Removes units: their output is zero, their calibrated mean, or the output they have for another image.

    Args:
        to: "zero"; "mean" (needs a calibration); "resample": the same units' output for another image of the batch,
            drawn by image number.

    The field's words: lesion, ablation, silencing; mean ablation; resampling ablation.

    Example:
        >>> Ablate("conv5_3", units=[21, 282])
        Ablate('conv5_3', units=(21, 282))
    """

    units: tuple[int, ...] | None = None
    fraction: float | None = None
    seed: int = 0
    to: str = "zero"
    doses: ClassVar[Mapping[str, str]] = {
        "fraction": "share of the units removed",
        "count": "number of units removed at each site",
    }

    @property
    def draws_values(self) -> bool:
        return self.to == "resample"

    @property
    def relative_to_health(self) -> bool:
        return self.to == "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(
            self.to in ("zero", "mean", "resample"), f"to is zero, mean or resample, not {told(self.to)}"
        )

    def mode(self) -> tuple[object, ...]:
        # Keeping some units is ablating the others: rows of both are computed together.
        return (Ablate, self.to)

    def damage(self, y: Tensor, material: Material) -> Tensor:
        if self.to == "mean":
            return functional.hold(y, material.mean())
        return material.another_image(y) if self.to == "resample" else torch.zeros_like(y)

    def __str__(self) -> str:
        return self._told("ablate" if self.to == "zero" else f"{self.to}-ablate", at=" ")


@dataclass(frozen=True, repr=False)
class Keep(Ablate):
    """The opposite of `Ablate`: every *other* unit is ablated (sufficiency: Bau et al. 2020).

    Example:
        >>> from facelesion.lesions import lesioned
        >>> with lesioned(torch.nn.Identity(), Keep(".", units=[1])) as network:
        ...     network(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0., 2., 0.]])
    """

    doses: ClassVar[Mapping[str, str]] = {
        "fraction": "share of the units kept",
        "count": "number of units kept at each site",
    }

    def _check_units(self) -> None:
        named = self.units is not None or self.draws_units
        self._check(named, "give the units to keep, a fraction or a count; all are kept in the intact network: None")
        self._check_changes(fraction=(self.fraction, 1.0))

    def __str__(self) -> str:
        return self._told("keep only" if self.to == "zero" else f"{self.to}-ablate all but", at=" ")


@dataclass(frozen=True, repr=False)
class Noise(UnitLesion):
    """Gaussian noise on activations: `y + std·ε`, or multiplicative `y·(1 + std·ε)`.

    Args:
        std: the standard deviation.
        relative: std counts in each unit's own calibrated standard deviation (needs a calibration).
        multiplicative: noise in proportion to the activation; cannot be relative as well.

    Example:
        >>> from facelesion.lesions import lesioned
        >>> with lesioned(torch.nn.Identity(), Noise(".", std=0.5)) as network:
        ...     round(float(network(torch.zeros(1, 10_000)).std()), 1)
        0.5
        >>> print(Noise("conv3_2", std=0.8, relative=True))
        noise std 0.8 relative at conv3_2
    """

    std: float
    relative: bool = False
    multiplicative: bool = False
    numeric: ClassVar[tuple[str, ...]] = ("std",)
    doses: ClassVar[Mapping[str, str]] = {
        "std": "standard deviation of the noise",
        "fraction": "share of the units under noise",
        "count": "number of units under noise at each site",
    }

    @property
    def draws_values(self) -> bool:
        return True

    @property
    def relative_to_health(self) -> bool:
        return self.relative

    def meaning(self, field: str) -> str:
        unit = (
            "the unit's own standard deviation"
            if self.relative
            else "the activation"
            if self.multiplicative
            else ""
        )
        return super().meaning(field) + (f", in units of {unit}" if unit and field == "std" else "")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(self.std >= 0, f"std must be 0 or more, got {self.std}")
        self._check_changes(std=(self.std, 0.0))
        self._check(
            not (self.relative and self.multiplicative), "noise is relative or multiplicative, not both"
        )

    def damage(self, y: Tensor, material: Material) -> Tensor:
        std = material.number("std")
        if self.relative:
            std = std * material.deviation()
        return functional.noise(y, std, material.normal(), self.multiplicative)

    def __str__(self) -> str:
        sort = " relative" if self.relative else " multiplicative" if self.multiplicative else ""
        return self._told(f"noise std {self.std:g}{sort}")


@dataclass(frozen=True, repr=False)
class Dropout(UnitLesion):
    """Drops activations with probability p, at inference too.

    Args:
        p: probability of being dropped, 0 to 1.
        per: "activation", each on its own; "channel", a whole unit at a time, anew for each image.
        rescale: survivors times 1/(1 − p), as Keras and PyTorch do (Srivastava et al. 2014).

    Example:
        >>> from facelesion.lesions import lesioned
        >>> with lesioned(torch.nn.Identity(), Dropout(".", p=0.75)) as network:
        ...     dropped = network(torch.ones(1, 10_000))
        >>> sorted(set(dropped.flatten().tolist())), round(float((dropped == 0).float().mean()), 2)
        ([0.0, 4.0], 0.75)
    """

    p: float
    per: str = "activation"
    rescale: bool = True
    numeric: ClassVar[tuple[str, ...]] = ("p",)
    doses: ClassVar[Mapping[str, str]] = {
        "p": "probability that an activation is dropped",
        "fraction": "share of the units under dropout",
        "count": "number of units under dropout at each site",
    }

    @property
    def draws_values(self) -> bool:
        return True

    def meaning(self, field: str) -> str:
        if field == "p" and self.per == "channel":
            return "probability that a unit is dropped, anew for every image"
        return super().meaning(field)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(0 <= self.p <= 1, f"p must lie in 0 to 1, got {self.p}")
        self._check_changes(p=(self.p, 0.0))
        self._check(
            self.per in ("activation", "channel"), f"per is activation or channel, not {told(self.per)}"
        )
        self._check(
            not (self.rescale and self.p == 1), "p=1 leaves nothing to rescale: use rescale=False or Ablate"
        )

    def damage(self, y: Tensor, material: Material) -> Tensor:
        draws = material.uniform(per_unit=self.per == "channel")
        return functional.dropout(y, material.number("p"), draws, self.rescale)

    def __str__(self) -> str:
        return self._told(f"dropout p {self.p:g}" + (" per channel" if self.per == "channel" else ""))


@dataclass(frozen=True, repr=False)
class Clamp(UnitLesion):
    """Holds units at a value, or within bounds.

    Example:
        >>> from facelesion.lesions import lesioned
        >>> with lesioned(torch.nn.Identity(), Clamp(".", max=2)) as network:
        ...     network(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 2., 2.]])
        >>> with lesioned(torch.nn.Identity(), Clamp(".", value=5, units=[0])) as network:
        ...     network(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[5., 2., 3.]])
    """

    value: float | None = None
    min: float | None = None
    max: float | None = None
    doses: ClassVar[Mapping[str, str]] = {
        "value": "activation at which units are held",
        "max": "largest activation let through",
        "min": "smallest activation let through",
        "fraction": "share of the units held",
        "count": "number of units held at each site",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        bounds = (self.min, self.max)
        self._check((self.value is None) == any(b is not None for b in bounds), "give value, or min and max")
        if self.min is not None and self.max is not None:
            self._check(self.min <= self.max, f"min {self.min} is above max {self.max}")

    def mode(self) -> tuple[object, ...]:
        return (Clamp, self.value is None)

    def numbers(self) -> dict[str, float]:
        if self.value is not None:
            return {"value": float(self.value)}
        low = -math.inf if self.min is None else float(self.min)
        return {"min": low, "max": math.inf if self.max is None else float(self.max)}

    def damage(self, y: Tensor, material: Material) -> Tensor:
        if self.value is not None:
            return functional.hold(y, material.number("value"))
        return functional.clamp(y, material.number("min"), material.number("max"))

    def __str__(self) -> str:
        bounds = {"": self.value, "min ": self.min, "max ": self.max}
        told = " ".join(f"{name}{bound:g}" for name, bound in bounds.items() if bound is not None)
        return self._told(f"clamp {told}")


@dataclass(frozen=True, repr=False)
class Shift(UnitLesion):
    """Adds a constant to units: positive excites them, negative inhibits them.

    Args:
        by: the constant.
        relative: it counts in each unit's own calibrated standard deviation (needs a calibration).

    Example:
        >>> from facelesion.lesions import lesioned
        >>> with lesioned(torch.nn.Identity(), Shift(".", by=-1, units=[0, 1])) as network:
        ...     network(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0., 1., 3.]])
    """

    by: float
    relative: bool = False
    numeric: ClassVar[tuple[str, ...]] = ("by",)
    doses: ClassVar[Mapping[str, str]] = {
        "by": "what is added to the activation",
        "fraction": "share of the units shifted",
        "count": "number of units shifted at each site",
    }

    @property
    def relative_to_health(self) -> bool:
        return self.relative

    def meaning(self, field: str) -> str:
        unit = ", in units of the unit's own standard deviation"
        return super().meaning(field) + (unit if self.relative and field == "by" else "")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_changes(by=(self.by, 0.0))

    def damage(self, y: Tensor, material: Material) -> Tensor:
        by = material.number("by")
        return functional.shift(y, by * material.deviation() if self.relative else by)

    def __str__(self) -> str:
        return self._told(f"shift {self.by:+g}" + (" relative" if self.relative else ""))


@dataclass(frozen=True, repr=False)
class Scale(UnitLesion):
    """Multiplies units by a gain: below 1 weakens, above 1 strengthens.

    Example:
        >>> from facelesion.lesions import lesioned
        >>> with lesioned(torch.nn.Identity(), Scale(".", by=0.5)) as network:
        ...     network(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0.5000, 1.0000, 1.5000]])
    """

    by: float
    numeric: ClassVar[tuple[str, ...]] = ("by",)
    doses: ClassVar[Mapping[str, str]] = {
        "by": "what the activation is multiplied by",
        "fraction": "share of the units scaled",
        "count": "number of units scaled at each site",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_changes(by=(self.by, 1.0))

    def damage(self, y: Tensor, material: Material) -> Tensor:
        return functional.scale(y, material.number("by"))

    def __str__(self) -> str:
        return self._told(f"scale ×{self.by:g}")


@dataclass(frozen=True, repr=False)
class Prune(SiteLesion):
    """A synaptic lesion: a fraction of the site's incoming weights counts as zero. No parameter is edited.

    At a site without weights of its own (an alias, a ReLU) the incoming weights are those of the convolution or linear
    layer before it in the same `nn.Sequential`. Weights act before the output does, so in `a + b` all pruning of
    a module comes before its other damage. Doses nest, as for units.

    Example:
        >>> print(Prune("conv4_3", fraction=0.5))
        prune 50% of the weights into conv4_3 (seed 0)
    """

    fraction: float
    seed: int = 0
    doses: ClassVar[Mapping[str, str]] = {"fraction": "share of the incoming synapses cut"}

    @property
    def draws_units(self) -> bool:
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(0 <= self.fraction <= 1, f"fraction must lie in 0 to 1, got {self.fraction}")
        self._check_changes(fraction=(self.fraction, 0.0))

    def __str__(self) -> str:
        return f"prune {self.fraction * 100:g}% of the weights into {self.site} (seed {self.seed})"


#: One more kind is one line. See docs/extending.md.
KINDS |= {kind.__name__: kind for kind in (Ablate, Keep, Noise, Dropout, Clamp, Shift, Scale, Prune)}
