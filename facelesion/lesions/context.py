"""`lesioned`: a network with its lesions on, for as long as a `with` block lasts.

`plan` resolves the patterns on entry, `damage` does what the plan says while forwards run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import ParamSpec, TypeVar

from torch import Tensor, nn

from .calibration import Calibration
from .changes import Changes
from .compiled import filled, slots_of
from .damage import Damage
from .errors import LesionError
from .kinds import Lesion
from .plan import rows_of_lesions, sites_of

P = ParamSpec("P")
R = TypeVar("R")


class Lesioned(AbstractContextManager[nn.Module, None]):
    """What `lesioned` gives: entered by `with`, or put above a function, whose calls then all run inside.

    Args:
        enter: makes the context anew, for each time.
    """

    def __init__(self, enter: Callable[[], AbstractContextManager[nn.Module]]) -> None:
        self._enter = enter
        self._inside: list[AbstractContextManager[nn.Module]] = []

    def __enter__(self) -> nn.Module:
        self._inside.append(self._enter())
        return self._inside[-1].__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.pop().__exit__(kind, problem, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, with the network damaged while it runs.

        Raises:
            LesionError: no function: images, most likely.
        """
        if not callable(function):
            raise LesionError(
                f"lesioned(...) is no network that takes a {type(function).__name__}: write "
                "`with lesioned(model, lesion): model(images)`"
            )

        @functools.wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._enter():
                return function(*args, **kwargs)

        return inside


def lesioned(
    model: nn.Module,
    lesion: Lesion | None | Sequence[Lesion | None],
    *,
    seed: int = 0,
    calibration: Calibration | None = None,
    ids: Sequence[int] | Tensor | None = None,
    changes: Changes | None = None,
) -> Lesioned:
    """The network, damaged while the `with` block lasts; afterwards it answers bit for bit as before.

    Args:
        model: any network. Nothing in it is edited: activations are damaged on their way, by hooks.
        lesion: one lesion for all rows of a batch; or a list of K, where None is healthy. Then a batch has K · N rows,
            and each lesion damages N rows in a row: the first lesion the first N, and so on.
        seed: decides all noise together with the lesion, the site and the image number.
        calibration: from `calibrate`; lesions relative to a unit's usual activation need it.
        ids: image numbers, one per image in the order of the forwards (N for a batch of K · N rows). By default
            images are counted from 0 through all forwards of the context.
        changes: an empty `Changes()`, which then learns how much each lesion changed each of its sites.

    Yields:
        the model itself.

    Raises:
        NoSuchSite, NoSuchUnit, NoCalibration, RowsDoNotDivide, IgnoredByCompile: see their messages.
        LesionDidNotAct: on leaving, if a chosen site did not run in every forward, or nothing ran at all.

    Example:
        >>> import torch
        >>> from facelesion.lesions import Ablate
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
        >>> images = torch.rand(5, 3, 8, 8)
        >>> healthy = network(images)
        >>> with lesioned(network, Ablate("1", fraction=0.5)):
        ...     damaged = network(images)
        >>> torch.equal(healthy, damaged), torch.equal(healthy, network(images))
        (False, True)
    """
    return Lesioned(lambda: _lesioned(model, lesion, seed, calibration, ids, changes))


@contextmanager
def _lesioned(
    model: nn.Module,
    lesion: Lesion | None | Sequence[Lesion | None],
    seed: int,
    calibration: Calibration | None,
    ids: Sequence[int] | Tensor | None,
    changes: Changes | None,
) -> Iterator[nn.Module]:
    damage = Damage(model, rows_of_lesions(lesion), seed, calibration, ids, changes)
    if not damage.paths:
        yield model
        return
    if there := slots_of(model):
        if changes is not None:
            raise LesionError("slots measure no changes: lesion the model uncompiled, or leave changes= out")
        with filled(there, damage.assignments(there), damage.blocks, calibration, damage.first()):
            yield model
        return
    with damage.watch:
        yield model
        damage.watch.finish()
        damage.check_acted()


def lesion_sites(model: nn.Module, lesion: Lesion | None) -> tuple[str, ...]:
    """Paths of the modules whose output a lesion changes, each once, in the order of its parts.

    Example:
        >>> from torchvision.models import vgg16
        >>> from facelesion.lesions import Ablate, Prune
        >>> lesion_sites(vgg16(), Ablate("conv5_3") + Prune("conv4_1", fraction=0.1))
        ('features.29', 'features.17')
    """
    parts = () if lesion is None else lesion.parts
    return tuple(dict.fromkeys(site.path for part in parts for site in sites_of(model, part)))
