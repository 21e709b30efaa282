"""What is usual for a unit: its mean and standard deviation over reference images, so that doses can be relative."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from .attention import contexts
from .errors import LesionError, NoCalibration
from .host import on_the_host
from .kinds import Lesion
from .locate import Site, find_all, pick, unit_axis, unwrap
from .rows import came_in
from .values import told
from .watch import Call, run_healthy


@dataclass(frozen=True)
class Calibration:
    """Mean and standard deviation of every unit of some sites, over images and places.

    Attributes:
        means, deviations: site to float32 (units,).
        images: how many images were seen.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> calibration = calibrate(network, torch.rand(8, 3, 16, 16), "1")
        >>> calibration.deviations["1"].shape
        torch.Size([4])
        >>> Calibration.from_dict(calibration.to_dict()).images
        8
    """

    means: Mapping[str, Tensor] = field(default_factory=dict)
    deviations: Mapping[str, Tensor] = field(default_factory=dict)
    images: int = 0

    def __post_init__(self) -> None:
        for name in ("means", "deviations"):
            values = getattr(self, name)
            if not isinstance(values, Mapping) or not all(isinstance(site, str) for site in values):
                raise LesionError(f"a calibration's {name} are site to tensor (units,), not {told(values)}")
            for site, value in values.items():
                if not isinstance(value, Tensor) or value.ndim != 1 or not value.is_floating_point():
                    raise LesionError(
                        f"a calibration's {name} at {site!r} must be a float tensor (units,), not {told(value)}"
                    )
        if set(self.means) != set(self.deviations):
            odd = min(set(self.means) ^ set(self.deviations))
            raise LesionError(f"a calibration needs both mean and deviation of each site; {odd!r} has one")

    def __contains__(self, site: str) -> bool:
        return site in self.means or f"{site}[0]" in self.means

    def of(self, site: Site, call: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation at one call of a site.

        Raises:
            NoCalibration: this site was not measured.
        """
        name = _name(site)
        for key in (f"{name}[{call}]", name):
            if key in self.means:
                found = self.means[key], self.deviations[key]
                with on_the_host():
                    finite = all(bool(each.isfinite().all()) for each in found)
                if not finite:
                    raise NoCalibration(
                        f"{key!r}: its calibration holds numbers that are not finite: calibrate again"
                    )
                return found
        raise NoCalibration(missing(name))

    def to_dict(self) -> dict[str, Tensor]:
        """A flat dictionary of tensors, ready for safetensors or `torch.save`."""
        flat = {f"mean/{site}": mean for site, mean in self.means.items()}
        flat |= {f"std/{site}": deviation for site, deviation in self.deviations.items()}
        return flat | {"images": torch.tensor(self.images)}

    @staticmethod
    def from_dict(flat: Mapping[str, Tensor]) -> Calibration:
        """What `to_dict` wrote."""
        if not isinstance(flat, Mapping) or "images" not in flat:
            raise LesionError(
                f"a written calibration has the keys images, mean/... and std/...; got {told(flat)}"
            )

        def strip(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value for name, value in flat.items() if name.startswith(prefix)}

        return Calibration(strip("mean/"), strip("std/"), int(flat["images"]))


def missing(name: str) -> str:
    """The line for a site that was not measured."""
    return f"{name!r} is not calibrated: pass calibration=calibrate(model, images, lesion) to lesioned"


def _name(site: Site) -> str:
    return str(replace(site, call=None))


def calibrate(
    model: nn.Module, batches: Tensor | Iterable[Any], sites: str | Lesion | Iterable[str | Lesion]
) -> Calibration:
    """Measures the units of some sites over reference images.

    The network runs in evaluation mode without gradients, and is left in the mode it was in. Batches are seen one at
    a time and merged exactly (Chan, Golub & LeVeque 1983), so their sizes do not matter.

    Args:
        model: any network.
        batches: images (N, ...), or an iterable of such tensors; of a tuple or list the first element counts.
        sites: patterns, or lesions whose sites are meant.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval()
        >>> usual = calibrate(network, torch.rand(64, 3), "1")
        >>> tuple(usual.means["1"].shape), usual.images
        ((2,), 64)
    """
    places: dict[str, list[Site]] = {}
    for site in find_all(model, sites):
        plain = replace(site, call=None)
        if plain not in places.setdefault(site.path, []):
            places[site.path].append(plain)
    sums: dict[tuple[str, int], tuple[int, Tensor, Tensor]] = {}
    images = 0

    def visit(call: Call) -> None:
        for site in places[call.path]:
            if site.heads:
                y, axis = contexts(call.module, call.args, call.kwargs), 2
            else:
                y, _ = pick(call.output, site.output, site)
                axis = unit_axis(call.module, y, site)
            values = y.detach().movedim(axis, 0).flatten(1).double()
            key = (_name(site), call.number)
            sums[key] = _merged(sums.get(key), values)

    if isinstance(batches, str | bytes | Mapping) or not isinstance(batches, Iterable):
        raise LesionError(f"images must be a tensor (N, ...) or an iterable of such; got {told(batches)}")
    for batch in [batches] if isinstance(batches, Tensor) else batches:
        given = batch[0] if isinstance(batch, list | tuple) and batch else batch
        if not isinstance(given, Tensor) or not given.ndim or not given.numel():
            raise LesionError(f"images must be tensors (N, ...) with at least one image; got {told(given)}")
        run_healthy(model, [given], places, visit)
        came = came_in(unwrap(model), (given,), {})
        images += came.count if came else len(given)
    if not images:
        raise LesionError("no image to calibrate with: give at least one batch")
    repeated = {name for name, call in sums if call > 0}
    named = {f"{name}[{call}]" if name in repeated else name: value for (name, call), value in sums.items()}
    return Calibration(
        means={name: mean.float().cpu() for name, (_, mean, _) in named.items()},
        deviations={
            name: (square / count).sqrt().float().cpu() for name, (count, _, square) in named.items()
        },
        images=images,
    )


def _merged(before: tuple[int, Tensor, Tensor] | None, values: Tensor) -> tuple[int, Tensor, Tensor]:
    """Count, mean and sum of squared deviations, with (units, values) added."""
    count, mean = values.shape[1], values.mean(1)
    square = (values - mean[:, None]).square().sum(1)
    if before is None:
        return count, mean, square
    total, difference = before[0] + count, mean - before[1]
    mean = before[1] + difference * (count / total)
    return total, mean, before[2] + square + difference.square() * (before[0] * count / total)
