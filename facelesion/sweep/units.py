"""Every single unit of a site removed, one by one, for little more than the layers that come two further on.

Removing one channel stays the removal of one channel through activations and pools, and changes the next linear map by
that channel's own contribution. All contributions of a site cost one pass of that map, so each unit's own run
begins one layer later than its site; before a linear readout nothing is left to run at all.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from facelesion.lesions import Ablate, Calibration, Lesion, lesioned
from facelesion.lesions.locate import Site, find, unit_axis
from facelesion.sweep import engine, memory
from facelesion.sweep.channels import Channels, Stretch, stretch
from facelesion.sweep.engine import Batches, Options
from facelesion.sweep.errors import SweepError
from facelesion.sweep.kernels import contributions
from facelesion.sweep.tracing import State, Trace, Whole

Units = Sequence[int] | torch.Tensor


@dataclass(frozen=True)
class UnitPart:
    """Outputs without each of some units of one site, for some images, as a unit sweep streams them.

    Attributes:
        site: the module path.
        units: which units.
        rows: which images, counted over the whole sweep.
        outputs: (len(units), len(rows), ...).
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
    batch_size: int = engine.BATCH_SIZE,
    progress: bool = False,
    reduce: Callable[[torch.Tensor, range], torch.Tensor] | None = None,
    options: Options | None = None,
) -> dict[str, torch.Tensor]:
    """The network's outputs with every single unit removed, one unit at a time.

    Equal, to rounding, to one forward under `Ablate(site, units=[unit], to=to)` per unit.

    Args:
        model: any module in evaluation mode that takes one batch.
        sites: a pattern or several: `"conv5_1"`, `"conv*"`.
        batches: preprocessed images (N, ...), or an iterable of such tensors.
        units: which units to try, for all sites or per module path; None tries all.
        removed: units that are already gone throughout, per module path (for greedy rankings).
        to: "zero", or "mean": removed units take their calibrated mean.
        calibration: for `to="mean"`.
        batch_size, progress, options: as in `sweep`.
        reduce: from outputs (units, images, ...) and the images' numbers to what is wanted of them, (units, ...) sums;
            it is added up over batches, and no output is kept.

    Returns:
        Module path to outputs (units, N, ...) in main memory, or to the sums that `reduce` made.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(96, 2))
        >>> images = torch.rand(5, 3, 8, 8)
        >>> outputs = unit_sweep(network.eval(), "1", images)
        >>> outputs["1"].shape
        torch.Size([4, 5, 2])
        >>> from facelesion.lesions import lesioned
        >>> with lesioned(network, Ablate("1", units=[3])):
        ...     print(torch.allclose(network(images), outputs["1"][3], atol=1e-6))
        True
    """
    kept: dict[str, dict[int, list[torch.Tensor]]] = {}
    for part in stream_units(
        model, sites, batches, units=units, removed=removed, to=to, calibration=calibration, progress=progress,
        options=options or Options(batch_size=batch_size),
    ):  # fmt: skip
        here = kept.setdefault(part.site, {})
        if reduce is None:
            for unit, output in zip(part.units, part.outputs.cpu(), strict=True):
                here.setdefault(unit, []).append(output)
        else:
            for unit, value in zip(part.units, reduce(part.outputs, part.rows).double().cpu(), strict=True):
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
) -> Iterator[UnitPart]:
    """As `unit_sweep`, handing outputs out as they come. `ahead=False` leaves the one-layer-ahead step out."""
    if to not in ("zero", "mean"):
        raise SweepError(f"to is zero or mean, not {to!r}")
    if to == "mean" and calibration is None:
        raise SweepError('to="mean" needs calibration=calibrate(model, images, sites)')
    options = options or Options()
    device = engine.device_of(model)
    engine.check_mode(model)
    places = _places(model, [sites] if isinstance(sites, str) else list(sites))
    iterator = iter(engine.split(batches, options.batch_size))
    first = next(iterator, None)
    if first is None:
        raise SweepError("nothing to sweep: give at least one image")
    trace = engine.record_sites(model, first, [site.path for site in places], options)
    budget = options.budget if options.budget is not None else int(memory.free_bytes(device) * memory.SHARE)
    jobs = [
        _job(trace, site, units, removed or {}, to, calibration, budget, options, ahead)
        for site in sorted(places, key=lambda site: trace.position(site.path) or 0)
    ]
    begin = 0
    with engine.bar_of(progress, sum(len(job.units) for job in jobs)) as bar:
        for batch in itertools.chain([first], iterator):
            rows = range(begin, begin + len(batch))
            with torch.no_grad(), engine.precision(device, options.autocast):
                for job, chunk, outputs in _batch(
                    trace, jobs, engine.placed(batch, device, options), removed or {}
                ):
                    yield UnitPart(job.site.path, tuple(chunk), rows, outputs)
                    bar.update(len(chunk) * len(rows))
            begin = rows.stop


@dataclass(frozen=True)
class _Job:
    """One site's share of a sweep."""

    site: Site
    step: int
    units: tuple[int, ...]
    # None: this site cannot be cut behind, and every unit runs as a lesion of its own.
    way: Stretch | None
    fill: torch.Tensor
    gone: tuple[int, ...]
    rows: int


def _places(model: nn.Module, patterns: list[str]) -> list[Site]:
    places = list(dict.fromkeys(site for pattern in patterns for site in find(model, pattern)))
    for site in places:
        if site.call is not None or site.output or site.heads:
            raise SweepError(f"{site}: a unit sweep takes whole modules; use sweep with one Ablate per unit")
    return places


def _chosen(units: Units | Mapping[str, Units] | None, path: str, count: int) -> tuple[int, ...]:
    named = units.get(path) if isinstance(units, Mapping) else units
    chosen = tuple(range(count)) if named is None else tuple(int(unit) for unit in named)
    if any(not 0 <= unit < count for unit in chosen):
        raise SweepError(f"{path} has {count} units, numbered from 0: there is no unit {max(chosen)}")
    return chosen


def _job(
    trace: Trace | Whole,
    site: Site,
    units: Units | Mapping[str, Units] | None,
    removed: Mapping[str, Units],
    to: str,
    calibration: Calibration | None,
    budget: int,
    options: Options,
    ahead: bool,
) -> _Job:
    step = trace.position(site.path)
    if step is None:
        raise SweepError(
            f"{site} never runs in a forward of {type(trace.model).__name__}: name a site in use"
        )
    module = trace.model.get_submodule(site.path)
    way, shape, axis = None, trace.facts[step].shape, 1
    own = (
        isinstance(trace, Trace) and trace.calls_of_step(step) == 1 and trace.steps[step].target == site.path
    )
    if shape is None or not own:
        # The site is part of a step, or runs more than once: its shape is not in the record.
        shape = trace.output_shape(site.path)
        own = False
    if shape is None:
        raise SweepError(f"{site} does not answer with one tensor; use sweep with one Ablate per unit")
    axis = unit_axis(module, torch.empty(shape, device="meta"), site)
    if own and isinstance(trace, Trace):
        way = stretch(trace, step, axis, ahead=ahead)
    count = shape[axis]
    fill = torch.zeros(count)
    if to == "mean":
        assert calibration is not None
        fill = calibration.of(site, 0)[0]
    fill = fill.to(engine.device_of(trace.model)).view(-1, *[1] * (len(shape) - 1 - axis))
    end = way.end if way else step
    row = trace.peak_bytes(end, trace.length)
    fit = options.rows or memory.rows_that_fit(row, budget, engine.device_of(trace.model))
    gone = tuple(int(unit) for unit in removed.get(site.path, ()))
    return _Job(site, step, _chosen(units, site.path, count), way, fill, gone, fit)


Found = tuple[_Job, Sequence[int], torch.Tensor]


def _batch(
    trace: Trace | Whole, jobs: Sequence[_Job], batch: torch.Tensor, removed: Mapping[str, Units]
) -> Iterator[Found]:
    """One batch's way through all sites, in the network's order."""
    state, begin = trace.repeated(trace.start(batch), 1), 0
    for job in jobs:
        if job.way is None or any(gone and path != job.site.path for path, gone in removed.items()):
            yield from _plain(trace, job, batch, removed)
            continue
        assert isinstance(trace, Trace)
        behind = job.step + 1
        if behind == trace.length:
            yield job, job.units, _swapped(trace.run(trace.repeated(state, 1), begin, behind), job)
            continue
        if not trace.can_cut(behind):
            yield from _plain(trace, job, batch, removed)
            continue
        state, begin = trace.run(state, begin, behind), behind
        yield from _units(trace, job, trace.repeated(state, 1), len(batch))


def _plain(
    trace: Trace | Whole, job: _Job, batch: torch.Tensor, removed: Mapping[str, Units]
) -> Iterator[Found]:
    """Units of a site that cannot be cut behind, or of a network that is damaged elsewhere too: whole forwards."""
    base: list[Lesion] = [_removal(Site(path), gone, job) for path, gone in removed.items() if len(gone)]
    for unit in job.units:
        lesion = functools.reduce(operator.add, [*base, _removal(job.site, [unit], job)])
        calibration = Calibration(
            {str(job.site): job.fill.flatten().cpu()}, {str(job.site): job.fill.flatten().cpu()}
        )
        with lesioned(trace.model, lesion, calibration=calibration):
            yield job, (unit,), trace.model(batch.clone())[None]


def _units(trace: Trace, job: _Job, state: State, images: int) -> Iterator[Found]:
    """Every unit of a site, from the state behind it, which is used up."""
    way = job.way
    assert way is not None
    name = trace.steps[job.step].name
    axis = way.follow[name].axis
    if name not in state:
        raise SweepError(f"{job.site}: nothing reads this site's output")
    if job.gone:
        gone = torch.tensor(job.gone, device=state[name].device)
        state[name].index_copy_(axis, gone, _filled(state[name], job.fill).index_select(axis, gone))
    # All units removed at once: each follows its own way to the next map, and none meets another.
    without = trace.repeated(state, 1)
    without[name] = _filled(without[name], job.fill)
    healthy, without = _followed(trace, way, state), _followed(trace, way, without)
    change = without[way.source] - healthy[way.source] if way.linear is not None else None
    at_end = trace.run(healthy, way.stop, way.end) if way.linear is not None else healthy
    if not isinstance(at_end, dict):
        at_end = {way.result: at_end}

    def run(units: Sequence[int]) -> torch.Tensor:
        chosen = torch.tensor(units, device=engine.device_of(trace.model))
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


def _followed(trace: Trace, way: Stretch, state: State) -> State:
    """The state where the units' common stretch ends; the output itself under its step's name at the network's end."""
    result = trace.run(state, way.begin, way.stop) if way.stop > way.begin else state
    return result if isinstance(result, dict) else {trace.steps[-1].name: result}


def _filled(value: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(value) + fill.to(value.dtype)


def _swapped(output: torch.Tensor, job: _Job) -> torch.Tensor:
    """The last step's own units, removed one by one."""
    assert job.way is not None
    channels = Channels(next(iter(job.way.follow.values())).axis)
    rows = _one_by_one(output, _filled(output, job.fill), channels, job.units)
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


def _removal(site: Site, units: Units, job: _Job) -> Lesion:
    return Ablate(
        str(site), units=tuple(int(unit) for unit in units), to="mean" if bool(job.fill.any()) else "zero"
    )
