"""What will be run, worked out before anything is: a value that can be printed, written down and cut into shards.

Lesions are sorted by the step at which they first act. The healthy network is walked once per batch of images; at each
such step the lesions that begin there branch off. Lesions whose first damage is the very same share it: they branch
off together, walk on together, and part later, so that a plan is a tree.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from facelesion.lesions import Lesion, LesionDidNotAct, Prune
from facelesion.lesions.kinds import SiteLesion, UnitLesion
from facelesion.lesions.locate import find, incoming
from facelesion.sweep import memory
from facelesion.sweep.arguments import name_of
from facelesion.sweep.request import Request
from facelesion.sweep.trace import Trace


@dataclass(frozen=True)
class Act:
    """One simple lesion at one site: what acts, where, and at which place of a compound it stands."""

    place: int
    part: SiteLesion
    site: str

    def to_dict(self) -> dict[str, Any]:
        return {"place": self.place, "part": self.part.to_dict(), "site": self.site}


@dataclass(frozen=True)
class Leaf:
    """Lesions (by name) that are one and the same from here on, run from here to the network's end.

    `acts` are what is left of them; None where it is the whole lesion, exactly as it was given.
    """

    names: tuple[str, ...]
    acts: tuple[Act, ...] | None = None


@dataclass(frozen=True)
class Branch:
    """Damage that several lesions share, and the walk that they go on from there."""

    acts: tuple[Act, ...]
    walk: Walk


@dataclass(frozen=True)
class Stop:
    """A place on the way at which lesions branch off: the network is cut before step `position`."""

    position: int
    leaves: tuple[Leaf, ...] = ()
    branches: tuple[Branch, ...] = ()


@dataclass(frozen=True)
class Walk:
    """A way through the network: stops in order, and who walks to its end with no further damage."""

    stops: tuple[Stop, ...] = ()
    finish: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a sweep will run. `explain()` prints it.

    Attributes:
        walk: the tree.
        names: the lesions in the order in which they were given.
        steps: readable names of the network's steps.
        costs: multiply-adds of each step for one image.
        why_whole: why the network runs whole for every lesion; empty where it is cut.
        rows: how many rows (lesions times images) are run at once after the cut at each position.
        peak_bytes: of activations, and of what damage needs beside them, at the worst of these places.
        kept_bytes: beside these, all through the sweep: random numbers that doses share, transformed kernels.
    """

    walk: Walk
    names: tuple[str, ...]
    steps: tuple[str, ...] = field(repr=False)
    costs: tuple[int, ...] = field(repr=False)
    why_whole: str = ""
    rows: Mapping[int, int] = field(default_factory=dict)
    peak_bytes: int = 0
    kept_bytes: int = 0

    @property
    def naive_multiply_adds(self) -> int:
        """For one image, when every lesion runs the whole network."""
        return len(self.names) * sum(self.costs)

    @property
    def multiply_adds(self) -> int:
        """For one image, as planned."""
        return _walk_cost(self.walk, 0, self.costs)

    @property
    def runs(self) -> int:
        """How many runs from a cut to the end (each of all images) stand for the `len(names)` full ones."""
        return sum(1 for _ in _ends(self.walk))

    def explain(self) -> str:
        """The plan in words: where lesions branch off, and what it costs beside the naive way.

        Example:
            >>> import torch
            >>> from torch import nn
            >>> from facelesion.lesions import Ablate
            >>> from facelesion.sweep import make_plan
            >>> network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
            >>> plan = make_plan(network, {"a": Ablate("1", units=[0]), "b": None}, torch.zeros(1, 4))
            >>> print(plan.explain())
            2 lesions of a network of 3 steps
            walk 0 → 1: 16 multiply-adds per image
              at step 1 (1): 1 lesion × 8 multiply-adds: a
            walk 1 → 3: 8 multiply-adds per image: b
            planned 32 multiply-adds per image, naive 48: 1.5 times fewer
        """
        lines = [f"{_count(len(self.names), 'lesion')} of a network of {_count(len(self.steps), 'step')}"]
        if self.why_whole:
            lines.append(f"the network runs whole for every lesion: {self.why_whole}")
        lines += _explain(self.walk, 0, self.steps, self.costs, "")
        planned, naive = self.multiply_adds, self.naive_multiply_adds
        times = f"{naive / planned:.1f} times fewer" if planned else "nothing to do"
        lines.append(f"planned {_amount(planned)} multiply-adds per image, naive {_amount(naive)}: {times}")
        if self.peak_bytes >= 1e4:
            spread = sorted(set(self.rows.values()))
            rows = f"{spread[0]}" if len(spread) == 1 else f"{spread[0]} to {spread[-1]}"
            lines.append(
                f"{rows} rows at once after a cut, at most {self.peak_bytes / 1e6:.0f} MB of activations"
                + (f", {self.kept_bytes / 1e6:.0f} MB kept beside them" if self.kept_bytes >= 5e5 else "")
            )
        return "\n".join(lines)

    def shards(self, count: int) -> list[tuple[str, ...]]:
        """The lesions cut into groups of about equal cost; lesions that share work stay together.

        Each group is a sweep of its own: `sweep(model, {name: lesions[name] for name in shard}, images)`.
        """
        costs: dict[str, int] = {}
        for begin, names in _ends(self.walk):
            for name in names:
                costs[name] = 1 + sum(self.costs[begin:]) // len(names)
        total, done = sum(costs.values()), 0
        groups: list[list[str]] = [[] for _ in range(count)]
        for name, cost in costs.items():
            groups[min(count - 1, (done + cost // 2) * count // total)].append(name)
            done += cost
        return [tuple(group) for group in groups if group]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to be written down."""

        def walk(value: Walk) -> dict[str, Any]:
            return {"stops": [stop(each) for each in value.stops], "finish": list(value.finish)}

        def stop(value: Stop) -> dict[str, Any]:
            leaves = [
                {"names": list(leaf.names), "acts": leaf.acts and [act.to_dict() for act in leaf.acts]}
                for leaf in value.leaves
            ]
            branches = [
                {"acts": [act.to_dict() for act in branch.acts], "walk": walk(branch.walk)}
                for branch in value.branches
            ]
            return {
                "position": value.position,
                "step": self.steps[value.position],
                "leaves": leaves,
                "branches": branches,
            }

        return {
            "walk": walk(self.walk),
            "names": list(self.names),
            "why_whole": self.why_whole,
            "rows": self.rows,
        }


# One stage of a lesion: the step at which it acts, and all that acts there.
Stage = tuple[int, tuple[Act, ...]]


def planned(request: Request, trace: Trace) -> Plan:
    """What will be run of a network's steps, with as many rows at a time as there is memory for now."""
    walk = plan_walk(trace, request.lesions)
    device, options = request.device, request.options
    budget, damage = options.budget_on(device), _bytes_of_damage(trace, request.parts)
    kept = _bytes_kept(trace, request, budget)
    rows: dict[int, int] = {}
    most = 0
    for position in sorted({stop.position for stop in stops_of(walk)}):
        peak = trace.peak_bytes(position, trace.length, damage)
        rows[position] = options.rows or memory.rows_that_fit(peak, budget - kept, device)
        most = max(most, peak * rows[position])
    costs = tuple(fact.multiply_adds for fact in trace.facts)
    return Plan(walk, tuple(request.lesions), steps_of(trace), costs, trace.why_whole, rows, most, kept)


def _bytes_kept(trace: Trace, request: Request, budget: int) -> int:
    """What a sweep on a processor holds from its first batch to its last."""
    if request.device.type != "cpu":
        return 0
    draws = memory.bytes_for_draws(budget) if any(part.draws_values for part in request.parts) else 0
    return draws + trace.kept_bytes


def _bytes_of_damage(trace: Trace, parts: Iterable[SiteLesion]) -> dict[int, int]:
    """What damage holds beside the results of the step where it acts, for one image: a damaged copy, and what it draws.

    Numbers that are drawn are float32, and so is what is made of them before it takes the place of the activations.
    """
    found: dict[int, int] = {}
    for pattern, draws in {(part.site, part.draws_values) for part in parts if not isinstance(part, Prune)}:
        for site in find(trace.model, pattern):
            step = trace.position(site.path)
            if step is not None:
                fact = trace.facts[step]
                drawn = 8 * fact.bytes // (fact.dtype or torch.float32).itemsize if draws else 0
                found[step] = max(found.get(step, 0), fact.bytes + drawn)
    return found


def plan_walk(trace: Trace, lesions: Mapping[str, Lesion | None]) -> Walk:
    """The tree for these lesions over this network."""
    staged = {name: _stages(trace, lesion) for name, lesion in lesions.items()}
    finish = tuple(name for name, stages in staged.items() if not stages)
    rest = [(name, stages) for name, stages in staged.items() if stages]
    # What draws the same numbers runs side by side, where they are drawn once.
    drawn = {name: _drawn_by(lesions[name]) for name, _ in rest}
    first = {each: place for place, each in reversed(list(enumerate(drawn.values())))}
    rest.sort(key=lambda item: first[drawn[item[0]]])
    return Walk(_stops(trace, rest, root=True), finish)


def _drawn_by(lesion: Lesion | None) -> tuple[tuple[str, str, int], ...]:
    """What the random numbers of a lesion depend on; its doses are no part of it."""
    parts = () if lesion is None else lesion.parts
    return tuple(
        (part.site, *part.drawn_by) for part in parts if isinstance(part, UnitLesion) and part.draws_values
    )


def _stages(trace: Trace, lesion: Lesion | None) -> tuple[Stage, ...]:
    """When each part of a lesion acts, in the order in which the network gets there."""
    if lesion is None:
        return ()
    by_step: dict[int, list[Act]] = {}
    repeated = False
    for place, part in enumerate(lesion.parts):
        for site in find(trace.model, part.site):
            # Pruned weights act where they are used, which for an alias is before its own module.
            path = incoming(trace.model, site.path) if isinstance(part, Prune) else site.path
            step = trace.position(path)
            if step is None:
                raise LesionDidNotAct(
                    f"{path or '.'!r} never runs in a forward of {type(trace.model).__name__}, so {part} would not "
                    "act: name a site that is in use (facelesion.lesions.sites lists all)"
                )
            repeated |= trace.calls_of(path) > 1
            by_step.setdefault(step, []).append(Act(place, part, name_of(site)))
    stages = tuple(
        (step, tuple(sorted(by_step[step], key=lambda act: act.place))) for step in sorted(by_step)
    )
    if repeated and len(stages) > 1:
        # A module that runs again later is damaged again: such lesions stay in one piece.
        return ((stages[0][0], tuple(act for _, acts in stages for act in acts)),)
    return stages


def _stops(trace: Trace, items: Sequence[tuple[str, tuple[Stage, ...]]], root: bool) -> tuple[Stop, ...]:
    stops: dict[int, list[tuple[tuple[Stage, ...], list[str]]]] = {}
    for name, stages in items:
        here = stops.setdefault(trace.cut_before(stages[0][0]), [])
        for known, names in here:
            if known == stages:
                names.append(name)
                break
        else:
            here.append((stages, [name]))
    return tuple(
        Stop(position, *_parted(trace, position, stops[position], root)) for position in sorted(stops)
    )


def _parted(
    trace: Trace, position: int, items: list[tuple[tuple[Stage, ...], list[str]]], root: bool
) -> tuple[tuple[Leaf, ...], tuple[Branch, ...]]:
    """Lesions that begin at one stop: which go alone, which share their first damage and part later."""
    families: dict[Stage, list[tuple[tuple[Stage, ...], list[str]]]] = {}
    for stages, names in items:
        families.setdefault(stages[0], []).append((stages, names))
    leaves, branches = [], []
    for (step, acts), family in families.items():
        # Whoever parts from the family must do so behind the shared damage.
        later = [(s, n) for s, n in family if len(s) == 1 or trace.cut_before(s[1][0]) > step]
        if len(later) < 2:
            later = []
        leaves += [Leaf(tuple(n), None if root else _acts(s)) for s, n in family if (s, n) not in later]
        if later:
            further = [(name, s[1:]) for s, n in later if len(s) > 1 for name in n]
            finish = tuple(name for s, n in later if len(s) == 1 for name in n)
            branches.append(Branch(acts, Walk(_stops(trace, further, root=False), finish)))
    return tuple(leaves), tuple(branches)


def _acts(stages: tuple[Stage, ...]) -> tuple[Act, ...]:
    return tuple(act for _, acts in stages for act in acts)


def lesion_of(acts: Sequence[Act]) -> Lesion:
    """The lesion that these acts make together, each at its own module, in the order in which it was written."""
    paths: dict[int, list[str]] = {}
    parts: dict[int, SiteLesion] = {}
    for act in sorted(acts, key=lambda act: act.place):
        parts[act.place] = act.part
        paths.setdefault(act.place, []).append(act.site)
    parted = (dataclasses.replace(parts[place], site=", ".join(paths[place])) for place in parts)
    return functools.reduce(operator.add, parted)


def _walk_cost(walk: Walk, begin: int, costs: Sequence[int]) -> int:
    total = 0
    for stop in walk.stops:
        total += sum(costs[begin : stop.position])
        begin = stop.position
        total += len(stop.leaves) * sum(costs[begin:])
        total += sum(_walk_cost(branch.walk, begin, costs) for branch in stop.branches)
    return total + (sum(costs[begin:]) if walk.finish else 0)


def _ends(walk: Walk, begin: int = 0) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Where each run to the end begins, and for whom."""
    for stop in walk.stops:
        begin = stop.position
        for leaf in stop.leaves:
            yield begin, leaf.names
        for branch in stop.branches:
            yield from _ends(branch.walk, begin)
    if walk.finish:
        yield begin, walk.finish


def stops_of(walk: Walk) -> Iterator[Stop]:
    """Every place at which a walk is left, on its branches too."""
    for stop in walk.stops:
        yield stop
        for branch in stop.branches:
            yield from stops_of(branch.walk)


def names_of(walk: Walk) -> Iterator[str]:
    """Every lesion that a walk serves."""
    for _, names in _ends(walk):
        yield from names


def _explain(
    walk: Walk, begin: int, steps: Sequence[str], costs: Sequence[int], indent: str
) -> Iterator[str]:
    for stop in walk.stops:
        cost = _amount(sum(costs[begin : stop.position]))
        yield f"{indent}walk {begin} → {stop.position}: {cost} multiply-adds per image"
        begin = stop.position
        where = f"{indent}  at step {begin} ({steps[begin]}): "
        if stop.leaves:
            names = [name for leaf in stop.leaves for name in leaf.names]
            cost = _amount(sum(costs[begin:]))
            yield f"{where}{_count(len(stop.leaves), 'lesion')} × {cost} multiply-adds: {_some(names)}"
        for branch in stop.branches:
            yield where + "shared: " + " + ".join(f"{act.part} (at {act.site})" for act in branch.acts)
            yield from _explain(branch.walk, begin, steps, costs, indent + "    ")
    if walk.finish:
        cost = _amount(sum(costs[begin:]))
        yield f"{indent}walk {begin} → {len(steps)}: {cost} multiply-adds per image: {_some(walk.finish)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f", … ({len(names)} in all)" if len(names) > 4 else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _amount(number: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:.0f}"


def steps_of(trace: Trace) -> tuple[str, ...]:
    """Readable names of the steps: an alias where the network has one."""
    aliases = {path: alias for alias, path in getattr(trace.model, "site_aliases", {}).items()}
    return tuple(aliases.get(fact.path, fact.path) for fact in trace.facts)
