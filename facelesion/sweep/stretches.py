"""A network's early steps, a few images at a time where one alone fills a processor's caches.

The first maps of a network are its largest. Where a batch goes through them whole, each step waits for memory; image by
image, a step finds in the caches what the one before it left there.
"""

from __future__ import annotations

from typing import Any

import torch

from facelesion.sweep.facts import State, joined
from facelesion.sweep.trace import Trace

# What a processor's caches hold.
CACHE = 32 << 20
# A step that holds so much for one image leaves no room for four.
LARGE = CACHE // 4


def end_of_large_maps(trace: Trace) -> int:
    """The first place behind the last step with a large map where all that goes on is rows of images; 0: none has any.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
        >>> from facelesion.sweep.trace import whole
        >>> end_of_large_maps(whole(network, torch.ones(1, 3), "as asked"))
        0
    """
    large = [step for step in range(trace.length) if trace.peak_bytes(step, step + 1) > LARGE]
    behind = range(large[-1] + 1, trace.length) if large else ()
    return next((place for place in behind if trace.can_cut(place) and trace.only_rows(place)), 0)


def through(trace: Trace, state: State, begin: int, end: int) -> Any:
    """As `trace.run`, where no lesion acts: large maps a few images at a time; no step leaves the state as it is."""
    stop = min(end_of_large_maps(trace), end)
    if begin < stop < trace.length and trace.only_rows(begin) and trace.only_rows(stop) and _on_processor(state):
        few = max(1, CACHE // max(1, trace.peak_bytes(begin, stop)))
        parts = {name: value.split(few) for name, value in state.items()}
        found = [
            trace.run(dict(zip(parts, values, strict=True)), begin, stop)
            for values in zip(*parts.values(), strict=True)
        ]
        state, begin = {name: joined([part[name] for part in found]) for name in found[0]}, stop
    return trace.run(state, begin, end) if begin < end else state


def _on_processor(state: State) -> bool:
    return all(isinstance(value, torch.Tensor) and value.device.type == "cpu" for value in state.values())
