"""Images walked once through the healthy part of a network, up to behind one site, for many sweeps of its units."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from facelesion.sweep import arguments
from facelesion.sweep.facts import State
from facelesion.sweep.options import Options
from facelesion.sweep.removals import Job, Removals, jobs_of
from facelesion.sweep.running import bar_of, quietly
from facelesion.sweep.trace import Trace
from facelesion.sweep.trial import Trial
from facelesion.sweep.units import UnitPart, each_unit

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
    """

    trace: Trace
    job: Job
    state: State
    options: Options

    @classmethod
    def of(cls, model: nn.Module, site: str, images: torch.Tensor, options: Options, trial: Trial) -> Kept | None:
        """Walk the images up to behind the site; None where the network cannot be cut there, or memory is too small."""
        removals = Removals.of(model, site, options=options)
        trace = removals.prepared(trial)
        (job,) = jobs_of(trace, removals)
        behind = job.step + 1
        if job.way is None or behind == trace.length or not trace.can_cut(behind):
            return None
        row = trace.row_bytes(behind)
        if row is None or row * len(images) > SHARE * options.budget_on(removals.device):
            return None
        walked = _walked(trace, behind, images, options.batch_size, removals.device)
        parts = list(quietly(trace, walked, options))
        state = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return cls(trace, job, state, options)

    @property
    def name(self) -> str:
        """Under which name the state holds the site's output."""
        return self.trace.facts[self.job.step].name

    def state_of(self, numbers: torch.Tensor) -> State:
        """A copy of the state of some images."""
        return {name: _picked(value, numbers.to(value.device)) for name, value in self.state.items()}

    def output(self, state: State) -> torch.Tensor:
        """The network's output from a state of these names; gradients flow. The state is used up."""
        result: torch.Tensor = self.trace.run(state, self.job.step + 1, self.trace.length)
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
        with bar_of(progress, len(chosen) * len(numbers)) as bar:
            for begin in range(0, len(numbers), self.options.batch_size):
                some = numbers[begin : begin + self.options.batch_size]
                rows = range(begin, begin + len(some))
                found = each_unit(self.trace, job, self.state_of(some), len(some))
                for _, chunk, outputs in quietly(self.trace, found, self.options):
                    yield UnitPart(job.site.path, tuple(chunk), rows, outputs)
                    bar.update(len(chunk) * len(some))


def _walked(
    trace: Trace, behind: int, images: torch.Tensor, size: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    for batch in images.split(size):
        yield trace.run(trace.start(batch.to(device)), 0, behind)


def _picked(value: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Rows of a value, copied and laid out in memory as the value is."""
    strides = value.stride()
    order = [0, *sorted(range(1, value.ndim), key=lambda axis: (-strides[axis], axis))]
    return value.permute(order)[numbers].permute([order.index(axis) for axis in range(value.ndim)])
