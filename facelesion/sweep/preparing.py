"""From a network to steps that give its own answers: recorded and tried out with the cuts to be made, or run whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from facelesion.sweep import memory
from facelesion.sweep.facts import ROWS, CannotTrace, State
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
        if (states := _sound(trace, trial, cuts)) is not None:
            break
    else:
        raise CannotTrace("the recorded steps give another answer than the network")
    if not _apart(trace, trial, states):
        raise CannotTrace("images meet in a batch once one of them is damaged")
    if trial.images.device.type == "cpu":
        trace.arithmetic = OnProcessor(options.winograd, options.room_for_kernels)
        trace.kept_bytes = bytes_for_kernels(model, options.room_for_kernels) if options.winograd else 0
    return trace


def _sound(trace: Trace, trial: Trial, cuts: Cuts) -> dict[int, State] | None:
    """Healthy states, by place, if the steps give the network's answer; None if not.

    They are those at the beginning, where large maps end, and, last, where damage begins. Places where a cut changes
    the answer are not cut at.
    """
    trace.uncuttable = frozenset()
    while True:
        wanted, large = set(cuts(trace)), end_of_large_maps(trace) or trace.length
        places = sorted(place for place in {*wanted, large} if place < trace.length and trace.can_cut(place))
        begin = min(wanted.intersection(places), default=0)
        states = _answered(trace, trial, places, {0, min(large, begin), begin})
        if states is not None:
            return states
        if _answered(trace, trial, []) is None:
            return None
        bad = {place for place in places if _answered(trace, trial, [place]) is None}
        # Each alone may do no harm, and all together some.
        bad = (bad or set(places)) - {0}
        if not bad:
            return None
        trace.uncuttable |= bad


def _answered(
    trace: Trace, trial: Trial, places: Sequence[int], keep: Collection[int] = ()
) -> dict[int, State] | None:
    """One walk that is cut at these places, and repeated at the first where lesions may begin, as a sweep's are.

    The states at those of them that are to be kept, if it gives the network's answer; None if not.
    """
    large = end_of_large_maps(trace)
    first = next((place for place in places if place != large), None)
    cost = 0 if first is None else trace.multiply_adds(first, trace.length)
    times = 1 if first is None else max(2, min(16, _WORK // (2 * cost or 1)))
    kept: dict[int, State] = {}

    def walk() -> Any:
        state, begin = trace.start(trial.images), 0
        for place in sorted({0, *places}):
            state = trace.run(state, begin, place) if place > begin else state
            if place in keep:
                kept[place] = trace.repeated(state, 1)
            state, begin = trace.repeated(state, times if place == first else 1), place
        return trial.readout(trace.run(state, begin, trace.length))

    return kept if _answers(walk, _many(trial.answer, times)) else None


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


def _apart(trace: Recorded, trial: Trial, states: Mapping[int, State]) -> bool:
    """Whether the second image stays as it was when the first is wrecked at every step, wherever company changes.

    That is from where damage begins on, and before it up to the end of large maps, which few images at a time walk
    through. In between nothing is damaged, and images walk in the company that they came in.
    """
    begin = max(states)
    spans = [(begin, trace.length), (0, min(begin, end_of_large_maps(trace)))]
    return all(_apart_from(trace, trial, states, start, end) for start, end in spans if start < end)


def _apart_from(trace: Recorded, trial: Trial, states: Mapping[int, State], begin: int, end: int) -> bool:
    """The same of the steps from `begin` to `end`."""
    wanted: Any = trial.answer
    try:
        with torch.no_grad():
            # A copy: the states are healthy, and one span's is another's end.
            wrecked = _Wreck(trace, begin, end).run(*trace.arguments(trace.repeated(states[begin], 1), begin))
            if end == trace.length:
                wrecked = trial.readout(wrecked)
            else:
                wanted = trace.arguments(states[end], end)
    except Exception as problem:
        if memory.out_of_memory(problem):
            raise
        # Some step refuses such numbers, which says nothing about the images.
        return True
    pairs = zip(tensors(wanted), tensors(wrecked), strict=False)
    return all(agree(a[1], b[1]) for a, b in pairs if a.ndim and len(a) == 2 and a.shape == b.shape)


class _Wreck(fx.Interpreter):
    """Runs the steps from one on, and writes large numbers into the first image's row of every result.

    Results of earlier steps that these read are wrecked too, as they are where units are taken out of them.
    """

    def __init__(self, trace: Recorded, begin: int, end: int) -> None:
        piece = trace.piece(begin, end)
        super().__init__(piece)
        rows = {fact.name for fact in trace.facts if fact.growth == ROWS}
        of_piece = [n for n in piece.graph.nodes if n.op not in ("get_attr", "output")]
        of_trace = [*trace.live(begin), *trace.steps[begin:end]]
        self.rows = {n.name for n, known in zip(of_piece, of_trace, strict=True) if known.name in rows}
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
