"""From a network to steps that give its own answers: recorded and tried out with the cuts to be made, or run whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from facelesion.sweep import memory
from facelesion.sweep.facts import ROWS, CannotTrace
from facelesion.sweep.options import Options
from facelesion.sweep.processor import OnProcessor, bytes_for_kernels
from facelesion.sweep.recorded import Recorded
from facelesion.sweep.stretches import end_of_large_maps
from facelesion.sweep.trace import Trace, whole
from facelesion.sweep.trial import Trial, agree, answer_of, tensors
from facelesion.sweep.untouched import untouched

# Where a network will be cut, as far as is known of it.
Cuts = Callable[[Trace], Iterable[int]]
# Copies of the two images in a trial of the cuts: as many as these multiply-adds allow, between two and sixteen.
_WORK = 200_000_000


def prepared(model: nn.Module, sites: Iterable[str], options: Options, trial: Trial, cuts: Cuts) -> Trace:
    """The network's steps, with every site a step of its own; the whole network as one step where that fails.

    Before they are used, the steps must give the network's own answer to the images as they came, cut where they will
    be cut, and images must not meet even when one of them is badly damaged. Layouts that give another answer
    are not used.

    Args:
        model: the network.
        sites: module paths of what will be damaged.
        options: how to sweep.
        trial: what the healthy network answers.
        cuts: the positions at which a sweep would cut.
    """
    layouts = [True, False] if _last(trial.images, options) else [False]
    with untouched(model):
        try:
            if not options.trace:
                raise CannotTrace("as asked")
            trace: Trace = _cut(model, sites, options, trial, cuts, layouts)
        except CannotTrace as problem:
            trace = whole(model, trial.images, str(problem))
            for trace.channels_last in layouts:
                if _answers(lambda: answer_of(model, trace.laid_out(trial.images), trial.readout), trial.answer):
                    break
    trace.left = model if trial.counting else None
    return trace


def _last(images: Tensor, options: Options) -> bool:
    """Whether channels last is wanted and would change anything."""
    wanted = images.device.type == "cpu" if options.channels_last is None else options.channels_last
    return wanted and images.ndim == 4


def _cut(
    model: nn.Module,
    sites: Iterable[str],
    options: Options,
    trial: Trial,
    cuts: Cuts,
    layouts: Sequence[bool],
) -> Recorded:
    trace = Recorded(model, trial.images, sites)
    for trace.channels_last in layouts:
        if _sound(trace, trial, cuts):
            break
    else:
        raise CannotTrace("the recorded steps give another answer than the network")
    if not _apart(trace, trial):
        raise CannotTrace("images meet in a batch once one of them is damaged")
    if trial.images.device.type == "cpu":
        trace.arithmetic = OnProcessor(options.winograd, options.room_for_kernels)
        trace.kept_bytes = bytes_for_kernels(model, options.room_for_kernels) if options.winograd else 0
    return trace


def _sound(trace: Trace, trial: Trial, cuts: Cuts) -> bool:
    """Whether the steps give the network's answer; places where a cut changes it are not cut at."""
    trace.uncuttable = frozenset()
    while True:
        wanted = {*cuts(trace), end_of_large_maps(trace) or trace.length}
        places = sorted(place for place in wanted if place < trace.length and trace.can_cut(place))
        if _answered(trace, trial, places):
            return True
        if not _answered(trace, trial, []):
            return False
        bad = {place for place in places if not _answered(trace, trial, [place])}
        # Each alone may do no harm, and all together some.
        bad = (bad or set(places)) - {0}
        if not bad:
            return False
        trace.uncuttable |= bad


def _answered(trace: Trace, trial: Trial, places: Sequence[int]) -> bool:
    """One walk that is cut at these places, and repeated at the first where lesions may begin, as a sweep's are."""
    large = end_of_large_maps(trace)
    first = next((place for place in places if place != large), None)
    cost = 0 if first is None else trace.multiply_adds(first, trace.length)
    times = 1 if first is None else max(2, min(16, _WORK // (2 * cost or 1)))

    def walk() -> Any:
        state = trace.start(trial.images)
        begin = 0
        for place in places:
            state = trace.run(state, begin, place) if place > begin else state
            state, begin = trace.repeated(state, times if place == first else 1), place
        return trial.readout(trace.run(state, begin, trace.length))

    return _answers(walk, _many(trial.answer, times))


def _many(answer: Any, times: int) -> Any:
    """What as many copies of the two images must be answered."""
    if isinstance(answer, Tensor):
        return torch.cat([answer] * times)
    return [torch.cat([t] * times) if t.ndim and len(t) == 2 else t for t in tensors(answer)]


def _answers(run: Callable[[], Any], wanted: Any) -> bool:
    try:
        with torch.no_grad():
            found = run()
    except Exception as problem:
        if memory.out_of_memory(problem):
            raise
        return False
    return agree(wanted, found)


def _apart(trace: Recorded, trial: Trial) -> bool:
    """Whether the second image's answer stays as it was when the first is wrecked at every step."""
    try:
        with torch.no_grad():
            wrecked = trial.readout(_Wreck(trace).run(trace.laid_out(trial.images).clone()))
    except Exception as problem:
        if memory.out_of_memory(problem):
            raise
        # Some step refuses such numbers, which says nothing about the images.
        return True
    pairs = zip(tensors(trial.answer), tensors(wrecked), strict=False)
    return all(agree(a[1], b[1]) for a, b in pairs if a.ndim and len(a) == 2 and a.shape == b.shape)


class _Wreck(fx.Interpreter):
    """Runs the steps, and writes large numbers into the first image's row of every result."""

    def __init__(self, trace: Recorded) -> None:
        super().__init__(fx.GraphModule(trace.root, trace.graph))
        self.rows = {fact.name for fact in trace.facts if fact.growth == ROWS}
        own = [*trace.model.parameters(), *trace.model.buffers()]
        # A learned parameter handed on is no result, and is not written into.
        self.own = {tensor.untyped_storage()._cdata for tensor in own if tensor.layout == torch.strided}
        # Drawn once, for the largest result: to draw for each costs as much as a step.
        most = max((fact.shape[1:].numel() for fact in trace.facts if fact.shape), default=0)
        self.noise = torch.randn(most, generator=torch.Generator().manual_seed(0)) * 1e3

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if (
            n.name in self.rows
            and isinstance(result, Tensor)
            and result.is_floating_point()
            and len(result) == 2
            and 0 not in result.stride()
            and result.untyped_storage()._cdata not in self.own
        ):
            result[0] = self.noise[: result[0].numel()].view(result.shape[1:]).to(result)
        return result
