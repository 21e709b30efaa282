"""Which units a task needs most: exactly, one by one, and to first order as a fast screen."""

from __future__ import annotations

import torch
from torch import nn

from facelesion.sweep.options import Options
from facelesion.sweep.task import Loss, Task


def effects(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int | None = None,
    options: Options | None = None,
) -> torch.Tensor:
    """By how much the mean loss rises when each unit alone is removed, exactly: float64 (units,).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> images, loss = torch.rand(8, 3), lambda outputs, numbers: outputs[:, 0]
        >>> tuple(effects(network, "1", images, loss).shape)
        (4,)
    """
    task = Task(model, site, images, loss, options, batch_size)
    return (task.summed() - task.healthy().sum()) / len(images)


def effects_by_image(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int | None = None,
    progress: bool = False,
    options: Options | None = None,
) -> torch.Tensor:
    """As `effects`, image by image, for intervals over people and split halves: float64 (images, units).

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
        >>> images, loss = torch.rand(5, 3, 8, 8), lambda outputs, numbers: outputs[:, 0]
        >>> found = effects_by_image(network, "1", images, loss)
        >>> found.shape, bool(torch.allclose(found.mean(0), effects(network, "1", images, loss)))
        (torch.Size([5, 4]), True)
    """
    task = Task(model, site, images, loss, options, batch_size)
    without = task.apart(torch.arange(len(images)), progress=progress)
    return (without - task.healthy()).T.contiguous()


def first_order(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int | None = None,
) -> torch.Tensor:
    """What `effects` comes to in first order: minus gradient times activation, one backward pass for all units.

    A fast screen (Molchanov et al. 2017; attribution patching): exact where the loss is linear in the unit, wrong where
    it saturates. Say beside it how well it agrees with `effects` on some of the sites (`agreement`).

    Returns:
        float64 (units,).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> images, loss = torch.rand(8, 3), lambda outputs, numbers: outputs[:, 0]
        >>> agreement(first_order(network, "1", images, loss), effects(network, "1", images, loss))
        1.0
    """
    total: torch.Tensor | None = None
    task = Task(model, site, images, loss, batch_size=batch_size)
    for _, _, parts in task.products():
        for part in parts:
            summed = part.flatten(1).double().sum(1)
            total = summed if total is None else total + summed
    assert total is not None
    return total.cpu() / len(images)  # no batch is waited for before the last


def first_order_by_image(
    model: nn.Module,
    site: str,
    images: torch.Tensor,
    loss: Loss,
    *,
    batch_size: int | None = None,
) -> torch.Tensor:
    """As `first_order`, image by image: float64 (images, units).

    Raises:
        SweepError: as `first_order`, or a site whose output has no row per image.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> images, loss = torch.rand(8, 3), lambda outputs, numbers: outputs[:, 0]
        >>> each = first_order_by_image(network, "1", images, loss)
        >>> torch.allclose(each.mean(0), first_order(network, "1", images, loss))
        True
    """
    task = Task(model, site, images, loss, batch_size=batch_size)
    return task.estimated()[1]


def agreement(estimate: torch.Tensor, exact: torch.Tensor) -> float:
    """Spearman's rank correlation of two rankings of the same units: 1 where they agree, 0 where they do not.

    Example:
        >>> agreement(torch.tensor([0.1, 0.5, 0.3]), torch.tensor([1.0, 9.0, 4.0]))
        1.0
    """
    ranks = torch.stack([_ranks(estimate), _ranks(exact)])
    return round(float(torch.corrcoef(ranks)[0, 1]), 6)


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Ranks from 0; equal values share their mean rank."""
    _, place, many = values.double().unique(return_inverse=True, return_counts=True)
    last = many.cumsum(0).double() - 1
    return (last - (many - 1) / 2)[place]
