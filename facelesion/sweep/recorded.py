"""A network recorded as a list of steps, which can be cut between them.

`torch.fx` records the steps (Reed et al. 2022, "torch.fx: practical program capture and transformation for deep
learning"). A piece between two cuts is a module of its own that shares the network's submodules under the same
paths, so that hooks, parameters and buffers are the network's own.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import fx, nn

from facelesion.lesions.locate import aliases
from facelesion.sweep.facts import OTHER, ROWS, CannotTrace, State, dry_run, leaves, repeated
from facelesion.sweep.trace import Trace
from facelesion.sweep.untouched import untouched


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


class Recorded(Trace):
    """The recorded steps of a network.

    Args:
        model: any module whose first argument is the batch; further arguments keep their defaults.
        example: a batch like those to come; only its shape, type and device matter.
        whole: paths of modules to keep as one step each (sites that contain other modules).

    Raises:
        CannotTrace: the network cannot be recorded.

    Example:
        >>> trace = Recorded(nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 1)), torch.ones(1, 2))
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

    def __init__(self, model: nn.Module, example: torch.Tensor, whole: Iterable[str] = ()) -> None:
        if has_hooks(model):
            raise CannotTrace("the network itself carries hooks")
        if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
            raise CannotTrace("a scripted or compiled network cannot be recorded")
        # The recorder leaves constants behind on what it records: on a second self, not on the network.
        self.root = copy.copy(model)
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
        self.input_name = self._inputs.name
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
        self._live: dict[int, list[fx.Node]] = {}
        with untouched(model):
            facts, self._input_storage = dry_run(fx.GraphModule(self.root, graph), self.steps, example)
        super().__init__(model, example, facts)

    def position(self, path: str) -> int | None:
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
        if not path:
            return 1
        module = self.model.get_submodule(path)
        called = (self.model.get_submodule(str(s.target)) for s in self.steps if s.op == "call_module")
        return sum(any(inner is module for inner in each.modules()) for each in called)

    @property
    def ends_with_last_step(self) -> bool:
        return self._output.args[0] is self.steps[-1]

    def shape(self, node: fx.Node) -> torch.Size | None:
        """The shape of a step's result for a batch of two images; None where it is no tensor, or no step."""
        return self.facts[self._index[node]].shape if node in self._index else None

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

    def piece(self, begin: int, end: int) -> fx.GraphModule:
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
            # A recorded module (each has a class of its own) would print its code on every error.
            type(piece).__call__ = nn.Module.__call__  # type: ignore[method-assign]
            # The flag alone: `train()` would reach into the shared submodules.
            piece.training = self.model.training
            # Under the same names as in the whole network.
            piece.__dict__["site_aliases"] = self.aliases
            self._pieces[begin, end] = piece
        return self._pieces[begin, end]

    def arguments(self, state: Mapping[str, Any], position: int) -> list[Any]:
        return [state[node.name] for node in self.live(position)]

    def named(self, result: Any, end: int) -> Any:
        if end == self.length:
            return result
        return dict(zip((node.name for node in self.live(end)), result, strict=True))

    def peak_bytes(self, begin: int, end: int, beside: Mapping[int, int] | None = None) -> int:
        peak, beside = 0, beside or {}
        for number in range(begin, end):
            held = {self._index[n]: None for n in self.live(number) if n in self._index}
            own = self.facts[number].bytes + beside.get(number, 0)
            peak = max(peak, sum(self.facts[k].bytes for k in held) + own)
        return peak

    def row_bytes(self, position: int) -> int | None:
        held = [self.facts[self._index[node]] if node in self._index else None for node in self.live(position)]
        rows = [fact.bytes for fact in held if fact is not None and fact.growth == ROWS]
        return sum(rows) if len(rows) == len(held) else None

    def only_rows(self, position: int) -> bool:
        return all(node is self._inputs or self.facts[self._index[node]].growth == ROWS for node in self.live(position))

    def can_cut(self, position: int) -> bool:
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

    def repeated(self, state: Mapping[str, Any], times: int) -> State:
        growths = {self.input_name: ROWS} | {fact.name: fact.growth for fact in self.facts}
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
