"""Representation: how alike are damaged and healthy, stage by stage, and where can identity still be read out?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.tasks.exemplars import within_class_whitening
from facelesion.tasks.identification import nearest
from facelesion.tasks.readouts import Prototypes
from facelesion.tasks.task import Answers, Groups, Healthy, Look, Measure, Task, Trials

LAST = "representation"
_DRAWS = 1000  # of people, for intervals
_TAIL = 0.025


@dataclass(frozen=True, eq=False)
class Stage:
    """One place of the healthy network, with what it answered to the probes and a readout of identity.

    Attributes:
        healthy: (M, units) what it answered to the pictures as they are.
        centre, whitening: (units,), (units, units), after which pictures of one person differ alike in all directions;
            learned from people who train readouts.
        memory: the enrolled people's prototypes after that.
    """

    healthy: torch.Tensor
    centre: torch.Tensor
    whitening: torch.Tensor
    memory: Prototypes

    def likeness(self, seen: torch.Tensor) -> torch.Tensor:
        """Cosine of what is seen (M, units) with every prototype (M, people)."""
        return self.memory.likeness((seen - self.centre) @ self.whitening)


@dataclass(frozen=True, eq=False)
class Seen(Answers):
    """Answers, and how alike each stage was to health: values with their intervals over people, by measure."""

    likeness: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Representation(Task):
    """Who is it, read out linearly at every stage; and how alike is the stage to what it was in health?

    Stages are the last places of every resolution, each unit averaged over the picture, and the representation. At
    each, identity is read by a linear discriminant that is fixed in health (within-class covariance normalisation,
    Hatch, Kajarekar & Stolcke 2006). Likeness to the healthy network, on the same pictures as they are: the rank
    correlation of the distances between pictures (representational similarity: Kriegeskorte, Mur & Bandettini 2008),
    and linear centred kernel alignment (Kornblith, Norouzi, Lee & Hinton 2019).

    Attributes:
        stages: by name, from early to late; `representation` is the last.
        rows: (M,) positions of the probes among the images shown.
        targets: (M,) which enrolled person each probe shows.
        draws: float (draws, M), how often each picture counts when people are drawn anew.
    """

    stages: Mapping[str, Stage]
    rows: torch.Tensor
    targets: torch.Tensor
    draws: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "representation"
    question: ClassVar[str] = "At which stage can it still be read who this is, and how alike is the stage to health?"

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Pictures of the enrolled people that were not enrolled."""
        return {"probes": materials.probes}

    @classmethod
    def fit(cls, healthy: Healthy) -> Representation:
        """Enrol people at every stage of the healthy network."""
        if healthy.look is None:
            raise Error("task representation looks into the network, and here it has only its answers")
        pictures, look = healthy.materials, healthy.look
        enrolment, training, probes = (
            {**look.activations_of(each.images), LAST: healthy.representation(each)}
            for each in (pictures.enrolment, pictures.training, pictures.probes)
        )
        stages = {}
        for name, units in training.items():
            centre, whitening = within_class_whitening(units, pictures.training.labels)
            memory = Prototypes.learn((enrolment[name] - centre) @ whitening, pictures.enrolment.labels)
            stages[name] = Stage(probes[name], centre, whitening, memory)
        people = pictures.probes.labels
        names = list(stages)
        targets = stages[LAST].memory.targets(people)
        return cls(
            stages,
            healthy.rows("probes"),
            targets,
            _drawn(people, healthy.seed),
            Trials(
                item=pictures.probes.names * len(names),
                person=people * len(names),
                target=people * len(names),
                section=tuple(name for name in names for _ in people),
            ),
        )

    @property
    def alternatives(self) -> tuple[str, ...]:  # type: ignore[override]
        """The enrolled people."""
        return self.stages[LAST].memory.names

    @property
    def measures(self) -> tuple[Measure, ...]:  # type: ignore[override]
        """Identity at the end, then at every stage; then likeness to health with intervals over people."""
        chance = 1 / len(self.alternatives)
        said = "right names by a linear readout of"
        found = [Measure("accuracy", f"{said} the representation", chance, 1.0, share=True)]
        for name in self.stages:
            if name != LAST:
                found.append(Measure(f"identity_{name}", f"{said} {name}", chance, 1.0, share=True))
        for name in self.stages:
            for short, words in _WORDS.items():
                found.append(Measure(f"{short}_{name}", f"{words}, {name}", 0.0, 1.0))
                found.append(Measure(f"{short}_{name}_low", f"{words}, {name}: lower end over people", better=""))
                found.append(Measure(f"{short}_{name}_high", f"{words}, {name}: upper end over people", better=""))
        return tuple(found)

    def answer(self, representation: torch.Tensor) -> Answers:
        """None: this task looks into the network."""
        raise Error("task representation looks into the network: ask it with `ask`")

    def ask(self, representation: torch.Tensor, look: Look) -> Answers:
        """Whose prototype is nearest at every stage, and how alike the stage is to health."""
        seen = {**look.activations(self.rows), LAST: representation[self.rows]}
        answers: list[Answers] = []
        likeness: dict[str, float] = {}
        for name, stage in self.stages.items():
            answers.append(nearest(stage.likeness(seen[name]), self.targets))
            pair = (stage.healthy.double(), seen[name].double())
            likeness |= _told(f"rdm_{name}", *distance_likeness(*pair), self.draws)
            likeness |= _told(f"cka_{name}", *kernel_alignment(*pair), self.draws)
        joined = {
            each: torch.cat([getattr(answer, each) for answer in answers])
            for each in ("answer", "value", "right", "forced_choice")
        }
        return Seen(**joined, likeness=likeness)

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Means over people, and the likeness that was found with the answers."""
        count, found = len(self.rows), {"accuracy": 0.0}  # the main measure first
        groups = Groups.of(self.trials.person[:count])
        for number, name in enumerate(self.stages):
            right = answers.right[number * count : (number + 1) * count]
            found["accuracy" if name == LAST else f"identity_{name}"] = groups.mean(right)
        return found | (dict(answers.likeness) if isinstance(answers, Seen) else {})


_WORDS = {
    "rdm": "rank correlation of the distances between pictures with those in health",
    "cka": "linear kernel alignment with health",
}


def distance_likeness(healthy: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rank correlation of each picture's distances to the others, in health and now; its mean is the likeness.

    Distance is one less Pearson's correlation over units. Ties share their mean rank; where all distances are equal
    there is no likeness.

    Args:
        healthy, seen: (M, units) of the same pictures; the numbers of units may differ.

    Returns:
        Of every picture its correlation (M,), and ones (M,): the mean's numerator and denominator.

    Example:
        >>> x = torch.tensor([[0.0, 1, 3], [1, 0, 5], [4, 2, 1], [0, 7, 2]], dtype=torch.float64)
        >>> distance_likeness(x, 2 * x + 1)[0].round(decimals=6).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    one, two = (_ranks(_others_of(_distances(each))) for each in (healthy, seen))
    return _correlations(one, two), torch.ones(len(healthy), dtype=torch.float64)


def kernel_alignment(healthy: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear centred kernel alignment, as shares of the pictures: sum of the first over sum of the second.

    Args:
        healthy, seen: (M, units) of the same pictures; the numbers of units may differ.

    Returns:
        Of every picture its share (M,) of the numerator ⟨K, L⟩ and of the denominator ‖K‖ ‖L‖, where K and L are the
        centred Gram matrices; the second is the geometric mean of its shares of both norms, rescaled to the whole.

    Example:
        >>> x = torch.tensor([[0.0, 1], [1, 0], [4, 2]], dtype=torch.float64)
        >>> above, below = kernel_alignment(x, 3 * x + 2)
        >>> round(float(above.sum() / below.sum()), 6)
        1.0
    """
    one, two = ((each - each.mean(0)) @ (each - each.mean(0)).T for each in (healthy, seen))
    above, first, second = (one * two).sum(1), one.square().sum(1), two.square().sum(1)
    whole = (first.sum() * second.sum()).sqrt()
    below = (first * second).sqrt()
    return above, below * (whole / below.sum()) if below.sum() > 0 else below


def _told(name: str, above: torch.Tensor, below: torch.Tensor, draws: torch.Tensor) -> dict[str, float]:
    """A ratio of sums, and the interval of it when people are drawn anew."""
    value = _ratio(above.sum(), below.sum())
    drawn = _ratio(draws @ above, draws @ below).sort().values
    ends = [drawn[int(round(share * (len(drawn) - 1)))] for share in (_TAIL, 1 - _TAIL)]
    return {name: float(value), f"{name}_low": float(ends[0]), f"{name}_high": float(ends[1])}


def _ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """0 where there is nothing to be alike."""
    return torch.where(below > 0, above / below.clamp_min(1e-300), torch.zeros_like(above))


def _drawn(people: Sequence[str], seed: int) -> torch.Tensor:
    """How often each picture counts (draws, M) when as many people are drawn, each with all pictures."""
    names = sorted(set(people))
    who = torch.tensor([names.index(person) for person in people])
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(names), (_DRAWS, len(names)), generator=generator)
    counts = torch.zeros(_DRAWS, len(names), dtype=torch.float64)
    counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=torch.float64))
    return counts[:, who]


def _distances(units: torch.Tensor) -> torch.Tensor:
    """One less the correlation of every two pictures' units (M, M); pictures without any differences are alike."""
    centred = units - units.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    # What rounding leaves of equal numbers is no difference.
    flat = length <= 1e-9 * units.norm(dim=1, keepdim=True)
    unit = torch.where(flat, 0.0, centred / length.clamp_min(1e-300))
    return 1 - unit @ unit.T


def _others_of(distances: torch.Tensor) -> torch.Tensor:
    """Every picture's distances to the others (M, M - 1), rounded so that rounding orders nothing."""
    count = len(distances)
    other = ~torch.eye(count, dtype=torch.bool)
    return distances[other].reshape(count, count - 1).mul(1e9).round()


def _ranks(rows: torch.Tensor) -> torch.Tensor:
    """Ranks within each row (M, N), ties at their mean."""
    ordered = rows.sort(dim=1).values
    below = torch.searchsorted(ordered, rows.contiguous(), side="left")
    upto = torch.searchsorted(ordered, rows.contiguous(), side="right")
    return (below + upto).double() / 2


def _correlations(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation of each row with its like (M,); 0 where one does not vary."""
    one, two = (each - each.mean(1, keepdim=True) for each in (one, two))
    length = one.norm(dim=1) * two.norm(dim=1)
    return torch.where(length > 0, (one * two).sum(1) / length.clamp_min(1e-300), torch.zeros_like(length))
