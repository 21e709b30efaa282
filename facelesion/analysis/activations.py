"""What every unit of some sites does for every picture: its mean over places, its largest answer and where that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from facelesion.errors import Error
from facelesion.lesions import LesionError, aliases
from facelesion.lesions.locate import Site, find_all, pick, unit_axis, unwrap
from facelesion.lesions.watch import Call, run_healthy


@dataclass(frozen=True, eq=False)
class Activations:
    """The units of one site, picture by picture.

    Attributes:
        mean: float32 (N, C), over places.
        largest: float32 (N, C), over places.
        place: int64 (N, C, axes), where that is: row and column of a feature map; no axes where there are no places.
    """

    mean: torch.Tensor
    largest: torch.Tensor
    place: torch.Tensor


def picture_activations(
    module: nn.Module, sites: str | Iterable[str], images: torch.Tensor, *, batch_size: int = 32
) -> dict[str, Activations]:
    """Every unit's answer to every picture at some sites, in one pass.

    Args:
        module: any network; it is run in evaluation mode and left as it was.
        sites: patterns, as lesions take them.
        images: preprocessed (N, ...).
        batch_size: pictures at a time.

    Returns:
        By the site's name (its alias where it has one), in the order in which they were found.

    Raises:
        Error: no such site; one that never runs, runs several times (say which: `relu[1]`), or answers with
            no row per picture.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> found = picture_activations(network, "1", torch.rand(5, 3, 8, 8))
        >>> found["1"].mean.shape, found["1"].place.shape
        (torch.Size([5, 4]), torch.Size([5, 4, 2]))
    """
    places = sites_called(module, sites)
    kept: dict[str, list[tuple[torch.Tensor, ...]]] = {name: [] for name in places}
    running: dict[str, set[int]] = {name: set() for name in places}

    def visit(call: Call) -> None:
        for name, site in places.items():
            if site.path != call.path or site.call not in (None, call.number):
                continue
            running[name].add(call.number)
            y, _ = pick(call.output, site.output, site)
            axis = unit_axis(call.module, y, site)
            if axis == 0:
                raise Error(f"{name}: its output has no row per picture: take another site")
            kept[name].append(_seen(y.detach().movedim(axis, 1)))

    paths = {site.path for site in places.values()}
    try:
        run_healthy(module, (part.clone() for part in images.split(batch_size)), paths, visit)
    except LesionError as error:
        raise Error(str(error)) from None
    for name, calls in running.items():
        if not calls:
            raise Error(f"{name} never runs in this network: name a site in use")
        if len(calls) > 1:
            raise Error(f"{name} runs {len(calls)} times in one pass: say which, as in {name}[0]")
    found = {
        name: Activations(*(torch.cat(column) for column in zip(*rows, strict=True))) for name, rows in kept.items()
    }
    for name, each in found.items():
        if len(each.mean) != len(images):
            raise Error(f"{name}: its output has no row per picture: take another site")
    return found


def sites_called(module: nn.Module, sites: str | Iterable[str]) -> dict[str, Site]:
    """The sites of some patterns by name: the alias of the literature where there is one, else the path.

    Raises:
        Error: no such site.
    """
    names = {path: alias for alias, path in aliases(module).items()}
    try:
        places = find_all(unwrap(module), sites)
    except LesionError as error:
        raise Error(f"sites: {error}") from None
    for site in places:
        if site.heads:
            raise Error(f"{site}: attention heads have no activation of their own to rank by")
    return {names.get(site.path, str(site)) if site == Site(site.path) else str(site): site for site in places}


def _seen(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, largest and its place, of an output (n, C, ...)."""
    if y.ndim == 2:
        value = y.float().cpu()
        return value, value, torch.zeros(*value.shape, 0, dtype=torch.int64)
    flat = y.flatten(2)
    largest = flat.max(-1)
    place = torch.stack(torch.unravel_index(largest.indices, tuple(y.shape[2:])), -1)
    return flat.float().mean(-1).cpu(), largest.values.float().cpu(), place.cpu()


def by_person(values: torch.Tensor, people: Sequence[str]) -> tuple[tuple[str, ...], torch.Tensor]:
    """The people, sorted, and the mean (P, ...) of each one's rows of (N, ...), in double precision.

    Example:
        >>> by_person(torch.tensor([[1.0], [3.0], [5.0]]), ["b", "b", "a"])
        (('a', 'b'), tensor([[5.],
                [2.]], dtype=torch.float64))
    """
    names = tuple(sorted(set(people)))
    at = {name: number for number, name in enumerate(names)}
    who = torch.tensor([at[name] for name in people])
    sums = torch.zeros(len(names), *values.shape[1:], dtype=torch.float64).index_add_(0, who, values.double())
    counts = torch.bincount(who, minlength=len(names)).view(-1, *[1] * (values.ndim - 1))
    return names, sums / counts
