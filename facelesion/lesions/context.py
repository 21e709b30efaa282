"""`lesioned`: a network with its lesions on, for as long as a `with` block lasts.

On entry the patterns are resolved into a plan: for each module, step by step, which kind of damage which rows get. At
a module's first call the plan is fitted to its output (units drawn, doses and masks made into tensors) and
kept; after that a call is a few tensor operations, however many lesions share the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from . import functional, philox
from .attention import contexts, mixed, twin
from .calibration import Calibration, missing
from .changes import Changes
from .compiled import Slot, filled, slots_of
from .errors import LesionDidNotAct, LesionError, NoCalibration, RowsDoNotDivide
from .kinds import Lesion, Prune, SiteLesion, UnitLesion
from .locate import Site, batch_axis, find, incoming, pick, unit_axis, unwrap
from .steps import Fitted
from .units import Entry, chosen_units
from .watch import Watch


@contextmanager
def lesioned(
    model: nn.Module,
    lesion: Lesion | None | Sequence[Lesion | None],
    *,
    seed: int = 0,
    calibration: Calibration | None = None,
    ids: Sequence[int] | Tensor | None = None,
    changes: Changes | None = None,
) -> Iterator[nn.Module]:
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
        >>> from facelesion.lesions import Ablate
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
        >>> images = torch.rand(5, 3, 8, 8)
        >>> healthy = network(images)
        >>> with lesioned(network, Ablate("1", fraction=0.5)):
        ...     damaged = network(images)
        >>> torch.equal(healthy, damaged), torch.equal(healthy, network(images))
        (False, True)
    """
    rows = [lesion] if lesion is None or isinstance(lesion, Lesion) else list(lesion)
    damage = Damage(model, rows, seed, calibration, ids, changes)
    if not damage.paths:
        yield model
        return
    if there := slots_of(model):
        if changes is not None:
            raise LesionError("slots measure no changes: lesion the model uncompiled, or leave changes= out")
        with filled(there, damage.assignments(there), damage.blocks, calibration, damage.first()):
            yield model
        return
    with Watch(model, damage.paths, damage.visit, damage.begin, damage.end) as watch:
        yield model
        watch.finish()
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
    return tuple(dict.fromkeys(site.path for part in parts for site in _sites_of(model, part)))


def _sites_of(model: nn.Module, part: SiteLesion) -> tuple[Site, ...]:
    found = find(model, part.site)
    if not isinstance(part, Prune):
        return found
    return tuple(Site(path) for path in dict.fromkeys(incoming(model, site.path) for site in found))


@dataclass
class Step:
    """Entries of one kind that are computed together, with what is known once the output's shape is."""

    place: int
    entries: list[Entry]
    fitted: dict[tuple[Any, ...], Fitted] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        return self.entries[0].site


class Damage:
    """The plan of one `lesioned` context, and how far its image numbers have come."""

    def __init__(
        self,
        model: nn.Module,
        rows: Sequence[Lesion | None],
        seed: int,
        calibration: Calibration | None,
        ids: Sequence[int] | Tensor | None,
        changes: Changes | None = None,
    ) -> None:
        if not rows:
            raise LesionError("an empty list of lesions: give at least one, or None for a healthy network")
        for each in rows:
            if each is not None and not isinstance(each, Lesion):
                raise LesionError(f"a lesion or None is needed for each block of rows, got {each!r}")
        self.model = unwrap(model)
        self.blocks, self.seed, self.calibration = len(rows), seed, calibration
        self.ids = None if ids is None else torch.as_tensor(ids, dtype=torch.int64).flatten().cpu()
        self.offset, self.images = 0, 0
        self.acted, self.missed = False, ""
        self.expected: set[tuple[str, int]] = set()
        # Per module: what acts before its output is made, and after.
        self.pruned: dict[str, dict[int, list[Prune]]] = {}
        self.inner: dict[str, list[Step]] = {}
        self.outer: dict[str, list[Step]] = {}
        self.changes = changes
        # Per module, the sites whose change is measured.
        self.measured: dict[str, list[Site]] = {}
        self._plan(rows)
        self.paths = list(dict.fromkeys([*self.pruned, *self.inner, *self.outer]))
        self.masks: dict[tuple[str, float, int], Tensor] = {}

    def _plan(self, rows: Sequence[Lesion | None]) -> None:
        found: dict[SiteLesion, tuple[Site, ...]] = {}
        # Parts of one kind that come at the same place in the order of their rows share a step.
        steps: dict[tuple[Any, ...], Step] = {}
        named: list[list[str]] = []
        for block, lesion in enumerate(rows):
            named.append([])
            depth: Counter[tuple[str, bool]] = Counter()
            turns: Counter[SiteLesion] = Counter()
            for part in () if lesion is None else lesion.parts:
                if part not in found:
                    found[part] = _sites_of(self.model, part)
                for site in found[part]:
                    self.expected.add((site.path, site.call or 0))
                    named[-1].append(str(site))
                    if self.changes is not None and site not in self.measured.setdefault(site.path, []):
                        self.measured[site.path].append(site)
                    if isinstance(part, Prune):
                        self.pruned.setdefault(site.path, {}).setdefault(block, []).append(part)
                        continue
                    assert isinstance(part, UnitLesion)
                    self._check_calibrated(part, site)
                    place = depth[site.path, site.heads]
                    step = steps.setdefault((place, site, part.mode()), Step(place, []))
                    step.entries.append(Entry(block, part, site, turns[part]))
                    depth[site.path, site.heads] += 1
                turns[part] += 1
        for step in sorted(steps.values(), key=lambda step: step.place):
            plan = self.inner if step.site.heads else self.outer
            plan.setdefault(step.site.path, []).append(step)
        if self.changes is not None:
            self.changes.expect(named)

    def _check_calibrated(self, part: UnitLesion, site: Site) -> None:
        if not (getattr(part, "relative", False) or getattr(part, "to", "") == "mean"):
            return
        if self.calibration is None:
            raise NoCalibration(f"{part}: {missing(str(site))}")
        self.calibration.of(site, site.call or 0)

    def assignments(self, there: Mapping[str, Slot]) -> Iterator[tuple[int, Entry, Tensor, tuple[int, int]]]:
        """The plan for slots: place in the order, lesion, units, and the key of its random numbers."""
        if self.pruned or self.inner:
            raise LesionError("slots hold no pruning and no attention heads: lesion the model uncompiled")
        for path, steps in self.outer.items():
            count = there[path].units if path in there else 0
            for step in steps:
                for entry in step.entries:
                    units = chosen_units(entry.part, entry.site, count) if count else torch.arange(0)
                    yield step.place, entry, units, entry.key(self.seed, 0)

    def first(self) -> int:
        """Where image numbers begin; slots count on from there."""
        if self.ids is None or not len(self.ids):
            return 0
        if not torch.equal(self.ids, torch.arange(len(self.ids)) + self.ids[0]):
            raise LesionError("with slots, ids must be numbers that follow each other")
        return int(self.ids[0])

    def begin(self) -> None:
        self.images = 0

    def end(self, ran: set[tuple[str, int]]) -> None:
        self.acted = self.acted or bool(ran)
        for path, call in sorted(self.expected - ran):
            self.missed = self.missed or f"{path}[{call}]" if call else path
        self.offset += self.images
        self.images = 0

    def check_acted(self) -> None:
        if self.missed:
            raise LesionDidNotAct(
                f"{self.missed!r} did not run in a forward of {type(self.model).__name__}, so its lesion did not act: "
                "the path is not in use, or its module is bypassed or compiled"
            )
        if not self.acted:
            raise LesionDidNotAct(
                f"no forward of {type(self.model).__name__} was seen, so the lesion did not act: call the model inside "
                "the context; a compiled copy ignores hooks (see slots)"
            )

    def visit(self, path: str, call: int, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        given = output
        if path in self.pruned:
            output = self._prune(path, module, args, kwargs, output)
        if path in self.inner:
            whole = contexts(module, args, kwargs)
            heads = self._damage(self.inner[path], call, whole, 2, 0)
            _, rebuild = pick(output, (), self.inner[path][0].site)
            output = rebuild(mixed(module, heads))
            self._measure(path, call, True, lambda site: (whole, heads, 0))
        for step in self.outer.get(path, []):
            y, rebuild = pick(output, step.site.output, step.site)
            axis, batch = unit_axis(module, y, step.site), batch_axis(module, step.site)
            output = rebuild(self._damage([step], call, y, axis, batch))

        def tensors(site: Site) -> tuple[Tensor, Tensor, int]:
            before, after = (pick(each, site.output, site)[0] for each in (given, output))
            return before, after, batch_axis(module, site)

        self._measure(path, call, False, tensors)
        return output

    def _measure(
        self, path: str, call: int, heads: bool, tensors: Callable[[Site], tuple[Tensor, Tensor, int]]
    ) -> None:
        for site in self.measured.get(path, []):
            if site.heads == heads and site.call in (None, call):
                assert self.changes is not None
                before, after, batch = tensors(site)
                self._ids(site, before.shape[batch])
                self.changes.add(str(site), before, after, batch)

    def _damage(self, steps: list[Step], call: int, y: Tensor, axis: int, batch: int) -> Tensor:
        last = torch.channels_last
        keep_last = y.ndim == 4 and not y.is_contiguous() and y.is_contiguous(memory_format=last)
        for step in steps:
            if step.site.call not in (None, call):
                continue
            if axis == batch:
                raise LesionError(f"{step.site}: axis {axis} counts images and cannot hold the units as well")
            ids = self._ids(step.site, y.shape[batch])
            z = y.movedim((batch, axis), (0, 1)).unflatten(0, (self.blocks, -1))
            key = (call, z.shape[2:], y.device, y.dtype)
            if key not in step.fitted:
                step.fitted[key] = Fitted(step.entries, z, call, self.blocks, self.seed, self.calibration)
            y = step.fitted[key].damage(z, ids).flatten(0, 1).movedim((0, 1), (batch, axis))
        # Without its layout, every later convolution would be slower.
        return y.contiguous(memory_format=last) if keep_last else y

    def _ids(self, site: Site, rows: int) -> Tensor:
        images, rest = divmod(rows, self.blocks)
        if rest or not images:
            raise RowsDoNotDivide(
                f"{site}: {rows} rows cannot be shared out among {self.blocks} lesions: "
                "give each lesion the same number of rows"
            )
        if self.images and images != self.images:
            raise RowsDoNotDivide(f"{site}: {rows} rows, where another site has {self.images * self.blocks}")
        self.images = images
        if self.ids is None:
            return torch.arange(self.offset, self.offset + images)
        ids = self.ids[self.offset : self.offset + images]
        if len(ids) < images:
            raise RowsDoNotDivide(
                f"ids holds {len(self.ids)} image numbers, and the forwards of this context need more: give one per "
                "image, counting each image once however many lesions it gets"
            )
        return ids

    def _prune(self, path: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        plan = self.pruned[path]
        if self.blocks == 1:
            return twin(module, {"weight": self._weight(path, module, plan[0])}).forward(*args, **kwargs)
        self._ids(Site(path), args[0].shape[0])
        rows = args[0].shape[0] // self.blocks
        pieces = list(output.split(rows))
        for block, parts in plan.items():
            piece = args[0][block * rows : (block + 1) * rows]
            second = twin(module, {"weight": self._weight(path, module, parts)})
            pieces[block] = second.forward(piece, *args[1:], **kwargs)
        return torch.cat(pieces)

    def _weight(self, path: str, module: nn.Module, parts: list[Prune]) -> Tensor:
        weight = module.weight
        assert isinstance(weight, Tensor)
        for part in parts:
            key = (path, part.fraction, part.seed)
            if key not in self.masks:
                order = philox.ranks(weight.numel(), "prune", part.seed, path).view(weight.shape)
                kept = functional.prune(torch.ones(weight.shape), order, part.fraction) > 0
                self.masks[key] = kept.to(weight.device)
            weight = weight.masked_fill(~self.masks[key], 0.0)
        return weight
