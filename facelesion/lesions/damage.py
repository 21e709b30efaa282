"""What happens while a context lasts: forwards are counted, and each module's output is damaged as the plan says.

At a module's first call the plan is fitted to its output (units drawn, doses and masks made into tensors) and kept;
after that a call is a few tensor operations, however many lesions share the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from . import functional, philox, rows
from .attention import Heads
from .calibration import Calibration
from .changes import Changes
from .compiled import Slot
from .errors import IgnoredByCompile, LesionDidNotAct, LesionError, RowsDoNotDivide
from .host import on_the_host
from .inside import Handle, Pruned, plain, stands_for_many
from .kinds import Lesion
from .locate import Site, pick, unit_axis, unwrap
from .plan import Step, enough_weights, make_plan
from .steps import Fitted
from .units import Entry, chosen_units
from .values import whole_number
from .watch import Call, Forward, Watch, refuse_compiled

HOST = torch.device("cpu")
NOBODY = torch.empty(0, dtype=torch.int64)


@dataclass
class Batch:
    """The images of one forward.

    Attributes:
        first: how many images the context had seen before.
        rows: how many rows came in, if that is known.
        images: how many images that is.
        numbers: the images' numbers, by the device that they lie on.
        unpruned: by module path, a pruned layer's output, and what it was without pruning.
        given: what the network was called with, while the forward runs.
    """

    first: int
    rows: rows.Rows | None
    images: int | None = None
    numbers: dict[torch.device, Tensor] = field(default_factory=dict)
    unpruned: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    given: tuple[tuple[Any, ...], dict[str, Any]] | None = None


class Damage:
    """One `lesioned` context at work, and how far its image numbers have come."""

    def __init__(
        self,
        model: nn.Module,
        lesions: Sequence[Lesion | None],
        seed: int,
        calibration: Calibration | None,
        ids: Sequence[int] | Tensor | None,
        changes: Changes | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise LesionError(f"model must be a torch.nn.Module, not a {type(model).__name__}")
        if calibration is not None and not isinstance(calibration, Calibration):
            raise LesionError(
                f"calibration must be what calibrate(model, images, lesion) gives, not a {type(calibration).__name__}"
            )
        if changes is not None and not isinstance(changes, Changes):
            raise LesionError(f"changes must be a Changes(), not a {type(changes).__name__}")
        self.given, self.model = model, unwrap(model)
        self.blocks, self.seed, self.calibration = len(lesions), whole_number(seed, "seed"), calibration
        self.ids = None if ids is None else _numbers(ids)
        self.placed: dict[torch.device, Tensor] = {}
        self.changes = changes
        self.plan = make_plan(self.model, lesions, calibration)
        self.paths = self.plan.paths
        # Per module, the sites whose change is measured.
        self.measured: dict[str, list[Site]] = {}
        if changes is not None:
            changes.expect([[str(site) for site in sites] for sites in self.plan.sites])
            for site in dict.fromkeys(site for sites in self.plan.sites for site in sites):
                self.measured.setdefault(site.path, []).append(site)
        self.seen = 0
        self.ran: set[tuple[str, int]] = set()
        self.missed = ""
        self.followed: dict[tuple[Any, ...], int | None] = {}
        self.pruning: dict[tuple[str, float, int], Tensor] = {}
        self.watch = Watch(
            model,
            self.paths,
            self.visit,
            self.begin,
            self.end,
            inside=self.enter_modules,
            also=self.witnesses,
        )

    # The frame: forwards and their images.

    def begin(self, args: tuple[Any, ...] | None, kwargs: dict[str, Any]) -> Batch:
        left = None if self.ids is None else self.blocks * (len(self.ids) - self.seen)
        came = None if args is None else rows.came_in(self.model, args, kwargs, left)
        batch = Batch(self.seen, came, given=None if args is None else (args, kwargs))
        if came is not None and came.count % self.blocks == 0:
            batch.images = came.count // self.blocks
        return batch

    def end(self, forward: Forward, error: BaseException | None) -> None:
        ran = {(path, call) for path, count in forward.calls.items() for call in range(count)}
        self.ran |= ran
        forward.data.given = None
        if error is None:
            for path, call in sorted(self.plan.expected - ran):
                self.missed = self.missed or f"{path}[{call}]" if call else path
        # Whoever runs out of memory tries the same images again.
        if not isinstance(error, getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)):
            self.seen += forward.data.images or 0

    def check_acted(self) -> None:
        if not self.ran and not self.missed:
            raise LesionDidNotAct(
                f"no forward of {type(self.model).__name__} was seen, so the lesion did not act: call the model inside "
                "the context; a compiled copy ignores hooks (see slots)"
            )
        never = sorted(self.plan.expected - self.ran)
        missed = self.missed or (
            f"{never[0][0]}[{never[0][1]}]" if never and never[0][1] else never[0][0] if never else ""
        )
        if missed:
            raise LesionDidNotAct(
                f"{missed!r} did not run in a forward of {type(self.model).__name__}, so its lesion did not act: "
                "the path is not in use, or its module is bypassed or compiled"
            )

    def numbers(
        self, batch: Batch, site: Site, count: int | None = None, device: torch.device = HOST
    ) -> Tensor:
        """The image numbers of a forward; `count` are the rows at a site, where none are known to have come in."""
        if batch.rows is None and count is not None:
            if batch.images not in (None, count / self.blocks):
                raise RowsDoNotDivide(
                    f"{site}: {count} rows, where another site has {batch.images * self.blocks}"
                )
            if count % self.blocks == 0:
                batch.images = count // self.blocks
        if not batch.images:
            known = batch.rows.count if batch.rows else count
            raise RowsDoNotDivide(
                f"{site}: {known} rows cannot be shared out among {self.blocks} lesions: "
                "give each lesion the same number of rows"
            )
        if device not in batch.numbers:
            begin, end = batch.first, batch.first + batch.images
            if self.ids is not None and end > len(self.ids):
                raise RowsDoNotDivide(
                    f"ids holds {len(self.ids)} image numbers, and the forwards of this context need more: give "
                    "one per image, counting each image once however many lesions it gets"
                )
            batch.numbers[device] = (
                torch.arange(begin, end, device=device) if self.ids is None else self.ids_on(device)[begin:end]
            )
        return batch.numbers[device]

    def ids_on(self, device: torch.device) -> Tensor:
        """The given image numbers, brought to a device once."""
        assert self.ids is not None
        if device not in self.placed:
            self.placed[device] = self.ids.to(device, non_blocking=True)
        return self.placed[device]

    # Which axis counts images.

    @cached_property
    def mixed(self) -> bool | None:
        said = {rows.time_first(module) for module in self.model.modules()} - {None}
        return (True in said) if said else None

    @cached_property
    def witnesses(self) -> list[str]:
        """Layers that show by their output whether the network was rightly thought to take its batch first."""
        steps = [step for steps in (*self.plan.heads.values(), *self.plan.outputs.values()) for step in steps]
        if (self.blocks == 1 and not any(step.draws for step in steps)) or not self.mixed:
            return []
        found = []
        for path in rows.witnesses(self.model):
            try:
                refuse_compiled(self.given, [path])
            except (IgnoredByCompile, LesionError):
                continue
            found.append(path)
        return found

    def axis(self, call: Call, batch: Batch, shape: Sequence[int], units: int | None, site: Site) -> int:
        """The axis of a tensor that counts images."""
        if isinstance(call.module, nn.Embedding) and len(shape) == 2 and not rows.embeds_images(batch.given):
            raise LesionError(
                f"{site}: what it embeds has one axis, and that need not count images (positions, words): no "
                "lesion that draws numbers and no list of lesions can act here"
            )
        said = rows.said_axis(call.module, rows.time_first_at(self.model, call.path), site, len(shape))
        if said is not None:
            self.witness(call, batch, site, shape, said)
        count = None if batch.rows is None else batch.rows.count
        try:
            return rows.batch_axis(shape, units, site, count, said, self.mixed)
        except rows.EitherAxis:
            found = self.follows(call, batch, site)
            if found is None:
                raise
            return found

    def follows(self, call: Call, batch: Batch, site: Site) -> int | None:
        """Which axis of an output grows with the batch, by a healthy run with one row less; None: not to be found."""
        place = (call.path, call.number, site.output)
        if place not in self.followed and batch.given is not None and batch.rows is not None:
            if self.model.training or not self.watch.is_alone() or torch._C._functorch.maybe_current_level():
                return None
            shapes: list[Sequence[int]] = []

            def look(path: str, output: Any) -> None:
                if path == call.path:
                    shapes.append(pick(output, site.output, site)[0].shape)

            args, kwargs = rows.one_less(batch.given, batch.rows.count)
            try:
                with self.watch.looks(look), torch.no_grad(), torch.random.fork_rng():
                    self.model(*args, **kwargs)
            except (RuntimeError, ValueError, TypeError, IndexError):
                return None  # it does not take another number of images
            if call.number >= len(shapes):
                return None
            grown = [axis for axis in (0, 1) if shapes[call.number][axis] == batch.rows.count - 1]
            self.followed[place] = grown[0] if len(grown) == 1 else None
        return self.followed.get(place)

    def witness(self, call: Call, batch: Batch, site: Site, shape: Sequence[int], said: int) -> None:
        """A layer that puts time first shows whether the network was rightly thought to take its batch first."""
        came = batch.rows
        if came is None or came.other is None or shape[said] != came.other:
            return
        if came.other == came.count and self.follows(call, batch, site) == said:
            return
        raise LesionError(
            f"{site} takes time first and counts {shape[said]} rows; whether {type(self.model).__name__} takes its "
            f"images first ({came.count} of them) is not to be seen: lesion the part that begins with this layer"
        )

    # The damage.

    def visit(self, call: Call) -> Any:
        path, batch, output = call.path, call.forward.data, call.output
        if call.forward.unmatched:
            batch = self.unmatched(path)
        if path in self.witnesses and not call.forward.unmatched:
            self.testify(batch, call)
        if path not in self.plan.outputs and path not in self.measured:
            return output
        whole = output
        for step in self.plan.outputs.get(path, []):
            if step.site.call in (None, call.number):
                y, rebuild = pick(output, step.site.output, step.site)
                units = unit_axis(call.module, y, step.site)
                output = rebuild(self.damaged([step], call, batch, y, units))
        if self.changes is not None and not call.forward.recomputed:
            self.measure(call, batch, whole, output)
        return output

    def testify(self, batch: Batch, call: Call) -> None:
        site = Site(call.path)
        y, _ = pick(call.output, (), site)
        if y.ndim == 3:
            self.witness(call, batch, site, y.shape, int(bool(rows.time_first(call.module))))

    def unmatched(self, path: str) -> Batch:
        """For a call in a backward pass of which nobody knows which forward it repeats."""
        steps = [*self.plan.heads.get(path, []), *self.plan.outputs.get(path, [])]
        if self.blocks > 1 or any(step.draws or step.site.call is not None for step in steps):
            raise LesionError(
                f"{path!r} runs again in the backward pass, in a way of checkpointing that is not PyTorch's own, so "
                "that its random numbers and rows are not known: use torch.utils.checkpoint, or a lesion without any"
            )
        return Batch(0, None)

    def damaged(
        self, steps: list[Step], call: Call, batch: Batch, y: Tensor, units: int, axis: int | None = None
    ) -> Tensor:
        given = y
        for step in steps:
            if step.site.call not in (None, call.number):
                continue
            numbers = NOBODY
            if step.draws and stands_for_many(y):
                raise LesionError(
                    f"{step.site}: under torch.vmap an image does not know its number, so every image would get the "
                    "same numbers: give the images as a batch, or take a lesion that draws none"
                )
            along = axis
            if along is None and (step.draws or self.blocks > 1):
                along = self.axis(call, batch, y.shape, units, step.site)
            elif along is None:
                # Any axis will do, but that of the units; to take images for units is a slip.
                images = batch.rows is None or y.shape[0] == batch.rows.count
                along = 1 if units == 0 and not images else 0
            if units == along:
                raise LesionError(
                    f"{step.site}: axis {units} counts images and cannot hold the units as well"
                )
            if step.draws or self.blocks > 1 or self.ids is not None:
                numbers = self.numbers(batch, step.site, y.shape[along], y.device)
            z = y.movedim((along, units), (0, 1)).unflatten(0, (self.blocks, -1))
            key = (call.number, z.shape[2:], y.device, y.dtype, torch.is_inference_mode_enabled())
            if key not in step.fitted:
                step.fitted[key] = Fitted(
                    step.entries, z, call.number, self.blocks, self.seed, self.calibration
                )
            new = step.fitted[key].damage(z, numbers)
            y = y if new is z else new.flatten(0, 1).movedim((0, 1), (along, units))
        return _laid_out_as(given, y)

    def measure(self, call: Call, batch: Batch, whole: Any, output: Any) -> None:
        if call.path in batch.unpruned:
            pruned, unpruned = batch.unpruned.pop(call.path)
            if pruned is not whole and call.path in self.plan.outputs:
                raise LesionError(
                    f"{call.path!r}: its change cannot be measured, as another hook changes its output between pruning "
                    "and the rest of this lesion: enter the context first"
                )
            output, whole = (output if pruned is whole else pruned), unpruned
        assert self.changes is not None
        for site in self.measured.get(call.path, []):
            if not site.heads and site.call in (None, call.number):
                before, after = (pick(each, site.output, site)[0] for each in (whole, output))
                self.add_change(call, batch, site, before, after, unit_axis(call.module, before, site))

    def add_change(
        self,
        call: Call,
        batch: Batch,
        site: Site,
        before: Tensor,
        after: Tensor,
        units: int,
        axis: int | None = None,
    ) -> None:
        assert self.changes is not None
        if stands_for_many(before) or stands_for_many(after):
            raise LesionError(
                f"{site}: changes= cannot be measured under torch.vmap: give the images as a batch"
            )
        if axis is None:
            axis = 0
            if self.blocks > 1:
                axis = self.axis(call, batch, before.shape, units, site)
        if self.blocks > 1:
            self.numbers(batch, site, before.shape[axis])
        self.changes.add(str(site), plain(before), plain(after), axis)

    # Inside modules: weights and heads (see `inside`).

    def enter_modules(self) -> list[Handle]:
        kinds: dict[str, type[Pruned] | type[Heads]] = {path: Pruned for path in self.plan.pruned}
        kinds |= {path: Heads for path in self.plan.heads}
        return [
            Handle(kind, self.model.get_submodule(path), _Within(self, path)) for path, kind in kinds.items()
        ]

    def masks(self, path: str, block: int, weight: Tensor) -> tuple[Tensor, ...]:
        """True for the weights that are left, for each pruning of a lesion."""
        found = []
        for part in self.plan.pruned[path].get(block, ()):
            key = (path, part.fraction, part.seed)
            enough_weights(part, Site(path), weight.numel())
            if key not in self.pruning or self.pruning[key].device != weight.device:
                with on_the_host():
                    order = philox.ranks(weight.numel(), "prune", part.seed, path).view(weight.shape)
                    kept = functional.prune(torch.ones(weight.shape), order, part.fraction) > 0
                self.pruning[key] = kept.to(weight.device, non_blocking=True)
            found.append(self.pruning[key])
        return tuple(found)

    # For slots (see `compiled`).

    def assignments(self, there: Mapping[str, Slot]) -> Iterator[tuple[int, Entry, Tensor, tuple[int, int]]]:
        """The plan for slots: place in the order, lesion, units, and the key of its random numbers."""
        if self.plan.pruned or self.plan.heads:
            raise LesionError("slots hold no pruning and no attention heads: lesion the model uncompiled")
        for path, steps in self.plan.outputs.items():
            count = there[path].units if path in there else 0
            for step in steps:
                for entry in step.entries:
                    with on_the_host():
                        units = chosen_units(entry.part, entry.site, count) if count else torch.arange(0)
                    yield step.place, entry, units, entry.key(self.seed, 0)

    def first(self) -> int:
        """Where image numbers begin; slots count on from there."""
        if self.ids is None or not len(self.ids):
            return 0
        ids = self.ids.cpu()
        if not torch.equal(ids, torch.arange(len(ids)) + ids[0]):
            raise LesionError("with slots, ids must be numbers that follow each other")
        return int(ids[0])


class _Within:
    """One context's part in one module (`inside.Plan`)."""

    def __init__(self, damage: Damage, path: str) -> None:
        self.damage, self.path, self.blocks = damage, path, damage.blocks
        self.module = damage.model.get_submodule(path)

    def batch(self) -> tuple[Forward, Batch]:
        forward = self.damage.watch.coming(self.path)
        return forward, self.damage.unmatched(self.path) if forward.unmatched else forward.data

    def acts(self) -> bool:
        return self.damage.watch.looking is None

    def heads(self, heads: Tensor) -> Tensor:
        forward, batch = self.batch()
        call = Call(self.path, forward.calls.get(self.path, 0), self.module, (), {}, None, forward)
        steps = self.damage.plan.heads[self.path]
        count = heads.shape[0]
        if (
            batch.rows is not None
            and batch.rows.count != count
            and (self.blocks > 1 or any(s.draws for s in steps))
        ):
            raise LesionError(
                f"{steps[0].site}: {count} rows, where {batch.rows.count} came in: take another site"
            )
        damaged = self.damage.damaged(steps, call, batch, heads, 2, axis=0)
        if self.damage.changes is not None and not forward.recomputed:
            for site in self.damage.measured[self.path]:
                if site.heads and site.call in (None, call.number):
                    self.damage.add_change(call, batch, site, heads, damaged, 2, axis=0)
        return damaged

    def masks(self, block: int, weight: Tensor) -> tuple[Tensor, ...]:
        return self.damage.masks(self.path, block, weight)

    def axis(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        _, batch = self.batch()
        given = next(
            (each for each in (*args, *kwargs.values()) if isinstance(each, Tensor) and each.ndim), None
        )
        site = Site(self.path)
        if given is None:
            raise LesionError(f"{site}: no tensor goes in, so a list of lesions cannot prune it")
        shape = (*given.shape, 1) if isinstance(self.module, nn.Embedding) else tuple(given.shape)
        units = 1 if "Conv" in type(self.module).__name__ else len(shape) - 1
        forward = self.damage.watch.coming(self.path)
        call = Call(self.path, forward.calls.get(self.path, 0), self.module, args, kwargs, None, forward)
        axis = self.damage.axis(call, batch, shape, units, site)
        self.damage.numbers(batch, site, shape[axis])
        return axis

    def unpruned(self, make: Any, output: Any) -> None:
        forward, batch = self.batch()
        if self.damage.changes is not None and not forward.recomputed:
            batch.unpruned[self.path] = (output, make())


def _laid_out_as(given: Tensor, y: Tensor) -> Tensor:
    """In the given layout: without it a later `view` would fail, or every later convolution be slower."""
    if y is given or y.stride() == given.stride():
        return y
    if given.is_contiguous():
        return y.contiguous()
    for axes, layout in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if given.ndim == axes and given.is_contiguous(memory_format=layout):
            return y.contiguous(memory_format=layout)
    return y


def _numbers(ids: Any) -> Tensor:
    try:
        values = torch.as_tensor(ids if isinstance(ids, Tensor) else list(ids))
        if values.numel() and (
            values.is_floating_point() or values.is_complex() or values.dtype == torch.bool
        ):
            raise TypeError
        return values.to(torch.int64).flatten()  # where they are: to bring them to the host would wait for a GPU
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise LesionError(
            "ids must be image numbers, whole numbers of at most 63 bits, one for each image"
        ) from error
