"""Images walked once through the healthy part of a network, up to behind one site, for many sweeps of its units."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from facelesion.sweep import arguments, engine
from facelesion.sweep.facts import ROWS, State
from facelesion.sweep.options import Options
from facelesion.sweep.preparing import laid_out
from facelesion.sweep.tracing import Trace
from facelesion.sweep.trial import Trial
from facelesion.sweep.units import (
    Job,
    UnitPart,
    Wanted,
    budget_of,
    each_unit,
    jobs_of,
    places_of,
    prepared_for,
)

# Of the budget for activations.
SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Kept:
    """What the healthy network holds behind a site, for all images.

    Attributes:
        trace: its steps.
        job: the site.
        state: values (N, ...) by name.
        options: how it is swept.
        left: the network, where it is to be left as it was.
    """

    trace: Trace
    job: Job
    state: State
    options: Options
    left: nn.Module | None

    @classmethod
    def of(cls, model: nn.Module, site: str, images: torch.Tensor, options: Options, trial: Trial) -> Kept | None:
        """Walk the images up to behind the site; None where the network cannot be cut there, or memory is too small."""
        device = engine.device_of(model)
        places = places_of(model, site)
        wanted = Wanted(None, {}, "zero", None, budget_of(options, device), options, ahead=True)
        trace = prepared_for(model, places, wanted, trial)
        (job,) = jobs_of(trace, places, wanted)
        behind = job.step + 1
        if not isinstance(trace, Trace) or job.way is None or behind == trace.length or not trace.can_cut(behind):
            return None
        facts = [trace.facts[trace.steps.index(node)] for node in trace.live(behind) if node in trace.steps]
        if len(facts) < len(trace.live(behind)) or any(fact.growth != ROWS for fact in facts):
            return None  # the batch itself, or what is no row per image
        if sum(fact.bytes for fact in facts) * len(images) > SHARE * wanted.budget:
            return None
        left = model if trial.counting else None
        parts = list(engine.quietly(_walked(trace, behind, images, options, device), device, options.autocast, left))
        state = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return cls(trace, job, state, options, left)

    @property
    def name(self) -> str:
        """Under which name the state holds the site's output."""
        return self.trace.steps[self.job.step].name

    def state_of(self, numbers: torch.Tensor) -> State:
        """A copy of the state of some images."""
        return {name: _picked(value, numbers.to(value.device)) for name, value in self.state.items()}

    def output(self, state: State) -> torch.Tensor:
        """The network's output from a state of these names; gradients flow. The state is used up."""
        behind = self.job.step + 1
        result: torch.Tensor = self.trace.piece(behind, self.trace.length)(*self.trace.arguments(state, behind))
        return result

    def stream(
        self,
        numbers: torch.Tensor,
        units: Sequence[int] | None = None,
        removed: Sequence[int] = (),
        progress: bool = False,
    ) -> Iterator[UnitPart]:
        """As `stream_units` for some of the images; `rows` count over those asked for."""
        count = len(self.job.fill)
        chosen = self.job.units if units is None else arguments.units_of(units, "units")
        arguments.check_count(chosen, self.job.site.path, count, "units")
        job = dataclasses.replace(self.job, units=chosen, gone=tuple(removed))
        device = engine.device_of(self.trace.model)
        with engine.bar_of(progress, len(chosen) * len(numbers)) as bar:
            for begin in range(0, len(numbers), self.options.batch_size):
                some = numbers[begin : begin + self.options.batch_size]
                rows = range(begin, begin + len(some))
                found = each_unit(self.trace, job, self.state_of(some), len(some))
                for _, chunk, outputs in engine.quietly(found, device, self.options.autocast, self.left):
                    yield UnitPart(job.site.path, tuple(chunk), rows, outputs)
                    bar.update(len(chunk) * len(some))


def _walked(
    trace: Trace, behind: int, images: torch.Tensor, options: Options, device: torch.device
) -> Iterator[dict[str, Any]]:
    for begin in range(0, len(images), options.batch_size):
        batch = laid_out(images[begin : begin + options.batch_size].to(device), trace)
        yield trace.run(trace.repeated(trace.start(batch), 1), 0, behind)


def _picked(value: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Rows of a value, copied and laid out in memory as the value is."""
    strides = value.stride()
    order = [0, *sorted(range(1, value.ndim), key=lambda axis: (-strides[axis], axis))]
    return value.permute(order)[numbers].permute([order.index(axis) for axis in range(value.ndim)])
