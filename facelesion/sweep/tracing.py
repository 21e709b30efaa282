"""A network as a list of steps that can be cut anywhere: what comes before a site runs once, what comes after often.

`torch.fx` records the steps (Reed et al. 2022, "torch.fx: practical program capture and transformation for deep
learning"). A piece between two cuts is a module of its own that shares the network's submodules under the same
paths, so that hooks, parameters and buffers are the network's own.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import fx, nn

from facelesion.lesions.locate import aliases
from facelesion.sweep.facts import OTHER, ROWS, CannotTrace, State, dry_run, leaves, repeated
from facelesion.sweep.untouched import untouched
from facelesion.sweep.whole import seen_shape


class _Tracer(fx.Tracer):
    """Records a network; keeps whole what is named in `whole`, what carries hooks, and what cannot be looked into."""

    def __init__(self, whole: Iterable[str]) -> None:
        super().__init__()
        self.whole = set(whole)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.whole or has_hooks(m):
            return True
        if isinstance(m, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            return False
        return super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        path = self.path_of_module(m)
        if self.is_leaf_module(m, path):
            return self.create_proxy("call_module", path, args, kwargs)
        before = len(self.graph.nodes)
        try:
            return forward(*args, **kwargs)
        except Exception:
            # Data-dependent control flow: run this module as one step rather than give up on the whole network.
            for node in list(reversed(self.graph.nodes))[: len(self.graph.nodes) - before]:
                self.graph.erase_node(node)
            self.whole.add(path)
            return self.create_proxy("call_module", path, args, kwargs)


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody hooked this module; its hooks would be skipped were it opened up."""
    return any(
        getattr(module, name, None)
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    )


class Trace:
    """The recorded steps of a network.

    Args:
        model: any module whose first argument is the batch; further arguments keep their defaults.
        example: a batch like those to come; only its shape, type and device matter.
        whole: paths of modules to keep as one step each (sites that contain other modules).

    Raises:
        CannotTrace: the network cannot be recorded.

    Example:
        >>> trace = Trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 1)), torch.ones(1, 2))
        >>> trace.length, trace.position("1")
        (3, 1)
        >>> state = trace.run(trace.start(torch.ones(4, 2)), 0, 1)
        >>> {name: tuple(value.shape) for name, value in state.items()}
        {'_0': (4, 3)}
        >>> trace.multiply_adds(0, trace.length)
        9
        >>> trace.run(state, 1, trace.length).shape
        torch.Size([4, 1])
    """

    # Why the network is not cut: it is.
    why_whole = ""

    def __init__(self, model: nn.Module, example: torch.Tensor, whole: Iterable[str] = ()) -> None:
        if has_hooks(model):
            raise CannotTrace("the network itself carries hooks")
        if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
            raise CannotTrace("a scripted or compiled network cannot be recorded")
        self.model, self.example = model, example
        # The recorder leaves constants behind on what it records: on a second self, not on the network.
        self.root = copy.copy(model)
        # How pieces compute: a context that is on while one runs.
        self.arithmetic: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        tracer = _Tracer(whole)
        try:
            with untouched(model):
                graph = tracer.trace(self.root, concrete_args=_defaults(model))
        except Exception as problem:
            raise CannotTrace(
                f"torch.fx: {str(problem).splitlines()[0] if str(problem) else problem!r}"
            ) from problem
        self.graph = graph
        self._inputs = _drop_defaults(graph)
        nodes = list(graph.nodes)
        # Parameters and buffers read by name are no state: every piece reads them afresh.
        self.steps = [n for n in nodes if n.op not in ("placeholder", "output", "get_attr")]
        if not self.steps:
            raise CannotTrace("it does nothing that could be cut")
        self._constants = {n for n in nodes if n.op == "get_attr"}
        self._output = nodes[-1]
        self._index = {node: number for number, node in enumerate(self.steps)}
        self.aliases = aliases(model)
        self._pieces: dict[tuple[int, int], fx.GraphModule] = {}
        # Where a trial showed that the network cannot be cut, and how its images are laid out (`preparing`).
        self.uncuttable: frozenset[int] = frozenset()
        self.channels_last = False
        with untouched(model):
            self.facts, self._input_storage = dry_run(self, example)
        self._live: dict[int, list[fx.Node]] = {}

    @property
    def length(self) -> int:
        """Number of steps; a cut at `length` has the network's output behind it."""
        return len(self.steps)

    def position(self, path: str) -> int | None:
        """The step at which the module at `path` (or the step that contains it) first runs; None if it never does."""
        if not path:
            # The network itself: its answer is there when the last step is done.
            return self.length - 1
        try:
            wanted = self.model.get_submodule(path)
        except AttributeError:
            return None
        for number, step in enumerate(self.steps):
            if step.op != "call_module":
                continue
            called = self.model.get_submodule(str(step.target))
            if called is wanted or any(inner is wanted for inner in called.modules()):
                return number
        # A container that was opened up: its hooks would never fire in a piece.
        return None

    def calls_of(self, path: str) -> int:
        """How many steps run the module at `path`, by itself or within another."""
        if not path:
            return 1
        module = self.model.get_submodule(path)
        called = (self.model.get_submodule(str(s.target)) for s in self.steps if s.op == "call_module")
        return sum(any(inner is module for inner in each.modules()) for each in called)

    def output_shape(self, path: str) -> torch.Size | None:
        """The shape of what the module at `path` answers, seen in a forward of the example; None if not one tensor."""
        return seen_shape(self.model, path, self.example)

    @property
    def ends_with_last_step(self) -> bool:
        """Whether the network's output is simply what its last step made."""
        return self._output.args[0] is self.steps[-1]

    def shape(self, node: fx.Node) -> torch.Size | None:
        """The shape of a step's result for a batch of two images; None where it is no tensor, or no step."""
        return self.facts[self._index[node]].shape if node in self._index else None

    def start(self, batch: torch.Tensor) -> State:
        """The state before the first step."""
        return {self._inputs.name: batch}

    @property
    def input_name(self) -> str:
        """Under which name a state holds the batch."""
        return self._inputs.name

    def live(self, position: int) -> list[fx.Node]:
        """The values that steps from `position` on still need of what ran before."""
        if position not in self._live:
            needed: dict[fx.Node, None] = {}
            for step in [*self.steps[position:], self._output]:
                for source in step.all_input_nodes:
                    earlier = source is self._inputs or self._index.get(source, position) < position
                    if source not in self._constants and earlier:
                        needed[source] = None
            self._live[position] = list(needed)
        return self._live[position]

    def piece(self, begin: int, end: int) -> nn.Module:
        """Steps `begin` to `end` as a module: live values at `begin` in, live values at `end` (or the output) out."""
        if (begin, end) not in self._pieces:
            graph = fx.Graph()
            copies: dict[fx.Node, fx.Node] = {}
            for node in self.live(begin):
                copies[node] = graph.placeholder(node.name)

            def copied(node: fx.Node) -> fx.Node:
                if node not in copies and node in self._constants:
                    copies[node] = graph.node_copy(node)
                return copies[node]

            for step in self.steps[begin:end]:
                for source in step.all_input_nodes:
                    copied(source)
                copies[step] = graph.node_copy(step, copied)
            if end == self.length:
                result: Any = fx.map_arg(self._output.args[0], copied)
            else:
                result = tuple(copied(node) for node in self.live(end))
            graph.output(result)
            piece = fx.GraphModule(self.root, graph)
            # The flag alone: `train()` would reach into the shared submodules.
            piece.training = self.model.training
            # Under the same names as in the whole network.
            piece.__dict__["site_aliases"] = self.aliases
            self._pieces[begin, end] = piece
        return self._pieces[begin, end]

    def run(self, state: Mapping[str, Any], begin: int, end: int) -> Any:
        """Runs steps `begin` to `end`: the state there, or the network's output where `end` is the last.

        In-place steps write into the state that is handed in: hand in a copy (`repeated`) to keep it.
        """
        with self.arithmetic:
            return self.named(self.piece(begin, end).forward(*self.arguments(state, begin)), end)

    def arguments(self, state: Mapping[str, Any], position: int) -> list[Any]:
        """The state in the order in which the piece that begins at `position` takes it."""
        return [state[node.name] for node in self.live(position)]

    def named(self, result: Any, end: int) -> Any:
        """What a piece that ends at `end` gave, as a state (or the output itself at the last step)."""
        if end == self.length:
            return result
        return dict(zip((node.name for node in self.live(end)), result, strict=True))

    def multiply_adds(self, begin: int, end: int) -> int:
        """Multiply-adds of steps `begin` to `end` for one image."""
        return sum(fact.multiply_adds for fact in self.facts[begin:end])

    def peak_bytes(self, begin: int, end: int) -> int:
        """The most memory that the results of steps `begin` to `end` hold at one time, for one image."""
        peak = 0
        for number in range(begin, end):
            held = {self._index[n]: None for n in self.live(number) if n in self._index}
            peak = max(peak, sum(self.facts[k].bytes for k in held) + self.facts[number].bytes)
        return peak

    def can_cut(self, position: int) -> bool:
        """Whether the state before a step can be kept and repeated for several lesions."""
        if position in self.uncuttable:
            return False
        storages: list[int] = []
        for node in self.live(position):
            if node is self._inputs:
                storages += self._input_storage
                continue
            fact = self.facts[self._index[node]]
            if OTHER in leaves(fact.growth):
                return False
            storages += fact.storage
        # Two live values in one piece of memory: copies would part, and an in-place step would reach only one.
        return len(storages) == len(set(storages))

    def cut_before(self, position: int) -> int:
        """The last place at or before a step where the network can be cut."""
        while position and not self.can_cut(position):
            position -= 1
        return position

    def repeated(self, state: Mapping[str, Any], times: int) -> State:
        """A copy of a state for `times` lesions: all images for the first, all images for the second, and so on.

        The result never shares memory with the state, so that in-place steps do no harm.
        """
        growths = {self._inputs.name: ROWS} | {
            step.name: fact.growth for step, fact in zip(self.steps, self.facts, strict=True)
        }
        return {name: repeated(value, growths[name], times) for name, value in state.items()}


def _defaults(model: nn.Module) -> dict[str, Any] | None:
    """Arguments of `forward` beyond the first, at their defaults: a recorded `if mask is not None` always holds."""
    parameters = list(inspect.signature(model.forward).parameters.values())
    found: dict[str, Any] = {}
    for parameter in parameters[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            raise CannotTrace(f"forward needs a second argument, {parameter.name}")
        found[parameter.name] = parameter.default
    return found or None


def _drop_defaults(graph: fx.Graph) -> fx.Node:
    """Removes the placeholders of arguments kept at their defaults; the one that is left is the batch."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    if not placeholders:
        raise CannotTrace("forward takes no batch")
    for extra in placeholders[1:]:
        for user in list(extra.users):
            if user.users:
                raise CannotTrace(f"the argument {extra.name} is used")
            graph.erase_node(user)
        graph.erase_node(extra)
    if not placeholders[0].users:
        raise CannotTrace("the batch is not used")
    return placeholders[0]
