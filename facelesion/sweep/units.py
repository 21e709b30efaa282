"""Every single unit of a site removed, one by one, for little more than the layers that come two further on.

Removing one channel stays the removal of one channel through activations and pools, and changes the next linear map by
that channel's own contribution. All contributions of a site cost one pass of that map, so each unit's own run
begins one layer later than its site; before a linear readout nothing is left to run at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from facelesion.lesions import Calibration, lesioned
from facelesion.sweep import arguments, memory
from facelesion.sweep.arguments import Batches, Units, name_of
from facelesion.sweep.channels import Channels, Stretch
from facelesion.sweep.errors import SweepError
from facelesion.sweep.facts import State
from facelesion.sweep.kernels import contributions
from facelesion.sweep.options import Options
from facelesion.sweep.removals import Job, Removals, jobs_of
from facelesion.sweep.running import bar_of, quietly
from facelesion.sweep.stretches import through
from facelesion.sweep.trace import Trace
from facelesion.sweep.trial import Trial, check_rows, tried

# Outputs (units, images, ...) and the images' numbers to sums (units, ...).
Reduce = Callable[[torch.Tensor, range], torch.Tensor]


@dataclass(frozen=True)
class UnitPart:
    """Outputs without each of some units of one site, for some images, as a unit sweep streams them.

    Attributes:
        site: the module path; a dot for the network's own output.
        units: which units.
        rows: which images, counted over the whole sweep.
        outputs: (len(units), len(rows), ...).

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> for part in stream_units(network, "1", torch.rand(5, 3)):
        ...     print(part.site, part.units, part.rows, tuple(part.outputs.shape))
        1 (0, 1, 2, 3) range(0, 5) (4, 5, 2)
    """

    site: str
    units: tuple[int, ...]
    rows: range
    outputs: torch.Tensor


def unit_sweep(
    model: nn.Module,
    sites: str | Sequence[str],
    batches: Batches,
    *,
    units: Units | Mapping[str, Units] | None = None,
    removed: Mapping[str, Units] | None = None,
    to: str = "zero",
    calibration: Calibration | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    reduce: Reduce | None = None,
    options: Options | None = None,
    trial: Trial | None = None,
) -> dict[str, torch.Tensor]:
    """The network's outputs with every single unit removed, one unit at a time.

    Equal, to rounding, to one forward under `Ablate(site, units=[unit], to=to)` per unit.

    Args:
        model: any module in evaluation mode that takes one batch.
        sites: a pattern or several: `"conv5_1"`, `"conv*"`.
        batches: preprocessed images (N, ...), or an iterable of such tensors, or of tuples that begin with one.
        units: which units to try, for all sites or per module path; None tries all.
        removed: units that are already gone throughout, per module path (for greedy rankings).
        to: "zero", or "mean": removed units take their calibrated mean.
        calibration: for `to="mean"`.
        batch_size, progress, options: as in `sweep`.
        reduce: from outputs (units, images, ...) and the images' numbers to what is wanted of them, (units, ...) sums;
            it is added up over batches, and no output is kept.
        trial: what the network was seen to answer, where it was tried before (`trial.tried`).

    Returns:
        Module path to outputs (units, N, ...) in main memory, or to the sums that `reduce` made.

    Raises:
        SweepError: as `sweep`, or units that a site does not have.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(96, 2))
        >>> images = torch.rand(5, 3, 8, 8)
        >>> outputs = unit_sweep(network.eval(), "1", images)
        >>> outputs["1"].shape
        torch.Size([4, 5, 2])
        >>> from facelesion.lesions import Ablate, lesioned
        >>> with lesioned(network, Ablate("1", units=[3])):
        ...     print(torch.allclose(network(images), outputs["1"][3], atol=1e-6))
        True
    """
    parts = stream_units(
        model, sites, batches, units=units, removed=removed, to=to, calibration=calibration, progress=progress,
        options=arguments.options_of(options, batch_size), trial=trial,
    )  # fmt: skip
    return collected(parts, reduce)


def collected(parts: Iterable[UnitPart], reduce: Reduce | None = None) -> dict[str, torch.Tensor]:
    """Module path to the outputs that were streamed, or to the sums that `reduce` makes of them."""
    kept: dict[str, dict[int, list[torch.Tensor]]] = {}
    for part in parts:
        here = kept.setdefault(part.site, {})
        if reduce is None:
            for unit, output in zip(part.units, part.outputs.cpu(), strict=True):
                here.setdefault(unit, []).append(output)
        else:
            sums = reduce(part.outputs, part.rows)
            if not isinstance(sums, torch.Tensor) or not sums.ndim or len(sums) != len(part.units):
                raise SweepError(f"reduce gives one value for each of {len(part.units)} units, (units, ...)")
            for unit, value in zip(part.units, sums.double().cpu(), strict=True):
                here[unit] = [here[unit][0] + value if unit in here else value]
    if reduce is None:
        return {site: torch.stack([torch.cat(rows) for rows in here.values()]) for site, here in kept.items()}
    return {site: torch.stack([rows[0] for rows in here.values()]) for site, here in kept.items()}


def stream_units(
    model: nn.Module,
    sites: str | Sequence[str],
    batches: Batches,
    *,
    units: Units | Mapping[str, Units] | None = None,
    removed: Mapping[str, Units] | None = None,
    to: str = "zero",
    calibration: Calibration | None = None,
    progress: bool = False,
    options: Options | None = None,
    ahead: bool = True,
    trial: Trial | None = None,
) -> Iterator[UnitPart]:
    """As `unit_sweep`, handing outputs out as they come.

    `ahead=False` leaves the one-layer-ahead step out; `trial` is what the network was seen to answer, where it was
    tried before.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> {unit for part in stream_units(network, "1", torch.rand(5, 3)) for unit in part.units}
        {0, 1, 2, 3}
    """
    removals = Removals.of(
        model, sites, units=units, removed=removed, to=to, calibration=calibration,
        options=arguments.options_of(options), ahead=ahead,
    )  # fmt: skip
    options, device = removals.options, removals.device
    images = arguments.in_batches(batches, options.batch_size)
    first = next(images)
    if trial is None:
        trial = tried(removals.model, first[1], arguments.readout_of(None), rows=options.trace)
    trace = removals.prepared(trial)
    jobs = jobs_of(trace, removals)
    with bar_of(progress, sum(len(job.units) for job in jobs)) as bar:
        for rows, given in itertools.chain([first], images):
            batch = trace.laid_out(given.to(device, non_blocking=True))
            found = _batch(trace, jobs, batch, removals)
            for job, chunk, outputs in quietly(trace, found, options):
                yield UnitPart(job.site.path or name_of(job.site), tuple(chunk), rows, outputs)
                bar.update(len(chunk) * len(rows))


# A unit this many times larger than every other costs as many digits in a difference.
_UNEVEN = 16.0

Found = tuple[Job, Sequence[int], torch.Tensor]


def _batch(trace: Trace, jobs: Sequence[Job], batch: torch.Tensor, removals: Removals) -> Iterator[Found]:
    """One batch's way through all sites, in the network's order."""
    state, begin = trace.start(batch), 0
    for job in jobs:
        behind = job.step + 1
        at_end = behind == trace.length
        followed = trace.ends_with_last_step if at_end else trace.can_cut(behind)
        if job.way is None or removals.elsewhere(job.site) or not followed:
            yield from _plain(trace, job, batch, removals)
        elif at_end:
            yield job, job.units, _swapped(trace.run(trace.repeated(state, 1), begin, behind), job)
        else:
            state, begin = through(trace, state, begin, behind), behind
            yield from each_unit(trace, job, trace.repeated(state, 1), len(batch))


def _plain(trace: Trace, job: Job, batch: torch.Tensor, removals: Removals) -> Iterator[Found]:
    """Units of a site that cannot be cut behind, or of a network that is damaged elsewhere too: whole forwards."""
    for unit in job.units:
        lesion = removals.lesion(job.site, sorted({*job.gone, unit}))
        with lesioned(trace.model, lesion, calibration=removals.calibration):
            outputs = trace.model(batch.clone())
        check_rows(outputs, len(batch))
        yield job, (unit,), outputs[None]


def each_unit(trace: Trace, job: Job, state: State, images: int) -> Iterator[Found]:
    """Every unit of a site, from the state behind it, which is used up."""
    way = job.way
    assert way is not None
    name = trace.facts[job.step].name
    axis = way.follow[name].axis
    if name not in state:
        raise SweepError(f"{job.site}: nothing reads this site's output")
    if job.gone:
        gone = torch.tensor(job.gone).to(state[name].device, non_blocking=True)
        state[name].index_copy_(axis, gone, _filled(state[name], job.fill).index_select(axis, gone))
    # All units removed at once: each follows its own way to the next map, and none meets another.
    without = trace.repeated(state, 1)
    without[name] = _filled(without[name], job.fill)
    healthy, without = _followed(trace, way, state), _followed(trace, way, without)
    if way.linear is not None and not _even(
        without[way.source] - healthy[way.source], way.follow[way.source]
    ):
        # To take out what nearly all of a sum is made of leaves rounding behind: each unit runs from here itself.
        way = way.before_linear
    change = without[way.source] - healthy[way.source] if way.linear is not None else None
    at_end = trace.run(healthy, way.stop, way.end) if way.linear is not None else healthy
    if not isinstance(at_end, dict):
        at_end = {way.result: at_end}

    def run(units: Sequence[int]) -> torch.Tensor:
        chosen = torch.tensor(units).to(job.fill.device, non_blocking=True)
        here: State = {}
        for value in at_end:
            if change is not None and value == way.result:
                assert way.linear is not None
                block = way.follow[way.source].block
                here[value] = contributions(change, at_end[value], way.linear, chosen, block)
            elif value in way.follow:
                here[value] = _one_by_one(at_end[value], without[value], way.follow[value], units)
            else:
                here |= trace.repeated({value: at_end[value]}, len(units))
        result = (
            next(iter(here.values())) if way.end == trace.length else trace.run(here, way.end, trace.length)
        )
        return result.unflatten(0, (len(units), images))

    for chunk, outputs in memory.in_chunks(job.units, max(1, job.rows // images), run):
        yield job, chunk, outputs


def _even(change: torch.Tensor, channels: Channels) -> bool:
    """Whether no unit is so much larger than all others (or no number at all) that a difference would be inexact."""
    if change.element_size() < 4:
        # Half precision has no digits to lose.
        return False
    largest = (
        change.abs().movedim(channels.axis, 0).flatten(1).amax(1).unflatten(0, (-1, channels.block)).amax(1)
    )
    first, second = (largest.topk(2).values if len(largest) > 1 else largest.repeat(2)).double().tolist()
    return first < float("inf") and (first <= _UNEVEN * second or len(largest) == 1)


def _followed(trace: Trace, way: Stretch, state: State) -> State:
    """The state where the units' common stretch ends; the output itself under its step's name at the network's end."""
    result = through(trace, state, way.begin, way.stop)
    return result if isinstance(result, dict) else {trace.facts[-1].name: result}


def _filled(value: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(value) + fill.to(value.dtype)


def _swapped(output: torch.Tensor, job: Job) -> torch.Tensor:
    """The last step's own units, removed one by one."""
    assert job.way is not None
    channels = Channels(next(iter(job.way.follow.values())).axis)
    without = _filled(output, job.fill)
    if job.gone:
        gone = torch.tensor(job.gone).to(output.device, non_blocking=True)
        output = output.index_copy(channels.axis, gone, without.index_select(channels.axis, gone))
    rows = _one_by_one(output, without, channels, job.units)
    return rows.unflatten(0, (len(job.units), len(output)))


def _one_by_one(
    healthy: torch.Tensor, without: torch.Tensor, channels: Channels, units: Sequence[int]
) -> torch.Tensor:
    """(m·N, ...): the value with each unit's own place taken from `without`."""
    rows = torch.cat([healthy] * len(units))  # which keeps the layout, as `repeat` does not
    for row, unit in zip(rows.split(len(healthy)), units, strict=True):
        place = (channels.axis, unit * channels.block, channels.block)
        row.narrow(*place).copy_(without.narrow(*place))
    return rows
